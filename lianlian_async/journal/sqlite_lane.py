"""A thread with a connection of its own, and group commit.

asyncio puts jobs into a queue; the thread takes what waits, up to `batch_max` jobs, into one transaction,
and each of them into a savepoint, so that one that fails does not hurt the others. Callers are woken, all
by one call, only after COMMIT has returned. While a COMMIT runs, the next batch gathers by itself.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from attrs import define, frozen

from ..errors import ConfigError, JournalUnavailable, LianLianError
from .sqlite_file import JournalFile, WriteLock

__all__ = ["Lane", "Session", "explain"]

T = TypeVar("T")

_REMEDIES = {
    sqlite3.SQLITE_FULL: "its disk is full: make room, then try again",
    sqlite3.SQLITE_READONLY: "it is read-only: make the file and its file system writable, then try again",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written (failing, full, or a limit on file sizes): mend it",
    sqlite3.SQLITE_CORRUPT: "it is damaged: keep the file as it is and restore a backup, never start an empty one",
    sqlite3.SQLITE_NOTADB: "it is damaged: keep the file as it is and restore a backup, never start an empty one",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that it exists and that this user may read and write it",
}


def explain(error: sqlite3.Error, file: JournalFile, timeout_s: float) -> JournalUnavailable:
    """One sentence that names the file and the remedy; SQLite's own words name tables, never values."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        problem = (
            f"another process has kept it locked for more than {timeout_s:g} s: "
            "find it (`fuser` names it) and let it finish, then try again"
        )
    else:
        problem = _REMEDIES.get(primary, "SQLite refused")
    unavailable = JournalUnavailable(f"the journal {file.path} failed: {problem} ({error})")
    unavailable.__cause__ = error
    return unavailable


@define(eq=False)
class Session:
    """An open connection with what belongs to it. `lock` is None for a connection that only reads; `begun` is told of
    every transaction."""

    db: sqlite3.Connection
    file: JournalFile
    timeout_s: float
    lock: WriteLock | None = None
    begun: Callable[[sqlite3.Connection], None] | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; what was written is durable when this ends without an exception.

        A COMMIT that fails is taken as not committed. Should it have reached the disk all the same, a later
        start finds an attempt that was never sent: the gateway is asked about it, which harms nobody.
        """
        if self.lock is None:
            with self._begun("BEGIN"):
                yield self.db
        else:
            with self.lock.held(), self._begun("BEGIN IMMEDIATE"):
                yield self.db
        self.file.check_in_place()

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        self.db.execute(begin)
        try:
            if self.begun is not None:
                self.begun(self.db)
            yield
            self.db.execute("COMMIT")
        except BaseException:
            # Some errors have rolled back already, and then SQLite says so in yet another one.
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise

    def explain(self, error: sqlite3.Error) -> JournalUnavailable:
        return explain(error, self.file, self.timeout_s)

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.db.close()
        if self.lock is not None:
            self.lock.close()


@frozen(eq=False)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


@frozen
class _Failure:
    """What one caller is to be told; made one for each, because a traceback grows on whoever raises it."""

    error: Exception


# Mistakes of one job alone; every other error of SQLite is the store's and everybody's.
_OWN_MISTAKES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class Lane:
    """Runs jobs in one thread, many to a transaction. `connect` is called in that thread."""

    def __init__(self, name: str, connect: Callable[[], Session], *, batch_max: int) -> None:
        self._name = name
        self._connect = connect
        self._batch_max = batch_max
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]
        self._accepts = False
        self._pid = 0

    async def start(self) -> None:
        """Start the thread and wait until it has connected; raises what `connect` raises."""
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._accepts = True
        # A daemon, so that a program that forgot `close` can end: SQLite survives that like any crash.
        Thread(target=self._main, args=(ready,), name=self._name, daemon=True).start()
        await ready

    def stop(self) -> None:
        """Accept nothing more; the thread finishes what was accepted and ends."""
        if self._accepts:
            self._accepts = False
            self._queue.put(None)

    async def ended(self) -> None:
        """Wait until the thread has ended (after a fork it lives in the other process)."""
        if os.getpid() == self._pid:
            await asyncio.shield(self._ended)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work`, once its transaction is committed. Cancelling only ends the waiting.

        Raises JournalUnavailable when the store fails, and what `work` itself raises.
        """
        if os.getpid() != self._pid:
            raise JournalUnavailable("the journal was opened before a fork: open one in each process")
        if asyncio.get_running_loop() is not self._loop:
            raise JournalUnavailable("the journal was opened in another event loop: open one in each loop")
        if not self._accepts:
            raise JournalUnavailable("the journal has stopped: close it and open it again")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    def _main(self, ready: asyncio.Future[None]) -> None:
        try:
            try:
                session = self._connect()
            except (ConfigError, JournalUnavailable) as error:
                self._wake(_settle, [ready], [_Failure(error)])
                return
            self._wake(_settle, [ready], [None])
            try:
                self._serve(session)
            finally:
                session.close()
        finally:
            self._wake(self._end, ready)

    def _serve(self, session: Session) -> None:
        going = True
        while going:
            jobs, going = self._take()
            if jobs:
                futures = [job.future for job in jobs]
                try:
                    outcomes = _transact(session, jobs)
                except BaseException:
                    self._wake(_settle, futures, [_Failure(_stopped()) for _ in jobs])
                    raise
                self._wake(_settle, futures, outcomes)

    def _take(self) -> tuple[list[_Job], bool]:
        """What waits now (at least one job, or the sign to stop), and whether to go on after it."""
        jobs: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._batch_max:
                return jobs, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _wake(self, callback: Callable[..., None], *args: object) -> None:
        # The loop may have been closed over our heads; then nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _end(self, ready: asyncio.Future[None]) -> None:
        """In the loop's thread: nothing is put into the queue any more, so nobody is left waiting."""
        self._accepts = False
        waiting = [ready]
        while not self._queue.empty():
            if (job := self._queue.get_nowait()) is not None:
                waiting.append(job.future)
        _settle([*waiting, self._ended], [*(_Failure(_stopped()) for _ in waiting), None])


def _stopped() -> JournalUnavailable:
    return JournalUnavailable("the journal stopped because of an internal error: start again and report it")


def _transact(session: Session, jobs: Sequence[_Job]) -> list[object]:
    try:
        with session.transaction() as db:
            return [_perform(session, db, job) for job in jobs]
    except sqlite3.Error as error:
        return [_Failure(session.explain(error)) for _ in jobs]
    except JournalUnavailable as error:
        return [_Failure(JournalUnavailable(str(error))) for _ in jobs]


def _perform(session: Session, db: sqlite3.Connection, job: _Job) -> object:
    db.execute("SAVEPOINT job")
    outcome: object
    try:
        outcome = job.work(db)
    except _OWN_MISTAKES as error:
        outcome = _Failure(session.explain(error))
    except (LianLianError, ValueError, OverflowError) as error:
        outcome = _Failure(error)
    if isinstance(outcome, _Failure):
        db.execute("ROLLBACK TO job")
    db.execute("RELEASE job")
    return outcome


def _settle(futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[object]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, _Failure):
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome)
