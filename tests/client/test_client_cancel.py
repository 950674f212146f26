"""Callers that go away: cancelled, timed out, cancelled twice, under asyncio and under anyio. The payout goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from client_fixtures import MakeWorld
from client_world import World, an_order

from lianlian_async import LianLianClient, State


async def turns(count: int) -> None:
    """Let the loop run this many turns; from some number on also let sockets and threads come along."""
    for turn in range(count):
        await asyncio.sleep(0 if turn < 25 else 0.0003)


async def end_truly(w: World, client: LianLianClient, keys: list[str], *, may_be_missing: bool) -> None:
    """Every payout that was written down is paid once; one that was not never reached the gateway."""
    found = [await client.find(key) for key in keys]
    numbers = [payout.no_order for payout in found if payout is not None]
    assert may_be_missing or len(numbers) == len(keys)
    rested = await w.at_rest(client, *numbers)
    assert {p.state for p in rested} <= {State.PAID}
    assert {r.no_order for r in w.pays()} == set(numbers)
    assert w.simulator.ledger.paid() == dict.fromkeys(numbers, 1)
    assert (await w.pay(client, an_order(card=999), "afterwards")).state is State.PAID, "the client stays usable"
    await w.audit(client)


@pytest.mark.parametrize(
    ("how", "journal"), [("once", "memory"), ("twice", "memory"), ("at every turn", "memory"), ("once", "sqlite")]
)
async def test_cancelled_at_every_point(world: MakeWorld, how: str, journal: str) -> None:
    """`pay` is cancelled after 0, 1, 2 ... turns of the loop: nothing is lost, nothing is paid twice."""
    async with world(journal=journal) as w:
        client = await w.client()
        keys = []
        for count in range(45):
            key = f"k{count}"
            call = w.start(client.pay(an_order(card=count), key=key, wait_s=1e9))
            await turns(count)
            call.cancel()
            if how == "twice":
                await asyncio.sleep(0)
                call.cancel()
            while how == "at every turn" and not call.done():
                call.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await call
            keys.append(key)
            await w.calm()
        assert await client.find("k0") is None, "a call that never began leaves nothing behind"
        assert await client.find("k44") is not None
        await end_truly(w, client, keys, may_be_missing=True)


@pytest.mark.parametrize("fault", ["close_after", "9999_before", "hang_after"])
async def test_cancelled_while_the_answer_is_lost(world: MakeWorld, fault: str) -> None:
    """The caller goes away in the middle of trouble; the payout's own task finds the truth."""
    async with world() as w:
        client = await w.client()
        w.simulator.script({"acct_name": "李三"}, pay=[fault, None])
        keys = []
        for count in range(3, 40, 4):
            call = w.start(client.pay(an_order(card=count), key=f"k{count}", wait_s=1e9))
            await turns(count)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            keys.append(f"k{count}")
        await w.calm()
        found = [await client.find(key) for key in keys]
        rested = await w.at_rest(client, *[p.no_order for p in found if p])
        assert {p.state for p in rested} == {State.PAID}
        assert set(w.simulator.ledger.paid().values()) == {1}
        await w.audit(client)


async def _timeout(work: Any, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


async def _wait_for(work: Any, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work, seconds)


async def _move_on(work: Any, seconds: float) -> None:
    with anyio.move_on_after(seconds) as scope:
        await work
    assert scope.cancelled_caught


async def _fail_after(work: Any, seconds: float) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(seconds):
        await work


async def _task_group(work: Any, seconds: float) -> None:
    async def cancel_soon(scope: anyio.CancelScope) -> None:
        await anyio.sleep(seconds)
        scope.cancel()

    async def run() -> None:
        await work

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(cancel_soon, group.cancel_scope)


ENDERS = pytest.mark.parametrize(
    "end", [_timeout, _wait_for, _move_on, _fail_after, _task_group], ids=lambda f: f.__name__
)


@ENDERS
async def test_a_time_limit_around_pay_and_wait(world: MakeWorld, end: Any) -> None:
    """asyncio's and anyio's ways of giving up end the caller's wait, and nothing else."""
    async with world() as w:
        client = await w.client()
        w.simulator.script({"acct_name": "李三"}, pay=["hang_after", None])
        keys = []
        for n, seconds in enumerate((0.0, 0.001, 0.01, 0.05)):
            await end(client.pay(an_order(card=n), key=f"k{n}", wait_s=1e9), seconds)
            keys.append(f"k{n}")
        payout = await client.pay(an_order(card=50), key="k50", wait_s=0)
        await end(client.wait(payout.no_order, timeout_s=1e9), 0.02)
        found = [p for key in [*keys, "k50"] if (p := await client.find(key)) is not None]
        assert len(found) >= 3
        rested = await w.at_rest(client, *[p.no_order for p in found])
        assert {p.state for p in rested} == {State.PAID}
        assert set(w.simulator.ledger.paid().values()) == {1}
        await w.audit(client)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.05])
async def test_a_cancelled_scope_around_the_whole_client(world: MakeWorld, seconds: float) -> None:
    """Leaving `async with` under a cancelled anyio scope: the client closes in its own task, the payout is not lost."""
    async with world(journal="sqlite") as w:
        tap, wires = w.journal("kept"), (w.wire(), w.wire())
        client = LianLianClient(w.merchant, tap, clock=w.clock, transport=wires)
        w.simulator.script({"acct_name": "李三"}, pay=["hang_after", None])
        opened = asyncio.Event()

        async def use() -> None:
            async with client:
                opened.set()
                await client.pay(an_order(), key="k", wait_s=1e9)

        with anyio.move_on_after(10) as scope:

            async def cancel() -> None:
                await opened.wait()
                await asyncio.sleep(seconds)
                scope.cancel()

            canceller = asyncio.create_task(cancel())
            await use()
        await canceller
        await w.run_until(lambda: tap.inner._lanes is None, within_s=100)
        again = await w.client(w.journal("kept"))
        await again.recover()
        payout = await w.pay(again, an_order())
        assert (payout.state, w.simulator.ledger.paid()) == (State.PAID, {payout.no_order: 1})
        await w.audit(again)


@pytest.mark.parametrize("call", ["query", "resume", "enlist"])
async def test_other_calls_that_are_cancelled(world: MakeWorld, call: str) -> None:
    """A query, a release and a list run to their end whoever waits for them."""
    async with world() as w:
        client = await w.client()
        w.simulator.script({"acct_name": "王五"}, pay=["9911", None])
        waiting = [await w.pay(client, an_order(card=n, acct_name="王五"), f"w{n}") for n in range(8)]
        for n, payout in enumerate(waiting):
            work = {
                "query": lambda p=payout: client.query(p.no_order),
                "resume": lambda p=payout: client.resume(p.no_order, by="Wang Fang"),
                "enlist": lambda n=n: client.enlist([(an_order(card=10 + 2 * n + m), f"e{n}-{m}") for m in (0, 1)]),
            }[call]()
            task = w.start(work)
            await turns(1 + 3 * n)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await w.run_for(3600)
        for record in await w.records(client):
            if call == "resume" or record.key.startswith("e"):
                [payout] = await w.at_rest(client, record.no_order)
                assert payout.state is State.PAID
        if call == "enlist":
            assert len(await w.records(client)) == 8 + 16, "all of a list, or none of it"
        await w.audit(client)


async def test_a_storm_of_callers_that_give_up(world: MakeWorld) -> None:
    """A hundred and twenty impatient callers; every payout is paid once, and no slot is lost."""
    async with world() as w:
        client = await w.client()

        async def impatient(n: int) -> None:
            with anyio.move_on_after(0.0002 * (n % 50)):
                await client.pay(an_order(card=n), key=f"k{n}", wait_s=1e9)

        await asyncio.gather(*(impatient(n) for n in range(120)))
        await w.calm()
        keys = [record.key for record in await w.records(client)]
        assert len(keys) > 60
        await end_truly(w, client, [key for key in keys if key], may_be_missing=False)
