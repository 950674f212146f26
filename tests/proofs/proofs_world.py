"""A gateway, a journal and the processes on it; who is killed when; and the judge.

Processes are forked from one that has imported everything already, which makes a kill cost a tenth of a second:
each has a process, an event loop, sockets and an open journal file of its own all the same.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from attrs import define, field
from process_signals import heeds_sigterm
from proofs_process import OID_PARTNER, SUBSCRIBER, TIMEOUTS, Part, key_of, main, merchant_of, order_of

from lianlian_async import LianLianClient, Limits, Payout, State, Step, Timeouts
from lianlian_async.cli.audit import Verdict, audit
from lianlian_async.intake import intent_of
from lianlian_async.journal import Lease, Record
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.payout import AT_REST
from lianlian_async.resolver import Source
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Ledger
from lianlian_async.transport.aiohttp import AiohttpTransport

SCALE = 240.0

_NURSERY = multiprocessing.get_context("forkserver")
_NURSERY.set_forkserver_preload(
    [
        "pytest",
        "lianlian_async.worker",
        "lianlian_async.transport.aiohttp",
        "lianlian_async.transport.httpx",
        "aiohttp.web",
    ]
)


async def until(condition: Callable[[], object], what: str, *, within_s: float = 60.0) -> None:
    """Wait for something that another process brings about; a time-out says what did not come."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {within_s:g} s") from None


class Running:
    """A process that plays a part."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.naps = 0
        self._process = _NURSERY.Process(target=main, args=(part,), daemon=True)
        self._process.start()

    @property
    def code(self) -> int | None:
        """How it ended: 0, the number of the signal that ended it (negative), or None while it runs."""
        return self._process.exitcode

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when it was over already."""
        if self.code is not None:
            return False
        os.kill(self._process.pid or 0, number)
        return True

    async def end(self, *, within_s: float = 60.0) -> int:
        """Wait for its end, and return how it ended."""
        await until(lambda: self.code is not None, f"the end of {self}", within_s=within_s)
        return self.code if self.code is not None else 0

    async def kill(self) -> bool:
        """`kill -9`; False when it was over already. What ends by itself ends in order."""
        hit = self.signal(signal.SIGKILL)
        code = await self.end()
        assert code in (0, -signal.SIGKILL), f"{self} ended with {code}: {self.words()}"
        return hit and code == -signal.SIGKILL

    async def stop(self) -> None:
        """SIGTERM, and an end in order."""
        await until(lambda: heeds_sigterm(self._process.pid or 0), f"the start of {self}")
        self.signal(signal.SIGTERM)
        assert await self.end() == 0, f"{self} ended with {self.code}: {self.words()}"

    @property
    def stopped(self) -> bool:
        """True while it is suspended: neither dead nor at work."""
        if self.code is not None:
            return False
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def go_on(self) -> None:
        """Let it go on, if it is suspended."""
        if self.stopped:
            self.naps += 1
            self.signal(signal.SIGCONT)

    def words(self) -> str:
        """The end of what it said."""
        return self.part.log.read_text("utf-8")[-2000:] if self.part.log.exists() else ""

    def __str__(self) -> str:
        dies = f", to die {self.part.dies}" if self.part.dies else ""
        return f"{self.part.play} ({self.part.numbers}{dies})"


@define
class Site:
    """One gateway, one journal file, and everybody on it."""

    keys: Path
    folder: Path
    base_url: str
    ledger: Path
    seed: int
    scale: float = SCALE
    transport: str = "aiohttp"
    timeouts: Timeouts = TIMEOUTS
    limits: Limits = field(factory=Limits)
    notify_port: int = 9  # discard: nobody is told
    serve_port: int = 0
    acked: list[dict[str, str]] = field(factory=list)
    count: int = 0  # numbers 0 to this one have been given out
    kills: int = 0
    running: list[Running] = field(factory=list)
    draw: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def part(self, play: str, **more: Any) -> Part:
        more.setdefault("transport", self.transport)
        return Part(
            play=play, folder=self.folder, keys=self.keys, base_url=self.base_url, scale=self.scale,
            log=self.folder / f"{play}.log", notify_port=self.notify_port, serve_port=self.serve_port, timeouts=self.timeouts, limits=self.limits,
            **more,
        )  # fmt: skip

    def start(self, play: str, **more: Any) -> Running:
        running = Running(self.part(play, **more))
        self.running.append(running)
        return running

    def more(self, count: int) -> range:
        """Numbers that nobody had before."""
        numbers = range(self.count, self.count + count)
        self.count += count
        return numbers

    async def pause(self, least_s: float, most_s: float) -> None:
        """Let a length of time pass that the seed has chosen."""
        await asyncio.sleep(self.draw.uniform(least_s, most_s))

    async def kill(self, running: Running) -> None:
        self.kills += await running.kill()

    async def close(self) -> None:
        for running in self.running:
            running.signal(signal.SIGKILL)
        for running in self.running:
            await running.end()

    # --- looking

    def journal(self) -> SqliteJournal:
        """The journal, for one who is patient: a process that was suspended in the middle of a COMMIT keeps the lock."""
        return SqliteJournal(self.folder / "payouts.db", busy_timeout_s=30)

    @asynccontextmanager
    async def client(self, **more: Any) -> AsyncIterator[LianLianClient]:
        """A client of the test's own on the journal, who is an operator too."""
        client = LianLianClient(
            merchant_of(self.part("look")), self.journal(), clock=ScaledClock(self.scale),
            transport=(AiohttpTransport(), AiohttpTransport()), timeouts=self.timeouts, **more,
        )  # fmt: skip
        async with client:
            yield client

    async def lay_down(self, numbers: Iterable[int]) -> None:
        """Write intents into the journal as a process would that dies right after it."""
        merchant, now = merchant_of(self.part("look")), ScaledClock(self.scale).now()
        journal = self.journal()
        await journal.open()
        await journal.add([intent_of(order_of(number), key_of(number), merchant, now) for number in numbers])
        await journal.close()

    async def to_the_end(self) -> None:
        """Let everybody finish: all payouts rest, and all changes are told."""
        helpers = [self.start("work"), *([self.start("serve")] if self.serve_port else [])]
        while True:
            payer = self.start("pay", numbers=range(self.count))
            # An operator releases what waits for a fix: the gateway is in order again.
            async with self.client() as client:
                while payer.code is None:
                    if await client.paused() is not None:
                        await client.unpause(by="Wang Fang")
                    await asyncio.sleep(0.05)
                released = [payout for payout in await self.payouts(client) if payout.step in (Step.FIX, Step.DECIDE)]
                released = [payout for payout in released if payout.state in _RELEASABLE]
                for payout in released:
                    await client.resume(payout.no_order, by="Wang Fang")
            assert payer.code == 0, f"{payer} ended with {payer.code}: {payer.words()}"
            if not released:
                break
        moved = await self.moved()
        await until(lambda: moved <= self.told(), "telling of all changes")
        for helper in helpers:
            await helper.stop()

    async def payouts(self, client: LianLianClient) -> list[Payout]:
        """All payouts of the numbers given out, each under its key; none may be missing."""
        found = [await client.find(key_of(number)) for number in range(self.count)]
        missing = [key_of(number) for number, payout in enumerate(found) if payout is None]
        assert not missing, f"lost: {missing}"
        return [payout for payout in found if payout is not None]

    async def open(self) -> int:
        """How many payouts still move by themselves."""
        return sum(record.step not in AT_REST for record in await self.records())

    async def records(self) -> list[Record]:
        journal = self.journal()
        await journal.open()
        records = await journal.page(None, 100_000)
        await journal.close()
        return records

    async def moved(self) -> set[str]:
        """The ids of all changes that the application must have been told of."""
        journal = self.journal()
        await journal.open()
        now = ScaledClock(self.scale).now()
        # A subscriber that nobody has been yet is shown everything from the first change on.
        name = f"judge {now.isoformat()}"
        moved = await journal.moved(name, Lease(name, now, now + timedelta(seconds=1)), 1_000_000)
        await journal.close()
        return {f"{change.no_order}/{change.version}" for change in moved}

    def told(self) -> set[str]:
        path = self.folder / "told"
        return set(path.read_text("utf-8").split()) if path.exists() else set()

    # --- judging

    async def judge(self) -> dict[State, int]:
        """Nothing lost, nothing twice, both books agree, what was acknowledged is on record, every change was told.

        A bank may return money, and a review may close, after the journal last asked: who wants to know asks again.
        So it is with one whose return was heard of from a notification alone, when nobody was left to ask about it.
        """
        async with self.client() as client:
            for _ in range(20):
                payouts = await self.payouts(client)
                verdict = audit([key_of(number) for number in range(self.count)], payouts, Ledger.read(self.ledger))
                unclear = [number for number in verdict.misreported if _known(number, payouts)]
                unclear += [p.no_order for p in payouts if p.state is State.REFUNDED and not p.at_rest]
                if not unclear:
                    break
                await asyncio.gather(*map(client.query, dict.fromkeys(unclear)))
            assert verdict == Verdict((), (), ()), self._explained(verdict, payouts)
            paid = [payout for payout in payouts if payout.state is State.PAID]
            assert await client.journal.verify() == self.count  # type: ignore[attr-defined]
        ledger = Ledger.read(self.ledger)
        assert {payout.no_order for payout in paid} == set(ledger.paid())
        assert sum(payout.money_order for payout in paid) == ledger.summary().paid_amount
        told, moved = self.told(), await self.moved()
        assert told <= moved, "told of a change that is not in the journal"
        await self._judge_acked()
        return {state: sum(p.state is state for p in payouts) for state in State}

    async def _judge_acked(self) -> None:
        heard = {
            (record.no_order, e.result_pay) for record in await self.records() for e in record.evidence
            if e.source is Source.NOTIFY
        }  # fmt: skip
        gone = {(said["no_order"], said["result_pay"]) for said in self.acked} - heard
        assert not gone, f"acknowledged, and not in the journal: {gone}"

    def _explained(self, verdict: Verdict, payouts: Sequence[Payout]) -> str:
        last = Ledger.read(self.ledger).states()
        wrong = {p.no_order: (p.key, p.state, p.rule, last.get(p.no_order)) for p in payouts}
        return f"seed {self.seed}, {verdict}: {[wrong.get(number, number) for number in verdict.misreported]}"


_RELEASABLE = frozenset({State.UNSENT, State.UNKNOWN, State.REFUSED})


def _known(no_order: str, payouts: Sequence[Payout]) -> bool:
    return any(payout.no_order == no_order for payout in payouts)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def post_office(site: Site) -> AsyncIterator[int]:
    """Hands the gateway's notifications on to whoever takes them just now, and remembers which were acknowledged."""

    async def hand_on(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            async with session.post(f"http://127.0.0.1:{site.serve_port}/n", data=body) as answer:
                said = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        if json.loads(said)["ret_code"] == "0000":
            site.acked.append(json.loads(body))
        return web.Response(body=said)

    app = web.Application()
    app.router.add_post("/n", hand_on)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_site(keys: Path, folder: Path, *, seed: int, faults: str = "rough", **more: Any) -> AsyncIterator[Site]:
    """A site with `lianlian-async simulate` as a process that outlives all others."""
    ledger, scale = folder / "ledger.jsonl", more.get("scale", SCALE)
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lianlian_async", "simulate", "--time-scale", str(scale), "--faults", faults,
        "--seed", str(seed), "--ledger", str(ledger), "--port", "0", "--json", "--oid-partner", OID_PARTNER,
        "--merchant-public-key", str(keys / "merchant-public.pem"),
        "--gateway-private-key", str(keys / "gateway-private.pem"), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert gateway.stdout is not None
    base_url = json.loads(await gateway.stdout.readline())["base_url"]
    site = Site(keys, folder, base_url, ledger, seed, serve_port=free_port(), **more)
    try:
        async with post_office(site) as site.notify_port:
            yield site
    finally:
        await site.close()
        gateway.terminate()
        await gateway.wait()
    assert gateway.returncode == 0


__all__ = ["SCALE", "SUBSCRIBER", "Running", "Site", "a_site", "free_port", "until"]
