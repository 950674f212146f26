"""The simulated world without its chance: nothing happens in it but what somebody's move has asked for."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import define, evolve, field, frozen
from simulation.business import Business
from simulation.laws import Laws
from simulation.loop import end
from simulation.notices import Post, _forged
from simulation.plan import Plan
from simulation.process import FAIL, Process
from simulation.store import Store
from simulation.wire import LATE, Network
from simulation.world import World

from lianlian_async.errors import LianLianError
from lianlian_async.testing.simulator import Endpoint
from lianlian_async.testing.simulator.notices import Notice
from lianlian_async.testing.simulator.script import Step as Treatment

KEYS: Final = 3
# What a whole world may have; everything else is a move.
SETTINGS: Final = (
    "workers", "two person", "racy", "lag", "later docs", "unsigned refusals", "numberless refusals",
    "amounts as numbers", "short amounts", "amounts first", "4002", "clock",
)  # fmt: skip
_ALWAYS: Final = 1e9  # a rate at which every port asks


@frozen
class Setting(Plan):
    """What one example draws for its whole world. `seed` decides only latencies and who is asked."""

    on: frozenset[str] = field(default=frozenset(), converter=frozenset)
    seats: int = 1

    def has(self, kind: str) -> bool:
        """Exactly what was drawn, and no share of anything."""
        return kind in self.on


@define
class Strike:
    """A trouble that waits at one port: it meets whoever comes by after `skip` others."""

    where: str
    kind: str
    skip: int


class HandNetwork(Network):
    """Does with the next exchange what was planned for it."""

    def __init__(self, world: Stage, plan: Setting) -> None:
        super().__init__(world, plan)
        self.planned: dict[Endpoint, deque[str]] = {endpoint: deque() for endpoint in Endpoint}

    def trip(self, endpoint: Endpoint) -> str | None:
        queue = self.planned[endpoint]
        if self.calm or not queue:
            return None
        kind = queue.popleft()
        if endpoint is Endpoint.QUERY and kind in LATE:
            return "lost"
        return "copied" if kind == "answer to the copy" and self.racy else kind


class HandPost(Post):
    """Keeps what the gateway sends until a move delivers it."""

    def __init__(self, world: Stage, plan: Setting) -> None:
        super().__init__(world, plan)
        self.waiting: list[tuple[Notice, bytes]] = []

    def deliver(self, notice: Notice, body: bytes) -> None:
        if self.calm:
            super().deliver(notice, body)
        else:
            self.waiting.append((notice, body))

    def bring(self, index: int, how: str) -> None:
        """Let one of those that wait arrive: genuine (and gone), repeated (and kept), lost, or forged from it."""
        if not self.waiting:
            return
        place = index % len(self.waiting)
        notice, body = self.waiting[place]
        if how in ("genuine", "lost"):
            del self.waiting[place]
        if how == "genuine":
            self._come(notice, body)
        elif how == "repeated":
            self._come(None, body)
        elif how != "lost":
            self._come(None, _forged(body, how), how)


class HandBusiness(Business):
    """Wants a few payments, the second of them to the same card and of the same amount as the first; asks by itself for none."""

    def __init__(self, world: Stage, plan: Setting) -> None:
        super().__init__(world, plan, 0.0)
        first = self.intents[0].order
        self.intents[1].order = evolve(first, money_order=str(first.money_order))
        for intent in self.intents:
            intent.wanted = intent.duplicate_ok = False

    def settles(self, intent: Any, result: Any) -> bool:
        """What a caller makes of an answer: from an accepted one on, the payment is wanted."""
        settled = self._settles(intent, result)
        intent.wanted = intent.wanted or intent.accepted
        return settled


class Stage(World):
    """One world, one loop, moved by hand. `store` is made by `make_store` and shows its writes to the laws."""

    def __init__(self, setting: Setting, make_store: Callable[..., Store]) -> None:
        super().__init__(setting)
        self.store = make_store(self._saved)
        self.network = HandNetwork(self, setting)
        self.post = HandPost(self, setting)
        self.business = HandBusiness(self, setting)
        self.intents = {n: (i, g) for i in self.business.intents for g, n in enumerate(i.numbers)}
        self.laws = Laws(self)
        self.laws.clocks_wrong = False  # until somebody sets one
        self.seats = setting.seats
        self.poll_s = 300.0
        self.strikes, self.strike_rate = False, _ALWAYS
        self._longest_pause_s = 7200.0
        self.armed: Strike | None = None
        self.final = []
        self.treatments: defaultdict[tuple[Endpoint, str], deque[Treatment]] = defaultdict(deque)
        self._own_treatment = self.gatehouse.exchange._treatment
        self.gatehouse.exchange._treatment = self._treatment
        self.loop.set_exception_handler(self._loop_trouble)

    # --- what moves lay down

    def _treatment(self, endpoint: Endpoint, content: Any) -> tuple[Treatment, str | None]:
        """How the gateway treats this call: as it was laid down for its number, or as always."""
        treated = self._own_treatment(endpoint, content)
        queue = self.treatments[endpoint, content.get("no_order") or ""]
        if self.calm or not queue:
            return treated
        step = queue.popleft()
        return step, step.fault

    def arm(self, strike: Strike) -> None:
        """Let a trouble wait at a port."""
        self.armed, self.strikes = strike, True
        if strike.kind == "pause":
            self.laws._keeps_time = False

    def strike(self, process: Process, where: str) -> str | None:
        armed = self.armed
        if armed is None or armed.where != where:
            return None
        if armed.skip:
            armed.skip -= 1
            return None
        self.armed, self.strikes = None, False
        if armed.kind == "crash":
            self.seen.crash(process, where)
        if armed.kind == "journal":
            return FAIL if where.startswith("journal") or where == "open" else None
        return armed.kind

    def step_clock(self, process: Process, seconds: float) -> None:
        """Somebody sets this machine's clock."""
        process.clock.ahead_s += seconds
        self.laws.clocks_wrong, self.laws._keeps_time = True, False
        self.note("clock", process.name, process.clock.ahead_s)

    # --- letting it run

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let the loop run until this is done; raises whatever breaks a law meanwhile."""
        return self.loop.run_until_complete(self.loop.spawn(self._until(work)))

    async def _until(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = self.loop.spawn(work)
        while not task.done():
            await asyncio.wait({task}, timeout=600.0)
            self.check()
        self.check()
        return task.result()

    def check(self) -> None:
        """Raise what has broken a law."""
        if self.failed is not None:
            raise self.failed
        if self.leaks:
            raise self.laws.broken("I10", f"a log line or error shows {self.leaks[0]}")

    async def begin(self) -> None:
        for seat in range(self.seats):
            self.loop.spawn(self.guarded(self._seat(seat)))
        await asyncio.sleep(1.0)

    async def pass_by(self, seconds: float) -> None:
        """Time goes by; the longer, the less often workers look."""
        for process in self.alive():
            process.slow_down(max(self.poll_s, seconds / 30))
        await asyncio.sleep(seconds)

    async def rest(self) -> None:
        """The end: everything works again, days go by, and the ledger is compared with what is told."""
        self.armed = None
        for notice, body in self.post.waiting:
            self.post._come(notice, body)
        self.post.waiting.clear()
        for process in self.processes.values():
            process.clock.ahead_s = 0.0
        await self.come_to_rest()

    async def call(
        self, process: Process, make: Callable[[], Coroutine[Any, Any, Any]], patience_s: float | None
    ) -> Any:
        """What comes of a call: its result, the library's error, or None when it, or the caller, gave up."""
        result = await self.business.call(process, make, patience_s=patience_s)
        if isinstance(result, LianLianError):
            self.note("refused", type(result).__name__)
        return result

    def close(self) -> None:
        end(self.loop)
