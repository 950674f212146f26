"""Serves the page alone with uvicorn, until it is told to stop; what is in flight is finished first."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from ..errors import ConfigError

__all__ = ["serve_reviews"]

# Longer than a confirmation may take: an approval that is on its way gets its answer.
_GRACE_S: Final = 40


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: it would end the process by the signal instead of with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_reviews(
    app: Starlette, *, host: str, port: int, stop: asyncio.Event, ready: Callable[[str], None]
) -> None:
    """Serve until `stop` is set. `ready` gets the address once it is reachable; port 0 takes any free one.

    Raises ConfigError when the address cannot be had.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        ready(_url(listener))
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens already: whoever is told the address can connect at once."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise ConfigError(f"the page cannot be served at {host} port {port} ({error.strerror or error})") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
