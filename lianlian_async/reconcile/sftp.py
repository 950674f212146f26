"""Fetching LianLian's statements over SFTP (specification 6, docs/reconciliation.md).

    async with StatementSource(access, folder, oid_partner, clock=client.clock) as source:
        fetched = await source.fetch(["20261123"])
        result = await reconcile(client, fetched.paths)
        await source.processed(fetched)

    connect ─► host key ─► look ─► download into NAME.part, from where it stopped ─► look again ─► fsync ─► NAME

A file is taken only when two looks at it agree and its last line is complete. Whatever may be otherwise later (missing,
half-written, connection lost) is tried again, ever more slowly, until a deadline; everything else is an error at once.
Needs the extra `sftp`.
"""

from __future__ import annotations

import asyncio
import csv
import logging
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from anyio import to_thread
from attrs import evolve, frozen

from ..clock import SHANGHAI, Clock, SystemClock
from ..errors import ConfigError
from ..protocol.fields import field_fault, safe_text
from .access import HostKeyPin, Patience, SftpAccess
from .fetch_errors import FetchError, StatementChanged, StatementMissing, StatementUnfinished, StatementUnusable
from .inbox import Inbox, Kept, Look, Part
from .statement import COLUMNS, READY_AT, FileKind, StatementError, StatementName, days_of

if TYPE_CHECKING:
    from .remote import Remote, RemoteFile

__all__ = ["Fetch", "Fetched", "HostKeyPin", "Patience", "SftpAccess", "StatementSource", "ready_at"]

T = TypeVar("T")

logger = logging.getLogger("lianlian_async.sftp")

_FIRST_WAIT_S, _WAIT_S_MAX = 30.0, 900.0
_BLOCK: Final = 256 * 1024
# How much of what is there already is read again before a download goes on.
_COMPARED: Final = 64 * 1024
# A row is far shorter: whatever has no line end within this is no statement.
_TAIL: Final = 64 * 1024
_BYTES_MAX: Final = 4 * 1024**3
_SUMMARY_FIGURES: Final = 7
_NOTHING_TAKEN: Final = "nothing of it was taken; ask LianLian if it stays so"


@frozen
class Fetched:
    """A statement of the folder. `already` is true when it was processed before, and `path` not to be taken again."""

    name: str
    path: Path
    sha256: str
    size: int
    already: bool = False


@frozen
class Fetch:
    """What one `fetch` brought: `files` to be processed now, and those that were processed before."""

    files: tuple[Fetched, ...]
    already: tuple[Fetched, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The files to be processed, as `reconcile` takes them."""
        return [file.path for file in self.files]


class StatementSource:
    """LianLian's statements of one merchant, and the folder on this machine that they are fetched into.

    `folder` is made if it is not there (mode 0700), held by one process at a time, and keeps a record of what was
    fetched and processed. A larger file than `bytes_max` is refused. Use it as a context manager.
    """

    def __init__(
        self, access: SftpAccess, folder: Path | str, oid_partner: str, *, clock: Clock | None = None,
        patience: Patience | None = None, bytes_max: int = _BYTES_MAX,
    ) -> None:  # fmt: skip
        if field_fault("oid_partner", oid_partner):
            raise ConfigError("oid_partner must be the merchant's number of 18 digits")
        self.access = access
        self.folder = Path(folder)
        self.oid_partner = oid_partner
        self._clock = clock if clock is not None else SystemClock()
        self._patience = patience if patience is not None else Patience()
        self._bytes_max = bytes_max
        self._inbox: Inbox | None = None
        self._received = 0
        self._entered = False

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        if self._inbox is not None:
            self._inbox.close()
            self._inbox = None

    async def fetch(self, periods: Collection[str], *, again: bool = False) -> Fetch:
        """Fetch the statements (and the summaries beside them) of these days (YYYYMMDD) and months (YYYYMM).

        Before 09:00 (+08:00) of the day on which a file is ready, it waits until then. What was processed before is not
        fetched again, unless `again` says so or the server shows another size or time. Nothing is returned before all
        is there. Raises FetchError, ConfigError. May be cancelled at any time, and goes on from there the next time.
        """
        now = self._clock.now().astimezone(SHANGHAI)
        for period in periods:
            if not days_of(period):
                raise ConfigError(f"there is no day or month {safe_text(period)}: write it as YYYYMMDD or YYYYMM")
            if days_of(period)[-1] >= f"{now:%Y%m%d}":
                raise ConfigError(f"{period} is not over yet: its statement is ready on {_written(ready_at(period))}")
        found: list[Fetched] = []
        for period in sorted(set(periods), key=lambda period: (ready_at(period), period)):
            found += await self._when_there(period, again)
        return Fetch(
            tuple(file for file in found if not file.already), tuple(file for file in found if file.already)
        )  # fmt: skip

    async def processed(self, fetch: Fetch) -> None:
        """Put on record that these files were processed: they are not handed out again unasked. Raises InboxFault."""
        inbox = await self._held()
        at = self._clock.now().isoformat()
        for file in fetch.files:
            kept = inbox.files.get(file.name)
            if kept is not None and kept.sha256 == file.sha256:
                await _ended(inbox.note, file.name, evolve(kept, processed_at=at))

    async def listed(self) -> tuple[list[str], int]:
        """Connect, and list: the names of this merchant's statements, and how many other names there are, which are
        ignored whatever they say. Raises FetchError, ConfigError."""
        async with self._connected() as remote:
            names = await remote.names()
        ours = sorted(name for name in names if self._is_ours(name))
        return ours, len(names) - len(ours)

    # ------------------------------------------------------------------ waiting

    async def _when_there(self, period: str, again: bool) -> list[Fetched]:
        """The files of a period, as soon as they can be had; raises the last error at the deadline."""
        ready = ready_at(period)
        deadline = max(self._clock.now(), ready) + timedelta(seconds=self._patience.missing_s)
        if (left := self._left(ready)) > 0:
            logger.info("%s is ready at %s: waiting", period, _written(ready))
        while (left := self._left(ready)) > 0:
            await self._clock.sleep(min(left, _WAIT_S_MAX))
        wait = _FIRST_WAIT_S
        while True:
            before = self._received
            try:
                return await self._taken(period, again)
            except FetchError as error:
                left = self._left(deadline)
                if not error.later or left <= 0:
                    raise
                wait = _FIRST_WAIT_S if self._received > before else wait
                pause = min(wait, left)
                logger.warning("%s Trying again in %.0f seconds.", f"{error}.", pause)
            await self._clock.sleep(pause)
            wait = min(2 * wait, _WAIT_S_MAX)

    def _left(self, moment: datetime) -> float:
        return (moment - self._clock.now()).total_seconds()

    # ------------------------------------------------------------------ one period, one file

    async def _taken(self, period: str, again: bool) -> list[Fetched]:
        async with self._connected() as remote:
            rows = await self._file(remote, self._name(FileKind.FKMX, period), again)
            if rows.already:
                return [rows]
            try:
                # Rows that are taken anew are held against a summary that is taken anew.
                return [rows, await self._file(remote, self._name(FileKind.FKMXSUM, period), again=True)]
            except StatementMissing:
                # The rows alone can be reconciled; their summary only makes it surer.
                return [rows]

    async def _file(self, remote: Remote, name: str, again: bool) -> Fetched:
        inbox = await self._held()
        started = self._clock.steady()
        file = await remote.open(name)
        look, kept = await file.look(), inbox.files.get(name)
        if look.size > self._bytes_max:
            problem = f"has {look.size:,} bytes, and {self._bytes_max:,} are taken at most"
            raise StatementUnusable(self.access.address, name, problem, "ask LianLian, or raise bytes_max")
        done = kept is not None and kept.processed_at is not None and not again
        same = kept is not None and kept.look == look and not again
        if kept is not None and same and (done or await _ended(inbox.intact, name)):
            return Fetched(name, inbox.path(name), kept.sha256, kept.size, done)
        sha256, tail = await self._downloaded(file, inbox, look)
        await self._clock.sleep(self._patience.quiet_s - (self._clock.steady() - started))
        await self._require_finished(remote, name, look, tail)
        fresh = Kept(sha256=sha256, size=look.size, mtime=look.mtime, fetched_at=self._clock.now().isoformat())
        if kept is not None and done:
            return await self._compared(inbox, name, kept, fresh)
        path = await _ended(inbox.keep, name, fresh)
        return Fetched(name, path, sha256, look.size)

    async def _downloaded(self, file: RemoteFile, inbox: Inbox, look: Look) -> tuple[str, bytes]:
        """Bring the part up to the file's size; its SHA-256 and its last bytes."""
        part = await _ended(inbox.part, file.name, look, lost=Part.close)
        try:
            part = await self._resumable(file, part)
            while part.size < look.size:
                data = await file.read(part.size, min(_BLOCK, look.size - part.size))
                if not data:
                    problem = f"ended after {part.size:,} of {look.size:,} bytes"
                    raise StatementUnfinished(self.access.address, file.name, problem, _NOTHING_TAKEN)
                part = await _ended(part.append, data)
                self._received += len(data)
            return await _ended(part.digest), part.tail(_TAIL)
        finally:
            part.close()

    async def _resumable(self, file: RemoteFile, part: Part) -> Part:
        """The part, emptied if its last block is not what the server has there."""
        count = min(part.size, _COMPARED)
        if count and await file.read(part.size - count, count) != part.tail(count):
            return part.restart()
        return part

    async def _require_finished(self, remote: Remote, name: str, look: Look, tail: bytes) -> None:
        """Raises StatementUnfinished if somebody still writes."""
        now = await remote.look(name)
        problem = None
        if now != look:
            problem = f"is still being written ({look.size:,} bytes a moment ago, {now.size:,} now)"
        elif not _complete(tail, summary=name.startswith(FileKind.FKMXSUM)):
            problem = "ends in the middle of a line"
        if problem:
            raise StatementUnfinished(self.access.address, name, problem, _NOTHING_TAKEN)

    async def _compared(self, inbox: Inbox, name: str, kept: Kept, fresh: Kept) -> Fetched:
        """What was processed before, if its content is the same; raises StatementChanged if it is not."""
        if fresh.sha256 == kept.sha256:
            await _ended(inbox.drop, name)
            await _ended(inbox.note, name, evolve(kept, size=fresh.size, mtime=fresh.mtime))
            return Fetched(name, inbox.path(name), kept.sha256, kept.size, already=True)
        aside = await _ended(inbox.put_aside, name)
        raise StatementChanged(
            self.access.address, name,
            f"has other content than what was processed at {kept.processed_at} (SHA-256 {kept.sha256[:16]}... then, "
            f"{fresh.sha256[:16]}... now)",
            f"compare it ({aside}) with what was processed ({inbox.path(name)}), then take it with --again",
        )  # fmt: skip

    # ------------------------------------------------------------------ names and places

    def _name(self, kind: FileKind, period: str) -> str:
        return f"{kind}_{self.oid_partner}_{period}.txt"

    def _is_ours(self, name: str) -> bool:
        try:
            read = StatementName.of(name)
        except StatementError:
            return False
        return read is not None and read.oid_partner == self.oid_partner and name == self._name(read.kind, read.period)

    async def _held(self) -> Inbox:
        if not self._entered:
            raise ConfigError("a StatementSource is a context manager: it holds its folder until the block ends")
        if self._inbox is None:
            self._inbox = await _ended(Inbox.open, self.folder, lost=Inbox.close)
        return self._inbox

    def _connected(self) -> AbstractAsyncContextManager[Remote]:
        try:
            from .remote import connected
        except ImportError as error:
            raise ConfigError("SFTP needs asyncssh: pip install 'lianlian-async[sftp]'") from error
        root = self.access.root or f"/{self.oid_partner}"
        return connected(self.access, root, self._clock, self._patience)


async def _ended(work: Callable[..., T], *args: object, lost: Callable[[T], None] | None = None) -> T:
    """Run blocking work in a thread. A cancellation is passed on once the thread has ended, so that it does not go on
    in a folder that others may hold by then; `lost` is called with a result that nobody gets."""
    running = asyncio.ensure_future(to_thread.run_sync(partial(work, *args)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.exception() and lost is not None:
            lost(running.result())
        raise


def ready_at(period: str) -> datetime:
    """When the statement of a day (YYYYMMDD) or month (YYYYMM) is ready: at 09:00 (+08:00) after its last day."""
    last = datetime.strptime(days_of(period)[-1], "%Y%m%d").replace(tzinfo=SHANGHAI)
    return datetime.combine(last.date() + timedelta(days=1), READY_AT)


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} +08:00"


def _complete(tail: bytes, *, summary: bool) -> bool:
    """True when the last line has its end, or all its columns: some writers leave the last line end out."""
    if tail.endswith(b"\n"):
        return True
    line = tail.rpartition(b"\n")[2].decode("latin-1")
    if summary:
        figures = line.split("|")
        return len(figures) == _SUMMARY_FIGURES and bool(figures[-1].strip())
    try:
        return len(next(csv.reader([line], strict=True), [])) == len(COLUMNS)
    except csv.Error:
        return False
