"""Two, four and eight workers on one file, some of which sleep through their leases in the middle of a send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from client_world import Keys
from proofs_process import OID_PARTNER
from proofs_world import Running, Site, until

from lianlian_async import Limits, State, Timeouts
from lianlian_async.journal import Record
from lianlian_async.resolver import Attempt, Source
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Simulator

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEED = 20250101
SCALE = 60.0
WAVE = 24
# At this scale an attempt lasts one second of the machine, and a claim one and a half.
TIMEOUTS = Timeouts(pay_s=60, query_s=60)
LEASE_S = 90.0
PER_S = 2.0
# Little room for each, so that there is something for everybody.
LIMITS = Limits(in_flight=2, queries_in_flight=2, queries_per_s=PER_S)
# Where a worker is suspended, for longer than its lease: with an attempt on record and nothing sent, right before
# the last look at the time, with the request on its way, with an answer that nobody has written down ...
STOPS = [
    "after save attempt 1", "at the first byte of pay 1", "after the first byte of pay 2", "after pay 2",
    "after claim 2", "before save pay news 3", "before query 2", "after query 3",
]  # fmt: skip
# Clocks of two processes may disagree by this much: a busy machine puts one to sleep between two readings.
CLOCKS_APART = timedelta(seconds=1)


@define
class Books:
    """What came to the gateway, as it came: digest and moment of every request."""

    simulator: Simulator
    digests: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        receive = self.simulator.exchange.receive

        def listening(endpoint: Any, body: bytes, now: datetime) -> Any:
            self.digests.append(sha256(body).hexdigest())
            return receive(endpoint, body, now)

        self.simulator.exchange.receive = listening  # type: ignore[method-assign]

    def pays(self) -> Iterator[tuple[Any, str]]:
        requests = self.simulator.requests
        assert len(requests) == len(self.digests)
        return ((r, digest) for r, digest in zip(requests, self.digests, strict=True) if r.endpoint == "pay")

    def asked_at(self) -> list[datetime]:
        return [r.time for r in self.simulator.requests if r.endpoint == "query"]


@asynccontextmanager
async def a_place(keys: Keys, folder: Path, seed: int, faults: str = "rough") -> AsyncIterator[tuple[Site, Books]]:
    """A gateway in this process, and the processes on it."""
    ledger = folder / "ledger.jsonl"
    simulator = Simulator(
        oid_partner=OID_PARTNER, merchant_public_key=keys.read("merchant-public"),
        gateway_private_key=keys.read("gateway-private"), clock=ScaledClock(SCALE), faults=faults, seed=seed,
        ledger_path=ledger,
    )  # fmt: skip
    books = Books(simulator)
    async with simulator.serve() as server:
        site = Site(
            keys.folder, folder, server.base_url, ledger, seed, scale=SCALE, timeouts=TIMEOUTS, limits=LIMITS
        )  # fmt: skip
        try:
            yield site, books
        finally:
            await site.close()


@pytest.mark.parametrize("count", [2, 4, 8])
async def test_workers_share_and_sleep_through_their_leases(keys: Keys, tmp_path: Path, count: int) -> None:
    """No attempt is sent twice, no request is without its attempt, nothing is paid twice, and the pace is everybody's."""
    async with a_place(keys, tmp_path, SEED + count) as (site, books):
        workers = [site.start("work", stops=tuple(STOPS[n::count])) for n in range(count)]
        # A process that is suspended in the middle of a COMMIT keeps the journal's lock: nobody could open it meanwhile.
        await until(lambda: ready(site) == count, "the start of all workers")
        waker = asyncio.create_task(wake(workers))
        async with asyncio.timeout(90):
            while sum(worker.naps for worker in workers) < len(STOPS):
                assert all(worker.code is None for worker in workers), [worker.words() for worker in workers]
                if site.count < 20 * WAVE and (await site.open()) < WAVE:
                    await site.lay_down(site.more(WAVE))
                await asyncio.sleep(0.1)
        await rest(site)
        waker.cancel()
        for worker in workers:
            await worker.stop()
        judge_attempts(site, books, await site.records())
        judge_pace(site, books)
        states = await site.judge()
        assert states[State.PAID] > 0.8 * site.count
        FIGURES.info(f"{count} workers, {len(STOPS)} stops, {site.count} payouts, {len(books.digests)} requests")


async def test_a_send_that_comes_too_late_to_be_stopped(keys: Keys, tmp_path: Path) -> None:
    """A machine is suspended between its last look at the time and the first byte, until another worker has asked three
    times, waited out the grace and sent again: the late copy is one attempt's one request, and nothing is paid twice."""
    async with a_place(keys, tmp_path, SEED, faults="calm") as (site, books):
        await site.lay_down(site.more(1))
        # It tells nobody of anything, so that its journal is at rest when it is suspended: see above.
        late = site.start("work", stops=("past the guard of pay 1",), tells=False)
        await until(lambda: late.stopped, "the stop")
        assert not books.digests
        other = site.start("work")
        await until(lambda: any(books.pays()), "the second attempt")
        late.go_on()
        await until(lambda: len(list(books.pays())) == 2, "the late request")
        await rest(site)
        for worker in (late, other):
            await worker.stop()
        [record] = await site.records()
        judge_attempts(site, books, [record])
        assert [r.ret_code for r, _ in books.pays()][0] == "0000"
        assert len(record.attempts) == 2
        assert (await site.judge())[State.PAID] == 1


def ready(site: Site) -> int:
    path = site.part("work").ready
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


async def wake(workers: list[Running]) -> None:
    """Let everybody who is suspended go on, once its lease is over."""

    async def one(worker: Running) -> None:
        while True:
            await until(lambda: worker.stopped, "a stop", within_s=600)
            await asyncio.sleep(1.2 * LEASE_S / SCALE)
            worker.go_on()

    await asyncio.gather(*map(one, workers))


async def rest(site: Site) -> None:
    """Wait until no payout of the journal moves by itself any more."""
    async with asyncio.timeout(90):
        while await site.open():
            await asyncio.sleep(0.2)


def judge_attempts(site: Site, books: Books, records: list[Record]) -> None:
    """Each request is that of exactly one attempt, and each attempt has one request at most."""
    attempts: dict[str, Attempt] = {
        f"{r.no_order} {a.number}": a for r in records for a in r.attempts if a.source is Source.PAY
    }
    of_digest: dict[str, str] = {}
    for line in (site.folder / "sent").read_text("utf-8").splitlines():
        attempt, _, digest = line.rpartition(" ")
        assert digest not in of_digest, f"the same body twice: {attempt} and {of_digest.get(digest)}"
        of_digest[digest] = attempt
    assert len(set(of_digest.values())) == len(of_digest), "an attempt went to the wire twice"
    arrived: dict[str, Any] = {}
    for request, digest in books.pays():
        attempt = of_digest[digest]
        assert attempt not in arrived, f"attempt {attempt} came to the gateway twice"
        assert attempt.split()[0] == request.no_order
        assert request.time >= attempts[attempt].started_at - CLOCKS_APART, "it came before it was written down"
        arrived[attempt] = request
    assert arrived


def judge_pace(site: Site, books: Books) -> None:
    """The turns of all processes together are a gap apart, and no query runs ahead of them."""
    gap = timedelta(seconds=1 / PER_S)
    turns: list[datetime] = []
    for line in (site.folder / "turns").read_text("utf-8").splitlines():
        first, _, how_many = line.partition(" ")
        turns += [datetime.fromisoformat(first) + n * gap for n in range(int(how_many))]
    turns.sort()
    assert all(later - earlier >= gap for earlier, later in zip(turns, turns[1:], strict=False))
    asked = sorted(books.asked_at())
    assert len(asked) <= len(turns)
    early = [
        (turn, moment) for turn, moment in zip(turns, asked, strict=False) if moment < turn - CLOCKS_APART
    ]  # fmt: skip
    assert not early, f"asked before its turn: {early[:3]}"
