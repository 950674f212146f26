"""People: operators and reviewers who act at random, often wrongly, and are stopped by the rules when they do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from lianlian_async import CommandRefused, Payout, State, Step
from lianlian_async.journal import Record
from lianlian_async.resolver import Source

from .plan import Plan

if TYPE_CHECKING:
    from .process import Process
    from .world import World

_ENDED: Final = (State.FAILED, State.CLOSED, State.REFUNDED)


class People:
    """Looks at what waits, and decides."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.chance = plan.stream("people")
        self.exist = plan.has("people")
        # Some businesses never decide anything within the day.
        every_s = self.chance.choice((30.0, 300.0, 1800.0)) * (20 if plan.has("hands off") else 1)
        self.every_s = max(every_s, world.chaos_s / 60)
        self.prompt = self.chance.choice((0.0, 0.5, 1.0))
        if self.prompt and not plan.has("hands off"):
            self.every_s = min(self.every_s, 300.0)
        self.approves = self.chance.random()
        self.replaces = self.chance.random()
        self.meddles = self.chance.random() * 0.3
        self.curious = plan.has("rare answers")
        if self.curious:
            # Rare answers come to what people do: here they do it soon, and often.
            self.every_s, self.prompt = min(self.every_s, 60.0), 1.0
            self.approves, self.replaces = max(self.approves, 0.9), max(self.replaces, 0.7)

    async def act(self) -> None:
        """Until the calm phase."""
        world = self.world
        while self.exist and not world.calm:
            await asyncio.sleep(self.every_s * (0.2 + self.chance.random()))
            process = world.pick(self.chance)
            if process is not None and not world.calm:
                await self._one_round(process)

    async def _one_round(self, process: Process) -> None:
        world, chance = self.world, self.chance
        if world.store._tripped and chance.random() < 0.7:
            await self.unpause(process)
        elif chance.random() < 0.03:
            await self._try(process, "pause", lambda: process.client.pause(reason="month end", by="ops"))
        records = list(world.store.records.values())
        chance.shuffle(records)
        if chance.random() < self.prompt:
            # What is under review cannot wait: the code to confirm it with is good for half an hour.
            records.sort(key=lambda record: record.state is not State.REVIEW)
        for record in records[: chance.choice((1, 3, 8))]:
            if process.dead:
                return
            await self._decide(process, record)

    async def unpause(self, process: Process) -> None:
        """Mend the cause, lift the pause, and go on."""
        house = self.world.gatehouse
        house.operator.set_ip_allowed(allowed=True)
        house.operator.set_permission(allowed=True)
        if self.world.store._tripped:
            self.world.saw("new money was paused, and let go again")
        await self._try(process, "unpause", lambda: process.client.unpause(by="ops"))
        await self._try(process, "recover", process.client.recover)

    async def _decide(self, process: Process, record: Record) -> None:
        chance, client, number = self.chance, process.client, record.no_order
        if chance.random() < self.meddles:
            await self._meddle(process, number)
        elif record.state is State.REVIEW:
            await self._review(process, number)
        elif record.state in _ENDED:
            if self.curious and chance.random() < 0.3:
                await self._try(process, "query", lambda: client.query(number))
            elif chance.random() < self.replaces and record.generation < 4:
                done = await self._try(process, "replace", lambda: client.replace(number, by="ops"))
                if isinstance(done, Payout) and done.no_order != number:
                    self.world.saw(f"a payout that was {record.state} was replaced")
        elif record.step is Step.FIX:
            await self._fix(process, record)
        elif record.step is Step.DECIDE and chance.random() < 0.5:
            await self._try(process, "resume", lambda: client.resume(number, by="ops"))

    async def _fix(self, process: Process, record: Record) -> None:
        number, client = record.no_order, process.client
        told = [e.ret_code for e in record.evidence if e.source is Source.PAY and e.ret_code]
        house = self.world.gatehouse
        if told and told[-1] == "9104" and house.operator.balance < house.opening / 2:
            house.top_up(house.opening)
        if told and told[-1] in ("1004", "1005", "4015"):
            done = await self._try(
                process, "amend", lambda: client.amend(number, {"info_order": "改正"}, by="ops", duplicate_ok=True)
            )
            if isinstance(done, Payout):
                self.world.saw("refused content was corrected")
                return
        await self._try(process, "resume", lambda: client.resume(number, by="ops"))

    async def _review(self, process: Process, number: str) -> None:
        chance, client, house = self.chance, process.client, self.world.gatehouse
        point = chance.random()
        if point < 0.1:
            try:
                house.operator.confirm_in_portal(number)
                self.world.saw("confirmed in the merchant portal")
            except LookupError:
                pass
        elif point < 0.15:
            with suppress(LookupError):
                house.operator.close(number)
        elif point < 0.15 + self.approves * 0.85:
            by = chance.choice(("anna", "bo"))
            done = await self._try(process, "approve", lambda: client.approve(number, by=by, note="is meant"))
            if isinstance(done, Payout) and self.world.two_person and chance.random() < 0.7:
                other = "bo" if by == "anna" else "anna"
                await self._try(process, "approve", lambda: client.approve(number, by=other, note="is meant, too"))
            if isinstance(done, CommandRefused) and "too late" in str(done):
                self.world.saw("an approval came too late and was refused")
            if isinstance(done, CommandRefused) and "lost" in str(done):
                self.world.saw("an approval was refused because the confirm_code was lost")
            if isinstance(done, CommandRefused) and "another person" in str(done):
                self.world.saw("the same person wanted to approve twice")
        else:
            await self._try(process, "decline", lambda: client.decline(number, by="anna", note="not ours"))

    async def _meddle(self, process: Process, number: str) -> None:
        """Whatever comes to mind."""
        client, chance = process.client, self.chance
        moves: list[Any] = [
            ("replace", lambda: client.replace(number, by="eve")),
            ("replace", lambda: client.replace(number, by="eve")),
            ("resume", lambda: client.resume(number, by="eve")),
            ("amend", lambda: client.amend(number, {"money_order": "1.23"}, by="eve", duplicate_ok=True)),
            ("approve", lambda: client.approve(number, by="eve", note="why not")),
            ("query", lambda: client.query(number)),
            ("decline", lambda: client.decline(number, by="eve", note="no")),
        ]
        name, make = chance.choice(moves)
        done = await self._try(process, name, make)
        if isinstance(done, CommandRefused):
            self.world.saw(f"{name} was refused by the rules")

    async def _try(self, process: Process, name: str, make: Any) -> Any:
        self.world.note("person", name, process.name)
        return await self.world.business.call(process, make, patience_s=self.chance.choice((None, 5.0, 120.0)))

    async def events(self, plan: Plan, end_s: float) -> None:
        """What befalls the merchant's account and the gateway as a whole."""
        world, chance = self.world, plan.stream("events")
        house = world.gatehouse
        timeline: list[tuple[float, Any]] = []

        def window(kind: str, on: Any, off: Any, times: int, longest_s: float) -> None:
            for _ in range(times if plan.has(kind) else 0):
                at = end_s * chance.random() * 0.9
                timeline.append((at, on))
                timeline.append((min(at + longest_s * chance.random() ** 2 + 30.0, end_s), off))

        endpoints = chance.choice((("query",), ("query",), ("pay", "query", "confirm"), ("pay",)))
        times, longest_s = chance.choice(((2, 7200.0), (2, 7200.0), (1, end_s)))
        window("outage", lambda: house.operator.set_outage(*endpoints), house.operator.set_outage, times, longest_s)
        low = Decimal(chance.choice((0, 500)))
        window(
            "drought",
            lambda: house.top_up(low - house.operator.balance),
            lambda: house.top_up(house.opening),
            2,
            3600.0,
        )
        window(
            "journal",
            lambda: setattr(world, "journal_down", True),
            lambda: setattr(world, "journal_down", False),
            1,
            900.0,
        )
        if plan.has("rotation"):
            at = end_s * chance.random() * 0.8
            timeline.append((at, lambda: world.rotate(open_old=chance.random() < 0.5)))
            timeline.append((at + 3600.0 * chance.random(), world.install_key))
        if plan.has("restore"):
            at = end_s * chance.random() * 0.8
            timeline.append((at, world.back_up))
            timeline.append((at + end_s * 0.2 * chance.random() ** 2 + 10.0, world.restore))
        for at, what in sorted(timeline, key=lambda event: event[0]):
            await asyncio.sleep(max(0.0, at - world.loop.seconds))
            if world.calm:
                return
            what()
