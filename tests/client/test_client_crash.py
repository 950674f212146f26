"""A process that dies at every point where something is written down, and the next one that goes on."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, Keys, SteppedClock, Tap, World, an_order, for_ever, true_state

from lianlian_async import LianLianClient, Payout, State, Step
from lianlian_async.numbers import derive
from lianlian_async.testing.simulator import Step as Answer

NUMBER = derive(OID_PARTNER, "k")

# What the gateway does with the first request, and how often it may be sent in the end.
PLOTS: dict[str, list[Any]] = {
    "all is well": [None],
    "the answer is lost": ["close_after", None],
    "the request is lost": ["close_before", None],
    "a late copy": [Answer(fault="late_hang", late_s=400.0), None],
    "refused once": ["4014", None],
}
WRITES = ("add", "save", "trip")


def dies(tap: Tap, wires: list[Any], phase: str, nth: int) -> asyncio.Event:
    """From the `nth` write on, before or after it, this process does nothing any more."""
    dead = asyncio.Event()
    writes = 0

    def journal(when: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
        nonlocal writes
        if when == "before" and name in WRITES:
            writes += 1
        if when == phase and name in WRITES and writes == nth:
            dead.set()
        return for_ever() if dead.is_set() else None

    async def never() -> None:
        await for_ever()

    tap.hook = journal
    for wire in wires:
        wire.before = lambda url: never() if dead.is_set() else None
        wire.after = lambda url, heard: never() if dead.is_set() else None
    return dead


async def until_dead_or_done(w: World, dead: asyncio.Event, call: asyncio.Task[Any]) -> None:
    """As `World.run_until`, but a dead process never gets calm: its calls hang."""
    while not dead.is_set() and not call.done():
        for _ in range(30):
            await asyncio.sleep(0.0003 if w._activity()[0] else 0)
            if dead.is_set() or call.done():
                return
        if not w._activity()[0]:
            at = w.clock.next_at
            if at is not None:
                w.clock.go_to(at)


async def crash_at(w: World, client: LianLianClient, phase: str, nth: int) -> Tap | None:
    """Pay until the process dies there; None when there are not that many writes."""
    tap = w.journals[-1]
    dead = dies(tap, w.wires[-2:], phase, nth)
    call = w.start(client.pay(an_order(), key="k", wait_s=1e9))
    await until_dead_or_done(w, dead, call)
    died = dead.is_set()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    for wire in w.wires[-2:]:
        wire.before = wire.after = None
    tap.hook = None
    fresh: Tap = await w.crash(client)
    return fresh if died else None


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(
    ("plot", "journal"),
    [*((plot, "memory") for plot in PLOTS), ("all is well", "sqlite"), ("the request is lost", "sqlite")],
)
async def test_a_crash_at_every_write(world: MakeWorld, journal: str, plot: str, phase: str) -> None:
    """Wherever it died: what was written down is paid once and truly told, what was not never reached the gateway."""
    crashes = 0
    for nth in range(1, 40):
        async with world(journal=journal, loop_scale=400) as w:
            w.simulator.script(NUMBER, pay=PLOTS[plot])
            if journal == "sqlite":
                (w.folder / str(nth)).mkdir()
                w.folder = w.folder / str(nth)
            fresh = await crash_at(w, await w.client(), phase, nth)
            if fresh is None:
                break
            crashes += 1
            w.clock.advance(1)
            second = await w.client(fresh)
            recovered = await second.recover()
            known = await second.find("k")
            assert (known is None) == (phase == "before" and nth == 1)
            if known is None:
                assert not w.simulator.requests
                continue
            assert recovered == (0 if known.at_rest else 1)
            await w.run_for(1500)
            [payout] = await w.at_rest(second, NUMBER)
            if plot == "refused once" and payout.step is Step.DECIDE:
                # The code of the refusal died with the process: what failed without a bill is a person's matter.
                assert payout.rule == "failed, no reason"
                await second.resume(NUMBER, by="Wang Fang")
                [payout] = await w.at_rest(second, NUMBER)
            assert payout.state is true_state(w, NUMBER) is State.PAID
            assert w.simulator.ledger.paid() == {NUMBER: 1}
            assert await w.pay(second, an_order()) == payout
            await w.audit(second)
    assert crashes >= 4


@pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])
async def test_a_second_crash_while_recovering(world: MakeWorld, journal: str) -> None:
    """Dead once after the send, dead again at every write of the recovery: still paid once."""
    for nth in range(1, 12):
        async with world(journal=journal) as w:
            if journal != "memory":
                (w.folder / str(nth)).mkdir()
                w.folder = w.folder / str(nth)
            w.simulator.script(NUMBER, pay=["close_before", None])
            fresh = await crash_at(w, await w.client(), "before", 3)
            assert fresh is not None
            client = await w.client(fresh)
            fresh = await crash_at(w, client, "before", nth)
            if fresh is None:
                break
            third = await w.client(fresh)
            await third.recover()
            [payout] = await w.at_rest(third, NUMBER)
            assert payout.state is State.PAID
            assert w.simulator.ledger.paid() == {NUMBER: 1}
            await w.audit(third)
    assert nth > 5


async def test_a_crash_between_attempt_and_send(world: MakeWorld) -> None:
    """The attempt counts as unanswered: three answers of "no record" and the grace, then the same number."""
    async with world() as w:
        fresh = await crash_at(w, await w.client(), "after", 2)
        assert fresh is not None
        assert not w.pays()
        second = await w.client(fresh)
        payout = await second.get(NUMBER)
        assert (payout.state, payout.step, payout.sends) == (State.UNKNOWN, Step.QUERY, 1)
        await second.recover()
        [payout] = await w.at_rest(second, NUMBER)
        [record] = await w.records(second)
        assert (payout.state, len(w.pays()), len(record.attempts)) == (State.PAID, 1, 2)
        gap = record.attempts[1].started_at - record.attempts[0].deadline_at
        assert gap >= timedelta(seconds=300)
        await w.audit(second)


async def test_a_crash_between_send_and_evidence(world: MakeWorld) -> None:
    """The order was accepted and nobody wrote it down: the next start asks first, and does not send."""
    async with world() as w:
        fresh = await crash_at(w, await w.client(), "before", 3)
        assert fresh is not None
        assert len(w.pays()) == 1
        second = await w.client(fresh)
        assert await second.recover() == 1
        [payout] = await w.at_rest(second, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        assert w.simulator.requests[1].endpoint == "query"


async def test_found_again_after_a_long_time(world: MakeWorld) -> None:
    """An intent that was written down and never begun is asked about before it is sent, once it is not fresh."""
    async with world() as w:
        fresh = await crash_at(w, await w.client(), "after", 1)
        assert fresh is not None
        w.clock.advance(3600)
        second = await w.client(fresh)
        assert await second.recover() == 1
        [payout] = await w.at_rest(second, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        assert w.simulator.requests[0].endpoint == "query"


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_an_intent_that_was_never_begun_is_due(world: MakeWorld, journal: str) -> None:
    """Whoever drives what is due must see it: the intent of a process that died right after `add` is not lost."""
    async with world(journal=journal) as w:
        fresh = await crash_at(w, await w.client(), "after", 1)
        assert fresh is not None
        await fresh.open()
        assert await fresh.due(w.merchant.oid_partner, w.clock.now() + timedelta(hours=1), 10) == [NUMBER]
        await fresh.close()


async def test_recover_counts_and_leaves_alone(world: MakeWorld) -> None:
    """Only what may move by itself is taken up; refusals and ends stay, and a review is asked about until it closes."""
    async with world() as w:
        first = await w.client()
        for n, pay in enumerate(("9911", "4003", None, "9999_before")):
            w.simulator.script({"card_no": an_order(card=n).card_no}, pay=[pay, None])
        for n in range(3):
            await w.pay(first, an_order(card=n), f"k{n}")
        await first.pay(an_order(card=3), key="k3", wait_s=0)
        await w.calm()
        sends = len(w.pays())
        second = await w.client(await w.crash(first))
        assert await second.recover() == 1
        await w.run_for(3600)
        assert {p.key: p.state for p in await second.payouts()} == {
            "k0": State.REFUSED, "k1": State.CLOSED, "k2": State.PAID, "k3": State.PAID,
        }  # fmt: skip
        assert len(w.pays()) == sends + 1


CHILD = """
import asyncio, os, sys
from pathlib import Path
from lianlian_async import KeyRing, LianLianClient, Merchant, Order
from lianlian_async.journal.sqlite import SqliteJournal

keys, base_url, path, phase, nth, partner = sys.argv[1:7]


class Dies:
    def __init__(self, inner):
        self.inner, self.writes = inner, 0

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        if name not in ("add", "save"):
            return method

        async def call(*args, **more):
            self.writes += 1
            if self.writes == int(nth) and phase == "before":
                os._exit(7)
            result = await method(*args, **more)
            if self.writes == int(nth) and phase == "after":
                os._exit(7)
            return result

        return call


async def main():
    ring = KeyRing.load(
        merchant_private_key=Path(keys) / "merchant-private.pem", gateway_public_key=Path(keys) / "gateway-public.pem"
    )
    merchant = Merchant(oid_partner=partner, keys=ring, base_url=base_url, notify_url="https://a.example.com/n")
    order = Order(money_order="25.78", card_no="6228480222300000000", acct_name="李三", info_order="测试")
    async with LianLianClient(merchant, Dies(SqliteJournal(path))) as client:
        await client.pay(order, key="k", wait_s=5)


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("phase", "nth", "sent"), [("after", 1, 0), ("before", 2, 0), ("after", 2, 0), ("before", 3, 1), ("after", 3, 1)]
)
async def test_a_process_that_is_really_gone(
    world: MakeWorld, keys: Keys, tmp_path: Path, phase: str, nth: int, sent: int
) -> None:
    """A child ends in `os._exit` around a write; the next process, on the same file, pays it once."""
    # The child lives in real time; the simulator is ahead of it, so that no request seems older than its attempt.
    clock = SteppedClock(datetime.now(UTC) + timedelta(seconds=20), loop_scale=100)
    async with world(journal="sqlite", clock=clock) as w:
        path = tmp_path / "journal.db"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(keys.folder), w.merchant.base_url, str(path), phase, str(nth), OID_PARTNER,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await asyncio.wait_for(child.communicate(), 30)
        assert child.returncode == 7, said.decode()
        assert len(w.pays()) == sent
        client = await w.client()
        assert await client.recover() == 1
        [payout] = await w.at_rest(client, NUMBER)
        assert isinstance(payout, Payout)
        assert (payout.state, w.simulator.ledger.paid(), len(w.pays())) == (State.PAID, {NUMBER: 1}, 1)
        for record in await w.records(client):
            assert len(record.attempts) == (1 if nth == 1 or (phase, nth) == ("before", 2) or sent else 2)
