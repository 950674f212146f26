"""The page as people meet it: the real client, journal and gateway behind it, in a thread with a loop of its own.

Time stands, and passes only where somebody waits for it: while a request is being answered, or when a test says so.
So no test races against a clock, and nobody is late by accident.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from client_world import OID_PARTNER, Keys, World, a_world, an_order
from review_world import PASSWORD, SECRET, write_users

from lianlian_async import KeyRing, LianLianClient, Order, Payout
from lianlian_async.numbers import derive
from lianlian_async.review import serve_reviews, signed_in_app

# A request may wait this long, in virtual time, for its turns to query; nothing on the page takes longer.
_PATIENCE = timedelta(seconds=60)


class Doorkeeper:
    """In front of the page: counts people's decisions, holds them back until all are there, and lets time pass."""

    def __init__(self, app: Any, w: World) -> None:
        self._app = app
        self._w = w
        self._together = 0
        self._all_here = asyncio.Event()
        self._one_more = asyncio.Event()
        self.came = self.answered = 0

    def expect(self, decisions: int) -> None:
        """From now on nobody's decision is read before this many have come."""
        self.came, self.answered, self._together = 0, 0, decisions
        self._all_here.clear()

    async def until_answered(self, decisions: int) -> None:
        """Wait until so many decisions have been answered since `expect`."""
        while self.answered < decisions:
            self._one_more.clear()
            await self._one_more.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        decision = scope["method"] == "POST" and scope["path"].startswith("/payouts/")
        if decision:
            self.came += 1
            if self.came >= self._together:
                self._all_here.set()
            await self._all_here.wait()
        await self._answer(asyncio.ensure_future(self._app(scope, receive, send)))
        if decision:
            self.answered += 1
            self._one_more.set()

    async def _answer(self, answer: asyncio.Future[None]) -> None:
        end = self._w.clock.now() + _PATIENCE
        while not answer.done():
            calm = asyncio.ensure_future(self._w.calm())
            await asyncio.wait({answer, calm}, return_when=asyncio.FIRST_COMPLETED)
            at = self._w.clock.next_at
            if not answer.done() and at is not None and at <= end:
                self._w.clock.go_to(at)
            calm.cancel()
            await asyncio.sleep(0.001)
        await answer


class Office:
    """One client, its gateway, and the page in front of both; a test's own thread asks for what it needs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, w: World, client: LianLianClient, door: Doorkeeper) -> None:
        self._loop = loop
        self.w = w
        self.client = client
        self.door = door
        self.base = ""
        self.stop = asyncio.Event()
        self.confirming = threading.Event()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of `work`, done where the client lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def hold(self, key: str = "k", code: str = "4003", order: Order | None = None) -> str:
        """Have a payout held by the gateway; gives its number."""
        number = derive(OID_PARTNER, key)

        async def held() -> Payout:
            self.w.simulator.script(number, pay=[code])
            return await self.w.pay(self.client, order or an_order(), key=key, duplicate_ok=True)

        assert self.do(held()).state == "REVIEW"
        return number

    def pay(self, key: str, order: Order) -> str:
        """Have something paid that nobody holds up; gives its number."""
        payout: Payout = self.do(self.w.pay(self.client, order, key=key, duplicate_ok=True))
        return payout.no_order

    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self.do(self.w.run_for(seconds))

    def expect(self, decisions: int) -> None:
        """Nobody's decision is read before this many have come."""
        self._loop.call_soon_threadsafe(self.door.expect, decisions)

    def confirm_takes_until(self, decisions: int) -> None:
        """The confirmation is under way until the page has answered this many other decisions."""
        self.expect(0)
        self._confirm_takes(lambda: self.door.until_answered(decisions))

    def confirm_takes_until_let_go(self) -> Callable[[], None]:
        """The confirmation is under way until the test calls what this gives."""
        let_go = asyncio.Event()
        self._confirm_takes(let_go.wait)

        def go() -> None:
            self._loop.call_soon_threadsafe(let_go.set)

        return go

    def _confirm_takes(self, wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        async def before(url: str) -> None:
            if url.endswith("confirmPayment.htm"):
                self.confirming.set()
                await wait()

        for wire in self.w.wires:
            wire.before = before

    def state(self, number: str) -> str:
        """What the client says."""
        return str(self.do(self.client.get(number)).state)

    def confirms(self, number: str) -> int:
        """How many confirmations came to the gateway."""
        return len(self.w.requests("confirm", number))

    def payments(self, number: str) -> int:
        """How often it stands as paid in the gateway's own ledger."""
        return len(self.w.simulator.ledger.payments(number))

    def words(self, number: str) -> list[tuple[str, str]]:
        """What people said, as the journal holds it."""
        record = self.do(self.client.journal.load(number))
        return [(e.by, e.outcome.name) for e in record.evidence if e.by]


@contextmanager
def an_office(keys: Keys, ring: KeyRing, folder: Path, **settings: Any) -> Iterator[Office]:
    """The page over a client on an SQLite journal; `settings` are the client's, and `merchant` changes its. Everything has ended with the block."""
    opened: Future[Office] = Future()

    async def run() -> None:
        merchant = settings.pop("merchant", {})
        async with a_world(keys, ring, folder, journal="sqlite", merchant=merchant) as w:
            client = await w.client(**settings)
            users = write_users(folder / "users", chen=PASSWORD, li=PASSWORD)
            door = Doorkeeper(signed_in_app(client, users=users, secret=SECRET), w)
            office = Office(asyncio.get_running_loop(), w, client, door)

            def reachable(url: str) -> None:
                office.base = url.rstrip("/")
                opened.set_result(office)

            await serve_reviews(door, host="127.0.0.1", port=0, stop=office.stop, ready=reachable)  # type: ignore[arg-type]

    ended: Future[None] = Future()

    def live() -> None:
        try:
            asyncio.run(run())
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the test is
            with suppress(Exception):
                opened.set_exception(error)
            ended.set_exception(error)

    thread = threading.Thread(target=live, name="office")
    thread.start()
    try:
        office = opened.result(30)
        yield office
    finally:
        if opened.done() and not opened.exception():
            office._loop.call_soon_threadsafe(office.stop.set)
        thread.join(60)
    ended.result(0)
