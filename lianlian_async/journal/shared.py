"""What processes agree about on one journal, as rules without a store: leases, turns, twins, orphans."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from attrs import frozen

from ..resolver import State, Step
from . import Lease, Orphan, Record, StaleVersion, may_move
from .rows import Row, check_text, from_us, last_of, payee_of, to_us

__all__ = [
    "ORPHANS_MAX",
    "Turns",
    "begins_plainly",
    "check_limit",
    "counts",
    "digest_of",
    "in_force",
    "orphan_row",
    "read_orphan",
    "renewed",
    "stale_for",
    "twins_among",
]

ORPHANS_MAX: Final = 1_000
_TURN_AHEAD_MAX_US: Final = 3_600_000_000


def check_limit(limit: int) -> None:
    """Raises ValueError for a limit that SQL would take for none."""
    if limit < 0:
        raise ValueError("a limit is not below zero")


def in_force(lease: Lease | None, moment: datetime) -> bool:
    """Whether somebody has this lease at that moment."""
    return lease is not None and moment < lease.until


def renewed(present: Lease | None, wanted: Lease) -> Lease | None:
    """The lease after `wanted` was asked for, or None when another owner's is in force.

    The statements `take_lease` and `take_subscriber` of the SQL journals say the same.
    """
    if present is None or not in_force(present, wanted.since):
        return wanted
    if present.owner != wanted.owner:
        return None
    return Lease(wanted.owner, wanted.since, max(present.until, wanted.until))


@frozen
class Turns:
    """So many turns to query, asked for at a moment."""

    now_us: int
    gap_us: int
    count: int

    @classmethod
    def wanted(cls, now: datetime, gap: timedelta, count: int) -> Turns:
        """Raises ValueError for turns that would not be one after the other."""
        gap_us = gap // timedelta(microseconds=1)
        if gap_us < 1 or count < 1:
            raise ValueError("turns are at least one, and at least a microsecond apart")
        return cls(to_us(now), gap_us, count)

    def after(self, next_us: int | None) -> tuple[int, int]:
        """The first of these turns, and the next free one, when `next_us` was the next free one before."""
        first = self.now_us if next_us is None else max(self.now_us, next_us)
        if first - self.now_us > _TURN_AHEAD_MAX_US:
            first = self.now_us
        following = first + self.gap_us * self.count
        from_us(following)  # A moment beyond the calendar could not be told to anybody.
        return first, following


def begins_plainly(state: str, step: str) -> bool:
    """Whether a new payout stands as every new payout does: then its beginning is no news to an application."""
    return state == State.UNSENT and step == Step.SUBMIT


def counts(record: Record, since_us: int) -> bool:
    """Whether a payout is looked at when another one of its payee is to be paid, twins or siblings.

    It counts for as long as it may still move money, and else if it was asked for or last sent since that moment. The
    statements `twins_lately` and `twins_that_may_move` of the SQL journals together say the same.
    """
    return may_move(record.state, record.step) or last_of(record) >= since_us


def stale_for(no_order: str, revived: Sequence[str]) -> StaleVersion:
    """What is raised when a payout would be sent whose replaced numbers are not proven dead any more (rule R4)."""
    return StaleVersion(
        f"payout {no_order} stands in the place of {', '.join(revived)}, which may have been paid: load it again"
    )


def twins_among(
    records: Iterable[Record], since_us: int, held: Callable[[bytes], Iterable[str]], meant: Collection[str]
) -> dict[str, Sequence[str]]:
    """For each of these new records that has twins, their numbers.

    `held` gives the numbers of the twins that a payout of one payee has in the journal, the newest first, those in
    `meant` left out.
    """
    found: dict[str, Sequence[str]] = {}
    earlier: dict[bytes, list[str]] = {}
    for record in records:
        payee = payee_of(record.oid_partner, record.content)
        twins = [*held(payee), *earlier.get(payee, ())]
        if twins:
            found[record.no_order] = tuple(twins)
        if record.no_order not in meant and counts(record, since_us) and not record.dead:
            earlier.setdefault(payee, []).append(record.no_order)
    return found


def orphan_row(orphan: Orphan) -> Row:
    """oid_partner, no_order, digest, at_us, said; raises ValueError for what a journal cannot hold."""
    check_text(orphan.oid_partner, orphan.no_order)
    said = json.dumps(dict(orphan.said), sort_keys=True)
    return orphan.oid_partner, orphan.no_order, digest_of(said), to_us(orphan.at), said


def digest_of(said: str) -> str:
    """What tells one orphan of a number from another."""
    return sha256(said.encode("ascii")).hexdigest()


def read_orphan(row: Row) -> Orphan:
    """An orphan from oid_partner, no_order, at_us, said."""
    oid_partner, no_order, at_us, said = row
    return Orphan(oid_partner, no_order, from_us(at_us), MappingProxyType(json.loads(said)))
