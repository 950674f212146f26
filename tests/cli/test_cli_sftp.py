"""`reconcile --sftp`, `doctor` and `simulate --sftp-port`: real processes against a real SFTP server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_world import OID_PARTNER, TIME_SCALE, Gateway, Shell, make_journal

from lianlian_async.cli.demo_fetch import delivered
from lianlian_async.config import Settings
from lianlian_async.reconcile.sftp import SftpAccess, StatementSource
from lianlian_async.reconcile.statement import COLUMNS
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.sftp import StatementServer, serve_statements
from lianlian_async.testing.simulator import Ledger

# Long over, whatever the fast clock says.
DAY = "20251123"
NAME = f"FKMX_{OID_PARTNER}_{DAY}.txt"
HEADER = ",".join(COLUMNS)
ROW = f"n1,{OID_PARTNER},{DAY} 10:00:00,202000,B1,{DAY},9087.6,1,0,{DAY} 10:01:00,.6,实时付款渠道,余额支付,付款,农行,0018,"


@pytest.fixture
async def server(shell: Shell, tmp_path: Path) -> AsyncIterator[StatementServer]:
    """Statements that the shell is configured for, and a journal with nothing in it."""
    served, password = tmp_path / "served", tmp_path / "sftp-password"
    served.mkdir()
    async with serve_statements(served, OID_PARTNER) as made:
        password.touch(0o600)
        password.write_text(made.password)
        shell.changes |= {
            "LIANLIAN_SFTP_HOST": made.host, "LIANLIAN_SFTP_PORT": str(made.port), "LIANLIAN_SFTP_USER": made.user,
            "LIANLIAN_SFTP_HOST_KEY": made.fingerprint, "LIANLIAN_SFTP_PASSWORD_FILE": str(password),
            "LIANLIAN_SFTP_FOLDER": str(tmp_path / "statements"),
        }  # fmt: skip
        await make_journal(shell.journal)
        yield made


LINE = ("reconcile", "--sftp", "--day", DAY, "--time-scale", TIME_SCALE)


async def test_fetched_reconciled_and_not_twice(shell: Shell, server: StatementServer) -> None:
    """Fetched and even; then there is nothing to do; then once more because it was asked for."""
    (server.folder / NAME).write_text(f"{HEADER}\n")
    first = await shell.run(*LINE, "--json")
    assert first.code == 0, first.text
    assert json.loads(first.out)["even"] is True
    assert f"fetched: {shell.folder}/statements/{NAME}" in first.err
    second = await shell.run(*LINE)
    assert (second.code, second.out) == (0, "")
    assert "reconciled before and has not changed" in second.said
    third = await shell.run(*LINE, "--again")
    assert third.code == 0
    assert "even" in third.out


async def test_what_differs_and_what_changed(shell: Shell, server: StatementServer) -> None:
    """Status 1 for a row that is not ours, which counts as reconciled; 2 when the file says something else later."""
    (server.folder / NAME).write_text(f"{HEADER}\n{ROW}\n")
    first = await shell.run(*LINE)
    assert first.code == 1, first.text
    (server.folder / NAME).write_text(f"{HEADER}\n")
    second = await shell.run(*LINE)
    assert second.code == 2
    assert f"{NAME}: has other content than what was processed" in second.said


async def test_a_statement_that_cannot_be_read_is_not_counted_as_processed(
    shell: Shell, server: StatementServer
) -> None:  # fmt: skip
    """It is read again the next time."""
    (server.folder / NAME).write_text(f"{HEADER}\n{ROW.replace('9087.6', 'many')}\n")
    for _ in range(2):
        ran = await shell.run(*LINE)
        assert ran.code == 2
        assert "line 2" in ran.said


async def test_a_server_that_is_not_the_pinned_one(shell: Shell, server: StatementServer) -> None:
    """Status 2, with both fingerprints, and nobody has asked to come in."""
    shell.changes["LIANLIAN_SFTP_HOST_KEY"] = "SHA256:" + "A" * 43
    ran = await shell.run(*LINE)
    assert ran.code == 2
    assert server.fingerprint in ran.said
    assert server.users == []


async def test_a_file_that_is_not_there(shell: Shell, server: StatementServer) -> None:
    """Status 3 at the deadline; each try is told."""
    ran = await shell.run(*LINE, "--wait-s", 600)
    assert ran.code == 3, ran.text
    assert ran.said.count("Trying again in") >= 1
    assert f"{NAME}: is not there" in ran.said


async def test_the_day_before_is_what_is_fetched_by_itself(shell: Shell, server: StatementServer) -> None:
    """No day given: the last one that is over (+08:00). Before nine in the morning it waits until then."""
    # At this pace the longest wait, from midnight on, is 3.3 seconds; which hour it is depends on when the test runs.
    ran = await shell.run("reconcile", "--sftp", "--wait-s", 0, "--time-scale", 10_000)
    assert ran.code == 3, ran.text
    assert f"FKMX_{OID_PARTNER}_" in ran.said


@pytest.mark.parametrize(
    ("line", "changes", "said"),
    [
        (["reconcile"], {}, "either statement files or --sftp"),
        (["reconcile", "--sftp", NAME], {}, "either statement files or --sftp"),
        (["reconcile", NAME, "--again"], {}, "are for --sftp"),
        (["reconcile", NAME, "--day", DAY, "--day", "20251124"], {}, "are for --sftp"),
        (["reconcile", "--sftp", "--day", DAY, "--month", "202511"], {}, "not both"),
        ([*LINE], {"LIANLIAN_SFTP_HOST_KEY": None}, "LIANLIAN_SFTP_HOST_KEY"),
        ([*LINE], {"LIANLIAN_SFTP_FOLDER": None}, "LIANLIAN_SFTP_FOLDER"),
        (["reconcile", "--sftp", "--day", "../../x"], {}, "no day or month"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_what_cannot_be_meant(
    shell: Shell, server: StatementServer, line: list[object], changes: dict[str, str | None], said: str
) -> None:
    """Status 2 and one sentence, before anybody is asked."""
    ran = await shell.run(*line, env=changes)
    assert ran.code == 2
    assert said in ran.said
    assert server.users == []


async def test_doctor_looks_at_the_account(shell: Shell, gateway: Gateway, server: StatementServer) -> None:
    """Connects, compares and lists, and says so; each way in which it can be wrong is told. Nothing is fetched."""
    (server.folder / NAME).write_text(f"{HEADER}\n")

    async def finding(**changes: str | None) -> dict[str, str]:
        ran = await shell.run("doctor", "--json", "--time-scale", TIME_SCALE, env=changes)
        [found] = [line for line in map(json.loads, ran.out.splitlines()) if line["step"] == "sftp"]
        return found  # type: ignore[no-any-return]

    good = await finding()
    assert good["verdict"] == "ok"
    assert server.fingerprint in good["found"]
    assert "1 statements" in good["found"]
    assert (await finding(LIANLIAN_SFTP_HOST_KEY=None))["verdict"] == "wrong"
    assert "is pinned" in (await finding(LIANLIAN_SFTP_HOST_KEY="SHA256:" + "A" * 43))["found"]
    assert "is not there" in (await finding(LIANLIAN_SFTP_ROOT="/elsewhere"))["found"]
    assert server.opened == []
    ran = await shell.run("doctor", "--json", "--time-scale", TIME_SCALE, env={"LIANLIAN_SFTP_HOST": None})
    assert '"sftp"' not in ran.out


async def test_without_asyncssh_the_demo_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The statements are there all the same, put and not fetched."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    async with delivered(Ledger(), OID_PARTNER, tmp_path, [DAY], ScaledClock(TIME_SCALE)) as paths:
        assert paths == [tmp_path / "statements" / name for name in (NAME, NAME.replace("FKMX", "FKMXSUM"))]
        assert paths[0].read_text("utf-8") == f"{HEADER}\n"
    assert "asyncssh is not installed" in capsys.readouterr().out


async def test_simulate_serves_statements(shell: Shell, tmp_path: Path) -> None:
    """What it prints is all that a client needs; the fingerprint is that of the key."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lianlian_async", "simulate", "--port", "0", "--sftp-port", "0", "--json", cwd=shell.folder,
        env=shell.environment(), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        facts = json.loads(await process.stdout.readline())
        settings = Settings(
            **{name: value for name, value in facts.items() if name.startswith("sftp_") and "fing" not in name}
        )
        access = SftpAccess.of(settings)
        assert str(access.host_key) == facts["sftp_fingerprint"]
        async with StatementSource(access, tmp_path / "own", OID_PARTNER) as source:
            assert await source.listed() == ([], 0)
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0
