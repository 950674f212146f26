"""What may come between a person's approval and the confirm: news, other people, a full house, the end (safety.md 3.3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order
from test_client_people import BY, NUMBER, held

from lianlian_async import CommandRefused, Confirmation, LianLianClient, Limits, State, reviewing
from lianlian_async.journal import Leased
from lianlian_async.numbers import derive
from lianlian_async.resolver import Evidence, Outcome, Source
from lianlian_async.transport import FaultKind, WireFault


def engine_of(client: LianLianClient) -> Any:
    return client._engine_or_raise()


async def words(client: LianLianClient) -> list[tuple[str | None, int | None]]:
    """Who has approved, and which attempt it led to."""
    record = await client.journal.load(NUMBER)
    assert record is not None
    return [(e.by, e.attempt) for e in record.evidence if e.outcome is Outcome.APPROVED]


# --- the gateway says CHECK just before


@pytest.mark.parametrize("when", ["before", "while it asks", "after the answer"])
async def test_a_client_that_is_finishing_confirms_nothing(world: MakeWorld, when: str) -> None:
    """It asks nobody any more, and an old CHECK is not taken for a fresh one: refused, and nothing is written down."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await w.run_for(45)
        w.simulator.operator.close(NUMBER)
        agenda = engine_of(client).agenda

        async def close() -> None:
            agenda.close()

        if when == "before":
            agenda.close()
        elif when == "while it asks":
            w.journals[0].hook = lambda phase, name, *_: close() if (phase, name) == ("before", "turn") else None
        else:
            w.wires[1].after = lambda url, heard: close()
        with pytest.raises(CommandRefused, match="finishing"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")
        assert await words(client) == []


async def test_a_client_that_is_finishing_answers_no_query_from_memory(world: MakeWorld) -> None:
    """`query` says that nobody was asked, instead of showing what was known before."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await w.done(client.finish())
        asked = len(w.queries())
        with pytest.raises(CommandRefused, match="not asked"):
            await w.done(client.query(NUMBER))
        assert len(w.queries()) == asked


# --- siblings


@pytest.mark.parametrize("silence", ["outage", "9999", "finishing"])
async def test_siblings_that_gave_no_answer_are_named(world: MakeWorld, silence: str) -> None:
    """A signed 9999 says as little as no answer at all; a client that is finishing asks nobody."""
    async with world() as w:
        client = await w.client()
        first = derive(OID_PARTNER, "first")
        w.simulator.script(first, query=["0000" if silence != "9999" else "9999", ...], final="SUCCESS", after_s=1000)
        await client.enlist([(an_order(), "first")])
        await w.run_for(30)
        await w.pay(client, an_order(), duplicate_ok=True)
        await w.run_for(1)
        if silence == "outage":
            w.simulator.operator.set_outage("query")
        elif silence == "finishing":
            await w.done(client.finish())
        review = await w.done(client.review(NUMBER))
        assert review.unanswered == (first,)
        assert [s.no_order for s in review.siblings] == [first]


async def test_all_held_payouts_with_their_siblings_asked_about_once(world: MakeWorld) -> None:
    """Each sibling is asked about once, however many held payouts it stands beside, and no more than so many in all."""
    async with world() as w:
        client = await w.client()
        numbers = [f"held{n}" for n in range(3)]
        for number in numbers:
            w.simulator.script(number, pay=["4002"])
        await w.done(client.enlist([(an_order(no_order=n), None) for n in numbers], duplicate_ok=True))
        await w.at_rest(client, *numbers)
        before = len(w.queries())
        reviews = await w.done(client.reviews(fresh=True))
        assert len(w.queries()) - before == 3
        assert [len(r.siblings) for r in reviews] == [2, 2, 2]
        assert all(r.asked_at is not None and r.unanswered == () for r in reviews)
        [stale, *_] = await w.done(client.reviews())
        assert (stale.asked_at, stale.unanswered) == (None, ())
        assert len(w.queries()) - before == 3


async def test_no_more_siblings_are_asked_about_than_allowed(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond the limit are named as not answered."""
    monkeypatch.setattr(reviewing, "ASKED_MAX", 1)
    async with world() as w:
        client = await w.client()
        for number in ("held0", "held1"):
            w.simulator.script(number, pay=["4002"])
        await w.done(client.enlist([(an_order(no_order=n), None) for n in ("held0", "held1")], duplicate_ok=True))
        await w.at_rest(client, "held0", "held1")
        reviews = await w.done(client.reviews(fresh=True))
        assert sorted(len(r.unanswered) for r in reviews) == [0, 1]


# --- what is told of a confirm


@pytest.mark.parametrize(
    ("confirm", "told"),
    [
        (None, Confirmation.SENT),
        ("4009", Confirmation.SENT),
        ("hang_after", Confirmation.UNKNOWN),
        ("", Confirmation.NOT_SENT),
    ],
)
async def test_what_became_of_the_confirm_is_told_as_it_is_proven(
    world: MakeWorld, confirm: str | None, told: Confirmation
) -> None:
    """Answered, not answered, or provably never left."""
    async with world() as w:
        client = await w.client()
        payout = await held(w, client, **({"confirm": [confirm]} if confirm else {}))
        assert payout.confirmation is None
        if confirm == "":

            async def refused(url: str) -> WireFault | None:
                return WireFault(FaultKind.CONNECT, sent=False, detail="refused") if "confirm" in url else None

            w.wires[0].before = refused
        payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.confirmation is told


# --- the payout moves between the query and the confirm


async def between(w: World, client: LianLianClient, what: Any) -> None:
    """Have `what` happen once, right before the confirm is written down."""
    tap, done = w.journals[0], False

    async def happen() -> None:
        nonlocal done
        if not done:
            done = True
            await what()

    def hook(phase: str, name: str, _: int, args: tuple[Any, ...]) -> Any:
        confirms = name == "save" and any(a.source is Source.CONFIRM for a in args[2].attempts)
        return happen() if phase == "before" and confirms else None

    tap.hook = hook


async def note(client: LianLianClient, result_pay: str) -> None:
    """The answer to a query of another process, written down by it."""
    engine = engine_of(client)
    now, record = client.clock.now(), await client.journal.load(NUMBER)
    told = Evidence(Source.QUERY, Outcome.ANSWERED, at=now, asked_at=now, ret_code="0000", result_pay=result_pay)
    await engine.note(record, told)


async def test_a_query_in_between_does_not_cost_the_approval(world: MakeWorld) -> None:
    """Somebody else's query was written down meanwhile and says CHECK, too: confirmed, once."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await between(w, client, lambda: note(client, "CHECK"))
        payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.state is State.IN_PROGRESS
        assert len(w.requests("confirm")) == 1
        assert await words(client) == [("Wang Fang", 2)]


async def test_news_in_between_that_ends_the_review(world: MakeWorld) -> None:
    """It was confirmed in the portal meanwhile: the approval is refused, and not on record."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await between(w, client, lambda: note(client, "SUCCESS"))
        with pytest.raises(CommandRefused, match="PAID"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")
        assert await words(client) == []


async def test_another_process_is_asking_just_now(world: MakeWorld) -> None:
    """A worker has the payout for a moment: the confirm waits for it instead of being refused."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        left = 2

        async def leased() -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                raise Leased("somebody is at it")

        w.journals[0].hook = lambda phase, name, _, args: (
            leased() if (phase, name) == ("before", "save") and args[2].lease is not None else None
        )
        payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.state is State.IN_PROGRESS
        assert len(w.requests("confirm")) == 1


async def test_a_first_approval_survives_a_query_in_between(world: MakeWorld) -> None:
    """Of two people the first one's word is written down although the client's own query came in meanwhile."""
    async with world() as w:
        client = await w.client(two_person=True)
        await held(w, client)
        done = False

        async def once() -> None:
            nonlocal done
            if not done:
                done = True
                await note(client, "CHECK")

        w.journals[0].hook = lambda phase, name, _, args: once() if (phase, name) == ("before", "save") else None
        await w.done(client.approve(NUMBER, **BY))
        assert await words(client) == [("Wang Fang", None)]


async def test_two_people_are_two_whoever_was_faster(world: MakeWorld) -> None:
    """A approved; B and C approve at once. B's confirm fails (4009) and uses both words up: C's alone confirms nothing."""
    async with world(journal="sqlite") as w:
        one, other = await w.client(w.journal(), two_person=True), await w.client(w.journal(), two_person=True)
        await held(w, one, confirm=["4009", None])
        await w.done(one.approve(NUMBER, by="A", note="first"))
        engine, gate = engine_of(other), asyncio.Event()
        ask = engine.ask

        async def later(record: Any, **more: Any) -> Any:
            await gate.wait()
            return await ask(record, **more)

        engine.ask = later
        third = w.start(other.approve(NUMBER, by="C", note="also second"))
        await w.run_for(1)
        await w.done(one.approve(NUMBER, by="B", note="second"))
        await w.run_for(60)
        assert (await one.get(NUMBER)).state is State.REVIEW
        gate.set()
        with pytest.raises(CommandRefused, match="approval was not recorded"):
            await w.done(third)
        assert len(w.requests("confirm")) == 1
        assert await words(one) == [("A", None), ("B", 2)]


# --- time


async def test_a_confirm_does_not_queue_behind_pays(world: MakeWorld) -> None:
    """Every slot for orders is taken by one that hangs: the held payout is confirmed all the same."""
    async with world() as w:
        client = await w.client(limits=Limits(in_flight=1))
        await held(w, client)
        async with engine_of(client)._slots:
            payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.state is State.IN_PROGRESS


@pytest.mark.parametrize("when", ["waiting for a slot", "while it is written down"])
async def test_a_confirm_never_leaves_late(world: MakeWorld, when: str) -> None:
    """Approved in time, and then kept: after minute 25 nothing leaves."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        until = (await w.done(client.review(NUMBER))).confirm_until
        assert until is not None
        await w.run_for((until - w.clock.now()).total_seconds() - 2)

        async def tick() -> None:
            w.clock.go_to(until + timedelta(seconds=1))

        seal = engine_of(client).gateway.seal_confirm

        async def sealed_late(*what: Any) -> bytes:
            body: bytes = await seal(*what)
            await tick()
            return body

        if when == "waiting for a slot":
            engine_of(client).gateway.seal_confirm = sealed_late
            with pytest.raises(CommandRefused, match="too late"):
                await w.done(client.approve(NUMBER, **BY))
            assert await words(client) == []
        else:
            w.journals[0].hook = lambda phase, name, _, args: (
                tick() if (phase, name) == ("after", "save") and args[2].lease is not None else None
            )
            await w.done(client.approve(NUMBER, **BY))
            record = await client.journal.load(NUMBER)
            assert record is not None
            [told] = [e for e in record.evidence if e.source is Source.CONFIRM]
            assert told.outcome is Outcome.NOT_SENT
        assert not w.requests("confirm")
