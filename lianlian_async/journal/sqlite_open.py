"""Opening an SQLite journal: ours or refused, durable or refused, of a known schema or refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from ..errors import ConfigError
from .sqlite_file import JournalFile, WriteLock
from .sqlite_lane import Session, explain
from .statements import load_migrations, split

__all__ = ["APPLICATION_ID", "open_reader", "open_writer"]

APPLICATION_ID: Final = int.from_bytes(b"LLPJ")
_SQLITE_MIN: Final = (3, 37, 0)  # strict tables
_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: a plain fsync leaves the data in the disk's cache
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA journal_size_limit = 67108864",
)
_DURABLE: Final = {2: "FULL", 3: "EXTRA"}


def open_writer(file: JournalFile, timeout_s: float, meet: Callable[[sqlite3.Connection], None] | None) -> Session:
    """The one connection that writes; makes or migrates the schema.

    `meet` sees to the keys in the same transaction, before anything else is written.
    Raises ConfigError for a file or a set-up that must not be used, JournalUnavailable when the store fails.
    """
    _check_library()
    file.prepare()
    lock = WriteLock(file, timeout_s)
    try:
        with _failures(file, timeout_s):
            db = _connect(file, timeout_s)
            try:
                with lock.held():
                    _check_ours(db, file)
                    _make_durable(db, file)
                    _migrate(db, meet)
                file.remember()
            except BaseException:
                db.close()
                raise
    except BaseException:
        lock.close()
        raise
    return Session(db, file, timeout_s, lock)


def open_reader(file: JournalFile, timeout_s: float) -> Session:
    """A connection that cannot write; the writer must have been opened before."""
    with _failures(file, timeout_s):
        db = _connect(file, timeout_s)
        try:
            db.execute("PRAGMA query_only = ON")
            db.execute("PRAGMA trusted_schema = OFF")
            _value(db, "PRAGMA schema_version")  # The first look at the file: what is wrong shows now.
        except BaseException:
            db.close()
            raise
    return Session(db, file, timeout_s)


@contextmanager
def _failures(file: JournalFile, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise _not_ours(file) from error
        raise explain(error, file, timeout_s) from error


def _check_library() -> None:
    if sqlite3.sqlite_version_info < _SQLITE_MIN:
        wanted = ".".join(map(str, _SQLITE_MIN))
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: {wanted} or later is needed for the journal")


def _connect(file: JournalFile, timeout_s: float) -> sqlite3.Connection:
    # mode=rw: a file that vanished meanwhile must be missed, not quietly made again.
    uri = f"file:{quote(str(file.path))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, cached_statements=64)


def _value(db: sqlite3.Connection, pragma: str) -> object:
    row = db.execute(pragma).fetchone()
    return None if row is None else row[0]


def _not_ours(file: JournalFile) -> ConfigError:
    return ConfigError(f"{file.path} is not a journal of lianlian-async: give the path of one, or of a new file")


def _check_ours(db: sqlite3.Connection, file: JournalFile) -> None:
    """Before anything is written: is this file ours, or empty?"""
    application, version = _value(db, "PRAGMA application_id"), _value(db, "PRAGMA user_version")
    if application == APPLICATION_ID:
        known = len(load_migrations("sqlite"))
        if not isinstance(version, int) or version > known:
            raise ConfigError(
                f"the journal {file.path} has schema {version}, "
                f"and this version of lianlian-async knows up to {known}: "
                "install the version that wrote it, or a later one"
            )
    elif application or version or _value(db, "SELECT count(*) FROM sqlite_schema"):
        raise _not_ours(file)


def _make_durable(db: sqlite3.Connection, file: JournalFile) -> None:
    if _value(db, "PRAGMA journal_mode") != "wal":
        db.execute("PRAGMA journal_mode = WAL")
    for setting in _SETTINGS:
        db.execute(setting)
    # Read back: a pragma that is not understood or not possible is passed over in silence.
    mode, level = _value(db, "PRAGMA journal_mode"), _value(db, "PRAGMA synchronous")
    if mode != "wal":
        raise ConfigError(
            f"the journal {file.path} cannot use SQLite's write-ahead log (journal_mode reads {mode}): "
            "put it on a local disk"
        )
    if level not in _DURABLE:
        raise ConfigError(
            f"the journal {file.path} would not be durable (synchronous reads {level}, FULL is 2): "
            "use an SQLite that allows FULL"
        )


def _migrate(db: sqlite3.Connection, meet: Callable[[sqlite3.Connection], None] | None) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _value(db, "PRAGMA user_version")
        for number, script in enumerate(load_migrations("sqlite"), start=1):
            if isinstance(version, int) and number > version:
                for statement in split(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if meet is not None:
            meet(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
