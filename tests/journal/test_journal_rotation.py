"""Keys that change: everything sealed anew beside other processes, killed in the middle, and done again."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

import pytest
from attrs import evolve
from journal_children import Children
from journal_samples import MOMENT, PARTNER, amendment, attempt, change, journal_keys, news, record

from lianlian_async.crypto import JournalKeys
from lianlian_async.errors import ConfigError, JournalUnavailable
from lianlian_async.journal import Orphan, Record, TwinsFound, sqlite_rotate
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_keys import Vault
from lianlian_async.journal.sqlite_rotate import rotate, verify_chains
from lianlian_async.resolver import State

NAME = "欧阳锋墨 trace me"
A, B, BOTH = journal_keys("a"), journal_keys("b"), journal_keys("b", "a")
COUNT = 30


class Killed(BaseException):
    """As Ctrl-C would end it."""


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rotate, "_STRETCH", 4)
    monkeypatch.setattr(sqlite_rotate, "_PAUSE_S", 0.0)


async def filled(path: Path, keys: JournalKeys | None = A) -> list[Record]:
    """A journal with payouts and orphans that name somebody; returns its payouts."""
    journal = SqliteJournal(path, keys=keys)
    await journal.open()
    for number in range(COUNT):
        no_order = f"n{number:02}"
        content = {"acct_name": NAME, "card_no": "62", "money_order": f"{number + 1}.00", "no_order": no_order}
        await journal.add([record(no_order, content=content)])
        await journal.save(no_order, 0, change(attempts=(attempt(1),), evidence=(news(detail=NAME),)))
        await journal.note_orphan(Orphan(PARTNER, f"x{number}", MOMENT, {"acct_name": NAME}))
    amended = evolve(amendment("n01", by=NAME), content={"card_no": "63", "money_order": "5.00", "no_order": "n01"})
    await journal.save("n01", 1, evolve(change(), amendment=amended))
    held = await journal.page(None, 100)
    await journal.close()
    return held


async def contents(path: Path, keys: JournalKeys | None) -> list[Record]:
    """What a journal holds, having checked all of it."""
    journal = SqliteJournal(path, keys=keys)
    await journal.open()
    try:
        held = await journal.page(None, 10_000)
        assert await journal.verify() == len(held) == verify_chains(path)
        assert len(await journal.orphans(PARTNER)) == COUNT
        return held
    finally:
        await journal.close()


def keys_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [name for (name,) in db.execute("SELECT id FROM keys ORDER BY seq")]


def sung(path: Path) -> bool:
    """Whether the name can be read in any of the files."""
    files = [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm")]
    texts = (NAME.encode(), b"trace me", b"\\u6b27")
    return any(text in file.read_bytes() for file in files if file.exists() for text in texts)


def stopped_after(path: Path, keys: JournalKeys, count: int) -> None:
    """A rotation that ends after so many."""

    def observe(done: int) -> None:
        if done >= count:
            raise Killed

    with suppress(Killed):
        rotate(path, keys, observe=observe)


# --- to the end


@pytest.mark.parametrize("before", [None, A], ids=["without a key", "with an older key"])
async def test_a_journal_comes_under_a_new_key(path: Path, before: JournalKeys | None) -> None:
    """Every payout is as it was, versions too; the new key alone opens it, the chain holds, and nothing can be read."""
    held = await filled(path, before)
    assert sung(path) == (before is None)
    told: list[int] = []
    assert rotate(path, BOTH, observe=told.append) == 2 * COUNT
    assert told == sorted(told)
    assert told[-1] == 2 * COUNT
    assert not sung(path)
    assert keys_in(path) == ["b"]
    assert await contents(path, B) == held
    assert rotate(path, B) == rotate(path, BOTH) == 0
    for other in (None, A):
        with pytest.raises(ConfigError, match="encrypted with the key 'b'"):
            await SqliteJournal(path, keys=other).open()


async def test_back_and_forth(path: Path) -> None:
    """The same id comes again under a salt of its own, and means the same key."""
    held = await filled(path)
    for names in (("b", "a"), ("a", "b"), ("b", "a")):
        assert rotate(path, journal_keys(*names)) == 2 * COUNT
        assert await contents(path, journal_keys(names[0])) == held


async def test_what_is_free_in_the_file_is_gone(path: Path) -> None:
    """A journal without a key that has pages and a log full of old rows, open elsewhere, has none of them afterwards."""
    held = await filled(path, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("PRAGMA secure_delete = OFF")  # some systems build SQLite with it
        other.execute("CREATE TABLE scratch (a)")
        other.execute("INSERT INTO scratch SELECT said FROM evidence, payouts, (SELECT 1 FROM payouts LIMIT 9)")
        other.execute("DROP TABLE scratch")
        assert sung(path)
        rotate(path, B)
        assert not sung(path)
    assert await contents(path, B) == held


async def test_the_old_log_is_being_read(path: Path) -> None:
    """JournalUnavailable says to do it once more; the older key stays until then."""
    held = await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM payouts").fetchone()
        with pytest.raises(JournalUnavailable, match="run the rotation once more"):
            rotate(path, BOTH, busy_timeout_s=0.2)
        assert keys_in(path) == ["a", "b"]
        reader.execute("COMMIT")
    assert rotate(path, BOTH) == 0
    assert keys_in(path) == ["b"]
    assert await contents(path, B) == held


# --- refused


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (B, "the key file holds only 'b': put the line of 'a' back"),
        (JournalKeys({"b": bytes(32), "a": bytes(32)}), "the key 'a' that is given is not the one"),
    ],
)
async def test_without_the_older_key(path: Path, keys: JournalKeys, sentence: str) -> None:
    """ConfigError, and the file is as it was."""
    await filled(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=sentence):
        rotate(path, keys)
    assert path.read_bytes() == before


@pytest.mark.parametrize("before", [None, A], ids=["without a key", "with an older key"])
async def test_a_payout_that_was_tampered_with(path: Path, before: JournalKeys | None) -> None:
    """It is named and not made good; what came before it is done, and the rest once it is restored."""
    held = await filled(path, before)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER evidence_fixed")
        db.execute("UPDATE evidence SET asked_us = asked_us + 1 WHERE payout = 7")
        for _ in range(2):
            with pytest.raises(JournalUnavailable, match=r"payout n06 .* was changed behind"):
                rotate(path, BOTH)
        with pytest.raises(JournalUnavailable, match="payout n06"):
            verify_chains(path)
        db.execute("UPDATE evidence SET asked_us = asked_us - 1 WHERE payout = 7")
    assert rotate(path, BOTH) == 2 * COUNT - 4
    assert await contents(path, B) == held


async def test_a_file_that_is_damaged_meanwhile(path: Path) -> None:
    """JournalUnavailable, as everywhere."""
    await filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE orphans")
    with pytest.raises(JournalUnavailable, match="no such table: orphans"):
        rotate(path, BOTH)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE evidence")
    with pytest.raises(JournalUnavailable, match="no such table: evidence"):
        verify_chains(path)


# --- in the middle


@pytest.mark.parametrize("before", [None, A], ids=["without a key", "with an older key"])
async def test_a_journal_in_the_middle_of_a_rotation(path: Path, before: JournalKeys | None) -> None:
    """With both keys everything works: what is looked up is found under either, and what is saved is sealed anew."""
    held = await filled(path, before)
    stopped_after(path, BOTH, 9)
    assert await contents(path, BOTH) == held
    journal = SqliteJournal(path, keys=journal_keys("a", "b"))
    await journal.open()
    for one in (held[0], held[20]):
        assert await journal.find(PARTNER, one.key or "") == one
        assert await journal.add([one]) == [one]
        again = evolve(one, no_order="z", key="z", content={**one.content, "no_order": "z"})
        with pytest.raises(TwinsFound) as found:
            await journal.add([evolve(again, version=0, evidence=(), attempts=())], twins_since=MOMENT)
        assert found.value.twins == {"z": (one.no_order,)}
        assert await journal.twins(again, MOMENT) == [one]
        assert not await journal.note_orphan(Orphan(PARTNER, f"x{int(one.no_order[1:])}", MOMENT, {"acct_name": NAME}))
        assert await journal.save(one.no_order, 1, change(evidence=(news(ret_code="2005"),))) == 2
    amends = evolve(amendment("n25"), content={"card_no": "62", "money_order": "1.00", "no_order": "n25"})
    assert await journal.save("n25", 1, evolve(change(), amendment=amends)) == 2
    twins = await journal.twins(evolve(held[0], no_order="z"), MOMENT)
    assert [one.no_order for one in twins] == ["n25", "n00"]
    now = await journal.page(None, 100)
    await journal.close()
    # Two of those that were saved had been under the older key: the saves have sealed them.
    assert rotate(path, BOTH) == 2 * COUNT - 12 - 2
    assert await contents(path, B) == now


async def test_a_generation_under_each_key(path: Path) -> None:
    """The newest is found, whichever key has sealed it."""
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    await journal.add([record("n1", key="salary", state=State.FAILED)])
    await journal.close()
    with closing(sqlite3.connect(path)) as db:
        Vault(path, BOTH, lambda count: bytes(count)).advance(db)
        db.commit()
    journal = SqliteJournal(path, keys=BOTH)
    await journal.open()
    new = await journal.replace("n1", 0, record("n2", key="salary", generation=1))
    assert await journal.find(PARTNER, "salary") == new
    assert await journal.add([record("n1", key="salary")]) == [new]
    await journal.close()


async def test_the_last_step_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is sealed, but the older key is still in the table: it is needed until somebody comes again."""
    held = await filled(path)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(Vault, "retire", killed)
        with suppress(Killed):
            rotate(path, BOTH)
    with pytest.raises(ConfigError, match="put the line of 'a' back"):
        await SqliteJournal(path, keys=B).open()
    assert await contents(path, BOTH) == held
    assert rotate(path, BOTH) == 0
    assert await contents(path, B) == held


async def test_another_rotation_begins_before_the_first_has_ended(path: Path) -> None:
    """Three keys at once; the last one wins, and the others are forgotten together."""
    held = await filled(path)
    stopped_after(path, BOTH, 9)
    stopped_after(path, journal_keys("c", "b", "a"), 5)
    assert keys_in(path) == ["a", "b", "c"]
    assert await contents(path, journal_keys("a", "b", "c")) == held
    rotate(path, journal_keys("c", "b", "a"))
    assert keys_in(path) == ["c"]
    assert await contents(path, journal_keys("c")) == held


# --- other processes


def _lines(child: subprocess.Popen[str]) -> IO[str]:
    assert child.stdout is not None
    return child.stdout


@pytest.mark.parametrize("after", [1, 2, 5, 8])
@pytest.mark.parametrize("before", [None, A], ids=["without a key", "with an older key"])
async def test_a_rotation_is_killed(path: Path, children: Children, before: JournalKeys | None, after: int) -> None:
    """SIGKILL at any moment: everything is there, with both keys; done again, with the new one alone."""
    held = await filled(path, before)
    child = children.start("rotation", path, "b", "a")
    for _ in range(after):
        assert _lines(child).readline().startswith("done ")
    child.kill()
    child.wait(60)
    assert keys_in(path) == ["a" if before else "", "b"]
    assert await contents(path, BOTH) == held
    again = children.start("rotation", path, "b", "a")
    assert _lines(again).read().splitlines()[-1].startswith("sealed ")
    assert again.wait(60) == 0
    assert not sung(path)
    assert await contents(path, B) == held


async def test_others_go_on_meanwhile(path: Path, children: Children) -> None:
    """A process that has both keys reads and writes all the time; what it was told is there under the new key."""
    await filled(path)
    writer = children.start("stream", path, "a", "b")
    said = [_lines(writer).readline().split() for _ in range(30)]
    rotating = children.start("rotation", path, "b", "a")
    assert _lines(rotating).read().splitlines()[-1].startswith("sealed ")
    assert rotating.wait(60) == 0
    said += [_lines(writer).readline().split() for _ in range(300)]
    writer.kill()
    said += [line.split() for line in _lines(writer).read().splitlines() if len(line.split()) == 2]
    writer.wait(60)
    held = {one.no_order: one for one in await contents(path, B)}
    for what, no_order in said:
        assert held[no_order].version >= ("added", "attempt", "evidence").index(what)
    assert keys_in(path) == ["b"]


async def test_a_process_without_the_new_key_is_refused(path: Path) -> None:
    """From the first step of the rotation on: it writes nothing that could not be read later, and sends nothing."""
    held = await filled(path)
    old = SqliteJournal(path, keys=A)
    await old.open()
    stopped_after(path, BOTH, 1)
    for call in _writes(old):
        with pytest.raises(JournalUnavailable, match=r"encrypted with the key 'b', and the key file holds only 'a'"):
            await call
    assert await old.load("n25") == held[25]
    await old.close()
    assert await contents(path, BOTH) == held


def _writes(journal: SqliteJournal) -> Iterator[object]:
    yield journal.add([record("new")])
    yield journal.save("n25", 1, change())
    yield journal.note_orphan(Orphan(PARTNER, "new", MOMENT, {}))
    yield journal.replace("n25", 1, record("new", key="k-n25", generation=1))
