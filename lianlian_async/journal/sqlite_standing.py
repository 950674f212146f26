"""How a payout stands in an SQLite file: what a save must know before it writes, and what evidence must agree with."""

from __future__ import annotations

import sqlite3
from typing import Final

from . import StaleVersion
from .rows import Row, Stored, read_evidence, settled_by
from .statements import load_statements

__all__ = ["at_version", "settled_agrees"]

_SQL: Final = load_statements("sqlite")


def at_version(
    db: sqlite3.Connection, no_order: str, version: int
) -> tuple[int, Row, bytes, int, bytes | None, int | None, Row]:
    """Id, standing (see `rows.Stored`), chain, key, seal, the id of the replaced one, and bill and day of a payout that
    has this version; raises StaleVersion when it has not."""
    row = db.execute(_SQL["standing"], (no_order,)).fetchone()
    if row is None or row[1] != version:
        found = "not in the journal" if row is None else f"at version {row[1]}"
        raise StaleVersion(f"payout {no_order} is {found}, not at version {version}: load it again")
    payout, *standing, chain, sealed_by, seal, replaces, bill, day = row
    return payout, tuple(standing), chain, sealed_by, seal, replaces, (bill, day)


def settled_agrees(plain: Stored, settled: Row) -> bool:
    """Does the evidence tell of this bill and this day?"""
    # Most news names neither: it is not worth reading twice.
    telling = (row[2:] for row in plain.evidence if '"oid_paybill"' in row[-1] or '"settle_date"' in row[-1])
    try:
        return settled_by(map(read_evidence, telling)) == settled
    except (ValueError, TypeError):
        return True  # A later version has written it: whoever decodes it says so.
