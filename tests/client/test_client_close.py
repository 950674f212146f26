"""Opening and closing: in flight, twice, cancelled, with a clock that is behind; and nothing left over."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from client_fixtures import MakeWorld
from client_world import NOTIFY_URL, OID_PARTNER, SteppedClock, an_order, for_ever

from lianlian_async import (
    BreakerOpen,
    CommandRefused,
    ConfigError,
    LianLianClient,
    Limits,
    Merchant,
    NothingSent,
    State,
    Step,
)
from lianlian_async.clock import SystemClock
from lianlian_async.intake import intent_of
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.numbers import derive
from lianlian_async.resolver import Outcome
from lianlian_async.testing.clocks import ScaledClock

NUMBER = derive(OID_PARTNER, "k")


async def test_closed_while_a_request_is_under_way(world: MakeWorld) -> None:
    """Closing waits for the answer and writes it down; the next start goes on from there."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap)
        arrived, gate = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            arrived.set()
            await gate.wait()

        w.wires[0].after = lambda url, heard: hold()
        await client.pay(an_order(), key="k", wait_s=0)
        await arrived.wait()
        closing = w.start(client.aclose())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closing.done()
        gate.set()
        await closing
        second = await w.client(tap)
        payout = await second.get(NUMBER)
        assert (payout.state, payout.ret_code) == (State.IN_PROGRESS, "0000")
        assert await second.recover() == 1
        [payout] = await w.at_rest(second, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)


async def test_closed_while_the_gateway_hangs(world: MakeWorld) -> None:
    """Closing lasts one deadline at most; the attempt is on record and the next start asks."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap)
        w.simulator.script(NUMBER, pay=["hang_after"])
        await client.pay(an_order(), key="k", wait_s=0)
        began = asyncio.get_running_loop().time()
        await client.aclose()
        assert asyncio.get_running_loop().time() - began < 2
        second = await w.client(tap)
        await second.recover()
        [payout] = await w.at_rest(second, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)


@pytest.mark.parametrize("call", ["pay", "wait"])
async def test_closed_under_a_caller_that_waits(world: MakeWorld, call: str) -> None:
    """The order was accepted: the caller gets the payout as it stands, never "nothing was sent"."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, timeline=[("PROCESSING", 0), ("SUCCESS", 7200)])
        await client.pay(an_order(), key="k", wait_s=0)
        await w.calm()
        task = w.start(
            client.pay(an_order(), key="k", wait_s=50) if call == "pay" else client.wait(NUMBER, timeout_s=50)
        )
        await w.calm()
        assert len(w.pays()) == 1
        await client.aclose()
        [result] = await asyncio.gather(task, return_exceptions=True)
        assert not isinstance(result, NothingSent)
        assert result.state in (State.UNKNOWN, State.IN_PROGRESS)


async def test_closing_ends_the_wait(world: MakeWorld) -> None:
    """Nothing moves any more in this process: a caller that would wait for an hour is told at once."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, timeline=[("PROCESSING", 0), ("SUCCESS", 7200)])
        task = w.start(client.pay(an_order(), key="k", wait_s=3600))
        await w.calm()
        await client.aclose()
        done, _ = await asyncio.wait({task}, timeout=1)
        assert done


@pytest.mark.parametrize("fault", ["hang_after", "hang_before"])
async def test_the_wait_ends_while_the_request_is_under_way(world: MakeWorld, fault: str) -> None:
    """UNSENT means that no byte has left, by proof: a request that hangs is UNKNOWN, with one send."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[fault])
        payout = await client.pay(an_order(), key="k", wait_s=10)
        assert len(w.pays()) == 1
        assert (payout.state, payout.sends) == (State.UNKNOWN, 1)


async def test_closed_while_an_intent_is_being_written(world: MakeWorld) -> None:
    """Either it is not in the journal and the caller hears so, or it is, and the caller gets the payout."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap)
        gate = asyncio.Event()
        tap.hook = lambda phase, name, count, args: gate.wait() if (phase, name) == ("after", "add") else None
        call = w.start(client.pay(an_order(), key="k", wait_s=1))
        for _ in range(10):
            await asyncio.sleep(0)
        closing = w.start(client.aclose())
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(call, closing, return_exceptions=True)
        tap.hook = None
        second = await w.client(tap)
        refused = isinstance(call.exception(), NothingSent)
        assert refused == (await second.find("k") is None)


@pytest.mark.parametrize("how", ["close", "pause"])
async def test_what_waits_for_its_turn_does_not_leave_any_more(world: MakeWorld, how: str) -> None:
    """With one slot taken, the others wait; closed or paused meanwhile, none of them is begun."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap, limits=Limits(in_flight=1))
        arrived, gate = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            arrived.set()
            await gate.wait()

        w.wires[0].after = lambda url, heard: hold()
        payouts = await client.enlist([(an_order(card=n), f"k{n}") for n in range(5)])
        await arrived.wait()
        done = w.start(client.aclose() if how == "close" else client.pause(reason="wrong key", by="Wang Fang"))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(done)
        if how == "pause":
            await w.run_for(600)
            assert {p.step for p in await client.payouts((State.UNSENT,))} <= {Step.FIX, Step.QUERY}
            await client.unpause(by="Wang Fang")
        assert len(w.pays()) == 1
        w.wires[0].after = None
        second = client if how == "pause" else await w.client(tap)
        assert await second.recover() >= 4
        rested = await w.at_rest(second, *[p.no_order for p in payouts])
        assert {p.state for p in rested} == {State.PAID}
        assert len(w.pays()) == 5
        await w.audit(second)


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_closed_twice_and_never_opened(world: MakeWorld, journal: str) -> None:
    """Closing again does nothing, one after the other or at once; so does closing what was never opened."""
    async with world(journal=journal) as w:
        client = await w.client()
        await w.pay(client, an_order())
        await client.aclose()
        await client.aclose()
        other = await w.client(w.journal("other"))
        await asyncio.gather(other.aclose(), other.aclose(), other.aclose())
        never = LianLianClient(w.merchant, MemoryJournal(), clock=w.clock)
        await never.aclose()


async def test_opened_again_after_closing(world: MakeWorld) -> None:
    """The same object can be used again, with connections of its own."""
    async with world() as w:
        client = LianLianClient(w.merchant, w.journal(), clock=w.clock)
        async with client:
            first = await w.pay(client, an_order())
        with pytest.raises(NothingSent, match="not open"):
            await client.get(first.no_order)
        async with client:
            assert await client.get(first.no_order) == first
            assert (await w.pay(client, an_order(card=2), "k2")).state is State.PAID


async def test_opened_twice(world: MakeWorld) -> None:
    """Opening what is open changes nothing or is refused; closing ends."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, timeline=[("PROCESSING", 0), ("SUCCESS", 7200)])
        await client.pay(an_order(), key="k", wait_s=0)
        await w.calm()
        engine = client._engine
        try:
            await client.open()
            assert client._engine is engine
        except ConfigError:
            pass
        finally:
            client._engine = engine


async def test_closing_is_cancelled(world: MakeWorld) -> None:
    """A caller that gives up on closing can close again; or the closing goes on by itself."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["hang_after"])
        await client.pay(an_order(), key="k", wait_s=0)
        for _ in range(30):
            await asyncio.sleep(0.0003)
        closing = w.start(client.aclose())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await client.aclose()
        await w.calm()
        open_still = w.journals[0].inner._open
        await w.journals[0].inner.close()
        for wire in w.wires:
            await wire.aclose()
        assert not open_still


async def test_nothing_is_left_over(world: MakeWorld) -> None:
    """No task, no socket, no thread: not after work, not after trouble, not with both kinds of journal."""
    before = asyncio.all_tasks()
    for journal in ("memory", "sqlite"):
        async with world(journal=journal) as w:
            w.simulator.script({"acct_name": "李三"}, pay=["close_before"])
            async with LianLianClient(w.merchant, w.journal(), clock=w.clock) as client:
                await client.pay(an_order(), key="k", wait_s=0)
                await client.pay(an_order(card=2, acct_name="王五"), key="k2", wait_s=0)
                await w.run_for(100)
            left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]
            # The simulator still serves: its ticker, what that waits for, and a connection are its own.
            assert left <= {"_Shell.tick", "Event.wait", "ManualClock.sleep", "RequestHandler.start"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        gc.collect()


async def test_a_clock_behind_the_journal(world: MakeWorld) -> None:
    """Refused at the start, with both times: a clock that is wrong would break every rule about waiting."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap)
        await w.pay(client, an_order())
        await client.aclose()
        newest = await _newest(tap)
        for behind, refused in ((59, False), (61, True), (7200, True)):
            clock = SteppedClock(newest - timedelta(seconds=behind), loop_scale=100)
            late = LianLianClient(w.merchant, tap, clock=clock)
            if refused:
                with pytest.raises(ConfigError, match=r"clock is .* behind .* nothing was sent"):
                    await late.open()
                with pytest.raises(NothingSent):
                    await late.get(NUMBER)
            else:
                await late.open()
                await late.aclose()


async def test_a_clock_that_was_ahead(world: MakeWorld) -> None:
    """One entry from 30 days ahead: a client that may send does not open, and says what it may be and what can be done.
    One that only asks finds out what became of the payout, and sends nothing."""
    async with world(journal="sqlite") as w:
        first = await w.client(w.journal())
        w.simulator.script(NUMBER, pay=["9999_after"], final="SUCCESS", after_s=1)
        await first.enlist([(an_order(), "k")])
        await w.calm()
        await w.crash(first)
        ahead = w.journal()
        await ahead.open()
        moment = w.clock.now() + timedelta(days=30)
        await ahead.add([intent_of(an_order(card=7), "later", w.merchant, moment)])
        await ahead.close()
        with pytest.raises(ConfigError, match=r"another one was ahead.*`query NO_ORDER` asks"):
            await w.client(w.journal())
        client = await w.client(w.journal(), asks_only=True)
        await w.run_for(10)
        payout = await w.done(client.query(NUMBER))
        assert payout.state is State.PAID
        later = derive(OID_PARTNER, "later")
        assert (await w.done(client.query(later))).state is State.UNSENT
        for move in (
            lambda: client.pay(an_order(card=8), key="new"),
            lambda: client.approve(later, by="Anna", note="x"),
            lambda: client.replace(later, by="Anna"),
        ):
            with pytest.raises((BreakerOpen, CommandRefused)):
                await w.done(move())
        await w.done(client.recover())
        assert await w.done(client.advance(10)) == 0
        await w.run_for(40 * 86_400)
        assert len(w.pays()) == 1
        assert (await client.get(later)).state is State.UNSENT


async def test_a_client_that_asks_only_changes_no_plan(world: MakeWorld) -> None:
    """What it shows it does not write down: another client goes on as if it had not been there."""
    async with world(journal="sqlite") as w:
        first = await w.client(w.journal())
        w.wires[0].before = lambda url: for_ever()
        await first.enlist([(an_order(), "k")])
        await asyncio.sleep(0.05)
        await w.crash(first)
        client = await w.client(w.journal(), asks_only=True)
        before = await client.journal.load(NUMBER)
        await w.run_for(400)
        await w.done(client.refresh())
        assert await client.journal.load(NUMBER) == before
        assert not w.pays()


async def test_a_fast_clock_that_is_started_anew_after_the_end_of_a_month(world: MakeWorld) -> None:
    """Fast clocks begin each month anew, years before what the last one wrote: it goes on where the journal ends."""
    async with world() as w:
        tap = w.journal()
        client = await w.client(tap)
        payout = await w.pay(client, an_order())
        await client.aclose()
        newest = await _newest(tap)
        for clock in (ScaledClock(240, newest - timedelta(days=7300)), ScaledClock(0.5, newest - timedelta(hours=1))):
            async with LianLianClient(w.merchant, tap, clock=clock) as again:
                assert clock.now() >= newest
                assert (await again.get(payout.no_order)).state is State.PAID
        ahead = ScaledClock(240, newest + timedelta(days=1))
        async with LianLianClient(w.merchant, tap, clock=ahead):
            assert ahead.now() - newest < timedelta(days=2), "a clock that is right is left alone"
        with pytest.raises(ConfigError, match="--time-scale"):
            await LianLianClient(w.merchant, tap, clock=ScaledClock(1, newest - timedelta(days=1))).open()


async def _newest(tap: Any) -> Any:
    await tap.open()
    newest = await tap.newest()
    await tap.close()
    return newest


def test_an_accelerated_clock_for_a_real_gateway(ring: Any) -> None:
    """ConfigError: hours that pass in seconds are for this machine only."""
    merchant = Merchant(oid_partner=OID_PARTNER, keys=ring, notify_url=NOTIFY_URL)
    for clock in (ScaledClock(2), ScaledClock(0.5), SteppedClock()):
        with pytest.raises(ConfigError, match="accelerated clock"):
            LianLianClient(merchant, "memory:", clock=clock)
    LianLianClient(merchant, "memory:", clock=ScaledClock(1))
    LianLianClient(merchant, "memory:", clock=SystemClock())


@pytest.mark.parametrize("journal", ["postgres://u:SECRET@h/d", "payouts.db", "sqlite:/x", "memory:x", ""])
def test_a_journal_that_does_not_exist(ring: Any, journal: str) -> None:
    """ConfigError with the forms there are; the address itself is not repeated."""
    merchant = Merchant(oid_partner=OID_PARTNER, keys=ring, notify_url=NOTIFY_URL)
    with pytest.raises(ConfigError, match="sqlite:///") as caught:
        LianLianClient(merchant, journal)
    assert "SECRET" not in str(caught.value)


async def test_a_transport_that_is_none(world: MakeWorld) -> None:
    """Refused when the client opens, and the journal is closed again."""
    async with world() as w:
        tap = w.journal()
        client = LianLianClient(w.merchant, tap, clock=w.clock, transport=object())
        with pytest.raises(ConfigError, match="no transport"):
            await client.open()
        assert not tap.inner._open


async def test_a_client_of_the_callers(world: MakeWorld) -> None:
    """An httpx2.AsyncClient carries both kinds of calls, and stays open and the caller's."""
    async with world() as w, httpx2.AsyncClient(trust_env=False) as own:
        async with LianLianClient(w.merchant, w.journal(), clock=w.clock, transport=own) as client:
            call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
            while not call.done():
                for _ in range(40):
                    await asyncio.sleep(0.0005)
                if not call.done() and w.clock.next_at:
                    w.clock.go_to(w.clock.next_at)
            assert call.result().state is State.PAID
        assert not own.is_closed


async def test_an_observer(world: MakeWorld) -> None:
    """It is told of every attempt and every piece of news, in order, with records that show no secrets."""
    async with world() as w:
        seen: list[Any] = []
        client = await w.client(observer=seen.append)
        await w.pay(client, an_order())
        assert [len(r.attempts) for r in seen][0] == 1
        assert [r.version for r in seen] == sorted({r.version for r in seen})
        assert seen[-1].state is State.PAID
        assert "6228480222300000000" not in repr(seen)


async def test_an_observer_sees_a_resumption(world: MakeWorld) -> None:
    """What a person says is a change that this process makes, too: no version is left out."""
    async with world() as w:
        seen: list[Any] = []
        client = await w.client(observer=seen.append)
        w.simulator.script(NUMBER, pay=["4013", None])
        payout = await w.pay(client, an_order())
        assert payout.step is Step.FIX
        await client.resume(NUMBER, by="Wang Fang")
        assert any(e.outcome is Outcome.RESUMED for e in seen[-1].evidence)
        await w.at_rest(client, NUMBER)
        record = await client.journal.load(NUMBER)
        assert record is not None
        assert [r.version for r in seen] == list(range(1, record.version + 1))


async def test_an_observer_that_raises(world: MakeWorld) -> None:
    """Its mistake is logged; the payout goes on."""
    async with world() as w:

        def boom(record: Any) -> None:
            raise RuntimeError("an observer's mistake")

        client = await w.client(observer=boom)
        payout = await w.pay(client, an_order())
        assert (payout.state, len(w.pays())) == (State.PAID, 1)


CALLS: list[tuple[str, Callable[[LianLianClient], Awaitable[Any]]]] = [
    ("pay", lambda c: c.pay(an_order(), key="k")),
    ("recover", lambda c: c.recover()),
    ("query", lambda c: c.query(NUMBER)),
    ("resume", lambda c: c.resume(NUMBER, by="Wang Fang")),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
async def test_used_after_closing(world: MakeWorld, name: str, call: Any) -> None:
    """A closed client sends nothing and says that it is closed."""
    async with world() as w:
        client = await w.client()
        await client.aclose()
        with pytest.raises(NothingSent, match="not open"):
            await call(client)
        assert not w.simulator.requests
