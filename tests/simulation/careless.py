"""Five careless clients on the same seeds: what the same faults cost those who do not ask first.

Each is a strategy seen in the wild (docs/proof.md), in a few lines, over the same wire and gateway. Their process
dies at an await now and then; the business starts it again and orders a replacement once it was told of a failure.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import define

from lianlian_async.clock import wire_time
from lianlian_async.codec import encode_query, encode_sealed, parse_object
from lianlian_async.errors import MessageRejected
from lianlian_async.numbers import derive
from lianlian_async.protocol.messages import Order, freeze, query_members
from lianlian_async.testing.simulator import Endpoint, Entry
from lianlian_async.transport import WireAnswer

from .business import Intent, intents_of
from .gatehouse import OID_PARTNER, Gatehouse
from .keys import KeySet
from .loop import VirtualLoop, run
from .plan import HOUR, Plan
from .wire import Letter, Network

_TIMEOUT_S: Final = 30.0
_TRIES: Final = 5
# The six codes after which the vendor's own sample asks, and what it does with everything else.
_ASKED: Final = frozenset({"1002", "2005", "4006", "4007", "4009", "9999"})


class _Died(Exception):
    """The process of this payment is gone; its memory, too."""


class CarelessWorld:
    """Enough of a world for a client without a journal."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.gatehouse = Gatehouse(plan, self.loop, KeySet(real=False), self)
        self.network = Network(self, plan)  # type: ignore[arg-type]
        self.chance = plan.stream("careless")
        self.dies = plan.strength("crash", 0.002, 0.02)
        self.ring = KeySet(real=False).ring(0)

    def saw(self, what: str) -> None: ...

    def received(self, request: Any, letter: Any) -> None: ...

    def booked(self, entry: Entry, copy: bool) -> None: ...

    def notice(self, notice: Any, body: bytes) -> None: ...


@define
class Caller:
    """What a strategy has in hand: one payment, and the three calls."""

    world: CarelessWorld
    intent: Intent
    saved: dict[str, str]  # what survives the process
    numbers: list[str]
    chance: random.Random

    def fresh(self) -> str:
        """A new number."""
        number = derive(OID_PARTNER, f"{self.intent.key}#{len(self.numbers)}")
        self.numbers.append(number)
        return number

    async def pay(self, number: str) -> dict[str, str | None] | None:
        """The answer's members as they came, or None for anything that is not an answer."""
        content = _content(self.intent.order, number, self.world)
        body = encode_sealed(content, self.world.ring, self.chance.randbytes)
        return await self._post(Endpoint.PAY, body)

    async def query(self, number: str) -> dict[str, str | None] | None:
        members = query_members(oid_partner=OID_PARTNER, no_order=number, oid_paybill=None, platform=None)
        return await self._post(Endpoint.QUERY, encode_query(members, self.world.ring))

    async def confirm(self, number: str, code: str) -> None:
        from lianlian_async.protocol.messages import confirm_members

        members = confirm_members(
            oid_partner=OID_PARTNER,
            no_order=number,
            confirm_code=code,
            notify_url="https://a.example.com/n",
            platform=None,
        )
        await self._post(Endpoint.CONFIRM, encode_sealed(members, self.world.ring, self.chance.randbytes))

    async def _post(self, endpoint: Endpoint, body: bytes) -> dict[str, str | None] | None:
        world = self.world
        self._may_die()
        trip = world.network.trip(endpoint)
        if trip in ("refused", "dns", "tls", "pool", "certificate"):
            return None
        future: asyncio.Future[Any] = world.loop.create_future()
        world.network.carry(Letter(endpoint, body, self, world.loop.seconds, trip), future)
        done, _ = await asyncio.wait({future}, timeout=_TIMEOUT_S)
        self._may_die()
        answer = future.result() if done else None
        if not isinstance(answer, WireAnswer):
            return None
        try:
            return parse_object(answer.body)
        except MessageRejected:
            return None

    def _may_die(self) -> None:
        if self.chance.random() < self.world.dies:
            raise _Died

    @property
    def dead(self) -> bool:
        return False


def _content(order: Order, number: str, world: CarelessWorld) -> dict[str, str]:
    return freeze(
        order, oid_partner=OID_PARTNER, no_order=number, dt_order=wire_time(world.loop.now()),
        notify_url="https://a.example.com/n",
    )  # fmt: skip


def _code(answer: dict[str, str | None] | None) -> str | None:
    return answer.get("ret_code") if answer is not None else None


# Each returns True when it believes that it is paid, False when it reports a failure.


async def retry_with_new_numbers(caller: Caller, *, confirms: bool = False) -> bool:
    """A retry decorator around the function that makes the number."""
    for _ in range(_TRIES):
        number = caller.fresh()
        answer = await caller.pay(number)
        if _code(answer) == "0000":
            return True
        if confirms and _code(answer) in ("4002", "4003", "4004") and answer and answer.get("confirm_code"):
            await caller.confirm(number, answer["confirm_code"] or "")
            return True
        await asyncio.sleep(1.0)
    return False


async def retry_and_confirm(caller: Caller) -> bool:
    """The same, and whatever is held for review is confirmed at once."""
    return await retry_with_new_numbers(caller, confirms=True)


async def same_number_no_query(caller: Caller) -> bool:
    """One number, tried again after errors; any other code is a failure."""
    number = caller.fresh()
    for _ in range(_TRIES):
        answer = await caller.pay(number)
        code = _code(answer)
        if code in ("0000", "2005"):
            return True
        if code is not None:
            return False
        await asyncio.sleep(1.0)
    return False


async def vendor_sample(caller: Caller) -> bool:
    """The vendor's sample: six codes lead to one query; 8901, any other code and any error are a failure."""
    number = caller.fresh()
    answer = await caller.pay(number)
    if _code(answer) == "0000":
        return True
    if _code(answer) not in _ASKED:
        return False
    asked = await caller.query(number)
    return asked is not None and asked.get("result_pay") not in (None, "FAILURE", "CLOSED", "CANCEL")


async def saved_but_believes_8901(caller: Caller) -> bool:
    """The number is written down first and the query comes first, but "no record" means unpaid."""
    number = caller.saved.get("number")
    if number is None:
        number = caller.saved["number"] = caller.fresh()
        await caller.pay(number)
    for wait_s in (2.0, 5.0, 15.0, 30.0, 60.0, 120.0):
        await asyncio.sleep(wait_s)
        asked = await caller.query(number)
        if asked is None:
            continue
        word = asked.get("result_pay")
        if asked.get("ret_code") == "8901" or (word == "FAILURE" and not asked.get("oid_paybill")):
            caller.saved.pop("number", None)
            return False
        if word in ("FAILURE", "CLOSED", "CANCEL"):
            caller.saved.pop("number", None)
            return False
        if word == "SUCCESS":
            return True
    return True


STRATEGIES: Final[dict[str, Callable[[Caller], Awaitable[bool]]]] = {
    "retry decorator, new number each attempt": retry_with_new_numbers,
    "the same, and auto-confirm on 4002": retry_and_confirm,
    "same number, no query, other code = failed": same_number_no_query,
    "the vendor sample's shape": vendor_sample,
    "number saved first, query first, but 8901 = unpaid": saved_but_believes_8901,
}


async def _business(world: CarelessWorld, strategy: Callable[[Caller], Awaitable[bool]], intent: Intent) -> list[str]:
    """Order it; once told of a failure order one replacement; start again what died."""
    await asyncio.sleep(intent.at_s)
    caller = Caller(world, intent, {}, [], random.Random(f"{world.plan.seed}/{intent.key}"))
    orders = 2
    for _ in range(10):
        try:
            if await strategy(caller):
                break
        except _Died:
            await asyncio.sleep(5.0)
            continue
        orders -= 1
        if not orders:
            break
        await asyncio.sleep(60.0)
    return caller.numbers


def double_payments(plan: Plan, name: str) -> Counter[str]:
    """How often this strategy pays twice in the world of this plan."""
    world = CarelessWorld(plan)

    async def live() -> Counter[str]:
        intents = intents_of(plan, HOUR)
        numbers = await asyncio.gather(*(_business(world, STRATEGIES[name], intent) for intent in intents))
        await asyncio.sleep(2 * 86400.0)
        owner = {number: index for index, own in enumerate(numbers) for number in own}
        paid = Counter(owner[e.no_order] for e in world.gatehouse.ledger.payments() if e.no_order in owner)
        back = Counter(owner[e.no_order] for e in world.gatehouse.ledger.entries if e.event == "refunded")
        twice = sum(count - back[index] > 1 for index, count in paid.items())
        return Counter({"payouts": len(intents), "twice": twice})

    found: Counter[str] = run(live(), world.loop)
    return found
