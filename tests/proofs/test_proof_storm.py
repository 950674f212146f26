"""Twenty callers who give up in every way there is, on ten slots, for ten seconds; then every slot can be used."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field
from client_world import Keys
from proofs_process import OID_PARTNER, key_of, order_of
from proofs_world import until

from lianlian_async import LianLianClient, Limits, Merchant, State, Timeouts
from lianlian_async.cli.audit import Verdict, audit
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Behaviour, Faults, Simulator
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEED = 2016
SCALE = 90.0
CALLERS = 20
SLOTS = 10
FOR_S = 10.0
# Three seconds of the machine: whoever hangs at the gateway in the end does so for that long.
TIMEOUTS = Timeouts(pay_s=300, query_s=300)
# A gateway that takes its time, so that callers go away in the middle of everything. "slow" lasts a fifth of a second.
FAULTS = Faults(
    "sluggish",
    pay={"slow": 0.5, "close_after": 0.05, "reset_before": 0.05, "9999_after": 0.05, "truncated": 0.05},
    query={"slow": 0.2, "close_before": 0.05, "502_before": 0.05},
)
GIVE_UP_WITHIN_S = 0.4


@define
class Storm:
    """Callers, what they asked for, and the seed that decides when each gives up."""

    client: LianLianClient
    draw: random.Random
    asked: list[int] = field(factory=list)
    given_up: int = 0

    async def call(self) -> None:
        """One call of one of the kinds, and one way of giving it up."""
        way = self.draw.choice(WAYS)
        try:
            await way(self._work(), self.draw.uniform(0, GIVE_UP_WITHIN_S))
        except (TimeoutError, asyncio.CancelledError):
            self.given_up += 1

    def _work(self) -> Coroutine[Any, Any, Any]:
        kind = self.draw.random()
        if kind < 0.5 or not self.asked:
            self.asked.append(len(self.asked))
            number = self.asked[-1]
        else:
            number = self.draw.choice(self.asked)
        if kind < 0.7:
            return self.client.pay(order_of(number), key=key_of(number), wait_s=1e6)
        return self._look(number, ask=kind < 0.85)

    async def _look(self, number: int, *, ask: bool) -> None:
        payout = await self.client.find(key_of(number))
        if payout is not None and ask:
            await self.client.query(payout.no_order)
        elif payout is not None:
            await self.client.wait(payout.no_order, timeout_s=1e6)


Work = Coroutine[Any, Any, Any]


async def asyncio_timeout(work: Work, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await work


async def wait_for(work: Work, seconds: float) -> None:
    await asyncio.wait_for(work, seconds)


async def cancelled(work: Work, seconds: float) -> None:
    await _cancelled(work, seconds, times=1)


async def cancelled_twice(work: Work, seconds: float) -> None:
    await _cancelled(work, seconds, times=2)


async def cancelled_at_every_turn(work: Work, seconds: float) -> None:
    await _cancelled(work, seconds, times=1000)


async def _cancelled(work: Work, seconds: float, *, times: int) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds)
    for _ in range(times):
        if task.done():
            break
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=5)
    assert task.done(), "a caller who gave up is kept waiting"
    task.result()


async def move_on(work: Work, seconds: float) -> None:
    with anyio.move_on_after(seconds) as scope:
        await work
    if scope.cancelled_caught:
        raise TimeoutError


async def scope_of_a_group(work: Work, seconds: float) -> None:
    async def run() -> None:
        await work
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.sleep(seconds)
        group.cancel_scope.cancel()
    if group.cancel_scope.cancelled_caught:
        raise TimeoutError


WAYS: list[Callable[[Work, float], Awaitable[None]]] = [
    asyncio_timeout, wait_for, cancelled, cancelled_twice, cancelled_at_every_turn, move_on, scope_of_a_group
]  # fmt: skip


@asynccontextmanager
async def a_client(keys: Keys, folder: Path, make: Any) -> AsyncIterator[tuple[LianLianClient, Simulator]]:
    clock = ScaledClock(SCALE)
    simulator = Simulator(
        oid_partner=OID_PARTNER, merchant_public_key=keys.read("merchant-public"),
        gateway_private_key=keys.read("gateway-private"), clock=clock, faults=FAULTS, seed=SEED,
        behaviour=Behaviour(slow_s=0.2 * SCALE),
    )  # fmt: skip
    async with simulator.serve() as server:
        merchant = Merchant(
            oid_partner=OID_PARTNER, keys=keys.ring(), base_url=server.base_url, notify_url="https://a.example.com/n"
        )
        client = LianLianClient(
            merchant, SqliteJournal(folder / "payouts.db"), clock=clock, timeouts=TIMEOUTS,
            transport=(make(connections_max=SLOTS), make(connections_max=SLOTS)),
            limits=Limits(in_flight=SLOTS, queries_in_flight=SLOTS, queries_per_s=10_000),
        )  # fmt: skip
        async with client:
            yield client, simulator


@pytest.mark.parametrize("make", [AiohttpTransport, HttpxTransport], ids=["aiohttp", "httpx"])
async def test_a_storm_of_cancels_then_calm(keys: Keys, tmp_path: Path, make: Any) -> None:
    """Nothing is lost, nothing is paid twice, and ten requests can be on their way at once, for money and for queries."""
    async with a_client(keys, tmp_path, make) as (client, simulator):
        storm = Storm(client, random.Random(SEED))
        end = asyncio.get_running_loop().time() + FOR_S

        async def caller() -> None:
            while asyncio.get_running_loop().time() < end:
                await storm.call()

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        assert storm.given_up > 200, "too few gave up for this to mean anything"
        await judge(client, simulator, storm)
        numbers = range(len(storm.asked), len(storm.asked) + SLOTS)
        await all_slots_at_once(client, simulator, numbers)


async def judge(client: LianLianClient, simulator: Simulator, storm: Storm) -> None:
    """What was written down is paid, once; what was not never reached the gateway."""
    found = [payout for number in storm.asked if (payout := await client.find(key_of(number))) is not None]
    async with asyncio.timeout(60):
        rested = await asyncio.gather(*(client.wait(payout.no_order, timeout_s=1e6) for payout in found))
    keys = [str(payout.key) for payout in rested]
    assert audit(keys, rested, simulator.ledger) == Verdict((), (), ())
    assert {payout.state for payout in rested} == {State.PAID}
    assert {r.no_order for r in simulator.requests if r.endpoint == "pay"} == {payout.no_order for payout in rested}
    # A caller who gave up before the first turn of the loop has asked for nothing.
    assert len(rested) > 0.8 * len(storm.asked)
    FIGURES.info(f"{storm.given_up} gave up, {len(rested)} of {len(storm.asked)} payouts written down, all paid once")


async def all_slots_at_once(client: LianLianClient, simulator: Simulator, numbers: range) -> None:
    """Ten requests hang at the gateway together: a slot that was lost would leave one of them outside."""
    for number in numbers:
        simulator.script({"card_no": order_of(number).card_no}, pay=["hang_after"], query=["hang_before"])
    payouts = await client.enlist([(order_of(number), key_of(number)) for number in numbers])
    ours = {payout.no_order for payout in payouts}

    def hanging(endpoint: str) -> bool:
        return ours <= {r.no_order for r in simulator.requests if r.endpoint == endpoint}

    await until(lambda: hanging("pay"), "ten payments at once", within_s=TIMEOUTS.pay_s / SCALE)
    asking = [asyncio.ensure_future(client.query(number)) for number in sorted(ours)]
    await until(lambda: hanging("query"), "ten queries at once", within_s=TIMEOUTS.query_s / SCALE)
    for task in asking:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(60):
        rested = await asyncio.gather(*(client.wait(number, timeout_s=1e6) for number in sorted(ours)))
    assert {payout.state for payout in rested} == {State.PAID}
    assert simulator.ledger.paid_twice() == ()
