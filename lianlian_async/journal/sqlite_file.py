"""Where a journal file may lie, who may read it, and who may write it now.

SQLite trusts the file system. So a file on a network share, one that others can read, and one that was
moved or deleted while it is open are refused here, each with one sentence that says what to do.

Nothing here ever opens the database file itself once it exists: POSIX drops all of a process's locks on a
file when any descriptor of it is closed, and SQLite's would go with them.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

from ..errors import ConfigError, JournalUnavailable

__all__ = ["JournalFile", "WriteLock", "filesystem_of", "is_network"]

_LOG = logging.getLogger("lianlian_async.journal")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf"}
    | {"virtiofs", "vmhgfs"}
)
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_BESIDE: Final = ("", "-wal", "-shm")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_PAUSE_S: Final = 0.002


def filesystem_of(path: str, mountinfo: str) -> str | None:
    """The type of the file system that an absolute `path` lies on, by the kernel's table of mounts; None if unknown."""
    found, depth = None, -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place = before.split(" ")
        if len(place) < 5 or not after:
            continue
        mount = _OCTAL.sub(lambda digits: chr(int(digits[1], 8)), place[4])
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        # The deepest mount counts, and of two on the same spot the later one, which lies on top.
        if inside and len(mount) >= depth:
            found, depth = after.split(" ")[0], len(mount)
    return found


def is_network(kind: str) -> bool:
    """Whether this type of file system cannot be trusted with locks and durability."""
    # Nobody can tell whether a file system in user space keeps locks and fsync: sshfs, s3fs and rclone do not.
    return kind in _NETWORK or kind.startswith("fuse.")


class JournalFile:
    """The path of an SQLite journal, its checks, and its identity while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self._identity: list[tuple[int, int]] = []

    def beside(self, ending: str) -> Path:
        """A companion of the file: `-wal`, `-shm` or `-lock`."""
        return self.path.with_name(self.path.name + ending)

    def prepare(self) -> None:
        """Check the place and make the file (mode 0600) if there is none.

        Raises ConfigError for a place or a mode that is unsafe, JournalUnavailable where nothing can be written.
        """
        folder = self.path.parent
        if not folder.is_dir():
            raise ConfigError(f"the journal's directory {folder} does not exist: create it, or give another path")
        self._refuse_network()
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise JournalUnavailable(
                f"the journal's directory {folder} cannot be written: "
                "make it writable for this user, or give another path"
            )
        try:
            self._create()
        except FileExistsError:
            self._check_existing()
        except OSError as error:
            raise JournalUnavailable(f"the journal {self.path} cannot be created: {error.strerror}") from error

    def _refuse_network(self) -> None:
        try:
            kind = filesystem_of(str(self.path), _MOUNTS.read_text("utf-8", "surrogateescape"))
        except OSError:
            return  # There is no such table on this system.
        if kind is not None and is_network(kind):
            raise ConfigError(
                f"the journal {self.path} lies on {kind}, where locks and durability cannot be relied on: "
                "put it on a local disk"
            )
        if kind in _MEMORY:
            _LOG.warning("the journal %s lies on %s: it is gone when this machine stops", self.path, kind)

    def _create(self) -> None:
        # SQLite gives -wal and -shm the mode of the database file, so it is made before SQLite sees it.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # Otherwise a power cut could take the whole file away.
        finally:
            os.close(folder)

    def _check_existing(self) -> None:
        for path in map(self.beside, _BESIDE):
            try:
                mode = os.stat(path).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise ConfigError(f"the journal {path} is not a file: give the path of a file")
            if mode & 0o077:
                raise ConfigError(f"the journal {path} can be read or written by others: run `chmod 600 {path}`")
            # Another process that ends just now takes -wal and -shm away, and what is gone cannot be written, either.
            if not os.access(path, os.R_OK | os.W_OK) and path.exists():
                raise JournalUnavailable(f"the journal {path} is read-only: make it writable for this user")

    def remember(self) -> None:
        """Note which files are open now (the database and its -wal)."""
        self._identity = self._present()
        self.check_in_place()

    def check_in_place(self) -> None:
        """Raises JournalUnavailable when the open files are no longer those at the path.

        What is committed into a deleted file is lost, and a renamed one is not what the next start opens.
        """
        if not self._identity or self._present() != self._identity:
            raise JournalUnavailable(
                f"the journal {self.path} was moved, deleted or replaced while in use: "
                "put the original back with its -wal file, then start again"
            )

    def _present(self) -> list[tuple[int, int]]:
        try:
            return [(found.st_dev, found.st_ino) for found in (os.stat(self.path), os.stat(self.beside("-wal")))]
        except OSError:
            return []


class WriteLock:
    """One writer at a time over all processes of this machine, held around each transaction.

    SQLite has such a lock itself, but not over checkpoints: in versions before 3.51.3 a checkpoint that
    meets another connection's commit at the wrong moment loses committed data ("WAL-reset bug",
    https://sqlite.org/wal.html). With this lock the two never meet, whatever SQLite is installed.
    """

    def __init__(self, file: JournalFile, timeout_s: float) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._pause = Event()
        path = file.beside("-lock")
        try:
            owner = os.stat(file.path)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if os.geteuid() == 0:
                # As SQLite does for -wal: a file made by root must not shut the journal's owner out.
                os.fchown(self._descriptor, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise JournalUnavailable(f"the journal's lock {path} cannot be opened: {error.strerror}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; raises JournalUnavailable when another process keeps it beyond the time-out."""
        self._take()
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _take(self) -> None:
        for _ in range(max(1, round(self._timeout_s / _PAUSE_S))):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise JournalUnavailable(f"the journal {self._file.path} cannot be locked: {error}") from error
                self._pause.wait(_PAUSE_S)
            else:
                return
        raise JournalUnavailable(
            f"another process has kept the journal {self._file.path} locked for more than {self._timeout_s:g} s: "
            "find it (`fuser` names it) and let it finish, then try again"
        )

    def close(self) -> None:
        """Let go of the lock's file."""
        os.close(self._descriptor)
