"""One world: everything that exists under one seed, from the first payment to the last verdict."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import traceback
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen

from lianlian_async import Changed, Merchant
from lianlian_async.errors import LianLianError
from lianlian_async.journal import Change, Record
from lianlian_async.resolver import row_of
from lianlian_async.testing.simulator import Entry, Received
from lianlian_async.testing.simulator.notices import Notice

from .business import Business, Intent
from .finance import Finance
from .gatehouse import OID_PARTNER, Gatehouse
from .keys import KeySet
from .laws import Broken, Laws, leak_in
from .loop import EPOCH, VirtualLoop, run
from .memo import counted_rules, remembered_checks, remembered_views
from .notices import Post
from .people import People
from .plan import DAY, HOUR, Plan
from .process import FAIL, Process
from .sightings import Sightings
from .store import Store
from .wire import Network

CALM_S: Final = 8 * DAY
_STRIKES: Final = {"crash": (2e-4, 1e-2), "pause": (1e-4, 3e-3), "journal": (1e-3, 5e-2), "clock": (1e-4, 2e-3)}
_CRASHES_MAX: Final = 25
_PAUSES_MAX: Final = 15


@frozen
class Result:
    """What came of one world."""

    plan: Plan
    payouts: int
    virtual_s: float
    digest: str
    sightings: Counter[str]
    states: Counter[str]
    rows: Counter[str]
    rules: Counter[str]
    broken: str | None
    trace: tuple[str, ...]


class World:
    """Owns the loop, the gateway, the store, the processes and the judge."""

    def __init__(self, plan: Plan, *, keep_trace: bool = False) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.chance = plan.stream("chaos")
        self.failed: Broken | None = None
        self.leaks: list[str] = []
        self.rows: Counter[str] = Counter()  # news by the row of the table that spoke about it
        self.rules: Counter[str] = Counter()  # decisions by their rule
        self.seen = Sightings(self)
        self.saw = self.seen.saw
        self._digest = hashlib.blake2b(digest_size=12)
        self._trace: deque[str] = deque(maxlen=200_000 if keep_trace else 1)
        self.keys = KeySet(plan.real_crypto)
        self.key_number = 0
        self._merchants: dict[int, Merchant] = {}
        self.laws = Laws(self)
        self.store = Store(self._saved, keeps_tail=plan.lost_tail)
        self.gatehouse = Gatehouse(plan, self.loop, self.keys, self)
        self.network = Network(self, plan)
        self.post = Post(self, plan)
        self._draw_shape(plan)
        self.business = Business(self, plan, self.chaos_s * 0.6)
        self.people = People(self, plan)
        self.finance = Finance(self, plan)
        self.intents: dict[str, tuple[Intent, int]] = {
            number: (intent, generation)
            for intent in self.business.intents
            for generation, number in enumerate(intent.numbers)
        }
        self.processes: dict[int, Process] = {}
        self.calm = self.over = False
        self.journal_down = False
        self._backup: dict[str, Any] | None = None
        self._restoring = False

    def _draw_shape(self, plan: Plan) -> None:
        chance = plan.stream("shape")
        lengths = (HOUR, HOUR, HOUR, 6 * HOUR, 6 * HOUR, 30 * HOUR)
        self.chaos_s = chance.choice(lengths) if not plan.has("telling") else HOUR
        self.seats = chance.choice((2, 2, 3, 4, 8)) if plan.has("many") else 1
        self.workers = plan.has("workers")
        self.poll_s = max(chance.choice((1.0, 5.0, 30.0)), self.chaos_s / 200)
        self.timeout_s = chance.choice((10.0, 30.0, 30.0, 120.0))
        self.queries_per_s = chance.choice((0.5, 2.0, 50.0))
        self.two_person = plan.has("two person")
        self.journal_s = self._journal_latency(plan)
        self.strikes = True
        rates = {kind: plan.strength(kind, *bounds) for kind, bounds in _STRIKES.items()}
        self.strike_rate = sum(rates.values())
        self._strikes = [(kind, rate) for kind, rate in rates.items() if rate]
        self._crashes = self._pauses = 0
        self._longest_pause_s = chance.choice((60.0, HOUR, 6 * HOUR))
        self._longest_downtime_s = chance.choice((5.0, 300.0, 6 * HOUR))

    def _journal_latency(self, plan: Plan) -> Callable[[], float | None] | None:
        if not plan.has("slow journal"):
            return None
        chance = plan.stream("journal latency")
        mean = chance.choice((0.002, 0.02, 0.5))
        return lambda: None if self.calm else mean * chance.random()

    # --- time, trace

    def moment(self, seconds: float) -> datetime:
        return EPOCH + timedelta(seconds=seconds)

    def note(self, *words: object) -> None:
        """One line of the trace; two runs of a seed must agree on every one."""
        if self.failed is not None:
            return  # what the trace is read for has happened
        line = f"{self.loop.seconds:.6f} {' '.join(map(str, words))}"
        self._digest.update(line.encode())
        self._trace.append(line)

    def merchant(self, key: int) -> Merchant:
        if key not in self._merchants:
            self._merchants[key] = Merchant(
                oid_partner=OID_PARTNER, keys=self.keys.ring(key), base_url="http://127.0.0.1:9/paymentapi/",
                notify_url="https://a.example.com/n",
            )  # fmt: skip
        return self._merchants[key]

    def check_leak(self, text: str) -> None:
        if (leak := leak_in(text)) is not None:
            self.leaks.append(leak)

    # --- who must hear of everything (see gatehouse.Watcher)

    def _saved(self, old: Record | None, new: Record, change: Change | None) -> None:
        self.note("saved", new.no_order, new.version, new.state, new.step, len(new.attempts), len(new.evidence))
        self.seen.saved(old, new, change)
        self.rows.update(row_of(news).name for news in (change.evidence if change else new.evidence))
        self.laws.saved(old, new, change)

    def received(self, request: Received, letter: Any) -> None:
        self.note("received", request.endpoint, request.no_order, request.ret_code, request.fault, letter.copy)
        self.seen.received(request, letter)
        self.laws.received(request, letter)

    def booked(self, entry: Entry, copy: bool) -> None:
        self.note("ledger", entry.event, entry.no_order, entry.oid_paybill)
        self.seen.booked(entry, copy)
        self.laws.booked(entry, copy)

    def notice(self, notice: Notice, body: bytes) -> None:
        self.post.deliver(notice, body)

    # --- chaos

    def strike(self, process: Process, where: str) -> str | None:
        """Which trouble it is that meets a process here."""
        kinds, rates = zip(*self._strikes, strict=True)
        [kind] = self.chance.choices(kinds, rates)
        if kind == "crash":
            self._crashes += 1
            self.seen.crash(process, where)
            return "crash" if self._crashes <= _CRASHES_MAX else None
        if kind == "pause":
            self._pauses += 1
            return "pause" if self._pauses <= _PAUSES_MAX else None
        if kind == "journal":
            return FAIL if where.startswith("journal") or where == "open" else None
        return kind

    def met(self, process: Process, where: str, args: tuple[Any, ...]) -> None:
        """A journal call has failed."""
        self.note("journal fails", process.name, where)
        self.seen.journal_failed(where, args)

    def pause_s(self) -> float:
        return 5.0 * (self._longest_pause_s / 5.0) ** self.chance.random()

    def set_clock(self, process: Process) -> None:
        """Somebody, or a time server, sets this machine's clock."""
        process.clock.ahead_s += self.chance.choice((-3600.0, -30.0, 1.0, 400.0, 3600.0))
        self.note("clock", process.name, process.clock.ahead_s)
        self.saw("a clock was set " + ("forward" if process.clock.ahead_s > 0 else "back"))

    def rotate(self, *, open_old: bool) -> None:
        """The gateway has a new key."""
        self.note("rotate", open_old)
        self.gatehouse.operator.rotate_gateway_key(self.keys.private(1), open_old=open_old)

    def install_key(self) -> None:
        """The operator installs the gateway's new key: everything starts anew with it."""
        self.key_number = 1
        self.saw("the gateway's key was changed")
        for process in self.alive():
            process.crash("new key")

    def lose_tail(self) -> None:
        """The machine loses power, and the journal what it had only promised: never in a run that must keep the laws."""
        if self.plan.lost_tail and self.store.tail is not None:
            self.note("tail lost")
            self.store.restore(self.store.tail)
            self.laws.tail_lost()

    def back_up(self) -> None:
        self.note("backup")
        self._backup = self.store.snapshot()

    def restore(self) -> None:
        """The machine is lost, and the journal comes back as it was when the backup was made."""
        self.note("restore")
        self._restoring = True
        for process in self.alive():
            process.crash("machine lost")
        self.loop.later(self.chance.choice((30.0, 600.0, 7200.0)), self._put_back)

    def _put_back(self) -> None:
        assert self._backup is not None
        before = dict(self.store.records)
        self.store.restore(self._backup)
        self.laws.restored(before, self.store.records)
        self.seen.restored(before, self.store.records)
        self._restoring = False
        self.finance.start_over()
        self.business.ask_again()

    def told(self, process: Process) -> Any:
        """A handler for changes, in worlds that have one."""
        if self.calm or not self.plan.has("telling"):
            return None

        async def on_change(changed: Changed) -> None:
            if (wait := process.point("on_change")) is not None:
                await wait
            if process.chance.random() < 0.1:
                raise ValueError("the application is not well")
            self.saw("the application was told of a change")

        return on_change

    # --- processes

    def alive(self) -> list[Process]:
        """Processes that can be called."""
        return [p for _, p in sorted(self.processes.items()) if not p.dead and not p.stopping and p.client._engine]

    def pick(self, chance: random.Random) -> Process | None:
        """A process that is there and not standing still, if there is one."""
        found = [process for process in self.alive() if process.stands is None]
        return chance.choice(found) if found else None

    async def _seat(self, seat: int) -> None:
        """One place in which process after process runs."""
        life = 0
        while not self.over:
            if self.calm and seat > 1:
                return
            if self._restoring:
                await asyncio.sleep(30.0)
                continue
            process = Process(self, seat, life, worker=self.workers, key=self.key_number)
            self.processes[seat] = process
            life += 1
            starting = process.run(process.start())
            await asyncio.wait({starting, process.died}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled() and (error := starting.exception()) is not None:
                if not isinstance(error, LianLianError):
                    raise error
                self.seen.start_failed(error)
                process.crash("could not start")
                await asyncio.sleep(60.0)
            elif process.recovering and process.dead:
                self.seen.died_in_recovery(process)
            await process.died
            down_s = 1.0 if self.calm else 0.5 * (self._longest_downtime_s / 0.5) ** self.chance.random()
            await asyncio.sleep(60.0 if process.recovering and not process.stopping and self.calm else down_s)

    # --- from beginning to end

    async def _live(self) -> None:
        loop = self.loop
        for seat in range(self.seats):
            loop.spawn(self.guarded(self._seat(seat)))
        self.business.begin()
        loop.spawn(self.guarded(self.people.act()))
        loop.spawn(self.guarded(self.people.events(self.plan, self.chaos_s)))
        loop.spawn(self.guarded(self.finance.act()))
        await asyncio.sleep(self.chaos_s)
        await self.come_to_rest()

    async def come_to_rest(self) -> None:
        """Everything works from now on, days go by, and what has become of it all is judged."""
        await self._calm_down()
        for _ in range(int(CALM_S / HOUR) // 12):
            await asyncio.sleep(12 * HOUR)
            await self._look_after(10800.0)
        await self._judge()

    async def guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not pass
            if self.failed is None:
                traceback.print_exception(error)
                self.failed = Broken(f"harness: {type(error).__name__}: {error}")

    async def _calm_down(self) -> None:
        self.note("calm")
        while self._restoring:
            await asyncio.sleep(60.0)
        self.calm, self.strikes, self.journal_down = True, False, False
        self.network.calm = True
        self.post.calm = True
        self.gatehouse.calm()
        if self.gatehouse.exchange.keys is not None and self.key_number == 0 and self.plan.has("rotation"):
            self.gatehouse.operator.rotate_gateway_key(self.keys.private(1), open_old=True)
            self.key_number = 1
        for process in self.alive():
            process.crash("calm")
        for process in self.processes.values():
            process.crash("calm")
        self.poll_s = 60.0
        for poll_s in (600.0, 1800.0, 3600.0, 3600.0, 7200.0, 10800.0):
            await asyncio.sleep(HOUR)
            await self._look_after(poll_s)

    async def _look_after(self, poll_s: float) -> None:
        """Somebody lifts the pauses that what was still to come has brought; workers look as often as that."""
        process = self.pick(self.chance)
        if process is not None:
            await self.people.unpause(process)
        for process in self.alive():
            process.slow_down(poll_s)

    async def _judge(self) -> None:
        while not (process := self.pick(self.chance)):
            await asyncio.sleep(60.0)
        await asyncio.sleep(12 * HOUR)
        payouts = []
        after: str | None = None
        while page := await process.client.payouts(after=after, limit=500):
            payouts += page
            after = page[-1].no_order
        self.final = payouts
        self.over = True
        self.laws.at_the_end(payouts, watched=self.workers)
        self.seen.at_the_end(payouts)

    def run(self) -> Result:
        """Let everything happen; whatever breaks a law is in the result."""
        handler = _Canary(self)
        logger = logging.getLogger("lianlian_async")
        logger.addHandler(handler)
        propagate, logger.propagate = logger.propagate, False
        self.final = []
        self.loop.set_exception_handler(self._loop_trouble)
        try:
            with remembered_views(), remembered_checks(), counted_rules(self.rules):
                run(self._watch(), self.loop)
        except Broken as broken:
            self.failed = self.failed or broken
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagate
        states: Counter[str] = Counter(f"{p.state} {p.step}" for p in self.final)
        return Result(
            self.plan, len(self.business.intents), self.loop.seconds, self._digest.hexdigest(), self.seen.counts,
            states, self.rows, self.rules, None if self.failed is None else str(self.failed), tuple(self._trace),
        )  # fmt: skip

    async def _watch(self) -> None:
        life = self.loop.spawn(self._live())
        while not life.done():
            await asyncio.wait({life}, timeout=600.0)
            if self.failed is not None:
                life.cancel()
                raise self.failed
        life.result()
        if self.failed is not None:
            raise self.failed

    def _loop_trouble(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self.failed is None and error is not None:
            self.failed = error if isinstance(error, Broken) else Broken(f"harness: {error!r}")


class _Canary(logging.Handler):
    """Reads every line that the library would log."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += repr(record.exc_info[1])
            self._world.seen.logged_exception(record.exc_info[1])
        self._world.check_leak(text)
