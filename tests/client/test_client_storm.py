"""Five hundred payouts at once on the worst day: paid at most once, and every state that of the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import World, an_order, true_state

from lianlian_async import LianLianClient, Payout, State, Step, Timeouts
from lianlian_async.testing.simulator import Behaviour
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport


async def pay_all(w: World, client: LianLianClient, count: int) -> list[Payout]:
    """Pay, and release what waits for a fix or a person as an operator would, until nothing moves any more."""
    calls = [client.pay(an_order(f"{n % 97 + 1}.50", card=n), key=f"k{n}", wait_s=1e12) for n in range(count)]
    payouts: list[Payout] = await w.done(asyncio.gather(*calls), stride=0.05)
    for _ in range(6):
        if await client.paused():
            await client.unpause(by="Wang Fang")
        stuck = [p for p in payouts if p.step in (Step.FIX, Step.DECIDE) and p.state in RESUMABLE]
        for payout in stuck:
            if (await client.get(payout.no_order)).step in (Step.FIX, Step.DECIDE):
                await client.resume(payout.no_order, by="Wang Fang")
        await client.recover()
        waits = [client.wait(p.no_order, timeout_s=1e12) for p in payouts]
        payouts = await w.done(asyncio.gather(*waits), stride=0.05)
    await w.run_for(6 * 3600)
    # A review is closed by the gateway, a refund comes late, a lagging copy catches up: whoever wants to know asks.
    for _ in range(3):
        asked = [client.query(p.no_order) for p in payouts if p.state is not true_state(w, p.no_order) or p.final]
        await w.done(asyncio.gather(*asked), stride=0.05)
        payouts = [await client.get(p.no_order) for p in payouts]
    return payouts


RESUMABLE = frozenset({State.UNSENT, State.UNKNOWN, State.REFUSED})


def explained(w: World, payout: Payout) -> bool:
    """A gateway that says "in progress" and has nothing, or answered thrice for others, is for people to explain."""
    faults = Counter(r.fault for r in w.simulator.requests if r.no_order == payout.no_order)
    if payout.state is State.IN_PROGRESS:
        return bool(faults["2005_before"])
    return payout.state is State.CONFLICT and faults["other_order"] >= 3


SETUPS = pytest.mark.parametrize(
    ("transport", "journal", "behaviour"),
    [
        (AiohttpTransport, "sqlite", {}),
        (HttpxTransport, "memory", {"dedupe": "racy", "replica_lag_s": 3.0}),
        (HttpxTransport, "sqlite", {"dedupe_first": False, "refusals_without_no_order": True}),
        (AiohttpTransport, "memory", {"unsigned_refusals": True, "replica_lag_s": 30.0}),
    ],
    ids=["aiohttp-sqlite", "httpx-memory", "httpx-sqlite", "aiohttp-memory"],
)


@pytest.mark.parametrize(
    ("transport", "journal", "behaviour"), [(AiohttpTransport, "sqlite", {}), (HttpxTransport, "memory", {})]
)
async def test_a_bad_day(world: MakeWorld, transport: Any, journal: str, behaviour: dict[str, Any]) -> None:
    """Eighty payouts, thirty of a hundred calls hit: none paid twice, none lost, and the books of both sides agree."""
    await a_day(world, 4, 80, transport, journal, behaviour)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
@SETUPS
async def test_the_worst_day(
    world: MakeWorld, seed: int, transport: Any, journal: str, behaviour: dict[str, Any]
) -> None:
    """The same with five hundred payouts at once, where each is on disk, and with two hundred in memory."""
    await a_day(world, seed, 500 if journal == "sqlite" else 200, transport, journal, behaviour)


async def a_day(
    world: MakeWorld, seed: int, count: int, transport: Any, journal: str, behaviour: dict[str, Any]
) -> None:
    settings = {"faults": "storm", "seed": seed, "behaviour": Behaviour(**behaviour)}
    async with world(journal=journal, make_transport=transport, loop_scale=300, **settings) as w:
        client = await w.client(timeouts=Timeouts(pay_s=120, query_s=60))
        payouts = await pay_all(w, client, count)
        await w.audit(client)
        wrong = [
            (p.no_order, p.state, p.rule, true_state(w, p.no_order))
            for p in payouts
            if p.state is not true_state(w, p.no_order) and not explained(w, p)
        ]
        assert wrong == []
        summary = w.simulator.ledger.summary()
        assert summary.paid_twice == 0
        paid = {p.no_order for p in payouts if p.state is State.PAID}
        assert set(w.simulator.ledger.paid()) - paid == set()
        assert sum(p.money_order for p in payouts if p.state is State.PAID) == summary.paid_amount
        assert len({r.fault for r in w.simulator.requests}) > 12, "the simulator has gone soft"
        assert len(payouts) == count


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 14))
async def test_more_bad_days_with_crashes(world: MakeWorld, seed: int) -> None:
    """The process dies three times in the middle of it; the next one recovers: nothing twice, nothing lost."""
    settings = {"faults": "storm", "seed": seed}
    async with world(journal="sqlite", make_transport=AiohttpTransport, loop_scale=300, **settings) as w:
        timeouts = Timeouts(pay_s=120, query_s=60)
        client = await w.client(timeouts=timeouts)
        await client.enlist([(an_order(f"{n % 97 + 1}.50", card=n), f"k{n}") for n in range(100)])
        for seconds in (0, 3, 200):
            for _ in range(60):
                await asyncio.sleep(0.0003)
            await w.run_for(seconds)
            client = await w.client(await w.crash(client), timeouts=timeouts)
            await client.recover()
        payouts = await pay_all(w, client, 100)
        await w.audit(client)
        assert [p for p in payouts if p.state is not true_state(w, p.no_order) and not explained(w, p)] == []
        assert w.simulator.ledger.summary().paid_twice == 0
