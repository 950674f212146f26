"""The embedded journal: one SQLite file, one writer thread with group commit, one reader thread.

Write-ahead log and `synchronous=FULL`: a COMMIT returns after fsync, and callers are told only then. The
reader has a thread and a snapshot of its own, so that a long page or a check holds up no COMMIT. Several
processes may use one file; a transaction and a version check decide who was first.

What is read is checked against the chain of its payout (see `rows`); at the start, every payout of a journal with up to
20,000 of them, and of a longer one those that may still move. `verify` checks all, however many there are.
With keys, everything that names a person or could be misused is encrypted (see `sealing` and docs/journal.md).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from anyio import to_thread
from attrs import evolve

from ..crypto.journal_keys import JournalKeys
from ..errors import ConfigError, JournalUnavailable
from ..resolver import State
from . import Breaker, Change, Lease, Moved, Orphan, Record, Tally, sqlite_shared
from .beside import beside_file
from .rows import check_text, encode_breaker, from_us, own_lease, payee_of, tally_of, to_us
from .shared import Turns, check_limit, orphan_row
from .sqlite_file import JournalFile
from .sqlite_keys import Vault
from .sqlite_lane import Lane, Session
from .sqlite_open import open_reader, open_writer
from .sqlite_payouts import Addition, Intent, Payouts
from .sqlite_twins import hash_payees, revived
from .statements import load_statements

__all__ = ["SqliteJournal"]

T = TypeVar("T")
_SQL: Final = load_statements("sqlite")


class SqliteJournal:
    """A journal in one file.

    `path` is relative to the present directory (ConfigError when that is gone) or absolute. `busy_timeout_s` is how
    many seconds another process may hold the file before a call fails; `batch_max` how many calls one COMMIT may carry.
    With `keys` a new file is encrypted from the first payout on, and an encrypted one can be opened; `entropy` gives
    nonces.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keys: JournalKeys | None = None,
        busy_timeout_s: float = 5.0,
        batch_max: int = 256,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.path = _absolute(Path(path))
        self._vault = Vault(self.path, keys, entropy)
        self._payouts = Payouts(self.path, self._vault)
        self._timeout_s = busy_timeout_s
        self._batch_max = batch_max
        self._lanes: tuple[Lane, Lane] | None = None

    def __repr__(self) -> str:
        return f"SqliteJournal({str(self.path)!r})"

    async def open(self) -> None:
        """Make or open the file, prove that it is durable, and check the chains (of a long journal, of what may move).

        Raises ConfigError for a place, mode, file or set-up that is unsafe, and for a key that is missing, wrong or
        not wanted; JournalUnavailable when the file cannot be used or was tampered with.
        """
        if self._lanes is not None:
            return
        file = JournalFile(self.path)

        def writer() -> Session:
            return self._watched(open_writer(file, self._timeout_s, self._meet))

        def reader() -> Session:
            return self._watched(open_reader(file, self._timeout_s))

        self._lanes = (
            Lane("lianlian journal writer", writer, batch_max=self._batch_max),
            Lane("lianlian journal reader", reader, batch_max=self._batch_max),
        )
        try:
            for lane in self._lanes:
                await lane.start()
            await self._read(self._payouts.verify_at_open)
        except BaseException:
            await self.close()
            raise

    def _meet(self, db: sqlite3.Connection) -> None:
        self._vault.meet(db)
        hash_payees(db, self._vault, self._payouts.chained)

    def _watched(self, session: Session) -> Session:
        session.begun = self._vault.begun
        return session

    async def close(self) -> None:
        """Finish what was accepted and let go of the file."""
        if self._lanes is None:
            return
        (writer, reader), self._lanes = self._lanes, None
        # One after the other: the connection that is the last to close brings the write-ahead log into the
        # file, and of two that close at the same time neither would know that it is the last.
        reader.stop()
        try:
            await reader.ended()
        finally:
            writer.stop()
        await writer.ended()

    async def verify(self) -> int:
        """Check the chain of every payout; returns how many there are. JournalUnavailable names the first bad one."""

        def work(db: sqlite3.Connection) -> int:
            sqlite_shared.verify_orphans(db, self._vault)
            return self._payouts.verify(db)

        return await self._read(work)

    async def add(
        self, records: Sequence[Record], *, twins_since: datetime | None = None, meant: Collection[str] = ()
    ) -> list[Record]:
        intents = [Intent.of(record) for record in records]
        since_us = None if twins_since is None else to_us(twins_since)
        return await self._write(lambda db: self._payouts.add(db, intents, since_us, meant))

    async def twins(self, record: Record, since: datetime) -> list[Record]:
        check_text(record.no_order)
        payee, since_us = payee_of(record.oid_partner, record.content), to_us(since)
        return await self._read(lambda db: self._payouts.twins(db, record.no_order, payee, since_us))

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
        intent = Intent.of(record)
        since_us = None if twins_since is None else to_us(twins_since)
        return await self._write(lambda db: self._payouts.replace(db, no_order, version, intent, since_us, meant))

    async def revived(self, no_order: str) -> list[str]:
        check_text(no_order)
        return await self._read(lambda db: revived(db, no_order))

    async def load(self, no_order: str) -> Record | None:
        return await self._read(lambda db: self._payouts.numbered(db, no_order))

    async def find(self, oid_partner: str, key: str) -> Record | None:
        return await self._read(lambda db: self._payouts.keyed(db, oid_partner, key))

    async def save(
        self,
        no_order: str,
        version: int,
        change: Change,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> int:
        addition = Addition.of(change)
        since_us = None if twins_since is None else to_us(twins_since)
        return await self._write(lambda db: self._payouts.save(db, no_order, version, addition, since_us, meant))

    async def due(self, oid_partner: str, now: datetime, limit: int, *, sends: bool | None = None) -> list[str]:
        check_text(oid_partner)
        check_limit(limit)
        now_us = to_us(now)
        ready = await self._read(lambda db: sqlite_shared.due(db, oid_partner, now_us, limit, sends))
        return [no_order for _, no_order in ready]

    async def claim(self, oid_partner: str, lease: Lease, limit: int, *, sends: bool | None = None) -> list[Record]:
        own = own_lease(lease)
        check_text(oid_partner)
        check_limit(limit)
        return await self._write(lambda db: self._payouts.claim(db, oid_partner, own, limit, sends))

    async def release(self, no_order: str, owner: str) -> None:
        check_text(no_order, owner)
        await self._write(lambda db: sqlite_shared.release(db, no_order, owner))

    async def turn(self, oid_partner: str, now: datetime, gap: timedelta, count: int) -> datetime:
        check_text(oid_partner)
        turns = Turns.wanted(now, gap, count)
        return await self._write(lambda db: sqlite_shared.turn(db, oid_partner, turns))

    async def moved(self, subscriber: str, lease: Lease, limit: int) -> list[Moved]:
        own = own_lease(lease)
        check_text(subscriber)
        check_limit(limit)
        return await self._write(lambda db: sqlite_shared.moved(db, subscriber, own, limit))

    async def told(self, subscriber: str, moved: Moved, *, again_at: datetime | None = None) -> None:
        check_text(subscriber)
        again_us = None if again_at is None else to_us(again_at)
        await self._write(lambda db: sqlite_shared.told(db, subscriber, moved.seq, again_us))

    async def note_orphan(self, orphan: Orphan) -> bool:
        row = orphan_row(orphan)
        return await self._write(lambda db: sqlite_shared.note_orphan(db, self._vault, row))

    async def orphans(self, oid_partner: str, no_orders: Collection[str] | None = None) -> list[Orphan]:
        check_text(oid_partner, *(no_orders or ()))
        return await self._read(lambda db: sqlite_shared.orphans(db, self._vault, oid_partner, no_orders))

    async def page(
        self, after: str | None, limit: int, states: Collection[State] = (), *, oid_partner: str | None = None
    ) -> list[Record]:
        check_limit(limit)
        return await self._read(lambda db: self._payouts.page(db, after or "", limit, states, oid_partner))

    async def tally(self, oid_partner: str | None = None) -> dict[State, Tally]:
        return await self._read(lambda db: tally_of(db.execute(_SQL["tally"], (oid_partner,))))

    async def beside(self, scratch: Path, work: Callable[[sqlite3.Connection], T]) -> T:
        # On a connection of its own: minutes in one of the lanes would hold up payouts.
        await self._read(lambda _db: None)
        return await to_thread.run_sync(beside_file, self.path, scratch, work)

    async def newest(self) -> datetime | None:
        def work(db: sqlite3.Connection) -> datetime | None:
            (at_us,) = db.execute(_SQL["newest"]).fetchone()
            return None if at_us is None else from_us(at_us)

        return await self._read(work)

    async def trip(self, breaker: Breaker) -> Breaker:
        row = encode_breaker(breaker)

        def work(db: sqlite3.Connection) -> Breaker:
            if (present := _tripped(db, breaker.oid_partner)) is not None:
                return present
            db.execute(_SQL["add_breaker_event"], ("trip", *row))
            return evolve(breaker, at=from_us(to_us(breaker.at)))

        return await self._write(work)

    async def tripped(self, oid_partner: str) -> Breaker | None:
        return await self._read(lambda db: _tripped(db, oid_partner))

    async def reset(self, oid_partner: str, by: str, at: datetime) -> Breaker | None:
        at_us = to_us(at)

        def work(db: sqlite3.Connection) -> Breaker | None:
            lifted = _tripped(db, oid_partner)
            if lifted is not None:
                db.execute(_SQL["add_breaker_event"], ("reset", oid_partner, lifted.reason, at_us, by))
            return lifted

        return await self._write(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._lane(0).run(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._lane(1).run(work)

    def _lane(self, which: int) -> Lane:
        if self._lanes is None:
            raise JournalUnavailable(f"the journal {self.path} is not open: open it first")
        return self._lanes[which]


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError as error:
        raise ConfigError(
            f"the journal {path} lies in the present directory, which cannot be found ({error.strerror}): "
            "go to one that exists, or give an absolute path"
        ) from error


def _tripped(db: sqlite3.Connection, oid_partner: str) -> Breaker | None:
    row = db.execute(_SQL["breaker"], (oid_partner,)).fetchone()
    if row is None or row[0] != "trip":
        return None
    _, partner, reason, at_us, by = row
    return Breaker(partner, reason, from_us(at_us), by)
