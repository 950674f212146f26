"""Real processes on one file: races, kill -9, a full disk, somebody else's lock."""

from __future__ import annotations

import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import IO

import pytest
from journal_children import Children
from journal_samples import MOMENT, PARTNER, attempt, change, lease, record

from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal.sqlite import SqliteJournal


def _output(child: subprocess.Popen[str]) -> IO[str]:
    assert child.stdout is not None
    return child.stdout


def _tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


async def test_processes_race_for_the_next_attempt(path: Path, children: Children) -> None:
    """They open a new file together, and of each version exactly one makes the next."""
    rounds = 15
    # All of them make the file and its schema at the same time.
    racing = [children.start("race", path, "n1", rounds) for _ in range(4)]
    for child in racing:
        assert _output(child).readline() == "ready\n"
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record("n1")])
    for version in range(rounds):
        for child in racing:
            _tell(child)
        assert Counter(_output(child).readline() for child in racing) == {"won\n": 1, "stale\n": 3}
        held = await journal.load("n1")
        assert held is not None
        assert [a.number for a in held.attempts] == list(range(1, version + 2))
    for child in racing:
        assert child.wait(60) == 0
    await journal.close()


def _ready(*started: subprocess.Popen[str]) -> None:
    for child in started:
        assert _output(child).readline() == "ready\n"


def _said(child: subprocess.Popen[str]) -> list[str]:
    """The words it says from here on, `done` being the last."""
    words = _output(child).read().split()
    assert child.wait(60) == 0
    assert words.pop() == "done"
    return words


async def test_processes_claim_what_is_due(path: Path, children: Children) -> None:
    """Each payout is got by one of them, whose lease it is under."""
    numbers = [f"n{number:03}" for number in range(100)]
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record(no_order, due_at=MOMENT) for no_order in numbers])
    claiming = {owner: children.start("claim", path, owner) for owner in "abcd"}
    _ready(*claiming.values())
    for child in claiming.values():
        _tell(child)
    got = {owner: _said(child) for owner, child in claiming.items()}
    assert sorted(no_order for numbers_got in got.values() for no_order in numbers_got) == numbers
    owners = {no_order: owner for owner, numbers_got in got.items() for no_order in numbers_got}
    held = await journal.page(None, 100)
    assert {one.no_order: one.lease for one in held} == {number: lease(owners[number]) for number in numbers}
    assert len(await journal.claim(PARTNER, lease("e", 60, 61), 200)) == 100
    await journal.close()


async def test_processes_add_twins(path: Path, children: Children) -> None:
    """Of each pair exactly one is written, and the other is told of it."""
    rounds = 15
    adding = [children.start("twins", path, owner, rounds) for owner in "ab"]
    _ready(*adding)
    for number in range(rounds):
        for child in adding:
            _tell(child)
        said = dict(_output(child).readline().split() for child in adding)
        assert said["written"] == said["twins"]
        assert said["written"] in (f"a{number}", f"b{number}")
    assert [child.wait(60) for child in adding] == [0, 0]
    journal = SqliteJournal(path)
    await journal.open()
    assert await journal.verify() == rounds
    await journal.close()


def test_processes_reserve_turns(path: Path, children: Children) -> None:
    """No two get the same, and none is left out."""
    count = 20
    asking = [children.start("turns", path, count) for _ in range(4)]
    _ready(*asking)
    for child in asking:
        _tell(child)
    begun = sorted(float(word) for child in asking for word in _said(child))
    assert begun == [float(number) for number in range(4 * count)]


async def test_a_process_dies_with_its_leases(path: Path, children: Children) -> None:
    """They stay in force until they end, and then somebody else goes on."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record(f"n{number}", due_at=MOMENT) for number in range(2)])
    child = children.start("claim", path, "a")
    _ready(child)
    _tell(child)
    assert _output(child).readline() == "n0 n1\n"
    child.kill()
    child.wait(60)
    assert await journal.claim(PARTNER, lease("b", 59, 99), 10) == []
    assert [one.no_order for one in await journal.claim(PARTNER, lease("b", 60, 99), 10)] == ["n0", "n1"]
    await journal.close()


@pytest.mark.parametrize("after", [1, 2, 3, 10, 50, 200, 500, 1000])
async def test_a_process_is_killed_while_it_writes(path: Path, children: Children, after: int) -> None:
    """Everything it said was written is there, whole and in order, and the file is sound."""
    child = children.start("stream", path)
    said = [_output(child).readline().split() for _ in range(after)]
    child.kill()
    said += [line.split() for line in _output(child).read().splitlines() if len(line.split()) == 2]
    child.wait(60)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    journal = SqliteJournal(path)
    await journal.open()
    for what, no_order in said:
        held = await journal.load(no_order)
        assert held is not None
        assert held.version >= ("added", "attempt", "evidence").index(what)
        assert len(held.attempts) == (held.version >= 1)
        assert len(held.evidence) == (held.version >= 2)
    assert len(said) >= after
    held = await journal.load("n000000")
    assert held is not None
    assert await journal.save("n000000", held.version, change(attempts=(attempt(9),))) == held.version + 1
    await journal.close()


def _check_full(said: list[str], reason: str) -> None:
    assert said[0].startswith("failed JournalUnavailable the journal ")
    assert reason in said[0]
    assert said[1:4] == ["held True", "missing True", "verified True"]
    assert said[-1] == "recovered True"


def test_a_disk_is_full(tmp_path: Path, children: Children, private_mounts: tuple[str, ...]) -> None:
    """JournalUnavailable says so; what was acknowledged is there, what failed is not; with room it goes on."""
    child = children.start("disk_full", tmp_path, prefix=private_mounts)
    said = child.communicate(timeout=100)[0].splitlines()
    _check_full(said, "its disk is full: make room, then try again")


def test_a_file_may_not_grow(tmp_path: Path, children: Children) -> None:
    """The same where the kernel refuses the write for another reason."""
    child = children.start("file_size_limit", tmp_path)
    said = child.communicate(timeout=100)[0].splitlines()
    _check_full(said, "its disk cannot be read or written (failing, full, or a limit on file sizes)")


@pytest.mark.parametrize("holder", ["hold_sqlite", "hold_lock"])
async def test_another_process_keeps_the_lock(sqlite: SqliteJournal, children: Children, holder: str) -> None:
    """JournalUnavailable after the time-out; reading goes on; when the lock is free, writing does too."""
    await sqlite.add([record("n1")])
    child = children.start(holder, sqlite.path)
    assert _output(child).readline() == "held\n"
    with pytest.raises(JournalUnavailable, match=r"locked for more than 0.2 s: find it"):
        await sqlite.save("n1", 0, change(attempts=(attempt(1),)))
    assert await sqlite.load("n1") == record("n1")
    _tell(child)
    assert child.wait(60) == 0
    assert await sqlite.save("n1", 0, change(attempts=(attempt(1),))) == 1


async def test_the_lock_is_kept_at_the_start(path: Path, children: Children) -> None:
    """JournalUnavailable, for the journal's own lock."""
    journal = SqliteJournal(path, busy_timeout_s=0.2)
    await journal.open()
    await journal.close()
    child = children.start("hold_lock", path)
    assert _output(child).readline() == "held\n"
    with pytest.raises(JournalUnavailable, match="another process has kept"):
        await journal.open()
    _tell(child)
    assert child.wait(60) == 0
    await journal.open()
    await journal.close()


async def test_two_journals_of_one_process_on_one_file(sqlite: SqliteJournal) -> None:
    """They see each other's work, and closing one takes no lock away from the other."""
    other = SqliteJournal(sqlite.path, busy_timeout_s=0.2)
    await other.open()
    await other.add([record("n1")])
    assert await sqlite.load("n1") == record("n1")
    await other.close()
    assert await sqlite.save("n1", 0, change(attempts=(attempt(1),))) == 1
    # SQLite's own lock on the file still stands: nobody can take it exclusively.
    foreign = sqlite3.connect(sqlite.path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        foreign.execute("PRAGMA journal_mode = DELETE")
    foreign.close()
