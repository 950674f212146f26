"""Notifications and the guard against a second payment: an end that was only notified, a dead number that comes back,
and payouts that begin with a notification."""

from __future__ import annotations

from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order
from notify_world import Pen, load, refusal, sent

from lianlian_async import Changed, CommandRefused, DuplicateSuspected, LianLianClient, State, Step
from lianlian_async.clock import wire_time
from lianlian_async.journal import Record
from lianlian_async.notifications import ACK, Refusal, answer
from lianlian_async.numbers import derive

KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite", "encrypted"])
NUMBER, NEXT = derive(OID_PARTNER, "k"), derive(OID_PARTNER, "k", 1)


@KINDS
@pytest.mark.parametrize("end", ["FAILURE", "CANCEL"])
async def test_an_end_that_was_only_notified_keeps_the_guard_up(
    world: MakeWorld, pen: Pen, kind: str, end: str
) -> None:
    """R8: bad news from a notification opens nothing, a further key for the same payment neither, before a query agrees."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        assert await answer(client, pen.notify(record, end)) == ACK
        assert (await client.get(NUMBER)).step is Step.QUERY
        with pytest.raises(DuplicateSuspected):
            await client.enlist([(an_order(), "again")])
        assert [p.no_order for p in await client.twins(an_order(), "again")] == [NUMBER]
        assert await client.find("again") is None


@KINDS
async def test_an_end_that_a_query_agrees_with_lets_it_down(world: MakeWorld, pen: Pen, kind: str) -> None:
    """Then the business may pay again, under another key."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client, timeline=None, final="FAILURE", after_s=1)
        await answer(client, pen.notify(record, "FAILURE"))
        await w.at_rest(client, NUMBER)
        assert await client.twins(an_order(), "again") == []
        [again] = await client.enlist([(an_order(), "again")])
        assert again.state is State.UNSENT


async def replaced(w: World, client: LianLianClient, answers: list[str | None]) -> Record:
    """A payout that failed and was replaced by one whose first send meets these answers. Returns the dead one."""
    w.simulator.script(NUMBER, final="FAILURE", after_s=1)
    w.simulator.script(NEXT, pay=answers)
    await w.pay(client, an_order())
    await w.done(client.replace(NUMBER, by="Wang Fang"))
    return await load(client, NUMBER)


@KINDS
async def test_a_dead_number_comes_back_before_its_successor_is_sent(world: MakeWorld, pen: Pen, kind: str) -> None:
    """Assumption A3 is broken: the successor, whose send met an outage, waits for a person and is never sent again."""
    async with world(journal=kind) as w:
        client = await w.client()
        dead = await replaced(w, client, ["502_before", "502_before", None])
        await w.run_for(2)
        assert await refusal(client, pen.notify(dead)) is Refusal.CONTRADICTION
        await w.run_for(3 * 3600)
        payout = await client.get(NEXT)
        assert (payout.step, payout.rule) == (Step.DECIDE, "replaced, revived")
        assert "may have been paid after all" in payout.advice
        assert len(w.pays(NEXT)) == 1
        with pytest.raises(CommandRefused, match=f"stands in the place of {NUMBER}, which may have been paid"):
            await client.resume(NEXT, by="Wang Fang")
        held = await load(client, NEXT)
        assert (held.step, (await load(client, NUMBER)).state) == (Step.DECIDE, State.CONFLICT)


@KINDS
async def test_a_dead_number_comes_back_in_the_very_moment_of_the_send(world: MakeWorld, pen: Pen, kind: str) -> None:
    """Between the decision to send and the commit of the attempt: the commit refuses, and no byte leaves."""
    async with world(journal=kind) as w:
        client = await w.client()
        w.simulator.script(NUMBER, final="FAILURE", after_s=1)
        await w.pay(client, an_order())
        dead = await load(client, NUMBER)

        async def comes_back() -> None:
            client.journal.hook = None
            assert await refusal(client, pen.notify(dead)) is Refusal.CONTRADICTION

        def hook(phase: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            sends = name == "save" and args[0] == NEXT and args[2].attempts
            return comes_back() if phase == "before" and sends else None

        client.journal.hook = hook
        await w.done(client.replace(NUMBER, by="Wang Fang"))
        await w.run_for(3600)
        assert client.journal.hook is None
        assert w.pays(NEXT) == []
        assert (await client.get(NEXT)).rule == "replaced, revived"


async def test_a_dead_number_comes_back_while_its_successor_is_under_review(world: MakeWorld, pen: Pen) -> None:
    """Nobody can approve it any more, and the review says why."""
    async with world() as w:
        client = await w.client()
        dead = await replaced(w, client, ["4002"])
        await w.run_for(5)
        assert (await client.get(NEXT)).state is State.REVIEW
        assert (await w.done(client.review(NEXT))).refusal is None
        await refusal(client, pen.notify(dead))
        review = await w.done(client.review(NEXT))
        assert f"stands in the place of {NUMBER}" in (review.refusal or "")
        with pytest.raises(CommandRefused, match="stands in the place of"):
            await client.approve(NEXT, by="Wang Fang", note="called the payee")
        assert w.requests("confirm") == []


@KINDS
@pytest.mark.parametrize(
    ("result", "changes", "state"),
    [
        ("SUCCESS", {}, State.PAID),
        ("SUCCESS", {"money_order": "9.99"}, State.CONFLICT),
        ("FAILURE", {}, State.FAILED),
        ("CANCEL", {}, State.REFUNDED),
    ],
)
async def test_an_application_is_told_of_what_begins_with_a_notification(
    world: MakeWorld, pen: Pen, kind: str, result: str, changes: dict[str, str], state: State
) -> None:
    """The journal was lost and the payout is PAID, say, from its first row on: that is a change like any other."""
    heard: list[Changed] = []

    async def app(changed: Changed) -> None:
        heard.append(changed)

    async with world(journal=kind) as w:
        first = await w.client()
        record = await sent(w, first, order=an_order(dt_order="20261123100000"))
        await w.crash(first)
        client = await w.client(w.journal("restored"), on_change=app)
        await answer(client, pen.notify(record, result, **changes))
        await client.enlist([(an_order(dt_order="20261123100000"), "k")])
        await w.run_for(3)
        assert (heard[0].id, heard[0].version, heard[0].state) == (f"{NUMBER}/0", 0, state)


@KINDS
async def test_an_application_is_told_of_a_replacement_that_begins_paid(world: MakeWorld, pen: Pen, kind: str) -> None:
    """A restored journal has forgotten that it replaced this number. The notification about the next one is part of the
    new row, in one transaction: whoever drives payouts can never take it for unsent."""
    heard: list[Changed] = []

    async def app(changed: Changed) -> None:
        heard.append(changed)

    async with world(journal=kind) as w:
        client = await w.client(on_change=app)
        w.simulator.script(NUMBER, final="FAILURE", after_s=1)
        await w.pay(client, an_order())
        record = await load(client, NUMBER)
        told = {"no_order": NEXT, "oid_paybill": "2026112300000009", "dt_order": wire_time(w.clock.now())}
        assert await refusal(client, pen.notify(record, **told)) is Refusal.UNKNOWN_ORDER
        payout = await w.done(client.replace(NUMBER, by="Wang Fang"))
        assert (payout.no_order, payout.state) == (NEXT, State.PAID)
        await w.run_for(60)
        assert w.pays(NEXT) == []
        assert [(one.version, one.state) for one in heard if one.no_order == NEXT] == [(0, State.PAID)]
