"""What goes over the wire and what does not; tables; callers' own clients; memory."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx2
import pytest
from wire_server import OK, Peer, WireServer, serve

from lianlian_async.errors import ConfigError
from lianlian_async.transport import (
    ANSWER_BYTES_MAX,
    UNLISTED,
    UNSENT_KINDS,
    USER_AGENT,
    FaultKind,
    Transport,
    WireAnswer,
    WireFault,
    classify,
    default_transport,
    transport_over,
)
from lianlian_async.transport import aiohttp as aiohttp_module
from lianlian_async.transport import httpx as httpx_module
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

Make = Callable[..., Transport]
DEADLINE_S = 10.0


async def test_headers(make: Make) -> None:
    """Exactly the headers we want: nothing of a library's, nothing of a caller's, no cookies ever."""

    async def with_cookie(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: track=1; Path=/\r\n\r\n"))

    # By name: a cookie jar does not keep cookies for a bare address.
    async with WireServer(with_cookie, host="localhost") as server:
        transport = make()
        for _ in range(2):
            assert isinstance(await transport.post(server.url, b'{"x":1}', deadline_s=DEADLINE_S), WireAnswer)
        for request in server.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            line, *headers = head.decode().split("\r\n")
            assert line == "POST /paymentapi/payment.htm HTTP/1.1"
            assert {name.lower(): value for name, value in (header.split(": ", 1) for header in headers)} == {
                "host": f"localhost:{server.port}",
                "user-agent": USER_AGENT,
                "content-type": "application/json;charset=utf-8",
                "accept": "application/json",
                "accept-encoding": "identity",
                "content-length": "7",
            }
            assert len(headers) == 6
            assert body == b'{"x":1}'
        assert len(server.peers) == 1


async def test_answer(make: Make) -> None:
    """Status, body and the server's Date; a strange Date is left out."""

    async def two(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await peer.send(OK.replace(b"Tue, 03 Nov 2026 08:00:00 GMT", b"x" * 100))

    async with WireServer(two) as server:
        transport = make()
        answer = await transport.post(server.url, b"", deadline_s=DEADLINE_S)
        assert answer == WireAnswer(200, b"{}", "Tue, 03 Nov 2026 08:00:00 GMT")
        assert await transport.post(server.url, b"", deadline_s=DEADLINE_S) == WireAnswer(200, b"{}", None)


@pytest.mark.parametrize("size", [0, 1, ANSWER_BYTES_MAX])
async def test_largest_answer(size: int, make: Make) -> None:
    """64 KiB is allowed."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)

    async with WireServer(script) as server:
        answer = await make().post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert answer == WireAnswer(200, b"x" * size, None)


async def test_answer_until_the_end_of_the_connection(make: Make) -> None:
    """An HTTP/1.0 answer without a length ends with the connection."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\n{}")
        peer.close()

    async with WireServer(script) as server:
        assert await make().post(server.url, b"{}", deadline_s=DEADLINE_S) == WireAnswer(200, b"{}", None)


@pytest.mark.parametrize("kind", ["httpx", "aiohttp"], indirect=True)
async def test_fresh_connections(make: Make) -> None:
    """With `keepalive_s=0` every request has a connection of its own, and says so."""
    async with WireServer() as server:
        transport = make(keepalive_s=0)
        for _ in range(3):
            assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.peers) == 3
        assert all(b"connection: close" in request.lower() for request in server.requests)


@pytest.mark.parametrize("kind", ["httpx", "aiohttp"], indirect=True)
async def test_kept_connection_expires(make: Make) -> None:
    """A connection idle for longer than `keepalive_s` is not used again."""
    async with WireServer() as server:
        transport = make(keepalive_s=0.001)
        for _ in range(2):
            assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
            await asyncio.sleep(0.01)
        assert len(server.peers) == 2


@pytest.mark.parametrize("answer", ["endless", "bomb"])
async def test_memory(answer: str, make: Make) -> None:
    """A 10 GB stream and a decompression bomb cost less than 8 MiB."""
    import gzip

    bomb = gzip.compress(b"0" * 50_000_000)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if answer == "bomb":
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
            await peer.send(head + bomb)
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
            while True:
                await peer.send(b"x" * 65536)

    async with WireServer(serve, script) as server:
        transport = make()
        await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
        transport.renew()
        tracemalloc.start()
        try:
            fault = await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(fault, WireFault) or len(server.peers) == 1
        assert peak < 8 * 2**20


async def test_nothing_secret_in_the_logs(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at its most talkative, neither request nor answer shows."""

    async def garbage(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"canary-answer is no http\r\n\r\n")
        peer.close()

    async def good(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\ncanary-answer")
        peer.close()

    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "httpcore2.http11", "httpcore2.connection", "aiohttp.client", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    async with WireServer(good, garbage) as server:
        transport = make()
        answer = await transport.post(server.url, b"canary-request", deadline_s=DEADLINE_S)
        transport.renew()
        fault = await transport.post(server.url, b"canary-request", deadline_s=DEADLINE_S)
        assert "canary" not in repr(answer) + repr(fault)
    assert caplog.records
    assert not [record for record in caplog.records if "canary" in record.getMessage() + str(record.exc_info)]


# Callers' own clients


class Lying(httpx2.AsyncBaseTransport):
    """As httpx-aiohttp 0.2.0: the server reads the whole request, and ConnectTimeout is reported."""

    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            del request.extensions["trace"]
            return await self.inner.handle_async_request(request)
        except httpx2.TransportError as error:
            raise httpx2.ConnectTimeout("connection timed out") from error

    async def aclose(self) -> None:
        await self.inner.aclose()


class Retrying(httpx2.AsyncBaseTransport):
    """A layer that sends again when the connection breaks, as several packages offer."""

    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for _ in range(3):
            try:
                return await self.inner.handle_async_request(request)
            except httpx2.TransportError as error:
                last = error
        raise last

    async def aclose(self) -> None:
        await self.inner.aclose()


async def read_then_close(peer: Peer) -> None:
    await peer.read_request()
    peer.close()


async def test_a_lying_transport_is_not_believed() -> None:
    """Whatever a foreign layer reports, without the watermark of httpx itself every fault may have been sent."""
    async with WireServer(read_then_close) as server, httpx2.AsyncClient(transport=Lying()) as client:
        transport = HttpxTransport(client=client)
        fault = await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert fault.sent
        assert len(server.requests) == 1
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)


async def test_a_lying_mount_is_not_believed() -> None:
    """The same for a layer mounted for some addresses only."""
    async with (
        WireServer(read_then_close) as server,
        httpx2.AsyncClient(mounts={"http://127.0.0.1": Lying()}, trust_env=False) as client,
    ):
        fault = await HttpxTransport(client=client).post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert fault.sent


async def test_a_retrying_transport_is_stopped() -> None:
    """The second sending of one request is refused before its first byte."""
    async with WireServer(read_then_close, serve) as server, httpx2.AsyncClient(transport=Retrying()) as client:
        fault = await HttpxTransport(client=client).post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert fault.sent
        assert len(server.requests) == 1


async def test_middlewares_of_a_session_do_not_touch_a_payment() -> None:
    """A retrying middleware of the caller's session is not in the way of ours."""
    calls = 0

    async def again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        nonlocal calls
        calls += 1
        return await handler(request)

    async with WireServer() as server, aiohttp.ClientSession(middlewares=(again,)) as session:
        transport = AiohttpTransport(session)
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
        assert calls == 0
        await transport.aclose()
        assert not session.closed
        async with session.post(server.url, data=b"theirs") as theirs:
            assert theirs.status == 200


async def test_a_foreign_connector_is_not_believed() -> None:
    """A connector with a `connect` of its own may write in its own way: every fault may have been sent."""

    class Own(aiohttp.TCPConnector):
        async def connect(self, *args: object, **kwargs: object) -> aiohttp.connector.Connection:
            raise aiohttp.ConnectionTimeoutError

    async with WireServer() as server, aiohttp.ClientSession(connector=Own()) as session:
        transport = AiohttpTransport(session)
        fault = await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert fault.sent
        await transport.aclose()


@pytest.mark.parametrize("how", ["session", "connector"])
async def test_a_closed_session(how: str) -> None:
    """A session closed before is a wrong set-up; closed later, nothing is sent."""
    session = aiohttp.ClientSession()
    transport = AiohttpTransport(session)
    await session.close()
    if how == "session":
        with pytest.raises(ConfigError, match="closed"):
            AiohttpTransport(session)
    async with WireServer() as server:
        fault = await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.CLOSED, False)
        assert not server.peers
    await transport.aclose()


async def test_a_library_that_does_not_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer without the watermark: said once in the log, and from then on nothing is called unsent."""

    async def silent(self: object, event: str, info: object) -> None:
        return None

    monkeypatch.setattr(httpx_module._Trace, "__call__", silent)
    async with WireServer() as server:
        transport = default_transport()
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        url = server.url
    await asyncio.sleep(0)
    fault = await transport.post(url, b"{}", deadline_s=DEADLINE_S)
    assert isinstance(fault, WireFault)
    assert fault.sent
    await transport.aclose()


async def test_an_unlisted_error_before_the_first_byte(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the table may have been sent, even when the watermark was not crossed."""

    async def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", broken)
    monkeypatch.setattr(aiohttp.BaseConnector, "connect", broken)
    async with WireServer() as server:
        fault = await make().post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert fault == WireFault(FaultKind.UNKNOWN, sent=True, detail="RuntimeError")


async def test_transport_over(make: Make) -> None:
    """Clients of both libraries and transports are taken; anything else is refused with what is wanted."""
    async with httpx2.AsyncClient() as client, aiohttp.ClientSession() as session:
        assert isinstance(transport_over(client), HttpxTransport)
        assert isinstance(transport_over(session), AiohttpTransport)
        own = make()
        assert transport_over(own) is own
        for wrong in (object(), "https://gateway.example", 1):
            with pytest.raises(ConfigError, match=r"httpx2\.AsyncClient"):
                transport_over(wrong)
        with httpx2.Client() as blocking, pytest.raises(ConfigError, match="asynchronous"):
            transport_over(blocking)
        with pytest.raises(ConfigError, match="context"):
            HttpxTransport(client=client, context=httpx2.create_ssl_context())


def test_aiohttp_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "lianlian_async.transport.aiohttp")
    with pytest.raises(ConfigError, match=r"pip install 'lianlian-async\[aiohttp\]'"):
        importlib.import_module("lianlian_async.transport.aiohttp")


# The tables

TABLES = pytest.mark.parametrize(
    ("module", "library"), [(httpx_module, httpx2), (aiohttp_module, aiohttp)], ids=["httpx", "aiohttp"]
)


@TABLES
def test_rows_name_real_classes(module: object, library: object) -> None:
    """Every row names a class of its library, and only kinds that can be proven unsent are called so."""
    for row in module.TABLE:  # type: ignore[attr-defined]
        assert issubclass(getattr(library, row.raised), Exception)
        assert row.kind in UNSENT_KINDS or not row.unsent


def test_only_what_comes_before_the_first_byte_is_called_unsent() -> None:
    """The classes that prove anything, by name."""
    assert {row.raised for row in httpx_module.TABLE if row.unsent} == {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
    }
    assert {row.raised for row in aiohttp_module.TABLE if row.unsent} == {
        "ClientConnectorCertificateError",
        "ClientConnectorSSLError",
        "ServerFingerprintMismatch",
        "ClientConnectorDNSError",
        "ClientConnectorError",
        "ConnectionTimeoutError",
    }


def test_what_is_not_listed_proves_nothing() -> None:
    """Unknown classes, plain time-outs and look-alikes from elsewhere may all mean that bytes left."""

    class ConnectError(Exception):
        """A namesake."""

    for module, libraries in ((httpx_module, {"httpx", "httpx2"}), (aiohttp_module, {"aiohttp"})):
        for error in (TimeoutError(), OSError(), RuntimeError(), ConnectError(), ssl_error()):
            assert classify(module.TABLE, error, frozenset(libraries)) is UNLISTED
    assert not UNLISTED.unsent


def ssl_error() -> Exception:
    import ssl

    return ssl.SSLError()


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - UNSENT_KINDS))
def test_a_fault_that_needs_bytes_cannot_be_unsent(kind: FaultKind) -> None:
    """Such a value cannot be made."""
    with pytest.raises(ValueError, match="cannot be proven unsent"):
        WireFault(kind, sent=False)


@pytest.fixture(autouse=True)
async def settle() -> AsyncIterator[None]:
    """Lets closed sockets go before the test is judged for unclosed ones."""
    yield
    await asyncio.sleep(0)
