"""The demo from outside: it pays in a storm, its ledger is its judge, and the careless client is caught."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys

import pytest
from cli_world import Shell, histories, until

from lianlian_async.testing.simulator import Ledger


@pytest.mark.slow
async def test_demo_in_a_storm(shell: Shell) -> None:
    """Status 0, nothing paid twice, lost or misreported; the plain retry loop pays somebody twice on the same seed."""
    folder = shell.folder / "demo"
    bare: dict[str, str | None] = {name: None for name in shell.environment() if name.startswith("LIANLIAN_")}
    ran = await shell.run(
        "demo", "--payouts", 60, "--faults", "storm", "--seed", 3, "--folder", folder, env=bare, timeout_s=120
    )
    assert ran.code == 0, ran.text[-3000:]
    assert "paid twice 0, lost 0, misreported 0" in ran.out
    careless = re.search(r"a plain retry loop\D*(\d+)\D+(\d+) payments too many", " ".join(ran.out.split()))
    assert careless, ran.out
    assert int(careless[1]) > 0
    assert int(careless[2]) > 0
    # Not by its word alone: the two ledgers that it leaves behind say the same.
    ledger = Ledger.read(folder / "ledger.jsonl")
    assert ledger.paid_twice() == ()
    assert max(sum(event == "paid" for event, _ in events) for events in histories(ledger).values()) == 1
    careless_ledger = Ledger.read(folder / "careless-ledger.jsonl")
    twice = careless_ledger.paid_twice(lambda entry: entry.no_order.rpartition("A")[0])
    assert len(twice) == int(careless[1])
    states = await shell.status(env={"LIANLIAN_JOURNAL": f"sqlite:///{folder / 'journal.db'}"})
    assert len(states) == 60
    again = await shell.run("demo", "--folder", folder, env=bare)
    assert again.code == 2, again.text
    assert str(folder) in again.said


@pytest.mark.slow
async def test_demo_stopped(shell: Shell) -> None:
    """Ctrl-C ends the demo soon, without a traceback, and leaves no process behind."""
    folder = shell.folder / "demo"
    running = await shell.start("demo", "--payouts", 40, "--folder", folder, start_new_session=True)
    ledger = folder / "ledger.jsonl"
    await until(lambda: ledger.exists() and ledger.stat().st_size)
    # In a terminal Ctrl-C goes to every process of the group.
    os.killpg(running.process.pid, signal.SIGINT)
    try:
        ran = await running.end(timeout_s=10)
    except TimeoutError:
        os.killpg(running.process.pid, signal.SIGKILL)
        pytest.fail("ten seconds after Ctrl-C the demo still runs")
    assert ran.code in (1, 2, 3), ran.text
    with pytest.raises(ProcessLookupError):
        os.killpg(running.process.pid, 0)


async def test_simulate(shell: Shell) -> None:
    """The gateway as a server of its own: says in one line where it is and where its keys lie, and ends when told to."""
    bare: dict[str, str | None] = {name: None for name in shell.environment() if name.startswith("LIANLIAN_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lianlian_async", "simulate", "--port", "0", "--json", cwd=shell.folder,
        env=shell.environment(**bare), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        facts = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert set(facts) == {"base_url", "oid_partner", "merchant_private_key", "gateway_public_key"}
        assert os.stat(facts["merchant_private_key"]).st_mode & 0o077 == 0
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_simulate_that_cannot_start(shell: Shell) -> None:
    """A ledger that cannot be written, a key that is none, a taken port: one sentence and status 2, not a dead server."""
    (shell.folder / "no.pem").write_text("hello")
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        taken = server.sockets[0].getsockname()[1]
        started = [
            await shell.start("simulate", *arguments)
            for arguments in (
                ("--port", 0, "--ledger", shell.folder / "nowhere" / "ledger.jsonl"),
                ("--port", 0, "--merchant-public-key", "no.pem"),
                ("--port", 0, "--gateway-private-key", "nowhere.pem"),
                ("--port", taken),
            )
        ]
        for running in started:
            try:
                ran = await running.end(timeout_s=10)
            except TimeoutError:
                pytest.fail("it started all the same")
            assert ran.code == 2, ran.text
            assert ran.said.startswith("Error: ")


@pytest.mark.slow
async def test_demo_over_three_days(shell: Shell) -> None:
    """In a storm: the statements come out even, and of a planted difference of each kind all are found."""
    folder = shell.folder / "days"
    bare: dict[str, str | None] = {name: None for name in shell.environment() if name.startswith("LIANLIAN_")}
    ran = await shell.run(
        "demo", "--days", 3, "--payouts", 60, "--seed", 3, "--folder", folder, env=bare, timeout_s=180
    )
    assert ran.code == 0, ran.text[-3000:]
    planted = re.search(r"planted (\d+), found (\d+), invented 0", ran.out)
    assert planted, ran.out
    assert planted[1] == planted[2]
    assert int(planted[1]) >= 7
    assert re.search(r"^even$", ran.out, re.MULTILINE)
    assert {"reconciliation.html", "planted.html", "statements"} <= {path.name for path in folder.iterdir()}
    assert len(list((folder / "statements").glob("FKMX_*"))) == 4
