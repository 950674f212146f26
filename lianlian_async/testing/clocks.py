"""Clocks for tests and demonstrations: one that runs N times faster, one that stands until it is pushed.

Both implement `lianlian_async.clock.Clock` and say `accelerated`, so that no gateway outside this
machine accepts them.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from datetime import UTC, datetime, timedelta

__all__ = ["ManualClock", "ScaledClock", "agreed"]

# A moment in the middle of a Shanghai working day, so that a test that runs for a few virtual hours
# does not cross a day boundary unless it means to.
_WORKING_DAY = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


# A busy machine may put a process to sleep between two readings: of this many the closest counts.
_READINGS = 5


class ScaledClock:
    """A clock that runs `scale` times as fast as the machine's.

    `scale` is virtual seconds per real second; `origin` is the first virtual moment (left out: all clocks of one
    scale that are started in the same month agree, whichever process made them, see `agreed`). Raises ValueError for
    a scale that is not above zero or an origin without zone, OverflowError beyond the calendar's end.
    """

    def __init__(self, scale: float, origin: datetime | None = None) -> None:
        if not 0 < scale < math.inf:
            raise ValueError("scale must be above zero")
        if origin is not None and origin.tzinfo is None:
            raise ValueError("origin must be an aware datetime")
        self.scale = float(scale)
        now, self._start = _both_clocks()
        self._origin = origin if origin is not None else agreed(now, scale)

    @property
    def accelerated(self) -> bool:
        """True unless the clock keeps the machine's own pace."""
        return self.scale != 1.0

    def now(self) -> datetime:
        """The present virtual moment, aware."""
        return self._origin + timedelta(seconds=(time.monotonic() - self._start) * self.scale)

    def steady(self) -> float:
        """Virtual seconds since this clock was made."""
        return (time.monotonic() - self._start) * self.scale

    def catch_up(self, moment: datetime) -> None:
        """Go on from `moment`, unless it is past already."""
        self._origin += max(moment - self.now(), timedelta(0))

    async def sleep(self, seconds: float) -> None:
        """Wait for this many virtual seconds."""
        await asyncio.sleep(max(seconds, 0.0) / self.scale)

    def loop_seconds(self, seconds: float) -> float:
        """How many real seconds that many virtual seconds last."""
        return seconds / self.scale


def _both_clocks() -> tuple[datetime, float]:
    """The machine's time and its monotonic clock, read together: what passes in between would count `scale` times."""
    read = []
    for _ in range(_READINGS):
        before = time.monotonic()
        now = datetime.now(UTC)
        read.append((time.monotonic() - before, now, before))
    _, now, before = min(read)
    return now, before


def agreed(now: datetime, scale: float) -> datetime:
    """What every new clock of this scale reads at the machine's `now`: the month so far, `scale` times as long.

    Two processes, or one that was killed and started again, then read the same time without a word to each other,
    and whatever year the machine believes in, no date is further ahead than `scale` months. A clock that runs over the
    end of a month goes on; one that is started after it begins anew, earlier than what was journalled before. Whoever
    opens a journal therefore puts it forward (`catch_up`) to the newest entry: time never runs backwards there.
    Raises OverflowError beyond the calendar's end.
    """
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return now if scale == 1.0 else month + (now - month) * scale


class ManualClock:
    """A clock that stands still until `advance` or `run_for` pushes it.

    `start` is the first moment (aware; a fixed one when left out). `loop_scale` says how many virtual
    seconds one second of the event loop stands for where sockets need a real deadline.
    """

    accelerated = True

    def __init__(self, start: datetime | None = None, *, loop_scale: float = 1.0) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self._now = self._start = start if start is not None else _WORKING_DAY
        self._loop_scale = loop_scale
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._count = 0

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def now(self) -> datetime:
        """The present virtual moment, aware."""
        return self._now

    def steady(self) -> float:
        """Virtual seconds since the first moment."""
        return (self._now - self._start).total_seconds()

    def loop_seconds(self, seconds: float) -> float:
        """How many seconds of the event loop that many virtual seconds are allowed to last."""
        return seconds / self._loop_scale

    async def sleep(self, seconds: float) -> None:
        """Wait until somebody has pushed the clock this many seconds on."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), self._count, future))
        await future

    def advance(self, seconds: float) -> None:
        """Jump this many seconds ahead and wake everybody whose time has come; raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError("a clock does not run backwards")
        self._wake(self._now + timedelta(seconds=seconds))

    async def run_for(self, seconds: float, *, rounds: int = 20) -> None:
        """Walk this many seconds ahead from one sleeper to the next, letting tasks run in between.

        `rounds` is how many turns of the event loop everybody gets at each stop.
        """
        end = self._now + timedelta(seconds=seconds)
        await _turns(rounds)
        while (at := self._next()) is not None and at <= end:
            self._wake(at)
            await _turns(rounds)
        self._wake(end)
        await _turns(rounds)

    def _next(self) -> datetime | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self, moment: datetime) -> None:
        self._now = max(self._now, moment)
        while (at := self._next()) is not None and at <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
