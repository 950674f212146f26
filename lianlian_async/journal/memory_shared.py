"""What processes agree about, for the journal in memory: turns, what applications are told, orphans."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from operator import itemgetter

from attrs import evolve

from . import Lease, Moved, Orphan, Record
from .rows import Row, from_us, in_utc
from .shared import ORPHANS_MAX, Turns, begins_plainly, orphan_row, read_orphan, renewed

__all__ = ["Changes", "Orphans", "Takings"]


class Takings:
    """The next free turn of every merchant."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, oid_partner: str, turns: Turns) -> datetime:
        first, self._next[oid_partner] = turns.after(self._next.get(oid_partner))
        return from_us(first)


class Changes:
    """Every change of state or step, and how far each subscriber has been told of them."""

    def __init__(self) -> None:
        self._all: list[Moved] = []  # the change `seq` is at seq - 1
        self._told: dict[str, int] = {}
        self._leases: dict[str, Lease] = {}
        self._untold: dict[str, dict[int, tuple[int, datetime]]] = {}

    def note(self, old: Record | None, new: Record) -> None:
        """Write down what a save has done to a payout, or how a new one begins, if it is news."""
        same = begins_plainly(new.state, new.step) if old is None else (old.state, old.step) == (new.state, new.step)
        if not same:
            self._all.append(Moved(len(self._all) + 1, new.no_order, new.version, new.state, new.step))

    def moved(self, subscriber: str, lease: Lease, limit: int) -> list[Moved]:
        taken = renewed(self._leases.get(subscriber), lease)
        if taken is None:
            return []
        self._leases[subscriber] = taken
        again = sorted(self._untold.get(subscriber, {}).items())
        found = [evolve(self._all[seq - 1], tries=tries) for seq, (tries, due_at) in again if due_at <= lease.since]
        after = self._told.get(subscriber, 0)
        return [*found, *self._all[after : after + limit]][:limit]

    def told(self, subscriber: str, seq: int, again_at: datetime | None) -> None:
        if not 1 <= seq <= len(self._all):
            raise ValueError(f"there is no change {seq} in the journal")
        untold = self._untold.setdefault(subscriber, {})
        if again_at is None:
            untold.pop(seq, None)
        else:
            tries, _ = untold.get(seq, (0, None))
            untold[seq] = tries + 1, in_utc(again_at)
        self._told[subscriber] = max(seq, self._told.get(subscriber, 0))


class Orphans:
    """Genuine notifications about numbers that are not among the payouts."""

    def __init__(self) -> None:
        self._rows: dict[Row, Row] = {}

    def note(self, orphan: Orphan) -> bool:
        oid_partner, no_order, digest, at_us, said = orphan_row(orphan)
        name = oid_partner, no_order, digest
        if name in self._rows:
            return False
        self._rows[name] = at_us, len(self._rows), said
        return True

    def of(self, oid_partner: str, no_orders: Collection[str] | None) -> list[Orphan]:
        found = [
            (at_us, rank, (partner, no_order, at_us, said))
            for (partner, no_order, _), (at_us, rank, said) in self._rows.items()
            if partner == oid_partner and (no_orders is None or no_order in no_orders)
        ]
        found.sort(key=itemgetter(0, 1), reverse=True)
        return [read_orphan(row) for *_, row in (found if no_orders is not None else found[:ORPHANS_MAX])]
