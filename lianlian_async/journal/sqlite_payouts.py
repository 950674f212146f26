"""The payouts of an SQLite journal, as its lanes' threads read and write them.

What is read is checked against the chain of its payout (see `rows`), and opened if it is sealed (see `sealing`).
One key seals all of a payout: a save under a newer key seals what is there anew first. Everything here runs
inside a transaction that belongs to the caller; on the writer's connection where it writes.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final

from attrs import frozen

from ..errors import JournalUnavailable
from ..resolver import FINAL, State
from . import Change, Lease, Record, StaleVersion
from .rows import (
    Entries,
    Name,
    Row,
    Stored,
    check_amendment,
    check_intent,
    decode_record,
    encode_entries,
    intent_row,
    link,
    newest_of,
    own_change,
    own_record,
    payee_of,
    present_among,
    sealed,
    settled_by,
    summary_of,
    to_us,
)
from .sealing import Bare, Tampered
from .shared import begins_plainly, stale_for
from .sqlite_keys import Vault
from .sqlite_shared import due, note_change, release, take_lease
from .sqlite_standing import at_version, settled_agrees
from .sqlite_twins import check_amended, check_twins, of_payee, revived
from .statements import load_statements

__all__ = ["VERIFIED_AT_OPEN_MAX", "Addition", "Intent", "Payouts"]

_SQL: Final = load_statements("sqlite")
# Up to so many payouts the start checks all of them: about a second, on an ordinary machine.
VERIFIED_AT_OPEN_MAX: Final = 20_000
_STRETCH: Final = 500  # payouts to be checked at a time
# Of a row of the view `records`; see `rows.Stored`.
_INTENT: Final = slice(1, 8)
_CREATED_US: Final = 7
_STANDING: Final = slice(8, 12)
_CHAIN: Final = 12
_SUMMARY: Final = slice(13, 15)
_BESIDE: Final = slice(15, 19)
_SEALED_BY: Final = 19
_SEAL: Final = 20
_LAST_US: Final = 21
_SETTLED: Final = slice(22, 24)


@frozen
class Intent:
    """A record made ready for its table, outside the writer's thread."""

    record: Record
    row: Row
    entries: Entries
    newest_us: int | None

    @classmethod
    def of(cls, record: Record) -> Intent:
        own = own_record(record)
        return cls(own, intent_row(own), encode_entries(own), _newest_us(own))


@frozen
class Addition:
    """A change made ready for its tables, outside the writer's thread."""

    change: Change
    entries: Entries
    due_us: int | None
    newest_us: int | None

    @classmethod
    def of(cls, change: Change) -> Addition:
        own = own_change(change)
        due_us = None if own.due_at is None else to_us(own.due_at)
        return cls(own, encode_entries(own), due_us, _newest_us(own))


class Payouts:
    """The payouts of one file."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._path = path
        self._vault = vault

    def add(
        self, db: sqlite3.Connection, intents: Sequence[Intent], twins_since_us: int | None, meant: Collection[str]
    ) -> list[Record]:
        own = [intent.record for intent in intents]
        sealers = self._vault.in_use(db)
        present = present_among(own, lambda name: self._find(db, sealers, name))
        if all(old is None or old.stands_for(new.content_hash) for old, new in zip(present, own, strict=True)):
            new = [new for old, new in zip(present, own, strict=True) if old is None]
            check_twins(db, sealers, new, twins_since_us, meant)
            present = [old or _insert(db, sealers[0], new, None) for old, new in zip(present, intents, strict=True)]
        return [old or new for old, new in zip(present, own, strict=True)]

    def _find(self, db: sqlite3.Connection, sealers: Sequence[Bare], name: Name) -> Record | None:
        if isinstance(name, str):
            return self.numbered(db, name)
        oid_partner, key = name
        # Whichever key of the journal has sealed it: a generation may lie under each.
        found = [self._first(db, "payout_by_key", oid_partner, sealer.key(oid_partner, key)) for sealer in sealers]
        return max(filter(None, found), key=attrgetter("generation"), default=None)

    def numbered(self, db: sqlite3.Connection, no_order: str) -> Record | None:
        """The payout of this number."""
        return self._first(db, "payout_by_number", no_order)

    def keyed(self, db: sqlite3.Connection, oid_partner: str, key: str) -> Record | None:
        """The newest generation of this caller's key."""
        return self._find(db, self._vault.in_use(db), (oid_partner, key))

    def replace(
        self,
        db: sqlite3.Connection,
        no_order: str,
        version: int,
        intent: Intent,
        twins_since_us: int | None,
        meant: Collection[str],
    ) -> Record:
        record = intent.record
        check_intent(record)
        old = self.numbered(db, no_order)
        if old is None:
            raise StaleVersion(f"there is no payout {no_order} to replace")
        if (record.oid_partner, record.key, record.generation) != (old.oid_partner, old.key, old.generation + 1):
            raise ValueError("a replacement has the merchant and key of the payout and the next generation")
        present = self.numbered(db, old.replaced_by or record.no_order)
        if present is not None:
            return present
        payout, *_ = at_version(db, no_order, version)
        check_twins(db, self._vault.in_use(db), [record], twins_since_us, (no_order, *meant))
        return _insert(db, self._vault.in_use(db)[0], intent, payout)

    def save(
        self,
        db: sqlite3.Connection,
        no_order: str,
        version: int,
        addition: Addition,
        twins_since_us: int | None,
        meant: Collection[str],
    ) -> int:
        """Write a change down and return the new version."""
        sealer = self._vault.in_use(db)[0]
        payout, before, chain, sealed_by, seal, replaces, settled = at_version(db, no_order, version)
        if replaces is not None and addition.change.attempts and (alive := revived(db, no_order)):
            raise stale_for(no_order, alive)
        if sealed_by != sealer.seq:
            chain = self.reseal(db, payout)
        elif sealer.sign(chain, before) != seal:
            # Whoever wrote this chain had no key, and must not get a signature for what follows from it.
            raise self._tampered(no_order)
        change, entries = addition.change, sealer.entries(no_order, version + 1, addition.entries)
        if change.lease is not None:
            take_lease(db, payout, no_order, change.lease)
        standing = (version + 1, change.state.value, change.step.value, addition.due_us)
        chain = entries.extend(chain)
        settled = settled_by(change.evidence, settled)
        after = (*standing, chain, sealer.sign(chain, standing), *settled, payout)
        if change.amendment is None:
            _write_entries(db, payout, version + 1, entries)
            db.execute(_SQL["set_standing"], after)
        else:
            oid_partner, content = self._first_content(db, sealer, payout, no_order)
            check_amendment(content, change.amendment.content)
            payee = payee_of(oid_partner, change.amendment.content)
            check_amended(db, self._vault.in_use(db), no_order, payee, twins_since_us, meant)
            _write_entries(db, payout, version + 1, entries)
            summary = _summary(sealer, oid_partner, change.amendment.content)
            db.execute(_SQL["set_amended"], (*summary, *after))
        if before[1:3] != (change.state.value, change.step.value):
            note_change(db, payout, version + 1, change.state, change.step)
        if change.release is not None:
            release(db, no_order, change.release)
        _touch(db, addition.newest_us)
        return version + 1

    def _first_content(
        self, db: sqlite3.Connection, sealer: Bare, payout: int, no_order: str
    ) -> tuple[str, Mapping[str, str]]:
        try:
            intent = sealer.open_intent(db.execute(_SQL["intent"], (payout,)).fetchone())
        except Tampered as error:
            raise self._tampered(no_order) from error
        return intent[1], json.loads(intent[4])

    def claim(
        self, db: sqlite3.Connection, oid_partner: str, lease: Lease, limit: int, sends: bool | None
    ) -> list[Record]:
        ready = due(db, oid_partner, to_us(lease.since), limit, sends)
        for payout, no_order in ready:
            take_lease(db, payout, no_order, lease)
        return self._in_order(db, [payout for payout, _ in ready])

    def twins(self, db: sqlite3.Connection, no_order: str, payee: bytes, since_us: int) -> list[Record]:
        twins = [row[1] for row in of_payee(db, self._vault.in_use(db), payee, since_us) if row[2] != no_order]
        return self._in_order(db, twins)

    def page(
        self, db: sqlite3.Connection, after: str, limit: int, states: Collection[State], oid_partner: str | None
    ) -> list[Record]:
        if not states:
            return self._records(db, db.execute(_SQL["payouts_page"], (after, oid_partner, limit)).fetchall())
        # One stretch of the index for each state, merged: no page ever reads more than it needs.
        page_of = _SQL["payouts_page_of_state"]
        of_each = [db.execute(page_of, (s.value, after, oid_partner, limit)) for s in set(states)]
        return self._records(db, list(islice(heapq.merge(*of_each, key=itemgetter(1)), limit)))

    def _in_order(self, db: sqlite3.Connection, payouts: Sequence[int]) -> list[Record]:
        rows = db.execute(_SQL["payouts_of"], (json.dumps(payouts),)).fetchall()
        rank = {payout: rank for rank, payout in enumerate(payouts)}
        return self._records(db, sorted(rows, key=lambda row: rank[row[0]]))

    def _first(self, db: sqlite3.Connection, statement: str, *values: object) -> Record | None:
        found = self._records(db, db.execute(_SQL[statement], values).fetchall())
        return found[0] if found else None

    def _records(self, db: sqlite3.Connection, rows: Sequence[Row]) -> list[Record]:
        return [self._decoded(stored) for stored in self._checked(db, rows)]

    def _decoded(self, stored: Stored) -> Record:
        try:
            return decode_record(stored)
        except (ValueError, TypeError, OverflowError) as error:
            raise JournalUnavailable(
                f"payout {stored.intent[0]} in the journal {self._path} cannot be read: "
                "a later version wrote it, or the file is damaged; start that version, or restore a backup"
            ) from error

    def _checked(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Iterator[Stored]:
        """The payouts with their entries, opened, each of which agrees with its chain and its seal, and its sums with
        its content."""
        for row, stored, chained in self.chained(db, rows):
            sealer = self._vault.sealer(db, row[_SEALED_BY])
            try:
                sound = chained and sealer.sign(row[_CHAIN], stored.standing) == row[_SEAL]
                plain = sealer.opened(stored) if sound else stored
                sound = sound and _summary(sealer, row[2], json.loads(plain.content)) == row[_SUMMARY]
                sound = sound and row[_LAST_US] == max([row[_CREATED_US], *(one[4] for one in stored.attempts)])
                sound = sound and settled_agrees(plain, row[_SETTLED])
            except Tampered:
                sound = False
            if not sound:
                raise self._tampered(row[1])
            yield plain

    def _tampered(self, no_order: str) -> JournalUnavailable:
        return JournalUnavailable(
            f"payout {no_order} in the journal {self._path} was changed behind the journal's back: "
            "find out by whom, and restore a backup"
        )

    def chained(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Iterator[tuple[Row, Stored, bool]]:
        """Each payout as it is stored, and whether it agrees with its chain."""
        if not rows:
            return  # Most often: a new number. It is not worth three more statements.
        ids = json.dumps([row[0] for row in rows])
        amendments = _by_payout(db.execute(_SQL["amendments_of"], (ids,)))
        attempts = _by_payout(db.execute(_SQL["attempts_of"], (ids,)))
        evidence = _by_payout(db.execute(_SQL["evidence_of"], (ids,)))
        for row in rows:
            entries = [of_kind.get(row[0], []) for of_kind in (amendments, attempts, evidence)]
            stored = Stored(row[_INTENT], row[_STANDING], row[_BESIDE], *entries)
            yield row, stored, sealed(stored) == row[_CHAIN]

    def verify(self, db: sqlite3.Connection) -> int:
        count = last = 0
        while stretch := db.execute(_SQL["payouts_after"], (last, _STRETCH)).fetchall():
            count += sum(1 for _ in self._checked(db, stretch))
            last = stretch[-1][0]
        return count

    def verify_chains(self, db: sqlite3.Connection) -> int:
        """As `verify`, as far as that goes without a key: the chain runs over what is stored."""
        count = last = 0
        while stretch := db.execute(_SQL["payouts_after"], (last, _STRETCH)).fetchall():
            for row, _, chained in self.chained(db, stretch):
                if not chained:
                    raise self._tampered(row[1])
                count += 1
            last = stretch[-1][0]
        return count

    def verify_at_open(self, db: sqlite3.Connection) -> None:
        """As `verify`; of a journal with more than `VERIFIED_AT_OPEN_MAX` payouts only what may still move."""
        if db.execute(_SQL["payout_beyond"], (VERIFIED_AT_OPEN_MAX,)).fetchone() is None:
            self.verify(db)
            return
        for state in set(State) - FINAL:
            last = ""
            while stretch := db.execute(_SQL["payouts_page_of_state"], (state.value, last, None, _STRETCH)).fetchall():
                for _ in self._checked(db, stretch):
                    pass
                last = stretch[-1][1]

    def reseal(self, db: sqlite3.Connection, payout: int) -> bytes:
        """Seal a payout with the newest key, whatever has sealed it before, and return its new chain.

        What was changed behind the journal's back is refused, so that sealing never makes it good.
        """
        sealer = self._vault.in_use(db)[0]
        [plain] = self._checked(db, db.execute(_SQL["payouts_of"], (json.dumps([payout]),)).fetchall())
        new = sealer.stored(plain)
        chain = sealed(new)
        _, payee = _summary(sealer, plain.intent[1], json.loads(plain.content))
        db.execute(_SQL["begin_resealing"], ("payout", payout))
        standing = (payee, chain, sealer.seq, sealer.sign(chain, plain.standing), payout)
        db.execute(_SQL["reseal_payout"], (new.intent[2], *new.intent[4:6], *standing))
        for version, position, content, content_hash, _, by in new.amendments:
            db.execute(_SQL["reseal_amendment"], (content, content_hash, by, payout, version, position))
        for version, position, *_, content_hash, _ in new.attempts:
            db.execute(_SQL["reseal_attempt"], (content_hash, payout, version, position))
        for version, position, *_, said in new.evidence:
            db.execute(_SQL["reseal_evidence"], (said, payout, version, position))
        db.execute(_SQL["end_resealing"], ("payout", payout))
        return chain


def _by_payout(rows: Iterable[Row]) -> dict[int, list[Row]]:
    return {payout: [row[1:] for row in group] for payout, group in groupby(rows, key=itemgetter(0))}


def _summary(sealer: Bare, oid_partner: str, content: Mapping[str, str]) -> Row:
    money_order, payee = summary_of(oid_partner, content)
    return money_order, sealer.payee(payee)


def _insert(db: sqlite3.Connection, sealer: Bare, intent: Intent, replaces: int | None) -> Record:
    record = intent.record
    row, entries = sealer.intent(intent.row), sealer.entries(record.no_order, record.version, intent.entries)
    due = None if record.due_at is None else to_us(record.due_at)
    standing = (record.version, record.state.value, record.step.value, due)
    chain = entries.extend(link(b"", "intent", row))
    written = (chain, sealer.sign(chain, standing), sealer.seq, replaces)
    summary = _summary(sealer, record.oid_partner, record.content)
    settled = settled_by(record.evidence)
    payout = db.execute(_SQL["add_payout"], (*row, *summary, *standing, *written, *settled)).lastrowid
    _write_entries(db, payout or 0, record.version, entries)
    if not begins_plainly(record.state, record.step):
        note_change(db, payout or 0, record.version, record.state, record.step)
    _touch(db, intent.newest_us)
    return record


def _write_entries(db: sqlite3.Connection, payout: int, version: int, entries: Entries) -> None:
    for position, row in enumerate(entries.amendments):
        db.execute(_SQL["add_amendment"], (payout, version, position, *row))
    for position, row in enumerate(entries.attempts):
        try:
            db.execute(_SQL["add_attempt"], (payout, version, position, *row))
        except sqlite3.IntegrityError as error:
            raise ValueError(f"attempt {row[0]} of {row[1]} is in the journal already") from error
    for position, row in enumerate(entries.evidence):
        db.execute(_SQL["add_evidence"], (payout, version, position, *row))


def _touch(db: sqlite3.Connection, newest_us: int | None) -> None:
    if newest_us is not None:
        db.execute(_SQL["set_newest"], (newest_us,))


def _newest_us(part: Record | Change) -> int | None:
    newest = newest_of(part)
    return None if newest is None else to_us(newest)
