"""The application in front of the clients: it wants payments, is impatient, crashes with its process, and asks again.

What it remembers by itself is only the list of what it wants, by key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field

from lianlian_async import (
    BreakerOpen,
    DuplicateSuspected,
    JournalUnavailable,
    Order,
    OrderConflict,
    OutcomeUnknown,
    Payout,
)
from lianlian_async.errors import LianLianError
from lianlian_async.numbers import derive

from .gatehouse import OID_PARTNER
from .laws import CANARY_NAME
from .odd import odd_script, rare_scripts
from .plan import HOUR, Plan

if TYPE_CHECKING:
    from .process import Process
    from .world import World

GENERATIONS: Final = 12  # one payout in 375,000 was replaced for the sixth time (seed 6254)
# Whoever was turned away so often in a row (most often because new money is paused) asks by the hour.
_TRIES_IN_A_ROW: Final = 20
_RARE_SHARE: Final = 0.8  # of the payouts in a world with rare answers
# What the gateway answers first to an order with a script, and then takes it as usual.
_SCRIPTS: Final = (
    ("1004",), ("1004",), ("1005",), ("4015",), ("4012",), ("4012", "4012"), ("4013",), ("4014",), ("4014", "4014"), ("9104",),
    ("9910",), ("9911",), ("9912",), ("9913",), ("4103",), ("4001",), ("1002",), ("8901",), ("1001",), ("3001",), ("1008",),
    ("4005",), ("4014",) * 8, ("4006", "4006"), ("4002",), ("4003",), ("4004",),
)  # fmt: skip
_TIMELINES: Final = (
    (("APPLY", 0.0), ("PROCESSING", 30.0), ("SUCCESS", 90.0)),
    (("APPLY", 0.0), ("SUCCESS", 1500.0)),
    (("WAITING", 0.0), ("SUCCESS", 40.0)),
    (("FROZEN", 0.0), ("SUCCESS", 4000.0)),
    (("PROCESSING", 0.0), ("FAILURE", 20.0)),
    (("PROCESSING", 0.0), ("SUCCESS", 3.0), ("CANCEL", 200.0)),
    (("PROCESSING", 0.0), ("SUCCESS", 10000.0)),
)  # fmt: skip


@define(eq=False)
class Intent:
    """One payment that is wanted, under one key."""

    index: int
    key: str
    order: Order
    at_s: float
    numbers: tuple[str, ...]
    duplicate_ok: bool
    chance: random.Random = field(repr=False)
    wanted: bool = True  # False once our own guard took it for a duplicate and nobody insisted
    accepted: bool = False  # a client has said that it is written down
    cancelled: int = 0
    lied_to: bool = False  # the gateway says of it what is not true


def intents_of(plan: Plan, within_s: float) -> list[Intent]:
    """What the business of this plan wants. The first ones are the same however many there are."""
    twins = plan.has("twins")
    found: list[Intent] = []
    for index in range(plan.payouts):
        chance = plan.stream(f"intent {index}")
        card = chance.randrange(index) if twins and index and chance.random() < 0.15 else index
        cents = chance.choice((100, 2578, 9999, chance.randrange(1, 100_000)))
        if card != index:
            other = found[card].order
            order = evolve(other, money_order=str(other.money_order))
        else:
            order = Order(
                money_order=f"{cents // 100}.{cents % 100:02d}", card_no=f"6228480222{plan.seed % 1000:03d}{card:06d}",
                acct_name=CANARY_NAME, info_order=chance.choice(("工资", "货款", "a_b")),
            )  # fmt: skip
        key = f"s{plan.seed}/{index}"
        numbers = tuple(derive(OID_PARTNER, key, generation) for generation in range(GENERATIONS))
        at_s = within_s * chance.choice((0.0, 0.1, chance.random(), chance.random()))
        found.append(Intent(index, key, order, at_s, numbers, chance.random() < 0.7, chance))
    return found


class Business:
    """Calls the front door until every wanted payment is written down."""

    def __init__(self, world: World, plan: Plan, within_s: float) -> None:
        self.world = world
        self.intents = intents_of(plan, within_s)
        self._cancels = plan.strength("cancel", 0.02, 0.6)
        self._scripts = plan.has("scripts")
        self._rarely = plan.has("rare answers")
        self._tasks: list[asyncio.Task[Any]] = []

    def begin(self) -> None:
        """Lay scripts down, and start a caller for every intent."""
        for intent in self.intents:
            for number, script in self._scripts_of(intent).items():
                self.world.gatehouse.script({"no_order": number}, script)
            self._ask(intent, intent.at_s)

    def ask_again(self) -> None:
        """The journal is a backup of earlier: what it does not know any more is asked for again."""
        for intent in self.intents:
            if intent.at_s < self.world.loop.seconds and not self._is_known(intent):
                self._ask(intent, intent.chance.choice((60.0, 7200.0)) * intent.chance.random())

    def _ask(self, intent: Intent, after_s: float) -> None:
        self._tasks.append(self.world.loop.spawn(self.world.guarded(self._want(intent, after_s))))

    def _is_known(self, intent: Intent) -> bool:
        return any(number in self.world.store.records for number in intent.numbers)

    def _scripts_of(self, intent: Intent) -> dict[str, dict[str, Any]]:
        """What the gateway does with this intent's numbers, apart from the usual; nothing for most."""
        # Drawn from a stream of its own: the worlds without rare answers stay as they were.
        if self._rarely and (rare := self.world.plan.stream(f"rare {intent.index}")).random() < _RARE_SHARE:
            scripts, intent.lied_to = rare_scripts(rare, intent.numbers)
            return scripts
        script = self._script(intent)
        return {intent.numbers[0]: script} if script else {}

    def _script(self, intent: Intent) -> dict[str, Any]:
        """What the gateway does with the intent's first number in any world."""
        chance, script = intent.chance, {}
        if not self._scripts or chance.random() >= 0.25:
            return script
        if chance.random() < 0.3:
            script, intent.lied_to = odd_script(chance)
            return script
        kind = chance.random()
        if kind < 0.7:
            script["pay"] = chance.choice(_SCRIPTS)
        if kind >= 0.5:
            script["timeline"] = chance.choice(_TIMELINES)
        if chance.random() < 0.2:
            script["query"] = chance.choice((("8901",), ("8901", "8901"), (None, "8901"), ("9999",) * 3, ("4103",)))
        if chance.random() < 0.3:
            script["confirm"] = chance.choice(
                (("4001",), ("4009",), ("4011",), ("4008",), ("4010",), ("9999",), ("9104",))
            )
        return script

    # --- calling

    async def call(
        self, process: Process, make: Callable[[], Coroutine[Any, Any, Any]], *, patience_s: float | None = None
    ) -> Any:
        """What comes of a call in that process: a result, a LianLianError, or None when it, or we, gave up."""
        if process.dead:
            return None
        call = process.run(make())
        await asyncio.wait({call, process.died}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            if not process.dead:
                call.cancel()
            return None
        if call.cancelled():
            return None
        error = call.exception()
        if error is None:
            return call.result()
        if not isinstance(error, LianLianError):
            raise error
        self.world.check_leak(f"{error} {error!r}")
        return error

    async def _want(self, intent: Intent, after_s: float) -> None:
        world, chance = self.world, intent.chance
        await asyncio.sleep(after_s)
        in_vain = 0
        while not world.over:
            process = world.pick(chance)
            if process is None:
                await asyncio.sleep(10.0 + 100.0 * chance.random())
                continue
            world.note("pay", intent.key, process.name)
            result = await self._pay(intent, process)
            if self._settles(intent, result):
                if world.calm or chance.random() < 0.7:
                    return
                # Asked again, by mistake or to be sure: it must attach.
                await asyncio.sleep(chance.choice((0.0, 1.0, 60.0, 3600.0)))
                continue
            in_vain += 1
            await asyncio.sleep(chance.choice((1.0, 10.0, 60.0, 600.0)) if in_vain < _TRIES_IN_A_ROW else HOUR)

    async def _pay(self, intent: Intent, process: Process) -> Any:
        chance, client = intent.chance, process.client
        wait_s = chance.choice((0.0, 1.0, 10.0, 60.0, 600.0))
        order = intent.order
        if self.world.plan.has("twins") and not self.world.plan.has("restore") and chance.random() < 0.05:
            await self._ask_for_another(intent, process)
        make = lambda: client.pay(order, key=intent.key, wait_s=wait_s, duplicate_ok=intent.duplicate_ok)  # noqa: E731
        if not self.world.calm and chance.random() < self._cancels:
            intent.cancelled += 1
            return await self._pay_and_cancel(process, make, chance)
        if chance.random() < 0.05 and len(self.world.alive()) > 1:
            other = self.world.pick(chance)
            if other is not None and other is not process:
                self.world.saw("the same key was paid in two processes at once")
                twin = other.client
                both = lambda: twin.pay(order, key=intent.key, wait_s=wait_s, duplicate_ok=intent.duplicate_ok)  # noqa: E731
                return (await asyncio.gather(self.call(process, make), self.call(other, both)))[0]
        return await self.call(process, make, patience_s=chance.choice((None, 30.0, 7200.0)))

    async def _pay_and_cancel(self, process: Process, make: Any, chance: random.Random) -> Any:
        if process.dead:
            return None
        call = process.run(make())
        after_s = chance.choice((0.0, 0.01, 0.1, 1.0, 20.0)) * chance.random()
        for _ in range(chance.choice((1, 2))):
            self.world.loop.later(after_s, call.cancel)
            after_s += chance.choice((0.0, 0.001, 0.1))
        await asyncio.wait({call, process.died}, return_when=asyncio.FIRST_COMPLETED)
        if not call.done() or call.cancelled():
            return None
        error = call.exception()
        if error is not None and not isinstance(error, LianLianError):
            raise error
        return error or call.result()

    async def _ask_for_another(self, intent: Intent, process: Process) -> None:
        """Another amount under a key that is taken: nothing may come of it."""
        if not self._is_known(intent):
            return
        other = evolve(intent.order, money_order="77777.00", memo="x", info_order="y")
        result = await self.call(process, lambda: process.client.pay(other, key=intent.key, wait_s=0.0))
        if isinstance(result, OrderConflict):
            self.world.saw("another order under a key that was taken: refused")
        elif isinstance(result, Payout):
            raise self.world.laws.broken("I1", "another order was accepted under a key that was taken", result.no_order)

    def _settles(self, intent: Intent, result: Any) -> bool:
        world = self.world
        if isinstance(result, Payout):
            world.check_leak(repr(result))
            intent.accepted = True
            return True
        if isinstance(result, OutcomeUnknown):
            world.saw("a caller was told that the outcome is unknown")
            intent.accepted = True
        elif isinstance(result, OrderConflict):
            # Only a journal restored from the past can hold another content (a corrected one) under our key.
            return True
        elif isinstance(result, DuplicateSuspected):
            world.saw("our own guard took a twin for a duplicate")
            if not intent.accepted and intent.chance.random() < 0.5:
                intent.wanted = False
                return True
            intent.duplicate_ok = True
        elif isinstance(result, JournalUnavailable):
            world.saw("the journal was down, and a caller was told that nothing was sent")
        elif isinstance(result, BreakerOpen):
            world.saw("new money was paused, and a caller was told so")
        return False
