"""One piece of news, as it came, and what it proves (specification 2.2, 3, 5, 7).

Everything the library ever learns about a payout is an `Evidence`: an answer, a failed call, a
notification, a row of a statement, a person's decision. Evidence is only ever added. `row_of` finds the one row of the
table below that speaks about it: for the gateway's signed and bound answers the rows come from
`protocol.ret_codes` and `_RESULT_PAY`; for everything that is less than proof, from `_FAULTS`.

    signed?  bound?                                        proves
    ───────────────────────────────────────────────────────────────────────────────
    yes      yes: ours, this number, agrees with journal   what its row says
    yes      names no number                               nothing (a hint; 8901 alone is taken as it is)
    yes      another order or merchant                     nothing; three times: CONFLICT
    yes      this number, other amount, time or bill       CONFLICT after query, notify and statement
    no       -                                             nothing, whatever it says
    no answer, HTTP status other than 200, unreadable      nothing
    the transport *proves* that no byte left               UNSENT, for this attempt
    a row of a statement (never signed), bound             PAID or REFUNDED, to be asked about; opens nothing

"Nothing" always means: it may have been paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from ..protocol.ret_codes import RET_CODES, UNKNOWN_CODE, Actor, Effect, Proof, Source, Then

__all__ = ["ROWS", "Attempt", "Evidence", "Outcome", "Row", "row_of"]


class Outcome(StrEnum):
    """How a call ended or a message arrived, before anybody asks what it says."""

    ANSWERED = "answered"  # signed, and bound to our order
    NUMBERLESS = "numberless"  # signed and ours, but it names no order
    FOREIGN = "foreign"  # signed, but of another order or merchant
    MISMATCHED = "mismatched"  # signed, this number, other content than the journal's
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad signature"
    UNREADABLE = "unreadable"
    HTTP_STATUS = "http status"
    BUSY = "busy"  # HTTP 429 and 503
    NO_ANSWER = "no answer"  # bytes may have left, nothing usable came back
    NOT_SENT = "not sent"  # proven by the transport
    UNTRUSTED = "untrusted"  # the certificate was refused, so nothing was sent
    RESUMED = "resumed"  # a person: it is fixed, the same number may go once more
    AMENDED = "amended"  # a person: the content is corrected, the same number may go once more
    APPROVED = "approved"  # a person: the payout under review is meant
    DECLINED = "declined"  # a person: the payout under review is not meant
    REPLACED = "replaced"  # a person: this number takes the place of one that is proven dead


@frozen
class Attempt:
    """One send of pay or confirm; journalled before its first byte leaves."""

    number: int
    source: Source
    started_at: datetime
    deadline_at: datetime
    content_hash: str
    owner: str


@frozen
class Evidence:
    """One piece of news. `asked_at` is when the call left, `at` when its outcome was written down."""

    source: Source
    outcome: Outcome
    at: datetime
    asked_at: datetime
    attempt: int | None = None
    ret_code: str | None = None
    ret_msg: str | None = None
    result_pay: str | None = None
    oid_paybill: str | None = None
    settle_date: str | None = None
    confirm_code: str | None = field(default=None, repr=False)
    detail: str | None = None
    by: str | None = None


@frozen
class Row:
    """One row of the table: this news from this source proves that, and leads there."""

    source: Source
    key: str
    effect: Effect

    @property
    def name(self) -> str:
        """What to call it where it is mentioned."""
        return f"{self.source}: {self.key}"

    @property
    def cause(self) -> str:
        """Rows with one cause count together where something may be tried once: 4006 and 4007 are both about the
        gateway's key, and codes that nobody can explain are one riddle."""
        code = self.key.removesuffix(f" {NUMBERLESS}")
        if code in ("4006", "4007"):
            return "envelope"
        return "riddle" if self.effect.alarm and self.effect.then is Then.RESEND_ONCE else code


NO_CONFIRM_CODE: Final = "without confirm_code"
OTHER_WORD: Final = "0000, unknown result_pay"
NO_RESULT: Final = "0000, no result_pay"
NUMBERLESS: Final = "without no_order"
_REVIEW_CODES: Final = ("4002", "4003", "4004")


def _effect(
    proves: Proof, then: Then, who: Actor, advice: str, *, breaker: bool = False, alarm: bool = False
) -> Effect:
    return Effect(proves, then, who, advice, breaker, alarm)


# What `result_pay` proves in a bound query answer or notification (specification 3.3, 3.4).
_RESULT_PAY: Final[Mapping[str, Effect]] = {
    "SUCCESS": _effect(Proof.PAID, Then.END, Actor.LIBRARY, "Paid. A refund may still follow: it is watched for."),
    "FAILURE": _effect(
        Proof.FAILED, Then.DECIDE, Actor.CALLER, "Failed at the bank. A new number may be opened with `replace`."
    ),
    "CANCEL": _effect(
        Proof.REFUNDED, Then.DECIDE, Actor.CALLER, "The bank returned the money. A new number may be opened with `replace`."
    ),
    "CLOSED": _effect(
        Proof.CLOSED, Then.DECIDE, Actor.CALLER, "Closed without payment. A new number may be opened with `replace`."
    ),
    "CHECK": _effect(
        Proof.REVIEW, Then.DECIDE, Actor.PERSON, "Under review: a person must approve or decline; it can still be paid."
    ),
    "PROCESSING": _effect(Proof.PROCESSING, Then.FOLLOW, Actor.LIBRARY, "At the bank: it is queried until it ends."),
    "WAITING": _effect(Proof.PROCESSING, Then.FOLLOW, Actor.LIBRARY, "Waiting for the bank: it is queried until it ends."),
    "APPLY": _effect(Proof.ACCEPTED, Then.FOLLOW, Actor.LIBRARY, "Accepted, not yet at the bank: it is queried until it ends."),
}  # fmt: skip
_NOTIFIED: Final = ("SUCCESS", "FAILURE", "CANCEL")
# What a payout statement lists (specification 6): status 0 and status 5, in the words of `result_pay`. Failures are not
# in it. It comes from the merchant's own account at LianLian and is not signed: it is believed where it says that
# money moved, it never says that a number is free, and what it alone has told is asked about.
_LISTED: Final[Mapping[str, Effect]] = {
    "SUCCESS": _effect(
        Proof.PAID, Then.END, Actor.LIBRARY, "Listed as paid in a statement: a query is asked to say the same."
    ),
    "CANCEL": _effect(
        Proof.REFUNDED, Then.DECIDE, Actor.CALLER,
        "Listed as refunded in a statement. A new number may be opened with `replace` once a query agrees.",
    ),
}  # fmt: skip

_LIB, _OP, _PERSON = Actor.LIBRARY, Actor.OPERATOR, Actor.PERSON
_ANYWHERE: Final[Mapping[Outcome, Effect]] = {
    Outcome.UNSIGNED: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The answer is not signed: it says nothing, the order is being queried."),
    Outcome.BAD_SIGNATURE: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The answer's signature is wrong: it says nothing, the order is being queried."),
    Outcome.UNREADABLE: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The answer cannot be read: it says nothing, the order is being queried."),
    Outcome.HTTP_STATUS: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The answer's HTTP status is not 200: it says nothing, the order is being queried."),
    Outcome.BUSY: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The gateway is busy: the order is queried, more slowly."),
    Outcome.NO_ANSWER: _effect(Proof.NOTHING, Then.RESEND, _LIB, "No answer came, and it may have been booked: it is being queried."),
    Outcome.FOREIGN: _effect(Proof.NOTHING, Then.RESEND, _LIB, "The answer belongs to another order: it says nothing, the order is being queried.", alarm=True),
    Outcome.NOT_SENT: _effect(Proof.UNSENT, Then.RESEND, _LIB, "Nothing of this attempt left this machine: it will be tried again."),
    Outcome.UNTRUSTED: _effect(
        Proof.UNSENT, Then.RESEND, _OP,
        "The gateway's certificate was refused and nothing was sent: check the network and the address, then `unpause`.",
        breaker=True, alarm=True,
    ),
}  # fmt: skip
_MISMATCH_AFTER_SEND: Final = _effect(
    Proof.NOTHING, Then.FOLLOW, _LIB,
    "The answer disagrees with what was sent: nothing is concluded, the order is being queried.", alarm=True,
)  # fmt: skip
_MISMATCH_OF_RECORD: Final = _effect(
    Proof.CONFLICT, Then.DECIDE, _PERSON,
    "The gateway's record is not the order that was sent: nothing more is sent, settle it with LianLian.", alarm=True,
)  # fmt: skip

_MISMATCH_OF_LISTING: Final = _effect(
    Proof.CONFLICT, Then.DECIDE, _PERSON,
    "A statement lists this number otherwise than it was sent: nothing more is sent, settle it with LianLian.", alarm=True,
)  # fmt: skip

# What people say proves nothing about the money; it is on record who said it, and what may follow.
_SAID_BY_A_PERSON: Final[Mapping[Outcome, Effect]] = {
    Outcome.RESUMED: _effect(Proof.NOTHING, Then.RESEND, _LIB, "Released by a person: queried, then sent again."),
    Outcome.AMENDED: _effect(Proof.NOTHING, Then.RESEND, _LIB, "Corrected by a person: queried, then sent again under the same number."),
    Outcome.APPROVED: _effect(Proof.NOTHING, Then.FOLLOW, _LIB, "Approved by a person: confirmed as soon as all who must have approved."),
    Outcome.DECLINED: _effect(Proof.NOTHING, Then.FOLLOW, _LIB, "Declined by a person: queried until the gateway closes it."),
    Outcome.REPLACED: _effect(Proof.NOTHING, Then.FOLLOW, _LIB, "A person put this number in the place of a dead one."),
}  # fmt: skip


def _numberless(code: str, answer: Effect) -> tuple[str, Effect]:
    """A signed answer that names no order, as LianLian's own 4005 does: it may be a replay, so it proves
    nothing of *this* order; but whoever must fix something is told, and new money waits for them."""
    then = answer.then if answer.then in (Then.FIX, Then.AMEND, Then.RESEND_ONCE) else Then.RESEND
    return f"{code} {NUMBERLESS}", Effect(Proof.NOTHING, then, answer.who, answer.advice, answer.breaker, answer.alarm)


def _answers(source: Source) -> Iterator[tuple[str, Effect]]:
    """Rows for signed and bound answers of pay and confirm."""
    yield from ((code, row.at(source)) for code, row in RET_CODES.items())
    yield UNKNOWN_CODE.code, UNKNOWN_CODE.at(source)
    yield from (_numberless(code, row.at(source)) for code, row in RET_CODES.items())
    yield _numberless(UNKNOWN_CODE.code, UNKNOWN_CODE.at(source))
    if source is Source.PAY:
        lost = "Under review, and no confirm_code came: decide it in the merchant portal, or wait until it is closed."
        for code in _REVIEW_CODES:
            yield f"{code} {NO_CONFIRM_CODE}", Effect(Proof.REVIEW, Then.DECIDE, Actor.PERSON, lost)


def _query_answers() -> Iterator[tuple[str, Effect]]:
    for code, row in RET_CODES.items():
        if code != "0000":
            yield code, row.query
    yield UNKNOWN_CODE.code, UNKNOWN_CODE.query
    yield from ((f"0000 {word}", effect) for word, effect in _RESULT_PAY.items())
    strange = "The gateway has it in a state that the specification does not know: it is queried until it ends."
    yield OTHER_WORD, Effect(Proof.ACCEPTED, Then.FOLLOW, Actor.LIBRARY, strange, alarm=True)
    yield NO_RESULT, RET_CODES["9999"].query


def _faults(source: Source) -> Iterator[tuple[str, Effect]]:
    """Rows for everything that is less than a signed and bound answer."""
    for outcome, effect in _ANYWHERE.items():
        # A failed query proves nothing about attempts, whether or not it left this machine.
        queried = source is Source.QUERY and effect.proves is Proof.UNSENT
        yield (
            outcome,
            Effect(Proof.NOTHING, Then.FOLLOW, effect.who, effect.advice, effect.breaker, effect.alarm)
            if queried
            else effect,
        )
    if source is Source.QUERY:
        yield Outcome.NUMBERLESS, RET_CODES["9999"].query
    yield Outcome.MISMATCHED, _MISMATCH_OF_RECORD if source is Source.QUERY else _MISMATCH_AFTER_SEND


def _table() -> Iterator[Row]:
    for source in (Source.PAY, Source.CONFIRM):
        yield from (Row(source, key, effect) for key, effect in (*_answers(source), *_faults(source)))
    yield from (Row(Source.QUERY, key, effect) for key, effect in (*_query_answers(), *_faults(Source.QUERY)))
    yield from (Row(Source.NOTIFY, word, _RESULT_PAY[word]) for word in _NOTIFIED)
    yield Row(Source.NOTIFY, Outcome.MISMATCHED, _MISMATCH_OF_RECORD)
    yield from (Row(Source.STATEMENT, word, effect) for word, effect in _LISTED.items())
    yield Row(Source.STATEMENT, Outcome.MISMATCHED, _MISMATCH_OF_LISTING)
    yield from (Row(Source.PERSON, outcome, effect) for outcome, effect in _SAID_BY_A_PERSON.items())


ROWS: Final[Mapping[tuple[Source, str], Row]] = MappingProxyType({(row.source, row.key): row for row in _table()})


def _key(news: Evidence) -> str:
    if news.outcome is Outcome.NUMBERLESS and news.source is not Source.QUERY:
        return f"{news.ret_code if news.ret_code in RET_CODES else UNKNOWN_CODE.code} {NUMBERLESS}"
    if news.outcome is not Outcome.ANSWERED:
        return news.outcome
    if news.source in (Source.NOTIFY, Source.STATEMENT):
        return news.result_pay or ""
    code = news.ret_code or ""
    if news.source is Source.QUERY and code == "0000":
        word = news.result_pay
        return f"0000 {word}" if word in _RESULT_PAY else OTHER_WORD if word else NO_RESULT
    if news.source is Source.PAY and code in _REVIEW_CODES and not news.confirm_code:
        return f"{code} {NO_CONFIRM_CODE}"
    return code if code in RET_CODES else UNKNOWN_CODE.code


def row_of(news: Evidence) -> Row:
    """The one row that speaks about `news`.

    Raises KeyError for news that no call, notification, statement or person can bring (an internal error: such a
    thing must never be written down as if it were understood).
    """
    return ROWS[news.source, _key(news)]
