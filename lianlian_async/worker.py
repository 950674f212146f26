"""A worker: drives whatever is due in a journal until it is told to stop. Many may run on one journal.

    claim what is due, under a lease ──► one step of each (query, or send) ──► the save that ends it ends the lease

What is to be sent and what is to be asked about are claimed apart, each with room of its own: after an outage ten
thousand queries may be due, and a new payment does not wait behind them, nor they behind ten thousand new payments.

Nothing depends on a worker staying alive: a lease ends by itself, and what a dead worker had begun is on record,
so the next one asks the gateway first. Nothing depends on the lease either: what makes a send unique is that its
attempt is saved under a version check (rule R6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from .client import LianLianClient
from .errors import JournalUnavailable
from .resolver.pacing import RECONNECT_AFTER_S, wait_s

__all__ = ["Worker"]

logger = logging.getLogger("lianlian_async.worker")

_CLAIM_MAX: Final = 64
_REFRESH_EVERY_S: Final = 600.0


class Worker:
    """Drives the due payouts of `client`'s journal; the client is opened and closed by whoever made it.

    `poll_s` is how often an idle worker looks, in the clock's seconds.
    """

    def __init__(self, client: LianLianClient, *, poll_s: float = 1.0) -> None:
        self._client = client
        self._poll_s = poll_s
        self._refreshed_at: float | None = None
        self.steps = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        """Work beside what happens in the block: `async with client, Worker(client).running(): ...`.

        At the end of the block what is in flight is finished, as with `run`: the client begins nothing more after it.
        What made the worker end before is raised there.
        """
        stop = asyncio.Event()
        work = asyncio.create_task(self.run(stop))
        try:
            yield self
        finally:
            stop.set()
            await asyncio.shield(work)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then begin nothing more, finish what is in flight, and return.

        A journal that fails is tried again, more and more slowly: another process that was suspended in the middle of a
        COMMIT, for one, keeps an SQLite file locked until it goes on or is killed.
        """
        failures = 0
        while not stop.is_set():
            try:
                claimed = await self._round()
                failures = 0
            except JournalUnavailable as error:
                claimed, failures = 0, failures + 1
                logger.warning("the journal cannot be read, nothing is claimed: %s", error)
            if not claimed:
                await self._idle(stop, wait_s(failures, RECONNECT_AFTER_S) if failures else self._poll_s)
        await self._client.finish()

    async def _round(self) -> int:
        await self._refresh()
        claimed = await self._client.advance(_CLAIM_MAX)
        self.steps += claimed
        if claimed:
            await asyncio.sleep(0)
        return claimed

    async def _refresh(self) -> None:
        """At the start and now and then: what is due, by today's rules?"""
        now = self._client.clock.now().timestamp()
        if self._refreshed_at is None or now - self._refreshed_at >= _REFRESH_EVERY_S:
            self._refreshed_at = now
            await self._client.refresh()

    async def _idle(self, stop: asyncio.Event, seconds: float) -> None:
        stopped = asyncio.ensure_future(stop.wait())
        slept = asyncio.ensure_future(self._client.clock.sleep(seconds))
        await asyncio.wait({stopped, slept}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, slept):
            task.cancel()
        await asyncio.gather(stopped, slept, return_exceptions=True)
