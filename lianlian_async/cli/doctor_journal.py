"""The steps of `doctor` that look at the journal. One that is not there is not made."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from ..clock import Clock
from ..config import Settings
from ..errors import ConfigError, JournalUnavailable
from ..journal import Journal
from ..journal.sqlite_file import filesystem_of, is_network
from ..resolver import State, Step, decide, view_of
from .findings import Finding, ok, skipped, warning, wrong
from .trail import moment

__all__ = ["look_at_journal"]

_PLACE: Final = "journal"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_MEMORY: Final = ("tmpfs", "ramfs")
_CLOCK_BEHIND: Final = timedelta(seconds=60)
_OVERDUE: Final = timedelta(minutes=10)
_PAGE: Final = 500
_OPEN: Final = [state for state in State if state is not State.PAID]


async def look_at_journal(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """One line for each step; those behind a journal that cannot be opened are not looked at."""
    if not settings.journal:
        yield skipped(_PLACE, "none is configured")
        return
    try:
        journal = settings.configured_journal()
    except ConfigError as error:
        yield wrong(_PLACE, str(error))
        return
    path = getattr(journal, "path", None)
    if path is None:
        yield warning(
            _PLACE, "in memory: it forgets everything", "set LIANLIAN_JOURNAL to sqlite:///... for real money"
        )
        return
    try:
        findings, there = list(_place(path)), path.exists()
    except OSError as error:
        findings, there = [wrong(_PLACE, f"{path} cannot be looked at ({error.strerror})", unusable=True)], False
    for finding in findings:
        yield finding
    if there:
        async for finding in _opened(journal, settings, clock):
            yield finding


def _place(path: Path) -> Iterator[Finding]:
    """Where it lies, on what, and who may read it."""
    real = Path(os.path.realpath(path))
    kind = _filesystem(real)
    if kind is not None and is_network(kind):
        yield wrong(_PLACE, f"{path} lies on {kind}, which keeps no locks and loses data", "put it on a local disk")
    elif kind in _MEMORY:
        yield warning(_PLACE, f"{path} lies on {kind}", "it is gone when this machine stops: put it on a disk")
    elif real.exists():
        yield ok(_PLACE, f"{path} on {kind or 'a file system that is not named'}")
    if not real.exists():
        if not real.parent.is_dir():
            yield wrong(_PLACE, f"there is no directory {real.parent}", "create it, or give another path")
        else:
            yield skipped(_PLACE, f"there is none at {path} yet: `pay` or `worker` makes it")
        return
    mode = real.stat().st_mode & 0o777
    if mode & 0o077:
        yield wrong("journal mode", f"{mode:04o}: others can read or write it", f"run: chmod 600 {path}")
    else:
        yield ok("journal mode", f"{mode:04o}")


def _filesystem(path: Path) -> str | None:
    try:
        return filesystem_of(str(path), _MOUNTS.read_text("utf-8", "surrogateescape"))
    except OSError:
        return None


async def _opened(journal: Journal, settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    try:
        await journal.open()
    except ConfigError as error:
        yield wrong("durability", str(error))
        return
    except JournalUnavailable as error:
        yield wrong(_PLACE, str(error), unusable=True)
        return
    try:
        # Opening has set both, and read back that they hold; a journal that cannot keep them does not open.
        yield ok("durability", "write-ahead log, synchronous FULL")
        yield await _chains(journal)
        yield await _journal_clock(journal, clock)
        if settings.oid_partner:
            async for finding in _contents(journal, settings.oid_partner, clock):
                yield finding
        else:
            yield skipped("pause", "oid_partner is missing")
    except JournalUnavailable as error:
        yield wrong(_PLACE, str(error), unusable=True)
    finally:
        await journal.close()


async def _chains(journal: Journal) -> Finding:
    try:
        count = await journal.verify()
    except JournalUnavailable as error:
        return wrong("chains", str(error), unusable=True)
    return ok("chains", f"{count} payouts, and none was tampered with")


async def _journal_clock(journal: Journal, clock: Clock) -> Finding:
    newest, now = await journal.newest(), clock.now()
    if newest is not None and newest - now > _CLOCK_BEHIND:
        told = f"the journal's newest entry ({moment(newest)}) lies ahead of this machine's clock ({moment(now)})"
        return wrong("journal clock", told, "set the clock right; until then nothing is sent")
    return ok("journal clock", "nothing in it lies ahead of this machine's clock")


async def _contents(journal: Journal, partner: str, clock: Clock) -> AsyncIterator[Finding]:
    pause = await journal.tripped(partner)
    if pause is None:
        yield ok("pause", "new money may leave")
    else:
        since = f"new money is paused since {moment(pause.at)} by {pause.by} ({pause.reason})"
        yield warning("pause", since, "mend the cause, then `unpause`")
    waiting = await _waiting(journal, partner, clock, paused=pause is not None)
    yield _people(waiting)
    late = await journal.due(partner, clock.now() - _OVERDUE, 1)
    if late:
        yield warning("work", f"{late[0]} has been due for over ten minutes", "start a `worker`, or run `pay` again")
    else:
        yield ok("work", "nothing is overdue")
    yield await _orphans(journal, partner)


async def _waiting(journal: Journal, partner: str, clock: Clock, *, paused: bool) -> Counter[Step]:
    """How many payouts wait for what."""
    waiting: Counter[Step] = Counter()
    after = None
    while records := await journal.page(after, _PAGE, _OPEN, oid_partner=partner):
        after = records[-1].no_order
        for record in records:
            view = view_of(record.attempts, record.evidence)
            waiting[decide(view, record.created_at, clock.now(), paused=paused).step] += 1
    return waiting


def _people(waiting: Counter[Step]) -> Finding:
    decisions, fixes = waiting[Step.DECIDE], waiting[Step.FIX]
    if not decisions and not fixes:
        return ok("people", "no payout waits for a person or a fix")
    told = f"{decisions} payouts wait for a person's decision, {fixes} for a fix"
    return warning("people", told, "`due` lists them, `review list` those that LianLian holds")


async def _orphans(journal: Journal, partner: str) -> Finding:
    orphans = await journal.orphans(partner)
    if not orphans:
        return ok("orphans", "no notification or statement speaks of a payout that is not in the journal")
    return warning(
        "orphans", f"{len(orphans)} notifications and listed rows speak of payouts that are not in it, such as "
        f"{orphans[0].no_order}", "is it the right one, or was a backup restored? Do not pay again what it misses",
    )  # fmt: skip
