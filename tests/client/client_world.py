"""The world that the client's tests live in: a real simulator on a real socket, and time that only moves when
nothing is under way. Journal and wire can be watched, held up and broken at any point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from lianlian_async import JournalKeys, KeyRing, LianLianClient, Merchant, Order, Payout, State, Timeouts
from lianlian_async.journal import Record
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.resolver import Evidence, Outcome, Source
from lianlian_async.testing.clocks import ManualClock
from lianlian_async.testing.simulator import Simulator
from lianlian_async.transport import Transport, WireAnswer, WireFault
from lianlian_async.transport.httpx import HttpxTransport

OID_PARTNER = "201606020000150062"
NOTIFY_URL = "https://a.example.com/n"

# After these bound answers an attempt is over (safety.md 3.2, first kind and second kind of refusal). Written
# down once more on purpose: the library's own table must not judge itself.
REFUSALS = frozenset(
    ["1001", "1004", "1005", "1008", "3001", "4005", "4012", "4013", "4014", "4015", "9104", "9910", "9911", "9912", "9913"]
)  # fmt: skip
GRACE_S = 300
JOURNAL_KEYS = JournalKeys({"test": bytes(range(32))})

Hook = Callable[[str, str, int, tuple[Any, ...]], Awaitable[None] | None]


class SteppedClock(ManualClock):
    """A clock that goes from one sleeper to the next, and only when it is told to."""

    @property
    def next_at(self) -> datetime | None:
        return self._next()

    def go_to(self, moment: datetime) -> None:
        self._wake(moment)


class Tap:
    """A journal that can be watched and broken: `hook(phase, method, how many-th call, arguments)` may raise or wait."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.busy = 0
        self.calls: dict[str, int] = {}
        self.total = 0
        self.hook: Hook | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **more: Any) -> Any:
            self.calls[name] = count = self.calls.get(name, 0) + 1
            self.total += 1
            self.busy += 1
            try:
                await self._at("before", name, count, args)
                result = await method(*args, **more)
                await self._at("after", name, count, args)
                return result
            finally:
                self.busy -= 1

        return call

    async def _at(self, phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
        if self.hook is not None and (waits := self.hook(phase, name, count, args)) is not None:
            await waits


class Wire:
    """A transport that can be watched: `before` runs when a request is about to leave, `after` before its answer is seen."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.busy = 0
        self.total = 0
        self.renewed = 0
        self.urls: list[str] = []
        self.before: Callable[[str], Awaitable[WireAnswer | WireFault | None] | None] | None = None
        self.after: Callable[[str, Any], Awaitable[WireAnswer | WireFault | None] | None] | None = None

    async def post(self, url: str, body: bytes, *, deadline_s: float, **more: Any) -> WireAnswer | WireFault:
        self.total += 1
        self.busy += 1
        self.urls.append(url)
        try:
            if self.before is not None and (waits := self.before(url)) is not None:
                answer = await waits
                if answer is not None:
                    return answer
            heard = await self.inner.post(url, body, deadline_s=deadline_s, **more)
            if self.after is not None and (waits := self.after(url, heard)) is not None:
                changed = await waits
                return heard if changed is None else changed
            return heard
        finally:
            self.busy -= 1

    def renew(self) -> None:
        self.renewed += 1
        self.inner.renew()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def for_ever() -> None:
    """What a process that has died does next."""
    await asyncio.get_running_loop().create_future()


def an_order(amount: str = "25.78", card: int = 0, **more: Any) -> Order:
    """An order of its own for every `card`."""
    values: dict[str, Any] = {
        "money_order": amount, "card_no": f"62284802223{card:08d}", "acct_name": "李三", "info_order": "测试",
    }  # fmt: skip
    return Order(**{**values, **more})


@define
class World:
    """One simulator, one clock, and the clients of a test."""

    clock: SteppedClock
    simulator: Simulator
    merchant: Merchant
    folder: Path
    journal_kind: str
    journals: list[Tap] = field(factory=list)
    wires: list[Wire] = field(factory=list)
    clients: list[LianLianClient] = field(factory=list)
    calls: list[asyncio.Future[Any]] = field(factory=list)
    make_transport: Callable[[], Transport] = HttpxTransport
    timeouts: Timeouts = Timeouts()

    def journal(self, name: str = "journal") -> Tap:
        """A journal of the world's kind; the same name is the same file."""
        path = self.folder / f"{name}.db"
        return self.watch(MemoryJournal() if self.journal_kind == "memory" else self._sqlite(path))

    def _sqlite(self, path: Path) -> SqliteJournal:
        return SqliteJournal(path, keys=JOURNAL_KEYS if self.journal_kind == "encrypted" else None)

    def watch(self, inner: Any) -> Tap:
        tap = Tap(inner)
        self.journals.append(tap)
        return tap

    def wire(self) -> Wire:
        wire = Wire(self.make_transport())
        self.wires.append(wire)
        return wire

    async def client(self, journal: Tap | None = None, **more: Any) -> LianLianClient:
        """An open client; the world closes it in the end."""
        more.setdefault("transport", (self.wire(), self.wire()))
        more.setdefault("timeouts", self.timeouts)
        client = LianLianClient(self.merchant, journal or self.journal(), clock=self.clock, **more)
        await client.open()
        self.clients.append(client)
        return client

    def start(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """A caller in a task of its own; in the end the world takes it away, and whatever came of it."""
        call = asyncio.ensure_future(work)
        self.calls.append(call)
        return call

    # --- time

    def _activity(self) -> tuple[int, int]:
        everything = [*self.journals, *self.wires]
        busy = sum(e.busy for e in everything) + self.simulator.notifying
        return busy, sum(e.total for e in everything)

    async def calm(self) -> None:
        """Wait until no request and no journal call is under way, and nobody has anything left to do."""
        quiet, seen = 0, self._activity()
        while quiet < 20:
            await asyncio.sleep(0.0005 if seen[0] else 0)
            now = self._activity()
            quiet = quiet + 1 if now == seen and not now[0] else 0
            seen = now

    async def run_until(self, done: Callable[[], bool], *, within_s: float = 9 * 86_400, stride: float = 0.0) -> None:
        """Let time pass, from one thing that is due to the next, until `done`; fails after `within_s` virtual seconds.

        `stride` is the share of the time that has passed so far by which every step goes further than it needs to:
        what is due within it then happens all at once.
        """
        start = self.clock.now()
        end = self.clock.now() + timedelta(seconds=within_s)
        while True:
            await self.calm()
            if done():
                return
            at = self.clock.next_at
            assert at is not None, "nothing is left that could happen"
            assert at <= end, f"nothing came of it within {within_s} s"
            self.clock.go_to(at + (at - start) * stride)

    async def run_for(self, seconds: float) -> None:
        """Let this much virtual time pass."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while True:
            await self.calm()
            at = self.clock.next_at
            if at is None or at > end:
                break
            self.clock.go_to(at)
        self.clock.go_to(end)
        await self.calm()

    async def done(self, work: Awaitable[Any], **limits: float) -> Any:
        """The result of `work`, letting as much time pass as it takes; `limits` as for `run_until`."""
        task = self.start(work)
        await self.run_until(task.done, **limits)
        return task.result()

    async def pay(self, client: LianLianClient, order: Order, key: str | None = "k", **more: Any) -> Payout:
        """`client.pay`, letting time pass until the payout rests."""
        more.setdefault("wait_s", 1e9)
        payout = await self.done(client.pay(order, key=key, **more))
        assert isinstance(payout, Payout)
        return payout

    async def at_rest(self, client: LianLianClient, *numbers: str) -> list[Payout]:
        """The payouts, once all of them rest."""
        waits = [client.wait(number, timeout_s=1e9) for number in numbers]
        result: list[Payout] = await self.done(asyncio.gather(*waits))
        return result

    # --- what the gateway saw

    def requests(self, endpoint: str, no_order: str | None = None) -> list[Any]:
        return [r for r in self.simulator.requests if r.endpoint == endpoint and no_order in (None, r.no_order)]

    def pays(self, no_order: str | None = None) -> list[Any]:
        return self.requests("pay", no_order)

    def queries(self, no_order: str | None = None) -> list[Any]:
        return self.requests("query", no_order)

    async def crash(self, client: LianLianClient) -> Any:
        """Kill a client as a process is killed: nothing is tidied up. Returns a fresh journal over the same data."""
        tasks = list(client._crew._all)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client._engine is not None:
            client._engine.agenda.close()
            await client._engine.gateway.aclose()
        self.clients.remove(client)
        tap = client.journal
        assert isinstance(tap, Tap)
        if isinstance(tap.inner, SqliteJournal):
            await tap.inner.close()
            return self.watch(self._sqlite(tap.inner.path))
        return self.watch(tap.inner)

    async def records(self, client: LianLianClient) -> list[Record]:
        journal = client.journal.inner if isinstance(client.journal, Tap) else client.journal
        found: list[Record] = await journal.page(None, 100_000)
        return found

    async def audit(self, client: LianLianClient) -> None:
        """Every rule that can be checked from outside, for every payout of this journal."""
        for record in await self.records(client):
            audit_one(self, record)
        assert not self.requests("confirm"), "nothing is ever confirmed by itself (R10)"
        assert self.simulator.ledger.summary().paid_twice == 0


def audit_one(world: World, record: Record) -> None:
    """R1, R2, R5, R6 and I7 for one number, from what the gateway received and what the journal holds."""
    pays, queries = world.pays(record.no_order), world.queries(record.no_order)
    assert len(world.simulator.ledger.payments(record.no_order)) <= 1
    attempts = [a for a in record.attempts if a.source is Source.PAY]
    assert len(pays) <= len(attempts), "every request has an attempt on record (I7)"
    assert {r.content_hash for r in pays} <= {record.content_hash}, "the content never changes (R5)"
    refused = {
        e.attempt for e in record.evidence
        if e.source is Source.PAY and e.outcome is Outcome.ANSWERED and e.ret_code in REFUSALS
    }  # fmt: skip
    unsent = {e.attempt for e in record.evidence if e.outcome in (Outcome.NOT_SENT, Outcome.UNTRUSTED)}
    sent = [a for a in attempts if a.number not in unsent]
    for attempt in attempts:
        assert attempt.content_hash == record.content_hash
    for request in pays:
        began = [a for a in sent if a.started_at <= request.time <= a.deadline_at]
        assert began, "the attempt was written down before the request came, and the request came in its time (R6)"
    for earlier, later in zip(attempts, attempts[1:], strict=False):
        asked = [q for q in queries if earlier.started_at <= q.time <= later.started_at]
        assert asked, "a query comes before every further send (R1)"
        before = [a for a in sent if a.number <= earlier.number]
        still_open = [a for a in before if a.number not in refused]
        absent = [e for e in record.evidence if _no_record(e) and earlier.started_at <= e.asked_at <= later.started_at]
        assert absent, "only a signed answer of no record permits a further send (R2)"
        if len(before) == 1 and any(e.result_pay == "FAILURE" for e in absent):
            continue  # an order that failed without a bill can only have come of the one request
        if still_open:
            assert len(absent) >= 3, "three answers of no record before a resend (R2)"
            grace_end = max(a.deadline_at for a in still_open) + timedelta(seconds=GRACE_S)
            assert later.started_at >= grace_end, "five minutes after the deadline of the unanswered attempt (R2)"


def _no_record(e: Evidence) -> bool:
    """A bound answer to a query that there is nothing, or nothing with a bill."""
    if e.source is not Source.QUERY or e.outcome is not Outcome.ANSWERED:
        return False
    return e.ret_code == "8901" or (e.result_pay == "FAILURE" and not e.oid_paybill)


_STATE_OF = {
    "SUCCESS": State.PAID, "FAILURE": State.FAILED, "CLOSED": State.CLOSED, "CANCEL": State.REFUNDED,
    "CHECK": State.REVIEW,
}  # fmt: skip


def true_state(world: World, no_order: str) -> State | None:
    """What the gateway's own book says of a number, in the library's words."""
    word = world.simulator.result_pay(no_order)
    return None if word is None else _STATE_OF.get(word, State.IN_PROGRESS)


@frozen
class Keys:
    """Key files of both sides, for the whole session."""

    folder: Path

    def ring(self) -> KeyRing:
        return KeyRing.load(
            merchant_private_key=self.folder / "merchant-private.pem",
            gateway_public_key=self.folder / "gateway-public.pem",
        )

    def read(self, name: str) -> bytes:
        return (self.folder / f"{name}.pem").read_bytes()


@asynccontextmanager
async def a_world(
    keys: Keys, ring: KeyRing, folder: Path, *, journal: str = "memory", loop_scale: float = 40.0, **settings: Any
) -> AsyncIterator[World]:
    """A world with its simulator serving; closes every client, and then nothing may be left over.

    Deadlines on sockets are real: `loop_scale` seconds of them pass in one. What hangs costs a test that time, and on
    a busy machine an answer may take longer than that; where every answer has to come, the scale must be small.
    """
    before = asyncio.all_tasks()
    clock = settings.pop("clock", None) or SteppedClock(loop_scale=loop_scale)
    merchant_changes = settings.pop("merchant", {})
    make_transport = settings.pop("make_transport", HttpxTransport)
    simulator = Simulator(
        oid_partner=OID_PARTNER, merchant_public_key=keys.read("merchant-public"),
        gateway_private_key=keys.read("gateway-private"), clock=clock, **settings,
    )  # fmt: skip
    async with simulator.serve() as server:
        merchant = Merchant(oid_partner=OID_PARTNER, keys=ring, base_url=server.base_url, notify_url=NOTIFY_URL)
        merchant = evolve(merchant, **merchant_changes)
        world = World(clock, simulator, merchant, folder, journal, make_transport=make_transport)
        try:
            yield world
        finally:
            for call in world.calls:
                call.cancel()
            await asyncio.gather(*world.calls, return_exceptions=True)
            for client in world.clients:
                await client.aclose()
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, f"left over: {left}"


def money(amounts: Sequence[str]) -> Decimal:
    return sum((Decimal(a) for a in amounts), Decimal(0))
