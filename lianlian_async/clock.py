"""Time as an argument: the wall clock, sleeping and deadlines behind one small seam.

Everything that waits takes a `Clock`. Production uses `SystemClock`; the simulator, the demo and the
tests hand in clocks from `lianlian_async.testing`, so that hours pass in seconds with no rule relaxed.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol, runtime_checkable

__all__ = ["SHANGHAI", "Adjustable", "Clock", "SystemClock", "wire_time"]

# LianLian's wall clock. China has had no daylight saving time since 1991: a fixed offset is exact,
# while a time zone table would make money depend on which tables a machine carries.
SHANGHAI = timezone(timedelta(hours=8), "+08:00")


class Clock(Protocol):
    """What the library asks of time. All durations are in this clock's own seconds."""

    @property
    def accelerated(self) -> bool:
        """True when this clock does not run at the pace of the real one (loopback gateways only)."""

    def now(self) -> datetime:
        """The present moment, aware."""

    def steady(self) -> float:
        """Seconds since some moment, which nobody can set: how long something has really lasted."""

    async def sleep(self, seconds: float) -> None:
        """Wait for this many of the clock's seconds."""

    def loop_seconds(self, seconds: float) -> float:
        """How many seconds of the event loop (sockets live there) that many clock seconds are."""


@runtime_checkable
class Adjustable(Protocol):
    """An accelerated clock that can be put forward: what an earlier run wrote down must not lie in its future."""

    def catch_up(self, moment: datetime) -> None:
        """Go on from `moment`, unless it is past already."""


class SystemClock:
    """The machine's own clock."""

    accelerated = False

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Seconds of the monotonic clock; a machine that is suspended does not count them."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        await asyncio.sleep(seconds)

    def loop_seconds(self, seconds: float) -> float:
        """The same number: the event loop runs at the machine's pace."""
        return seconds


def wire_time(moment: datetime) -> str:
    """`moment` as LianLian writes times: YYYYMMDDHH24MISS on its own +08:00 clock (specification 3.1)."""
    return moment.astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S")
