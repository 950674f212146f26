"""The money: the merchant's account, the bills, the bank's pace, and what reaches a payee. No I/O of its own.

Only this module writes to the ledger and changes a balance. The ledger's line comes first: when it cannot be written
(OSError), nothing has happened.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from lianlian_async.clock import SHANGHAI

from .agenda import Agenda
from .draw import Draw
from .faults import Faults
from .ledger import Entry, Ledger, masked_card
from .notices import Notices
from .orders import Face, Order, OrderBook
from .script import Scripts
from .settings import Behaviour, Limits

__all__ = ["Bank"]

_REASONS = ("账号户名不符", "收款账户异常", "收款行系统维护", "收款账户已销户")


class Bank:
    """Accepts orders, moves their money in the bank's own time and keeps the ledger."""

    def __init__(
        self,
        *,
        balance: Decimal,
        limits: Limits,
        behaviour: Behaviour,
        faults: Faults,
        ledger: Ledger,
        scripts: Scripts,
        draw: Draw,
        agenda: Agenda,
        book: OrderBook,
        notices: Notices,
    ) -> None:
        self.balance = balance
        self.limits = limits
        self.payees: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.names: dict[str, str] = dict(behaviour.known_names)
        self._behaviour = behaviour
        self._faults = faults
        self._ledger = ledger
        self._scripts = scripts
        self._draw = draw
        self._agenda = agenda
        self._book = book
        self._notices = notices
        self._spent: defaultdict[str, Decimal] = defaultdict(Decimal)

    # --- what may be paid --------------------------------------------------------------------------

    def over_limit(self, amount: Decimal, now: datetime) -> str | None:
        """9911, 9912 or 9913 when a limit stands in the way (specification 7)."""
        day, month = _day(now), _day(now)[:6]
        for ret_code, limit, spent in (
            ("9911", self.limits.single, Decimal(0)),
            ("9912", self.limits.day, self._spent[day]),
            ("9913", self.limits.month, self._spent[month]),
        ):
            if limit is not None and spent + amount > limit:
                return ret_code
        return None

    def short_of(self, amount: Decimal) -> bool:
        """True when the merchant's account does not hold this much."""
        return self.balance < amount

    # --- an order's life ---------------------------------------------------------------------------

    def accept(self, order: Order, now: datetime) -> str:
        """Make a bill, debit the merchant and hand the order to the bank; returns the `oid_paybill`."""
        is_new = not order.faces
        if is_new:
            self._book.number(order)
        oid_paybill = self._bill_number(order, now)
        self._write("booked", order, now, oid_paybill)
        if is_new:
            self._book.add(order)
        order.accepted_at = now
        self._debit(order, now)
        order.show(Face("PROCESSING", oid_paybill, info_order=order.content.get("info_order")), now)
        self._book.add_bill(oid_paybill, order)
        for state, delay in self._timeline(order):
            if delay <= 0:
                self._turn_at_once(order, state, now)
            else:
                self._agenda.put(now + timedelta(seconds=delay), partial(self._planned, order, state))
        return oid_paybill

    def fail_unbilled(self, order: Order, reason: str, now: datetime) -> None:
        """Keep an order that failed before it got a bill (9104, 4013, 4014)."""
        self._write("failed", order, now)
        self._book.number(order)
        self._book.add(order)
        order.show(Face("FAILURE", None, None, _with_reason(order, reason), reason), now)

    def review(self, order: Order, now: datetime) -> None:
        """Keep an order for a person to look at; it closes by itself when nobody does."""
        self._write("review", order, now)
        self._book.number(order)
        self._book.add(order)
        order.confirm_code = format(self._draw.whole(10**6, "confirm code", order.no_order, order.serial), "06d")
        order.show(Face("CHECK", info_order=order.content.get("info_order")), now)
        closes = now + timedelta(seconds=self._behaviour.review_window_s)
        self._agenda.put(closes, lambda at: self.close(order, "expiry", at))

    def close(self, order: Order, closed_by: str, at: datetime) -> None:
        """Close an order that is still under review."""
        if order.result_pay == "CHECK":
            self.turn(order, "CLOSED", at)
            order.closed_by = closed_by

    def cancel(self, order: Order, at: datetime) -> None:
        """The payee's bank returns the money (specification 8, question 2)."""
        self.turn(order, "CANCEL", at)
        order.stopped = True

    def _turn_at_once(self, order: Order, result_pay: str, at: datetime) -> None:
        """The order is booked by now: what the ledger does not take yet happens as soon as it does."""
        try:
            self.turn(order, result_pay, at)
        except OSError:
            self._agenda.put(at, partial(self._planned, order, result_pay))

    def _planned(self, order: Order, result_pay: str, at: datetime) -> None:
        if not order.stopped:
            self.turn(order, result_pay, at)

    def turn(self, order: Order, result_pay: str, at: datetime) -> None:
        """The bank, or a script, moves an order on to its next state."""
        now, bill = order.face, order.face.oid_paybill
        if result_pay == "SUCCESS":
            self._write("paid", order, at)
            face = Face("SUCCESS", bill, _day(at), now.info_order)
            self._debit(order, at)
            self.payees[order.card_no] += order.amount
            self.names.setdefault(order.card_no, order.content["acct_name"])
        elif result_pay == "FAILURE":
            self._write("failed", order, at)
            reason = self._reason(order)
            face = Face("FAILURE", bill, None, _with_reason(order, reason), reason)
            self._credit(order)
        elif result_pay == "CANCEL":
            self._write("refunded", order, at)
            face = Face("CANCEL", bill, now.settle_date, now.info_order)
            self._take_back(order)
            self._credit(order)
        elif result_pay == "CLOSED":
            self._write("closed", order, at)
            face = Face("CLOSED", bill, None, now.info_order)
            self._credit(order)
        else:
            face = Face(result_pay, bill, None, now.info_order)
        order.show(face, at)
        self._notices.announce(order, face, at)

    # --- inside ------------------------------------------------------------------------------------

    def _timeline(self, order: Order) -> tuple[tuple[str, float], ...]:
        script = self._scripts.of(order.no_order)
        if script is not None and script.timeline:
            return script.timeline
        number = order.no_order
        settled = self._draw.between(self._behaviour.settle_s, "settle", number)
        first = (("PROCESSING", 0.0),)
        if script is None and self._hit(self._behaviour.failure_share, self._faults.failure_share, "failure", number):
            return (*first, ("FAILURE", settled))
        if script is None and self._hit(self._behaviour.cancel_share, self._faults.cancel_share, "cancel", number):
            gap = self._draw.between(self._behaviour.cancel_after_s, "cancel after", number)
            return (*first, ("SUCCESS", settled), ("CANCEL", settled + gap))
        return (*first, ("SUCCESS", settled))

    def _hit(self, own: float | None, profile: float, question: str, number: str) -> bool:
        share = profile if own is None else own
        return share > 0 and self._draw.fraction(question, number) < share

    def _reason(self, order: Order) -> str:
        script = self._scripts.of(order.no_order)
        if script is not None and script.reason is not None:
            return script.reason
        return _REASONS[self._draw.whole(len(_REASONS), "reason", order.no_order)]

    def _bill_number(self, order: Order, now: datetime) -> str:
        digits = self._draw.whole(10**8, "bill", order.no_order, order.serial)
        while self._book.has_bill(bill := f"{_day(now)}{digits:08d}"):
            digits = (digits + 1) % 10**8
        return bill

    def _debit(self, order: Order, at: datetime) -> None:
        if not order.debited:
            order.debited = True
            self._move(-order.amount, order.accepted_at or at)

    def _credit(self, order: Order) -> None:
        if order.debited:
            order.debited = False
            self._move(order.amount, order.accepted_at or order.created)

    def _move(self, amount: Decimal, counted_on: datetime) -> None:
        # A payment that comes to nothing gives its share of the limits back to the day it was taken from.
        self.balance += amount
        for period in (_day(counted_on), _day(counted_on)[:6]):
            self._spent[period] -= amount

    def _take_back(self, order: Order) -> None:
        if order.result_pay == "SUCCESS":
            self.payees[order.card_no] -= order.amount

    def _write(self, event: str, order: Order, at: datetime, oid_paybill: str | None = None) -> None:
        bill = oid_paybill or (order.face.oid_paybill if order.faces else None)
        self._ledger.append(Entry(at, order.no_order, event, order.amount, masked_card(order.card_no), bill or ""))


def _day(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y%m%d")


def _with_reason(order: Order, reason: str) -> str:
    """The merchant's own text first, the reason after an underscore (specification 3.4)."""
    own = order.content.get("info_order")
    return f"{own}_{reason}" if own else reason
