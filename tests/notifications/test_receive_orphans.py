"""Genuine notifications about numbers that the journal does not know: a restored backup, or a shared merchant number.

They are kept, and when such a number is enlisted they are part of the payout before anything can be sent for it.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import World, an_order
from notify_world import Pen, load, refusal, sent, told

from lianlian_async import LianLianClient, State, Step
from lianlian_async.journal import Record
from lianlian_async.notifications import ACK, REFUSAL, Refusal, answer
from lianlian_async.resolver import Outcome

KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite"])


async def forgotten(w: World, **script: Any) -> tuple[LianLianClient, Record]:
    """A payout that was sent, and a client whose journal has lost it. The caller gives a dt_order, so asks for the same."""
    first = await w.client()
    record = await sent(w, first, order=an_order(dt_order="20261123100000"), **script)
    await w.crash(first)
    return await w.client(w.journal("restored")), record


async def asked_again(w: World, client: LianLianClient, **changes: Any) -> Record:
    [payout] = await client.enlist([(an_order(**{"dt_order": "20261123100000", **changes}), "k")])
    await w.calm()
    return await load(client, payout.no_order)


@KINDS
async def test_an_unknown_order_is_kept_once_with_one_alarm_and_never_acknowledged(
    world: MakeWorld, pen: Pen, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A durable orphan for each different word; not 0000 however often it comes."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        for _ in range(3):
            assert await answer(client, pen.notify(record)) == REFUSAL
        assert await refusal(client, pen.notify(record, "CANCEL")) is Refusal.UNKNOWN_ORDER
        orphans = await client.journal.orphans(record.oid_partner)
        assert sorted(o.said["result_pay"] for o in orphans) == ["CANCEL", "SUCCESS"]
        assert {o.no_order for o in orphans} == {record.no_order}
        assert all("sign" not in o.said for o in orphans)
        alarms = [r for r in caplog.records if r.levelno == logging.ERROR and record.no_order in r.getMessage()]
        assert len(alarms) == 2
        assert client.receiver.counts.refused == {Refusal.UNKNOWN_ORDER: 4}


@KINDS
async def test_a_paid_one_is_never_sent_again(world: MakeWorld, pen: Pen, kind: str) -> None:
    """The journal was lost, the caller asks again: it is paid, says the orphan, and no byte leaves."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        await answer(client, pen.notify(record))
        w.clock.advance(3600)
        again = await asked_again(w, client)
        assert (again.no_order, again.state) == (record.no_order, State.PAID)
        assert len(w.pays()) == 1
        [news] = told(again)
        assert (again.created_at - news.asked_at).total_seconds() == 3600
        assert await answer(client, pen.notify(record)) == ACK
        assert len(told(await load(client, again.no_order))) == 1


@KINDS
async def test_a_failed_one_is_asked_about_and_not_sent(world: MakeWorld, pen: Pen, kind: str) -> None:
    """R8 holds for an orphan, too: shown, queried, and replaceable only then."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w, timeline=None, final="FAILURE", after_s=1)
        await answer(client, pen.notify(record, "FAILURE"))
        again = await asked_again(w, client)
        assert (again.state, again.step) == (State.FAILED, Step.QUERY)
        [payout] = await w.at_rest(client, again.no_order)
        assert (payout.state, payout.replaceable) == (State.FAILED, True)
        assert len(w.pays()) == 1


@KINDS
@pytest.mark.parametrize("change", [{"money_order": "26.00"}, {"dt_order": "20261123100001"}], ids=["amount", "time"])
async def test_another_content_is_a_conflict_and_not_sent(
    world: MakeWorld, pen: Pen, kind: str, change: dict[str, str]
) -> None:
    """What was sent under this number is not what is asked for now: a person settles it."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        await answer(client, pen.notify(record))
        again = await asked_again(w, client, **change)
        assert (again.state, again.step) == (State.CONFLICT, Step.DECIDE)
        assert told(again)[0].outcome is Outcome.MISMATCHED
        assert len(w.pays()) == 1


@KINDS
async def test_all_that_was_told_is_taken_in(world: MakeWorld, pen: Pen, kind: str) -> None:
    """SUCCESS, then CANCEL: both, in order, each at a moment of its own."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        for word in ("SUCCESS", "CANCEL"):
            await answer(client, pen.notify(record, word))
            w.clock.advance(60)
        again = await asked_again(w, client)
        assert again.state is State.REFUNDED
        assert [e.result_pay for e in told(again)] == ["SUCCESS", "CANCEL"]
        assert len({e.at for e in again.evidence}) == len(again.evidence)
        assert len(w.pays()) == 1


async def test_the_same_news_in_other_words_is_taken_in_once(world: MakeWorld, pen: Pen) -> None:
    """A bank's reason told in two ways makes two orphans, and one piece of news."""
    async with world() as w:
        client, record = await forgotten(w)
        for reason in ("账户异常", "account abnormal"):
            await answer(client, pen.notify(record, "FAILURE", info_order=f"测试_{reason}"))
            w.clock.advance(1)
        assert len(await client.journal.orphans(record.oid_partner)) == 2
        assert [e.detail for e in told(await asked_again(w, client))] == ["账户异常"]


@KINDS
async def test_the_news_is_in_the_same_transaction_as_the_payout(world: MakeWorld, pen: Pen, kind: str) -> None:
    """A crash right after the intent was written leaves nothing behind that could be sent blindly."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        await answer(client, pen.notify(record))
        tap: Any = client.journal
        seen: list[Record] = []

        async def look(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("after", "add"):
                seen.append(await tap.inner.load(record.no_order))

        tap.hook = look
        await asked_again(w, client)
        assert (seen[0].version, seen[0].state, len(told(seen[0]))) == (0, State.PAID, 1)


@KINDS
async def test_an_orphan_that_comes_while_its_number_is_enlisted(world: MakeWorld, pen: Pen, kind: str) -> None:
    """After the look at the orphans and before the intent: found by the second look, before anything is sent."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        tap: Any = client.journal
        said: list[bytes] = []

        async def come(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("before", "add"):
                said.append(await answer(client, pen.notify(record)))

        tap.hook = come
        again = await asked_again(w, client)
        assert said == [REFUSAL]
        assert again.state is State.PAID
        assert len(w.pays()) == 1


@KINDS
async def test_a_number_that_is_enlisted_while_its_orphan_is_written(world: MakeWorld, pen: Pen, kind: str) -> None:
    """After the orphan the journal is looked at once more: no orphan's news is left behind, and it is acknowledged."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        tap: Any = client.journal

        async def enlist(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name, count) == ("before", "note_orphan", 1):
                tap.hook = None
                await client.enlist([(an_order(dt_order="20261123100000"), "k")])

        tap.hook = enlist
        assert await answer(client, pen.notify(record)) == ACK
        assert (await load(client, record.no_order)).state is State.PAID


@KINDS
async def test_two_looks_at_once_take_an_orphan_in_once(world: MakeWorld, pen: Pen, kind: str) -> None:
    """The second look meets a change from elsewhere: it loads again, and the news is there or is added."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        tap: Any = client.journal
        done: list[str] = []

        async def come(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (phase, name) == ("before", "add"):
                await answer(client, pen.notify(record))
            if (phase, name) == ("before", "save") and not done:
                done.append("once")
                await answer(client, pen.notify(record))

        tap.hook = come
        again = await asked_again(w, client)
        assert (again.state, len(told(again)), len(w.pays())) == (State.PAID, 1, 1)


@KINDS
async def test_others_are_sent_as_ever(world: MakeWorld, pen: Pen, kind: str) -> None:
    """An orphan of one number holds no other number up."""
    async with world(journal=kind) as w:
        client, record = await forgotten(w)
        await answer(client, pen.notify(record))
        orders = [(an_order(dt_order="20261123100000"), "k"), (an_order(card=7), "other")]
        first, second = await client.enlist(orders)
        assert (first.state, second.state) == (State.PAID, State.UNSENT)
        [paid] = await w.at_rest(client, second.no_order)
        assert paid.state is State.PAID
        assert len(w.pays()) == 2
