"""Notifications: what is told to whom, how often, and when to stop (specification 3.4). No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import field, frozen

from .agenda import Agenda
from .draw import Draw
from .faults import Faults
from .orders import Face, Order
from .script import Scripts
from .settings import Behaviour

__all__ = ["Notice", "Notices"]

_TOLD = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
_LATE = timedelta(seconds=60)


@frozen
class Notice:
    """One notification that has to go out now; `fault` is None, "unsigned" or "bad_sign"."""

    no_order: str
    result_pay: str
    attempt: int
    notify_url: str = field(repr=False)
    members: Mapping[str, str | None] = field(repr=False)
    order: Order = field(repr=False, eq=False)
    fault: str | None = None


class Notices:
    """Puts notifications on the agenda and hands out those that are due."""

    def __init__(
        self, *, oid_partner: str, behaviour: Behaviour, faults: Faults, scripts: Scripts, draw: Draw, agenda: Agenda
    ) -> None:
        self._oid_partner = oid_partner
        self._behaviour = behaviour
        self._faults = faults
        self._scripts = scripts
        self._draw = draw
        self._agenda = agenda
        self._due: list[Notice] = []
        self._sent: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def announce(self, order: Order, face: Face, at: datetime) -> None:
        """An order has reached a result: tell the merchant, if this is one that is told."""
        # Only an order with a bill is ever announced; CHECK, CLOSED and refused ones are not.
        if face.result_pay in _TOLD and face.oid_paybill and order.notify_url:
            self._plan(order, face, 1, at + timedelta(seconds=self._behaviour.notify_delay_s))

    def take(self) -> list[Notice]:
        """What has to go out now."""
        due, self._due = self._due, []
        return due

    def acknowledged(self, notice: Notice) -> None:
        """The merchant has answered 0000: no more of this result."""
        notice.order.acknowledged.add(notice.result_pay)

    def _plan(self, order: Order, face: Face, attempt: int, at: datetime) -> None:
        self._agenda.put(at, lambda moment: self._fire(order, face, attempt, moment))

    def _fire(self, order: Order, face: Face, attempt: int, at: datetime) -> None:
        if face.result_pay in order.acknowledged:
            return
        # The next one is planned before this one is answered: the interval counts from the sending.
        if attempt < self._behaviour.notify_times:
            self._plan(order, face, attempt + 1, at + timedelta(seconds=self._behaviour.notify_every_s))
        fault = self._fault(order, face, attempt)
        if fault == "lost":
            return
        notice = self._notice(order, face, attempt, fault if fault in ("unsigned", "bad_sign") else None)
        if fault == "late":
            self._agenda.put(at + _LATE, lambda _: self._due.append(notice))
            return
        self._due.extend([notice, notice] if fault == "duplicate" else [notice])

    def _fault(self, order: Order, face: Face, attempt: int) -> str | None:
        index = self._sent.get(order.no_order, 0)
        self._sent[order.no_order] = index + 1
        if (script := self._scripts.of(order.no_order)) is not None:
            return script.notice_fault(index)
        return self._faults.draw(self._draw, "notify", order.no_order, f"{face.result_pay} {attempt}")

    def _notice(self, order: Order, face: Face, attempt: int, fault: str | None) -> Notice:
        members = {
            "oid_partner": self._oid_partner,
            "sign_type": "RSA",
            "no_order": order.no_order,
            "dt_order": order.content["dt_order"],
            "money_order": order.content["money_order"],
            "oid_paybill": face.oid_paybill,
            "info_order": face.info_order,
            "result_pay": face.result_pay,
            "settle_date": face.settle_date,
        }
        return Notice(
            no_order=order.no_order,
            result_pay=face.result_pay,
            attempt=attempt,
            notify_url=order.notify_url,
            members={name: value for name, value in members.items() if value},
            fault=fault,
            order=order,
        )
