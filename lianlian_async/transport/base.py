"""What both transports share: slots, the total deadline, the watermark, and cancellation that harms no pool.

Each exchange runs in a task of the transport's own. A caller that gives up ends its wait; the exchange is
cancelled exactly once and tidies up by itself, so that a second cancellation can never tear the tidying
up apart (that is how pools lose slots for ever).
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from ..errors import ConfigError
from . import FaultKind, Row, WireAnswer, WireFault, check_address, classify, describe, mark_cancelled

__all__ = ["ExchangeTransport", "SendRefused", "Watermark"]

logger = logging.getLogger("lianlian_async.transport")


class SendRefused(RuntimeError):
    """Raised in the way of a first byte that must not leave."""


class Watermark:
    """Whether the first byte of one request may have left. Once revoked without it, none ever will."""

    __slots__ = ("_guard", "_passed", "_revoked", "too_late")

    def __init__(self, guard: Callable[[], bool] | None = None) -> None:
        self._guard = guard
        self._passed = False
        self._revoked = False
        self.too_late = False

    def cross(self) -> None:
        """To be called immediately before the first byte; raises SendRefused if it must not leave."""
        if self._revoked:
            raise SendRefused("the request was given up before its first byte")
        if self._passed:
            # A redirect, an authentication flow or a retrying layer in a caller's client would get here.
            raise SendRefused("this request was sent before; it is never sent twice")
        if self._guard is not None and not self._guard():
            # The machine slept on the way here: what is too late is never sent.
            self.too_late = True
            self._revoked = True
            raise SendRefused("the request's time has gone by")
        self._passed = True

    def revoke(self) -> bool:
        """Close the way; returns whether bytes may have left before."""
        self._revoked = True
        return self._passed


class ExchangeTransport(ABC):
    """A transport whose subclass does one exchange; everything about giving up is here."""

    table: ClassVar[tuple[Row, ...]]
    libraries: ClassVar[frozenset[str]]

    def __init__(self, *, connections_max: int, watermark_proves: bool) -> None:
        if type(connections_max) is not int or connections_max < 1:
            raise ConfigError("connections_max must be a whole number of at least 1")
        self._slots = asyncio.Semaphore(connections_max)
        self._watermark_proves = watermark_proves
        self._running: set[asyncio.Task[WireAnswer | WireFault]] = set()
        self._tidying: set[asyncio.Task[None]] = set()
        self._closed = False

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        """POST `body` once (see `Transport.post`)."""
        check_address(url)
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        try:
            refused = await self._wait_for_slot(end)
        except asyncio.CancelledError as cancel:
            mark_cancelled(cancel, WireFault(FaultKind.CANCELLED, sent=False, detail="while waiting for a connection"))
            raise
        if refused is not None:
            return refused
        watermark = Watermark(guard)
        task = loop.create_task(self._run(url, body, watermark))
        self._running.add(task)
        task.add_done_callback(self._finished)
        try:
            await asyncio.wait((task,), timeout=end - loop.time())
        except asyncio.CancelledError as cancel:
            mark_cancelled(cancel, self._gave_up(FaultKind.CANCELLED, watermark))
            task.cancel()
            raise
        if not task.done():
            fault = self._gave_up(FaultKind.TIMEOUT, watermark)
            task.cancel()
            return fault
        return self._gave_up(FaultKind.CLOSED, watermark) if task.cancelled() else task.result()

    async def aclose(self) -> None:
        """End what is in flight and close every connection of this transport's own."""
        self._closed = True
        for task in self._running:
            if not task.cancelling():
                task.cancel()
        while self._running or self._tidying:
            await asyncio.wait({*self._running, *self._tidying})
        await self._close()

    @abstractmethod
    async def _exchange(self, url: str, body: bytes, watermark: Watermark) -> WireAnswer | WireFault:
        """One request and its answer; crosses the watermark just before the first byte."""

    @abstractmethod
    async def _close(self) -> None:
        """Close the connections; nothing is in flight any more."""

    @abstractmethod
    def renew(self) -> None:
        """Let no connection opened so far carry another request."""

    async def _wait_for_slot(self, end: float) -> WireFault | None:
        """Take a slot, or say why not. Waiting here costs the HTTP library nothing, however many wait."""
        if not self._closed and end <= asyncio.get_running_loop().time():
            return WireFault(FaultKind.TIMEOUT, sent=False, detail="the deadline had passed before the start")
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(end):
                    await self._slots.acquire()
            except TimeoutError:
                return WireFault(FaultKind.TIMEOUT, sent=False, detail="no connection came free in time")
        else:
            await self._slots.acquire()
        if not self._closed:
            return None
        self._slots.release()
        return WireFault(FaultKind.CLOSED, sent=False, detail="the transport is closed")

    async def _run(self, url: str, body: bytes, watermark: Watermark) -> WireAnswer | WireFault:
        try:
            result = await self._exchange(url, body, watermark)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must learn what it proves
            return self._failed(error, watermark)
        if not watermark.revoke() and isinstance(result, WireAnswer) and self._watermark_proves:
            # An answer to a request that was never seen leaving: this library version does not tell us
            # when it sends. From here on nothing is called unsent.
            self._watermark_proves = False
            logger.error("the HTTP library does not report when it sends; every fault now means 'may have been sent'")
        return result

    def _failed(self, error: Exception, watermark: Watermark) -> WireFault:
        if watermark.too_late and self._watermark_proves:
            return WireFault(FaultKind.TIMEOUT, sent=False, detail="its time had gone by before the first byte")
        row = classify(self.table, error, self.libraries)
        sent = self._may_have_left(watermark) or not row.unsent
        fault = WireFault(row.kind, sent=sent, detail=describe(error))
        logger.debug("exchange failed: %s, sent=%s, %s", fault.kind, fault.sent, fault.detail)
        return fault

    def _gave_up(self, kind: FaultKind, watermark: Watermark) -> WireFault:
        # Revoked before the task is cancelled: what is called unsent here can not leave later.
        sent = self._may_have_left(watermark)
        return WireFault(kind, sent=sent, detail="after the request started" if sent else "before the first byte")

    def _may_have_left(self, watermark: Watermark) -> bool:
        return watermark.revoke() or not self._watermark_proves

    def _finished(self, task: asyncio.Task[WireAnswer | WireFault]) -> None:
        self._running.discard(task)
        self._slots.release()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Tidy up in the background, with a strong reference until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
