"""Deadlines, cancellation, closing: what is called unsent never arrives, and no slot is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import httpcore2
import pytest
from wire_server import OK, Peer, WireServer, serve

from lianlian_async.errors import ConfigError
from lianlian_async.transport import FaultKind, Transport, WireAnswer, WireFault, cancelled_fault
from lianlian_async.transport.base import SendRefused, Watermark
from lianlian_async.transport.httpx import HttpxTransport

Make = Callable[..., Transport]
DEADLINE_S = 10.0


class Gate:
    """A server whose answers wait until the gate opens."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.read_request()
            await self.open.wait()
            await peer.send(OK)


async def test_deadline_while_queued(make: Make) -> None:
    """All slots taken until after the deadline: proven unsent, the server never hears of it."""
    gate = Gate()
    async with WireServer(gate) as server:
        transport = make(connections_max=1)
        first = asyncio.create_task(transport.post(server.url, b"first", deadline_s=DEADLINE_S))
        await server.got_request.wait()
        fault = await transport.post(server.url, b"second", deadline_s=0.05)
        assert fault == WireFault(FaultKind.TIMEOUT, sent=False, detail="no connection came free in time")
        gate.open.set()
        assert isinstance(await first, WireAnswer)
        assert [request[-5:] for request in server.requests] == [b"first"]
        assert isinstance(await transport.post(server.url, b"third", deadline_s=DEADLINE_S), WireAnswer)


@pytest.mark.parametrize("deadline_s", [0, -1.0])
async def test_deadline_already_past(deadline_s: float, make: Make) -> None:
    """Nothing is started, so nothing is sent."""
    async with WireServer() as server:
        fault = await make().post(server.url, b"{}", deadline_s=deadline_s)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.TIMEOUT, False)
        assert not server.peers


async def test_deadline_in_the_tls_handshake(make: Make) -> None:
    """A server that accepts and is silent: proven unsent, and the half-made connection is closed, not leaked."""
    closed = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.closed_by_client()
        closed.set()

    async with WireServer(silent) as server:
        url = server.url.replace("http:", "https:")
        transport = make()
        fault = await transport.post(url, b"{}", deadline_s=0.2)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.TIMEOUT, False)
        async with asyncio.timeout(DEADLINE_S):
            await closed.wait()
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)


async def test_cancelled_while_queued(make: Make) -> None:
    """The cancellation says that nothing was sent."""
    gate = Gate()
    async with WireServer(gate) as server:
        transport = make(connections_max=1)
        first = asyncio.create_task(transport.post(server.url, b"first", deadline_s=DEADLINE_S))
        await server.got_request.wait()
        second = asyncio.create_task(transport.post(server.url, b"second", deadline_s=DEADLINE_S))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await second
        fault = cancelled_fault(cancelled.value)
        gate.open.set()
        assert isinstance(await first, WireAnswer)
        assert not fault.sent
        assert len(server.requests) == 1


async def test_cancelled_in_flight(make: Make) -> None:
    """The cancellation says that bytes may have left, the connection is dropped, the next request works."""
    async with WireServer(Gate()) as server:
        transport = make(connections_max=1)
        first = asyncio.create_task(transport.post(server.url, b"first", deadline_s=DEADLINE_S))
        await server.got_request.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await first
        fault = cancelled_fault(cancelled.value)
        assert (fault.kind, fault.sent) == (FaultKind.CANCELLED, True)
        assert isinstance(await transport.post(server.url, b"second", deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.peers) == 2


async def test_a_cancellation_from_elsewhere_proves_nothing() -> None:
    """Only a mark of the transport's own says 'not sent'."""
    assert cancelled_fault(asyncio.CancelledError()) == WireFault(FaultKind.CANCELLED, sent=True)


async def test_the_callers_timeout_still_works(make: Make) -> None:
    """`asyncio.timeout` around a post ends in TimeoutError, whose cause still tells what is proven."""
    async with WireServer(Gate()) as server:
        with pytest.raises(TimeoutError) as timed_out:
            async with asyncio.timeout(0.2):
                await make().post(server.url, b"{}", deadline_s=DEADLINE_S)
        assert timed_out.value.__cause__ is not None
        assert cancelled_fault(timed_out.value.__cause__).sent


@pytest.mark.parametrize("turns", range(40))
async def test_cancelled_after_a_number_of_loop_turns(turns: int, make: Make) -> None:
    """Wherever the cancellation hits, 'not sent' is true, and the one slot works again."""
    async with WireServer() as server:
        transport = make(connections_max=1)
        task = asyncio.create_task(transport.post(server.url, b"first", deadline_s=DEADLINE_S))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as cancel:
            sent = cancelled_fault(cancel).sent if turns else False
        else:
            sent = True
        assert isinstance(await transport.post(server.url, b"second", deadline_s=DEADLINE_S), WireAnswer)
        if not sent:
            assert all(request.endswith(b"second") for request in server.requests)
            assert sum(b"first" in peer.received for peer in server.peers) == 0


async def test_cancel_storm(make: Make) -> None:
    """20 callers on 10 slots, cancelling once or twice at random instants: afterwards every slot is usable."""
    dice = random.Random(20261103)  # a seed, so that a failure repeats
    unsent: list[bytes] = []

    async def caller(number: int) -> None:
        for turn in range(25):
            name = b"storm-%d-%d." % (number, turn)
            deadline_s = dice.choice([0.001, 0.005, DEADLINE_S])
            task = asyncio.create_task(transport.post(server.url, name, deadline_s=deadline_s))
            await asyncio.sleep(0)
            for _ in range(dice.randrange(30)):
                await asyncio.sleep(0)
            for _ in range(dice.choice([0, 1, 1, 2])):
                task.cancel()
                await asyncio.sleep(0)
            if not task.done() and dice.random() < 0.5:
                task.cancel()
            try:
                result = await task
            except asyncio.CancelledError as cancel:
                result = cancelled_fault(cancel)
            if isinstance(result, WireFault) and not result.sent:
                unsent.append(name)

    async with WireServer() as server:
        transport = make(connections_max=10)
        async with asyncio.timeout(60):
            await asyncio.gather(*(caller(number) for number in range(20)))
        received = b"".join(bytes(peer.received) for peer in server.peers)
        assert unsent, "the storm is to hit requests before their first byte too"
        assert not [name for name in unsent if name in received]
        server.answering.clear()
        calm = [asyncio.create_task(transport.post(server.url, b"calm", deadline_s=DEADLINE_S)) for _ in range(10)]
        # Ten at once, each held by the server: only possible when no slot is stuck.
        async with asyncio.timeout(DEADLINE_S):
            await server.until(lambda: sum(request.endswith(b"calm") for request in server.requests) == 10)
        server.answering.set()
        assert all(isinstance(result, WireAnswer) for result in await asyncio.gather(*calm))


async def test_many_at_once(make: Make) -> None:
    """300 requests over 10 slots: each gets its own answer, on at most 10 connections."""

    async def echo(peer: Peer) -> None:
        while True:
            body = (await peer.read_request()).partition(b"\r\n\r\n")[2]
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with WireServer(*[echo] * 10) as server:
        transport = make(connections_max=10)
        bodies = [b"request-%d" % number for number in range(300)]
        answers = await asyncio.gather(*(transport.post(server.url, body, deadline_s=30) for body in bodies))
        assert [answer.body for answer in answers if isinstance(answer, WireAnswer)] == bodies
        assert len(server.peers) <= 10
        assert len(server.requests) == 300


async def test_closed_in_flight_and_queued(make: Make) -> None:
    """Closing ends both: what was in flight may have been sent, what was queued was not."""
    async with WireServer(Gate()) as server:
        transport = make(connections_max=1)
        flying = asyncio.create_task(transport.post(server.url, b"flying", deadline_s=DEADLINE_S))
        await server.got_request.wait()
        queued = asyncio.create_task(transport.post(server.url, b"queued", deadline_s=DEADLINE_S))
        await asyncio.sleep(0)
        await transport.aclose()
        first, second = await asyncio.gather(flying, queued)
        third = await transport.post(server.url, b"late", deadline_s=DEADLINE_S)
        assert isinstance(first, WireFault)
        assert (first.kind, first.sent) == (FaultKind.CLOSED, True)
        for fault in (second, third):
            assert isinstance(fault, WireFault)
            assert (fault.kind, fault.sent) == (FaultKind.CLOSED, False)
        assert len(server.requests) == 1
        await transport.aclose()


async def test_a_stuck_pool_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a pool of ours has lost its slots, a few requests report it (proven unsent) and a fresh pool takes over."""
    from lianlian_async.transport import httpx as module

    monkeypatch.setattr(module, "POOL_WAIT_S", 0.02)
    async with WireServer() as server:
        transport = HttpxTransport(connections_max=1)
        pool = transport._shards[0].pool._pool
        origin = httpcore2.URL(server.url).origin
        never_ready = httpcore2.AsyncHTTP11Connection(origin, httpcore2.AsyncMockStream([]))
        pool._connections.append(never_ready)  # what the cancellation bug of httpcore 1.0 leaves behind
        for _ in range(module.POOL_WAITS_MAX):
            fault = await transport.post(server.url, b"{}", deadline_s=DEADLINE_S)
            assert isinstance(fault, WireFault)
            assert (fault.kind, fault.sent) == (FaultKind.POOL, False)
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
        assert len(server.requests) == 1
        await transport.aclose()


async def test_revoked_watermark_stops_the_send() -> None:
    """After 'not sent' was said, a late start is refused before its first byte."""
    watermark = Watermark()
    assert watermark.revoke() is False
    with pytest.raises(SendRefused):
        watermark.cross()


async def test_watermark_is_crossed_once() -> None:
    """One post is one sending: a layer that would send again is refused."""
    watermark = Watermark()
    watermark.cross()
    with pytest.raises(SendRefused):
        watermark.cross()
    assert watermark.revoke() is True


async def test_renew(make: Make, kind: str) -> None:
    """After `renew`, no earlier connection of the transport's own carries a request; one in flight ends in peace."""
    gate = Gate()
    async with WireServer(serve, gate) as server:
        transport = make()
        assert isinstance(await transport.post(server.url, b"first", deadline_s=DEADLINE_S), WireAnswer)
        transport.renew()
        flying = asyncio.create_task(transport.post(server.url, b"second", deadline_s=DEADLINE_S))
        async with asyncio.timeout(DEADLINE_S):
            await server.until(lambda: len(server.requests) == 2)
        transport.renew()
        gate.open.set()
        assert isinstance(await flying, WireAnswer)
        assert isinstance(await transport.post(server.url, b"third", deadline_s=DEADLINE_S), WireAnswer)
        if kind in ("httpx", "aiohttp"):
            assert [len(peer.received) > 0 for peer in server.peers] == [True, True, True]


@pytest.mark.parametrize("connections_max", [0, -1, True, 1.5])
async def test_senseless_limit(connections_max: object) -> None:
    """Refused at the start."""
    with pytest.raises(ConfigError, match="connections_max"):
        HttpxTransport(connections_max=connections_max)  # type: ignore[arg-type]
