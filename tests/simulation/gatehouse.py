"""The gateway of the simulated world: the simulator's own engine and ledger, driven by the virtual loop.

Whatever it does is shown to the laws at once: every request, every line of the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from attrs import evolve

from lianlian_async.testing.simulator import Behaviour, Dedupe, Endpoint, Entry, Ledger, Limits, Operator, Received
from lianlian_async.testing.simulator.engine import Engine, Reply
from lianlian_async.testing.simulator.exchange import Delivery, Exchange
from lianlian_async.testing.simulator.faults import Shows
from lianlian_async.testing.simulator.notices import Notice
from lianlian_async.testing.simulator.wire import NotSealed, Unreadable, parse

from .keys import KeySet
from .loop import VirtualLoop
from .plan import CALM, DAY, HOUR, Plan

OID_PARTNER = "201606020000150062"
# A racy gateway is blind to a number for a second. Copies that the network itself makes never fall into it: what
# books one sent request twice no client can prevent (assumption A2).
_APART_S = 2.0


# An answer that is not what the gateway says, or that does not carry its signature.
_FALSE = frozenset(
    {Shows.HTML, Shows.GARBAGE, Shows.OTHER, Shows.OVERSIZED, Shows.UNSIGNED, Shows.BAD_SIGN, Shows.FORGED_REFUSAL}
)


class Watcher(Protocol):
    """Who must hear of everything that happens at the gateway."""

    def received(self, request: Received, letter: Any) -> None: ...

    def booked(self, entry: Entry, copy: bool) -> None: ...

    def notice(self, notice: Notice, body: bytes) -> None: ...


class _Clock:
    """The gateway's clock is the world's."""

    accelerated = True

    def __init__(self, loop: VirtualLoop) -> None:
        self.now = loop.now


class _Exchange(Exchange):
    """Late copies that the gateway's own faults make are held apart from other requests of the number."""

    house: Gatehouse
    short_amounts = number_amounts = False

    def _signed(self, reply: Reply) -> Delivery:
        amount = reply.members.get("money_order")
        if amount is not None and self.short_amounts:
            reply = Reply(reply.ret_code, {**reply.members, "money_order": _short(amount)})
        delivery = super()._signed(reply)
        return evolve(delivery, body=self._as_number(delivery.body))

    def _shown(self, endpoint: Endpoint, content: Any, reply: Reply | None, step: Any) -> Delivery:
        shown = super()._shown(endpoint, content, reply, step)
        if reply is not None and b'"sign":' in shown.body and (step.row is None or step.row.shows not in _FALSE):
            named = b'"no_order":' in shown.body
            self.house.said.add(((content.get("no_order") or "") if named else "", reply.ret_code))
        return shown

    def notice_body(self, notice: Notice) -> bytes:
        return self._as_number(super().notice_body(notice))

    def _as_number(self, body: bytes) -> bytes:
        # What is signed is the number as it is written: 25.50 has another signature than 25.5.
        return re.sub(rb'"money_order":"([0-9.]+)"', rb'"money_order":\1', body) if self.number_amounts else body

    def _copy(self, endpoint: Endpoint, content: Any, moment: datetime) -> None:
        number = content.get("no_order") or ""
        if self.house.too_close(number, copy=True):
            again = moment + timedelta(seconds=_APART_S)
            self.engine.agenda.put(again, lambda at: self._copy(endpoint, content, at))
            return
        self.house.arrived(number, copy=True)
        self.house.by_copy = True
        super()._copy(endpoint, content, moment)


class Gatehouse:
    """Receives bytes, lets the bank's time pass, and hands notifications out."""

    def __init__(self, plan: Plan, loop: VirtualLoop, keys: KeySet, watcher: Watcher) -> None:
        self.loop = loop
        self.ledger = Ledger()
        self.opening = Decimal(10_000_000)
        self.behaviour = _behaviour(plan)
        faults = plan.faults()
        self.engine = Engine(
            oid_partner=OID_PARTNER, balance=self.opening, limits=_limits(plan), behaviour=self.behaviour,
            faults=faults, seed=plan.seed, ledger=self.ledger,
        )  # fmt: skip
        self.exchange = _Exchange(engine=self.engine, keys=keys.gateway(), faults=faults, requests_max=4)
        self.exchange.house = self
        self.exchange.short_amounts = plan.has("short amounts")
        self.exchange.number_amounts = plan.has("amounts as numbers")
        self.operator = Operator(self.exchange, _Clock(loop), self.pump)
        self.said: set[tuple[str, str]] = set()  # (number or "", code) of every answer that was shown signed
        self.by_copy = False
        self.topped_up = Decimal(0)
        self._watcher = watcher
        self._racy = self.behaviour.dedupe is Dedupe.RACY
        self._last: dict[str, tuple[float, bool]] = {}  # when a number's newest request arrived; was it a copy?
        self._seen = 0
        self._timer: Any = None
        self._timer_at: datetime | None = None

    # --- requests

    def receive(self, endpoint: Endpoint, body: bytes, letter: Any) -> Delivery:
        """One request arrives whole; `letter` is what the wire knows of it."""
        now = self.loop.now()
        self.pump()
        self.by_copy = letter.copy
        delivery = self.exchange.receive(endpoint, body, now)
        request = self.exchange.requests[-1]
        letter.no_order = request.no_order
        if endpoint is not Endpoint.QUERY and request.no_order:
            self.arrived(request.no_order, copy=letter.copy)
        self._watcher.received(request, letter)
        self._after()
        self.by_copy = False
        return delivery

    def number_in(self, body: bytes) -> str:
        """Whose request this sealed body is."""
        pay_load = parse(body).get("pay_load")
        try:
            return parse(self.exchange.keys.open(pay_load or "")).get("no_order") or ""
        except (NotSealed, Unreadable):
            return ""

    def too_close(self, no_order: str, *, copy: bool) -> bool:
        """Whether this request must wait because the network's doing would fall into the racy gateway's blind second."""
        at, was_copy = self._last.get(no_order, (-9.0, True))
        return self._racy and (copy or was_copy) and self.loop.seconds - at < _APART_S

    def arrived(self, no_order: str, *, copy: bool) -> None:
        self._last[no_order] = self.loop.seconds, copy

    # --- time

    def pump(self) -> None:
        """Let everything happen that is due."""
        self.engine.advance(self.loop.now())
        self._after()

    def _after(self) -> None:
        entries = self.ledger.entries
        while self._seen < len(entries):
            self._seen += 1
            self._watcher.booked(entries[self._seen - 1], self.by_copy)
        self.by_copy = False
        for notice in self.engine.notices.take():
            self._watcher.notice(notice, self.exchange.notice_body(notice))
        due = self.engine.agenda.next_at
        if due is not None and due != self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self.loop.later(max(0.0, (due - self.loop.now()).total_seconds()), self._wake)

    def _wake(self) -> None:
        self._timer = self._timer_at = None
        self.pump()

    # --- people at LianLian

    def top_up(self, amount: Decimal) -> None:
        """Money comes in, or is taken out."""
        self.topped_up += amount
        self.operator.top_up(amount)

    def calm(self) -> None:
        """Everything works from now on."""
        calm = evolve(CALM, check_duplicates=self.exchange.faults.check_duplicates)
        self.exchange.faults = calm
        for part in (self.engine, self.engine.notices, self.engine.bank):
            part._faults = calm
        for name in ("unsigned_refusals", "refusals_without_no_order"):
            self._behave(**{name: False})
        self._behave(replica_lag_s=0.0)
        self.operator.set_outage()
        self.operator.set_permission(allowed=True)
        self.operator.set_ip_allowed(allowed=True)
        self.operator.set_limits(Limits())
        if self.operator.balance < self.opening:
            self.top_up(self.opening)

    def _behave(self, **changes: Any) -> None:
        self.behaviour = evolve(self.behaviour, **changes)
        for part in (self.engine, self.engine.notices):
            if hasattr(part, "behaviour"):
                part.behaviour = self.behaviour
            else:
                part._behaviour = self.behaviour
        self.engine.bank._behaviour = self.behaviour

    def script(self, which: Mapping[str, str], script: Mapping[str, Any]) -> None:
        """Lay down what happens to the orders with these members."""
        self.engine.scripts.add(which, **script)


def _short(amount: str) -> str:
    """The same amount as other programs write it: 25.50 as 25.5, 1.00 as 1."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _behaviour(plan: Plan) -> Behaviour:
    chance = plan.stream("behaviour")
    more: dict[str, Any] = {
        "dedupe": Dedupe.FORGETFUL if plan.forgetful else Dedupe.RACY if plan.has("racy") else Dedupe.PERFECT,
        "forget_after_s": 900.0,
        "dedupe_first": not plan.has("amounts first"),
        "replica_lag_s": 3.0 * chance.random() if plan.has("lag") else 0.0,
        "unsigned_refusals": plan.has("unsigned refusals"),
        "refusals_without_no_order": plan.has("numberless refusals"),
        "cancel_after_s": (60.0, chance.choice((HOUR, DAY))),
        "settle_s": (0.0, chance.choice((3.0, 60.0, 60.0, 2 * HOUR))),
        "repeat_in_review": chance.choice(("2005", "1002")),
        "notify_any_host": True,
        "notify_delay_s": chance.choice((0.0, 0.5)),
    }
    return Behaviour.later_docs(**more) if plan.has("later docs") else Behaviour(**more)


def _limits(plan: Plan) -> Limits:
    if not plan.has("limits"):
        return Limits()
    chance = plan.stream("limits")
    return Limits(
        single=Decimal(chance.choice((900, 5000))), day=Decimal(plan.payouts * chance.choice((100, 400))), month=None
    )
