"""Notifications as a plain ASGI application, for FastAPI and Starlette, or alone.

    app.add_route("/lianlian", notification_app(client), methods=["POST"])     # FastAPI, Starlette
    routes = [Route("/lianlian", notification_app(client))]                    # Starlette

`app.mount("/lianlian", ...)` works, too; then the address is `/lianlian/`, and the notify_url must end in the slash,
because nobody follows a redirect with a notification.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .desk import ANSWER_WITHIN_S, CONTENT_TYPE, Answer, ClientSource, CutOff, Desk

__all__ = ["NotificationApp", "notification_app"]

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]


def notification_app(client: ClientSource, *, within_s: float = ANSWER_WITHIN_S) -> NotificationApp:
    """The ASGI application; `client` may be a function that returns the client, or None before there is one.

    `within_s` bounds each request in seconds, from its first byte to the answer; the sender waits five.
    """
    return NotificationApp(client, within_s)


class NotificationApp:
    """Answers POST requests at whatever path it is mounted."""

    def __init__(self, client: ClientSource, within_s: float) -> None:
        self._desk = Desk(client, within_s)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """One connection of the server: a request, or the server's own start and end."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["method"] != "POST":
            await _send(send, scope, 405, Answer(b"", close=True), (b"allow", b"POST"))
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers = {bytes(name): bytes(value).decode("latin-1") for name, value in scope["headers"]}
        answer = await self._desk.answer(
            _Body(receive).chunk, length=headers.get(b"content-length"), encoding=headers.get(b"content-encoding")
        )
        # To a sender that has gone away, servers drop this by themselves.
        await _send(send, scope, 200, answer)


class _Body:
    def __init__(self, receive: _Receive) -> None:
        self._receive = receive
        self._more = True

    async def chunk(self) -> bytes | None:
        if not self._more:
            return None
        message = await self._receive()
        if message["type"] != "http.request":
            raise CutOff
        self._more = bool(message.get("more_body", False))
        return bytes(message.get("body", b""))


async def _send(send: _Send, scope: _Message, status: int, answer: Answer, *more: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", CONTENT_TYPE.encode("ascii")),
        (b"content-length", str(len(answer.body)).encode("ascii")),
        *more,
    ]
    if answer.close and scope.get("http_version", "1.1").startswith("1"):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _live(receive: _Receive, send: _Send) -> None:
    """Run alone, there is nothing to start and nothing to stop: the client is opened and closed by who made it."""
    while True:
        event = str((await receive())["type"])
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
