"""Where a journal's file may lie, and in which condition."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from journal_children import Children
from journal_samples import attempt, change, news, record

from lianlian_async.errors import ConfigError, JournalUnavailable
from lianlian_async.journal import sqlite_file, sqlite_open
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_file import JournalFile, WriteLock, filesystem_of

ENDINGS = ("", "-wal", "-shm", "-lock")
MOUNTS = """\
21 1 259:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
30 21 0:30 / /srv rw - nfs4 server:/srv rw
31 30 259:2 / /srv/local rw - xfs /dev/vdb rw
32 21 0:31 / /my\\040share rw - cifs //server/share rw
33 21 0:32 / /twice rw - ext4 /dev/vdc rw
34 33 0:33 / /twice rw - fuse.sshfs host: rw
a line that means nothing
"""


def _mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _write(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)


def _exists(path: Path) -> bool:
    return path.exists()


def _move(path: Path, to: Path) -> None:
    path.rename(to)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


async def test_a_new_journal(path: Path) -> None:
    """Nobody else can read it, nor what lies beside it, whatever the umask is."""
    before = os.umask(0)
    try:
        journal = SqliteJournal(path)
        await journal.open()
        await journal.add([record("n1")])
    finally:
        os.umask(before)
    assert {ending: stat.S_IMODE(_beside(path, ending).stat().st_mode) for ending in ENDINGS} == dict.fromkeys(
        ENDINGS, 0o600
    )
    await journal.close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
async def test_a_journal_that_others_may_read(path: Path, mode: int) -> None:
    """ConfigError says which command puts it right, and after that it opens."""
    await _make(path)
    _mode(path, mode)
    with pytest.raises(ConfigError, match=rf"chmod 600 {path}"):
        await SqliteJournal(path).open()
    _mode(path, 0o600)
    await _make(path)


async def test_a_write_ahead_log_that_others_may_read(path: Path, sqlite: SqliteJournal) -> None:
    """ConfigError: the same data is in it."""
    await sqlite.add([record("n1")])
    _beside(path, "-wal").chmod(0o644)
    with pytest.raises(ConfigError, match=r"payouts.db-wal can be read"):
        await SqliteJournal(path).open()


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    """ConfigError, and it is not made."""
    with pytest.raises(ConfigError, match="does not exist: create it"):
        await SqliteJournal(tmp_path / "no" / "payouts.db").open()
    assert not _exists(tmp_path / "no")


async def test_the_path_is_a_directory(tmp_path: Path) -> None:
    """ConfigError."""
    with pytest.raises(ConfigError, match="is not a file"):
        await SqliteJournal(tmp_path).open()


async def test_the_path_is_a_link(tmp_path: Path, path: Path) -> None:
    """The file it leads to is used, and everything lies beside that."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    await _make(link)
    assert os.listdir(link.parent) == ["link.db"]
    assert _read(path).startswith(b"SQLite format 3")


async def test_a_file_system_that_is_read_only(
    tmp_path: Path, children: Children, private_mounts: tuple[str, ...]
) -> None:
    """JournalUnavailable names the directory, for an existing file and a new one; in a real read-only mount."""
    for _ in range(2):
        child = children.start("read_only", tmp_path, prefix=private_mounts)
        said = child.communicate(timeout=60)[0]
        assert said.startswith(f"failed JournalUnavailable the journal's directory {tmp_path} cannot be written")
        await _make(tmp_path / "payouts.db")


async def test_a_file_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable: it is found at the start, not at the first payout."""
    await _make(path)
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != path)
    with pytest.raises(JournalUnavailable, match="is read-only"):
        await SqliteJournal(path).open()


async def test_a_log_that_another_process_takes_away_amid_the_look(
    path: Path, sqlite: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last to close a journal removes what lies beside it: nothing is wrong with the journal, and it opens."""
    await sqlite.add([record("n1")])
    await sqlite.close()
    _write(_beside(path, "-wal"), b"")
    real = os.access

    def taken_away(place: Path, mode: int) -> bool:
        if str(place).endswith("-wal"):
            os.unlink(place)
        return real(place, mode)

    monkeypatch.setattr(os, "access", taken_away)
    journal = SqliteJournal(path)
    await journal.open()
    assert await journal.load("n1") is not None
    await journal.close()


async def test_a_directory_that_takes_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable with the system's reason."""

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalUnavailable, match="cannot be created: No space left"):
        await SqliteJournal(path).open()


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.rclone", "virtiofs"])
async def test_a_network_file_system(path: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError names its kind, and no file is made."""
    table = tmp_path / "mountinfo"
    _write(table, f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - {kind} somewhere rw\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", table)
    with pytest.raises(ConfigError, match=rf"lies on {kind}, .*put it on a local disk"):
        await SqliteJournal(path).open()
    assert not _exists(path)


async def test_a_file_system_in_memory(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is used, and the log says that it is gone when the machine stops."""
    table = tmp_path / "mountinfo"
    _write(table, "1 0 0:1 / / rw - tmpfs tmpfs rw\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", table)
    with caplog.at_level(logging.WARNING, "lianlian_async.journal"):
        await _make(path)
    assert "lies on tmpfs: it is gone when this machine stops" in caplog.text


async def test_a_system_without_a_table_of_mounts(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be said about the file system, and the journal opens."""
    monkeypatch.setattr(sqlite_file, "_MOUNTS", tmp_path / "missing")
    await _make(path)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/pay.db", "ext4"),
        ("/srv/pay.db", "nfs4"),
        ("/srv/local/pay.db", "xfs"),
        ("/srvx/pay.db", "ext4"),
        ("/my share/pay.db", "cifs"),
        ("/twice/pay.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path(place: str, kind: str) -> None:
    """The deepest mount counts, and of two on one spot the later."""
    assert filesystem_of(place, MOUNTS) == kind
    assert filesystem_of(place, "") is None


async def test_a_database_of_something_else(path: Path) -> None:
    """ConfigError, and the file is as it was."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
    db.close()
    _mode(path, 0o600)
    before = _read(path)
    with pytest.raises(ConfigError, match="not a journal of lianlian-async"):
        await SqliteJournal(path).open()
    assert _read(path) == before


async def test_a_file_that_is_no_database(path: Path) -> None:
    """ConfigError, and the file is as it was."""
    _write(path, b"no_order,money_order\n" * 100)
    with pytest.raises(ConfigError, match="not a journal of lianlian-async"):
        await SqliteJournal(path).open()
    assert _read(path) == b"no_order,money_order\n" * 100


async def test_an_empty_file(path: Path) -> None:
    """It becomes a journal."""
    _write(path, b"")
    await _make(path)


async def test_a_journal_of_a_later_version(path: Path) -> None:
    """ConfigError tells which schema it has and which is known; nothing is changed."""
    await _make(path)
    db = sqlite3.connect(path)
    known = len(sqlite_open.load_migrations("sqlite"))
    db.execute(f"PRAGMA user_version = {known + 1}")
    db.close()
    with pytest.raises(ConfigError, match=rf"has schema {known + 1}, and this version .* knows up to {known}: install"):
        await SqliteJournal(path).open()


async def test_a_journal_of_an_earlier_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is run, once, and the data stays."""
    await _make(path)
    scripts = (*sqlite_open.load_migrations("sqlite"), "CREATE TABLE later (a INTEGER) STRICT;\n")
    monkeypatch.setattr(sqlite_open, "load_migrations", lambda dialect: scripts)
    for _ in range(2):
        journal = SqliteJournal(path)
        await journal.open()
        assert await journal.load("n1") is not None
        await journal.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(scripts),)
    assert db.execute("SELECT count(*) FROM later").fetchone() == (0,)
    db.close()


async def test_a_migration_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable, and the schema is the old one, whole."""
    await _make(path)
    scripts = (*sqlite_open.load_migrations("sqlite"), "CREATE TABLE later (a);\nCREATE TABLE later (a);\n")
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_open, "load_migrations", lambda dialect: scripts)
        with pytest.raises(JournalUnavailable, match="table later already exists"):
            await SqliteJournal(path).open()
    await _make(path)


async def test_a_damaged_journal(path: Path) -> None:
    """JournalUnavailable says to keep the file and restore a backup."""
    await _make(path)
    data = bytearray(_read(path))
    data[4096:] = b"\xff" * (len(data) - 4096)
    _write(path, bytes(data))
    with pytest.raises(JournalUnavailable, match="damaged: keep the file as it is and restore a backup"):
        await SqliteJournal(path).open()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("PRAGMA synchronous = NORMAL", "would not be durable .synchronous reads 1"),
        ("PRAGMA synchronous = OFF", "would not be durable .synchronous reads 0"),
        ("PRAGMA journal_mode = DELETE", "journal_mode reads delete"),
    ],
)
async def test_a_setting_that_is_not_durable(
    path: Path, setting: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ConfigError: the start is refused when the setting that was asked for is not what SQLite says."""
    monkeypatch.setattr(sqlite_open, "_SETTINGS", (*sqlite_open._SETTINGS, setting))
    with pytest.raises(ConfigError, match=sentence):
        await SqliteJournal(path).open()


async def test_a_setting_that_is_more_than_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXTRA is accepted."""
    monkeypatch.setattr(sqlite_open, "_SETTINGS", (*sqlite_open._SETTINGS, "PRAGMA synchronous = EXTRA"))
    await _make(path)


async def test_an_sqlite_that_is_too_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError says which one is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(ConfigError, match=r"too old: 3.37.0 or later"):
        await SqliteJournal(path).open()


@pytest.mark.parametrize("ending", ["", "-wal"])
async def test_a_file_is_deleted_while_it_is_open(path: Path, sqlite: SqliteJournal, ending: str) -> None:
    """JournalUnavailable for writing and reading: what goes into a deleted file is lost."""
    await sqlite.add([record("n1")])
    _beside(path, ending).unlink()
    with pytest.raises(JournalUnavailable, match="moved, deleted or replaced"):
        await sqlite.add([record("n2")])
    with pytest.raises(JournalUnavailable, match="moved, deleted or replaced"):
        await sqlite.load("n1")


async def test_a_file_is_replaced_while_it_is_open(path: Path, sqlite: SqliteJournal) -> None:
    """JournalUnavailable, and when the original is put back it goes on."""
    await sqlite.add([record("n1")])
    _move(path, path.with_name("backup.db"))
    _write(path, b"")
    with pytest.raises(JournalUnavailable, match="put the original back"):
        await sqlite.add([record("n2")])
    _move(path.with_name("backup.db"), path)
    await sqlite.add([record("n3")])
    assert await sqlite.load("n3") is not None


async def test_the_file_vanishes_during_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable: it is not quietly made again without its mode."""
    with monkeypatch.context() as vanishing:
        vanishing.setattr(JournalFile, "_create", lambda self: None)
        with pytest.raises(JournalUnavailable, match=r"lock .* cannot be opened: No such file"):
            await SqliteJournal(path).open()
    connect = sqlite_open._connect

    def too_late(*arguments: object) -> sqlite3.Connection:
        path.unlink()
        return connect(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite_open, "_connect", too_late)
    with pytest.raises(JournalUnavailable, match="it cannot be opened: see that it exists"):
        await SqliteJournal(path).open()
    assert not _exists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_root_opens_the_journal_of_somebody_else(path: Path) -> None:
    """The lock that it makes belongs to the journal's owner, who can go on."""
    await _make(path)
    _beside(path, "-lock").unlink()
    os.chown(path, 12345, 23456)
    await _make(path)
    found = _beside(path, "-lock").stat()
    assert (found.st_uid, found.st_gid) == (12345, 23456)


async def test_a_lock_that_is_a_link(path: Path) -> None:
    """JournalUnavailable: a link could lead anywhere."""
    _beside(path, "-lock").symlink_to("/etc/passwd")
    with pytest.raises(JournalUnavailable, match=r"lock .* cannot be opened"):
        await SqliteJournal(path).open()


def test_a_lock_that_the_system_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable with the system's reason."""

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    path.touch()
    lock = WriteLock(JournalFile(path), 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(fcntl, "flock", refuse)
        with pytest.raises(JournalUnavailable, match="No locks available"), lock.held():
            pass
    with lock.held():
        pass
    lock.close()


async def _make(path: Path) -> None:
    """Open, write one payout with all that can belong to it, read it, close."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add([record("n1", attempts=(attempt(1),))])
    held = await journal.load("n1")
    assert held is not None
    await journal.save("n1", held.version, change(evidence=(news(),)))
    await journal.close()
