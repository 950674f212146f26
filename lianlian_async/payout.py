"""What a caller sees of a payout: values, with card number and name masked."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attrs import frozen

from .journal import Record
from .protocol.fields import mask_card, mask_name, wire_money
from .resolver import Actor, Decision, Outcome, Proof, State, Step, View

__all__ = ["AT_REST", "Confirmation", "Payout"]

# Steps at which the library waits for somebody or nothing: a waiting caller is told at once.
AT_REST = frozenset({Step.NOTHING, Step.DECIDE, Step.FIX})


class Confirmation(StrEnum):
    """What is proven of the newest confirmPayment of a payout that was under review (specification 3.2)."""

    NOT_SENT = "not sent"  # nothing of it has left
    SENT = "sent"  # it was answered, whatever the answer was
    UNKNOWN = "unknown"  # it may have left; a query tells what it did


@frozen(kw_only=True)
class Payout:
    """One payout as all evidence so far proves it. `step` is what must happen next, `advice` says it in words.

    `heard_at` is when a query last brought a trustworthy answer that says something of this payout, `due_at` when the
    library acts next. `confirmation` is None unless people had it confirmed.
    """

    no_order: str
    key: str | None
    state: State
    step: Step
    advice: str
    who: Actor
    rule: str
    money_order: Decimal
    dt_order: str
    card_no: str
    acct_name: str
    oid_paybill: str | None
    ret_code: str | None
    settle_date: str | None
    sends: int
    due_at: datetime | None
    heard_at: datetime | None
    created_at: datetime
    alarms: tuple[str, ...]
    replaceable: bool
    confirmation: Confirmation | None = None

    @property
    def final(self) -> bool:
        """True when this number has ended; PAID is still watched for a refund by the bank."""
        return self.state in (State.PAID, State.FAILED, State.CLOSED, State.REFUNDED) and self.step is not Step.QUERY

    @property
    def at_rest(self) -> bool:
        """True when nothing moves until a person acts, or when all has ended."""
        return self.step in AT_REST

    def as_dict(self) -> dict[str, Any]:
        """What a script reads: plain values for JSON under the names of `status --json`, money as the wire's text.

        Neither card number nor name is among them; `alarms` is there when there are any.
        """
        said: dict[str, Any] = {
            "key": self.key,
            "no_order": self.no_order,
            "state": self.state.value,
            "step": self.step.value,
            "money_order": wire_money(self.money_order),
            "oid_paybill": self.oid_paybill,
            "ret_code": self.ret_code,
            "settle_date": self.settle_date,
            "advice": self.advice,
        }
        return {**said, "alarms": list(self.alarms)} if self.alarms else said

    @classmethod
    def of(cls, record: Record, view: View, decision: Decision) -> Payout:
        """The payout of a journal record, as `view` and `decision` read it."""
        content = record.content
        return cls(
            no_order=record.no_order,
            key=record.key,
            state=view.state,
            step=decision.step,
            advice=decision.advice,
            who=decision.who,
            rule=decision.rule.name,
            money_order=Decimal(content["money_order"]),
            dt_order=content["dt_order"],
            card_no=mask_card(content["card_no"]),
            acct_name=mask_name(content["acct_name"]),
            oid_paybill=view.oid_paybill,
            ret_code=view.ret_code,
            settle_date=view.settle_date,
            sends=view.sent,
            due_at=decision.due_at,
            heard_at=view.heard_at,
            created_at=record.created_at,
            alarms=view.alarms,
            replaceable=view.replaceable,
            confirmation=_confirmation(view),
        )


def _confirmation(view: View) -> Confirmation | None:
    if view.confirm_at is None:
        return None
    if view.confirm is None or (view.confirm.key in set(Outcome) and view.confirm.effect.proves is not Proof.UNSENT):
        return Confirmation.UNKNOWN
    return Confirmation.NOT_SENT if view.confirm.effect.proves is Proof.UNSENT else Confirmation.SENT
