"""Telling the application what changed: from the journal, after the commit, at least once (design of the outbox).

Every change of state or step is written down by the very transaction that brings it. Whoever tells the
application goes through these rows in order and remembers how far it came, so a crash between the commit and the
callback only means that the callback comes later, and a crash after it that the same change may come twice:
`Changed.id` is the same then. One process tells at a time; when it dies, another takes over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from attrs import frozen

from .engine import Engine
from .errors import LianLianError
from .journal import Lease, Moved
from .payout import Payout
from .resolver import State, Step
from .resolver.pacing import RECONNECT_AFTER_S, wait_s

__all__ = ["Changed", "OnChange", "Teller"]

logger = logging.getLogger("lianlian_async.telling")

_BATCH: Final = 20
_LEASE: Final = timedelta(seconds=60)
# Changes that other processes write are seen this much later at most; our own at once.
_LOOK_EVERY: Final = timedelta(seconds=2)
_LAST_CHANCE_S: Final = 5.0
# A handler that has not ended by then counts as failed: one that hangs must not keep later changes from being told.
_HANDLER: Final = timedelta(seconds=60)
# What was cancelled has so long to end; what goes on all the same is left to itself.
_GIVE_UP_S: Final = 1.0
_NAME: Final = "(telling)"


@frozen(kw_only=True)
class Changed:
    """A payout came to another state or step. `payout` is how it stands *now*, which may be further on.

    `id` is the same whenever this change is told again: remember it, or make the handler safe to repeat. `version`
    rises with every change of one payout: a change that is told late, after a newer one, must not overwrite it.
    """

    id: str
    no_order: str
    version: int
    state: State
    step: Step
    payout: Payout


OnChange = Callable[[Changed], Awaitable[None]]


class Teller:
    """Tells one subscriber of every change in one merchant's journal."""

    def __init__(self, engine: Engine, subscriber: str, on_change: OnChange) -> None:
        self._engine = engine
        # One journal may hold several merchants: each has subscribers of its own.
        self._subscriber = f"{engine.gateway.merchant.oid_partner}/{subscriber}"
        self._on_change = on_change
        self._left: set[asyncio.Future[None]] = set()

    def poke(self) -> None:
        """There may be something to tell."""
        self._engine.agenda.call(_NAME)

    async def run(self) -> None:
        """Tell until the agenda closes. A handler that raises is asked again later; a journal that fails, too."""
        agenda, clock, failures = self._engine.agenda, self._engine.clock, 0
        while not agenda.closing:
            try:
                told = await self._tell_some()
                failures = 0
            except LianLianError as error:
                logger.warning("the journal cannot say what changed: %s", error)
                told, failures = 0, failures + 1
            if not told:
                wait = timedelta(seconds=wait_s(failures, RECONNECT_AFTER_S)) if failures else _LOOK_EVERY
                await agenda.until(clock.now() + wait, _NAME)

    async def _tell_some(self) -> int:
        now = self._engine.clock.now()
        lease = Lease(self._engine.owner, now, now + _LEASE)
        batch = await self._engine.journal.moved(self._subscriber, lease, _BATCH)
        for count, moved in enumerate(batch):
            if self._engine.agenda.closing or self._engine.clock.now() >= lease.until:
                return count
            await self._tell(moved)
        return len(batch)

    async def _tell(self, moved: Moved) -> None:
        record = await self._engine.journal.load(moved.no_order)
        if record is None or record.oid_partner != self._engine.gateway.merchant.oid_partner:
            await self._engine.journal.told(self._subscriber, moved)
            return
        changed = Changed(
            id=f"{moved.no_order}/{moved.version}", no_order=moved.no_order, version=moved.version, state=moved.state,
            step=moved.step, payout=await self._engine.payout(record),
        )  # fmt: skip
        again_at = None
        if not await self._handled(changed):
            wait = wait_s(moved.tries + 1, RECONNECT_AFTER_S)
            again_at = self._engine.clock.now() + timedelta(seconds=wait)
        await self._engine.journal.told(self._subscriber, moved, again_at=again_at)

    async def _handled(self, changed: Changed) -> bool:
        """Call the application, which has a minute, and a few more seconds once the agenda closes."""
        agenda, clock = self._engine.agenda, self._engine.clock
        task = asyncio.ensure_future(self._on_change(changed))
        limit = asyncio.ensure_future(agenda.until(clock.now() + _HANDLER))
        try:
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and agenda.closing:
                await asyncio.wait({task}, timeout=_LAST_CHANCE_S)
            if not task.done():
                await self._give_up(task, changed)
                return False
        finally:
            limit.cancel()
            task.cancel()
        if task.cancelled() or (error := task.exception()) is not None:
            kind = "CancelledError" if task.cancelled() else type(error).__name__
            logger.error("the application failed on change %s: %s", changed.id, kind)
            return False
        return True

    async def _give_up(self, task: asyncio.Future[None], changed: Changed) -> None:
        """End a handler that takes too long; it is told again later, whatever it did with its cancellation."""
        logger.error("the application did not end on change %s in time: it is told again later", changed.id)
        task.cancel()
        await asyncio.wait({task}, timeout=_GIVE_UP_S)
        if not task.done():
            logger.error("the application goes on with change %s although it was cancelled", changed.id)
            self._left.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()
