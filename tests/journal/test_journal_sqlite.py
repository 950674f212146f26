"""What only the SQLite journal has: group commit, durability, failures of the store, the chain."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sized
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from attrs import evolve
from journal_samples import MOMENT, PARTNER, amendment, at, attempt, change, lease, news, record

from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import Breaker, Orphan, StaleVersion, TwinsFound, sqlite_lane, sqlite_open
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_file import JournalFile
from lianlian_async.journal.sqlite_lane import Lane, Session
from lianlian_async.journal.statements import load_statements
from lianlian_async.resolver import State, Step


@asynccontextmanager
async def held_up(journal: SqliteJournal) -> AsyncIterator[None]:
    """While this lasts the writer's thread is busy with one transaction, and everything else gathers."""
    busy, go = Event(), Event()

    def work(db: sqlite3.Connection) -> None:
        busy.set()
        go.wait(30)

    blocked = asyncio.ensure_future(journal._lane(0).run(work))
    try:
        await asyncio.to_thread(busy.wait, 30)
        yield
    finally:
        go.set()
        await blocked


@pytest.fixture
def thread_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What ended a thread of the journal; there must be one such thing by the end of the test."""
    reported: list[object] = []
    over = Event()

    def report(told: threading.ExceptHookArgs) -> None:
        reported.append(told.exc_type)
        over.set()

    monkeypatch.setattr(threading, "excepthook", report)
    yield reported
    assert over.wait(30)
    assert reported == [ZeroDivisionError]


async def traced(journal: SqliteJournal) -> list[str]:
    """The statements that the writer runs from now on."""
    seen: list[str] = []
    await journal._lane(0).run(lambda db: db.set_trace_callback(seen.append))
    seen.clear()
    return seen


async def test_many_callers_write_at_once(sqlite: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits goes into one COMMIT, and all callers are woken by one call; no more than 256 to a batch."""
    seen = await traced(sqlite)
    loop = asyncio.get_running_loop()
    wakes: list[object] = []
    original = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *args: object, **more: object) -> object:
        wakes.append(callback)
        return original(callback, *args, **more)  # type: ignore[arg-type]

    async with held_up(sqlite):
        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        adds = [asyncio.ensure_future(sqlite.add([record(f"n{n}")])) for n in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*adds)
    # The transaction that was in the way, and then 256, 256 and 88.
    batches = "\n".join(seen).split("COMMIT")[:-1]
    assert [batch.count("SAVEPOINT job") for batch in batches] == [1, 256, 256, 88]
    assert len(wakes) == len(batches)
    assert len(await sqlite.page(None, 1000)) == 600


async def test_a_caller_is_told_only_after_the_commit(sqlite: SqliteJournal) -> None:
    """Another connection sees the payout at the moment when `add` and `save` return."""
    other = sqlite3.connect(sqlite.path)
    await sqlite.add([record("n1")])
    assert other.execute("SELECT no_order, version FROM payouts").fetchall() == [("n1", 0)]
    await sqlite.save("n1", 0, change(attempts=(attempt(1),)))
    assert other.execute("SELECT number FROM attempts").fetchall() == [(1,)]
    other.close()


async def test_one_call_of_a_batch_fails(sqlite: SqliteJournal) -> None:
    """It is told so, leaves nothing behind, and the others of its batch are written."""
    await sqlite.add([record("n1"), record("n2")])
    async with held_up(sqlite):
        calls = [
            sqlite.save("n1", 0, change(attempts=(attempt(1),))),
            sqlite.save("n1", 0, change(attempts=(attempt(1),))),
            sqlite.save("n2", 0, change(State.PAID, attempts=(attempt(1), attempt(1)))),
            sqlite.add([record("n3")]),
            sqlite.save("n2", 0, change(evidence=(news(attempt=2**70),))),
            sqlite.save("n2", 0, change(State.IN_PROGRESS)),
        ]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    one, two, three, four, five, six = await results
    assert (one, four, six) == (1, [record("n3")], 1)
    assert isinstance(two, StaleVersion)
    assert isinstance(three, ValueError)
    assert isinstance(five, OverflowError)
    held = await sqlite.load("n2")
    assert held is not None
    assert (held.state, held.attempts, held.evidence) == (State.IN_PROGRESS, (), ())


async def test_a_statement_breaks_a_rule_of_the_schema(sqlite: SqliteJournal) -> None:
    """Only the call it belongs to fails."""
    lane = sqlite._lane(0)
    async with held_up(sqlite):
        calls = [
            sqlite.add([record("n1")]),
            lane.run(lambda db: db.execute("INSERT INTO newest VALUES (2, 2)")),
            lane.run(lambda db: db.execute("SELECT ?", (object(),))),
            sqlite.add([record("n2")]),
        ]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    added, broken, unbound, added_too = await results
    assert (added, added_too) == ([record("n1")], [record("n2")])
    assert isinstance(broken, JournalUnavailable)
    assert isinstance(unbound, JournalUnavailable)


async def test_a_caller_is_cancelled(sqlite: SqliteJournal) -> None:
    """Its waiting ends; the batch is written, its own part included."""
    async with held_up(sqlite):
        adds = [asyncio.ensure_future(sqlite.add([record(f"n{n}")])) for n in range(3)]
        await asyncio.sleep(0)
        adds[1].cancel()
        await asyncio.sleep(0)
        assert adds[1].cancelled()
    assert await adds[0] == [record("n0")]
    assert await adds[2] == [record("n2")]
    assert [held.no_order for held in await sqlite.page(None, 10)] == ["n0", "n1", "n2"]


async def test_reading_while_the_writer_is_busy(sqlite: SqliteJournal) -> None:
    """A reader does not wait for a writer."""
    await sqlite.add([record("n1")])
    async with held_up(sqlite):
        assert await asyncio.wait_for(sqlite.load("n1"), 10) == record("n1")


async def test_durable_by_what_sqlite_says(sqlite: SqliteJournal) -> None:
    """WAL, synchronous FULL, foreign keys on; the reader cannot write."""

    def ask(db: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only", "fullfsync")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await sqlite._lane(0).run(ask) == ["wal", 2, 1, 0, 1]
    assert (await sqlite._lane(1).run(ask))[3] == 1
    with pytest.raises(JournalUnavailable, match="read-only"):
        await sqlite._lane(1).run(lambda db: db.execute("UPDATE newest SET at_us = 1"))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (sqlite3.SQLITE_FULL, "its disk is full: make room"),
        (sqlite3.SQLITE_IOERR_FSYNC, "its disk cannot be read or written"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "it is read-only"),
        (sqlite3.SQLITE_CORRUPT, "keep the file as it is and restore a backup"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "another process has kept it locked"),
        (sqlite3.SQLITE_NOMEM, "SQLite refused"),
    ],
)
async def test_a_commit_fails(sqlite: SqliteJournal, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str) -> None:
    """Everybody in the batch gets JournalUnavailable with file and remedy; nothing is written; later it works."""
    await sqlite.add([record("n0")])
    original = Session.transaction

    @contextmanager
    def failing(self: Session) -> Iterator[sqlite3.Connection]:
        with original(self) as db:
            yield db
            error = sqlite3.OperationalError("as SQLite would say")
            error.sqlite_errorcode = code
            raise error

    with monkeypatch.context() as broken:
        broken.setattr(Session, "transaction", failing)
        calls = [sqlite.add([record(f"n{n}")]) for n in range(1, 4)]
        calls.append(sqlite.save("n0", 0, change(attempts=(attempt(1),))))  # type: ignore[arg-type]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, JournalUnavailable) for result in results)
    assert len({id(result) for result in results}) == 4
    for result in results:
        assert str(sqlite.path) in str(result)
        assert sentence in str(result)
    assert await sqlite.page(None, 10) == [record("n0")]
    assert await sqlite.save("n0", 0, change(attempts=(attempt(1),))) == 1


async def test_a_disk_with_no_more_pages(sqlite: SqliteJournal) -> None:
    """SQLite's own "full" in the middle of a batch: everything of it is taken back, and later it goes on."""
    lane = sqlite._lane(0)
    await sqlite.add([record("n0")])
    pages = await lane.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await lane.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    big = {"money_order": "1.00", "memo": "x " * 25_000}
    async with held_up(sqlite):
        calls = [sqlite.add([record("n1")]), sqlite.add([record("n2", content=big)]), sqlite.add([record("n3")])]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    assert [type(result) for result in await results] == [JournalUnavailable] * 3
    assert all("its disk is full: make room" in str(result) for result in await results)
    assert await sqlite.page(None, 10) == [record("n0")]
    await lane.run(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert [held.no_order for held in await sqlite.add([record("n2", content=big)])] == ["n2"]


async def test_a_connection_that_is_read_only(path: Path) -> None:
    """JournalUnavailable for each write of a real read-only connection; reading works."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record("n1")])
    read_only = Lane("read-only", lambda: _read_only_session(path), batch_max=8)
    await read_only.start()
    with pytest.raises(JournalUnavailable, match=f"{path} failed: it is read-only: make the file"):
        await read_only.run(lambda db: db.execute("UPDATE newest SET at_us = 1"))
    assert await read_only.run(lambda db: db.execute("SELECT no_order FROM payouts").fetchall()) == [("n1",)]
    read_only.stop()
    await read_only.ended()
    await journal.close()


def _read_only_session(path: Path) -> Session:
    file = JournalFile(path)
    file.remember()
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    return Session(db, file, 0.1)


async def test_an_internal_error_in_the_thread(path: Path, thread_errors: list[object]) -> None:
    """Whoever waits, and whoever comes later, gets JournalUnavailable; nobody waits for ever."""
    journal = SqliteJournal(path)
    await journal.open()
    lane = journal._lane(0)

    def bug(db: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    async with held_up(journal):
        calls = [journal.add([record("n1")]), lane.run(bug), journal.add([record("n2")])]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    assert [type(result) for result in await results] == [JournalUnavailable] * 3
    assert "internal error" in str((await results)[0])
    await lane.ended()
    with pytest.raises(JournalUnavailable, match="has stopped: close it and open it again"):
        await journal.add([record("n3")])
    assert await journal.load("n1") is None
    await journal.close()
    await journal.open()
    assert await journal.add([record("n3")]) == [record("n3")]
    await journal.close()


async def test_jobs_behind_an_internal_error(path: Path, thread_errors: list[object]) -> None:
    """Those of later batches are told as well."""
    journal = SqliteJournal(path, batch_max=1)
    await journal.open()

    def bug(db: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    async with held_up(journal):
        calls = [journal._lane(0).run(bug), journal.add([record("n1")]), journal.add([record("n2")])]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
    assert [type(result) for result in await results] == [JournalUnavailable] * 3
    await journal.close()


async def test_the_start_meets_an_internal_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, thread_errors: list[object]
) -> None:
    """JournalUnavailable, and the opening does not wait for ever."""
    monkeypatch.setattr(sqlite_open, "_check_library", lambda: 1 // 0)
    with pytest.raises(JournalUnavailable, match="internal error"):
        await SqliteJournal(path).open()


async def test_the_reader_cannot_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable; the writer is let go, so that the next start works."""
    connect = sqlite_open._connect
    count = iter(range(10))

    def second_fails(*args: object) -> sqlite3.Connection:
        db = connect(*args)  # type: ignore[arg-type]
        if next(count) == 1:
            db.close()
        return db

    journal = SqliteJournal(path)
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_open, "_connect", second_fails)
        with pytest.raises(JournalUnavailable, match="closed database"):
            await journal.open()
    await journal.open()
    assert await journal.add([record("n1")]) == [record("n1")]
    await journal.close()


async def test_the_opening_is_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads and file are let go; it can be opened again."""
    go, check = Event(), sqlite_open._check_library

    def slow() -> None:
        go.wait(30)
        check()

    monkeypatch.setattr(sqlite_open, "_check_library", slow)
    journal = SqliteJournal(path)
    opening = asyncio.ensure_future(journal.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await journal.open()
    await journal.close()


async def test_the_journal_is_closed_while_calls_wait(path: Path) -> None:
    """What was accepted is written; what comes later is refused."""
    journal = SqliteJournal(path, batch_max=2)
    await journal.open()
    async with held_up(journal):
        adds = [asyncio.ensure_future(journal.add([record(f"n{n}")])) for n in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(journal.close())
        await asyncio.sleep(0)
        with pytest.raises(JournalUnavailable, match="not open"):
            await journal.add([record("late")])
    await closing
    assert await asyncio.gather(*adds) == [[record(f"n{n}")] for n in range(5)]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["payouts.db", "payouts.db-lock"]
    await journal.open()
    assert len(await journal.page(None, 10)) == 5
    await journal.close()


def test_the_loop_ends_without_a_close(path: Path) -> None:
    """What was acknowledged is there, and another journal can be opened on the file at once."""
    forgotten = SqliteJournal(path)

    async def forget() -> None:
        await forgotten.open()
        await forgotten.add([record("n1")])

    async def look() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        assert await journal.load("n1") == record("n1")
        await journal.close()

    asyncio.run(forget())
    asyncio.run(look())
    # Its threads still wait, and may be sent home although nobody can be told any more.
    for lane in forgotten._lanes or ():
        lane.stop()


async def test_a_journal_is_used_in_another_loop(sqlite: SqliteJournal) -> None:
    """JournalUnavailable, and nothing is written: its answers would go to a loop that nobody listens to."""

    def elsewhere() -> None:
        with pytest.raises(JournalUnavailable, match="another event loop"):
            asyncio.run(sqlite.add([record("n1")]))

    await asyncio.to_thread(elsewhere)
    assert await sqlite.load("n1") is None


async def test_a_journal_is_used_after_a_fork(path: Path) -> None:
    """JournalUnavailable instead of waiting for threads that the child does not have; closing it returns."""
    journal = SqliteJournal(path)
    await journal.open()
    lane = journal._lane(0)
    pid = lane._pid
    for other in journal._lanes or ():
        other._pid = pid + 1
    with pytest.raises(JournalUnavailable, match="before a fork"):
        await journal.add([record("n1")])
    with pytest.raises(JournalUnavailable, match="before a fork"):
        await journal.load("n1")
    await lane.ended()
    for other in journal._lanes or ():
        other._pid = os.getpid()
    await journal.close()


TAMPERING = {
    "evidence is changed": "UPDATE evidence SET said = replace(said, '0000', '9999')",
    "evidence is removed": "DELETE FROM evidence WHERE version = 2",
    "evidence is added": "INSERT INTO evidence SELECT payout, 9, 0, source, outcome, at_us, asked_us, attempt, said "
    "FROM evidence WHERE version = 1",
    "evidence is replaced": "INSERT OR REPLACE INTO evidence SELECT payout, 2, 0, source, outcome, at_us, asked_us, "
    "attempt, said FROM evidence WHERE version = 1",
    "an attempt is removed": "DELETE FROM attempts",
    "an attempt is changed": "UPDATE attempts SET deadline_us = 0",
    "an attempt is replaced": "INSERT OR REPLACE INTO attempts SELECT payout, 7, 0, number, source, 0, 0, "
    "content_hash, owner FROM attempts",
    "the content is changed": "UPDATE payouts SET content = replace(content, '25.78', '99.00'), version = version + 1",
    "the creation is moved": "UPDATE payouts SET created_us = 0, version = version + 1",
    "the sum is changed": "UPDATE payouts SET money_order = '99.00', version = version + 1 WHERE no_order = 'n0'",
    "the sum is changed back": "UPDATE payouts SET money_order = '25.78', version = version + 1 WHERE no_order = 'n1'",
    "the payee is changed": "UPDATE payouts SET payee = x'00', version = version + 1",
    "an amendment is changed": "UPDATE amendments SET content = replace(content, '1.00', '99.00')",
    "an amendment is removed": "DELETE FROM amendments",
    "an amendment is added": "INSERT INTO amendments SELECT payout, 9, 0, content, content_hash, at_us, by "
    "FROM amendments",
    "an amendment is replaced": "INSERT OR REPLACE INTO amendments SELECT payout, version, position, content, "
    "content_hash, 0, by FROM amendments",
}  # fmt: skip


async def _three_saves(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record("n0"), record("n1")])
    await journal.save("n1", 0, change(attempts=(attempt(1),), evidence=(news(at(1)),)))
    await journal.save("n1", 1, change(evidence=(news(at(2), ret_code="2005"),)))
    await journal.save("n1", 2, evolve(change(), amendment=amendment(money_order="1.00")))
    await journal.note_orphan(Orphan(PARTNER, "n2", MOMENT, {}))
    await journal.trip(Breaker(PARTNER, "x", MOMENT, "gateway"))
    await journal.close()


# Adding is what the schema is for; only the chain can tell who did it.
@pytest.mark.parametrize("what", [what for what in TAMPERING if not what.endswith("is added")])
async def test_a_careless_hand_in_the_file(path: Path, what: str) -> None:
    """The schema itself refuses the statement."""
    await _three_saves(path)
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=r"never change|never deleted|written once"):
        db.execute(TAMPERING[what])
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM payouts",
        "UPDATE payouts SET state = 'PAID'",
        "INSERT OR REPLACE INTO payouts SELECT * FROM payouts",
        "UPDATE breaker_events SET event = 'reset'",
        "DELETE FROM breaker_events",
        "INSERT OR REPLACE INTO breaker_events SELECT seq, oid_partner, 'reset', reason, at_us, by FROM breaker_events",
        "UPDATE payouts SET money_order = '1.5', version = version + 1",
        "UPDATE changes SET state = 'PAID'",
        "DELETE FROM changes",
        "INSERT OR REPLACE INTO changes SELECT seq, payout, version, 'PAID', step FROM changes",
        "UPDATE orphans SET said = ''",
        "DELETE FROM orphans",
        "INSERT OR REPLACE INTO orphans SELECT * FROM orphans",
        "INSERT OR REPLACE INTO orphans SELECT 9, oid_partner, no_order, digest, 9, said, sealed_by FROM orphans",
        "INSERT INTO leases VALUES (99, 'a', 0, 1)",
    ],
)
async def test_what_else_the_schema_refuses(path: Path, statement: str) -> None:
    """What is written is never deleted or rewritten, and a version rises by one."""
    await _three_saves(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("what", TAMPERING)
async def test_a_determined_hand_in_the_file(path: Path, what: str) -> None:
    """With the triggers gone the statement works, and then the start is refused and names the payout."""
    await _three_saves(path)
    db = sqlite3.connect(path, isolation_level=None)
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.execute(TAMPERING[what])
    db.close()
    with pytest.raises(JournalUnavailable, match=r"payout n[01] in the journal .* was changed behind"):
        await SqliteJournal(path).open()


async def _ended_and_tampered(path: Path, count: int = 3) -> None:
    """`count` payouts that have ended, one of them no longer as it was written."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record(f"n{n}", state=State.PAID, step=Step.NOTHING) for n in range(count)])
    await journal.close()
    db = sqlite3.connect(path, isolation_level=None)
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.execute("UPDATE payouts SET content = replace(content, '25.78', '99.00') WHERE no_order = 'n1'")
    db.close()


async def test_a_hand_in_a_payout_that_has_ended(path: Path) -> None:
    """The start looks at what has ended as well."""
    await _ended_and_tampered(path)
    with pytest.raises(JournalUnavailable, match="payout n1 in the journal"):
        await SqliteJournal(path).open()


async def test_a_hand_in_a_long_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the start checks what may still move; `verify` still checks all, and so does whoever reads."""
    await _ended_and_tampered(path)
    monkeypatch.setattr("lianlian_async.journal.sqlite_payouts.VERIFIED_AT_OPEN_MAX", 2)
    journal = SqliteJournal(path)
    await journal.open()
    for question in (journal.verify(), journal.load("n1"), journal.page(None, 9)):
        with pytest.raises(JournalUnavailable, match="payout n1 in the journal"):
            await question
    assert await journal.load("n0") is not None
    await journal.close()
    monkeypatch.setattr("lianlian_async.journal.sqlite_payouts.VERIFIED_AT_OPEN_MAX", 3)
    with pytest.raises(JournalUnavailable, match="payout n1 in the journal"):
        await SqliteJournal(path).open()


async def test_a_hand_in_the_file_while_it_is_open(path: Path, sqlite: SqliteJournal) -> None:
    """Reading the payout is refused, so that nothing is decided on it; others can be read."""
    await sqlite.add([record("n0"), record("n1", evidence=(news(),))])
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TRIGGER evidence_stays")
    db.execute("DELETE FROM evidence")
    db.close()
    with pytest.raises(JournalUnavailable, match="payout n1"):
        await sqlite.load("n1")
    with pytest.raises(JournalUnavailable, match="payout n1"):
        await sqlite.add([record("n1")])
    assert await sqlite.load("n0") == record("n0")


async def test_checking_a_long_journal(sqlite: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every payout is checked, stretch by stretch."""
    monkeypatch.setattr("lianlian_async.journal.sqlite_payouts._STRETCH", 7)
    await sqlite.add([record(f"n{n}", evidence=(news(at(n)),)) for n in range(20)])
    assert await sqlite.verify() == 20


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("due_send", "payouts_due_send (oid_partner=? AND due_us>? AND due_us<?"),
        ("due_unknown", "payouts_due_unknown (oid_partner=?"),
        ("due_other", "payouts_due_other (oid_partner=? AND due_us>? AND due_us<?"),
        ("payouts_page", "payouts_1 (no_order>?"),
        ("payouts_page_of_state", "payouts_by_state (state=? AND no_order>?"),
        ("payout_by_number", "payouts_1 (no_order=?"),
        ("payout_by_key", "payouts_by_key (oid_partner=? AND key=?"),
        ("twins_lately", "payouts_by_payee (payee=? AND last_us>?"),
        ("twins_that_may_move", "payouts_that_may_move (payee=?"),
        ("orphans_of_number", "orphans_1 (oid_partner=? AND no_order=?"),
        ("orphans_of_partner", "orphans_by_moment (oid_partner=?"),
        ("untold", "PRIMARY KEY (name=?"),
        ("changes_after", "INTEGER PRIMARY KEY (rowid>?"),
        ("tally", "payouts_by_state"),
    ],
)
async def test_the_plan_of_a_question(sqlite: SqliteJournal, name: str, index: str) -> None:
    """It reads an index in its own order: no scan of the table, no sorting, and what stands beside it by its key."""
    statement = load_statements("sqlite")[name]
    numbered = [int(number) for number in re.findall(r"\?([0-9])", statement)]
    values = [1] * max(numbered, default=statement.count("?"))
    steps = await sqlite._lane(1).run(lambda db: db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())
    plan = "\n".join(step[3] for step in steps)
    assert index in plan
    assert "TEMP B-TREE" not in plan
    assert name == "tally" or "SCAN" not in plan


async def _steps(journal: SqliteJournal, question: Callable[[], Awaitable[Sized]]) -> tuple[int, int]:
    """How many things were found, and how many hundreds of steps SQLite took on the writer's connection."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    await journal._lane(0).run(lambda db: db.set_progress_handler(count, 100))
    found = len(await question())
    await journal._lane(0).run(lambda db: db.set_progress_handler(None, 0))
    return found, taken


@pytest.mark.parametrize(
    ("state", "step", "sends"),
    [
        (State.UNKNOWN, Step.QUERY, False),
        (State.IN_PROGRESS, Step.QUERY, False),
        (State.UNSENT, Step.SUBMIT, True),
        (State.UNKNOWN, Step.QUERY, None),
        (State.UNSENT, Step.SUBMIT, None),
    ],
)
async def test_a_claim_among_many(sqlite: SqliteJournal, state: State, step: Step, sends: bool | None) -> None:
    """Ten thousand payouts that are due make a claim of sixteen no longer than a hundred would."""

    async def claim() -> Sized:
        return await sqlite.claim(PARTNER, lease("a"), 16, sends=sends)

    of_this_kind = {"state": state, "step": step, "due_at": MOMENT}
    await sqlite.add([record(f"n{number:05}", **of_this_kind) for number in range(100)])
    found, few = await _steps(sqlite, claim)
    await sqlite.add([record(f"m{number:05}", **of_this_kind) for number in range(10_000)])
    assert (found, len(await sqlite.due(PARTNER, MOMENT, 20_000))) == (16, 10_084)
    found, many = await _steps(sqlite, claim)
    assert found == 16
    assert many <= 2 * few


@pytest.mark.parametrize("sends", [True, False])
async def test_a_claim_beside_many_of_the_other_kind(sqlite: SqliteJournal, sends: bool) -> None:
    """Ten thousand due queries cost a claim of sends nothing, nor ten thousand due sends a claim of queries."""
    steps = [Step.SUBMIT, Step.QUERY]
    mine, others = steps if sends else steps[::-1]

    async def claim() -> Sized:
        return await sqlite.claim(PARTNER, lease("a"), 16, sends=sends)

    await sqlite.add([record(f"n{number:05}", step=mine, due_at=MOMENT) for number in range(100)])
    found, few = await _steps(sqlite, claim)
    await sqlite.add(
        [
            record(f"m{number:05}", step=others, due_at=at(-1), state=state)
            for number, state in enumerate([State.UNKNOWN, State.IN_PROGRESS] * 5_000)
        ]
    )
    found, many = await _steps(sqlite, claim)
    assert found == 16
    assert many <= 2 * few


async def test_somebody_else_comes_first_within_one_batch(sqlite: SqliteJournal) -> None:
    """Calls that go into one COMMIT see each other: one lease, one of two twins, each turn once."""
    await sqlite.add([record("n1", due_at=MOMENT)])
    new = [record(f"t{number}", money_order="1.00") for number in range(5)]
    async with held_up(sqlite):
        claims = asyncio.gather(*(sqlite.claim(PARTNER, lease(owner), 1) for owner in "abcde"))
        adds = asyncio.gather(*(sqlite.add([one], twins_since=MOMENT) for one in new), return_exceptions=True)
        turns = asyncio.gather(*(sqlite.turn(PARTNER, MOMENT, timedelta(seconds=1), 1) for _ in range(5)))
        await asyncio.sleep(0)
    assert [len(claimed) for claimed in await claims] == [1, 0, 0, 0, 0]
    assert [type(added) for added in await adds] == [list] + [TwinsFound] * 4
    assert await turns == [at(number) for number in range(5)]


async def test_a_change_of_a_state_that_a_later_version_wrote(sqlite: SqliteJournal) -> None:
    """JournalUnavailable names the payout: an application is not told what is not understood."""
    await sqlite.add([record("n1")])
    await sqlite._lane(0).run(lambda db: db.execute("INSERT INTO changes VALUES (1, 1, 1, 'DREAMING', 'QUERY')"))
    with pytest.raises(JournalUnavailable, match=r"change 1 of payout n1 .* a later version wrote it"):
        await sqlite.moved("app", lease("a"), 1)


def test_a_journal_is_shown(path: Path) -> None:
    """By its file."""
    assert repr(SqliteJournal(path)) == f"SqliteJournal({str(path)!r})"


def test_an_error_without_a_code(path: Path) -> None:
    """Python's own errors of this kind have none: the sentence is the general one."""
    error = sqlite_lane.explain(sqlite3.ProgrammingError("x"), JournalFile(path), 1.0)
    assert str(error) == f"the journal {path} failed: SQLite refused (x)"


@pytest.mark.parametrize("column", ["oid_paybill", "settle_date"])
async def test_a_bill_or_its_day_never_changes_behind_the_journals_back(
    sqlite: SqliteJournal, path: Path, column: str
) -> None:
    """A trigger stops a careless hand; whoever removes it is found when the payout is read, or all are verified."""
    await sqlite.add([record("n1")])
    told = news(at(1), oid_paybill="B1", result_pay="SUCCESS", settle_date="20261123")
    await sqlite.save("n1", 0, change(State.PAID, evidence=(told,)))
    with sqlite3.connect(path) as db:
        with pytest.raises(sqlite3.IntegrityError, match="without evidence"):
            db.execute(f"UPDATE payouts SET version = version + 1, {column} = 'x'")
        db.execute("DROP TRIGGER payouts_settled_stays")
        db.execute("DROP TRIGGER payouts_count")
        db.execute(f"UPDATE payouts SET {column} = '20261124'")
    db.close()
    with pytest.raises(JournalUnavailable, match="changed behind"):
        await sqlite.load("n1")
    with pytest.raises(JournalUnavailable, match="changed behind"):
        await sqlite.verify()
