"""Fifty SIGKILLs at moments nobody chose, in a storm: every row paid at most once, every row told truly, none lost."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import define
from cli_world import Keys, Ran, Shell, audit, rows, write_csv

from lianlian_async.testing.simulator import Ledger

KILLS = 50
BATCHES = 5
ROWS = 40
SEED = 20161018
# A run starts within about half a second and lasts two to four; a kill may hit any moment of it.
KILL_AFTER_S = (0.05, 3.0)
ROUNDS = 4


@define
class Lane:
    """One batch with a journal of its own, and how often its runs were killed."""

    shell: Shell
    file: Path
    keys: list[str]
    draw: random.Random
    killed: int = 0

    async def kill_once(self) -> None:
        """Start the batch and kill it at a random moment; a run that ends before that is no kill."""
        running = await self.shell.start(*self.shell.pay_line(self.file, "--yes"))
        try:
            await asyncio.wait_for(asyncio.shield(running.process.wait()), self.draw.uniform(*KILL_AFTER_S))
        except TimeoutError:
            self.killed += running.signal(signal.SIGKILL)
        await running.kill()

    async def to_the_end(self) -> Ran:
        """Run it to its end; what waits for a fix is taken as fixed by an operator, as the storm has passed on."""
        for _ in range(ROUNDS):
            ran = await self.shell.pay(self.file)
            assert ran.code in (0, 1), ran.text[-2000:]
            stuck = [
                row["no_order"] for row in self.shell.outcomes().values()
                if row["step"] in ("FIX", "DECIDE") and row["state"] in ("UNSENT", "UNKNOWN", "REFUSED")
            ]  # fmt: skip
            paused = "paused" in ran.text
            if paused:
                assert (await self.shell.run("unpause", "--by", "chen")).code == 0
            elif not stuck:
                return ran
            if stuck:
                resumed = await self.shell.run("resume", *stuck, "--by", "chen", "--time-scale", 240)
                assert resumed.code in (0, 1), resumed.text[-2000:]
        return await self.shell.pay(self.file)


@asynccontextmanager
async def a_storm(shell: Shell, ledger: Path, seed: int) -> AsyncIterator[str]:
    """`simulate` as a process that outlives all the runs; yields its address."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lianlian_async", "simulate", "--time-scale", "240", "--faults", "storm", "--seed", str(seed), "--ledger", str(ledger),
        "--port", "0", "--json", "--merchant-public-key", str(shell.keys.path("merchant-public")),
        "--gateway-private-key", str(shell.keys.path("gateway-private")),
        stdout=asyncio.subprocess.PIPE, env=shell.environment(), cwd=shell.folder,
    )  # fmt: skip
    assert running.stdout is not None
    try:
        yield str(json.loads(await running.stdout.readline())["base_url"])
    finally:
        running.terminate()
        assert await running.wait() == 0


def a_lane(keys: Keys, folder: Path, base_url: str, number: int) -> Lane:
    folder.mkdir()
    lines = rows(ROWS, 1 + number * 1000)
    file = write_csv(folder / "salaries.csv", lines)
    shell = Shell(folder, keys, base_url)
    return Lane(shell, file, [line["key"] for line in lines], random.Random(SEED + number))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_killed_fifty_times(keys: Keys, shell: Shell) -> None:
    """Killed 50 times over five batches and then run to the end: no row is paid twice, lost, or told otherwise."""
    ledger_file = shell.folder / "ledger.jsonl"
    async with a_storm(shell, ledger_file, SEED) as base_url:
        lanes = [a_lane(keys, shell.folder / f"lane-{n}", base_url, n) for n in range(BATCHES)]

        async def punish(lane: Lane) -> None:
            for _ in range(4 * KILLS):
                if lane.killed >= KILLS // BATCHES:
                    break
                await lane.kill_once()
            await lane.to_the_end()

        # Two at a time, as there are two cores: a run that never gets to its first payment is a dull one to kill.
        turn = asyncio.Semaphore(2)

        async def in_turn(lane: Lane) -> None:
            async with turn:
                await punish(lane)

        try:
            await asyncio.gather(*map(in_turn, lanes))
        finally:
            for lane in lanes:
                await lane.shell.close()
    ledger = Ledger.read(ledger_file)
    assert sum(lane.killed for lane in lanes) == KILLS
    paid = 0
    for lane in lanes:
        outcomes = lane.shell.outcomes()
        audit(outcomes, lane.keys, ledger)
        paid += sum(row["state"] == "PAID" for row in outcomes.values())
    assert paid > 0.8 * BATCHES * ROWS, "too few were paid for this to mean anything"
    # Nothing reached the gateway that is not in some outcomes file.
    ours = {row["no_order"] for lane in lanes for row in lane.shell.outcomes().values()}
    assert {entry.no_order for entry in ledger.entries} <= ours
