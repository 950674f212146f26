"""What other processes do in the journal's tests. The first argument says which part to play."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from journal_samples import MOMENT, PARTNER, attempt, change, journal_keys, lease, news, record

from lianlian_async.errors import LianLianError
from lianlian_async.journal import StaleVersion, TwinsFound, sqlite_rotate
from lianlian_async.journal.sqlite import SqliteJournal

ROOM = 2 * 1024 * 1024


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


async def stream(path: str, *names: str) -> None:
    """Write for ever, eight callers at once, and say each thing only after it was acknowledged."""
    journal = SqliteJournal(path, keys=journal_keys(*names) if names else None)
    await journal.open()

    async def caller(lane: int) -> None:
        number = lane
        while True:
            no_order = f"n{number:06}"
            await journal.add([record(no_order)])
            say("added", no_order)
            await journal.save(no_order, 0, change(attempts=(attempt(1),)))
            say("attempt", no_order)
            await journal.save(no_order, 1, change(evidence=(news(),)))
            say("evidence", no_order)
            number += 8

    await asyncio.gather(*(caller(lane) for lane in range(8)))


async def rotation(path: str, *names: str) -> None:
    """Seal everything anew, a few at a time, and say how far it is."""
    sqlite_rotate._STRETCH = 5
    say("sealed", sqlite_rotate.rotate(path, journal_keys(*names), observe=lambda done: say("done", done)))


async def race(path: str, no_order: str, rounds: str) -> None:
    """At each line of input, try to write the next attempt from the version that everybody knows."""
    journal = SqliteJournal(path)
    await journal.open()
    say("ready")
    for version in range(int(rounds)):
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await journal.save(no_order, version, change(attempts=(attempt(version + 1),)))
        except StaleVersion:
            say("stale")
        else:
            say("won")
    await journal.close()


async def claim(path: str, owner: str) -> None:
    """Once told to go, claim until nothing is left, and say what was got; payouts stay under their leases."""
    journal = SqliteJournal(path)
    await journal.open()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    while claimed := await journal.claim(PARTNER, lease(owner), 3):
        say(*(one.no_order for one in claimed))
    say("done")
    await journal.close()


async def twins(path: str, owner: str, rounds: str) -> None:
    """At each line of input, add a payout that has a twin unless this one comes first."""
    journal = SqliteJournal(path)
    await journal.open()
    say("ready")
    for number in range(int(rounds)):
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await journal.add([record(f"{owner}{number}", money_order=f"{number}.00")], twins_since=MOMENT)
        except TwinsFound as found:
            say("twins", *found.twins[f"{owner}{number}"])
        else:
            say("written", f"{owner}{number}")
    await journal.close()


async def turns(path: str, count: str) -> None:
    """Once told to go, reserve turns half a second apart, two at a time, and say when they begin."""
    journal = SqliteJournal(path)
    await journal.open()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(int(count)):
        first = await journal.turn(PARTNER, MOMENT, timedelta(seconds=0.5), 2)
        say((first - MOMENT).total_seconds())
    say("done")
    await journal.close()


async def fill(journal: SqliteJournal, prefix: str) -> list[str]:
    """Add payouts until the journal fails; say so, and return what was acknowledged."""
    kept: list[str] = []
    padding = {"money_order": "1.00", "memo": "x" * 20_000}
    while True:
        no_order = f"{prefix}{len(kept):06}"
        try:
            await journal.add([record(no_order, content=padding)])
        except LianLianError as error:
            say("failed", type(error).__name__, error)
            return kept
        kept.append(no_order)


async def check(journal: SqliteJournal, kept: list[str], missing: str) -> None:
    held = [await journal.load(no_order) for no_order in kept]
    say("held", len(held) > 0 and all(held))
    say("missing", await journal.load(missing) is None)
    say("verified", await journal.verify() == len(kept))


async def disk_full(directory: str) -> None:
    """On a file system of two megabytes: fill it, make room, go on."""
    mount("-t", "tmpfs", "-o", f"size={2 * ROOM}", "none", directory)
    ballast = os.open(os.path.join(directory, "ballast"), os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(ballast, 0, ROOM)
    journal = SqliteJournal(Path(directory, "payouts.db"))
    await journal.open()
    kept = await fill(journal, "a")
    await check(journal, kept, f"a{len(kept):06}")
    os.ftruncate(ballast, 0)
    os.close(ballast)
    more = await fill(journal, "b")
    say("recovered", len(more) > 0)
    await journal.close()


async def file_size_limit(directory: str) -> None:
    """Under a limit on the size of files, which the kernel enforces at the write."""
    journal = SqliteJournal(Path(directory, "payouts.db"))
    await journal.open()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
    kept = await fill(journal, "a")
    await check(journal, kept, f"a{len(kept):06}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say("recovered", len(await journal.add([record("b")])) == 1)
    await journal.close()


async def read_only(directory: str) -> None:
    """On a file system that is mounted read-only."""
    mount("--bind", directory, directory)
    mount("-o", "remount,ro,bind", directory)
    try:
        await SqliteJournal(Path(directory, "payouts.db")).open()
    except LianLianError as error:
        say("failed", type(error).__name__, error)


async def hold_sqlite(path: str) -> None:
    """Keep SQLite's own write lock until told to go, as a forgotten database tool would."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    say("held")
    await asyncio.to_thread(sys.stdin.readline)
    db.execute("ROLLBACK")
    db.close()


async def hold_lock(path: str) -> None:
    """Keep the journal's lock until told to go, as a writer that was stopped in the middle would."""
    descriptor = os.open(f"{path}-lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    say("held")
    await asyncio.to_thread(sys.stdin.readline)
    os.close(descriptor)


if __name__ == "__main__":
    part, *arguments = sys.argv[1:]
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(globals()[part](*arguments))
