"""A real SFTP server on loopback, a folder of statements behind it, and a clock that does not make anybody wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import define, field

from lianlian_async.clock import SHANGHAI
from lianlian_async.reconcile.sftp import Patience, SftpAccess, StatementSource
from lianlian_async.reconcile.statement import COLUMNS
from lianlian_async.testing.clocks import ManualClock
from lianlian_async.testing.sftp import StatementServer, serve_statements

PARTNER = "201606020000150062"
DAY = "20261123"
NAME = f"FKMX_{PARTNER}_{DAY}.txt"
SUMMARY = f"FKMXSUM_{PARTNER}_{DAY}.txt"
# Ten o'clock on the next day: the statement is ready.
MORNING = datetime(2026, 11, 24, 10, 0, tzinfo=SHANGHAI)


class LeapingClock(ManualClock):
    """Whoever sleeps is there at once, and this clock with them; `at` tells what happens at which moment on the way."""

    def __init__(self, start: datetime = MORNING) -> None:
        super().__init__(start)
        self.at: list[tuple[datetime, Callable[[], object]]] = []
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(max(seconds, 0.0))
        self.advance(max(seconds, 0.0))
        for moment, happens in [event for event in self.at if event[0] <= self.now()]:
            self.at.remove((moment, happens))
            happens()
        await asyncio.sleep(0)


def content(rows: int = 3, tag: str = "n") -> bytes:
    """A statement of so many rows."""
    row = f"{{}},{PARTNER},{DAY} 10:00:00,202000,B{{}},{DAY},9087.6,1,0,{DAY} 10:01:00,.6,实时付款渠道,余额支付,付款,农行,0018,"
    lines = [",".join(COLUMNS), *(row.format(f"{tag}{number:06d}", number) for number in range(rows))]
    return "".join(f"{line}\n" for line in lines).encode()


@define(eq=False)
class World:
    """One test's server, folders and clock."""

    server: StatementServer
    served: Path
    inbox: Path
    password_file: Path
    clock: LeapingClock = field(factory=LeapingClock)

    def put(self, data: bytes, name: str = NAME, *, mtime: int = 1_764_000_000) -> None:
        """Have the server serve this; it was changed last at `mtime`."""
        path = self.served / name
        path.write_bytes(data)
        os.utime(path, (mtime, mtime))

    def access(self, **changes: Any) -> SftpAccess:
        plain: dict[str, Any] = {
            "host": self.server.host, "port": self.server.port, "user": self.server.user,
            "host_key": self.server.host_key, "password_file": self.password_file,
        }  # fmt: skip
        return SftpAccess(**plain | changes)

    def source(self, *, access: SftpAccess | None = None, **more: Any) -> StatementSource:
        more.setdefault("patience", Patience())
        return StatementSource(access or self.access(), self.inbox, PARTNER, clock=self.clock, **more)

    def names(self) -> set[str]:
        """What lies in the folder, but for its record and lock."""
        return {path.name for path in self.inbox.iterdir()} - {"statements.json", ".lock"}

    def after(self, seconds: float, happens: Callable[[], object]) -> None:
        self.clock.at.append((self.clock.now() + timedelta(seconds=seconds), happens))


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    served, password_file = folder / "served", folder / "password"
    served.mkdir()
    password_file.write_text("hunter2-of-the-test\n")
    password_file.chmod(0o600)
    async with serve_statements(served, PARTNER, password="hunter2-of-the-test") as server:
        yield World(server, served, folder / "inbox", password_file)
