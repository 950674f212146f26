"""What processes agree about, in an SQLite file: what is due, leases, turns, what applications are told, orphans.

Plain functions over a connection that is inside a transaction: where they write, the writer's, so that of
several processes one comes first.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Final

from ..errors import JournalUnavailable
from ..resolver import State, Step
from . import Lease, Leased, Moved, Orphan
from .rows import Row, from_us, to_us
from .sealing import Tampered
from .shared import ORPHANS_MAX, Turns, read_orphan
from .sqlite_keys import Vault
from .statements import load_statements

__all__ = [
    "due",
    "moved",
    "note_change",
    "note_orphan",
    "orphans",
    "release",
    "reseal_orphan",
    "take_lease",
    "told",
    "turn",
    "verify_orphans",
]

_SQL: Final = load_statements("sqlite")


def due(db: sqlite3.Connection, oid_partner: str, now_us: int, limit: int, sends: bool | None) -> list[tuple[int, str]]:
    """Id and number of what is due and under nobody's lease."""

    def ready(statement: str, most: int) -> list[Row]:
        return db.execute(_SQL[statement], (oid_partner, now_us, most)).fetchall()

    unknown = [] if sends else ready("due_unknown", limit)
    left = limit - len(unknown)
    to_ask, to_send = [] if sends else ready("due_other", left), [] if sends is False else ready("due_send", left)
    others = islice(heapq.merge(to_ask, to_send, key=itemgetter(2, 1)), left)
    return [(payout, no_order) for payout, no_order, _ in (*unknown, *others)]


def take_lease(db: sqlite3.Connection, payout: int, no_order: str, lease: Lease) -> None:
    """Put a payout under a lease, or make it longer; raises Leased when another owner's is in force."""
    values = (payout, lease.owner, to_us(lease.since), to_us(lease.until))
    if not db.execute(_SQL["take_lease"], values).rowcount:
        raise Leased(f"somebody else is at payout {no_order}: load it again later")


def release(db: sqlite3.Connection, no_order: str, owner: str) -> None:
    """End `owner`'s lease on a payout, if it has it."""
    db.execute(_SQL["release"], (no_order, owner))


def turn(db: sqlite3.Connection, oid_partner: str, turns: Turns) -> datetime:
    """Reserve turns of one merchant and return the first."""
    row = db.execute(_SQL["next_turn"], (oid_partner,)).fetchone()
    first, following = turns.after(None if row is None else row[0])
    db.execute(_SQL["set_next_turn"], (oid_partner, following))
    return from_us(first)


def note_change(db: sqlite3.Connection, payout: int, version: int, state: State, step: Step) -> None:
    """Write down that this version brought a payout to another state or step."""
    db.execute(_SQL["add_change"], (payout, version, state.value, step.value))


def moved(db: sqlite3.Connection, subscriber: str, lease: Lease, limit: int) -> list[Moved]:
    """What a subscriber has not been told of, unless somebody else tells it just now."""
    since = to_us(lease.since)
    if not db.execute(_SQL["take_subscriber"], (subscriber, lease.owner, since, to_us(lease.until))).rowcount:
        return []
    again = db.execute(_SQL["untold"], (subscriber, since, limit)).fetchall()
    new = db.execute(_SQL["changes_after"], (subscriber, limit - len(again))).fetchall()
    return [_read_moved(row) for row in (*again, *new)]


def _read_moved(row: Row) -> Moved:
    seq, no_order, version, state, step, tries = row
    try:
        return Moved(seq, no_order, version, State(state), Step(step), tries)
    except ValueError as error:
        raise JournalUnavailable(
            f"change {seq} of payout {no_order} in the journal cannot be read: "
            "a later version wrote it, or the file is damaged; start that version, or restore a backup"
        ) from error


def told(db: sqlite3.Connection, subscriber: str, seq: int, again_us: int | None) -> None:
    """Remember that a subscriber has been told of a change, or is to be told again from a moment on."""
    if db.execute(_SQL["change_exists"], (seq,)).fetchone() is None:
        raise ValueError(f"there is no change {seq} in the journal")
    if again_us is None:
        db.execute(_SQL["forget_untold"], (subscriber, seq))
    else:
        db.execute(_SQL["tell_again"], (subscriber, seq, again_us))
    db.execute(_SQL["advance"], (subscriber, seq))


def note_orphan(db: sqlite3.Connection, vault: Vault, row: Row) -> bool:
    """Write an orphan down (see `shared.orphan_row`); False when it was known already."""
    sealers = vault.in_use(db)
    for sealer in sealers:
        digest = sealer.digest(*row[:3])
        if db.execute(_SQL["orphan_known"], (*row[:2], digest)).fetchone() is not None:
            return False
    db.execute(_SQL["add_orphan"], (*sealers[0].orphan(row), sealers[0].seq))
    return True


def orphans(db: sqlite3.Connection, vault: Vault, oid_partner: str, no_orders: Collection[str] | None) -> list[Orphan]:
    """The orphans of these numbers, or of a whole merchant, the newest first."""
    if no_orders is None:
        rows = db.execute(_SQL["orphans_of_partner"], (oid_partner, ORPHANS_MAX)).fetchall()
    else:
        # One by one: a list in JSON would lose what stands behind a NUL.
        each = (db.execute(_SQL["orphans_of_number"], (oid_partner, no_order)) for no_order in set(no_orders))
        rows = sorted((row for found in each for row in found), key=itemgetter(1, 0), reverse=True)
    return [_read_orphan(db, vault, row[2:]) for row in rows]


def verify_orphans(db: sqlite3.Connection, vault: Vault) -> None:
    """Open every orphan; raises JournalUnavailable for one that was changed."""
    last = 0
    while stretch := db.execute(_SQL["orphans_after"], (last, ORPHANS_MAX)).fetchall():
        for row in stretch:
            _read_orphan(db, vault, row[2:])
        last = stretch[-1][0]


def reseal_orphan(db: sqlite3.Connection, vault: Vault, orphan: int) -> None:
    """Seal an orphan with the newest key, whatever has sealed it before."""
    sealer = vault.in_use(db)[0]
    row = _opened(db, vault, db.execute(_SQL["orphan"], (orphan,)).fetchone())
    _, _, digest, _, said = sealer.orphan(row)
    db.execute(_SQL["begin_resealing"], ("orphan", orphan))
    db.execute(_SQL["reseal_orphan"], (digest, said, sealer.seq, orphan))
    db.execute(_SQL["end_resealing"], ("orphan", orphan))


def _read_orphan(db: sqlite3.Connection, vault: Vault, row: Row) -> Orphan:
    oid_partner, no_order, _, at_us, said = _opened(db, vault, row)
    return read_orphan((oid_partner, no_order, at_us, said))


def _opened(db: sqlite3.Connection, vault: Vault, row: Row) -> Row:
    """The row of an orphan as `shared.orphan_row` gives it."""
    try:
        return vault.sealer(db, row[-1]).open_orphan(row[:-1])
    except Tampered as error:
        raise JournalUnavailable(
            f"a notification about {row[1]} in the journal was changed behind the journal's back: "
            "find out by whom, and restore a backup"
        ) from error
