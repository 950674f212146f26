"""The examples as their users run them: real processes, a simulated gateway with faults, its ledger as the judge."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field
from cli_world import ROOT, TIME_SCALE, Gateway, Running, Shell, a_row, disagreement, histories
from process_signals import heeds_sigterm

EXAMPLES = ROOT / "examples"
TOKEN = "only-for-tests"
AT_REST = {"NOTHING", "DECIDE", "FIX"}


@define
class Program:
    """One example, its port, and everything that its processes have said."""

    name: str
    shell: Shell
    session: aiohttp.ClientSession
    arguments: tuple[object, ...] = ()
    port: int = field(factory=lambda: free_port())
    env: dict[str, str] = field(factory=dict)
    said: list[str] = field(factory=list)
    running: Running | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it; for those with a port, wait until it answers."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLES / self.name), *map(str, self.arguments), cwd=self.shell.folder,
            env=self.shell.environment(**self.environment()),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.running = Running(process)
        self.shell.running.append(self.running)
        if not self.arguments:
            await until(self.answers)

    def environment(self) -> dict[str, str]:
        return {
            "PORT": str(self.port), "SERVICE_TOKEN": TOKEN, "BOT_TOKEN": TOKEN,
            "LIANLIAN_NOTIFY_URL": f"{self.url}/lianlian", "LIANLIAN_TIME_SCALE": str(TIME_SCALE), **self.env,
        }  # fmt: skip

    async def heeds_sigterm(self) -> bool:
        return self.running is None or heeds_sigterm(self.running.process.pid)

    async def answers(self) -> bool:
        assert self.running is not None
        assert not self.running.ended, (await self.running.end()).text
        try:
            async with self.session.get(f"{self.url}/") as response:
                return response.status == 404
        except aiohttp.ClientError:
            return False

    async def end(self, number: signal.Signals, *, ends_with: int = 0) -> str:
        """Send it a signal and wait for its end; after SIGTERM it must end in this way. Returns what it said."""
        assert self.running is not None
        if number is not signal.SIGKILL:
            await until(self.heeds_sigterm)
        assert self.running.signal(number), (await self.running.end()).text
        ran = await self.running.end(30)
        self.said.append(ran.text)
        if number is not signal.SIGKILL:
            assert ran.code == ends_with, ran.text
        self.running = None
        return ran.text

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    def require_discreet(self, *secrets: str) -> None:
        """Nothing that was ever written to stdout or stderr holds one of these."""
        for secret in secrets:
            assert not any(secret in text for text in self.said), secret


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def until(condition: Callable[[], Awaitable[object]], *, within_s: float = 40.0) -> None:
    """Wait for something that other processes bring about."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.1)


def read(path: Path, statement: str) -> list[dict[str, Any]]:
    """Rows of an application's own database."""
    with closing(sqlite3.connect(path, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(statement)]


def payments(count: int, prefix: str = "salary-11") -> list[dict[str, str]]:
    """Payments to different cards, of different amounts."""
    return [{**a_row(number), "key": f"{prefix}/{number}"} for number in range(1, count + 1)]


def judge(gateway: Gateway, payments: Iterable[Mapping[str, Any]], told: Mapping[str, Mapping[str, Any]]) -> int:
    """Nothing lost, nothing twice, everything told as the ledger has it; returns how many were paid.

    `told` is what an application knows of each key: no_order, state, step.
    """
    keys = [payment["key"] for payment in payments]
    assert set(told) == set(keys), "lost, or more than was asked for"
    assert len({payout["no_order"] for payout in told.values()}) == len(keys)
    assert gateway.ledger.paid_twice() == ()
    assert gateway.ledger.paid_twice(lambda entry: (entry.card_no, entry.money_order)) == ()
    events = histories(gateway.ledger)
    assert set(events) <= {payout["no_order"] for payout in told.values()}, "the gateway has what nobody asked for"
    wrong = {
        key: why for key, payout in told.items()
        if (why := disagreement(payout["state"], events.get(payout["no_order"], ()))) is not None
    }  # fmt: skip
    assert wrong == {}
    return sum(payout["state"] == "PAID" for payout in told.values())
