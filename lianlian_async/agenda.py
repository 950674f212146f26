"""Who waits for which moment, and for a turn to query: one timer task for any number of waiting payouts."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from .clock import Clock
from .errors import LianLianError

__all__ = ["Agenda", "Pace", "Turn", "Wake"]

# How far ahead turns are reserved: one write to the journal serves that many queries when many wait.
_TURNS_AHEAD_S: Final = 0.5


class Wake(Enum):
    """Why a wait ended."""

    CAME = "the moment came"
    CALLED = "somebody called the waiter by name"
    CLOSED = "the agenda closed"


class Agenda:
    """Wakes waiters at their moment on the injected clock, when they are called, or all when it closes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, asyncio.Future[Wake]]] = []
        self._asleep: dict[str, asyncio.Future[Wake]] = {}
        self._called: set[str] = set()
        self._count = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_at: datetime | None = None
        self.closing = False
        self.closed = asyncio.Event()

    async def until(self, moment: datetime, name: str | None = None) -> Wake:
        """Wait for `moment`; one who waits under a `name` can be called away before."""
        if self.closing:
            return Wake.CLOSED
        if name is not None and self.was_called(name):
            return Wake.CALLED
        if moment <= self._clock.now():
            await asyncio.sleep(0)
            return self._came()
        future: asyncio.Future[Wake] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, future))
        self._arm()
        if name is None:
            return await future
        self._asleep[name] = future
        try:
            return await future
        finally:
            del self._asleep[name]

    def _came(self) -> Wake:
        return Wake.CLOSED if self.closing else Wake.CAME

    def call(self, name: str) -> None:
        """Wake whoever waits under `name` now, or else as soon as it is about to wait or to end."""
        future = self._asleep.get(name)
        if future is not None and not future.done():
            future.set_result(Wake.CALLED)
        else:
            self._called.add(name)

    def was_called(self, name: str) -> bool:
        """True once after a call that found nobody asleep."""
        called = name in self._called
        self._called.discard(name)
        return called

    def close(self) -> None:
        """Wake everybody and let nobody wait any more."""
        self.closing = True
        self.closed.set()
        if self._timer is not None:
            self._timer.cancel()
        for _, _, future in self._heap:
            if not future.done():
                future.set_result(Wake.CLOSED)
        self._heap.clear()

    def _arm(self) -> None:
        """Have the timer wake for the earliest moment; a later one is replaced, never left to wake late."""
        while self._heap and self._heap[0][2].done():
            heapq.heappop(self._heap)
        if not self._heap or self.closing:
            return
        first = self._heap[0][0]
        if self._timer is not None and not self._timer.done():
            if self._timer_at is not None and self._timer_at <= first:
                return
            self._timer.cancel()
        self._timer_at = first
        self._timer = asyncio.get_running_loop().create_task(self._wake_at(first))

    async def _wake_at(self, moment: datetime) -> None:
        while (left := (moment - self._clock.now()).total_seconds()) > 0:
            await self._clock.sleep(left)
        self._timer = None
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            future = heapq.heappop(self._heap)[2]
            if not future.done():
                future.set_result(Wake.CAME)
        self._arm()


class Turn:
    """One turn to query. It is False when the agenda closed before it came."""

    def __init__(self, *, came: bool) -> None:
        self._came = came
        self.passed_on = False

    def __bool__(self) -> bool:
        return self._came

    def pass_on(self) -> None:
        """It is not needed any more: whoever is next in this process has it."""
        self.passed_on = True


class Pace:
    """Lets queries through at most `per_s` a second, the most pressing first: a backlog drains, it never bursts.

    `reserve` gives out turns (when, how far apart, how many) that no other process on the same journal gets;
    `room` is how many may be under way at once. A turn is only taken when there is room to use it.
    """

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        *,
        per_s: float,
        room: int,
        reserve: Callable[[datetime, timedelta, int], Awaitable[datetime]],
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._gap = timedelta(seconds=1.0 / per_s)
        self._batch_max = max(1, int(per_s * _TURNS_AHEAD_S))
        self._room = asyncio.Semaphore(room)
        self._reserve = reserve
        self._waiting: list[tuple[tuple[float, ...], int, asyncio.Future[bool]]] = []
        self._count = 0
        self._pump: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def turn(self, rank: tuple[float, ...]) -> AsyncIterator[Turn]:
        """Wait for a turn, the lowest rank first; yields a False one when the agenda closed before it came.

        Raises what `reserve` raises.
        """
        if self._agenda.closing:
            yield Turn(came=False)
            return
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (rank, self._count, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._hand_out())
        try:
            mine = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and future.result():
                self._room.release()
            raise
        turn = Turn(came=mine)
        try:
            yield turn
        finally:
            if mine and turn.passed_on:
                self._let_in()
            elif mine:
                self._room.release()

    def queue_s(self, more: int = 0) -> float:
        """How many seconds those who wait, and so many more, take at this pace, if no other process takes turns."""
        return (len(self._waiting) + more) * self._gap.total_seconds()

    def spare(self, seconds: float) -> int:
        """How many more may wait so that all are let in within so many seconds; one at least, if nobody waits."""
        return max(1, int(seconds / self._gap.total_seconds())) - len(self._waiting)

    async def _hand_out(self) -> None:
        try:
            while self._next() is not None:
                count = min(len(self._waiting), self._batch_max)
                first = await self._reserve(self._clock.now(), self._gap, count)
                for number in range(count):
                    await self._room.acquire()
                    if await self._agenda.until(first + number * self._gap) is Wake.CLOSED:
                        self._room.release()
                        self._end(lambda future: future.set_result(False))
                        return
                    self._let_in()
        except LianLianError as trouble:
            kind, words = type(trouble), trouble.args
            # Each of them gets an exception of its own: a traceback grows on whoever raises it.
            self._end(lambda future: future.set_exception(kind(*words)))

    def _let_in(self) -> None:
        future = self._next()
        if future is None:
            self._room.release()
        else:
            heapq.heappop(self._waiting)
            future.set_result(True)

    def _next(self) -> asyncio.Future[bool] | None:
        """The most pressing one who still waits."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return self._waiting[0][2] if self._waiting else None

    def _end(self, how: Callable[[asyncio.Future[bool]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                how(future)
