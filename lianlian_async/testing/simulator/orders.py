"""What the gateway remembers of each order: its content, and every face it has shown since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from attrs import define, field, frozen

__all__ = ["Face", "Order", "OrderBook"]

_SETTLED = frozenset({"SUCCESS", "FAILURE", "CANCEL", "CLOSED"})
_DEAD = frozenset({"FAILURE", "CANCEL", "CLOSED"})


@frozen
class Face:
    """What a query shows of an order from some moment on (specification 3.3)."""

    result_pay: str
    oid_paybill: str | None = None
    settle_date: str | None = None
    info_order: str | None = field(default=None, repr=False)
    memo: str | None = field(default=None, repr=False)


@define(eq=False)
class Order:
    """One order under one number; a racy gateway may hold two of them under the same number."""

    content: Mapping[str, str] = field(repr=False)
    created: datetime
    amount: Decimal
    notify_url: str = field(repr=False)
    serial: int = 0
    faces: list[tuple[datetime, Face]] = field(factory=list, repr=False)
    confirm_code: str | None = field(default=None, repr=False)
    tries: int = 0
    closed_by: str | None = None  # "tries" or "expiry"
    debited: bool = False
    stopped: bool = False  # an operator has stepped in: what the bank had planned no longer happens
    accepted_at: datetime | None = None
    acknowledged: set[str] = field(factory=set, repr=False)

    @property
    def no_order(self) -> str:
        return self.content["no_order"]

    @property
    def card_no(self) -> str:
        return self.content["card_no"]

    @property
    def face(self) -> Face:
        """What it is now."""
        return self.faces[-1][1]

    @property
    def result_pay(self) -> str:
        return self.face.result_pay

    @property
    def settled(self) -> bool:
        """True when its result is definite, even if a CANCEL may still follow."""
        return self.result_pay in _SETTLED

    @property
    def dead(self) -> bool:
        """True when it can no longer become a payment."""
        return self.result_pay in _DEAD

    @property
    def revivable(self) -> bool:
        """True when it failed before a bill was made: the same number may come again (specification 7)."""
        return self.result_pay == "FAILURE" and self.face.oid_paybill is None

    def show(self, face: Face, at: datetime) -> None:
        self.faces.append((at, face))

    def face_at(self, moment: datetime) -> Face | None:
        """What a copy of the database as of `moment` shows, or None when it had not arrived yet."""
        seen = None
        for at, face in self.faces:
            if at > moment:
                break
            seen = face
        return seen


@define(eq=False)
class OrderBook:
    """All orders, found by number, by bill, and by payee and amount."""

    _by_number: defaultdict[str, list[Order]] = field(factory=lambda: defaultdict(list), repr=False)
    _by_bill: dict[str, Order] = field(factory=dict, repr=False)
    _by_payee: defaultdict[tuple[str, Decimal], list[Order]] = field(factory=lambda: defaultdict(list), repr=False)
    _count: int = 0

    def __iter__(self) -> Iterator[Order]:
        return (order for orders in self._by_number.values() for order in orders)

    def number(self, order: Order) -> None:
        """Give a new order its place; nothing finds it before `add`."""
        self._count += 1
        order.serial = self._count

    def add(self, order: Order) -> None:
        self._by_number[order.no_order].append(order)
        self._by_payee[order.card_no, order.amount].append(order)

    def add_bill(self, oid_paybill: str, order: Order) -> None:
        self._by_bill[oid_paybill] = order

    def has_bill(self, oid_paybill: str) -> bool:
        return oid_paybill in self._by_bill

    def of(self, no_order: str) -> list[Order]:
        """Everything under this number, oldest first."""
        return list(self._by_number.get(no_order, ()))

    def to_payee(self, card_no: str, amount: Decimal) -> list[Order]:
        """Everything of this amount to this card, oldest first."""
        return list(self._by_payee.get((card_no, amount), ()))

    def number_of(self, oid_paybill: str) -> str | None:
        """The number a bill was made for."""
        order = self._by_bill.get(oid_paybill)
        return order.no_order if order is not None else None

    def seen(self, no_order: str | None, oid_paybill: str | None, moment: datetime) -> tuple[Order, Face] | None:
        """What a query finds in a copy of the database as of `moment`: the order with a bill first, else the newest."""
        number = no_order or (self.number_of(oid_paybill) if oid_paybill else None)
        faces = [(order, face) for order in self.of(number or "") if (face := order.face_at(moment)) is not None]
        if oid_paybill:
            faces = [(order, face) for order, face in faces if face.oid_paybill == oid_paybill]
        billed = [pair for pair in faces if pair[1].oid_paybill]
        return billed[0] if billed else (faces[-1] if faces else None)
