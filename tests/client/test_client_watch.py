"""A clock that is set cannot shorten the grace of an unanswered attempt (R2)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from client_fixtures import MakeWorld
from client_world import GRACE_S, SteppedClock, World, an_order

from lianlian_async import State


class WrongClock:
    """One machine's clock, so many seconds ahead of the world's; what has passed it measures as everybody does."""

    accelerated = True

    def __init__(self, true: SteppedClock, ahead_s: float = 0.0) -> None:
        self._true = true
        self.ahead_s = ahead_s

    def now(self) -> datetime:
        return self._true.now() + timedelta(seconds=self.ahead_s)

    def steady(self) -> float:
        return self._true.steady()

    async def sleep(self, seconds: float) -> None:
        await self._true.sleep(seconds)

    def loop_seconds(self, seconds: float) -> float:
        return self._true.loop_seconds(seconds)


def gaps_s(w: World) -> list[float]:
    """True seconds between one request to pay and the next."""
    times = [request.time for request in w.pays()]
    return [(later - earlier).total_seconds() for earlier, later in zip(times, times[1:], strict=False)]


async def a_client(w: World, clock: WrongClock, journal: object = None) -> object:
    true, w.clock = w.clock, clock  # type: ignore[assignment]
    try:
        return await w.client(journal)  # type: ignore[arg-type]
    finally:
        w.clock = true


@pytest.mark.parametrize("ahead_s", [600.0, 3600.0, 12 * 3600.0])
async def test_a_clock_that_is_put_forward(world: MakeWorld, ahead_s: float) -> None:
    """40 seconds after a request that was lost, the machine's clock jumps: the number goes again after the true grace."""
    async with world() as w:
        w.simulator.script({"acct_name": "李三"}, pay=["hang_before", None])
        clock = WrongClock(w.clock)
        client = await a_client(w, clock)
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))  # type: ignore[attr-defined]
        await w.run_for(40)
        clock.ahead_s = ahead_s
        await w.run_until(call.done)
        assert call.result().state is State.PAID
        assert len(gaps_s(w)) == 1
        assert gaps_s(w)[0] >= w.timeouts.pay_s + GRACE_S
        assert w.simulator.ledger.summary().paid_twice == 0


async def test_a_machine_that_starts_with_a_clock_ahead(world: MakeWorld) -> None:
    """The process dies, the machine comes back an hour ahead: what it finds unanswered it watches for the whole grace."""
    async with world(journal="sqlite") as w:
        w.simulator.script({"acct_name": "李三"}, pay=["hang_before", None])
        client = await a_client(w, WrongClock(w.clock))
        w.start(client.pay(an_order(), key="k", wait_s=1e9))  # type: ignore[attr-defined]
        await w.run_for(40)
        journal = await w.crash(client)  # type: ignore[arg-type]
        again = await a_client(w, WrongClock(w.clock, 3600.0), journal)
        await again.recover()  # type: ignore[attr-defined]
        payout = await w.done(again.pay(an_order(), key="k", wait_s=1e9))  # type: ignore[attr-defined]
        assert payout.state is State.PAID
        assert gaps_s(w)[0] >= 40 + GRACE_S


async def test_a_clock_that_is_put_back(world: MakeWorld) -> None:
    """The grace only grows longer, and the payout still ends."""
    async with world() as w:
        w.simulator.script({"acct_name": "李三"}, pay=["hang_before", None])
        clock = WrongClock(w.clock)
        client = await a_client(w, clock)
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))  # type: ignore[attr-defined]
        await w.run_for(40)
        clock.ahead_s = -600.0
        await w.run_until(call.done)
        assert call.result().state is State.PAID
        assert gaps_s(w)[0] >= w.timeouts.pay_s + GRACE_S
