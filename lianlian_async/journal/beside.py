"""A journal's payouts beside other tables, for questions to all of them at once.

Whoever holds a statement against a journal does not take payouts one by one: its rows go into an SQLite file of their
own, and there three relations show the payouts, as of one moment:

    dated     oid_partner, settle_date, no_order, fen, state, oid_paybill      where the gateway told a day
    numbered  no_order, oid_partner, fen, state, oid_paybill, settle_date      all of them, by number
    undated   oid_partner, no_order                                                    paid, on an unknown day

`dated` is found by (oid_partner, settle_date, no_order), in this order, without a look at the payouts themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from ..errors import JournalUnavailable
from . import Record
from .rows import fen_of, settled_by

__all__ = ["beside_file", "beside_records"]

T = TypeVar("T")
# The file lives as long as one question. What does not fit into the page cache goes to disk, not into memory.
_SETTINGS: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA temp_store = FILE",
    "PRAGMA cache_size = -65536",
    "PRAGMA threads = 2",
)
_OF_A_FILE: Final = (
    """CREATE TEMP VIEW dated AS SELECT oid_partner, settle_date, no_order,
       CAST(replace(money_order, '.', '') AS INTEGER) AS fen, state, oid_paybill
       FROM journal.payouts INDEXED BY payouts_by_day WHERE settle_date IS NOT NULL""",
    """CREATE TEMP VIEW numbered AS SELECT no_order, oid_partner,
       CAST(replace(money_order, '.', '') AS INTEGER) AS fen, state, oid_paybill, settle_date FROM journal.payouts""",
    """CREATE TEMP VIEW undated AS SELECT oid_partner, no_order
       FROM journal.payouts INDEXED BY payouts_undated WHERE settle_date IS NULL AND state IN ('PAID', 'REFUNDED')""",
)
_OF_RECORDS: Final = (
    """CREATE TEMP TABLE numbered (no_order TEXT PRIMARY KEY, oid_partner TEXT, fen INTEGER, state TEXT,
       oid_paybill TEXT, settle_date TEXT) WITHOUT ROWID""",
    "CREATE TEMP TABLE dated (oid_partner TEXT, settle_date TEXT, no_order TEXT, fen INTEGER, state TEXT, "
    "oid_paybill TEXT, PRIMARY KEY (oid_partner, settle_date, no_order)) WITHOUT ROWID",
    "CREATE TEMP TABLE undated (oid_partner TEXT, no_order TEXT PRIMARY KEY) WITHOUT ROWID",
)
_FILL: Final = (
    """INSERT INTO dated SELECT oid_partner, settle_date, no_order, fen, state, oid_paybill FROM numbered
       WHERE settle_date IS NOT NULL""",
    """INSERT INTO undated SELECT oid_partner, no_order FROM numbered
       WHERE settle_date IS NULL AND state IN ('PAID', 'REFUNDED')""",
)


def beside_file(journal: Path, scratch: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` on the SQLite file `scratch` beside the journal file `journal`, which is only read."""

    def attach(db: sqlite3.Connection) -> None:
        db.execute("ATTACH ? AS journal", (f"file:{quote(str(journal))}?mode=ro",))
        db.execute("PRAGMA journal.cache_size = -65536")
        for statement in _OF_A_FILE:
            db.execute(statement)

    return _run(scratch, attach, work)


def beside_records(records: Iterable[Record], scratch: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` on the SQLite file `scratch` beside these payouts."""

    def fill(db: sqlite3.Connection) -> None:
        for statement in _OF_RECORDS:
            db.execute(statement)
        rows = ((r.no_order, r.oid_partner, fen_of(r.content), r.state.value, *settled_by(r.evidence)) for r in records)
        db.executemany("INSERT INTO numbered VALUES (?, ?, ?, ?, ?, ?)", rows)
        for statement in _FILL:
            db.execute(statement)

    return _run(scratch, fill, work)


def _run(scratch: Path, show: Callable[[sqlite3.Connection], None], work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        db = sqlite3.connect(f"file:{quote(str(scratch))}", uri=True, isolation_level=None)
        try:
            for setting in _SETTINGS:
                db.execute(setting)
            show(db)
            return work(db)
        finally:
            db.close()
    except sqlite3.Error as error:
        raise JournalUnavailable(
            f"the journal could not be compared ({error}): see that {scratch.parent} has room, and try again"
        ) from error
