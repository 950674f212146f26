from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx2
import pytest
import trustme

from lianlian_async.transport import Transport
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport
from lianlian_async.transport.trust import gateway_context

Make = Callable[..., Transport]
KINDS = ("httpx", "aiohttp", "httpx client", "aiohttp session")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def trusting(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The client's context, with that authority as the extra CA file."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return gateway_context(file)


@pytest.fixture(scope="session")
def serving(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context for 127.0.0.1 and localhost, by that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(kind: str, trusting: ssl.SSLContext) -> AsyncIterator[Make]:
    """Builds transports of the kind under test; closes them, and what they were built over, in the end."""
    closing: list[Callable[[], object]] = []

    def build(connections_max: int = 10, keepalive_s: float = 5.0) -> Transport:
        transport: Transport
        if kind == "httpx":
            transport = HttpxTransport(connections_max=connections_max, keepalive_s=keepalive_s, context=trusting)
        elif kind == "aiohttp":
            transport = AiohttpTransport(connections_max=connections_max, keepalive_s=keepalive_s, context=trusting)
        elif kind == "httpx client":
            client = httpx2.AsyncClient(
                verify=trusting,
                trust_env=False,
                cookies={"theirs": "1"},
                headers={"X-Theirs": "1"},
                follow_redirects=True,
                auth=("theirs", "1"),
                params={"theirs": "1"},
            )
            closing.append(client.aclose)
            transport = HttpxTransport(client=client, connections_max=connections_max)
        else:
            session = aiohttp.ClientSession(
                cookies={"theirs": "1"},
                headers={"X-Theirs": "1"},
                raise_for_status=True,
                connector=aiohttp.TCPConnector(ssl=False),
            )
            closing.append(session.close)
            transport = AiohttpTransport(session, connections_max=connections_max, context=trusting)
        closing.insert(0, transport.aclose)
        return transport

    yield build
    for close in closing:
        await close()  # type: ignore[misc]
    # One turn of the loop, so that closed sockets are gone before unclosed ones are looked for.
    await asyncio.sleep(0)
