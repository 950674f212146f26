"""The small parts: who waits for which moment, the common pace of queries, and the bounded repetition of a query."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from client_fixtures import MakeWorld
from client_world import SteppedClock, an_order

from lianlian_async import ConfigError, JournalUnavailable, Limits, State
from lianlian_async.agenda import Agenda, Pace, Wake
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.resolver import Source
from lianlian_async.retry import ask_again
from lianlian_async.transport.aiohttp import AiohttpTransport


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_wait_with_one_timer() -> None:
    """Woken in the order of their moments, whatever the order of their coming; an earlier one is not woken late."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    start, woken = clock.now(), []

    async def wait(seconds: float) -> None:
        assert await agenda.until(start + timedelta(seconds=seconds)) is Wake.CAME
        woken.append((seconds, (clock.now() - start).total_seconds()))

    tasks = [asyncio.create_task(wait(s)) for s in (50, 10, 30, 5, 50, 0, -5)]
    await turns()
    assert sorted(s for s, _ in woken) == [-5, 0]
    assert clock.sleepers == 1
    await clock.run_for(60)
    assert [s for s, _ in woken][2:] == [5, 10, 30, 50, 50]
    assert all(at >= s for s, at in woken)
    await asyncio.gather(*tasks)
    agenda.close()
    assert await agenda.until(start) is Wake.CLOSED
    await turns()


async def test_closing_wakes_everybody() -> None:
    """Whoever waited hears that the agenda closed, once; a waiter that was cancelled harms nobody."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    waits = [asyncio.create_task(agenda.until(clock.now() + timedelta(seconds=s))) for s in (5, 6, 7)]
    await turns()
    waits[0].cancel()
    await turns()
    await clock.run_for(5.5)
    agenda.close()
    assert await asyncio.gather(*waits[1:]) == [Wake.CLOSED, Wake.CLOSED]
    agenda.close()
    await turns()


async def test_called_by_name() -> None:
    """Whoever sleeps under a name is woken at once; a call that finds nobody asleep counts for the next wait, once."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    moment = clock.now() + timedelta(hours=1)
    asleep = asyncio.create_task(agenda.until(moment, "a"))
    other = asyncio.create_task(agenda.until(moment, "b"))
    await turns()
    agenda.call("a")
    assert await asleep is Wake.CALLED
    agenda.call("a")
    agenda.call("a")
    assert await agenda.until(moment, "a") is Wake.CALLED
    asleep = asyncio.create_task(agenda.until(moment, "a"))
    await turns()
    assert not asleep.done()
    await clock.run_for(3700)
    assert (await asleep, await other) == (Wake.CAME, Wake.CAME)
    agenda.call("c")
    assert agenda.was_called("c")
    assert not agenda.was_called("c")
    agenda.close()
    await turns()


async def test_the_pace_of_queries() -> None:
    """Evenly spread, never a burst after a pause; None gets through when the agenda has closed."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    pace = a_pace(clock, agenda)
    at: list[float] = []
    start = clock.now()

    async def ask() -> None:
        async with pace.turn((0.0,)) as mine:
            assert mine
            at.append((clock.now() - start).total_seconds())

    tasks = [asyncio.create_task(ask()) for _ in range(20)]
    await clock.run_for(60)
    await asyncio.gather(*tasks)
    assert at == pytest.approx([n / 10 for n in range(20)])
    at.clear()
    tasks = [asyncio.create_task(ask()) for _ in range(3)]
    await clock.run_for(60)
    await asyncio.gather(*tasks)
    assert at == pytest.approx([60.0, 60.1, 60.2])
    agenda.close()
    async with pace.turn((0.0,)) as mine:
        assert not mine
    await turns()


def a_pace(clock: SteppedClock, agenda: Agenda, *, room: int = 100) -> Pace:
    journal = MemoryJournal()

    async def reserve(now: datetime, gap: timedelta, count: int) -> datetime:
        await journal.open()
        return await journal.turn("partner", now, gap, count)

    return Pace(clock, agenda, per_s=10, room=room, reserve=reserve)


async def test_the_most_pressing_goes_first() -> None:
    """Whoever comes later with a lower rank overtakes all who still wait."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    pace = a_pace(clock, agenda)
    went: list[str] = []

    async def ask(name: str, *rank: float) -> None:
        async with pace.turn(rank):
            went.append(name)

    tasks = [asyncio.create_task(ask(f"old {n}", 2.0, n)) for n in range(9)]
    await turns()
    tasks.append(asyncio.create_task(ask("newest unknown", 1.0, -5.0)))
    tasks.append(asyncio.create_task(ask("a person", 0.0)))
    await clock.run_for(60)
    await asyncio.gather(*tasks)
    assert went[:4] == ["old 0", "a person", "newest unknown", "old 1"]
    agenda.close()


async def test_no_turn_is_taken_without_room_to_use_it() -> None:
    """Slow answers hold the next query back; one who gave up waiting costs nobody a turn."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    pace = a_pace(clock, agenda, room=1)
    release = asyncio.Event()
    inside = 0

    async def ask() -> None:
        nonlocal inside
        async with pace.turn((0.0,)):
            inside += 1
            await release.wait()

    tasks = [asyncio.create_task(ask()) for _ in range(3)]
    await clock.run_for(5)
    assert inside == 1
    tasks[1].cancel()
    release.set()
    await clock.run_for(5)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert inside == 2
    agenda.close()


async def test_a_journal_that_gives_out_no_turns() -> None:
    """Everybody who waits is told, each with an exception of its own; the next one asks anew."""
    clock = SteppedClock()
    agenda = Agenda(clock)
    broken = True

    async def reserve(now: datetime, gap: timedelta, count: int) -> datetime:
        if broken:
            raise JournalUnavailable("full")
        return now

    pace = Pace(clock, agenda, per_s=10, room=5, reserve=reserve)

    async def ask() -> bool:
        async with pace.turn((0.0,)) as mine:
            return mine

    told = await asyncio.gather(ask(), ask(), return_exceptions=True)
    assert [type(error) for error in told] == [JournalUnavailable] * 2
    assert told[0] is not told[1]
    broken = False
    assert await ask()
    agenda.close()


@pytest.mark.parametrize("answers", [["good"], ["", "good"], ["", ""]])
async def test_a_query_is_repeated_twice_at_most(answers: list[str]) -> None:
    """About one and two seconds apart; the last answer counts, whatever it is."""
    clock = SteppedClock()
    asked: list[float] = []
    start = clock.now()

    async def ask() -> str:
        asked.append((clock.now() - start).total_seconds())
        return answers[len(asked) - 1]

    task = asyncio.create_task(ask_again(ask, brought_nothing=lambda a: not a, clock=clock))
    await clock.run_for(30)
    assert await task == answers[-1]
    assert len(asked) == len(answers)
    assert asked[0] == pytest.approx(0.5)
    assert all(0.5 <= b - a <= 3 for a, b in zip(asked, asked[1:], strict=False))


async def test_an_exception_is_never_repeated() -> None:
    """Only an answer that brought nothing is asked for again."""
    clock = SteppedClock()
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        raise ValueError("a mistake of ours")

    task = asyncio.create_task(ask_again(ask, brought_nothing=lambda a: not a, clock=clock))
    await clock.run_for(30)
    with pytest.raises(ValueError, match="a mistake of ours"):
        await task
    assert asked == 1


async def test_no_more_in_flight_than_allowed(world: MakeWorld) -> None:
    """Neither payments nor queries, however many payouts there are; all of them are paid."""
    async with world() as w:
        client = await w.client(limits=Limits(in_flight=3, queries_in_flight=2, queries_per_s=1000))
        peaks = [0, 0]

        def watch(which: int) -> Any:
            def look(url: str) -> None:
                peaks[which] = max(peaks[which], w.wires[which].busy)

            return look

        w.wires[0].before, w.wires[1].before = watch(0), watch(1)
        calls = [client.pay(an_order(card=n), key=f"k{n}", wait_s=1e9) for n in range(40)]
        payouts = await w.done(asyncio.gather(*calls), stride=0.05)
        assert {p.state for p in payouts} == {State.PAID}
        assert peaks == [3, 2]


async def test_queries_keep_their_rate(world: MakeWorld) -> None:
    """A hundred payouts are not asked about in one instant: at most so many queries in each second."""
    async with world() as w:
        client = await w.client(limits=Limits(queries_per_s=5))
        calls = [client.pay(an_order(card=n), key=f"k{n}", wait_s=1e9) for n in range(60)]
        await w.done(asyncio.gather(*calls))
        times = sorted(q.time for q in w.queries())
        for first, sixth in zip(times, times[6:], strict=False):
            assert (sixth - first).total_seconds() >= 0.99


async def test_a_transport_by_its_name(world: MakeWorld) -> None:
    """ "aiohttp" makes two of that kind, with the limits that were set; it pays, and they are closed with the client."""
    async with world() as w:
        client = await w.client(transport="aiohttp", limits=Limits(in_flight=3, queries_in_flight=5))
        made = {client.gateway._transports[source] for source in (Source.PAY, Source.QUERY)}
        assert [type(transport) for transport in made] == [AiohttpTransport] * 2
        payout = await client.pay(an_order(), key="k", wait_s=0)
        await w.run_until(lambda: bool(w.pays(payout.no_order)))


@pytest.mark.parametrize("name", ["httpx2", "AIOHTTP", ""])
async def test_a_transport_of_an_unknown_name(world: MakeWorld, name: str) -> None:
    """ConfigError says which there are, and the journal is closed again."""
    async with world() as w:
        with pytest.raises(ConfigError, match="there is no transport named"):
            await w.client(transport=name)


async def test_a_transport_whose_package_is_missing(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError says what to install."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "lianlian_async.transport.aiohttp")
    async with world() as w:
        with pytest.raises(ConfigError, match=r"pip install 'lianlian-async\[aiohttp\]'"):
            await w.client(transport="aiohttp")


async def test_a_payout_for_a_script(world: MakeWorld) -> None:
    """Plain values that JSON takes as they are: money as text, nobody's card or name, alarms when there are any."""
    async with world() as w:
        client = await w.client()
        payout = await w.pay(client, an_order("25.70", card=7))
        said = payout.as_dict()
        assert json.loads(json.dumps(said)) == said
        assert said == {
            "key": "k", "no_order": payout.no_order, "state": "PAID", "step": "NOTHING", "money_order": "25.70",
            "oid_paybill": payout.oid_paybill, "ret_code": payout.ret_code, "settle_date": payout.settle_date,
            "advice": payout.advice,
        }  # fmt: skip
        assert evolve(payout, alarms=("look",)).as_dict() == {**said, "alarms": ["look"]}
