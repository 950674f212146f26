"""A journal that fails, answers late, or is changed by somebody else: before, between and after the sending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, Tap, World, an_order

from lianlian_async import CommandRefused, JournalUnavailable, NothingSent, OutcomeUnknown, State, Step
from lianlian_async.journal import Breaker, Change, StaleVersion
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.numbers import derive
from lianlian_async.resolver import Outcome, Source
from lianlian_async.testing.simulator import Step as Answer

NUMBER = derive(OID_PARTNER, "k")


def writes_attempt(name: str, args: tuple[Any, ...]) -> bool:
    return name == "save" and bool(args[2].attempts)


def writes_news(name: str, args: tuple[Any, ...]) -> bool:
    return name == "save" and bool(args[2].evidence)


def failing(tap: Tap, times: int, which: Callable[[str, tuple[Any, ...]], bool], phase: str = "before") -> list[str]:
    """Let the next `times` calls that `which` picks fail; `after` means: written, and yet it says that it failed."""
    failed: list[str] = []

    def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> None:
        if when == phase and len(failed) < times and which(name, args):
            failed.append(name)
            raise JournalUnavailable("the disk is full")

    tap.hook = hook
    return failed


async def test_the_intent_cannot_be_written(world: MakeWorld) -> None:
    """JournalUnavailable, and nothing reached the gateway; later the same call pays once."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 1, lambda name, args: name == "add")
        with pytest.raises(JournalUnavailable, match="the disk is full"):
            await client.pay(an_order(), key="k")
        await w.run_for(600)
        assert not w.simulator.requests
        assert (await w.pay(client, an_order())).state is State.PAID
        assert len(w.pays()) == 1


async def test_the_intent_was_written_and_the_journal_does_not_know(world: MakeWorld) -> None:
    """The commit's own outcome was lost: the caller is told that nothing was sent, and asking again pays once."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 1, lambda name, args: name == "add", "after")
        with pytest.raises(JournalUnavailable):
            await client.pay(an_order(), key="k")
        await w.run_for(600)
        assert not w.simulator.requests
        assert (await w.pay(client, an_order())).state is State.PAID
        assert len(w.pays()) == 1


@pytest.mark.parametrize("phase", ["before", "after"])
async def test_the_attempt_cannot_be_written(world: MakeWorld, phase: str) -> None:
    """Not one byte leaves; later it is paid once, after a query if the attempt may be on record (R6)."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 1, writes_attempt, phase)
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
        await w.calm()
        assert not w.pays()
        if call.done():
            assert isinstance(call.exception(), OutcomeUnknown)
        payout = await w.pay(client, an_order())
        await asyncio.gather(call, return_exceptions=True)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        await w.audit(client)


async def test_the_journal_cannot_be_read_while_the_first_request_is_under_way(world: MakeWorld) -> None:
    """The caller's own look at the journal fails after the driver has sent: it is never told that nothing was sent."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["hang_after"])

        async def slow_and_broken() -> None:
            while not w.pays():
                await asyncio.sleep(0.0005)
            raise JournalUnavailable("the disk is slow, and then it fails")

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            asks = asyncio.current_task() is call and client._crew.named(NUMBER) is not None
            return slow_and_broken() if when == "before" and name == "tripped" and asks else None

        w.journals[0].hook = hook
        call = w.start(client.pay(an_order(), key="k", wait_s=1000))
        [result] = await asyncio.gather(call, return_exceptions=True)
        assert len(w.pays()) == 1
        assert not isinstance(result, NothingSent)


async def test_nothing_sent_means_that_nothing_will_be_sent(world: MakeWorld) -> None:
    """Whoever catches NothingSent may pay in another way: after it this payout must not leave by itself."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 1, writes_attempt)
        call = w.start(client.pay(an_order(), key="k", wait_s=100))
        [result] = await asyncio.gather(call, return_exceptions=True)
        assert not w.pays()
        await w.run_for(600)
        assert not (isinstance(result, NothingSent) and w.pays())


async def test_a_short_trouble_of_the_journal_does_not_leave_a_payout_lying(world: MakeWorld) -> None:
    """After `enlist` nobody waits: the client itself has to go on when the journal works again."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 1, writes_attempt)
        await client.enlist([(an_order(), "k")])
        await w.run_for(3600)
        assert (await client.get(NUMBER)).state is State.PAID
        assert len(w.pays()) == 1


@pytest.mark.parametrize("times", [1, 2, 5, 7])
async def test_the_answer_cannot_be_written_for_a_while(world: MakeWorld, times: int) -> None:
    """It is offered again until it is written; there is no second send."""
    async with world() as w:
        client = await w.client()
        failed = failing(w.journals[0], times, writes_news)
        payout = await w.pay(client, an_order())
        assert len(failed) == times
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        [record] = await w.records(client)
        assert record.evidence[0].ret_code == "0000"
        await w.audit(client)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_answer_was_written_and_the_journal_does_not_know(world: MakeWorld, kind: str) -> None:
    """Written once and offered again: it may be on record twice, and that changes nothing."""
    async with world(journal=kind) as w:
        client = await w.client()
        failing(w.journals[0], 2, writes_news, "after")
        payout = await w.pay(client, an_order())
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        await w.audit(client)


async def test_the_answer_can_never_be_written(world: MakeWorld) -> None:
    """OutcomeUnknown, not "nothing was sent"; the next start asks, and does not send."""
    async with world() as w:
        client = await w.client()
        failing(w.journals[0], 10_000, writes_news)
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
        await w.run_until(call.done, within_s=120)
        error = call.exception()
        assert isinstance(error, OutcomeUnknown)
        assert not isinstance(error, NothingSent)
        assert "6228" not in str(error)
        assert len(w.pays()) == 1
        second = await w.client(await w.crash(client))
        await second.recover()
        [payout] = await w.at_rest(second, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        await w.audit(second)


@pytest.mark.parametrize("method", ["load", "tripped"])
async def test_the_journal_cannot_be_read_after_the_send(world: MakeWorld, method: str) -> None:
    """Whoever catches NothingSent may pay in another way: after a send it must never be raised for this payout."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["9999_before" if method == "tripped" else None, None])

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if when == "before" and name == method and w.pays():
                raise JournalUnavailable("the disk is gone")

        w.journals[0].hook = hook
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
        await w.run_until(call.done)
        assert len(w.pays()) == 1
        assert not isinstance(call.exception(), NothingSent)


async def test_the_answer_meets_another_version_and_then_a_failing_read(world: MakeWorld) -> None:
    """The answer in hand is kept and offered again, whichever call of the journal failed meanwhile."""
    async with world() as w:
        client = await w.client()
        state: list[str] = []

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if when == "before" and writes_news(name, args) and not state:
                state.append("stale")
                raise StaleVersion("somebody else wrote")
            if when == "before" and name == "load" and state == ["stale"]:
                state.append("gone")
                raise JournalUnavailable("the disk is busy")

        w.journals[0].hook = hook
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        [record] = await w.records(client)
        assert [e.ret_code for e in record.evidence][0] == "0000"
        assert len(w.pays()) == 1


async def test_the_pause_cannot_be_written(world: MakeWorld) -> None:
    """A wrong key must stop new money even when the journal stumbles over the pause."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[Answer("1001")])
        failed = failing(w.journals[0], 1, lambda name, args: name == "trip")
        await asyncio.wait({call := w.start(client.pay(an_order(), key="k", wait_s=1))})
        await asyncio.gather(call, return_exceptions=True)
        await w.run_for(60)
        assert failed == ["trip"]
        assert await client.paused() is not None


@pytest.mark.parametrize("which", ["attempt", "news", "both"])
async def test_somebody_else_writes_in_between(world: MakeWorld, which: str) -> None:
    """Another version under our feet: load again, decide anew; news is added, an attempt is not forced through."""
    async with world() as w:
        client = await w.client()
        seen: list[str] = []

        async def other() -> None:
            record = await w.journals[0].inner.load(NUMBER)
            await w.journals[0].inner.save(NUMBER, record.version, Change(record.state, record.step, record.due_at))

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            kind = "attempt" if writes_attempt(name, args) else "news" if writes_news(name, args) else None
            if when == "before" and kind and which in (kind, "both") and seen.count(kind) < 3:
                seen.append(kind)
                return other()
            return None

        w.journals[0].hook = hook
        payout = await w.pay(client, an_order())
        assert len(seen) >= 3
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        await w.audit(client)


@pytest.mark.parametrize("sleep_s", [14.0, 16.0, 31.0, 3600.0, 6 * 3600.0])
async def test_the_machine_sleeps_between_attempt_and_send(world: MakeWorld, sleep_s: float) -> None:
    """Woken with less than half of its time left, it does not send (R6); the payout is paid once, later."""
    async with world() as w:
        client = await w.client()

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if when == "after" and writes_attempt(name, args) and len(w.journals[0].calls) and not slept:
                slept.append(True)
                w.clock.advance(sleep_s)

        slept: list[bool] = []
        w.journals[0].hook = hook
        call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
        await w.run_until(call.done)
        payout = call.result()
        assert (payout.state, len(w.pays()), payout.sends) == (State.PAID, 1, 1)
        [record] = await w.records(client)
        told = [(e.attempt, e.outcome, e.detail) for e in record.evidence if e.source is Source.PAY]
        if sleep_s < 15:
            assert told == [(1, Outcome.ANSWERED, None)]
        else:
            assert told == [(1, Outcome.NOT_SENT, "woke too late"), (2, Outcome.ANSWERED, None)]
            assert w.simulator.requests[0].endpoint == "query"
        await w.audit(client)


async def test_another_process_takes_over_while_the_machine_sleeps(world: MakeWorld) -> None:
    """While one process sleeps after its attempt, another asks, waits and pays; the sleeper wakes and does not send."""
    async with world(journal="sqlite") as w:
        sleeper, other = await w.client(w.journal("shared")), await w.client(w.journal("shared"))
        gate = asyncio.Event()

        async def sleep() -> None:
            w.journals[0].busy -= 1  # asleep is not busy: time goes on for everybody else
            await gate.wait()
            w.journals[0].busy += 1

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            return sleep() if when == "after" and writes_attempt(name, args) else None

        w.journals[0].hook = hook
        call = w.start(sleeper.pay(an_order(), key="k", wait_s=1e9))
        await w.calm()
        assert not w.pays()
        await other.recover()
        [payout] = await w.at_rest(other, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        w.journals[0].hook = None
        gate.set()
        await w.run_until(call.done)
        assert (call.result().state, len(w.pays())) == (State.PAID, 1)
        await w.audit(other)


async def test_the_machine_sleeps_while_connecting(world: MakeWorld) -> None:
    """A suspended machine whose monotonic clock stood still must not send hours late (safety.md 3.8, trap 18)."""
    async with world() as w:
        client = await w.client()
        real = w.wires[0].inner
        exchange = real._exchange  # type: ignore[attr-defined]

        async def slow(url: str, body: bytes, watermark: Any) -> Any:
            if not slept:
                slept.append(True)
                w.clock.advance(6 * 3600)
            return await exchange(url, body, watermark)

        slept: list[bool] = []
        real._exchange = slow  # type: ignore[attr-defined]
        await w.pay(client, an_order())
        await w.audit(client)


async def test_somebody_else_writes_while_a_payout_comes_to_rest(world: MakeWorld) -> None:
    """Where it rests is already told by another: nothing is lost, and it goes on when it may."""
    async with world() as w:
        client = await w.client()
        gate, seen = pause_once_driven(w, client)
        gate.set()
        held = w.journals[0].hook
        assert held is not None

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            if when == "before" and name == "save" and seen == ["paused"]:
                seen.append("stale")
                raise StaleVersion("somebody else wrote")
            return held(when, name, count, args)

        w.journals[0].hook = hook
        await client.enlist([(an_order(), "k")])
        await w.run_for(1200)
        assert seen == ["paused", "stale"]
        await client.unpause(by="Wang Fang")
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.sends) == (State.PAID, 1)
        await w.audit(client)


async def test_a_payout_that_is_gone_from_the_journal(world: MakeWorld) -> None:
    """Another file under the same name: said so, and not sent."""
    async with world() as w:
        client = await w.client()

        def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if when == "before" and writes_attempt(name, args):
                w.journals[0].inner._records.clear()

        w.journals[0].hook = hook
        call = w.start(client.pay(an_order(), key="k", wait_s=1))
        await w.run_until(call.done)
        assert "gone from the journal" in str(call.exception()) or "not in this journal" in str(call.exception())
        assert not w.pays()


async def test_the_file_is_taken_away(world: MakeWorld) -> None:
    """A journal whose file vanished says so; nothing is sent on its word."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        await w.pay(client, an_order(card=1), "first")
        inner = w.journals[0].inner
        assert isinstance(inner, SqliteJournal)
        inner.path.rename(inner.path.with_suffix(".elsewhere"))
        sends = len(w.pays())
        with pytest.raises(JournalUnavailable):
            await client.pay(an_order(card=2), key="second")
        await w.run_for(60)
        assert len(w.pays()) == sends
        inner.path.with_suffix(".elsewhere").rename(inner.path)


# --- the task that drives a payout, and those who want it driven


def pause_once_driven(w: World, client: Any) -> tuple[asyncio.Event, list[str]]:
    """Trip the breaker between `_drive` and the driver's first decision, and hold the driver's last write."""
    gate, seen = asyncio.Event(), list[str]()

    async def pause() -> None:
        await w.journals[0].inner.trip(Breaker(OID_PARTNER, "wrong key", w.clock.now(), "gateway"))

    def hook(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
        driving = client._crew.named(NUMBER) is asyncio.current_task()
        if when == "before" and name == "tripped" and driving and not seen:
            seen.append("paused")
            return pause()
        if when == "after" and name == "save" and driving and seen == ["paused"]:
            seen.append("held")
            return gate.wait()
        return None

    w.journals[0].hook = hook
    return gate, seen


@pytest.mark.parametrize("how", ["recover", "wait", "pay", "resume"])
async def test_taken_up_while_its_task_is_just_ending(world: MakeWorld, how: str) -> None:
    """Whoever takes a payout up while its task writes its last word down must find it driven afterwards."""
    async with world() as w:
        client = await w.client()
        gate, seen = pause_once_driven(w, client)
        await client.enlist([(an_order(), "k")])
        for _ in range(30):
            await asyncio.sleep(0)
        assert seen == ["paused", "held"]
        if how == "resume":
            await client.resume(NUMBER, by="Wang Fang")
        await client.unpause(by="Wang Fang")
        call = {
            "recover": client.recover,
            "wait": lambda: client.wait(NUMBER, timeout_s=1e6),
            "pay": lambda: client.pay(an_order(), key="k", wait_s=1e6),
            "resume": lambda: asyncio.sleep(0),
        }[how]()
        task = w.start(call)
        for _ in range(30):
            await asyncio.sleep(0)
        gate.set()
        await w.run_for(3600)
        assert task.done()
        payout = await client.get(NUMBER)
        assert (payout.state, payout.step) == (State.PAID, Step.NOTHING)


async def test_two_merchants_in_one_journal(world: MakeWorld) -> None:
    """Each client answers for its own merchant alone: counts, money, pages, numbers."""
    async with world(journal="sqlite") as w:
        mine = await w.client(w.journal())
        await w.pay(mine, an_order())
        w.merchant = evolve(w.merchant, oid_partner="201606020000150099")
        theirs = await w.client(w.journal(), transport=(w.wire(), w.wire()))
        [other] = await theirs.enlist([(an_order("7.00"), "k")])
        for client, number, money in ((mine, NUMBER, "25.78"), (theirs, other.no_order, "7.00")):
            assert [p.no_order for p in await client.payouts()] == [number]
            assert [(t.count, str(t.money)) for t in (await client.tally()).values()] == [(1, money)]
        with pytest.raises(CommandRefused, match="belongs to merchant"):
            await mine.get(other.no_order)
