"""Ten thousand unknown payouts after an outage, and a gateway that is there again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import Wire as WatchedWire
from client_world import World, an_order, true_state

from lianlian_async import State, Step
from lianlian_async.intake import intent_of
from lianlian_async.journal import Change, Record
from lianlian_async.resolver import Attempt, Source
from lianlian_async.testing.simulator import Behaviour, Endpoint, Simulator
from lianlian_async.transport import FaultKind, WireAnswer, WireFault
from lianlian_async.worker import Worker

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

COUNT = 10_000
NEVER_ARRIVED_EVERY = 40
PER_S = 50
SECOND = timedelta(seconds=1)
# The newest was sent an hour ago, one a second before that: none is due again while the backlog drains.
SENT_BEFORE = timedelta(hours=1)
# What the process may grow by, its simulated gateway included. All payouts at once would be more than that.
TOGETHER_MAX = 128
GROWTH_MAX_BYTES = 24 * 2**20


class Direct:
    """The gateway at the end of a call instead of a wire: ten thousand exchanges over sockets would take minutes.

    What is examined here is who is asked when; sockets have their own proofs.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.asked: list[tuple[datetime, str]] = []
        self.pays = 0

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        if guard is not None and not guard():
            return WireFault(FaultKind.TIMEOUT, sent=False)
        endpoint = "query" if "queryPayment" in url else "pay"
        delivery = self._simulator.receive(endpoint, body)
        received = self._simulator.requests[-1]
        if endpoint == "query":
            self.asked.append((received.time, received.no_order))
        else:
            self.pays += 1
        await asyncio.sleep(0)
        return WireAnswer(delivery.status, delivery.body)

    def renew(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def an_outage(w: World, journal: Any) -> list[Record]:
    """Ten thousand payouts whose attempt has no answer, the newest first; the gateway has all but every fortieth."""
    now, engine = w.clock.now(), w.simulator.exchange.engine
    records = [
        intent_of(an_order(f"{n % 97 + 1}.50", card=n), f"k{n}", w.merchant, now - SENT_BEFORE - n * SECOND)
        for n in range(COUNT)
    ]
    await journal.open()
    for start in range(0, COUNT, 500):
        await journal.add(records[start : start + 500])
        await asyncio.gather(*(journal.save(r.no_order, 0, _sent(r)) for r in records[start : start + 500]))
    for n, record in reversed(list(enumerate(records))):
        if n % NEVER_ARRIVED_EVERY:
            assert engine.carry_out(Endpoint.PAY, record.content, record.created_at).ret_code == "0000"
    w.simulator.catch_up()
    return records


def _sent(record: Record) -> Change:
    attempt = Attempt(
        number=1, source=Source.PAY, started_at=record.created_at, deadline_at=record.created_at + 30 * SECOND,
        content_hash=record.content_hash, owner="a process that is gone",
    )  # fmt: skip
    return Change(State.UNKNOWN, Step.QUERY, record.created_at + 2 * SECOND, attempts=(attempt,))


def resident_bytes() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ten_thousand_unknown_payouts_drain(world: MakeWorld) -> None:
    """Fifty queries in any second and never more, the newest first, in bounded memory; and every payout ends truly."""
    behaviour = Behaviour(failure_share=0.02)
    async with world(journal="sqlite", requests_max=1, behaviour=behaviour) as w:
        journal = w.journal()
        records = await an_outage(w, journal)
        direct = Direct(w.simulator)
        w.wires.append(WatchedWire(direct))
        client = await w.client(journal, transport=(w.wires[-1], w.wires[-1]))
        stop = asyncio.Event()
        before, peak = resident_bytes(), 0
        worker = asyncio.ensure_future(Worker(client).run(stop))
        started = w.clock.now()
        while len({number for _, number in direct.asked}) < COUNT:
            # Half a second holds half a second's turns: all that is due in it happens at its end.
            w.clock.go_to(w.clock.now() + 0.5 * SECOND)
            await w.calm()
            peak = max(peak, resident_bytes())
            assert w.clock.now() - started < timedelta(seconds=1.1 * COUNT / PER_S), "it drains more slowly than it may"
        # Newest first, as far as those allow who wait for their turns together.
        place = {record.no_order: n for n, record in enumerate(records)}
        late = [place[number] - n for n, (_, number) in enumerate(direct.asked[:500])]
        assert max(map(abs, late)) <= TOGETHER_MAX, late
        # The others are asked twice more, and sent again.
        await w.run_until(lambda: direct.pays == COUNT // NEVER_ARRIVED_EVERY, within_s=6 * 3600)
        await w.run_for(600)
        stop.set()
        await w.done(worker)
        require_pace(direct.asked)
        assert peak - before < GROWTH_MAX_BYTES, f"{(peak - before) / 2**20:.0f} MiB"
        await require_truth(w, journal)
        FIGURES.info(f"{len(direct.asked)} queries, {direct.pays} sent again, {(peak - before) / 2**20:.1f} MiB")


def require_pace(asked: Sequence[tuple[datetime, str]]) -> None:
    """No second, wherever it begins, holds more queries than the limit."""
    moments = [moment for moment, _ in asked]
    crowded = [m for m, later in zip(moments, moments[PER_S:], strict=False) if later - m < SECOND]
    assert not crowded, f"more than {PER_S} queries in the second after {crowded[0]}"


async def require_truth(w: World, journal: Any) -> None:
    after, seen = None, 0
    while page := await journal.page(after, 1000):
        after, seen = page[-1].no_order, seen + len(page)
        assert [(r.no_order, r.state) for r in page if r.state is not true_state(w, r.no_order)] == []
        assert all(len(record.attempts) <= 2 for record in page)
    summary = w.simulator.ledger.summary()
    assert seen == COUNT
    assert summary.paid_twice == 0
    assert summary.paid + summary.failed == COUNT
    assert summary.paid > 0.95 * COUNT
