"""A notification can come before everything that it tells of is known here: before the answer to pay, before our own
commit of that answer, before the attempt. And news can come from two sides at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import an_order, for_ever
from notify_world import BILL, Pen, load, sent, told

from lianlian_async import State
from lianlian_async.notifications import ACK, REFUSAL, answer
from lianlian_async.resolver import Source


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_before_the_answer_to_pay(world: MakeWorld, pen: Pen, kind: str) -> None:
    """The answer comes after the notification and changes nothing: paid, sent once, asked never."""
    async with world(journal=kind) as w:
        client = await w.client()
        said: list[bytes] = []

        async def first(url: str, heard: Any) -> None:
            if url.endswith("payment.htm"):
                [record] = await w.records(client)
                bill = json.loads(heard.body)["oid_paybill"]
                said.append(await answer(client, pen.notify(record, oid_paybill=bill)))

        w.wires[0].after = first
        record = await sent(w, client)
        assert said == [ACK]
        assert record.state is State.PAID
        assert {e.source for e in record.evidence} == {Source.PAY, Source.NOTIFY}
        assert len(w.pays()) == 1


@pytest.mark.parametrize("word", ["SUCCESS", "CANCEL"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_before_our_own_commit_of_the_answer(world: MakeWorld, pen: Pen, kind: str, word: str) -> None:
    """The engine holds the answer in its hands when the notification is committed: it loads again, and both are kept."""
    async with world(journal=kind) as w:
        client = await w.client()
        tap: Any = client.journal
        said: list[bytes] = []

        async def in_between(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("before", "save") and args[2].evidence and not said:
                said.append(b"")  # Only this once: the notification's own save comes by here, too.
                [record] = await w.records(client)
                bill = args[2].evidence[0].oid_paybill
                said[0] = await answer(client, pen.notify(record, word, oid_paybill=bill))

        tap.hook = in_between
        record = await sent(w, client)
        assert said == [ACK]
        assert record.state is (State.PAID if word == "SUCCESS" else State.REFUNDED)
        assert [e.source for e in record.evidence] == [Source.NOTIFY, Source.PAY]
        assert record.evidence[0].at < record.evidence[1].at


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_while_a_query_commits(world: MakeWorld, pen: Pen, kind: str) -> None:
    """The notification's own save finds a newer version: it is bound to that one, and on record once."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        tap: Any = client.journal
        asked: list[bool] = []

        async def in_between(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("before", "save") and not asked:
                asked.append(True)
                await client.query(record.no_order)

        tap.hook = in_between
        assert (await client.receive(pen.notify(record))).state is State.PAID
        after = await load(client, record.no_order)
        assert [e.source for e in after.evidence] == [Source.PAY, Source.QUERY, Source.NOTIFY]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_bill_that_became_known_in_between_is_compared_with(world: MakeWorld, pen: Pen, kind: str) -> None:
    """Bound before the reload, at odds after it: what is on record when it is written counts."""
    async with world(journal=kind) as w:
        client = await w.client()
        order = an_order()
        w.simulator.script({"card_no": order.card_no}, pay=["close_after"], timeline=[("PROCESSING", 0)])
        record = await sent(w, client, order=order, scripted=False)
        assert not any(e.oid_paybill for e in record.evidence)
        tap: Any = client.journal
        asked: list[bool] = []

        async def in_between(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("before", "save") and not asked:
                asked.append(True)
                await client.query(record.no_order)

        tap.hook = in_between
        assert await answer(client, pen.notify(record, oid_paybill=BILL)) == REFUSAL
        assert (await load(client, record.no_order)).state is State.CONFLICT


async def test_ten_at_once_are_recorded_once(world: MakeWorld, pen: Pen) -> None:
    """LianLian's servers do not wait for each other."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        assert await asyncio.gather(*(answer(client, body) for _ in range(10))) == [ACK] * 10
        assert len(told(await load(client, record.no_order))) == 1


async def test_for_a_payout_that_this_process_never_sent(world: MakeWorld, pen: Pen) -> None:
    """A service that only takes notifications in, on the journal of those who pay: they find it on record."""
    async with world(journal="sqlite") as w:
        paying = await w.client()
        record = await sent(w, paying)
        service = await w.client(w.journal())
        assert (await service.receive(pen.notify(record))).state is State.PAID
        assert (await paying.get(record.no_order)).state is State.PAID


async def test_an_acknowledged_one_survives_a_crash_one_moment_later(world: MakeWorld, pen: Pen) -> None:
    """I5: the process dies as the acknowledgement leaves; the next one knows."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        record = await sent(w, client)
        assert await answer(client, pen.notify(record)) == ACK
        journal = await w.crash(client)
        next_one = await w.client(journal)
        assert (await next_one.get(record.no_order)).state is State.PAID


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_crash_before_the_commit_is_not_acknowledged_and_the_repeat_is(
    world: MakeWorld, pen: Pen, kind: str
) -> None:
    """The sender gets nothing, so it comes again."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        tap: Any = client.journal
        tap.hook = lambda phase, name, count, args: for_ever() if (phase, name) == ("before", "save") else None
        lost = w.start(answer(client, pen.notify(record)))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not lost.done()
        next_one = await w.client(await w.crash(client))
        assert (await next_one.get(record.no_order)).state is State.IN_PROGRESS
        assert await answer(next_one, pen.notify(record)) == ACK
