"""A client's life: opened once, shared by everybody, closed when what is in flight has ended.

What every move of the front door needs lies here: the engine, the tasks that the client owns, and the way from a
number to its record.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from . import moves
from .clock import Adjustable, Clock, SystemClock
from .config import Limits, Merchant, Timeouts
from .crew import Crew
from .engine import CONFIRMS_AT_ONCE, Engine
from .errors import CommandRefused, ConfigError
from .gateway import Gateway
from .journal import Journal, Record
from .journal.urls import open_journal
from .payout import Payout
from .receiving import Receiver
from .resolver import State
from .telling import OnChange, Teller
from .transport.pair import money_and_queries

__all__ = ["Lifecycle"]

_CLOCK_BEHIND_S: Final = 60
_PAGE: Final = 500


class Lifecycle:
    """Opening, closing, and the tasks in between; `LianLianClient` documents the arguments."""

    def __init__(
        self,
        merchant: Merchant,
        journal: str | Journal,
        *,
        transport: Any = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        observer: Callable[[Record], None] | None = None,
        on_change: OnChange | None = None,
        subscriber: str = "application",
        two_person: bool = False,
        asks_only: bool = False,
    ) -> None:
        self.merchant = merchant
        self.clock = clock or SystemClock()
        if self.clock.accelerated and not merchant.on_this_machine:
            raise ConfigError("an accelerated clock is for a gateway on this machine only; leave `clock` out")
        self.limits = limits or Limits()
        self.journal = open_journal(journal) if isinstance(journal, str) else journal
        self._transport = transport
        self._timeouts = timeouts or Timeouts()
        self._entropy = entropy
        self._two_person = two_person
        self.asks_only = asks_only
        self._observer = observer
        self._on_change = on_change
        self._subscriber = subscriber
        self._teller: Teller | None = None
        self._engine: Engine | None = None
        self._crew = Crew()
        self.receiver = Receiver(merchant, self.clock)
        self._closing: asyncio.Task[None] | None = None

    @property
    def two_person(self) -> bool:
        """True when two people must approve: the merchant's policy, or, more strictly, this client's."""
        return self.merchant.two_person or self._two_person

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open journal and connections. Raises ConfigError or JournalUnavailable; nothing is sent by it."""
        if self._engine is not None or self._closing is not None:
            raise ConfigError("the client is open already: one client is opened once, and shared")
        await self.journal.open()
        try:
            await self._check_clock()
            money, queries = money_and_queries(
                self._transport, in_flight=self.limits.in_flight + CONFIRMS_AT_ONCE,
                queries_in_flight=self.limits.queries_in_flight, ca_file=self.merchant.ca_file,
                pins=self.merchant.gateway_pins,
            )  # fmt: skip
        except BaseException:
            await self.journal.close()
            raise
        gateway = Gateway(
            self.merchant, money=money, queries=queries, clock=self.clock, timeouts=self._timeouts,
            entropy=self._entropy,
        )  # fmt: skip
        owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._engine = Engine(
            gateway, self.journal, clock=self.clock, limits=self.limits, owner=owner, entropy=self._entropy,
            observer=self._observed, asks_only=self.asks_only,
        )  # fmt: skip
        if self._on_change is not None:
            self._teller = Teller(self._engine, self._subscriber, self._on_change)
            self._crew.start("(telling)", self._teller.run())

    async def aclose(self) -> None:
        """Finish what is in flight (at most one deadline), then close connections and journal.

        Payouts that were waiting go on at the next start, with `recover`. A caller that gives up on closing
        ends its own wait; the closing goes on.
        """
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.agenda.close()
            self._closing = asyncio.get_running_loop().create_task(self._close(engine))
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self, engine: Engine) -> None:
        try:
            await self._crew.rest()
            await engine.gateway.aclose()
            await self.journal.close()
        finally:
            self._closing = None

    def _observed(self, record: Record) -> None:
        if self._teller is not None:
            self._teller.poke()
        if self._observer is not None:
            self._observer(record)

    # ------------------------------------------------------------------ for the moves

    async def _moved(self, move: Coroutine[Any, Any, Record]) -> Payout:
        """Make a move to its end, whatever becomes of the caller, and let the payout go on from there."""
        engine = self._engine_or_raise()
        record = await self._crew.own(move)
        self._drive(engine, record)
        return engine.snapshot(record)

    def _drive(self, engine: Engine, record: Record, *, wake: bool = True) -> None:
        """See that one task advances this payout in this process, and that it looks at the journal again."""
        if engine.agenda.closing or self.asks_only:
            return
        if self._crew.named(record.no_order) is None:
            self._crew.start(record.no_order, engine.drive(record))
        elif wake:
            engine.agenda.call(record.no_order)

    async def _pages(self, states: Collection[State]) -> AsyncIterator[Record]:
        """This merchant's payouts of these states, a page at a time."""
        after = None
        while records := await self.journal.page(after, _PAGE, states, oid_partner=self.merchant.oid_partner):
            after = records[-1].no_order
            for record in records:
                yield record

    async def _load(self, no_order: str) -> Record:
        record = await moves.load(self.journal, no_order)
        if record.oid_partner != self.merchant.oid_partner:
            raise CommandRefused(
                f"{no_order} belongs to merchant {record.oid_partner}, not to {self.merchant.oid_partner}"
            )
        return record

    async def _check_clock(self) -> None:
        newest = await self.journal.newest()
        if newest is not None and self.clock.accelerated and isinstance(self.clock, Adjustable):
            self.clock.catch_up(newest)
        if self.asks_only or newest is None:
            return
        if (behind := newest - self.clock.now()) > timedelta(seconds=_CLOCK_BEHIND_S):
            raise ConfigError(
                f"this machine's clock is {behind} behind the journal's newest entry "
                f"({newest:%Y-%m-%d %H:%M:%S%z}): set the clock right, then start again (a journal that was written "
                "with --time-scale needs it again); nothing was sent. If this clock is right, another one was "
                "ahead when it wrote that entry: nothing can be sent from this journal before then. Meanwhile "
                "`query NO_ORDER` asks what became of a payout (docs/journal.md)"
            )

    def _engine_or_raise(self) -> Engine:
        if self._engine is None:
            raise ConfigError("the client is not open: use `async with LianLianClient(...) as client`")
        return self._engine
