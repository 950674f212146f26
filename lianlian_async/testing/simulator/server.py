"""The simulated gateway on a socket: aiohttp around an `Exchange`, and one task that lets time do its work."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
from aiohttp import web

from lianlian_async.clock import Clock

from .codes import Endpoint
from .exchange import Delivery, Exchange, Way
from .notifier import Notifier
from .spoil import html_page

__all__ = ["Server", "serve"]

_PREFIX = "/paymentapi/"
_REQUEST_BYTES_MAX = 1 << 20
_DRIPS = 40  # pieces a slow answer comes in
_RETRY_S = 5.0  # how soon a ledger that could not be written is tried again

_UNREADABLE = (web.RequestPayloadError, aiohttp.http_exceptions.HttpProcessingError)


def _is_ours(record: logging.LogRecord) -> bool:
    """False for what aiohttp says about bytes it cannot parse."""
    # It quotes those bytes, and nothing of a request belongs in a log.
    problem = record.exc_info[1] if record.exc_info else None
    return not isinstance(problem, _UNREADABLE)


_LOG = logging.getLogger("lianlian_async.testing.simulator.http")
_LOG.addFilter(_is_ours)


class Server:
    """A running simulator. `base_url` ends in /paymentapi/, as the genuine one does."""

    def __init__(self, base_url: str, notifier: Notifier, changed: asyncio.Event) -> None:
        self.base_url = base_url
        self._notifier = notifier
        self._changed = changed

    @property
    def notifying(self) -> int:
        """How many notifications are on their way at this moment."""
        return len(self._notifier)

    def wake(self) -> None:
        """Look at the agenda again, after something from outside has changed it."""
        self._changed.set()


@asynccontextmanager
async def serve(
    exchange: Exchange,
    clock: Clock,
    *,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    notify_ssl_context: ssl.SSLContext | None,
) -> AsyncIterator[Server]:
    """Run the exchange at `host:port` (0: any free one) until the block is left."""
    notifier = Notifier(exchange, clock, notify_ssl_context)
    shell = _Shell(exchange, clock, notifier)
    runner = web.AppRunner(shell.app(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0, logger=_LOG)
    await runner.setup()
    ticker: asyncio.Task[None] | None = None
    try:
        site = web.TCPSite(runner, host, port, ssl_context=ssl_context, backlog=4096)
        await site.start()
        ticker = asyncio.create_task(shell.tick(), name="simulator agenda")
        bound = runner.addresses[0]
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        scheme = "http" if ssl_context is None else "https"
        yield Server(f"{scheme}://{name}:{bound[1]}{_PREFIX}", notifier, shell.changed)
    finally:
        await shell.stop(ticker)
        await runner.cleanup()


class _Shell:
    def __init__(self, exchange: Exchange, clock: Clock, notifier: Notifier) -> None:
        self.changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._exchange = exchange
        self._clock = clock
        self._notifier = notifier
        self._said: str | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_REQUEST_BYTES_MAX)
        for endpoint in Endpoint:
            app.router.add_post(_PREFIX + endpoint.path, self._handler(endpoint))
        app.router.add_route("*", "/{anything:.*}", self._elsewhere)
        return app

    # --- time --------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Let due events happen, send due notifications, sleep until the next ones."""
        while True:
            self.changed.clear()
            now = self._clock.now()
            due = self._advanced(now)
            for notice in self._exchange.engine.notices.take():
                self._notifier.send(notice)
            waits: list[asyncio.Task[object]] = [asyncio.create_task(self.changed.wait())]
            if due is not None:
                pause = max((due - now).total_seconds(), 0.0)
                waits.append(asyncio.create_task(self._clock.sleep(pause)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _advanced(self, now: datetime) -> datetime | None:
        """Let happen what is due, as far as the ledger can take it; when to look again."""
        try:
            self._exchange.engine.advance(now)
        except OSError as problem:
            self._say(problem)
            return now + timedelta(seconds=_RETRY_S)
        self._said = None
        return self._exchange.engine.agenda.next_at

    def _say(self, problem: OSError) -> None:
        """Once for each kind of trouble: whoever runs the simulator hears why it answers 500."""
        if self._said != problem.strerror:
            self._said = problem.strerror
            _LOG.error("the ledger cannot be written (%s): nothing moves, every call is answered 500", problem.strerror)

    async def stop(self, ticker: asyncio.Task[None] | None) -> None:
        self._stopping.set()
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        await self._notifier.aclose()

    # --- requests ----------------------------------------------------------------------------------

    def _handler(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await request.read()
            except web.HTTPRequestEntityTooLarge:
                body = b""  # read no further: answered like anything else that is not a message
            except _UNREADABLE:
                body = b""
            before = self._exchange.engine.agenda.next_at
            try:
                delivery = self._exchange.receive(endpoint, body, self._clock.now())
            except OSError as problem:
                self._say(problem)
                return self._page(500)
            if self._exchange.engine.agenda.next_at != before or self._exchange.engine.notices:
                self.changed.set()
            return await self._deliver(request, delivery)

        return handle

    async def _elsewhere(self, request: web.Request) -> web.StreamResponse:
        known = {_PREFIX + endpoint.path for endpoint in Endpoint}
        status = 405 if request.path in known else 404
        return self._page(status)

    def _page(self, status: int) -> web.Response:
        return web.Response(status=status, body=html_page(status), headers=self._headers("text/html;charset=utf-8"))

    def _headers(self, content_type: str) -> dict[str, str]:
        offset = timedelta(seconds=self._exchange.engine.behaviour.clock_offset_s)
        date = format_datetime((self._clock.now() + offset).astimezone(UTC), usegmt=True)
        return {"Content-Type": content_type, "Date": date, "Server": "simulator"}

    # --- deliveries --------------------------------------------------------------------------------

    async def _deliver(self, request: web.Request, delivery: Delivery) -> web.StreamResponse:
        headers = self._headers(delivery.content_type)
        if delivery.way is Way.ANSWER:
            return web.Response(status=delivery.status, body=delivery.body, headers=headers)
        if delivery.way is Way.HANG:
            # Until the caller gives up (which cancels this) or the simulator ends; no timer of ours.
            await self._stopping.wait()
        elif delivery.way in (Way.SLOW, Way.TRUNCATE):
            return await self._partly(request, delivery, headers)
        _end(request, reset=delivery.way is Way.RESET)
        return web.Response(headers=headers)

    async def _partly(self, request: web.Request, delivery: Delivery, headers: dict[str, str]) -> web.StreamResponse:
        """Promise the whole body and send half of it, or send it drop by drop."""
        body = delivery.body
        response = web.StreamResponse(status=delivery.status, headers=headers)
        response.content_length = len(body)
        try:
            await response.prepare(request)
            if delivery.way is Way.TRUNCATE:
                await response.write(body[: len(body) // 2])
                _end(request, reset=False)
                return response
            size = max(len(body) // _DRIPS, 1)
            for start in range(0, len(body), size):
                await response.write(body[start : start + size])
                await self._pause(delivery.over_s * size / len(body))
            await response.write_eof()
        except ConnectionError:
            _end(request, reset=False)
        return response

    async def _pause(self, seconds: float) -> None:
        if self._stopping.is_set():
            raise ConnectionResetError("the simulator is ending")
        await self._clock.sleep(seconds)


def _end(request: web.Request, *, reset: bool) -> None:
    """End the connection under the caller's feet: with FIN, or with RST."""
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
