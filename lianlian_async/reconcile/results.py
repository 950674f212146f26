"""What a reconciliation found, as values: totals by day, and every difference with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from ..resolver import State

__all__ = ["DayTotals", "Difference", "Kind", "ReadFile", "Reconciliation"]


class Kind(StrEnum):
    """What differs. Each number is reported once, under the first of these that holds."""

    FOREIGN = "foreign"  # listed, and not in the journal: a restored backup, or somebody else uses our numbers
    TWICE = "twice"  # listed more than once
    AMOUNT = "amount"  # listed with another amount than was sent
    BILL = "bill"  # listed with another bill than the gateway told
    STATE = "state"  # listed as paid, and the journal did not say so
    REFUND = "refund"  # listed as refunded, and the journal did not say so
    DATE = "date"  # listed on another day than the gateway told
    MISSING = "missing"  # paid, and not listed a day after it should have been
    SUMMARY = "summary"  # the summary's count or amount is not that of the rows
    BALANCE = "balance"  # opening less closing balance is not what the rows come to


_ZERO: Final = Decimal("0.00")


@frozen
class ReadFile:
    """A statement that was read: its name, the encoding it is in, and how many rows it has."""

    name: str
    encoding: str
    rows: int


@frozen(kw_only=True)
class DayTotals:
    """One settle date: what the statement lists, what the journal holds. Money in yuan; a refund's is above zero.

    `fee` is what was charged less what came back; `states` counts the journal's payouts of the day by state.
    """

    day: str
    count: int = 0
    amount: Decimal = _ZERO
    fee: Decimal = _ZERO
    refunds: int = 0
    refunded: Decimal = _ZERO
    our_count: int = 0
    our_amount: Decimal = _ZERO
    states: Mapping[str, int] = field(factory=dict)
    differences: int = 0

    @property
    def outflow(self) -> Decimal:
        """What the account has less after the day: payments and fees less refunds."""
        return self.amount + self.fee - self.refunded


@frozen(kw_only=True)
class Difference:
    """One thing that is not even, card number and name masked.

    `before` and `state` are the payout's states before and after the statement was taken as evidence; None where there
    is no payout. `evidence` is all that was known of it by then, a line each; `places` is where the statement says it.
    """

    kind: Kind
    day: str
    no_order: str = ""
    detail: str
    listed_amount: Decimal | None = None
    our_amount: Decimal | None = None
    listed_bill: str | None = None
    our_bill: str | None = None
    our_date: str | None = None
    before: State | None = None
    state: State | None = None
    card_no: str = ""
    acct_name: str = ""
    places: tuple[str, ...] = ()
    evidence: tuple[str, ...] = field(default=(), repr=False)


@frozen(kw_only=True)
class Reconciliation:
    """One run. `waiting` are payouts that may still be listed tomorrow; they are no differences yet."""

    oid_partner: str
    files: tuple[ReadFile, ...]
    days: tuple[DayTotals, ...]
    differences: tuple[Difference, ...] = field(repr=False)
    waiting: tuple[Difference, ...] = field(repr=False)
    opening: Decimal | None = None
    closing: Decimal | None = None

    @property
    def even(self) -> bool:
        """True when nothing differs."""
        return not self.differences

    @property
    def total(self) -> DayTotals:
        """All days together."""
        states: dict[str, int] = {}
        for day in self.days:
            for state, count in day.states.items():
                states[state] = states.get(state, 0) + count
        return DayTotals(
            day="", count=sum(d.count for d in self.days), amount=sum((d.amount for d in self.days), _ZERO),
            fee=sum((d.fee for d in self.days), _ZERO), refunds=sum(d.refunds for d in self.days),
            refunded=sum((d.refunded for d in self.days), _ZERO), our_count=sum(d.our_count for d in self.days),
            our_amount=sum((d.our_amount for d in self.days), _ZERO), states=states,
            differences=len(self.differences),
        )  # fmt: skip

    @property
    def unexplained(self) -> Decimal | None:
        """Opening less closing balance less what the rows come to, where both balances were given."""
        if self.opening is None or self.closing is None:
            return None
        return self.opening - self.closing - self.total.outflow

    def of_kind(self, kind: Kind) -> tuple[Difference, ...]:
        """The differences of one kind."""
        return tuple(difference for difference in self.differences if difference.kind is kind)
