"""One life of one simulated process: a real client on a chaos journal, a chaos clock and the wire.

Every await of the client that can take time goes through one of these ports, and every port asks `point`: there a
process crashes, stands still for hours, or meets a journal that fails. A dead process does nothing more: its
ports let nobody through, and its tasks are swept away.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lianlian_async import LianLianClient, Limits, Timeouts
from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import StaleVersion
from lianlian_async.worker import Worker

from .loop import EPOCH, PROCESS, NumberedTask
from .wire import Wire

if TYPE_CHECKING:
    from .world import World

FAIL: Final = "fail"
# Between an attempt and its first byte, between an answer and its commit: there it hurts, so there it happens.
HOT: Final = {"post": 6, "answer": 6, "journal.save": 2, "journal.save done": 4, "journal.add done": 4}
_READS: Final = (
    "twins",
    "revived",
    "verify",
    "load",
    "find",
    "due",
    "moved",
    "orphans",
    "page",
    "tally",
    "newest",
    "tripped",
)
_WRITES: Final = ("add", "replace", "save", "claim", "release", "turn", "told", "note_orphan", "trip", "reset")


class ProcessClock:
    """The machine's clock: it may be wrong, and it may be set."""

    accelerated = True

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.world.loop
        self.ahead_s = 0.0
        self._seconds, self._now = 0.0, EPOCH

    def now(self) -> datetime:
        seconds = self._loop.seconds + self.ahead_s
        if seconds != self._seconds:
            self._seconds, self._now = seconds, EPOCH + timedelta(seconds=seconds)
        return self._now

    def steady(self) -> float:
        return self._loop.seconds

    async def sleep(self, seconds: float) -> None:
        if (wait := self._process.point("sleep")) is not None:
            await wait
        await asyncio.sleep(seconds)
        if (wait := self._process.point("woke")) is not None:
            await wait

    def loop_seconds(self, seconds: float) -> float:
        return seconds


class ChaosJournal:
    """One process's handle on the store that all processes share."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._open = False

    async def open(self) -> None:
        await self._pass("open")
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def _pass(self, where: str) -> None:
        wait = self._process.point(where)
        if wait is not None and await wait is FAIL:
            raise JournalUnavailable("the journal does not answer")


def _port(name: str, *, writes: bool) -> Callable[..., Coroutine[Any, Any, Any]]:
    before, after = f"journal.{name}", f"journal.{name} done"

    async def call(self: ChaosJournal, *args: Any, **more: Any) -> Any:
        process, world = self._process, self._world
        wait = process.point(before)
        if (wait is not None and await wait is FAIL) or world.journal_down:
            world.met(process, before, args)
            raise JournalUnavailable("the journal does not answer")
        if not self._open:
            raise JournalUnavailable("the journal is not open")
        if world.journal_s is not None and (pause := world.journal_s()) is not None:
            await asyncio.sleep(pause)
            if (wait := process.point(before, quietly=True)) is not None:
                await wait
        try:
            result = await getattr(world.store, name)(*args, **more)
        except StaleVersion:
            if name == "save" and args[2].attempts:
                world.seen.stale_attempt()
            raise
        wait = process.point(after)
        if wait is not None and await wait is FAIL and writes:
            world.met(process, after, args)
            raise JournalUnavailable("the journal did not say whether it was written")
        return result

    return call


for _name in _READS:
    setattr(ChaosJournal, _name, _port(_name, writes=False))
for _name in _WRITES:
    setattr(ChaosJournal, _name, _port(_name, writes=True))


class Process:
    """One life, from `start` to `crash` or `stop`."""

    def __init__(self, world: World, seat: int, life: int, *, worker: bool, key: int) -> None:
        self.world = world
        self.name = f"p{seat}.{life}"
        self.chance = random.Random(f"{world.plan.seed}/{self.name}")
        self.dead = False
        self.stopping = False
        self.recovering = True
        self.stands: asyncio.Future[None] | None = None
        self.woke_at: float | None = None
        self.clock = ProcessClock(self)
        self.died: asyncio.Future[None] = world.loop.create_future()
        self.is_worker = worker
        self.poll_s = world.poll_s
        self._stop = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None
        self._worker: Worker | None = None
        self._context = world.loop.root.copy()
        self._context.run(PROCESS.set, self)
        wire = Wire(self)
        self.client = LianLianClient(
            world.merchant(key), ChaosJournal(self), transport=(wire, wire), clock=self.clock,  # type: ignore[arg-type]
            entropy=self.chance.randbytes, limits=Limits(queries_per_s=world.queries_per_s),
            timeouts=Timeouts(pay_s=world.timeout_s, query_s=world.timeout_s), two_person=world.two_person,
            on_change=world.told(self),
        )  # fmt: skip

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return self.world.loop.create_task(work, context=self._context.copy())

    async def start(self) -> None:
        """Open the client, and take up what is there."""
        await self.client.open()
        if self.is_worker:
            self._worker = Worker(self.client, poll_s=self.poll_s)
            self._work = self.run(self._worker.run(self._stop))
        else:
            await self.client.recover()
        self.recovering = False

    async def stop(self) -> None:
        """End as a process ends that was asked to."""
        self.stopping = True
        self._stop.set()
        if self._work is not None:
            await asyncio.wait({self._work})
        await self.client.aclose()
        self._over()

    def slow_down(self, poll_s: float) -> None:
        """Look less often: days go by in which little happens."""
        if self._worker is not None:
            self._worker._poll_s = poll_s

    # --- chaos

    def point(self, where: str, *, quietly: bool = False) -> Awaitable[Any] | None:
        """Called at every port, before and after: what may happen to a process here happens."""
        if self.dead:
            raise asyncio.CancelledError
        world = self.world
        if self.stands is not None:
            return self._stand_still()
        if world.strikes and not quietly and world.chance.random() < world.strike_rate * HOT.get(where, 1):
            return self._strike(where)
        return None

    async def _strike(self, where: str) -> Any:
        kind = self.world.strike(self, where)
        if kind == "crash":
            self.crash(where)
            raise asyncio.CancelledError
        if kind == "pause":
            self.pause(self.world.pause_s(), where)
            await self._stand_still()
        elif kind == "clock":
            self.world.set_clock(self)
        elif kind == FAIL:
            return FAIL
        return None

    def pause(self, seconds: float, where: str = "") -> None:
        """Nothing of this process goes on until then, and time goes by."""
        if self.stands is None and not self.dead:
            self.world.note("pause", self.name, f"{seconds:.0f} s", where)
            if seconds > 3600:
                self.world.saw("a process stood still for more than an hour")
            self.stands = self.world.loop.create_future()
            self.world.loop.later(seconds, self._go_on)

    def _go_on(self) -> None:
        stands, self.stands = self.stands, None
        self.woke_at = self.world.loop.seconds
        if stands is not None and not stands.done():
            stands.set_result(None)

    async def _stand_still(self) -> None:
        while self.stands is not None:
            await asyncio.shield(self.stands)
        if self.dead:
            raise asyncio.CancelledError

    def crash(self, where: str = "") -> None:
        """Die on the spot."""
        if self.dead:
            return
        self.world.note("crash", self.name, where)
        self.dead = True
        self._over()
        self.world.lose_tail()
        self.world.loop.call_soon(self._sweep, 0, context=self.world.loop.root)

    def _over(self) -> None:
        self.dead = True
        if not self.died.done():
            self.died.set_result(None)

    def _sweep(self, times: int) -> None:
        """Take the tasks of the dead away."""
        left = [t for t in asyncio.all_tasks(self.world.loop) if isinstance(t, NumberedTask) and t.process is self]
        for task in sorted(left, key=hash):
            task.cancel()
        if left and times < 50:
            self.world.loop.call_soon(self._sweep, times + 1, context=self.world.loop.root)
