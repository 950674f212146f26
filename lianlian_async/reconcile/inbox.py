"""The folder for fetched statements: unfinished parts, whole files, and a record of what was fetched and processed.

The record (`statements.json`) lies beside the files and not in the journal: no money hangs on it, because a statement
that is taken twice changes nothing the second time. It belongs to these very files, goes where they go, and no journal
has to learn about files. If it is lost, a file is fetched and reconciled once more.

Everything here blocks, and is called in a thread. One process at a time holds the folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

from attrs import asdict, evolve, field, frozen

from .fetch_errors import InboxFault

__all__ = ["Inbox", "Kept", "Look", "Part"]

_RECORD: Final = "statements.json"
_LOCK: Final = ".lock"
_BLOCK: Final = 1024 * 1024
_SPARE_BYTES: Final = 16 * 1024 * 1024


@frozen
class Look:
    """A file of the server at a glance: bytes, and the time of its last change (seconds since 1970)."""

    size: int
    mtime: int


@frozen(kw_only=True)
class Kept:
    """What is on record of a fetched file: its SHA-256 (hex), how it looked on the server, and when (ISO 8601) it was
    fetched and processed."""

    sha256: str
    size: int
    mtime: int
    fetched_at: str
    processed_at: str | None = None

    @property
    def look(self) -> Look:
        return Look(self.size, self.mtime)


@frozen(eq=False)
class Part:
    """An unfinished download, open for appending; `size` bytes are there already."""

    path: Path
    stream: BinaryIO = field(repr=False)
    size: int

    def tail(self, count: int) -> bytes:
        """The last `count` bytes that are there, or fewer. Raises InboxFault."""
        with _named(self.path):
            self.stream.seek(max(self.size - count, 0))
            return self.stream.read(count)

    def restart(self) -> Part:
        """The same, empty. Raises InboxFault."""
        with _named(self.path):
            self.stream.truncate(0)
        return evolve(self, size=0)

    def append(self, data: bytes) -> Part:
        """Put `data` behind what is there. Raises InboxFault; what was written until then is used next time."""
        with _named(self.path):
            self.stream.seek(self.size)
            self.stream.write(data)
            self.stream.flush()
        return evolve(self, size=self.size + len(data))

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        # Whatever was written was flushed: what a full disk did not take is no error any more.
        with suppress(OSError):
            self.stream.close()

    def digest(self) -> str:
        """Make it durable, and return the SHA-256 of what the disk holds. Raises InboxFault."""
        with _named(self.path):
            os.fsync(self.stream.fileno())
            return _digest(self.stream)


@frozen(eq=False)
class Inbox:
    """The folder, held by this process until `close`."""

    folder: Path
    lock: int
    files: dict[str, Kept]
    parts: dict[str, Look]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Hold `folder` (made, if it is not there). Raises InboxFault, also when another process holds it."""
        with _named(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
            if status.st_uid != os.geteuid():
                raise InboxFault("", str(folder), "belongs to another user", f"run: chown {os.geteuid()} {folder}")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise InboxFault("", str(folder), "others may write into it", f"run: chmod go-w {folder}")
        with _named(folder / _LOCK):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _named(folder):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(folder, lock, *_read_record(folder / _RECORD))
        except BlockingIOError:
            os.close(lock)
            raise InboxFault("", str(folder), "another fetch is at work there", "wait until it has ended") from None
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.lock)

    def path(self, name: str) -> Path:
        return self.folder / name

    def intact(self, name: str) -> bool:
        """True when the whole file is there with the content that is on record. Raises InboxFault."""
        kept, path = self.files.get(name), self.path(name)
        with _named(path):
            try:
                with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as stream:
                    return kept is not None and _digest(stream) == kept.sha256
            except FileNotFoundError:
                return False

    def part(self, name: str, look: Look) -> Part:
        """The part of `name`, kept only if it was begun when the file looked so; to be closed. Raises InboxFault."""
        path = self.folder / f"{name}.part"
        with _named(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        stream = open(descriptor, "r+b")  # noqa: SIM115 - the part closes it
        try:
            with _named(path):
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                    raise InboxFault("", str(path), "is no plain file of this user", "move it away")
                os.fchmod(descriptor, 0o600)
            part = Part(path, stream, status.st_size)
            if self.parts.get(name) != look or part.size > look.size:
                part = part.restart()
                self.parts[name] = look
                self._save()
            if shutil.disk_usage(self.folder).free < look.size - part.size + _SPARE_BYTES:
                problem = f"there is too little room for {look.size:,} bytes"
                raise InboxFault("", str(path), problem, "make room, and run it again")
        except BaseException:
            stream.close()
            raise
        return part

    def drop(self, name: str) -> None:
        """Throw the part away. Raises InboxFault."""
        path = self.folder / f"{name}.part"
        with _named(path):
            path.unlink(missing_ok=True)
        self.parts.pop(name, None)
        self._save()

    def keep(self, name: str, kept: Kept) -> Path:
        """Put the finished part of `name` in its place, and on record. Raises InboxFault.

        A file that is there already and is not on record is never written over, unless it says the same.
        """
        path = self.path(name)
        if name not in self.files and path.exists():
            with _named(path), path.open("rb") as stream:
                if _digest(stream) != kept.sha256:
                    raise InboxFault("", str(path), "is in the way, and was not fetched by this", "move it away")
        self.files[name] = kept
        self._save()
        self._rename(f"{name}.part", name)
        with _named(path):
            self.path(f"{name}.new").unlink(missing_ok=True)
        self.parts.pop(name, None)
        self._save()
        return path

    def put_aside(self, name: str) -> Path:
        """Keep the finished part of `name` as `NAME.new`, beside what was processed. Raises InboxFault."""
        self._rename(f"{name}.part", f"{name}.new")
        self.parts.pop(name, None)
        self._save()
        return self.path(f"{name}.new")

    def note(self, name: str, kept: Kept) -> None:
        """Put on record. Raises InboxFault."""
        self.files[name] = kept
        self._save()

    def _rename(self, old: str, new: str) -> None:
        with _named(self.path(new)):
            os.replace(self.folder / old, self.folder / new)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _save(self) -> None:
        told = {
            "version": 1,
            "files": {name: asdict(kept) for name, kept in sorted(self.files.items())},
            "parts": {name: asdict(look) for name, look in sorted(self.parts.items())},
        }
        fresh = self.folder / f"{_RECORD}.new"
        with _named(self.folder / _RECORD):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as stream:
                json.dump(told, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
        self._rename(fresh.name, _RECORD)


def _read_record(path: Path) -> tuple[dict[str, Kept], dict[str, Look]]:
    try:
        with _named(path), open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), encoding="utf-8") as stream:
            told = json.load(stream)
        if told["version"] != 1:
            raise ValueError(told["version"])
        files = {name: Kept(**kept) for name, kept in told["files"].items()}
        return files, {name: Look(**look) for name, look in told["parts"].items()}
    except FileNotFoundError:
        return {}, {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = "it says what was processed already: restore it, or move it away to have every file taken once more"
        raise InboxFault("", str(path), "cannot be read", remedy) from error


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    stream.seek(0)
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the operating system, as one that names the file; a missing file and a taken lock pass."""
    try:
        yield
    except (FileNotFoundError, BlockingIOError):
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room, and run it again: it goes on where it stopped" if full else "mend it, and run it again"
        raise InboxFault("", str(path), f"cannot be used ({error.strerror})", remedy) from error
