"""The post: notifications on their way from the gateway to a process, and what attackers and accidents make of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from lianlian_async import NotificationRefused, Payout
from lianlian_async.errors import Refusal
from lianlian_async.testing.simulator.notices import Notice

from .plan import Plan

if TYPE_CHECKING:
    from .process import Process
    from .world import World

_FORGERIES: Final = ("result", "amount", "md5", "no sign", "number", "resplit", "partner")


class Post:
    """Delivers, loses, delays, repeats, reorders and forges."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.chance = plan.stream("post")
        self.calm = False
        self._loses = plan.strength("notices", 0.02, 1.0)
        self._forges = plan.strength("forgeries", 0.02, 0.5)
        self._none = plan.has("no notices")
        self._repeats = plan.strength("notices", 0.02, 0.3)

    def deliver(self, notice: Notice, body: bytes) -> None:
        """A notification has left the gateway."""
        world, chance = self.world, self.chance
        if self._none:
            world.saw("no notification came at all, and asking alone told the end")
            return
        if self.calm:
            world.loop.later(0.01, self._come, notice, body)
            return
        if chance.random() < self._forges:
            kind = chance.choice(_FORGERIES)
            world.loop.later(chance.random() * 10.0, self._come, None, _forged(body, kind), kind)
        if chance.random() < self._loses * 0.7:
            world.saw("a notification was lost")
        else:
            world.loop.later(chance.choice((0.0, 0.01, 1.0, 4.0)) * chance.random(), self._come, notice, body)
        if chance.random() < self._repeats:
            world.loop.later(chance.choice((0.1, 60.0, 3600.0, 86400.0)) * chance.random(), self._come, None, body)

    def _come(self, notice: Notice | None, body: bytes, forged: str | None = None) -> None:
        process = self.world.pick(self.chance)
        if process is not None:
            self.world.loop.spawn(self._take(process, notice, body, forged))

    async def _take(self, process: Process, notice: Notice | None, body: bytes, forged: str | None) -> None:
        world = self.world
        told = json.loads(body) if forged is None else {}
        number, result_pay = told.get("no_order"), told.get("result_pay")
        before = world.store.records.get(number or "")
        result = await world.business.call(process, lambda: process.client.receive(body), patience_s=5.0)
        world.note("notice", number, result_pay, forged, type(result).__name__)
        if forged is not None:
            self._check_forgery(result, forged)
        elif isinstance(result, Payout):
            world.laws.acknowledge(number, result_pay)
            world.seen.acknowledged(before, result_pay, repeated=notice is None)
            if notice is not None and notice.fault is None:
                world.gatehouse.engine.notices.acknowledged(notice)
            if not self.calm and world.plan.has("crash") and self.chance.random() < 0.02:
                world.saw("a process died right after a notification was acknowledged")
                process.crash("after acknowledging")
        elif isinstance(result, NotificationRefused):
            world.seen.refused(result.reason)

    def _check_forgery(self, result: Any, kind: str) -> None:
        if isinstance(result, Payout):
            raise self.world.laws.broken("T1", f"a forged notification was accepted ({kind})", result.no_order)
        if isinstance(result, NotificationRefused):
            self.world.saw("a forged notification was refused")
            if kind == "resplit":
                self.world.saw("a re-split notification was refused")
            if result.reason is Refusal.OTHER_MERCHANT:
                self.world.saw("a notification for another merchant was refused")


def _forged(body: bytes, kind: str) -> bytes:
    """What somebody without the gateway's key makes of a genuine notification."""
    told: dict[str, Any] = json.loads(body)
    if kind == "result":
        told["result_pay"] = "CANCEL" if told.get("result_pay") != "CANCEL" else "SUCCESS"
    elif kind == "amount":
        told["money_order"] = "0.01"
    elif kind == "md5":
        told["sign_type"] = "MD5"
    elif kind == "no sign":
        told.pop("sign", None)
    elif kind == "number":
        told["no_order"] = told["no_order"][::-1]
    elif kind == "partner":
        told["oid_partner"] = "201606020000150063"
    else:
        # The same signed string, cut into other members (safety of section 5.2).
        text = f"{told.get('info_order', '')}&money_order={told['money_order']}"
        told = {**told, "info_order": text}
        told.pop("money_order")
    return json.dumps(told, ensure_ascii=False).encode()
