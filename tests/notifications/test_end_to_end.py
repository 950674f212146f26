"""The simulated gateway tells its results over real sockets, through both shells; and with every notification lost,
polling alone ends in the same states."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order, true_state
from notify_world import serving, told

from lianlian_async import LianLianClient, State
from lianlian_async.notifications import Refusal

# What happens at the gateway, card by card.
LIVES: list[dict[str, Any]] = [
    {"final": "SUCCESS", "after_s": 10},
    {"final": "FAILURE", "after_s": 40, "reason": "账户异常"},
    {"final": "CANCEL", "after_s": 70, "cancel_after_s": 60},
    {"final": "SUCCESS", "after_s": 90, "pay": ["close_after"]},
    {"final": "SUCCESS", "after_s": 1, "pay": ["hang_after"]},
    {"final": "FAILURE", "after_s": 1, "pay": ["unsigned"]},
    {"pay": ["4003"]},
    {"final": "SUCCESS", "after_s": 5, "pay": ["9104", None]},
]
# Cards whose order gets a bill and a result, and is therefore told.
TOLD = [0, 1, 2, 3, 4, 5]


@asynccontextmanager
async def told_world(world: MakeWorld, shell: str, *faults: Any) -> AsyncIterator[tuple[World, LianLianClient]]:
    """A world whose gateway posts to this shell; `faults` befall the notifications of every order, one after the other."""
    there: dict[str, LianLianClient] = {}
    async with serving(shell, lambda: there["client"]) as url, world(merchant={"notify_url": url}) as w:
        for card, life in enumerate(LIVES):
            w.simulator.script({"card_no": an_order(card=card).card_no}, notify=faults, **life)
        there["client"] = await w.client()
        yield w, there["client"]


async def ended(w: World, client: LianLianClient) -> dict[str, State]:
    """Every payout's state once nothing moves any more; each agrees with the gateway's own book."""
    payouts = await client.enlist([(an_order(card=card), f"k{card}") for card in range(len(LIVES))])
    await w.run_for(8 * 86_400)
    # A paid order is watched for a refund: a worker asks about it when that is due.
    for number in await client.journal.due(OID_PARTNER, w.clock.now(), 100):
        await w.done(client.query(number))
    states = {}
    for payout in payouts:
        now = await client.get(payout.no_order)
        states[now.no_order] = now.state
        assert now.state in (true_state(w, now.no_order), State.REFUSED)
    await w.audit(client)
    return states


@pytest.mark.parametrize("shell", ["aiohttp", "httptools"])
async def test_results_are_told_acknowledged_and_true(world: MakeWorld, shell: str) -> None:
    """Each result is told once and acknowledged, long before a query would have found it."""
    async with told_world(world, shell) as (w, client):
        states = await ended(w, client)
        counts = client.receiver.counts
        assert (counts.received, counts.accepted) == (len(TOLD) + 1, len(TOLD) + 1)  # CANCEL comes after its SUCCESS
        assert not counts.refused
        assert sorted(states.values()).count(State.PAID) == 3
        records = await w.records(client)
        assert sum(len(told(record)) for record in records) == len(TOLD) + 1


@pytest.mark.parametrize("shell", ["aiohttp", "httptools"])
async def test_polling_alone_ends_in_the_same_states(world: MakeWorld, shell: str) -> None:
    """Notifications make it faster, never different."""
    async with told_world(world, shell) as (w, client):
        with_all = await ended(w, client)
    async with told_world(world, shell, "lost", ...) as (w, client):
        without = await ended(w, client)
        assert client.receiver.counts.received == 0
    assert without == with_all
    assert set(with_all.values()) == {State.PAID, State.FAILED, State.REFUNDED, State.CLOSED, State.REFUSED}


@pytest.mark.parametrize("shell", ["aiohttp", "httptools"])
async def test_spoiled_doubled_and_late_ones_end_in_the_same_states(world: MakeWorld, shell: str) -> None:
    """Unsigned, wrongly signed, twice at once, a minute late: the good ones count, the others change nothing."""
    async with told_world(world, shell, "unsigned", "bad_sign", "duplicate", "late", "duplicate", ...) as (w, client):
        spoiled = await ended(w, client)
        counts = client.receiver.counts
        assert counts.refused.keys() == {Refusal.UNSIGNED, Refusal.BAD_SIGNATURE}
        assert counts.accepted > len(TOLD)
    async with told_world(world, shell) as (w, client):
        assert await ended(w, client) == spoiled


async def test_a_waiting_caller_is_told_by_the_notification(world: MakeWorld) -> None:
    """`pay` returns when the gateway tells, not when the next query is due."""
    async with told_world(world, "aiohttp") as (w, client):
        payout = await w.pay(client, an_order(card=0), "k")
        assert payout.state is State.PAID
        record = await client.journal.load(payout.no_order)
        assert record is not None
        assert len(told(record)) == 1
        assert (w.clock.now() - record.created_at).total_seconds() < 11
