"""Tasks that the client owns: a caller that goes away ends its own wait, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from .errors import LianLianError
from .journal import Record

__all__ = ["Crew", "Watchers"]

logger = logging.getLogger("lianlian_async")

T = TypeVar("T")


class Crew:
    """Keeps strong references to running work, one named task at most for each payout."""

    def __init__(self) -> None:
        self._named: dict[str, asyncio.Task[Any]] = {}
        self._kinds: Counter[str] = Counter()
        self._all: set[asyncio.Task[Any]] = set()

    async def own(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end whatever happens to the caller, and give the caller its result."""
        return await asyncio.shield(self._start(work))

    def size(self, kind: str | None = None) -> int:
        """How many named tasks run: all, or those of one kind."""
        return self._kinds[kind] if kind else sum(not task.done() for task in self._named.values())

    def named(self, name: str) -> asyncio.Task[Any] | None:
        """The running task of this name, if there is one."""
        task = self._named.get(name)
        return None if task is None or task.done() else task

    def start(self, name: str, work: Coroutine[Any, Any, T], kind: str = "") -> asyncio.Task[T]:
        """Run `work` as the one task of this name; `kind` is what it counts as."""
        task = self._start(work)
        self._named[name] = task
        self._kinds[kind] += 1
        task.add_done_callback(lambda done: self._ended(name, kind, done))
        return task

    async def rest(self) -> None:
        """Wait until nothing runs any more, whoever is asking left out."""
        while running := self._all - {asyncio.current_task()}:
            await asyncio.wait(running)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._all.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._all.discard(task)
        if not task.cancelled():
            # Whoever waited has the exception; whoever went away does not want it.
            task.exception()

    def _ended(self, name: str, kind: str, task: asyncio.Task[Any]) -> None:
        self._kinds[kind] -= 1
        if self._named.get(name) is task:
            del self._named[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: stopped for now: %s", name, error)


class Watchers:
    """Whoever waits for the next news of a payout in this process."""

    def __init__(self) -> None:
        self._futures: dict[str, set[asyncio.Future[Record]]] = {}

    def watch(self, no_order: str) -> asyncio.Future[Record]:
        """The next record of this payout that is seen here, or the trouble with it."""
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(no_order, set()).add(future)
        return future

    def unwatch(self, no_order: str, future: asyncio.Future[Record]) -> None:
        """Forget a watcher that does not wait any more."""
        futures = self._futures.get(no_order, set())
        futures.discard(future)
        if not futures:
            self._futures.pop(no_order, None)
        if future.done() and not future.cancelled():
            future.exception()

    def tell(self, record: Record, error: LianLianError | None = None) -> None:
        """Give every watcher the record, or the trouble."""
        for future in self._futures.pop(record.no_order, set()):
            if not future.done():
                future.set_exception(error) if error else future.set_result(record)
