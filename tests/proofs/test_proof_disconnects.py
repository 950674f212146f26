"""A caller behind a web framework goes away in the middle of its request: the payout does not notice."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from aiohttp import web
from attrs import define, field
from client_world import Keys
from fastapi import FastAPI, Request, Response
from proofs_process import OID_PARTNER, key_of, order_of
from starlette.middleware.base import BaseHTTPMiddleware

from lianlian_async import LianLianClient, Limits, Merchant, Payout, State, Timeouts
from lianlian_async.cli.audit import Verdict, audit
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Behaviour, Simulator

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEED = 4005
SCALE = 120.0
CALLS = 60
# Some answers take a quarter of a second, some never come: callers go away before, in and after all of it.
TREATMENTS: list[list[Any]] = [
    ["slow", None],
    ["close_after", None],
    ["9999_before", None],
    [None],
    ["hang_after", None],
]
GO_AWAY_WITHIN_S = 0.3


@define
class Shop:
    """What stands behind the web frameworks: one client, and what became of the handlers."""

    client: LianLianClient
    here: list[asyncio.Event] = field(factory=lambda: [asyncio.Event() for _ in range(CALLS)])
    began: set[int] = field(factory=set)
    cancelled: set[int] = field(factory=set)
    answered: set[int] = field(factory=set)

    async def pay(self, number: int) -> str:
        """What a handler does: pay, and wait for the outcome for as long as the caller is there."""
        self.began.add(number)
        self.here[number].set()
        try:
            payout = await self.client.pay(order_of(number), key=key_of(number), wait_s=1e6)
        except asyncio.CancelledError:
            self.cancelled.add(number)
            raise
        self.answered.add(number)
        return str(payout.state)


def fastapi_app(shop: Shop) -> Any:
    """FastAPI under two of Starlette's own middlewares, the second of which gives up by itself now and then."""
    app = FastAPI()

    @app.post("/pay/{number}")
    async def pay(number: int) -> str:
        return await shop.pay(number)

    async def passing_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)

    async def impatient(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        number = int(request.url.path.rpartition("/")[2])
        with anyio.move_on_after(0.05 if number % 4 == 0 else 60):
            return await call_next(request)
        return Response(status_code=504)

    app.add_middleware(BaseHTTPMiddleware, dispatch=passing_on)
    app.add_middleware(BaseHTTPMiddleware, dispatch=impatient)
    return app


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # They are the test runner's.


@asynccontextmanager
async def fastapi_at(shop: Shop) -> AsyncIterator[int]:
    """FastAPI under uvicorn, which tells the application that a caller is gone; the endpoint is raced against that."""
    app = fastapi_app(shop)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        """Many services do so: whoever is gone need not be worked for any more."""
        body = await receive()
        messages: asyncio.Queue[Any] = asyncio.Queue()
        await messages.put(body)

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            await messages.put({"type": "http.disconnect"})
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(gone)
            await app(scope, messages.get, send)
            group.cancel_scope.cancel()

    config = uvicorn.Config(watched, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = _Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_at(shop: Shop) -> AsyncIterator[int]:
    """aiohttp, told to cancel the handlers of callers that are gone."""

    async def pay(request: web.Request) -> web.Response:
        return web.Response(text=await shop.pay(int(request.match_info["number"])))

    app = web.Application()
    app.router.add_post("/pay/{number}", pay)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def call(port: int, number: int, stay_s: float, *, reset: bool, after: asyncio.Event | None = None) -> bool:
    """Ask for a payment over a socket, and go away a while after `after`; True when an answer came before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /pay/{number} HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n".encode())
    await writer.drain()
    answered = False
    if after is not None:
        await after.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(stay_s):
            answered = bool(await reader.readline())
    if reset:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answered


@asynccontextmanager
async def a_shop(keys: Keys, folder: Path) -> AsyncIterator[tuple[Shop, Simulator]]:
    clock = ScaledClock(SCALE)
    simulator = Simulator(
        oid_partner=OID_PARTNER, merchant_public_key=keys.read("merchant-public"),
        gateway_private_key=keys.read("gateway-private"), clock=clock, seed=SEED,
        behaviour=Behaviour(slow_s=0.25 * SCALE),
    )  # fmt: skip
    async with simulator.serve() as server:
        merchant = Merchant(
            oid_partner=OID_PARTNER, keys=keys.ring(), base_url=server.base_url, notify_url="https://a.example.com/n"
        )
        client = LianLianClient(
            merchant, SqliteJournal(folder / "payouts.db"), clock=clock, timeouts=Timeouts(pay_s=120, query_s=120),
            limits=Limits(queries_per_s=10_000),
        )  # fmt: skip
        async with client:
            yield Shop(client), simulator


@pytest.mark.parametrize("framework", [fastapi_at, aiohttp_at], ids=["fastapi", "aiohttp"])
async def test_callers_that_disconnect(keys: Keys, tmp_path: Path, framework: Any) -> None:
    """Each payout whose handler had begun is paid once, whether the caller stayed, left, or was cut off."""
    draw = random.Random(SEED)
    async with a_shop(keys, tmp_path) as (shop, simulator), framework(shop) as port:
        for number in range(CALLS):
            simulator.script({"card_no": order_of(number).card_no}, pay=TREATMENTS[number % len(TREATMENTS)])
        stays = [draw.uniform(0, GO_AWAY_WITHIN_S) for _ in range(CALLS)]
        # Every fourth goes whenever it likes, perhaps before anybody took notice; the others once they are being served.
        calls = [
            call(port, number, stay_s, reset=number % 2 == 1, after=shop.here[number] if number % 4 else None)
            for number, stay_s in enumerate(stays)
        ]
        stayed = await asyncio.gather(*calls)
        await judge(shop, simulator)
        # The same callers come back and ask again; the framework is in order, and so are the payouts. The impatient
        # middleware may have given up on some of them before their handlers began: those come until they are heard.
        assert all(await asyncio.gather(*(call(port, number, 60, reset=False) for number in range(CALLS))))
        while unheard := set(range(CALLS)) - shop.began:
            await asyncio.gather(*(call(port, number, 60, reset=False) for number in unheard))
        await judge(shop, simulator)
        assert simulator.ledger.paid_twice() == ()
        assert len(simulator.ledger.paid()) == CALLS
        assert len(shop.cancelled) > CALLS / 4, "too few were cancelled for this to mean anything"
        FIGURES.info("%d cancelled, %d answered at once", len(shop.cancelled), sum(stayed))


async def judge(shop: Shop, simulator: Simulator) -> None:
    async with asyncio.timeout(60):
        found = [await written(shop, number) for number in sorted(shop.began)]
        rested = await asyncio.gather(*(shop.client.wait(payout.no_order, timeout_s=1e6) for payout in found))
    assert audit([str(payout.key) for payout in rested], rested, simulator.ledger) == Verdict((), (), ())
    assert {payout.state for payout in rested} == {State.PAID}


async def written(shop: Shop, number: int) -> Payout:
    """What a handler had begun to pay: it is being written down, whoever has left."""
    try:
        async with asyncio.timeout(30):
            while (payout := await shop.client.find(key_of(number))) is None:
                await asyncio.sleep(0)
    except TimeoutError:
        pytest.fail("a handler had begun to pay, and nothing was written down")
    return payout
