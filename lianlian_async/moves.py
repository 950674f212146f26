"""A person's moves on one payout: each is evidence, and each is refused unless the decision table allows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from .clock import wire_time
from .engine import Engine
from .errors import BreakerOpen, CommandRefused, DuplicateSuspected, InvalidOrder, OrderConflict
from .intake import require_reachable
from .journal import Amendment, Journal, Record, StaleVersion, TwinsFound
from .numbers import derive
from .payout import Payout
from .people import checked_name
from .protocol.fields import FIELDS, check_field
from .protocol.messages import Order, content_hash, freeze
from .records import after_everything
from .resolver import Evidence, Outcome, Source, State, Step, View, view_of
from .resolver.permits import refusal_to_amend, refusal_to_replace

__all__ = [
    "TWINS_WITHIN",
    "DuplicateOk",
    "alive",
    "amend",
    "amended",
    "check_amendable",
    "check_replaceable",
    "check_resumable",
    "guard_of",
    "load",
    "refusal_to_follow",
    "replace",
    "require_running",
    "resume",
    "rivals",
    "said",
]

# States in which the number is alive and the gateway is not known to hold it.
_RESUMABLE: Final = frozenset({State.UNSENT, State.UNKNOWN, State.REFUSED})
# The same card and amount under another name within this long is asked about (the vendor's later documents: 24 h).
TWINS_WITHIN: Final = timedelta(hours=24)
# Whether somebody said that a suspected duplicate is meant: of all there may be, or of those with these numbers.
DuplicateOk = bool | Collection[str]
_ORDER_FIELDS: Final = frozenset(a.name for a in attrs.fields(Order))
# What stays for as long as the number does.
_FIXED: Final = frozenset({"no_order", "dt_order"})


async def load(journal: Journal, no_order: str) -> Record:
    """The record of a number; raises CommandRefused when the journal does not know it."""
    record = await journal.load(no_order)
    if record is None:
        raise CommandRefused(f"{no_order} is not in this journal")
    return record


async def require_running(engine: Engine) -> None:
    """Raise BreakerOpen while new money is paused."""
    pause = await engine.guard.paused()
    if pause is not None:
        raise BreakerOpen(
            f"new money of {pause.oid_partner} is paused since {pause.at:%Y-%m-%d %H:%M:%S%z} "
            f"by {pause.by}: {pause.reason}"
        )


def said(engine: Engine, record: Record, outcome: Outcome, by: str, detail: str | None = None) -> Evidence:
    """A person's word, later than everything that is on record."""
    now = engine.clock.now()
    return after_everything(Evidence(Source.PERSON, outcome, at=now, asked_at=now, by=by, detail=detail), record)


async def check_resumable(engine: Engine, no_order: str) -> tuple[Record, Payout]:
    """The payout as it stands; raises CommandRefused unless it waits for somebody and its number is alive."""
    record = await load(engine.journal, no_order)
    payout = await engine.payout(record)
    if payout.step not in (Step.FIX, Step.DECIDE) or payout.state not in _RESUMABLE:
        raise CommandRefused(
            f"{no_order} is {payout.state} and its next step is {payout.step}: there is nothing to resume"
        )
    if (refusal := await refusal_to_follow(engine, record)) is not None:
        raise CommandRefused(f"{no_order} {refusal}")
    return record, payout


async def refusal_to_follow(engine: Engine, record: Record) -> str | None:
    """Why no money of this payout may leave, whoever wants it: what it replaced may have been paid (rule R4)."""
    if not (revived := await engine.revived(record)):
        return None
    return (
        f"stands in the place of {', '.join(revived)}, which may have been paid after all: settle that with LianLian; "
        "if this payment is meant all the same, it needs a key of its own"
    )


async def resume(engine: Engine, no_order: str, by: str) -> Record:
    """Write down that `by` released the payout; raises CommandRefused unless it waits and its number is alive."""
    by = checked_name(by)
    while True:
        record, _ = await check_resumable(engine, no_order)
        try:
            return await engine.write(record, evidence=said(engine, record, Outcome.RESUMED, by))
        except StaleVersion:
            continue


# ---------------------------------------------------------------------- corrected content, the same number


def amended(content: Mapping[str, str], changes: Mapping[str, Any]) -> dict[str, str]:
    """`content` with `changes` (wire names; an empty value takes a field away), checked as a whole.

    Raises InvalidOrder for what cannot be amended or breaks the specification (3.1).
    """
    for name in changes:
        if name in _FIXED or (name in FIELDS and name not in _ORDER_FIELDS):
            raise InvalidOrder(name, "stays as it is for as long as the number does", "leave it out")
        if name not in _ORDER_FIELDS:
            raise InvalidOrder(name, "is no field of an order", "use the wire's names, such as card_no")
    fields = {name: value for name, value in content.items() if name in _ORDER_FIELDS}
    order = Order(**{**fields, **changes})
    return freeze(order, oid_partner=content["oid_partner"], no_order=None, dt_order=None, notify_url=None)


async def check_amendable(engine: Engine, no_order: str) -> None:
    """Raise CommandRefused unless its content may be corrected now; the gateway is asked if that is all that is
    missing."""
    await _amendable(engine, await load(engine.journal, no_order))


async def amend(
    engine: Engine, no_order: str, changes: Mapping[str, Any], *, by: str, duplicate_ok: DuplicateOk = False
) -> Record:
    """Correct what the gateway refused, under the same number (rule R5); see the client's `amend`."""
    by = checked_name(by)
    record = await _amendable(engine, await load(engine.journal, no_order))
    while True:
        content = amended(record.content, changes)
        require_reachable(engine.gateway.merchant, content)
        if content == record.content:
            raise CommandRefused(f"{no_order}: nothing would change; `resume` sends the same content again")
        since, meant = guard_of(duplicate_ok, engine.clock.now() - TWINS_WITHIN)
        word = said(engine, record, Outcome.AMENDED, by)
        try:
            amendment = Amendment(content, content_hash(content), word.at, by)
            return await engine.write(record, evidence=word, amendment=amendment, twins_since=since, meant=meant)
        except TwinsFound as found:
            raise DuplicateSuspected(found.twins) from found
        except StaleVersion:
            record = await _amendable(engine, await load(engine.journal, no_order))


async def _amendable(engine: Engine, record: Record) -> Record:
    """The record, if its content may be corrected now: asked about once more, if that is all that is missing."""
    refusal = refusal_to_amend(_view(record))
    if refusal is not None and record.state is State.REFUSED:
        record = await engine.ask(record, urgent=True)
        refusal = refusal_to_amend(_view(record))
    if refusal is not None:
        raise CommandRefused(f"{record.no_order} cannot be amended: {refusal}")
    return record


# ---------------------------------------------------------------------- a new number for a dead one


async def check_replaceable(engine: Engine, no_order: str, new_no_order: str | None = None) -> list[Record]:
    """Raise what `replace` would raise now, unless it has been replaced already; its rivals are returned."""
    record = await load(engine.journal, no_order)
    if record.replaced_by is not None:
        return []
    await _require_dead(engine, record)
    _successor(engine, record, "", new_no_order)
    return await rivals(engine, record)


async def _require_dead(engine: Engine, record: Record) -> None:
    refusal = refusal_to_replace(_view(record))
    if refusal is not None:
        raise CommandRefused(f"{record.no_order} cannot be replaced: {refusal}")
    await require_running(engine)


async def rivals(engine: Engine, record: Record) -> list[Record]:
    """Payouts that may have done meanwhile what a replacement of `record` would do: same card and amount, asked for or
    sent since, or not ended yet."""
    return alive(await engine.journal.twins(record, _rivals_since(engine, record)))


def _rivals_since(engine: Engine, record: Record) -> datetime:
    return min(record.created_at, engine.clock.now() - TWINS_WITHIN)


async def replace(
    engine: Engine,
    no_order: str,
    *,
    by: str,
    new_no_order: str | None = None,
    duplicate_ok: DuplicateOk = False,
    grown: Callable[[Engine, Sequence[Record]], Awaitable[list[Record]]],
) -> Record:
    """Put a new number in the place of one that is proven dead (rules R4 and R8); see the client's `replace`.

    `grown` adds to a new record what notifications have told of its number before (`receiving.with_orphans`).
    """
    by = checked_name(by)
    while True:
        record = await load(engine.journal, no_order)
        if record.replaced_by is not None:
            return await load(engine.journal, record.replaced_by)
        await _require_dead(engine, record)
        [successor] = await grown(engine, [_successor(engine, record, by, new_no_order)])
        since, meant = guard_of(duplicate_ok, _rivals_since(engine, record))
        try:
            stored = await engine.journal.replace(no_order, record.version, successor, twins_since=since, meant=meant)
        except TwinsFound as found:
            raise DuplicateSuspected({no_order: list(found.twins[successor.no_order])}) from found
        except StaleVersion:
            continue
        if (await load(engine.journal, no_order)).replaced_by != stored.no_order:
            raise OrderConflict(f"{stored.no_order} already stands for another payout: give another number")
        return stored


def _successor(engine: Engine, record: Record, by: str, new_no_order: str | None) -> Record:
    """The next generation: the same payment under another number, ordered now."""
    now, generation = engine.clock.now(), record.generation + 1
    if record.key is not None and new_no_order is not None:
        raise CommandRefused(f"{record.no_order} has a key, and its next number follows from it: leave the number out")
    if record.key is None and new_no_order is None:
        raise CommandRefused(f"{record.no_order} has no key to derive a new number from: give a new no_order")
    number = new_no_order or derive(record.oid_partner, record.key or "", generation)
    check_field("no_order", number)
    content = {**record.content, "no_order": number, "dt_order": wire_time(now)}
    word = Evidence(
        Source.PERSON, Outcome.REPLACED, at=now, asked_at=now, by=by, detail=f"in the place of {record.no_order}"
    )
    return Record(
        number, record.key, record.oid_partner, content, content_hash(content), created_at=now,
        generation=generation, due_at=now, evidence=(word,),
    )  # fmt: skip


def _view(record: Record) -> View:
    return view_of(record.attempts, record.evidence)


def guard_of(duplicate_ok: DuplicateOk, since: datetime) -> tuple[datetime | None, Collection[str]]:
    """`twins_since` and `meant` of a write to the journal, when twins count from `since` on."""
    if isinstance(duplicate_ok, bool):
        return None if duplicate_ok else since, ()
    return since, frozenset(duplicate_ok)


def alive(twins: Sequence[Record]) -> list[Record]:
    """Those of `twins` that have paid, may have, or still may."""
    return [twin for twin in twins if not twin.dead]
