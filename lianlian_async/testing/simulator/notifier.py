"""Posts notifications to the merchant and reads what it answers (specification 3.4)."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from urllib.parse import urlsplit

import aiohttp

from lianlian_async.clock import Clock

from .exchange import Exchange
from .notices import Notice
from .wire import Unreadable, parse

__all__ = ["Notifier", "on_this_machine"]

_ANSWER_BYTES_MAX = 65536
# A merchant's handler needs real milliseconds even where virtual seconds fly by.
_LEAST_DEADLINE_S = 2.0
_AT_ONCE = 50


def on_this_machine(url: str) -> bool:
    """True when `url` cannot lead off this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Notifier:
    """Sends each notice in a task of its own; a merchant that hangs holds nobody up."""

    def __init__(self, exchange: Exchange, clock: Clock, ssl_context: ssl.SSLContext | None) -> None:
        self._exchange = exchange
        self._clock = clock
        self._ssl = ssl_context
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def send(self, notice: Notice) -> None:
        """Post this notice soon; addresses off this machine are left alone unless the behaviour says otherwise."""
        # A batch with real notify_urls must not make a test double call the outside world.
        if not (on_this_machine(notice.notify_url) or self._exchange.engine.behaviour.notify_any_host):
            return
        task = asyncio.create_task(self._post(notice), name="simulator notification")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Stop sending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _post(self, notice: Notice) -> None:
        body = self._exchange.notice_body(notice)
        try:
            answer = await self._answer(notice.notify_url, body)
            acknowledged = answer is not None and parse(answer).get("ret_code") == "0000"
        except (aiohttp.ClientError, TimeoutError, Unreadable, ValueError, OSError):
            acknowledged = False
        if acknowledged and notice.fault is None:
            self._exchange.engine.notices.acknowledged(notice)

    async def _answer(self, url: str, body: bytes) -> bytes | None:
        deadline = self._clock.loop_seconds(self._exchange.engine.behaviour.notify_deadline_s)
        timeout = aiohttp.ClientTimeout(total=max(deadline, _LEAST_DEADLINE_S))
        headers = {"Content-Type": "text/json;charset=utf-8"}
        async with self._open().post(
            url, data=body, headers=headers, timeout=timeout, allow_redirects=False, ssl=self._ssl or True
        ) as response:
            content = await response.content.read(_ANSWER_BYTES_MAX)
            return content if response.status == 200 else None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_AT_ONCE), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session
