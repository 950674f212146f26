"""The wire-fault matrix: every fault with a real socket, for both libraries, own and handed in.

Three questions each: what does the transport say, what did the server really receive, and does the next
request on the same transport work.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Callable

import pytest
from attrs import frozen
from wire_server import OK, Peer, WireServer

from lianlian_async.transport import FaultKind, Transport, WireAnswer, WireFault

Make = Callable[..., Transport]
BODY = b'{"oid_partner":"201103171000000000","pay_load":"canary-pay-load"}'
# Long enough for a loopback exchange on a busy machine, short enough to wait for.
DEADLINE_S = 10.0
BRIEFLY_S = 0.25


async def close_at_once(peer: Peer) -> None:
    peer.close()


async def reset_at_once(peer: Peer) -> None:
    peer.reset()


async def close_unread(peer: Peer) -> None:
    await peer.arrives()
    peer.close()


async def reset_unread(peer: Peer) -> None:
    await peer.arrives()
    peer.reset()


async def reset_after_headers(peer: Peer) -> None:
    await peer.read_until(b"\r\n\r\n")
    peer.reset()


async def read_then_close(peer: Peer) -> None:
    await peer.read_request()
    peer.close()


async def read_then_reset(peer: Peer) -> None:
    await peer.read_request()
    peer.reset()


async def hang(peer: Peer) -> None:
    await peer.read_request()
    await peer.closed_by_client()


async def hang_unread(peer: Peer) -> None:
    await asyncio.Event().wait()


def after_request(data: bytes) -> Callable[[Peer], object]:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)
        peer.close()

    return script


def then_wait(data: bytes) -> Callable[[Peer], object]:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)
        await peer.closed_by_client()

    return script


async def one_byte_a_second(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        await peer.send(b"x")
        await asyncio.sleep(1)


async def endless_body(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    while True:
        await peer.send(b"x" * 65536)


async def endless_chunks(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")


async def endless_headers(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"X-More: " + b"x" * 4096 + b"\r\n")


async def endless_continue(peer: Peer) -> None:
    await peer.read_request()
    while True:
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.01)


BOMB = gzip.compress(b"0" * 10_000_000)


def encoded(body: bytes, coding: bytes = b"gzip") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body


K = FaultKind
CUT = {K.DISCONNECT, K.READ, K.WRITE, K.PROTOCOL}


@frozen
class Case:
    """A fault: what the server does, what may be reported, whether it then has the whole request."""

    name: str
    script: Callable[[Peer], object]
    kinds: set[FaultKind]
    server_has_it: bool
    deadline_s: float = DEADLINE_S
    plain_only: bool = False


CASES = (
    Case("closed before reading", close_at_once, CUT, False),
    Case("reset before reading", reset_at_once, CUT, False),
    Case("closed with the request unread", close_unread, CUT, False, plain_only=True),
    Case("reset with the request unread", reset_unread, CUT, False, plain_only=True),
    Case("reset after the headers", reset_after_headers, CUT, False),
    Case("whole request read, then closed", read_then_close, CUT, True),
    Case("whole request read, then reset", read_then_reset, CUT, True),
    Case("hangs", hang, {K.TIMEOUT}, True, BRIEFLY_S),
    Case("accepts and never reads", hang_unread, {K.TIMEOUT}, False, BRIEFLY_S),
    Case("half a status line", after_request(b"HTTP/1.1 20"), CUT, True),
    Case("truncated body", after_request(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), {K.PROTOCOL}, True),
    Case(
        "truncated chunk",
        after_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
        {K.PROTOCOL},
        True,
    ),
    Case("garbage", then_wait(b"\x16\x03\x01 not http at all\r\n\r\n"), {K.PROTOCOL}, True),
    Case("garbage, then closed", after_request(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), {K.PROTOCOL}, True),
    Case(
        "two lengths",
        then_wait(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        {K.PROTOCOL},
        True,
    ),
    Case("bad gzip", then_wait(encoded(b"this is no gzip")), {K.DECODE}, True),
    Case("good gzip, unasked", then_wait(encoded(gzip.compress(b"{}"))), {K.DECODE}, True),
    Case("unknown coding", then_wait(encoded(b"{}", b"zstd")), {K.DECODE}, True),
    Case("gzip bomb", then_wait(encoded(BOMB)), {K.DECODE}, True),
    Case("10 GB body", endless_body, {K.OVERSIZE}, True),
    Case("endless chunks", endless_chunks, {K.OVERSIZE}, True),
    Case(
        "one byte too many",
        then_wait(b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n" + b"x" * 65537),
        {K.OVERSIZE},
        True,
    ),
    Case("endless headers", endless_headers, {K.PROTOCOL}, True),
    Case("endless 100 Continue", endless_continue, {K.TIMEOUT}, True, BRIEFLY_S),
    Case("one byte a second", one_byte_a_second, {K.TIMEOUT}, True, BRIEFLY_S),
)


def told_truly(result: WireAnswer | WireFault, server: WireServer) -> bool:
    """'Not sent' is true only if the server has no byte of the request."""
    return not isinstance(result, WireFault) or result.sent or server.bytes_received == 0


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_fault_on_a_new_connection(case: Case, secure: bool, make: Make, serving: ssl.SSLContext) -> None:
    """Reported as may-have-been-sent with the right kind, and the transport goes on working."""
    if secure and case.plain_only:
        pytest.skip("a TLS server reads by itself")
    async with WireServer(case.script, context=serving if secure else None) as server:
        transport = make()
        fault = await transport.post(server.url, BODY, deadline_s=case.deadline_s)
        assert isinstance(fault, WireFault)
        assert fault.kind in case.kinds, fault
        assert fault.sent, fault
        assert len(server.requests) == (1 if case.server_has_it else 0)
        assert b"canary" not in repr(fault).encode()
        answer = await transport.post(server.url, BODY, deadline_s=DEADLINE_S)
        assert isinstance(answer, WireAnswer), answer
        assert answer.status == 200
        assert len(server.peers) == 2, "the connection that saw a fault must not be used again"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_fault_on_a_kept_connection(case: Case, make: Make) -> None:
    """The same when the connection had carried an answered request before."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.arrives()
        await case.script(peer)  # type: ignore[misc]

    async with WireServer(script) as server:
        transport = make()
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        fault = await transport.post(server.url, BODY, deadline_s=case.deadline_s)
        assert isinstance(fault, WireFault)
        assert fault.kind in case.kinds, fault
        assert fault.sent, fault
        assert len(server.requests) == (2 if case.server_has_it else 1)
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.peers) == 2


async def test_idle_connection_closed_before_we_write(make: Make) -> None:
    """A kept connection that the server closed meanwhile costs nothing: a new one is opened."""
    close = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await close.wait()
        peer.close()
        closed.set()

    closed = asyncio.Event()
    async with WireServer(script) as server:
        transport = make()
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        close.set()
        await closed.wait()
        await asyncio.sleep(0)
        result = await transport.post(server.url, BODY, deadline_s=DEADLINE_S)
        assert told_truly(result, server)
        assert isinstance(result, WireAnswer) or result.sent
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.requests) <= 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_to_itself(status: int, make: Make) -> None:
    """A redirect is an answer like any other: the request is sent once."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            head = f"HTTP/1.1 {status} Moved\r\nLocation: {server.url}\r\nContent-Length: 0\r\n\r\n"
            await peer.send(head.encode())

    async with WireServer(script, script, script) as server:
        answer = await make().post(server.url, BODY, deadline_s=DEADLINE_S)
        assert isinstance(answer, WireAnswer)
        assert answer.status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 413, 429, 500, 502, 503, 504])
async def test_error_status(status: int, make: Make) -> None:
    """Every status is returned as it is and the request is sent once, a challenge for a password included."""
    head = (
        f'HTTP/1.1 {status} No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
        "Retry-After: 0\r\nContent-Length: 4\r\n\r\nbody"
    )
    async with WireServer(then_wait(head.encode()), then_wait(head.encode())) as server:
        answer = await make().post(server.url, BODY, deadline_s=DEADLINE_S)
        assert answer == WireAnswer(status, b"body", None)
        assert len(server.requests) == 1


async def test_switching_protocols(make: Make) -> None:
    """101 was not asked for: an answer of that status or a fault, and the connection is not used again."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nleftover"
    async with WireServer(then_wait(head)) as server:
        transport = make()
        result = await transport.post(server.url, BODY, deadline_s=DEADLINE_S)
        assert result.status == 101 if isinstance(result, WireAnswer) else result.sent
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.peers) == 2


async def test_nobody_listens(make: Make) -> None:
    """Refused: proven unsent, and the next request works once somebody listens."""
    async with WireServer() as gone:
        url = gone.url
    transport = make()
    fault = await transport.post(url, BODY, deadline_s=DEADLINE_S)
    assert isinstance(fault, WireFault)
    assert (fault.kind, fault.sent) == (K.CONNECT, False), fault
    async with WireServer() as server:
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)


async def test_name_does_not_resolve(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address: proven unsent."""
    import socket

    def no_such_name(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    fault = await make().post("https://gateway.invalid/paymentapi/payment.htm", BODY, deadline_s=DEADLINE_S)
    assert isinstance(fault, WireFault)
    assert (fault.kind, fault.sent) == (K.DNS, False), fault


async def test_extra_bytes_after_an_answer(make: Make) -> None:
    """Bytes beyond an answer never become the next request's answer."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    async with WireServer(then_wait(OK + forged)) as server:
        transport = make()
        for _ in range(3):
            answer = await transport.post(server.url, BODY, deadline_s=DEADLINE_S)
            if isinstance(answer, WireAnswer):
                assert answer.body == b"{}"
            else:
                assert answer.sent


async def test_bytes_on_an_idle_connection(make: Make) -> None:
    """An answer nobody asked for, arriving while the connection is idle, is nobody's answer."""
    go, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await go.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        gone.set()
        await peer.closed_by_client()

    async with WireServer(script) as server:
        transport = make()
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
        go.set()
        await gone.wait()
        for _ in range(5):
            await asyncio.sleep(0)  # the client's loop turns over what has arrived
        answer = await transport.post(server.url, BODY, deadline_s=DEADLINE_S)
        assert isinstance(answer, WireAnswer), answer
        assert answer.body == b"{}"
        assert len(server.peers) == 2


async def test_answer_before_the_request_was_read(make: Make) -> None:
    """An early answer is an answer, whatever became of the rest of the request."""

    async def script(peer: Peer) -> None:
        await peer.arrives()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await peer.closed_by_client()

    async with WireServer(script) as server:
        transport = make()
        result = await transport.post(server.url, b"x" * 2_000_000, deadline_s=DEADLINE_S)
        assert result.status == 413 if isinstance(result, WireAnswer) else result.sent
        assert isinstance(await transport.post(server.url, BODY, deadline_s=DEADLINE_S), WireAnswer)
