"""What the other processes of the proofs do: pay a list, work, take notifications. Each is killed sooner or later.

A process can be told the point at which it dies, such as "after save attempt 2": the second time that the journal has
said that an attempt is on record. It dies as by `kill -9`: nothing is tidied up. And it can be told points at which it
stops, as a machine does that is suspended, until somebody lets it go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import field, frozen

from lianlian_async import BreakerOpen, Changed, KeyRing, LianLianClient, Limits, Merchant, Order, Payout, Timeouts
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.notifications.aiohttp import notification_handler
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.transport import Transport, WireAnswer, WireFault
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport
from lianlian_async.worker import Worker

OID_PARTNER = "201606020000150062"
SUBSCRIBER = "proof"
# In virtual seconds: at the scale of these tests about as long as a busy machine may need for an exchange.
TIMEOUTS = Timeouts(pay_s=240, query_s=120)
AT_ONCE = 2
TRANSPORTS: dict[str, Callable[[], Transport]] = {"aiohttp": AiohttpTransport, "httpx": HttpxTransport}


@frozen(kw_only=True)
class Part:
    """One process: what it plays, and all it needs to know."""

    play: str
    folder: Path
    keys: Path
    base_url: str
    scale: float
    log: Path
    numbers: range = range(0)
    transport: str = "aiohttp"
    timeouts: Timeouts = TIMEOUTS
    limits: Limits = field(factory=Limits)
    notify_port: int = 0  # where the gateway posts to
    serve_port: int = 0  # where whoever takes notifications listens
    dies: str | None = None
    stops: tuple[str, ...] = ()
    tells: bool = True

    @property
    def journal(self) -> Path:
        return self.folder / "payouts.db"

    @property
    def told(self) -> Path:
        """Ids of the changes that the application was told of, one a line."""
        return self.folder / "told"

    @property
    def ready(self) -> Path:
        """One line from every worker that has opened the journal."""
        return self.folder / "ready"

    @property
    def sent(self) -> Path:
        """Number, attempt and digest of the body of every pay request that was about to leave, one a line."""
        return self.folder / "sent"

    @property
    def turns(self) -> Path:
        """The turns to query that the journal gave out: when the first begins, and how many, one a line."""
        return self.folder / "turns"


def key_of(number: int) -> str:
    return f"proof/{number:05d}"


def order_of(number: int) -> Order:
    """A payment of its own for every number."""
    return Order(
        money_order=f"{number % 97 + 1}.50", card_no=f"62284802223{number:08d}", acct_name="李三", info_order="测试"
    )


def merchant_of(part: Part) -> Merchant:
    keys = KeyRing.load(
        merchant_private_key=part.keys / "merchant-private.pem", gateway_public_key=part.keys / "gateway-public.pem"
    )
    url = f"http://127.0.0.1:{part.notify_port}/n"
    return Merchant(oid_partner=OID_PARTNER, keys=keys, base_url=part.base_url, notify_url=url)


def note(path: Path, line: str) -> None:
    """Write one line that is still there after a kill, and after a power cut."""
    append(path, line, durable=True)


def append(path: Path, line: str, *, durable: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------- dying


class Doom:
    """Ends this process the n-th time that it reaches a point, stops it at others, and counts all that are reached."""

    def __init__(self, part: Part) -> None:
        self._dies = part.dies
        self._stops = part.stops
        self._reached: Counter[str] = Counter()

    def reach(self, point: str) -> None:
        self._reached[point] += 1
        here = f"{point} {self._reached[point]}"
        if here == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        if here in self._stops:
            os.kill(os.getpid(), signal.SIGSTOP)

    async def around(self, name: str, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something that has three points: before it, amid it (it has begun, and may or may not be done), after it."""
        self.reach(f"before {name}")
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        self.reach(f"amid {name}")
        result = await task
        self.reach(f"after {name}")
        return result


# The attempt that the task at hand has just written down.
_attempt: ContextVar[str] = ContextVar("proofs_attempt", default="none")


class DoomedJournal:
    """A journal whose every call is a point; a `save` is told apart by what it brings."""

    def __init__(self, inner: Any, doom: Doom, part: Part) -> None:
        self._inner = inner
        self._doom = doom
        self._part = part

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **more: Any) -> Any:
            point = f"save {_brings(args[2])}" if name == "save" else name
            result = await self._doom.around(point, method(*args, **more))
            if point == "save attempt":
                _attempt.set(f"{args[0]} {args[2].attempts[0].number}")
            elif name == "turn":
                append(self._part.turns, f"{result.isoformat()} {args[3]}")
            return result

        return call


def _brings(change: Any) -> str:
    if change.attempts:
        return "attempt"
    return f"{change.evidence[0].source.value} news".lower() if change.evidence else "standing"


class DoomedTransport:
    """A transport with five points a request: before it, at its first byte, past the last look at the time, right after
    that byte, and with the answer in hand."""

    def __init__(self, inner: Transport, doom: Doom, part: Part) -> None:
        self._inner = inner
        self._doom = doom
        self._part = part

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        name = "query" if "queryPayment" in url else "pay"

        def at_first_byte() -> bool:
            self._doom.reach(f"at the first byte of {name}")
            if guard is not None and not guard():
                return False
            self._doom.reach(f"past the guard of {name}")
            asyncio.get_running_loop().call_soon(self._doom.reach, f"after the first byte of {name}")
            return True

        self._doom.reach(f"before {name}")
        if name == "pay":
            append(self._part.sent, f"{_attempt.get()} {sha256(body).hexdigest()}")
        heard = await self._inner.post(url, body, deadline_s=deadline_s, guard=at_first_byte)
        self._doom.reach(f"after {name}")
        return heard

    def renew(self) -> None:
        self._inner.renew()

    async def aclose(self) -> None:
        await self._inner.aclose()


# ---------------------------------------------------------------------- the parts


class Client(LianLianClient):
    """A client for whom the moment between a notification's commit and its acknowledgement is a point, too."""

    doom: Doom

    async def receive(self, body: bytes) -> Payout:
        taken = await super().receive(body)
        self.doom.reach("before the acknowledgement")
        return taken


def open_client(part: Part) -> Client:
    doom = Doom(part)

    async def on_change(changed: Changed) -> None:
        doom.reach("before the application is told")
        note(part.told, changed.id)
        doom.reach("after the application was told")

    def transport() -> DoomedTransport:
        return DoomedTransport(TRANSPORTS[part.transport](), doom, part)

    journal: Any = DoomedJournal(SqliteJournal(part.journal), doom, part)
    client = Client(
        merchant_of(part), journal, transport=(transport(), transport()), clock=ScaledClock(part.scale),
        timeouts=part.timeouts, limits=part.limits, on_change=on_change if part.tells else None, subscriber=SUBSCRIBER,
    )  # fmt: skip
    client.doom = doom
    return client


async def pay(part: Part) -> None:
    """Pay the list: by turns many at once, and one by one as callers of a service would; then wait until all rest.

    Done again after a kill, with the same keys, as any program that pays a list would do it.
    """
    async with open_client(part) as client:
        numbers = list(part.numbers)
        for start in range(0, len(numbers), AT_ONCE):
            some = [(order_of(number), key_of(number)) for number in numbers[start : start + AT_ONCE]]
            while True:
                try:
                    if start // AT_ONCE % 2:
                        await client.enlist(some)
                    else:
                        await asyncio.gather(*(client.pay(order, key=key, wait_s=1.0) for order, key in some))
                    break
                except BreakerOpen:
                    await client.unpause(by="Wang Fang")
        await client.recover()
        for number in numbers:
            payout = await client.find(key_of(number))
            assert payout is not None
            await client.wait(payout.no_order, timeout_s=1e6)


async def work(part: Part) -> None:
    """Drive what is due until told to stop."""
    async with open_client(part) as client:
        stop = _stop()
        append(part.ready, part.play)
        await Worker(client).run(stop)


async def serve(part: Part) -> None:
    """Take notifications until told to stop."""
    stop = _stop()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(part))
        app = web.Application()
        app.router.add_post("/n", notification_handler(client))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", part.serve_port, reuse_address=True).start()
        await stop.wait()


def _stop() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


PARTS: dict[str, Callable[[Part], Coroutine[Any, Any, None]]] = {"pay": pay, "work": work, "serve": serve}


def main(part: Part) -> None:
    """The whole life of a process; what it says goes to its log."""
    log = os.open(part.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    asyncio.run(PARTS[part.play](part))


__all__: Sequence[str] = ["Part", "main"]
