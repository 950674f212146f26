"""The network between a process and the gateway: an in-memory `Transport` that loses, delays, copies and mixes up.

It tells `sent` as the real transports do: False only where the first byte was never let through. What has left
travels on whatever becomes of the process that sent it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from lianlian_async.resolver import Source
from lianlian_async.testing.simulator import Endpoint, Way
from lianlian_async.testing.simulator.exchange import Delivery
from lianlian_async.transport import FaultKind, WireAnswer, WireFault, mark_cancelled

from .plan import DAY, Plan

if TYPE_CHECKING:
    from .process import Process
    from .world import World

_ENDPOINTS: Final = {endpoint.path: endpoint for endpoint in Endpoint}
_BODY_BYTES_MAX: Final = 65536

# What the network does with one exchange. The first group proves that nothing left.
UNSENT: Final = {
    "refused": FaultKind.CONNECT, "dns": FaultKind.DNS, "tls": FaultKind.TLS, "pool": FaultKind.POOL,
    "certificate": FaultKind.CERTIFICATE,
}  # fmt: skip
BROKEN: Final = ("lost", "lost, hangs", "answer lost", "answer lost, hangs", "half written", "slow", "slow to connect")
LATE: Final = ("late", "late, hangs", "copied", "answer to the copy")
STALE: Final = ("stale",)


@define
class Letter:
    """One request on its way."""

    endpoint: Endpoint
    body: bytes
    process: Any
    left_at: float
    trip: str | None
    copy: bool = False
    no_order: str | None = None


class Network:
    """Draws what happens on the wire, and carries letters."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.chance = plan.stream("wire")
        self.calm = False
        self.racy = plan.has("racy")
        # A certificate is refused so seldom that a confirm would hardly ever meet it.
        self._untrusted = plan.stream("rare wire") if plan.has("rare answers") else None
        self._rtt = self.chance.choice((0.01, 0.05, 0.3, 1.0))
        self._late_max = self.chance.choice((60.0, 600.0, 3600.0, DAY))
        self._odds: list[tuple[float, str]] = []
        self._rate = 0.0
        self._last: dict[Endpoint, deque[bytes]] = {endpoint: deque(maxlen=8) for endpoint in Endpoint}
        for kinds, strength in (
            ((*UNSENT, *BROKEN), plan.strength("wire", 0.01, 0.5)),
            (LATE, plan.strength("late", 0.01, 0.3) if plan.has("wire") else 0.0),
            (STALE, plan.strength("stale", 0.01, 0.2)),
        ):
            weights = [self.chance.random() ** 2 + 1e-3 for _ in kinds]
            # A refused certificate stops all new money: rare, or nothing else would ever be seen.
            weights = [w / 20 if kind == "certificate" else w for w, kind in zip(weights, kinds, strict=True)]
            for kind, weight in zip(kinds, weights, strict=True):
                self._rate += strength * weight / sum(weights)
                self._odds.append((self._rate, kind))

    def trip(self, endpoint: Endpoint) -> str | None:
        """What happens to this exchange."""
        if self.calm:
            return None
        if endpoint is Endpoint.CONFIRM and self._untrusted is not None and self._untrusted.random() < 0.02:
            return "certificate"
        # Confirms are few; what goes wrong with them must be seen all the same.
        point = self.chance.random() / (3.0 if endpoint is Endpoint.CONFIRM else 1.0)
        if point >= self._rate:
            return None
        kind = next(kind for limit, kind in self._odds if point < limit)
        if endpoint is Endpoint.CONFIRM and not self.racy and self.chance.random() < 0.3:
            return "answer to the copy"
        if endpoint is Endpoint.QUERY and kind in LATE:
            return "lost"
        if kind == "answer to the copy" and self.racy:
            return "copied"
        return kind

    def travel_s(self, trip: str | None) -> float:
        """How long one way takes."""
        return 0.005 if self.calm else self._rtt * self.chance.random() * (30 if trip == "slow" else 1)

    def late_s(self) -> float:
        """How long a copy is under way: mostly minutes, up to a day."""
        return 10.0 * (self._late_max / 10.0) ** self.chance.random()

    # --- carrying

    def carry(self, letter: Letter, future: asyncio.Future[Any]) -> None:
        """Let a letter that has left go its way; `future` gets what the caller hears, if it hears anything."""
        later, trip = self.world.loop.later, letter.trip
        if self.racy and letter.endpoint is not Endpoint.QUERY:
            letter.no_order = self.world.gatehouse.number_in(letter.body)
        there = self.travel_s(trip)
        if trip in ("lost", "half written"):
            later(
                there, self._hear, future, WireFault(FaultKind.READ if trip == "lost" else FaultKind.WRITE, sent=True)
            )
        elif trip == "lost, hangs":
            self.world.saw("a request was lost on the way")
        elif trip in ("late", "late, hangs"):
            later(self.late_s(), self._copy, letter)
            if trip == "late":
                later(there, self._hear, future, WireFault(FaultKind.DISCONNECT, sent=True))
        elif trip == "answer to the copy":
            later(there, self._arrive, letter, None)
            later(there + self.travel_s(trip), self._copy, letter, future)
        else:
            later(there, self._arrive, letter, future)
            if trip == "copied":
                later(self.late_s(), self._copy, letter)

    def _copy(self, letter: Letter, future: asyncio.Future[Any] | None = None) -> None:
        if self.world.loop.seconds - letter.left_at > 3600 and not letter.copy:
            self.world.saw("a copy arrived more than an hour late")
        letter.copy = True
        self._arrive(letter, future)

    def _arrive(self, letter: Letter, future: asyncio.Future[Any] | None) -> None:
        house = self.world.gatehouse
        if self.racy and letter.no_order and house.too_close(letter.no_order, copy=letter.copy):
            self.world.loop.later(2.0, self._arrive, letter, future)
            return
        delivery = house.receive(letter.endpoint, letter.body, letter)
        if future is None:
            return
        trip = letter.trip
        if trip == "answer lost":
            self._hear_later(future, WireFault(FaultKind.DISCONNECT, sent=True), trip)
        elif trip != "answer lost, hangs":
            self._answer(letter, delivery, future)

    def _answer(self, letter: Letter, delivery: Delivery, future: asyncio.Future[Any]) -> None:
        trip, way = letter.trip, delivery.way
        if way is Way.HANG:
            return
        if way in (Way.CLOSE, Way.RESET, Way.TRUNCATE):
            kind = FaultKind.PROTOCOL if way is Way.TRUNCATE else FaultKind.DISCONNECT
            self._hear_later(future, WireFault(kind, sent=True), trip)
            return
        body, last = delivery.body, self._last[letter.endpoint]
        if trip == "stale" and last:
            body = last[self.chance.randrange(len(last))]
            self.world.saw("an answer belonged to another order")
        last.append(delivery.body)
        heard = WireAnswer(delivery.status, body)
        if len(body) > _BODY_BYTES_MAX:
            heard = WireFault(FaultKind.OVERSIZE, sent=True)
        self._hear_later(future, heard, trip, delivery.over_s if way is Way.SLOW else 0.0)

    def _hear_later(self, future: asyncio.Future[Any], heard: Any, trip: str | None, more_s: float = 0.0) -> None:
        self.world.loop.later(self.travel_s(trip) + more_s, self._hear, future, heard)

    def _hear(self, future: asyncio.Future[Any], heard: Any) -> None:
        if not future.done():
            future.set_result(heard)
        elif isinstance(heard, WireAnswer):
            self.world.saw("an answer came when nobody waited any more")


class Wire:
    """One process's `Transport`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._network = process.world.network

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        process, network, loop = self._process, self._network, self._process.world.loop
        end = loop.seconds + deadline_s
        sent = False
        try:
            if (wait := process.point("post")) is not None:
                await wait
            endpoint = _ENDPOINTS[url.rpartition("/")[2]]
            if endpoint is Endpoint.QUERY:
                network.world.laws.asks()
            trip = network.trip(endpoint)
            if trip in UNSENT:
                await asyncio.sleep(network.travel_s(trip))
                network.world.saw(_SAW_UNSENT.get(trip, "the gateway could not be reached"))
                return WireFault(UNSENT[trip], sent=False)
            if trip == "slow to connect":
                await asyncio.sleep(min(network.chance.random() * 45.0, max(0.0, end - loop.seconds)))
            if loop.seconds >= end:
                network.world.saw("the deadline passed before the first byte")
                return WireFault(FaultKind.TIMEOUT, sent=False)
            if guard is not None and not guard():
                network.world.saw("a process woke too late, and the last check kept it from sending")
                return WireFault(FaultKind.TIMEOUT, sent=False)
            sent = True
            if endpoint is not Endpoint.QUERY:
                network.world.laws.leaves(network.world.gatehouse.number_in(body), _SOURCES[endpoint])
            answer = await self._exchange(Letter(endpoint, body, process, loop.seconds, trip), end)
            if (wait := process.point("answer")) is not None:
                await wait
            return answer
        except asyncio.CancelledError as cancel:
            mark_cancelled(cancel, WireFault(FaultKind.CANCELLED, sent=sent))
            raise

    async def _exchange(self, letter: Letter, end: float) -> WireAnswer | WireFault:
        loop = self._process.world.loop
        future: asyncio.Future[Any] = loop.create_future()
        self._network.carry(letter, future)
        timer = loop.call_at(end, self._give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_result(WireFault(FaultKind.TIMEOUT, sent=True))

    def renew(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


_SOURCES: Final = {Endpoint.PAY: Source.PAY, Endpoint.CONFIRM: Source.CONFIRM}
_SAW_UNSENT: Final = {
    "certificate": "a certificate was refused, and new money stopped",
    "pool": "no connection came free",
}
