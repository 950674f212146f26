"""An event loop on virtual time: waiting costs nothing, and the same seed gives the same order of everything."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

# A working day in Shanghai: 10 o'clock in the morning.
EPOCH = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)

# The simulated process that the running task belongs to; None for the world around.
PROCESS: contextvars.ContextVar[Any] = contextvars.ContextVar("process", default=None)


# So many turns without any time going by are no work any more, but a task that wakes itself for ever.
_TURNS_IN_AN_INSTANT_MAX = 500_000


class Stalled(Exception):
    """Nothing is left that could ever happen: somebody waits for what nobody will do, or time stands still."""


class NumberedFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future whose place in a set does not depend on where it lies in memory."""

    _serial = 0

    def __hash__(self) -> int:
        if not self._serial:
            self._serial = self.get_loop().serial()  # type: ignore[attr-defined]
        return self._serial


class NumberedTask(asyncio.Task):  # type: ignore[type-arg]
    """The same for tasks, which also know whose they are."""

    def __init__(self, loop: VirtualLoop, work: Coroutine[Any, Any, Any], context: Any) -> None:
        self._serial = loop.serial()
        self.process = PROCESS.get() if context is None else context.get(PROCESS)
        super().__init__(work, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._serial


class _Handle(asyncio.Handle):
    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: VirtualLoop, context: contextvars.Context | None) -> None:
        self._context = context or contextvars.copy_context()
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def __init__(
        self, when: float, callback: Any, args: Any, loop: VirtualLoop, context: contextvars.Context | None
    ) -> None:
        self._context = context or contextvars.copy_context()
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None
        self._when, self._scheduled = when, True


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, in which time jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._serials = 0
        self._turns, self._turning_at = 0, -1.0
        self.root = contextvars.Context()
        self.set_task_factory(lambda loop, work, context=None: NumberedTask(loop, work, context))

    def serial(self) -> int:
        self._serials += 1
        return self._serials

    def time(self) -> float:
        return self.seconds

    def _run_once(self) -> None:
        """One turn, as asyncio's own is, without a selector: whatever is ready, and else the next timer."""
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(timers)._scheduled = False
        if not ready and not self._stopping:
            if not timers:
                raise Stalled("nothing is left that could happen")
            self.seconds = max(self.seconds, timers[0]._when)
        self._turns += 1
        if self.seconds > self._turning_at:
            self._turns, self._turning_at = 0, self.seconds
        elif self._turns > _TURNS_IN_AN_INSTANT_MAX:
            self._turns = 0  # enough for whoever ends what is left over
            raise Stalled("time stands still: something wakes itself again and again")
        until = self.seconds + 1e-7
        while timers and timers[0]._when < until:
            timer = heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        """As asyncio's own, without what it asks for in its debug mode: every step of every task comes by here."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heappush(self._scheduled, timer)
        return timer

    def create_future(self) -> NumberedFuture:
        return NumberedFuture(loop=self)

    def now(self) -> datetime:
        """The true time of the simulated world."""
        return EPOCH + timedelta(seconds=self.seconds)

    def later(self, seconds: float, do: Any, *args: Any) -> asyncio.TimerHandle:
        """Let something happen that belongs to no process, whoever asks for it."""
        return self.call_at(self.seconds + seconds, do, *args, context=self.root)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that belongs to no process, whoever starts it."""
        return self.create_task(work, context=self.root)

    def _process_events(self, events: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run(work: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    """Run `work` to its end on `loop`, end whatever is left over, and close the loop."""
    try:
        return loop.run_until_complete(loop.spawn(work))
    finally:
        end(loop)


def end(loop: VirtualLoop) -> None:
    """End whatever is left over on `loop`, and close it."""
    for _ in range(100):
        left = asyncio.all_tasks(loop)
        if not left:
            break
        for task in sorted(left, key=hash):
            task.cancel()
        loop.run_until_complete(loop.spawn(asyncio.sleep(0)))
    loop.close()
