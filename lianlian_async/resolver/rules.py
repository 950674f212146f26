"""The rows of the decision table, one of which `decide` picks: when, what must happen next, and who must act."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from attrs import frozen

from ..protocol.ret_codes import Actor

__all__ = ["RULES", "Rule", "Step"]


class Step(StrEnum):
    """What must happen next."""

    SUBMIT = "SUBMIT"
    QUERY = "QUERY"
    DECIDE = "DECIDE"
    FIX = "FIX"
    NOTHING = "NOTHING"


@frozen
class Rule:
    """One row of the decision table. An empty `advice` means: the evidence's own row gives it."""

    name: str
    when: str
    step: Step
    who: Actor
    advice: str


def _rules(*rows: tuple[str, str, Step, Actor, str]) -> Mapping[str, Rule]:
    return MappingProxyType({row[0]: Rule(*row) for row in rows})


_LIB, _PERSON = Actor.LIBRARY, Actor.PERSON

RULES: Final = _rules(
    ("conflict", "the evidence contradicts itself or the journal", Step.DECIDE, _PERSON,
     "The gateway's record and ours disagree: nothing more is sent, settle it with LianLian."),
    ("paid", "PAID", Step.NOTHING, _LIB, "Paid."),
    ("paid, watched", "PAID, and it was not looked at since the seventh day", Step.NOTHING, _LIB, "Paid. It is still watched for a refund."),
    ("ended", "FAILED, CLOSED or REFUNDED, and a query agrees", Step.NOTHING, Actor.CALLER, ""),
    ("ended, unconfirmed", "FAILED or REFUNDED from a notification or a statement alone", Step.QUERY, _LIB,
     "A notification or a statement says that it ended without payment: a query must agree first."),
    ("review", "REVIEW", Step.DECIDE, _PERSON,
     "Under review, and the confirm_code was lost with an answer: decide it in the portal, or wait until it closes."),
    ("review, second person", "REVIEW, and one person has approved it where two must", Step.DECIDE, _PERSON,
     "One person has approved it: a second one must, too, before it is confirmed."),
    ("review, too late", "REVIEW, and 25 minutes have passed since the confirm_code was asked for", Step.DECIDE, _PERSON,
     "Too late to confirm it here: decide it in the merchant portal, or wait until the gateway closes it."),
    ("declined", "REVIEW, and a person has declined it", Step.QUERY, _LIB,
     "Declined by a person: it is queried until the gateway closes it; until then the merchant portal can still confirm it."),
    ("confirming", "REVIEW, and what the newest confirm did is not known", Step.QUERY, _LIB,
     "Confirmed by a person, and no answer was written down: it is being queried."),
    ("in progress", "IN_PROGRESS", Step.QUERY, _LIB, "The gateway has it: it is queried until it ends."),
    ("stuck at the gateway", "IN_PROGRESS, not yet at the bank for over 10 minutes", Step.QUERY, Actor.OPERATOR,
     "Accepted long ago and not yet at the bank: it is still queried; call LianLian."),
    ("denied by the gateway", "IN_PROGRESS without a bill, and for half an hour every answer says: no record", Step.DECIDE, _PERSON,
     "The gateway said that it has the order, and now that it has no record: ask LianLian. Nothing more is sent."),
    ("denied, with a bill", "IN_PROGRESS with a bill, and for half an hour every answer says: no record", Step.QUERY, Actor.OPERATOR,
     "The gateway named a bill for it, and now says that it has no record: it is still queried; ask LianLian. Nothing more is sent."),
    ("failed without a bill", "IN_PROGRESS, and a later answer says FAILURE without a bill", Step.DECIDE, _PERSON,
     "The gateway says FAILURE but names no bill: not final. Settle it with LianLian; the number stays."),
    ("given up", "no end within seven days", Step.DECIDE, _PERSON,
     "No end was found within seven days: ask LianLian (specification 5); nothing more is sent."),
    ("first send", "UNSENT, fresh, never attempted", Step.SUBMIT, _LIB, "It is about to be sent."),
    ("ask first", "no fresh word from the gateway", Step.QUERY, _LIB, ""),
    ("ask again", "the number is free, and the gateway's word has grown old", Step.QUERY, _LIB,
     "It is asked about once more before it is sent."),
    ("fix", "the newest answer names something to be mended", Step.FIX, Actor.OPERATOR, ""),
    ("fix, tried twice", "the same answer came again after the one resend", Step.FIX, Actor.OPERATOR, ""),
    ("strange code twice", "an unlisted or misplaced code came again", Step.DECIDE, _PERSON,
     "A code that the specification does not explain came twice: ask LianLian, then `resume`."),
    ("known, and no record", "1002, and then the gateway has no record", Step.DECIDE, _PERSON,
     "The gateway said that it knows the number, and now that it has no record: ask LianLian, then `resume`."),
    ("failed, no reason", "FAILURE without a bill, and no answer to go by", Step.DECIDE, _PERSON,
     "The gateway failed the order without a bill or a reason: ask LianLian, then `resume`; the number stays."),
    ("too old to resend", "older than 24 hours", Step.DECIDE, _PERSON,
     "Older than 24 hours: how long the gateway remembers a number is unknown. Look in the merchant portal, then `resume`."),
    ("too many sends", "sent five times", Step.DECIDE, _PERSON,
     "Sent five times without a result: find out why, then `resume`."),
    ("resend later", "the number is free, and the next send is paced", Step.SUBMIT, _LIB,
     "The gateway has no record: the same number is sent again shortly."),
    ("resend", "the number is free", Step.SUBMIT, _LIB, "The gateway has no record: the same number is sent again."),
    ("replaced, revived", "a send is due, and a number that this one replaced is not proven dead any more", Step.DECIDE, _PERSON,
     "It stands in the place of a number that may have been paid after all: nothing is sent. Settle it with LianLian."),
    ("paused", "a send is due, and new money is paused", Step.FIX, Actor.OPERATOR,
     "New money is paused for this merchant: mend the cause, then `unpause`."),
)  # fmt: skip
