"""Claims and workers: due payouts are advanced by whoever claims them, one step at a time (safety.md 3.4, R6)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order, for_ever

from lianlian_async import JournalUnavailable, LianLianClient, Limits, State, Step
from lianlian_async.engine import Engine
from lianlian_async.intake import intent_of
from lianlian_async.journal import Lease
from lianlian_async.numbers import derive
from lianlian_async.resolver import Attempt, Source
from lianlian_async.worker import Worker

NUMBER = derive(OID_PARTNER, "k")
SECOND = timedelta(seconds=1)


class Staff:
    """Workers of a world, stopped before its clients close."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.stop = asyncio.Event()
        self.tasks: list[asyncio.Future[None]] = []

    def hire(self, client: LianLianClient, poll_s: float = 1.0) -> Worker:
        worker = Worker(client, poll_s=poll_s)
        self.tasks.append(asyncio.ensure_future(worker.run(self.stop)))
        return worker

    async def __aenter__(self) -> Staff:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)


async def left_behind(w: World, count: int, **script: Any) -> Any:
    """Payouts that a process wrote down and died before it sent them; the journal to go on with."""
    client = await w.client()
    if script:
        for n in range(count):
            w.simulator.script(derive(OID_PARTNER, f"k{n}"), **script)
    w.wires[-2].before = lambda url: for_ever()
    await client.enlist([(an_order(card=n), f"k{n}") for n in range(count)])
    await asyncio.sleep(0.05)
    return await w.crash(client)


async def states(client: LianLianClient) -> set[State]:
    return set(await client.tally())


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_a_worker_ends_what_another_process_left_behind(world: MakeWorld, journal: str) -> None:
    """Attempts whose process died are asked about first, then sent again; all are paid, none twice."""
    async with world(journal=journal, loop_scale=4) as w:
        fresh = await left_behind(w, 6)
        client = await w.client(fresh)
        async with Staff(w) as staff:
            staff.hire(client)
            await w.run_for(3600)
            assert await states(client) == {State.PAID}
        await w.audit(client)


async def test_several_workers_share_the_work(world: MakeWorld) -> None:
    """Three on one file: each payout is advanced by one at a time, and nobody asks about what another is at."""
    async with world(journal="sqlite", loop_scale=4) as w:
        path = (await left_behind(w, 12)).inner.path
        from lianlian_async.journal.sqlite import SqliteJournal

        clients = [await w.client(w.watch(SqliteJournal(path))) for _ in range(3)]
        async with Staff(w) as staff:
            workers = [staff.hire(client) for client in clients]
            await w.run_for(3600)
            assert await states(clients[0]) == {State.PAID}
            # Who gets how many of them is nobody's business: it hangs on who looks first.
            assert sum(worker.steps for worker in workers) >= 12
        for no_order in {r.no_order for r in await w.records(clients[0])}:
            queries = [q.time for q in w.queries(no_order)]
            assert all(b - a >= timedelta(seconds=1) for a, b in zip(queries, queries[1:], strict=False))
        await w.audit(clients[0])


async def test_a_claimed_payout_is_left_alone(world: MakeWorld) -> None:
    """While another's lease is in force neither a worker nor a waiting caller sends or asks; then somebody does."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["9999_after"], final="SUCCESS", after_s=1)
        await client.enlist([(an_order(), "k")])
        await w.calm()
        now = w.clock.now()
        journal = client.journal
        await w.run_for(1.9)
        record = await journal.load(NUMBER)
        lease = Lease("somebody else", now, now + timedelta(seconds=100))
        assert record.due_at is not None
        await journal.claim(OID_PARTNER, Lease("somebody else", record.due_at, lease.until), 10)
        asked = len(w.queries())
        await w.run_for(90)
        assert len(w.queries()) == asked
        await w.run_for(60)
        assert (await client.get(NUMBER)).state is State.PAID


async def unknown(w: World, client: LianLianClient, count: int) -> None:
    """Payouts of which nobody knows anything, all due to be asked about."""
    w.simulator.operator.set_outage("pay")
    for n in range(count):
        w.simulator.script(derive(OID_PARTNER, f"k{n}"), query=["9999", ...])
    await w.done(client.enlist([(an_order(card=n), f"k{n}") for n in range(count)]))
    await w.run_for(120)
    await w.crash(client)
    await w.run_for(1000)


async def test_no_two_turns_are_spent_on_one_question(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one query in five seconds, claims end before the turns come, and another process claims the same payouts: each
    is asked about once, and every turn that is not needed any more goes to the next payout."""
    async with world(journal="sqlite") as w:
        await unknown(w, await w.client(w.journal()), 4)
        one, other = [await w.client(w.journal(), limits=Limits(queries_per_s=0.2)) for _ in range(2)]
        monkeypatch.setattr(Engine, "lease", lambda self, since, count: Lease(self.owner, since, since + SECOND))
        asked = len(w.queries())
        start = w.clock.now()
        await w.done(one.advance(64))
        await w.run_for(2)
        await w.done(other.advance(64))
        await w.run_for(120)
        queries = w.queries()[asked:]
        assert sorted(q.no_order for q in queries) == sorted({q.no_order for q in queries})
        assert len(queries) == 4
        assert queries[-1].time - start <= timedelta(seconds=25)


async def test_a_claim_lasts_as_long_as_the_wait_for_its_turn(world: MakeWorld) -> None:
    """At a low rate a process claims what it can ask about soon, for as long as that takes when others share the rate;
    at the usual rate a claim is as short as ever, so that a dead process's work is taken up."""
    async with world(journal="sqlite") as w:
        await unknown(w, await w.client(w.journal()), 10)
        slow, usual = await w.client(w.journal(), limits=Limits(queries_per_s=0.05)), await w.client(w.journal())
        claimed = await slow._engine_or_raise().claim(64, sends=False)
        assert len(claimed) == 6
        lasts = claimed[0].lease.until - w.clock.now()
        assert lasts >= timedelta(seconds=2 * 6 * 20)
        [*rest] = await usual._engine_or_raise().claim(64, sends=False)
        assert len(rest) == 4
        assert rest[0].lease.until - w.clock.now() == timedelta(seconds=60)


async def test_a_worker_that_slept_through_its_lease_does_not_send(world: MakeWorld) -> None:
    """Its attempt is refused while another has the payout, and its old claim ends nobody's."""
    async with world() as w:
        fresh = await left_behind(w, 1)
        client = await w.client(fresh)
        journal, number = client.journal, derive(OID_PARTNER, "k0")
        await w.run_for(400)
        [record] = await journal.claim(
            OID_PARTNER, Lease("sleeper", w.clock.now(), w.clock.now() + timedelta(seconds=5)), 1
        )
        await w.run_for(6)
        taken = await journal.claim(
            OID_PARTNER, Lease("other", w.clock.now(), w.clock.now() + timedelta(seconds=500)), 1
        )
        assert [r.no_order for r in taken] == [number]
        await journal.release(number, "sleeper")
        assert (await journal.load(number)).lease.owner == "other"
        assert record.lease.owner == "sleeper"
        sent = len(w.pays())
        await w.done(client._engine.step(record))
        assert len(w.pays()) == sent


async def test_a_paid_payout_is_watched_for_a_refund(world: MakeWorld) -> None:
    """After one, three and seven days a worker asks once more, and tells of the money that came back."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, final="CANCEL", after_s=1, cancel_after_s=2 * 86_400)
        assert (await w.pay(client, an_order())).state is State.PAID
        async with Staff(w) as staff:
            staff.hire(client, poll_s=600)
            await w.run_for(86_400 * 1.5)
            assert (await client.get(NUMBER)).state is State.PAID
            await w.run_for(86_400 * 3)
            assert (await client.get(NUMBER)).state is State.REFUNDED


async def test_a_pause_and_its_end(world: MakeWorld) -> None:
    """What was written down is not sent while paused, and a worker takes it up by itself once it may go."""
    async with world() as w:
        fresh = await left_behind(w, 3)
        client = await w.client(fresh)
        await client.pause(reason="audit", by="Chen")
        sent = len(w.pays())
        async with Staff(w) as staff:
            staff.hire(client)
            await w.run_for(1200)
            assert len(w.pays()) == sent
            payouts = await client.payouts()
            assert {p.step for p in payouts} == {Step.FIX}
            await client.unpause(by="Chen")
            await w.run_for(1200)
            assert await states(client) == {State.PAID}


async def test_a_pause_shorter_than_a_look(world: MakeWorld) -> None:
    """It came and went between two looks, and parked a payout that was just due: it goes on at once all the same."""
    async with world() as w:
        client = await w.client()
        [record] = await client.journal.add([intent_of(an_order(), "k", w.merchant, w.clock.now())])
        await client.pause(reason="by mistake", by="Chen")
        await w.done(client._engine.step(record))
        assert (await client.journal.load(NUMBER)).due_at is None
        await client.unpause(by="Chen")
        async with Staff(w) as staff:
            staff.hire(client)._refreshed_at = w.clock.now().timestamp()
            await w.run_for(100)
            assert (await client.get(NUMBER)).state is State.PAID


async def test_a_worker_outlasts_its_journal(world: MakeWorld) -> None:
    """While it is away nothing is claimed or sent; afterwards everything goes on."""
    async with world() as w:
        fresh = await left_behind(w, 3)
        client = await w.client(fresh)
        down = False

        async def fail() -> None:
            raise JournalUnavailable("away")

        w.journals[-1].hook = lambda when, name, count, args: fail() if down and when == "before" else None
        async with Staff(w) as staff:
            staff.hire(client)
            await w.run_for(3)
            down = True
            await w.run_for(900)
            sent = len(w.pays())
            down = False
            await w.run_for(3600)
            assert await states(client) == {State.PAID}
            assert sent <= len(w.pays())
        await w.audit(client)


async def test_stopping_finishes_what_is_in_flight(world: MakeWorld) -> None:
    """The answer that is on its way is waited for and written down; nothing new is begun."""
    async with world() as w:
        client = await w.client()
        release, came = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            came.set()
            await release.wait()

        w.wires[-2].after = lambda url, heard: slow()
        async with Staff(w) as staff:
            staff.hire(client)
            await client.enlist([(an_order(), "k")])
            await came.wait()
            staff.stop.set()
            await asyncio.sleep(0.02)
            assert not staff.tasks[0].done()
            release.set()
        assert (await client.get(NUMBER)).state is State.IN_PROGRESS


async def test_a_backlog_drains_at_the_common_pace(world: MakeWorld) -> None:
    """Two hundred unknown ones, two workers, ten queries a second between them: newest first, never a burst."""
    async with world(journal="sqlite", loop_scale=4) as w:
        client = await w.client()
        for n in range(200):
            w.simulator.script(derive(OID_PARTNER, f"k{n}"), pay=["9999_after"])
        w.simulator.operator.set_outage("query")
        for n in range(0, 200, 50):
            await client.enlist([(an_order(card=i), f"k{i}") for i in range(n, n + 50)])
            await w.run_for(3)
        fresh = await w.crash(client)
        from lianlian_async.journal.sqlite import SqliteJournal

        w.simulator.operator.set_outage()
        await w.run_for(3600)
        limits = Limits(queries_per_s=10.0)
        one = await w.client(fresh, limits=limits)
        two = await w.client(w.watch(SqliteJournal(fresh.inner.path)), limits=limits)
        asked = len(w.queries())
        async with Staff(w) as staff:
            staff.hire(one)
            staff.hire(two)
            await w.run_for(120)
        queries = w.queries()[asked:]
        times = [q.time for q in queries]
        assert len(times) >= 200
        for at in times:
            assert sum(timedelta(0) <= other - at < timedelta(seconds=1) for other in times) <= 12
        assert await states(one) <= {State.PAID, State.IN_PROGRESS}


def _in_doubt(n: int, w: World) -> Any:
    """An intent that was sent long ago and never answered: it is due to be asked about."""
    began = w.clock.now() - timedelta(hours=1)
    intent = intent_of(an_order(card=n), f"old{n}", w.merchant, began)
    attempt = Attempt(1, Source.PAY, began, began + timedelta(seconds=30), intent.content_hash, "somebody dead")
    return evolve(
        intent, attempts=(attempt,), state=State.UNKNOWN, step=Step.QUERY, due_at=began + timedelta(seconds=31)
    )


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_a_backlog_of_queries_holds_up_no_new_payment(world: MakeWorld, journal: str) -> None:
    """A thousand payouts are in doubt and the gateway answers no query: a new one is sent at once all the same."""
    async with world(journal=journal, loop_scale=4) as w:
        client = await w.client(limits=Limits(queries_per_s=2.0))
        for n in range(0, 1000, 250):
            await client.journal.add([_in_doubt(i, w) for i in range(n, n + 250)])
        w.simulator.operator.set_outage("query")
        async with Staff(w) as staff:
            staff.hire(client)
            await w.run_for(30)
            new = intent_of(an_order(card=5000), "new", w.merchant, w.clock.now())
            asked = len(w.queries())
            assert 40 <= asked <= 70, "the backlog is being asked about at the pace that was set"
            await client.journal.add([new])
            await w.run_for(3)
            assert [pay.no_order for pay in w.pays()] == [new.no_order]
            assert len(w.queries()) <= asked + 8
        await w.audit(client)


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_a_backlog_of_payments_holds_up_no_query(world: MakeWorld, journal: str) -> None:
    """Hundreds of new payments wait for a slow gateway: one that is in doubt is asked about all the same."""
    async with world(journal=journal, loop_scale=4) as w:
        client = await w.client(limits=Limits(in_flight=2))
        now = w.clock.now()
        await client.journal.add([intent_of(an_order(card=n), f"new{n}", w.merchant, now) for n in range(300)])
        held = asyncio.Event()

        async def slow(url: str) -> None:
            await held.wait()

        w.wires[0].before = slow
        async with Staff(w) as staff:
            worker = staff.hire(client)
            while worker.steps < 2:
                await asyncio.sleep(0.001)
            await client.journal.add([_in_doubt(7000, w)])
            number = derive(OID_PARTNER, "old7000")
            for _ in range(2000):
                await asyncio.sleep(0.001)
                w.clock.advance(0.01)
            assert w.queries(number)
            assert not w.pays()
            held.set()
            await w.run_for(1200)
            assert len(w.pays()) >= 300
        await w.audit(client)


async def test_what_grew_old_while_it_waited_is_asked_about_first(world: MakeWorld) -> None:
    """A first send that is claimed after five minutes is not sent and takes no send's place: it goes to the queries."""
    async with world() as w:
        client = await w.client()
        await client.journal.add([intent_of(an_order(), "k", w.merchant, w.clock.now())])
        w.clock.advance(301)
        now = w.clock.now()
        assert await client.journal.due(OID_PARTNER, now, 9, sends=True) == [NUMBER]
        [claimed] = await client.journal.claim(OID_PARTNER, client._engine.lease(now, 0), 9, sends=True)
        await w.done(client._engine.step(claimed))
        assert not w.pays()
        assert not w.queries()
        assert await client.journal.due(OID_PARTNER, now, 9, sends=True) == []
        assert await client.journal.due(OID_PARTNER, now, 9, sends=False) == [NUMBER]
        async with Staff(w) as staff:
            staff.hire(client)
            await w.run_for(600)
            assert await states(client) == {State.PAID}
        assert w.queries()[0].time < w.pays()[0].time
        await w.audit(client)


async def test_a_worker_beside_a_block(world: MakeWorld) -> None:
    """It works while the block runs; at its end what is in flight is finished, and nothing more is begun."""
    async with world() as w:
        client = await w.client(await left_behind(w, 2))
        async with Worker(client).running() as worker:
            await w.run_for(3600)
            assert await states(client) == {State.PAID}
            assert worker.steps
        steps = worker.steps
        late = intent_of(an_order(card=9), "late", w.merchant, w.clock.now())
        await client.journal.add([late])
        await w.run_for(60)
        assert worker.steps == steps
        assert not w.pays(late.no_order)


async def test_the_trouble_of_a_worker_beside_a_block(world: MakeWorld) -> None:
    """What ended it before the block did is raised there, and not lost."""
    async with world() as w:
        client = await w.client()

        async def broken(limit: int) -> int:
            raise ZeroDivisionError

        client.advance = broken
        with pytest.raises(ZeroDivisionError):
            async with Worker(client).running():
                await w.run_for(10)
