"""Writing orders down: each becomes the one payout of its key or number, or attaches to the one that exists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve

from .engine import Engine
from .errors import DuplicateSuspected, OrderConflict
from .intake import intent_of, require_same
from .journal import Record, TwinsFound
from .moves import TWINS_WITHIN, DuplicateOk, alive, guard_of, require_running
from .protocol.messages import Order
from .receiving import adopt_orphans, with_orphans

__all__ = ["enlist", "known", "twins"]


async def enlist(
    engine: Engine, orders: Sequence[tuple[Order, str | None]], *, duplicate_ok: DuplicateOk
) -> list[Record]:
    """Write orders down under their keys, all or none; see the client's `pay` for what is raised."""
    merchant, now = engine.gateway.merchant, engine.clock.now()
    intents = [intent_of(order, key, merchant, now) for order, key in orders]
    if await engine.guard.paused() is not None and None in [await _present(engine, intent) for intent in intents]:
        await require_running(engine)
    intents = await with_orphans(engine, intents)
    stored = await _add(engine, intents, now, duplicate_ok=duplicate_ok)
    while not all(record.stands_for(intent.content_hash) for record, intent in zip(stored, intents, strict=True)):
        # Nothing was written. What exists is either the same order with what the caller left open filled in
        # then (and stands for itself from here on), or another one.
        for (order, _), intent, record in zip(orders, intents, stored, strict=True):
            require_same(order, intent, record, merchant)
        intents = stored
        stored = await _add(engine, intents, now, duplicate_ok=duplicate_ok)
    for (order, key), record in zip(orders, stored, strict=True):
        require_same(order, evolve(record, key=key), record, merchant)
    return await adopt_orphans(engine, stored)


async def known(engine: Engine, order: Order, key: str | None) -> Record | OrderConflict | None:
    """What the journal holds under this key or number already: the payout, a conflict, or nothing."""
    merchant = engine.gateway.merchant
    intent = intent_of(order, key, merchant, engine.clock.now())
    record = await _present(engine, intent)
    if record is None:
        return None
    try:
        require_same(order, intent, record, merchant)
    except OrderConflict as conflict:
        return conflict
    return record


async def twins(engine: Engine, order: Order, key: str | None) -> list[Record]:
    """Payouts that this order, if it were new, would look like a duplicate of."""
    now = engine.clock.now()
    intent = intent_of(order, key, engine.gateway.merchant, now)
    return alive(await engine.journal.twins(intent, now - TWINS_WITHIN))


async def _add(engine: Engine, intents: Sequence[Record], now: datetime, *, duplicate_ok: DuplicateOk) -> list[Record]:
    since, meant = guard_of(duplicate_ok, now - TWINS_WITHIN)
    try:
        return await engine.journal.add(intents, twins_since=since, meant=meant)
    except TwinsFound as found:
        raise DuplicateSuspected(found.twins) from found


async def _present(engine: Engine, intent: Record) -> Record | None:
    found = None if intent.key is None else await engine.journal.find(intent.oid_partner, intent.key)
    return found or await engine.journal.load(intent.no_order)
