"""Notifications as a handler of aiohttp's server (extra `aiohttp`).

app.router.add_post("/lianlian", notification_handler(client))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
from aiohttp import hdrs, web

from .desk import ANSWER_WITHIN_S, CONTENT_TYPE, ClientSource, CutOff, Desk

__all__ = ["notification_handler"]


def notification_handler(
    client: ClientSource, *, within_s: float = ANSWER_WITHIN_S
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler for `app.router.add_post`; `client` may be a function that returns the client, or None before
    there is one.

    `within_s` bounds each request in seconds, from its first byte to the answer; the sender waits five.
    """
    desk = Desk(client, within_s)

    async def handle(request: web.Request) -> web.Response:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        answer = await desk.answer(
            _chunks(request),
            length=request.headers.get(hdrs.CONTENT_LENGTH),
            encoding=request.headers.get(hdrs.CONTENT_ENCODING),
        )
        response = web.Response(body=answer.body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})
        if answer.close:
            await _send_and_close(request, response)
        return response

    return handle


def _chunks(request: web.Request) -> Callable[[], Awaitable[bytes | None]]:
    async def chunk() -> bytes | None:
        try:
            return await request.content.readany() or None
        except (aiohttp.ClientError, web.RequestPayloadError, OSError):
            raise CutOff from None

    return chunk


async def _send_and_close(request: web.Request, response: web.Response) -> None:
    """aiohttp would go on for ten seconds to read what nobody wants, and a slow sender would stay that long."""
    response.force_close()
    with suppress(OSError):
        await response.prepare(request)
        await response.write_eof()
    request.protocol.force_close()
