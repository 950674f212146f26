"""T4, T5: genuine messages have no time and no nonce. Whoever has seen one can send it again, at any later point."""

from __future__ import annotations

from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import World, an_order
from notify_world import Pen, load, refusal, sent

from lianlian_async import LianLianClient, State
from lianlian_async.journal import Record
from lianlian_async.notifications import ACK, Refusal, answer
from lianlian_async.resolver import View, view_of


async def view(client: LianLianClient, no_order: str) -> tuple[View, Record]:
    record = await load(client, no_order)
    return view_of(record.attempts, record.evidence), record


LIVES = {
    "paid": ["SUCCESS", "query"],
    "paid, asked first": ["query", "SUCCESS"],
    "refunded": ["SUCCESS", "query", "CANCEL", "query"],
    "refunded, out of order": ["CANCEL", "SUCCESS", "query"],
    "failed": ["query", "FAILURE", "query"],
    "contradicted": ["SUCCESS", "FAILURE", "CANCEL", "query"],
}


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_every_genuine_message_at_every_later_point_changes_nothing(
    world: MakeWorld, pen: Pen, life: str, kind: str
) -> None:
    """After each step all earlier notifications come again, twice: view, version and journal stay as they are."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client, **_scripted(LIVES[life]))
        seen: list[tuple[bytes, bytes]] = []
        for step in LIVES[life]:
            await _lived(w, client, record, step, pen, seen)
            before = await view(client, record.no_order)
            for body, said in [*seen, *reversed(seen)]:
                w.clock.advance(0.001)
                assert await answer(client, body) == said
            assert await view(client, record.no_order) == before


async def _lived(
    w: World, client: LianLianClient, record: Record, step: str, pen: Pen, seen: list[tuple[bytes, bytes]]
) -> None:
    if step == "query":
        await w.done(client.query(record.no_order))
    else:
        body = pen.notify(record, step)
        seen.append((body, await answer(client, body)))
    await w.calm()


def _scripted(life: list[str]) -> dict[str, Any]:
    if "CANCEL" in life and "FAILURE" not in life:
        return {"timeline": [("CANCEL", 0)]}
    if "FAILURE" in life and "SUCCESS" not in life:
        return {"timeline": [("FAILURE", 0)]}
    return {"timeline": [("SUCCESS", 0)]}


async def test_one_payouts_message_says_nothing_of_another(world: MakeWorld, pen: Pen) -> None:
    """Replayed under another number the signature fails; as it is, it is about its own number only."""
    async with world() as w:
        client = await w.client()
        first = await sent(w, client, "a", an_order(card=1))
        second = await sent(w, client, "b", an_order(card=2))
        body = pen.notify(first)
        assert await answer(client, body) == ACK
        moved = body.replace(first.no_order.encode(), second.no_order.encode())
        assert await refusal(client, moved) is Refusal.BAD_SIGNATURE
        assert (await load(client, second.no_order)).state is State.IN_PROGRESS


async def test_a_genuine_answer_is_no_notification(world: MakeWorld, pen: Pen) -> None:
    """T5, T6: signed answers to pay and query, posted as notifications, lack what a notification has, or say what none says."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        pay = {"oid_partner": record.oid_partner, "sign_type": "RSA", "ret_code": "4005", "ret_msg": "无权限"}
        assert await refusal(client, pen.write(pay)) is Refusal.MALFORMED
        accepted = {**pay, "ret_code": "0000", "no_order": record.no_order, "oid_paybill": "2026112300000001"}
        assert await refusal(client, pen.write(accepted)) is Refusal.MALFORMED
        assert await load(client, record.no_order) == record
