"""Whoever reconciles: statements come in, and each of their rows is news about one payout (specification 6).

LianLian's come at nine in the morning. A world's storm lasts for hours, so here the department also gets hold of what
the day's file would hold so far: rows come while payouts are unknown, and not only when all is long over.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import evolve

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import LianLianError
from lianlian_async.listing import Listing
from lianlian_async.reconcile.reader import open_statement
from lianlian_async.reconcile.statement import REFUNDED
from lianlian_async.testing.simulator.statements import next_ready, ready_days, statement_text

from .gatehouse import OID_PARTNER
from .plan import Plan

if TYPE_CHECKING:
    from .process import Process
    from .world import World


class Finance:
    """Reads statements, hands their rows to whichever process is there, and reads again what could not be taken."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.chance = plan.stream("finance")
        self.exists = plan.has("statements")
        self._early = self.chance.choice((0, 2, 6))
        self._repeats = self.chance.choice((0.0, 0.0, 0.3))
        self._lies = self.chance.choice((0.0, 0.0, 0.05))
        self._read: set[str] = set()  # days whose statement has been taken in to its last row

    async def act(self) -> None:
        """Until the end of the world."""
        world = self.world
        for at in sorted(self.chance.random() * world.chaos_s for _ in range(self._early)):
            await asyncio.sleep(max(0.0, at - world.loop.seconds))
            if self.exists and not world.calm:
                await self._take(f"{world.loop.now().astimezone(SHANGHAI):%Y%m%d}")
        while self.exists and not world.over:
            now = world.loop.now()
            await asyncio.sleep((next_ready(now) - now).total_seconds() + 1.0)
            for day in ready_days(world.gatehouse.ledger, world.loop.now()):
                if day not in self._read and await self._take(day):
                    self._read.add(day)

    def start_over(self) -> None:
        """The journal is a backup of earlier: all its days are read again."""
        self._read.clear()

    async def _take(self, day: str) -> bool:
        """Take in all rows of a day; False when some could not be, so that the file has to be read once more."""
        rows = list(self._rows(day))
        self.chance.shuffle(rows)
        complete = True
        for listing in rows:
            process = self.world.pick(self.chance)
            complete &= process is not None and await self._take_row(process, listing)
        return complete

    def _rows(self, day: str) -> Iterator[Listing]:
        text = statement_text(self.world.gatehouse.ledger, OID_PARTNER, day)
        file = f"FKMX_{OID_PARTNER}_{day}.txt"
        for chunk in open_statement(io.BytesIO(text.encode()), file, OID_PARTNER).chunks():
            for line, row in chunk.rows():
                refund = row.status == REFUNDED
                listing = Listing(
                    oid_partner=row.oid_partner, no_order=row.oid_paybill if refund else row.no_order,
                    money_order=abs(row.money_order), settle_date=row.settle_date,
                    oid_paybill=None if refund else row.oid_paybill, refund=refund, place=f"{file}:{line}",
                )  # fmt: skip
                yield listing
                if self.chance.random() < self._repeats:
                    self.world.saw("a row of a statement was taken in twice")
                    yield listing
                if self.chance.random() < self._lies:
                    yield self._lie(listing)

    def _lie(self, listing: Listing) -> Listing:
        """A row that cannot be: another amount, or a number that nobody has."""
        if self.chance.random() < 0.5:
            return evolve(listing, no_order=listing.no_order[::-1])
        self.world.intents[listing.no_order][0].lied_to = True
        return evolve(listing, money_order=listing.money_order + Decimal("0.01"))

    async def _take_row(self, process: Process, listing: Listing) -> bool:
        world, number = self.world, listing.no_order
        result: Any = await world.business.call(process, lambda: process.client.take_listing(listing))
        world.note("listed", number, listing.refund, type(result).__name__)
        if isinstance(result, LianLianError) or process.dead:
            return False
        if result is None:
            if number not in world.intents:
                world.saw("a row about a number that is not ours was kept")
        else:
            world.laws.listed(listing)
        return True
