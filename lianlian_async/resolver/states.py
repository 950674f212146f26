"""The states of a payout, their order, and the fold from evidence to state.

What all evidence together proves is a *join*: facts are collected into sets, and the state is read off
the sets. Therefore the order of arrival, repetition and late news cannot matter.

    UNSENT < UNKNOWN < IN_PROGRESS < REVIEW < IN_PROGRESS < PAID | FAILED | CLOSED < REFUNDED
                       (accepted)             (at the bank)  \\_______ any two: CONFLICT ______/
    REFUSED stands beside UNKNOWN: every attempt was answered by a refusal, and the number is alive.
    REFUNDED lies over PAID and over everything that was in progress; over FAILED or CLOSED it is a CONFLICT.

Rules kept here (the numbers are those of docs/rules.md):
    R2  counts the "no record" answers that a resend needs
    R7  the fold; "no record" after a record was seen is ignored and reported
    R8  a bad end learned from a notification or a statement is shown, but counts as agreed only after a query says so
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from ..protocol.ret_codes import Proof, Source
from .evidence import Attempt, Evidence, Outcome, Row, row_of
from .pacing import GRACE_S

__all__ = ["FINAL", "State", "View", "view_of"]


class State(StrEnum):
    """What all evidence about one number proves."""

    UNSENT = "UNSENT"  # proven: no byte left on any attempt
    UNKNOWN = "UNKNOWN"  # it may have been paid
    REFUSED = "REFUSED"  # every attempt was refused; the number is alive
    IN_PROGRESS = "IN_PROGRESS"
    REVIEW = "REVIEW"
    PAID = "PAID"
    FAILED = "FAILED"
    CLOSED = "CLOSED"
    REFUNDED = "REFUNDED"
    CONFLICT = "CONFLICT"


FINAL: Final = frozenset({State.PAID, State.FAILED, State.CLOSED, State.REFUNDED})

_ENDS: Final = {
    Proof.PAID: State.PAID,
    Proof.FAILED: State.FAILED,
    Proof.CLOSED: State.CLOSED,
    Proof.REFUNDED: State.REFUNDED,
}
# The chain below the ends, highest first: a review comes after acceptance and before the bank.
_ON_THE_WAY: Final = (
    (Proof.PROCESSING, State.IN_PROGRESS),
    (Proof.REVIEW, State.REVIEW),
    (Proof.ACCEPTED, State.IN_PROGRESS),
)
# How many answers about *other* orders it takes until "the connection was mixed up" is no explanation.
FOREIGN_ANSWERS_MAX: Final = 3


@frozen
class View:
    """What is known of one number: the state, and what the decision table needs beside it."""

    state: State
    attempts: tuple[Attempt, ...] = ()
    sent: int = 0  # attempts of pay that may have left this machine
    open: tuple[int, ...] = ()  # of those, the ones no proof has answered
    sent_at: datetime | None = None  # when the newest of them started
    hint: Row | None = None  # the newest row about the newest attempt that may have left
    hint_at: datetime | None = None
    hints_alike: int = 0  # how many attempts ended in that same row
    absent: tuple[Evidence, ...] = ()  # "no record" answers in a row since the last fact, oldest first
    unsent_run: int = 0  # attempts since then of which it is proven that they did not leave
    unbilled: bool = False  # the gateway has said FAILURE without a bill: nothing final
    unbilled_since_send: bool = False  # and it said so to a question that came after the newest attempt
    unbilled_last: bool = False  # and it said so after every sign of progress
    applying: bool = False  # APPLY, and nothing that would show it at the bank
    confirm_at: datetime | None = None  # when the newest confirm started
    confirm: Row | None = None  # what its answer was
    confirming: bool = False  # and its effect is not known yet
    confirm_counts_at: datetime | None = None  # a query asked from then on says what it did
    confirms: int = 0  # confirms that may have used up one of the gateway's tries
    held_at: datetime | None = None  # when it was first shown to be under review
    code_at: datetime | None = None  # when the call was made whose answer brought the confirm_code
    words: tuple[Evidence, ...] = ()  # what people said of the review, oldest first
    denied_for_s: float = 0.0  # how long the gateway has answered "no record" since it last showed one
    agreed: bool = False  # a query has confirmed the end
    end_at: datetime | None = None
    listed_only: bool = False  # nothing but a statement, which is not signed, has told of the end
    looked_at: tuple[datetime, ...] = ()  # when queries were asked that told the end
    notified_at: datetime | None = None  # when the newest notification, or row of a statement, came
    last_query: Evidence | None = None
    queried_at: tuple[datetime, ...] = ()
    heard_at: datetime | None = None  # when a bound query answer last came that says something of the order
    resumed_at: datetime | None = None
    ret_code: str | None = None
    oid_paybill: str | None = None
    settle_date: str | None = None
    confirm_code: str | None = field(default=None, repr=False)
    alarms: tuple[str, ...] = ()

    @property
    def latest(self) -> Attempt | None:
        """The newest attempt of pay, sent or not."""
        return self.attempts[-1] if self.attempts else None

    @property
    def final(self) -> bool:
        """True when this number has ended (a refund after PAID stays possible)."""
        return self.state in FINAL

    @property
    def replaceable(self) -> bool:
        """Rule R4 with R8: the number is proven dead, by a query."""
        return self.agreed and self.state in (State.FAILED, State.CLOSED, State.REFUNDED)


class _News(NamedTuple):  # a tuple, because thousands are made for each payout that waits long
    evidence: Evidence
    row: Row
    proves: Proof


def view_of(attempts: Iterable[Attempt], evidence: Iterable[Evidence]) -> View:
    """Fold everything known about one number into a view; pure, and blind to order and repetition."""
    every = sorted(set(attempts), key=lambda a: (a.number, a.started_at))
    pays = tuple(a for a in every if a.source is Source.PAY)
    news = _weighed([_News(e, row := row_of(e), row.effect.proves) for e in _in_order(evidence)])
    unbilled = [n for n in news if _is_unbilled(n)]
    sent = _sent(pays, news)
    still_open = _open(sent, news)
    state = _state(news, pays, sent, still_open, unbilled)
    return View(
        state=state,
        attempts=pays,
        sent=len(sent),
        open=still_open,
        sent_at=max((a.started_at for a in pays if a.number in sent), default=None),
        unsent_run=sum(1 for a in pays if not sent or a.number > sent[-1]),
        absent=_absences(news, pays, unbilled),
        unbilled=bool(unbilled),
        unbilled_since_send=any(not pays or n.evidence.asked_at >= pays[-1].started_at for n in unbilled),
        unbilled_last=_is_last_word(unbilled, news),
        denied_for_s=_denied_for_s(news),
        applying=_is_applying(news),
        resumed_at=max((n.evidence.at for n in news if n.evidence.outcome in _RELEASES), default=None),
        held_at=min((n.evidence.at for n in news if n.proves is Proof.REVIEW), default=None),
        words=tuple(n.evidence for n in news if n.evidence.outcome in _WORDS_OF_A_REVIEW),
        alarms=_alarms(news, state),
        **_confirm([a for a in every if a.source is Source.CONFIRM], news),
        **_hint(sent, news),
        **_details(news, state),
    )


def _in_order(evidence: Iterable[Evidence]) -> Sequence[Evidence]:
    """Each piece of news once, in the order of time."""
    told = tuple(evidence)
    if all(earlier.at < later.at for earlier, later in pairwise(told)):
        return told  # as every journal holds them: there is nothing to sort, and nothing twice
    return sorted(set(told), key=_by_time)


def _by_time(news: Evidence) -> tuple[object, ...]:
    words = (
        news.ret_code, news.ret_msg, news.result_pay, news.oid_paybill, news.settle_date, news.confirm_code,
        news.detail, news.by,
    )  # fmt: skip
    return (news.at, news.asked_at, news.source, news.outcome, news.attempt or 0, *(word or "" for word in words))


def _is_unbilled(n: _News) -> bool:
    """A query's bound FAILURE that names no bill."""
    return n.evidence.source is Source.QUERY and n.row.effect.proves is Proof.FAILED and n.proves is not Proof.FAILED


def _weighed(news: Sequence[_News]) -> list[_News]:
    """Take back what a row proves only under a condition that other evidence decides."""
    return [n if (proves := _weight(n, news)) is n.proves else _News(n.evidence, n.row, proves) for n in news]


def _weight(n: _News, news: Sequence[_News]) -> Proof:
    told = n.evidence
    if n.proves is Proof.FAILED:
        # An earlier answer's bill is not enough: a copy of the request may have failed without one, and a lagging
        # look-up would show that old failure while the billed order lives.
        return Proof.FAILED if told.oid_paybill else Proof.NOTHING
    if told.outcome is Outcome.ANSWERED and told.oid_paybill and n.proves in _NO_RECORD_YET:
        # The bill comes with the order's creation: whatever the code says, the gateway has it.
        return Proof.ACCEPTED
    if n.proves is Proof.REFUSED_IF_ABSENT:
        agrees = any(o.proves is Proof.NO_RECORD and o.evidence.asked_at >= told.at for o in news)
        return Proof.REFUSED if agrees else Proof.NOTHING
    if told.outcome is Outcome.FOREIGN and told.source is Source.QUERY:
        strays = sum(o.evidence.outcome is Outcome.FOREIGN and o.evidence.source is Source.QUERY for o in news)
        return Proof.CONFLICT if strays >= FOREIGN_ANSWERS_MAX else Proof.NOTHING
    return n.proves


_NO_RECORD_YET: Final = frozenset({Proof.NOTHING, Proof.NO_RECORD, Proof.REFUSED, Proof.REFUSED_IF_ABSENT})


def _bills(news: Sequence[_News]) -> set[str]:
    """One number never has two bills (assumption A2): two are a conflict."""
    bound = (n.evidence for n in news if n.evidence.outcome is Outcome.ANSWERED)
    return {told.oid_paybill for told in bound if told.oid_paybill}


def _sent(pays: Sequence[Attempt], news: Sequence[_News]) -> tuple[int, ...]:
    """The attempts that may have left, oldest first: all but those of which *all* news proves that no byte did.

    News of an attempt that the journal does not know counts as well: where there was an answer, there was a call.
    """
    about: dict[int, set[Proof]] = {attempt.number: set() for attempt in pays}
    for n in news:
        if n.evidence.source is Source.PAY and n.evidence.attempt is not None:
            about.setdefault(n.evidence.attempt, set()).add(n.proves)
    return tuple(sorted(number for number, proofs in about.items() if proofs != {Proof.UNSENT}))


def _open(sent: Sequence[int], news: Sequence[_News]) -> tuple[int, ...]:
    """The attempts that no bound refusal has answered."""
    refused = {n.evidence.attempt for n in news if n.evidence.source is Source.PAY and n.proves is Proof.REFUSED}
    return tuple(number for number in sent if number not in refused)


def _state(
    news: Sequence[_News],
    pays: Sequence[Attempt],
    sent: Sequence[int],
    still_open: Sequence[int],
    unbilled: Sequence[_News],
) -> State:
    facts = {n.proves for n in news}
    ends = {_ENDS[fact] for fact in facts if fact in _ENDS}
    if Proof.CONFLICT in facts or len(_bills(news)) > 1 or (len(ends) > 1 and ends != {State.PAID, State.REFUNDED}):
        return State.CONFLICT
    if ends:
        return State.REFUNDED if State.REFUNDED in ends else next(iter(ends))
    for fact, state in _ON_THE_WAY:
        if fact in facts:
            return state
    if not sent:
        # Without an attempt of ours, a failure without a bill means that somebody else uses our numbers.
        return State.UNKNOWN if unbilled else State.UNSENT
    # A FAILURE without a bill refuses the order; it shows which attempt it answers only if there was just one.
    return State.REFUSED if not still_open or _answers_the_only(pays, sent, unbilled) else State.UNKNOWN


def _answers_the_only(pays: Sequence[Attempt], sent: Sequence[int], unbilled: Sequence[_News]) -> bool:
    """There was one attempt, and the gateway's failure without a bill was asked for after it began."""
    starts = [a.started_at for a in pays if a.number in sent]
    return len(sent) == len(starts) == 1 and any(n.evidence.asked_at >= starts[0] for n in unbilled)


_RELEASES: Final = frozenset({Outcome.RESUMED, Outcome.AMENDED})
_WORDS_OF_A_REVIEW: Final = frozenset({Outcome.APPROVED, Outcome.DECLINED})
_RECORDS: Final = frozenset({Proof.ACCEPTED, Proof.REVIEW, Proof.PROCESSING, *_ENDS})


def _absences(news: Sequence[_News], pays: Sequence[Attempt], unbilled: Sequence[_News]) -> tuple[Evidence, ...]:
    """The answers in a row that say "no such order" (or "failed, and no bill"), since the last other fact.

    An answer counts only when it was *asked* after that fact (an older question can be answered late), and one
    question counts once, however often its answer was written down.
    """
    if any(n.proves in _RECORDS for n in news):
        return ()
    alike = unbilled or [n for n in news if n.proves is Proof.NO_RECORD]
    kept = {id(n) for n in alike}
    resets = [n.evidence.at for n in news if id(n) not in kept and _resets(n)]
    resets += [a.started_at for a in pays]
    since = max(resets, default=None)
    asked = {n.evidence.asked_at: n.evidence for n in reversed(alike)}
    return tuple(asked[at] for at in sorted(asked) if since is None or at >= since)


def _resets(n: _News) -> bool:
    fact = n.proves not in (Proof.NOTHING, Proof.NO_RECORD)
    return fact or n.evidence.outcome in _RELEASES or n.evidence.outcome is Outcome.FOREIGN


def _is_last_word(unbilled: Sequence[_News], news: Sequence[_News]) -> bool:
    progress = max((n.evidence.at for n in news if n.proves in _RECORDS), default=None)
    return any(progress is None or n.evidence.asked_at >= progress for n in unbilled)


def _denied_for_s(news: Sequence[_News]) -> float:
    """From the last sign of a record to the newest "no record" after it."""
    shown = max((n.evidence.at for n in news if n.proves in _RECORDS), default=None)
    denied = max((n.evidence.asked_at for n in news if n.proves is Proof.NO_RECORD), default=None)
    return (denied - shown).total_seconds() if shown and denied and denied > shown else 0.0


def _is_applying(news: Sequence[_News]) -> bool:
    """The gateway has it and has not yet brought it to the bank."""
    facts = {n.proves for n in news}
    return Proof.PROCESSING not in facts and any(n.evidence.result_pay == "APPLY" for n in news)


def _confirm(confirms: Sequence[Attempt], news: Sequence[_News]) -> dict[str, Any]:
    """The newest confirm, and whether its effect is still unknown: then a query decides, not a person."""
    if not confirms:
        return {}
    latest = confirms[-1]
    about = [n for n in news if n.evidence.source is Source.CONFIRM and n.evidence.attempt == latest.number]
    heard = any(n.evidence.outcome in (Outcome.ANSWERED, Outcome.NUMBERLESS) for n in about)
    # Without an answer the confirm may still be on its way: CHECK says something only after the grace.
    since = latest.started_at if heard else latest.deadline_at + timedelta(seconds=GRACE_S)
    asked = [n for n in news if n.evidence.source is Source.QUERY and n.proves in _RECORDS]
    settled = any(n.evidence.asked_at >= since for n in asked)
    proven = any(n.proves in (Proof.REVIEW, Proof.UNSENT) for n in about)
    unsent = {n.evidence.attempt for n in news if n.evidence.source is Source.CONFIRM and n.proves is Proof.UNSENT}
    return {
        "confirm_at": latest.started_at,
        "confirm": about[-1].row if about else None,
        "confirming": not settled and not proven,
        "confirm_counts_at": since,
        "confirms": sum(a.number not in unsent for a in confirms),
    }


def _hint(sent: Sequence[int], news: Sequence[_News]) -> dict[str, Any]:
    about = [n for n in news if n.evidence.source is Source.PAY and n.evidence.attempt in sent]
    latest = [n for n in about if n.evidence.attempt == sent[-1]]
    if not latest:
        return {}
    hint = latest[-1].row
    alike = {n.evidence.attempt for n in about if n.row.cause == hint.cause}
    return {"hint": hint, "hint_at": latest[-1].evidence.at, "hints_alike": len(alike)}


def _details(news: Sequence[_News], state: State) -> dict[str, Any]:
    queries = [n for n in news if n.evidence.source is Source.QUERY]
    bound = [n.evidence for n in news if n.evidence.outcome is Outcome.ANSWERED]
    ends = [n for n in news if _ENDS.get(n.proves) is state]
    codes = [e.ret_code for e in bound if e.source in (Source.PAY, Source.CONFIRM) and e.ret_code]
    code = next((e for e in reversed(bound) if e.confirm_code), None)
    return {
        "agreed": any(n.evidence.source is Source.QUERY for n in ends),
        "listed_only": bool(ends) and all(n.evidence.source is Source.STATEMENT for n in ends),
        "end_at": min((n.evidence.at for n in ends), default=None),
        "looked_at": tuple(n.evidence.asked_at for n in ends if n.evidence.source is Source.QUERY),
        "notified_at": max((n.evidence.at for n in news if n.evidence.source in _UNASKED), default=None),
        "last_query": queries[-1].evidence if queries else None,
        "queried_at": tuple(n.evidence.asked_at for n in queries),
        "heard_at": max((n.evidence.at for n in queries if n.proves is not Proof.NOTHING), default=None),
        "ret_code": codes[-1] if codes else None,
        "oid_paybill": next((e.oid_paybill for e in reversed(bound) if e.oid_paybill), None),
        "settle_date": next((e.settle_date for e in _gateway_first(bound) if e.settle_date), None),
        "confirm_code": code.confirm_code if code else None,
        "code_at": code.asked_at if code else None,
    }


def _gateway_first(bound: Sequence[Evidence]) -> Sequence[Evidence]:
    """The newest first; but what a statement says comes after all that the gateway itself has said."""
    newest_first = bound[::-1]
    return [e for of in (False, True) for e in newest_first if (e.source is Source.STATEMENT) is of]


_UNASKED: Final = frozenset({Source.NOTIFY, Source.STATEMENT})


def _alarms(news: Sequence[_News], state: State) -> tuple[str, ...]:
    """What an operator should hear of, each sentence once."""
    said = [n.row.effect.advice for n in news if n.row.effect.alarm]
    first = min((n.evidence.at for n in news if n.proves in _RECORDS or _is_unbilled(n)), default=None)
    if first is not None and any(n.proves is Proof.NO_RECORD and n.evidence.asked_at > first for n in news):
        said.append("The gateway said 8901 (no record) after it had shown a record: ignored.")
    if state is State.CONFLICT:
        said.append("The evidence contradicts itself: nothing more is sent, settle it with LianLian.")
    return tuple(dict.fromkeys(said))
