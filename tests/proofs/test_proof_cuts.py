"""The connection is cut after every byte of a pay request, and after every byte of its answer."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field
from client_fixtures import MakeWorld
from client_world import Wire, World, an_order

from lianlian_async import LianLianClient, Limits, State
from lianlian_async.transport import Transport, WireAnswer, WireFault
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

AT_ONCE = 100


@define
class Cutter:
    """A proxy that lets the next connection through up to the next byte of its plan; with no plan left, whole.

    A plan is a direction and a count of bytes. Every second cut is a reset instead of a plain end.
    """

    gateway: tuple[str, int]
    plans: list[tuple[str, int]] = field(factory=list)
    made: list[tuple[str, int]] = field(factory=list)
    whole: list[tuple[int, int]] = field(factory=list)
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        direction, count = self.plans.pop(0) if self.plans else ("", 0)
        there = await asyncio.open_connection(*self.gateway)
        lines = {
            "request": Line(reader, there[1], count if direction == "request" else None),
            "answer": Line(there[0], writer, count if direction == "answer" else None),
        }
        carrying = [asyncio.ensure_future(line.carry()) for line in lines.values()]
        await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        if direction and lines[direction].cut:
            self.made.append((direction, count))
        self.whole.append((lines["request"].carried, lines["answer"].carried))
        for one in (writer, there[1]):
            _end(one, reset=count % 2 == 1)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@define
class Line:
    """One direction of a connection; it ends where it is to be cut."""

    source: asyncio.StreamReader
    sink: asyncio.StreamWriter
    cut_after: int | None
    carried: int = 0
    cut: bool = False

    async def carry(self) -> None:
        with suppress(ConnectionError):
            while not (self.cut_after is not None and self.carried >= self.cut_after):
                chunk = await self.source.read(65536)
                if not chunk:
                    return
                if self.cut_after is not None:
                    chunk = chunk[: self.cut_after - self.carried]
                self.sink.write(chunk)
                await self.sink.drain()
                self.carried += len(chunk)
            self.cut = True


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    raw = writer.get_extra_info("socket")
    if reset and raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # What was written is with the kernel already: nothing is lost in the writer's own buffer.
    writer.transport.abort() if reset else writer.close()


@define
class ByWayOf:
    """A transport whose requests go through the cutter; queries do not."""

    inner: Transport
    cutter: Cutter

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        there = f"http://127.0.0.1:{self.cutter.port}{urlsplit(url).path}"
        return await self.inner.post(there, body, deadline_s=deadline_s, guard=guard)

    def renew(self) -> None:
        self.inner.renew()

    async def aclose(self) -> None:
        await self.inner.aclose()


@asynccontextmanager
async def cutting(w: World, make: Callable[..., Transport]) -> AsyncIterator[tuple[Cutter, LianLianClient]]:
    address = urlsplit(w.merchant.base_url)
    cutter = Cutter((address.hostname or "", address.port or 0))
    server = await asyncio.start_server(cutter.accept, "127.0.0.1", 0, backlog=1024)
    cutter.port = server.sockets[0].getsockname()[1]
    w.wires.append(Wire(ByWayOf(make(connections_max=AT_ONCE, keepalive_s=0), cutter)))
    client = await w.client(transport=(w.wires[-1], w.wire()), limits=Limits(in_flight=AT_ONCE, queries_per_s=10_000))
    try:
        yield cutter, client
    finally:
        server.close()
        await cutter.aclose()


async def an_exchange(w: World, cutter: Cutter, client: LianLianClient) -> tuple[int, int]:
    """How many bytes a pay request has, and how many its answer."""
    assert (await w.pay(client, an_order(card=99_999), "whole")).state is State.PAID
    [(request, answer)] = cutter.whole
    assert request > 1000
    assert answer > 300
    return request, answer


async def sweep(w: World, cutter: Cutter, client: LianLianClient, direction: str, offsets: Iterable[int]) -> None:
    """One payout for each offset, each cut there in its first attempt; all of them end as if nothing had been."""
    wanted = [(direction, offset) for offset in offsets]
    cutter.plans = list(wanted)
    cards = range(len(wanted))
    orders = [(an_order(card=card), f"{direction} {card}") for card in cards]
    payouts = await client.enlist(orders)
    rested = await w.done(
        asyncio.gather(*(client.wait(p.no_order, timeout_s=1e9) for p in payouts)), stride=1.0
    )  # fmt: skip
    assert sorted(cutter.made) == wanted, "not every cut was made where it was to be"
    assert [p.state for p in rested if p.state is not State.PAID] == []
    paid = w.simulator.ledger.paid()
    assert {p.no_order: paid.get(p.no_order) for p in rested} == dict.fromkeys((p.no_order for p in rested), 1)
    for record in [await client.journal.load(p.no_order) for p in rested]:
        assert record is not None
        # A request that was cut is sent again, by the rules; one whose answer was cut never is.
        assert len(record.attempts) == (2 if direction == "request" else 1)
    await client.finish()
    FIGURES.info(f"{len(wanted)} cuts in the {direction}, {len(w.simulator.requests)} requests")


CASES = [
    pytest.param(make, direction, every, id=f"{make.__name__[:-9]}-{direction}-every-{every}")
    for make, every in ((AiohttpTransport, 1), (HttpxTransport, 10))
    for direction in ("request", "answer")
]


@pytest.mark.parametrize(("make", "direction", "every"), CASES)
async def test_cut_after_every_byte(world: MakeWorld, make: Any, direction: str, every: int) -> None:
    """PAID, once, wherever the connection ended."""
    async with world(loop_scale=1, make_transport=make) as w, cutting(w, make) as (cutter, client):
        request, answer = await an_exchange(w, cutter, client)
        offsets = range(0, request, every) if direction == "request" else range(0, answer + 1, every)
        await sweep(w, cutter, client, direction, offsets)
        assert w.simulator.ledger.summary().paid_twice == 0
