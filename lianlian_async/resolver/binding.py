"""Is this answer about *our* order, and does it agree with what the journal says was sent?

A signature proves who speaks, not of what: answers can be replayed, mixed up between connections, or
re-split (docs/rules.md, "Bound"). Only what is bound becomes a fact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from ..protocol.answers import ConfirmAnswer, Notification, PayAnswer, QueryAnswer
from .evidence import Outcome

__all__ = ["bind_answer", "bind_record", "differences"]


def bind_answer(answer: PayAnswer | ConfirmAnswer, content: Mapping[str, str], bills: Collection[str]) -> Outcome:
    """How an answer to pay or confirm relates to `content`, the order that was sent; `bills` are known bills."""
    if answer.oid_partner != content["oid_partner"]:
        return Outcome.FOREIGN
    if answer.no_order is None:
        return Outcome.NUMBERLESS
    if answer.no_order != content["no_order"]:
        return Outcome.FOREIGN
    return Outcome.ANSWERED if _same_bill(answer.oid_paybill, bills) else Outcome.MISMATCHED


def bind_record(answer: QueryAnswer | Notification, content: Mapping[str, str], bills: Collection[str]) -> Outcome:
    """How a query's answer or a notification relates to `content`; everything it names must agree."""
    if answer.oid_partner != content["oid_partner"]:
        return Outcome.FOREIGN
    if answer.no_order is None:
        # "No record" can only ever lead to the same number again, so it is taken even without a number.
        return Outcome.ANSWERED if answer.ret_code == "8901" else Outcome.NUMBERLESS
    if answer.no_order != content["no_order"]:
        return Outcome.FOREIGN
    return Outcome.MISMATCHED if differences(answer, content, bills) else Outcome.ANSWERED


def differences(
    answer: QueryAnswer | Notification, content: Mapping[str, str], bills: Collection[str]
) -> tuple[str, ...]:
    """The names of what `answer`, which is about this very number, tells otherwise than the journal does."""
    agrees = {
        "money_order": answer.money_order in (None, Decimal(content["money_order"])),
        "dt_order": answer.dt_order in (None, content["dt_order"]),
        "oid_paybill": _same_bill(answer.oid_paybill, bills),
        "info_order": _same_text(answer.info_order, content.get("info_order")),
    }
    return tuple(name for name, same in agrees.items() if not same)


def _same_bill(bill: str | None, known: Collection[str]) -> bool:
    """One number never has two bills (assumption A2)."""
    return bill is None or not known or bill in known


def _same_text(told: str | None, ours: str | None) -> bool:
    """Specification 3.4: our text comes back as it was, or with `_` and the reason of a failure behind it.

    Our own text may hold `_`, so it is compared, never split.
    """
    return not told or not ours or told == ours or told.startswith(f"{ours}_")
