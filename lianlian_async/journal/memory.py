"""The journal that forgets: everything in this process, nothing on disk. For tests, trials and simulations.

It keeps what it holds over `close` and `open`, so that a test can crash a client and start another on the
same journal.
"""

from __future__ import annotations

import heapq
import sqlite3
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from anyio import to_thread
from attrs import evolve

from ..errors import JournalUnavailable
from ..resolver import Attempt, State, Step
from . import Breaker, Change, Lease, Leased, Moved, Orphan, Record, StaleVersion, Tally, TwinsFound
from .beside import beside_records
from .memory_shared import Changes, Orphans, Takings
from .rows import (
    Name,
    check_amendment,
    check_intent,
    check_text,
    encode_breaker,
    fen_of,
    from_us,
    newest_of,
    own_change,
    own_lease,
    own_record,
    payee_of,
    present_among,
    tally_of,
    to_us,
)
from .shared import Turns, check_limit, counts, in_force, renewed, stale_for, twins_among

__all__ = ["MemoryJournal"]

T = TypeVar("T")
_CLOSED: Final = "the journal is not open: open it first"


class MemoryJournal:
    """A journal in memory. It must be asked for by name (`memory:`): money is not safe in it."""

    def __init__(self) -> None:
        self._open = False
        self._records: dict[str, Record] = {}
        self._numbers: list[str] = []
        self._by_key: dict[tuple[str, str], str] = {}
        self._ranks: dict[str, int] = {}
        self._by_payee: dict[bytes, set[str]] = {}
        self._replaces: dict[str, str] = {}
        self._due: set[str] = set()
        self._newest: datetime | None = None
        self._tripped: dict[str, Breaker] = {}
        self._breaker_events: list[tuple[str, Breaker]] = []
        self._changes = Changes()
        self._turns = Takings()
        self._orphans = Orphans()

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def add(
        self, records: Sequence[Record], *, twins_since: datetime | None = None, meant: Collection[str] = ()
    ) -> list[Record]:
        self._check_open()
        own = [own_record(record) for record in records]
        since_us = None if twins_since is None else to_us(twins_since)
        for record in own:
            _check_attempts(record.attempts)
        present = present_among(own, self._find)
        if all(old is None or old.stands_for(new.content_hash) for old, new in zip(present, own, strict=True)):
            if since_us is not None:
                self._check_twins([new for old, new in zip(present, own, strict=True) if old is None], since_us, meant)
            present = [old or self._insert(new) for old, new in zip(present, own, strict=True)]
        return [old or new for old, new in zip(present, own, strict=True)]

    async def twins(self, record: Record, since: datetime) -> list[Record]:
        self._check_open()
        check_text(record.no_order)
        payee, since_us = payee_of(record.oid_partner, record.content), to_us(since)
        return [twin for twin in self._of_payee(payee, since_us) if twin.no_order != record.no_order]

    async def replace(
        self,
        no_order: str,
        version: int,
        record: Record,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> Record:
        """Write the next generation of a payout down, if the payout still has `version` (rule R4).

        `record` is the new number, one generation further, of the same merchant and key. A payout is replaced
        once: when it has been already, or the new number exists, that record is returned and nothing is
        written. Raises StaleVersion when the payout has moved on, ValueError when `record` does not follow it,
        TwinsFound.
        """
        self._check_open()
        own = own_record(record)
        since_us = None if twins_since is None else to_us(twins_since)
        _check_attempts(own.attempts)
        check_intent(own)
        old = self._records.get(no_order)
        if old is None:
            raise StaleVersion(f"there is no payout {no_order} to replace")
        if (own.oid_partner, own.key, own.generation) != (old.oid_partner, old.key, old.generation + 1):
            raise ValueError("a replacement has the merchant and key of the payout and the next generation")
        present = self._records.get(old.replaced_by or own.no_order)
        if present is not None:
            return present
        self._at_version(no_order, version)
        if since_us is not None:
            self._check_twins([own], since_us, (no_order, *meant))
        self._records[no_order] = evolve(old, replaced_by=own.no_order)
        self._replaces[own.no_order] = no_order
        return self._insert(own)

    async def revived(self, no_order: str) -> list[str]:
        self._check_open()
        check_text(no_order)
        return self._revived(no_order)

    async def verify(self) -> int:
        self._check_open()
        return len(self._records)

    async def load(self, no_order: str) -> Record | None:
        self._check_open()
        return self._records.get(no_order)

    async def find(self, oid_partner: str, key: str) -> Record | None:
        self._check_open()
        return self._records.get(self._by_key.get((oid_partner, key), ""))

    async def save(
        self,
        no_order: str,
        version: int,
        change: Change,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> int:
        self._check_open()
        own = own_change(change)
        since_us = None if twins_since is None else to_us(twins_since)
        old = self._at_version(no_order, version)
        if own.attempts and (alive := self._revived(no_order)):
            raise stale_for(no_order, alive)
        new = evolve(
            old,
            version=version + 1,
            state=own.state,
            step=own.step,
            due_at=own.due_at,
            attempts=(*old.attempts, *own.attempts),
            evidence=(*old.evidence, *own.evidence),
            lease=_lease_after(old, own),
            **_amended(old, own),
        )
        if own.amendment is not None and since_us is not None:
            self._check_twins([new], since_us, (no_order, *meant))
        _check_attempts(new.attempts)
        self._put(new, newest_of(own))
        self._changes.note(old, new)
        return version + 1

    async def due(self, oid_partner: str, now: datetime, limit: int, *, sends: bool | None = None) -> list[str]:
        self._check_open()
        check_text(oid_partner)
        check_limit(limit)
        now = from_us(to_us(now))
        ready = []
        for no_order in self._due:
            record = self._records[no_order]
            send = record.step is Step.SUBMIT
            if record.due_at is None or record.due_at > now or (sends is not None and send is not sends):
                continue
            if record.oid_partner == oid_partner and not in_force(record.lease, now):
                unknown = record.state is State.UNKNOWN and not send
                ready.append((not unknown, -to_us(record.created_at) if unknown else to_us(record.due_at), no_order))
        return [no_order for *_, no_order in heapq.nsmallest(limit, ready)]

    async def claim(self, oid_partner: str, lease: Lease, limit: int, *, sends: bool | None = None) -> list[Record]:
        own = own_lease(lease)
        claimed = await self.due(oid_partner, own.since, limit, sends=sends)
        self._records.update({no_order: evolve(self._records[no_order], lease=own) for no_order in claimed})
        return [self._records[no_order] for no_order in claimed]

    async def release(self, no_order: str, owner: str) -> None:
        self._check_open()
        check_text(no_order, owner)
        record = self._records.get(no_order)
        if record is not None:
            self._records[no_order] = evolve(record, lease=_without(record.lease, owner))

    async def turn(self, oid_partner: str, now: datetime, gap: timedelta, count: int) -> datetime:
        self._check_open()
        check_text(oid_partner)
        return self._turns.take(oid_partner, Turns.wanted(now, gap, count))

    async def moved(self, subscriber: str, lease: Lease, limit: int) -> list[Moved]:
        self._check_open()
        check_text(subscriber)
        check_limit(limit)
        return self._changes.moved(subscriber, own_lease(lease), limit)

    async def told(self, subscriber: str, moved: Moved, *, again_at: datetime | None = None) -> None:
        self._check_open()
        check_text(subscriber)
        self._changes.told(subscriber, moved.seq, again_at)

    async def note_orphan(self, orphan: Orphan) -> bool:
        self._check_open()
        return self._orphans.note(orphan)

    async def orphans(self, oid_partner: str, no_orders: Collection[str] | None = None) -> list[Orphan]:
        self._check_open()
        check_text(oid_partner, *(no_orders or ()))
        return self._orphans.of(oid_partner, no_orders)

    async def page(
        self, after: str | None, limit: int, states: Collection[State] = (), *, oid_partner: str | None = None
    ) -> list[Record]:
        self._check_open()
        check_limit(limit)
        found: list[Record] = []
        at = bisect_right(self._numbers, after or "")
        while len(found) < limit and at < len(self._numbers):
            record = self._records[self._numbers[at]]
            if (not states or record.state in states) and oid_partner in (None, record.oid_partner):
                found.append(record)
            at += 1
        return found

    async def tally(self, oid_partner: str | None = None) -> dict[State, Tally]:
        self._check_open()
        counts: Counter[State] = Counter()
        fen: Counter[State] = Counter()
        for record in self._records.values():
            if oid_partner in (None, record.oid_partner):
                counts[record.state] += 1
                fen[record.state] += fen_of(record.content)
        return tally_of((state, count, fen[state]) for state, count in counts.items())

    async def beside(self, scratch: Path, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        return await to_thread.run_sync(beside_records, list(self._records.values()), scratch, work)

    async def newest(self) -> datetime | None:
        self._check_open()
        return self._newest

    async def trip(self, breaker: Breaker) -> Breaker:
        self._check_open()
        oid_partner, reason, at_us, by = encode_breaker(breaker)
        if oid_partner not in self._tripped:
            own = Breaker(oid_partner, reason, from_us(at_us), by)
            self._tripped[oid_partner] = own
            self._breaker_events.append(("trip", own))
        return self._tripped[oid_partner]

    async def tripped(self, oid_partner: str) -> Breaker | None:
        self._check_open()
        return self._tripped.get(oid_partner)

    async def reset(self, oid_partner: str, by: str, at: datetime) -> Breaker | None:
        self._check_open()
        at_us = to_us(at)
        lifted = self._tripped.pop(oid_partner, None)
        if lifted is not None:
            self._breaker_events.append(("reset", Breaker(oid_partner, lifted.reason, from_us(at_us), by)))
        return lifted

    def _check_open(self) -> None:
        if not self._open:
            raise JournalUnavailable(_CLOSED)

    def _at_version(self, no_order: str, version: int) -> Record:
        record = self._records.get(no_order)
        if record is None or record.version != version:
            found = "not in the journal" if record is None else f"at version {record.version}"
            raise StaleVersion(f"payout {no_order} is {found}, not at version {version}: load it again")
        return record

    def _find(self, name: Name) -> Record | None:
        return self._records.get(name if isinstance(name, str) else self._by_key.get(name, ""))

    def _of_payee(self, payee: bytes, since_us: int) -> list[Record]:
        of_payee = [self._records[no_order] for no_order in self._by_payee.get(payee, ())]
        of_payee.sort(key=lambda record: (record.created_at, self._ranks[record.no_order]), reverse=True)
        return [record for record in of_payee if counts(record, since_us)]

    def _check_twins(self, new: Sequence[Record], since_us: int, but: Collection[str]) -> None:
        def held(payee: bytes) -> list[str]:
            of_payee = self._of_payee(payee, since_us)
            return [record.no_order for record in of_payee if not record.dead and record.no_order not in but]

        if twins := twins_among(new, since_us, held, but):
            raise TwinsFound(twins)

    def _revived(self, no_order: str) -> list[str]:
        found = []
        while (earlier := self._replaces.get(no_order)) is not None:
            no_order = earlier
            if not self._records[no_order].dead:
                found.append(no_order)
        return found

    def _insert(self, record: Record) -> Record:
        insort(self._numbers, record.no_order)
        self._ranks[record.no_order] = len(self._ranks)
        if record.key is not None:
            self._by_key[record.oid_partner, record.key] = record.no_order
        self._put(record, newest_of(record))
        self._changes.note(None, record)
        return record

    def _put(self, record: Record, newest: datetime | None) -> None:
        old = self._records.get(record.no_order)
        if old is None or old.content is not record.content:
            if old is not None:
                self._by_payee[payee_of(old.oid_partner, old.content)].discard(old.no_order)
            self._by_payee.setdefault(payee_of(record.oid_partner, record.content), set()).add(record.no_order)
        self._records[record.no_order] = record
        (self._due.discard if record.due_at is None else self._due.add)(record.no_order)
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest


def _amended(old: Record, change: Change) -> dict[str, Any]:
    if change.amendment is None:
        return {}
    content, content_hash = change.amendment.content, change.amendment.content_hash
    check_amendment(old.content, content)
    return {
        "content": content,
        "content_hash": content_hash,
        "former_hashes": (*old.former_hashes, old.content_hash),
    }


def _lease_after(old: Record, change: Change) -> Lease | None:
    if change.lease is None:
        return _without(old.lease, change.release)
    lease = renewed(old.lease, change.lease)
    if lease is None:
        raise Leased(f"somebody else is at payout {old.no_order}: load it again later")
    return lease


def _without(lease: Lease | None, owner: str | None) -> Lease | None:
    return None if lease is not None and lease.owner == owner else lease


def _check_attempts(attempts: Sequence[Attempt]) -> None:
    seen = set()
    for attempt in attempts:
        if (attempt.source, attempt.number) in seen:
            raise ValueError(f"attempt {attempt.number} of {attempt.source} is in the journal already")
        seen.add((attempt.source, attempt.number))
