"""Twins and replaced numbers in an SQLite journal: what a transaction must see before it writes a payment down.

Plain functions over a connection that is inside a transaction: where they guard a write, the writer's, so that of two
who would pay the same at the same moment one comes first, and the other is told.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from . import Record, TwinsFound, proven_dead
from .rows import Row, Stored, payee_as_written, payee_of
from .sealing import Bare, Tampered
from .shared import twins_among
from .sqlite_keys import Vault
from .statements import load_statements

__all__ = ["check_amended", "check_twins", "hash_payees", "of_payee", "revived"]

_SQL: Final = load_statements("sqlite")
_STRETCH: Final = 500
_PARTNER: Final = 2  # of a row of the view `records`
_PAYEE: Final = 14
_SEALED_BY: Final = 19

Chained = Callable[[sqlite3.Connection, Sequence[Row]], Iterable[tuple[Row, Stored, bool]]]


def of_payee(db: sqlite3.Connection, sealers: Sequence[Bare], payee: bytes, since_us: int) -> list[Row]:
    """Created_us, id, no_order, state and step of the payouts of one payee that count (see `shared.counts`), the newest
    first."""
    rows: set[Row] = set()
    for sealer in sealers:
        found = sealer.payee(payee)
        rows.update(db.execute(_SQL["twins_lately"], (found, since_us)))
        rows.update(db.execute(_SQL["twins_that_may_move"], (found,)))
    return sorted(rows, reverse=True)


def check_twins(
    db: sqlite3.Connection, sealers: Sequence[Bare], new: Sequence[Record], since_us: int | None, but: Collection[str]
) -> None:
    """Raise TwinsFound when one of `new` has twins, those in `but` left out; without `since_us` nobody asks."""
    if since_us is None:
        return

    def held(payee: bytes) -> list[str]:
        return _twins(db, sealers, payee, since_us, but)

    if twins := twins_among(new, since_us, held, but):
        raise TwinsFound(twins)


def check_amended(
    db: sqlite3.Connection,
    sealers: Sequence[Bare],
    no_order: str,
    payee: bytes,
    since_us: int | None,
    but: Collection[str],
) -> None:
    """As `check_twins`, for one payout that has this payee from now on."""
    if since_us is None:
        return
    if twins := _twins(db, sealers, payee, since_us, (no_order, *but)):
        raise TwinsFound({no_order: tuple(twins)})


def _twins(
    db: sqlite3.Connection, sealers: Sequence[Bare], payee: bytes, since_us: int, but: Collection[str]
) -> list[str]:
    rows = of_payee(db, sealers, payee, since_us)
    return [name for _, _, name, state, step in rows if name not in but and not proven_dead(state, step)]


def revived(db: sqlite3.Connection, no_order: str) -> list[str]:
    """The numbers in whose place a payout came and that are not proven dead (any more), the latest first."""
    rows = db.execute(_SQL["predecessors"], (no_order,))
    return [earlier for earlier, state, step in rows if not proven_dead(state, step)]


def hash_payees(db: sqlite3.Connection, vault: Vault, chained: Chained) -> None:
    """Hash the payees that an earlier schema hashed with the dashes of their accounts; once in a journal's life.

    `chained` gives payouts as they are stored, each with whether it agrees with its chain. One that was changed behind
    the journal's back stays as it is: whoever reads it finds that.
    """
    if not db.execute(_SQL["payees_to_hash"]).fetchone()[0]:
        return
    last = 0
    while stretch := db.execute(_SQL["payouts_after"], (last, _STRETCH)).fetchall():
        for row, stored, sound in chained(db, stretch):
            if sound and (payee := _hashed_anew(row, stored, vault.sealer(db, row[_SEALED_BY]))) is not None:
                db.execute(_SQL["begin_resealing"], ("payout", row[0]))
                db.execute(_SQL["set_payee"], (payee, row[0]))
                db.execute(_SQL["end_resealing"], ("payout", row[0]))
        last = stretch[-1][0]
    db.execute(_SQL["payees_hashed"])


def _hashed_anew(row: Row, stored: Stored, sealer: Bare) -> bytes | None:
    try:
        content = json.loads(sealer.opened(stored).content)
    except Tampered:
        return None
    before, after = payee_as_written(row[_PARTNER], content), payee_of(row[_PARTNER], content)
    return sealer.payee(after) if before != after and row[_PAYEE] == sealer.payee(before) else None
