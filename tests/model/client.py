"""The client's half of the model: the real resolver, its knowledge of one number told apart only as far as it matters.

A `Knowledge` is what the journal holds of one number: attempts and evidence, and what time it is. `view_of`, `decide` and
`permits` of the library say what may follow. Polling for ever would make endless pasts, so pasts are folded together by
`Knowledge.key`: it holds every comparison that the resolver makes between two moments or two pieces of news. One
representative of each class is kept, and what each event makes of it is worked out once.

Time moves by events of a millisecond, which cross no limit of the rules, and by three jumps that cross them: `minutes`
(the word in hand grows old, the grace of R2 is over), `half hour` (too late to confirm), `day` (R3).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, evolve, field, frozen
from resolver_law import submit_breaks

from lianlian_async.moves import _RESUMABLE
from lianlian_async.protocol.ret_codes import Proof, Source
from lianlian_async.resolver import (
    FINAL,
    Attempt,
    Decision,
    Evidence,
    Outcome,
    State,
    Step,
    View,
    decide,
    row_of,
    view_of,
)
from lianlian_async.resolver.decide import _paced
from lianlian_async.resolver.pacing import FRESH_S, GRACE_S, RESEND_FOR_S
from lianlian_async.resolver.permits import (
    _CONFIRM_WITHIN,
    confirm_until,
    declined,
    refusal_to_approve,
    refusal_to_decline,
    refusal_to_replace,
)

T0: Final = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
BILL: Final = "2026112000000001"
CONFIRM_CODE: Final = "542312"
DEADLINE: Final = timedelta(seconds=60)
GRACE: Final = timedelta(seconds=GRACE_S)
FRESH: Final = timedelta(seconds=FRESH_S)
DAY: Final = timedelta(seconds=RESEND_FOR_S)
MOMENT: Final = timedelta(milliseconds=1)
JUMPS: Final = {"minutes": FRESH + MOMENT, "half hour": timedelta(seconds=1_801), "day": DAY + MOMENT}
_RECORDS: Final = frozenset(
    {Proof.ACCEPTED, Proof.REVIEW, Proof.PROCESSING, Proof.PAID, Proof.FAILED, Proof.CLOSED, Proof.REFUNDED}
)

# The gateway's record of a number. FAILED0: FAILURE without a bill, where "the original number may go on".
NONE, FAILED0, ACCEPTED, REVIEW = "no record", "FAILURE without a bill", "accepted", "review"
PAID, FAILED, CLOSED, REFUNDED = "paid", "FAILURE with a bill", "closed", "refunded"
RECORDS: Final = (NONE, FAILED0, ACCEPTED, REVIEW, PAID, FAILED, CLOSED, REFUNDED)

# An event: what happens, to which attempt (0: to none), and the words that came with it.
Event = tuple[str, int, str]


@frozen
class Knowledge:
    """Everything that is on record of one number, and the time."""

    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    now: datetime = T0
    view: View = view_of((), ())
    outcomes: tuple[str, ...] = ()  # how the call of each attempt ended; empty while nothing about it is written down
    facts: frozenset[Proof] = frozenset()  # what all evidence proves, each piece for itself

    @property
    def silent(self) -> tuple[int, ...]:
        """The attempts of which nothing is on record but that they began."""
        return tuple(number for number, outcome in enumerate(self.outcomes, start=1) if not outcome)

    def after(self, event: Event) -> Knowledge:
        """The knowledge once `event` has happened."""
        what, number, words = event
        match what:
            case "send" | "confirm":
                return self._begin(Source.PAY if what == "send" else Source.CONFIRM)
            case "send, unsent" | "confirm, unsent":  # one event: a release from before the send is as good as before
                begun = self._begin(Source.PAY if what.startswith("send") else Source.CONFIRM)
                return begun.after(("answer", number, "(not sent)"))
            case "answer":
                call = self.attempts[number - 1]
                return self._hear(call.source, words, call.started_at, number)
            case "query":
                return self._hear(Source.QUERY, words, self.now, None)
            case "notify":
                return self._hear(Source.NOTIFY, words, self.now + MOMENT, None)
            case "resumed" | "declined":
                return self._hear(Source.PERSON, f"({what})", self.now + MOMENT, None)
            case "due":
                due = decide(self.view, T0, self.now).due_at
                return evolve(self, now=max(self.now, due or self.now))
            case _:
                late = max((a.deadline_at + GRACE + MOMENT for a in self.attempts), default=T0)
                return evolve(self, now=max(self.now + JUMPS[what], late))

    def _begin(self, source: Source) -> Knowledge:
        """An attempt is on record before its first byte leaves (R6); a confirm together with the word that allows it."""
        number = len(self.attempts) + 1
        call = Attempt(number, source, self.now, self.now + DEADLINE, "hash", "worker")
        begun = evolve(self, attempts=(*self.attempts, call), now=self.now + MOMENT, outcomes=(*self.outcomes, ""))
        if source is Source.PAY:
            return evolve(begun, view=view_of(begun.attempts, begun.evidence))
        return begun._hear(Source.PERSON, "(approved)", self.now, number)

    def _hear(self, source: Source, words: str, asked: datetime, number: int | None) -> Knowledge:
        piece = told(source, words, asked, self.now + MOMENT, number)
        row, evidence, outcomes = row_of(piece), (*self.evidence, piece), list(self.outcomes)
        if number is not None and source is not Source.PERSON:
            outcomes[number - 1] = row.key
        view = view_of(self.attempts, evidence)
        return Knowledge(self.attempts, evidence, piece.at, view, tuple(outcomes), self.facts | {row.effect.proves})

    def decision(self) -> Decision:
        return decide(self.view, T0, self.now)

    def key(self) -> tuple[object, ...]:
        """All of it that can matter for what may follow; the comments say why the rest cannot."""
        view, facts = self.view, self.facts
        if view.state is State.CONFLICT or view.state is State.PAID:
            return (view.state,)  # a conflict stays; over PAID only CANCEL and a conflict can come
        if view.state in FINAL:
            return (view.state, view.agreed, self._somebody())
        if Proof.PROCESSING in facts:
            return ("at the bank", self._somebody())  # above every answer to pay or confirm
        if Proof.REVIEW in facts:
            return ("review", self._awaited(), *self._held(), self._somebody())
        if Proof.ACCEPTED in facts:
            return ("accepted", self._awaited(), self._somebody())
        return self._unrecorded()

    def _unrecorded(self) -> tuple[object, ...]:
        """The gateway has shown no record: what R1 to R3 look at."""
        view, now, decision = self.view, self.now, self.decision()
        end = max((a.deadline_at for a in view.attempts), default=T0) + GRACE
        last = view.absent[-1] if view.absent else None
        absent: tuple[object, ...] = (min(len(view.absent), 3 if view.open else 1),)
        if last is not None and (not view.open or (absent == (3,) and last.asked_at >= end)):
            absent = ("free", now - last.asked_at <= FRESH)  # only then does it matter how old the word is
        first = (bool(view.queried_at), now - T0 <= FRESH) if not view.attempts else ()
        released, paced = self._released(), _paced(view)
        return (
            view.state, self._awaited(), paced is None or now >= paced, self.outcomes, view.open, absent, first, released,
            bool(view.open) and now >= end, now - T0 > DAY, view.unbilled, view.unbilled_since_send,
            decision.step in (Step.FIX, Step.DECIDE), decision.action, decision.action is Step.SUBMIT and decision.due_at == now,
        )  # fmt: skip

    def _awaited(self) -> tuple[tuple[int, bool], ...]:
        """The calls whose answers may still come, and whether a confirm_code in them would come too late."""
        late = self.now - _CONFIRM_WITHIN
        return tuple((number, self.attempts[number - 1].started_at < late) for number in self.silent)

    def _released(self) -> str:
        view, at = self.view, self.view.resumed_at
        if at is None or any(moment is not None and at < moment for moment in (view.sent_at, view.hint_at)):
            return ""  # a release from before the newest attempt, or from before its answer, counts for nothing
        return "released" if self.now - at <= DAY else "released long ago"

    def _held(self) -> tuple[object, ...]:
        """What approving, declining and confirming look at."""
        view, until = self.view, confirm_until(self.view)
        started, counts = view.confirm_at, view.confirm_counts_at
        queries = [
            e.asked_at for e in self.evidence if e.source is Source.QUERY and row_of(e).effect.proves in _RECORDS
        ]
        return (
            until is not None, until is not None and self.now > until, declined(view) is not None,
            view.confirming, sum(a.source is Source.CONFIRM for a in self.attempts),
            view.confirm and view.confirm.effect.proves,
            view.confirming and counts is not None and self.now >= counts,
            view.confirming and started is not None and any(at >= started for at in queries),
        )  # fmt: skip

    def _somebody(self) -> bool:
        decision = self.decision()
        return decision.action is not None or decision.step in (Step.FIX, Step.DECIDE)


def told(source: Source, words: str, asked: datetime, at: datetime, number: int | None = None) -> Evidence:
    """Evidence from its short hand: `9104` a bound answer · `(no answer)` how the call ended · `=FAILURE` a result_pay ·
    behind it `+`: it names the bill, `?`: it names no order, `-`: without its confirm_code."""
    if words.startswith("("):
        return Evidence(source, Outcome(words.strip("()")), at, asked, number, by="somebody")
    bill = BILL if words.endswith("+") else None
    outcome = Outcome.NUMBERLESS if words.endswith("?") else Outcome.ANSWERED
    text = words.rstrip("+?-")
    if text.startswith("="):
        code = None if source is Source.NOTIFY else "0000"
        return Evidence(source, Outcome.ANSWERED, at, asked, ret_code=code, result_pay=text[1:], oid_paybill=bill)
    code = CONFIRM_CODE if source is Source.PAY and words == "4002" else None
    return Evidence(source, outcome, at, asked, number, ret_code=text, oid_paybill=bill, confirm_code=code)


@frozen
class Facts:
    """What the library allows in a class of knowledge, and what it tells the user."""

    state: State
    step: Step
    sends: bool  # SUBMIT, now
    waits: bool  # SUBMIT, later
    asks: bool  # QUERY by itself
    resumable: bool
    approvable: bool
    declinable: bool
    replaceable: bool  # what `permits` says; a relaxation does not touch it
    opens: bool  # a new number may be opened in this model
    agreed: bool
    sends_begun: int
    confirms_begun: int
    silent: tuple[int, ...]  # attempts of which nothing is on record but that they began
    passed: frozenset[str]  # records of the gateway whose news, coming late, changes nothing any more
    unlawful: str  # the rule that forbids the send that is due, by the law as it is written down a second time

    @classmethod
    def of(cls, known: Knowledge, *, opens: bool, hurries: bool) -> Facts:
        view, decision, now = known.view, known.decision(), known.now
        submit = decision.action is Step.SUBMIT and decision.due_at is not None
        return cls(
            view.state, decision.step, hurries or (submit and decision.due_at <= now), submit and decision.due_at > now,
            decision.action is Step.QUERY,
            decision.step in (Step.FIX, Step.DECIDE) and view.state in _RESUMABLE,
            refusal_to_approve(view, now) is None, refusal_to_decline(view) is None,
            refusal_to_replace(view) is None, opens, view.agreed, len(view.attempts), len(known.attempts) - len(view.attempts),
            known.silent, _passed(known), _unlawful(known) if submit else "",
        )  # fmt: skip


def _unlawful(known: Knowledge) -> str:
    at = max(known.now, known.decision().due_at or known.now)
    return submit_breaks(known.attempts, known.evidence, T0, at, paused=False)


def _passed(known: Knowledge) -> frozenset[str]:
    if known.view.state in FINAL or known.view.state is State.CONFLICT:
        return frozenset(RECORDS)
    if Proof.PROCESSING in known.facts:
        return frozenset({NONE, FAILED0, ACCEPTED, REVIEW})
    return frozenset()


Opens = Callable[[Knowledge], bool]


def strictly(known: Knowledge) -> bool:
    """R4 and R8: a new number only when the library says so."""
    return refusal_to_replace(known.view) is None


@define
class Client:
    """The classes of knowledge found so far, and what each event makes of each of them."""

    opens: Opens = strictly
    hurries: Opens | None = None
    classes: dict[tuple[object, ...], int] = field(factory=dict)
    known: list[Knowledge] = field(factory=list)
    facts: list[Facts] = field(factory=list)
    memo: dict[tuple[int, Event], int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.place(Knowledge())

    def place(self, known: Knowledge) -> int:
        """The class of `known`."""
        opens, hurries = self.opens(known), self.hurries is not None and self.hurries(known)
        key = (opens, hurries, *known.key())
        found = self.classes.setdefault(key, len(self.known))
        if found == len(self.known):
            self.known.append(known)
            self.facts.append(Facts.of(known, opens=opens, hurries=hurries))
        return found

    def step(self, at: int, event: Event) -> int:
        """The class that `event` leads to."""
        found = self.memo.get((at, event))
        if found is None:
            found = self.memo[at, event] = self.place(self.known[at].after(event))
        return found
