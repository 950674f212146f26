"""A pen that writes notifications, real servers for both shells, and a raw sender.

The pen shares no code with the library: what it signs is what the specification says.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from aiohttp import web
from client_world import World, an_order
from fuzz.pen import Pen as Hand

from lianlian_async import LianLianClient, NotificationRefused, Order
from lianlian_async.journal import Record
from lianlian_async.notifications import Refusal
from lianlian_async.notifications.aiohttp import notification_handler
from lianlian_async.notifications.asgi import notification_app
from lianlian_async.resolver import Evidence, Source

BILL = "2026112300000001"

# ---------------------------------------------------------------------- writing


class Pen(Hand):
    """The hand that signs, and what it writes about payouts."""

    def notify(self, record: Record, result_pay: str = "SUCCESS", **changes: str | None) -> bytes:
        """A genuine notification about this payout; `changes` replace members, None takes one out."""
        return self.write(members_of(record, result_pay, **changes))


def members_of(record: Record, result_pay: str = "SUCCESS", **changes: str | None) -> dict[str, str | None]:
    """What the gateway says of this payout (specification 3.4)."""
    content = record.content
    members = {
        "oid_partner": content["oid_partner"], "sign_type": "RSA", "no_order": content["no_order"],
        "dt_order": content["dt_order"], "money_order": content["money_order"], "oid_paybill": bill_of(record),
        "result_pay": result_pay, "settle_date": "20261123" if result_pay == "SUCCESS" else None,
        "info_order": content.get("info_order", "") + ("_账户异常" if result_pay == "FAILURE" else ""), **changes,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value is not None}


def bill_of(record: Record) -> str:
    return next((e.oid_paybill for e in record.evidence if e.oid_paybill), BILL)


# ---------------------------------------------------------------------- looking


async def load(client: LianLianClient, no_order: str) -> Record:
    record = await client.journal.load(no_order)
    assert record is not None
    return record


def told(record: Record) -> list[Evidence]:
    """What notifications have said, as it is on record."""
    return [e for e in record.evidence if e.source is Source.NOTIFY]


async def sent(w: World, client: LianLianClient, key: str = "k", order: Order | None = None, **script: Any) -> Record:
    """A payout that the gateway has accepted and, unless `script` says otherwise, keeps in process for ever."""
    order = order or an_order()
    if script.pop("scripted", True):
        script.setdefault("timeline", [("PROCESSING", 0)])
        w.simulator.script({"card_no": order.card_no}, **script)
    [payout] = await client.enlist([(order, key)])
    await w.calm()
    return await load(client, payout.no_order)


async def refusal(client: LianLianClient, body: bytes) -> Refusal:
    """Why this is refused; fails when it is not."""
    try:
        await client.receive(body)
    except NotificationRefused as refused:
        return refused.reason
    raise AssertionError("it was accepted")


# ---------------------------------------------------------------------- serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # They are the test runner's.


@asynccontextmanager
async def uvicorn_at(app: Any, **settings: Any) -> AsyncIterator[str]:
    """The address of `app` under uvicorn."""
    settings = {"log_config": None, "access_log": False, "lifespan": "off", "http": "httptools", **settings}
    server = _Server(uvicorn.Config(app, **settings))
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_at(handler: Any, **settings: Any) -> AsyncIterator[str]:
    """The address of `handler` under aiohttp's server."""
    app = web.Application()
    app.router.add_post("/n", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, **settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


SHELLS = ["aiohttp", "httptools", "h11"]


@asynccontextmanager
async def serving(shell: str, client: Any, **limits: Any) -> AsyncIterator[str]:
    """The notification address of one shell around `client`."""
    if shell == "aiohttp":
        async with aiohttp_at(notification_handler(client, **limits)) as base:
            yield f"{base}/n"
    else:
        async with uvicorn_at(notification_app(client, **limits), http=shell) as base:
            yield f"{base}/n"


# ---------------------------------------------------------------------- sending, byte by byte


class Sender:
    """A connection to a notification address, below every HTTP library."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host, _, self.path = url.removeprefix("http://").partition("/")
        self.reader = reader
        self.writer = writer

    def head(self, *headers: str, method: str = "POST") -> None:
        lines = [f"{method} /{self.path} HTTP/1.1", f"Host: {self.host}", *headers]
        self.writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def post(self, body: bytes, *headers: str) -> None:
        self.head(f"Content-Length: {len(body)}", "Content-Type: text/json;charset=utf-8", *headers)
        self.writer.write(body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int((await self.reader.readline()).split()[1])
        headers = {}
        while line := (await self.reader.readline()).strip().decode():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", "0")))


@asynccontextmanager
async def sender(url: str) -> AsyncIterator[Sender]:
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Sender(url, reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def posted(url: str, body: bytes, *headers: str) -> tuple[int, bytes]:
    """Status and body of the answer to one notification."""
    async with sender(url) as s:
        s.post(body, *headers)
        status, _, answer = await s.answer()
        return status, answer


async def until(condition: Callable[[], bool]) -> None:
    """Wait, at the machine's pace, until `condition` holds; pytest's own time limit is the end of patience."""
    while not condition():
        await asyncio.sleep(0.001)
