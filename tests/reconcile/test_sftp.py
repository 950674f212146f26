"""Fetching statements from a real SFTP server that cuts, lies, stalls and writes while it is read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import resource
import shutil
import stat
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncssh
import pytest
from sftp_world import DAY, MORNING, NAME, PARTNER, SUMMARY, LeapingClock, World, a_world, content

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import ConfigError
from lianlian_async.reconcile import reader
from lianlian_async.reconcile.fetch_errors import (
    FetchError,
    HostKeyRefused,
    InboxFault,
    LoginRefused,
    ServerLost,
    StatementChanged,
    StatementMissing,
    StatementUnfinished,
    StatementUnusable,
)
from lianlian_async.reconcile.inbox import Inbox
from lianlian_async.reconcile.sftp import Patience, StatementSource, ready_at

LARGE = content(12_000)
AT_ONCE = Patience(missing_s=0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


# ---------------------------------------------------------------------- what is fetched


async def test_a_statement_and_its_summary_are_fetched(world: World) -> None:
    """Both files, byte for byte, open to nobody else, with their SHA-256; no part is left."""
    world.put(LARGE)
    world.put(b"3|3|27262.8|0|0|0|0\n", SUMMARY)
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert [path.name for path in fetch.paths] == [NAME, SUMMARY]
    assert world.names() == {NAME, SUMMARY}
    assert fetch.paths[0].read_bytes() == LARGE
    assert fetch.files[0].sha256 == hashlib.sha256(LARGE).hexdigest()
    for path in world.inbox.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert stat.S_IMODE(world.inbox.stat().st_mode) == 0o700
    assert len(list(reader.read_rows(fetch.paths[0], PARTNER))) == 12_000


async def test_a_statement_without_a_summary_and_of_a_month(world: World) -> None:
    """The rows alone are enough, and a month is fetched by its own name."""
    world.put(content())
    world.put(content(), f"FKMX_{PARTNER}_202610.txt")
    async with world.source() as source:
        fetch = await source.fetch([DAY, "202610", DAY])
    assert [path.name for path in fetch.paths] == [f"FKMX_{PARTNER}_202610.txt", NAME]


async def test_the_merchants_key_instead_of_a_password(tmp_path: Path) -> None:
    """Logged in with an SSH key from a file, under a host key that is pinned by its fingerprint."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    private, public, served = tmp_path / "id", tmp_path / "id.pub", tmp_path / "served"
    served.mkdir()
    key.write_private_key(private)
    private.chmod(0o600)
    key.write_public_key(public)
    from lianlian_async.testing.sftp import serve_statements

    async with serve_statements(served, PARTNER, client_key=public) as server:
        world = World(server, served, tmp_path / "inbox", private)
        world.put(content())
        access = world.access(password_file=None, key_file=private, host_key=server.fingerprint)
        async with world.source(access=access) as source:
            assert [file.name for file in (await source.fetch([DAY])).files] == [NAME]
        assert (server.passwords, server.logins) == (0, 1)


# ---------------------------------------------------------------------- who is on the other side


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_a_server_without_a_key_of_the_pinned_kind(world: World, kind: str) -> None:
    """It cannot be the one, which is told at once and not tried for two hours."""
    pinned = asyncssh.generate_private_key(kind).export_public_key("openssh").decode().strip()
    async with world.source(access=world.access(host_key=pinned)) as source:
        with pytest.raises(HostKeyRefused, match="no host key of the pinned kind"):
            await source.fetch([DAY])
    assert (world.server.users, world.clock.slept) == ([], [])


@pytest.mark.parametrize("form", ["line", "fingerprint"])
async def test_another_host_key_is_told_nothing(world: World, form: str) -> None:
    """The server never learns of a user, let alone a password, and nothing is tried again."""
    world.put(content())
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    line = stranger.export_public_key("openssh").decode().strip()
    pinned = line if form == "line" else stranger.get_fingerprint("sha256")
    async with world.source(access=world.access(host_key=pinned)) as source:
        with pytest.raises(HostKeyRefused) as refused:
            await source.fetch([DAY])
    assert (world.server.users, world.server.passwords, world.server.opened) == ([], 0, [])
    for said in (f"127.0.0.1:{world.server.port}", world.server.fingerprint, stranger.get_fingerprint("sha256")):
        assert said in str(refused.value)


async def test_a_known_hosts_file_of_the_user_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the pin counts, also where the user's own SSH set-up knows the server, has keys and an agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{world.server.port} {world.server.host_key}\n")
    (home / ".ssh" / "config").write_text(f"Host *\n  Port {world.server.port}\n  User somebody\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    async with world.source(access=world.access(host_key=stranger.get_fingerprint("sha256"))) as source:
        with pytest.raises(HostKeyRefused):
            await source.fetch([DAY])
    assert world.server.users == []
    world.put(content())
    async with world.source() as source:
        await source.fetch([DAY])
    assert set(world.server.users) == {world.server.user}


async def test_a_wrong_password_is_tried_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A user must not be locked out by retries, and the password stands in no message, log or repr."""
    world.put(content())
    world.password_file.write_text("not-the-one\n")
    caplog.set_level(logging.DEBUG)
    async with world.source() as source:
        with pytest.raises(LoginRefused) as refused:
            await source.fetch([DAY])
    assert world.server.passwords == 1
    assert world.clock.slept == []
    for told in (str(refused.value), repr(source.access), caplog.text):
        assert "not-the-one" not in told
        assert "hunter2" not in told


# ---------------------------------------------------------------------- connections that fail


async def test_a_cut_download_goes_on_where_it_stopped(world: World) -> None:
    """The connection is dropped in the middle: the bytes are the same in the end, and only the rest is sent again."""
    world.put(LARGE)
    world.server.cut_after = 1_000_000
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == LARGE
    assert world.server.logins == 2
    # The compared block, and what was under way of the block that was cut.
    assert world.server.sent <= len(LARGE) + (64 + 256) * 1024


async def test_a_download_goes_on_in_another_process(world: World) -> None:
    """Cut, and given up: the next run begins where this one stopped."""
    world.put(LARGE)
    world.server.cut_after = 1_000_000
    async with world.source(patience=AT_ONCE) as source:
        with pytest.raises(ServerLost) as lost:
            await source.fetch([DAY])
    assert NAME in str(lost.value)
    assert world.names() == {f"{NAME}.part"}
    have = (world.inbox / f"{NAME}.part").stat().st_size
    assert have >= 512 * 1024
    world.server.sent = 0
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == LARGE
    assert world.server.sent == len(LARGE) - have + 64 * 1024


@pytest.mark.parametrize("change", ["time", "size", "nothing but bytes"])
async def test_a_file_that_changed_after_a_part_of_it_came_begins_anew(world: World, change: str) -> None:
    """Another file under the same name is never glued to the old part: seen by its size, its time or its last block."""
    world.put(LARGE)
    world.server.cut_after = 1_000_000
    async with world.source(patience=AT_ONCE) as source:
        with pytest.raises(ServerLost):
            await source.fetch([DAY])
    changed = content(12_001 if change == "size" else 12_000, tag="m")
    world.put(changed, mtime=1_764_000_000 + (change == "time"))
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == changed


async def test_a_server_that_falls_silent_ends_at_the_deadline(world: World) -> None:
    """No answer within the time of a block is a lost connection; at the deadline that is what is told."""
    world.put(content())
    world.server.silent = True
    patience = Patience(answer_s=0.2, missing_s=100)
    async with world.source(patience=patience) as source:
        with pytest.raises(ServerLost, match=r"no answer within 0\.2 seconds"):
            await source.fetch([DAY])
    assert (world.clock.now() - MORNING).total_seconds() == 100
    assert world.names() <= {f"{NAME}.part"}


async def test_nobody_listens(world: World, unused_port: int) -> None:
    """Tried until the deadline, ever more slowly, and told with the address."""
    async with world.source(access=world.access(port=unused_port)) as source:
        with pytest.raises(ServerLost, match=rf"127\.0\.0\.1:{unused_port}"):
            await source.fetch([DAY])
    assert world.clock.slept[:7] == [30, 60, 120, 240, 480, 900, 900]
    assert sum(world.clock.slept) == 7200


@pytest.fixture
async def unused_port() -> int:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return port


# ---------------------------------------------------------------------- files that are not ready


async def test_before_nine_it_waits_for_nine(world: World) -> None:
    """Asked at six for yesterday: nobody is bothered before 09:00 (+08:00), and then it is there."""
    world.clock = LeapingClock(datetime(2026, 11, 24, 6, 0, tzinfo=SHANGHAI))
    nine = datetime(2026, 11, 24, 9, 0, tzinfo=SHANGHAI)
    before: list[int] = []
    world.clock.at = [(nine, lambda: (before.append(len(world.server.users)), world.put(content())))]
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert before == [0]
    assert [file.name for file in fetch.files] == [NAME]
    assert (world.clock.now() - nine).total_seconds() == 10


async def test_a_late_file_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It comes at twenty past: asked for again and again, with more patience each time; each try is told."""
    world.after(1200, lambda: world.put(content()))
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert len(fetch.files) == 1
    assert world.clock.slept[:6] == [30, 60, 120, 240, 480, 900]
    assert caplog.text.count("is not there") == 6


async def test_a_file_that_never_comes(world: World) -> None:
    """At the deadline the error names host, file and the way out."""
    async with world.source() as source:
        with pytest.raises(StatementMissing, match=r"ask LianLian") as missing:
            await source.fetch([DAY])
    assert (missing.value.file, missing.value.host) == (NAME, f"sftp://127.0.0.1:{world.server.port}")
    assert (world.clock.now() - MORNING).total_seconds() == 7200


@pytest.mark.parametrize("period", ["20261124", "20261125", "202611", "20270101"])
async def test_a_day_that_is_not_over_is_not_waited_for(world: World, period: str) -> None:
    """A slip of the pen must not wait for weeks."""
    async with world.source() as source:
        with pytest.raises(ConfigError, match="not over yet"):
            await source.fetch([period])


@pytest.mark.parametrize(
    ("period", "ready"), [("20261123", "20261124"), ("20261231", "20270101"), ("202602", "20260301")]
)
def test_when_statements_are_ready(period: str, ready: str) -> None:
    """At nine on the next day; a month's on the first."""
    assert f"{ready_at(period):%Y%m%d %H:%M %z}" == f"{ready} 09:00 +0800"


async def test_a_file_that_still_grows_is_not_taken(world: World) -> None:
    """It ends with a whole line at the first look, and has more at the second: taken only once it stands still."""
    whole = content(300)
    half = whole[: whole.index(b"\n", 20_000) + 1]
    world.put(half)
    world.after(5, lambda: world.put(whole, mtime=1_764_000_100))
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == whole


async def test_a_file_that_is_replaced_under_our_hands_is_not_taken(world: World) -> None:
    """Another file is put in its place while the old one is read: the second look goes by the name."""
    old, new = content(300), content(300, tag="m")
    world.put(old)

    def replace(name: str, offset: int) -> None:
        world.server.on_read = None
        world.put(new, "fresh", mtime=1_764_000_100)
        os.replace(world.served / "fresh", world.served / NAME)

    world.server.on_read = replace
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == new


async def test_a_server_that_says_the_end_too_early_is_not_believed(world: World) -> None:
    """Size and time agree and the last line is whole, and yet rows are missing: what counts is every byte of the size."""
    world.put(LARGE)
    world.server.ends_at = LARGE.index(b"\n", 700_000) + 1
    async with world.source(patience=AT_ONCE) as source:
        with pytest.raises(StatementUnfinished, match="bytes"):
            await source.fetch([DAY])
    world.server.ends_at = None
    async with world.source() as source:
        assert (await source.fetch([DAY])).paths[0].read_bytes() == LARGE


async def test_a_file_that_becomes_shorter_while_it_is_read(world: World) -> None:
    """Written anew from its beginning: waited for, and taken as it is in the end."""
    world.put(LARGE)

    def begin_anew(name: str, offset: int) -> None:
        if offset >= 600_000:
            world.server.on_read = None
            world.put(content(2), mtime=1_764_000_050)
            world.after(40, lambda: world.put(content(5000, tag="m"), mtime=1_764_000_100))

    world.server.on_read = begin_anew
    async with world.source() as source:
        assert (await source.fetch([DAY])).paths[0].read_bytes() == content(5000, tag="m")


@pytest.mark.parametrize("cut", [1, 2, 30])
async def test_a_last_line_that_is_not_complete(world: World, cut: int) -> None:
    """Half a line is no line, however still the file stands; a row with all its columns needs no line end."""
    world.put(content()[:-cut])
    async with world.source(patience=AT_ONCE) as source:
        if cut == 1:
            assert len((await source.fetch([DAY])).files) == 1
            return
        with pytest.raises(StatementUnfinished, match="middle of a line"):
            await source.fetch([DAY])
    assert world.names() == {f"{NAME}.part"}


async def test_a_half_written_summary_is_waited_for(world: World) -> None:
    """And the rows, which were complete, are not fetched a second time."""
    world.put(content())
    world.put(b"3|3|27262.8|0|0|", SUMMARY)
    world.after(40, lambda: world.put(b"3|3|27262.8|0|0|0|0", SUMMARY, mtime=1_764_000_100))
    async with world.source() as source:
        fetch = await source.fetch([DAY])
    assert [file.name for file in fetch.files] == [NAME, SUMMARY]
    assert fetch.paths[1].read_bytes() == b"3|3|27262.8|0|0|0|0"
    assert world.server.sent < len(content()) + 100


# ---------------------------------------------------------------------- once, and not twice


async def test_no_file_is_processed_twice_unless_asked(world: World) -> None:
    """The second run is told that there is nothing to do, and transfers nothing; `again` fetches it anew."""
    world.put(content())
    async with world.source() as source:
        await source.processed(await source.fetch([DAY]))
    world.server.sent = 0
    async with world.source() as source:
        second = await source.fetch([DAY])
        assert (second.files, [file.name for file in second.already]) == ((), [NAME])
        assert world.server.sent == 0
        third = await source.fetch([DAY], again=True)
    assert [file.name for file in third.files] == [NAME]
    assert world.server.sent == len(content())


async def test_fetched_and_not_processed_is_handed_out_again_without_a_transfer(world: World) -> None:
    """A crash between the two loses nothing; a file that was changed here meanwhile is fetched anew."""
    world.put(content())
    async with world.source() as source:
        await source.fetch([DAY])
    world.server.sent = 0
    async with world.source() as source:
        assert len((await source.fetch([DAY])).files) == 1
        assert world.server.sent == 0
        (world.inbox / NAME).write_bytes(content(9))
        fetch = await source.fetch([DAY])
    assert fetch.paths[0].read_bytes() == content()


async def test_a_file_that_changed_after_it_was_processed_is_an_error(world: World) -> None:
    """By name, with both hashes; the old file stays, the new one lies beside it, and `again` takes it."""
    world.put(content())
    async with world.source() as source:
        await source.processed(await source.fetch([DAY]))
    world.put(content(4), mtime=1_764_000_100)
    for _ in range(2):
        async with world.source() as source:
            with pytest.raises(StatementChanged) as changed:
                await source.fetch([DAY])
    for data in (content(), content(4)):
        assert hashlib.sha256(data).hexdigest()[:16] in str(changed.value)
    assert NAME in str(changed.value)
    assert (world.inbox / NAME).read_bytes() == content()
    assert (world.inbox / f"{NAME}.new").read_bytes() == content(4)
    async with world.source() as source:
        fetch = await source.fetch([DAY], again=True)
        await source.processed(fetch)
        assert fetch.paths[0].read_bytes() == content(4)
        assert world.names() == {NAME}
        assert (await source.fetch([DAY])).files == ()


async def test_a_new_time_alone_is_no_change(world: World) -> None:
    """The server was restored from a backup: same bytes, other time. It is compared, and not processed again."""
    world.put(content())
    async with world.source() as source:
        await source.processed(await source.fetch([DAY]))
    world.put(content(), mtime=1_764_009_999)
    async with world.source() as source:
        assert (await source.fetch([DAY])).files == ()
        world.server.sent = 0
        assert (await source.fetch([DAY])).files == ()
    assert world.server.sent == 0
    assert world.names() == {NAME}


async def test_a_file_of_the_user_is_never_written_over(world: World) -> None:
    """What lies there under that name and was not fetched by this stays."""
    world.put(content())
    world.inbox.mkdir(mode=0o700)
    (world.inbox / NAME).write_bytes(b"mine")
    async with world.source() as source:
        with pytest.raises(InboxFault, match="in the way"):
            await source.fetch([DAY])
    assert (world.inbox / NAME).read_bytes() == b"mine"


# ---------------------------------------------------------------------- two at once, and cancelled ones


async def test_two_at_once_on_one_folder(world: World) -> None:
    """The second is refused by name while the first is at work, and finds everything done afterwards."""
    world.put(content())
    async with world.source() as first, world.source() as second:
        fetch = await first.fetch([DAY])
        with pytest.raises(InboxFault, match="another fetch is at work"):
            await second.fetch([DAY])
        await first.processed(fetch)
    async with world.source() as third:
        assert (await third.fetch([DAY])).files == ()


async def test_cancelled_in_the_middle(world: World) -> None:
    """The folder is free at once, the connection gone, and the next run goes on with what is there."""
    world.put(LARGE)
    reached = asyncio.Event()
    world.server.on_read = lambda name, offset: reached.set() if offset >= 1_000_000 else None

    async def run() -> None:
        async with world.source() as source:
            await source.fetch([DAY])

    task = asyncio.create_task(run())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while world.server.connections:
            await asyncio.sleep(0)
    world.server.on_read = None
    world.server.sent = 0
    async with world.source() as source:
        assert (await source.fetch([DAY])).paths[0].read_bytes() == LARGE
    assert world.server.sent < len(LARGE)


async def test_cancelled_while_a_thread_works_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancellation is passed on when the thread has ended, and the folder is held by nobody then."""
    world.put(content())
    began, go_on = threading.Event(), threading.Event()
    plain = Inbox.open

    def slow(folder: Path) -> Inbox:
        inbox = plain(folder)
        began.set()
        assert go_on.wait(30)
        return inbox

    monkeypatch.setattr(Inbox, "open", slow)

    async def run() -> None:
        async with world.source() as source:
            await source.fetch([DAY])

    task = asyncio.create_task(run())
    while not began.is_set():
        await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    async with world.source() as source:
        assert len((await source.fetch([DAY])).files) == 1


async def test_cancelled_while_it_waits(world: World) -> None:
    """Waiting for nine holds nothing: another fetch may use the folder meanwhile."""
    clock = world.clock
    world.clock = LeapingClock(datetime(2026, 11, 24, 6, 0, tzinfo=SHANGHAI))
    asleep = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    world.clock.sleep = for_ever  # type: ignore[method-assign]
    async with world.source() as source:
        task = asyncio.create_task(source.fetch([DAY]))
        await asleep.wait()
        world.clock = clock
        world.put(content(), f"FKMX_{PARTNER}_20261122.txt")
        async with world.source() as other:
            assert len((await other.fetch(["20261122"])).files) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nothing_is_held_outside_of_the_block(world: World) -> None:
    """A folder that is held by nobody's block would stay held: refused."""
    world.put(content())
    source = world.source()
    with pytest.raises(ConfigError, match="context manager"):
        await source.fetch([DAY])
    async with source:
        fetch = await source.fetch([DAY])
    with pytest.raises(ConfigError, match="context manager"):
        await source.processed(fetch)


# ---------------------------------------------------------------------- what a server may try


async def test_names_that_lead_elsewhere_are_ignored(world: World) -> None:
    """A listing is looked through for exactly our own names; everything else is counted and left alone."""
    world.put(content())
    world.put(b"3|3|1|0|0|0|0\n", SUMMARY)
    world.server.extra_names = [
        b"../../etc/passwd", b"/etc/passwd", f"../{NAME}".encode(), f"x/{NAME}".encode(), f"{NAME}\n".encode(),
        f"FKMX_{PARTNER}_20261199.txt".encode(), f"FKMX_{'9' * 18}_{DAY}.txt".encode(), f"fkmx_{PARTNER}_{DAY}.txt".encode(),
        b"\xff\xfe.txt", f"FKMX_{PARTNER}_{DAY} (1).txt".encode(), f"{NAME}.part".encode(), b"\x1b[31m.txt",
    ]  # fmt: skip
    async with world.source() as source:
        names, ignored = await source.listed()
    assert names == sorted([NAME, SUMMARY])
    assert ignored == len(world.server.extra_names)
    assert not world.inbox.exists()


@pytest.mark.parametrize("period", ["../x", "20261123/..", "2026112", "20261131", "２０２６１１２３", ""])
async def test_a_period_is_no_path(world: World, period: str) -> None:
    """Only days and months that exist make a name."""
    async with world.source() as source:
        with pytest.raises(ConfigError, match="no day or month"):
            await source.fetch([period])
    with pytest.raises(ConfigError, match="18 digits"):
        StatementSource(world.access(), world.inbox, "../etc")


@pytest.mark.parametrize("what", ["folder", "device"])
async def test_what_is_no_plain_file(world: World, what: str) -> None:
    """Told at once; a device without an end is not read."""
    (world.served / NAME).mkdir() if what == "folder" else (world.served / NAME).symlink_to("/dev/zero")
    async with world.source() as source:
        with pytest.raises(StatementUnusable):
            await source.fetch([DAY])


async def test_a_file_without_end(world: World) -> None:
    """More than is taken: told by its size, before a byte is transferred."""
    world.put(LARGE)
    async with world.source(bytes_max=100_000) as source:
        with pytest.raises(StatementUnusable, match="100,000 are taken at most"):
            await source.fetch([DAY])
    assert world.server.sent == 0


@pytest.mark.parametrize("name", [f"{NAME}.part", ".lock", "statements.json"])
async def test_a_link_in_the_folder_is_not_followed(world: World, tmp_path: Path, name: str) -> None:
    """Whoever could put a link here must not have us write, or read, elsewhere."""
    world.put(content())
    world.inbox.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (world.inbox / name).symlink_to(target)
    async with world.source() as source:
        with pytest.raises(InboxFault, match=name.replace(".", r"\.")):
            await source.fetch([DAY])
    assert target.read_bytes() == b"precious"


# ---------------------------------------------------------------------- this machine


async def test_a_folder_that_others_may_write_into(world: World) -> None:
    """Somebody could put another statement in the place of LianLian's."""
    world.inbox.mkdir()
    world.inbox.chmod(0o770)
    async with world.source() as source:
        with pytest.raises(InboxFault, match="chmod go-w"):
            await source.fetch([DAY])


def test_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could do the same."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(InboxFault, match="another user"):
            Inbox.open(tmp_path)
    tmp_path.chmod(0o700)
    Inbox.open(tmp_path).close()


async def test_too_little_room_is_found_out_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is transferred onto a disk that cannot hold it."""
    world.put(LARGE)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))  # type: ignore[attr-defined]
    async with world.source() as source:
        with pytest.raises(InboxFault, match="too little room"):
            await source.fetch([DAY])
    assert world.server.sent == 0


async def test_a_disk_that_fills_up_in_the_middle(world: World) -> None:
    """The file system refuses a write: told with the file, nothing half is taken, and it goes on once there is room."""
    world.put(LARGE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, before[1]))
    try:
        async with world.source() as source:
            with pytest.raises(InboxFault, match="make room"):
                await source.fetch([DAY])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert world.names() == {f"{NAME}.part"}
    async with world.source() as source:
        assert (await source.fetch([DAY])).paths[0].read_bytes() == LARGE


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1, "files": {"x": {}}, "parts": {}}'])
async def test_a_record_that_cannot_be_read(world: World, text: str) -> None:
    """Not taken for an empty one: that would process everything once more."""
    world.inbox.mkdir(mode=0o700)
    (world.inbox / "statements.json").write_text(text)
    async with world.source() as source:
        with pytest.raises(InboxFault, match=r"statements\.json"):
            await source.fetch([DAY])


async def test_the_record_says_what_was_processed_and_when(world: World) -> None:
    """A file that people and scripts can read; an error can be pickled like any other."""
    world.put(content())
    async with world.source() as source:
        await source.processed(await source.fetch([DAY]))
    record = json.loads((world.inbox / "statements.json").read_text())
    assert record["files"][NAME]["sha256"] == hashlib.sha256(content()).hexdigest()
    assert record["files"][NAME]["processed_at"].startswith("2026-11-24T10:00")
    assert record["parts"] == {}
    import pickle

    error = pickle.loads(pickle.dumps(StatementMissing("h", "f", "p", "r")))
    assert (type(error), str(error), isinstance(error, FetchError)) == (StatementMissing, "h, f: p; r", True)
