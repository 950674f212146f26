"""Statement rows beside a journal's payouts, in an SQLite file that lives as long as one run: set against set.

    chunks ─► tables `paid`, `refunds` ─► index by (day, number) ─┬─► what matches needs no look at all
                                                journal `dated` ──┴─► leftovers, missing, doubled, totals

Both sides are read in the order of day and number, so a month of five million rows is two walks along two indexes. Only
what does not match comes back as rows. Everything here runs in a thread of its own and needs no more memory than a page
cache and one block of a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final

from attrs import field, frozen

from .reader import Chunk
from .statement import PAID, REFUNDED

__all__ = ["Findings", "ListedRow", "Workbench"]

_TABLES: Final = (
    "CREATE TABLE paid (file INTEGER, line INTEGER, day TEXT, number TEXT, bill TEXT, fen INTEGER, fee INTEGER)",
    "CREATE TABLE refunds (file INTEGER, line INTEGER, day TEXT, number TEXT, payout TEXT, fen INTEGER, fee INTEGER)",
    "CREATE TABLE covered (day TEXT PRIMARY KEY) WITHOUT ROWID",
)
# In the order of day and number, with everything that is compared and summed: the table itself is not looked at.
_INDEXES: Final = (
    "CREATE INDEX paid_by_day ON paid (day, number, fen, bill, fee, file)",
    "CREATE INDEX refunds_by_payout ON refunds (payout, number, day, fen, fee, file)",
)
# One row in a day's file and in the month's is one row: of files that overlap, the first counts.
_OVERLAPS: Final = (
    """DELETE FROM paid WHERE rowid IN (
         SELECT later.rowid
         FROM (SELECT day, number FROM paid INDEXED BY paid_by_day
               GROUP BY day, number HAVING min(file) <> max(file)) AS g
         JOIN paid AS later ON later.day = g.day AND later.number = g.number
         WHERE EXISTS (
           SELECT 1 FROM paid AS first
           WHERE first.day = later.day AND first.number = later.number AND first.fen = later.fen
             AND first.bill = later.bill AND first.fee = later.fee AND first.file < later.file))""",
    """DELETE FROM refunds WHERE rowid IN (
         SELECT later.rowid FROM refunds AS later
         WHERE EXISTS (
           SELECT 1 FROM refunds AS first
           WHERE first.payout = later.payout AND first.number = later.number AND first.day = later.day
             AND first.fen = later.fen AND first.fee = later.fee AND first.file < later.file))""",
)
_LEFTOVERS: Final = """
    SELECT l.file, l.line, l.day, l.number, l.bill, l.fen FROM paid AS l INDEXED BY paid_by_day
    WHERE NOT EXISTS (
        SELECT 1 FROM dated AS o WHERE o.oid_partner = ?1 AND o.settle_date = l.day AND o.no_order = l.number
          AND o.fen = l.fen AND (o.oid_paybill IS NULL OR o.oid_paybill = l.bill)
          AND o.state IN ('PAID', 'REFUNDED'))
      AND NOT EXISTS (
        SELECT 1 FROM numbered AS n WHERE n.no_order = l.number AND n.oid_partner = ?1 AND n.settle_date IS NULL
          AND n.fen = l.fen AND (n.oid_paybill IS NULL OR n.oid_paybill = l.bill)
          AND n.state IN ('PAID', 'REFUNDED'))
    ORDER BY l.day, l.number"""
_REFUND_LEFTOVERS: Final = """
    SELECT l.file, l.line, l.day, l.payout, NULL, -l.fen, l.number FROM refunds AS l
    WHERE NOT EXISTS (
        SELECT 1 FROM numbered AS n WHERE n.no_order = l.payout AND n.oid_partner = ?1
          AND n.fen = -l.fen AND n.state = 'REFUNDED')
    ORDER BY l.day, l.payout"""
_MISSING: Final = """
    SELECT o.no_order, o.settle_date FROM covered AS c CROSS JOIN dated AS o
    WHERE o.oid_partner = ?1 AND o.settle_date = c.day AND o.state IN ('PAID', 'REFUNDED')
      AND NOT EXISTS (SELECT 1 FROM paid AS l WHERE l.day = o.settle_date AND l.number = o.no_order)
    ORDER BY o.settle_date, o.no_order"""
_UNDATED: Final = """
    SELECT u.no_order FROM undated AS u
    WHERE u.oid_partner = ?1 AND NOT EXISTS (
        SELECT 1 FROM covered AS c CROSS JOIN paid AS l WHERE l.day = c.day AND l.number = u.no_order)
    ORDER BY u.no_order"""
_TWICE: Final = """
    SELECT l.number, l.file, l.line, l.day, l.bill, l.fen
    FROM (SELECT day, number FROM paid INDEXED BY paid_by_day GROUP BY day, number HAVING count(*) > 1) AS g
    CROSS JOIN paid AS l WHERE l.day = g.day AND l.number = g.number ORDER BY l.number, l.file, l.line"""
_ELSEWHERE: Final = """
    SELECT l.file, l.line, l.day, l.number, l.bill, l.fen
    FROM covered AS c CROSS JOIN paid AS l WHERE l.day = c.day AND l.number = ?1 ORDER BY l.file, l.line"""
_REFUNDED_TWICE: Final = """
    SELECT l.payout, l.file, l.line, l.day, l.number, -l.fen
    FROM (SELECT payout FROM refunds GROUP BY payout HAVING count(*) > 1) AS g
    CROSS JOIN refunds AS l WHERE l.payout = g.payout ORDER BY l.payout, l.file, l.line"""
_PAID_TOTALS: Final = """
    SELECT day, count(*), sum(fen), sum(fee) FROM paid INDEXED BY paid_by_day GROUP BY day"""
_REFUND_TOTALS: Final = "SELECT day, count(*), -sum(fen), sum(fee) FROM refunds GROUP BY day"
_OUR_TOTALS: Final = """
    SELECT o.settle_date, o.state, count(*), sum(o.fen)
    FROM covered AS c CROSS JOIN dated AS o WHERE o.oid_partner = ?1 AND o.settle_date = c.day AND o.state <> 'PAID'
    GROUP BY o.settle_date, o.state"""
# By themselves, because they are nearly all: in the order of the index nothing is sorted.
_OUR_PAID_TOTALS: Final = """
    SELECT c.day, 'PAID', count(*), sum(o.fen)
    FROM covered AS c CROSS JOIN dated AS o WHERE o.oid_partner = ?1 AND o.settle_date = c.day AND o.state = 'PAID'
    GROUP BY c.day"""


@frozen
class ListedRow:
    """A row that needs a look: `number` is the payout's, `fen` above zero; a refund has no bill, but its own number."""

    file: int
    line: int
    day: str
    number: str
    bill: str | None
    fen: int
    refund: str = ""


@frozen(kw_only=True)
class Findings:
    """What two sets have not in common, and their sums by day, in fen."""

    leftovers: Sequence[ListedRow]
    missing: Sequence[tuple[str, str]]
    undated: Sequence[str]
    twice: Mapping[str, Sequence[ListedRow]]
    paid: Mapping[str, tuple[int, int, int]]
    refunds: Mapping[str, tuple[int, int, int]]
    ours: Mapping[str, Mapping[str, tuple[int, int]]] = field(repr=False)


class Workbench:
    """The tables of one run, on a connection that sees a journal's payouts (`Journal.beside`)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        for table in _TABLES:
            db.execute(table)
        db.execute("BEGIN")

    def put(self, file: int, chunk: Chunk) -> None:
        """Take rows in; `file` is a number for the file they are from."""
        rows = zip(
            repeat(file), chunk.lines, chunk.days, chunk.numbers, chunk.bills, chunk.fen, chunk.fees, strict=False
        )
        if REFUNDED in chunk.statuses:
            every = list(zip(chunk.statuses, rows, strict=False))
            self._insert("refunds", (row for status, row in every if status == REFUNDED))
            rows = (row for status, row in every if status == PAID)  # type: ignore[assignment]
        self._insert("paid", rows)

    def _insert(self, table: str, rows: Iterator[tuple[object, ...]]) -> None:
        self._db.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - one of two

    def compare(self, oid_partner: str, covered: Sequence[str], *, overlapping: bool) -> Findings:
        """Hold all rows against the journal. `covered` are the days that the files account for."""
        db = self._db
        db.executemany("INSERT INTO covered VALUES (?)", ((day,) for day in covered))
        for index in _INDEXES:
            db.execute(index)
        for overlap in _OVERLAPS if overlapping else ():
            db.execute(overlap)
        leftovers = [ListedRow(*row) for row in db.execute(_LEFTOVERS, (oid_partner,))]
        back = [ListedRow(*row) for row in db.execute(_REFUND_LEFTOVERS, (oid_partner,))]
        found = Findings(
            leftovers=[*leftovers, *back],
            missing=db.execute(_MISSING, (oid_partner,)).fetchall(),
            undated=[number for (number,) in db.execute(_UNDATED, (oid_partner,))],
            twice=self._twice(leftovers),
            paid={day: sums for day, *sums in db.execute(_PAID_TOTALS)},
            refunds={day: sums for day, *sums in db.execute(_REFUND_TOTALS)},
            ours=self._ours(oid_partner),
        )
        db.execute("COMMIT")
        return found

    def _twice(self, leftovers: Sequence[ListedRow]) -> dict[str, list[ListedRow]]:
        """Numbers with more than one row: on one day, or on two, of which the journal agrees with one at most."""
        twice: dict[str, list[ListedRow]] = {}
        for number, file, line, day, bill, fen in self._db.execute(_TWICE):
            twice.setdefault(number, []).append(ListedRow(file, line, day, number, bill, fen))
        for row in leftovers:
            every = [ListedRow(*other) for other in self._db.execute(_ELSEWHERE, (row.number,))]
            if len(every) > 1:
                twice[row.number] = every
        for number, file, line, day, refund, fen in self._db.execute(_REFUNDED_TWICE):
            twice.setdefault(number, []).append(ListedRow(file, line, day, number, None, fen, refund))
        return twice

    def _ours(self, oid_partner: str) -> dict[str, dict[str, tuple[int, int]]]:
        ours: dict[str, dict[str, tuple[int, int]]] = {}
        for query in (_OUR_PAID_TOTALS, _OUR_TOTALS):
            for day, state, count, fen in self._db.execute(query, (oid_partner,)):
                ours.setdefault(day, {})[state] = (count, fen)
        return ours
