"""The front door: `LianLianClient` pays, waits, looks up, asks and recovers; and it is the only hub.

Whatever may move money runs in tasks that the client owns. A caller that is cancelled, times out or goes
away ends its own wait, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from . import enlisting, moves, reviewing
from .engine import Engine
from .errors import CommandRefused, JournalUnavailable, OrderConflict
from .gateway import Gateway
from .journal import Breaker, Record, Tally
from .lifecycle import Lifecycle
from .listing import Listing
from .payout import Payout
from .people import checked_name, checked_note
from .protocol.messages import Order
from .receiving import adopt_orphans, take_listing, with_orphans
from .records import told_after_acceptance
from .resolver import Outcome, State, view_of
from .retry import ask_again
from .reviewing import Review

__all__ = ["LianLianClient"]

# Where a payout may still move by itself; an end that only a notification told is asked about, too.
_OPEN: Final = (
    State.UNSENT, State.UNKNOWN, State.REFUSED, State.IN_PROGRESS, State.REVIEW, State.FAILED, State.REFUNDED,
)  # fmt: skip

# What a worker is at, by kind.
_SENDS: Final = "sends"
_QUERIES: Final = "queries"
# A claimed payout waits about this long for its turn to be asked about, well within its lease.
_TURNS_WITHIN_S: Final = 15.0


class LianLianClient(Lifecycle):
    """LianLian's instant payment for one merchant, with a journal that remembers every payout.

    `journal` is an address such as `sqlite:///payouts.db`, or a Journal; it has no default, because losing
    it is losing the knowledge of what was paid. `transport` may be an `httpx2.AsyncClient`, an
    `httpx.AsyncClient`, an `aiohttp.ClientSession` or a Transport, or a pair of them (for money, for queries);
    left out, the client makes its own two over httpx2, and with "aiohttp" its own two over aiohttp (an extra; faster).
    `clock` and `entropy` are for tests and simulations.

    `on_change` is awaited with every change of a payout's state or step, from the journal, at least once, in whatever
    process made it (see `telling.Changed`); `subscriber` names this application in the journal, which remembers how
    far it was told. `observer` is called with the record after every change that this process makes (at once, so it
    must be quick and must not raise). With `two_person`, two people must approve a payout under review; where the
    merchant's policy (`Merchant.two_person`) says so already, leaving it out changes nothing.
    With `asks_only` the client queries when it is told to, sends nothing (BreakerOpen) and drives no payout; it opens
    also where the journal's newest entry lies ahead of the clock (docs/journal.md).
    """

    # ------------------------------------------------------------------ paying

    async def pay(
        self, order: Order, *, key: str | None = None, wait_s: float = 10.0, duplicate_ok: moves.DuplicateOk = False
    ) -> Payout:
        """Pay once, whatever happens; then wait up to `wait_s` seconds for the outcome (specification 2.2, 3.1).

        `key` is the caller's own name for this payment, unique for ever, such as "salary-2026-11/emp-1042";
        with it the `no_order` is derived. Calling again with the same key (or `no_order`) and content
        attaches to the payout that exists, so this is safe to repeat. Raises InvalidOrder, OrderConflict
        (other content under the same key or number), DuplicateSuspected (the same card and amount under another key
        within 24 hours, or not ended yet; `duplicate_ok` says that both are meant: True, or the numbers of those that
        somebody was asked about), BreakerOpen, JournalUnavailable: nothing was sent then; and OutcomeUnknown when the
        journal failed after the send: call again with the same key.
        """
        engine = self._engine_or_raise()
        [record] = await self._crew.own(self._enlist(engine, [(order, key)], duplicate_ok))
        return await self._wait(engine, record, wait_s)

    async def enlist(
        self, orders: Sequence[tuple[Order, str | None]], *, duplicate_ok: moves.DuplicateOk = False
    ) -> list[Payout]:
        """Write many payouts down, all or none, and start paying them; see `pay` for key and errors."""
        engine = self._engine_or_raise()
        records = await self._crew.own(self._enlist(engine, orders, duplicate_ok))
        return [engine.snapshot(record) for record in records]

    async def known(self, orders: Sequence[tuple[Order, str | None]]) -> list[Payout | OrderConflict | None]:
        """For each order what the journal holds under its key or number already: the payout, a conflict, or nothing."""
        engine = self._engine_or_raise()
        found = [await enlisting.known(engine, order, key) for order, key in orders]
        return [await engine.payout(known) if isinstance(known, Record) else known for known in found]

    async def twins(self, order: Order, key: str | None = None) -> list[Payout]:
        """What `pay` would call a suspected duplicate of this order under this key: same card and amount, 24 hours."""
        engine = self._engine_or_raise()
        return [await engine.payout(record) for record in await enlisting.twins(engine, order, key)]

    async def wait(self, no_order: str, *, timeout_s: float) -> Payout:
        """Wait up to `timeout_s` seconds until the payout rests: ended, or waiting for a person or a fix."""
        engine = self._engine_or_raise()
        return await self._wait(engine, await self._load(no_order), timeout_s)

    async def get(self, no_order: str) -> Payout:
        """What is known of a payout now; nothing is asked. Raises CommandRefused for a number not in the journal."""
        return await self._engine_or_raise().payout(await self._load(no_order))

    async def find(self, key: str) -> Payout | None:
        """The payout of a caller's key, or None."""
        record = await self.journal.find(self.merchant.oid_partner, key)
        return None if record is None else await self._engine_or_raise().payout(record)

    async def query(self, no_order: str) -> Payout:
        """Ask the gateway now, up to three times if it brings nothing (specification 3.3), and tell what is known.

        Raises CommandRefused when the client is finishing and asks nobody any more.
        """
        engine = self._engine_or_raise()

        async def ask() -> Record:
            return await engine.ask(await self._load(no_order), urgent=True)

        async def asked() -> Record:
            record = await ask()
            return record if _learnt(record) else await ask_again(
                ask, brought_nothing=lambda r: not _learnt(r), clock=self.clock, entropy=self._entropy
            )  # fmt: skip

        record = await self._crew.own(asked())
        payout = await engine.payout(record)
        self._drive(engine, record)
        return payout

    async def recover(self) -> int:
        """Take up every payout that an earlier process left open; to be called at start. Returns how many.

        Payouts that wait for a person or a fix stay as they are, except that those asked about too long
        ago are asked about again by whoever drives them.
        """
        engine, count = self._engine_or_raise(), 0
        async for record in self._pages(_OPEN):
            count += not (await engine.payout(record)).at_rest
            self._drive(engine, record)
        return count

    async def payouts(self, states: Collection[State] = (), after: str | None = None, limit: int = 100) -> list[Payout]:
        """Up to `limit` payouts of this merchant in the order of their numbers, after one; of `states`, if given."""
        engine = self._engine_or_raise()
        records = await self.journal.page(after, limit, states, oid_partner=self.merchant.oid_partner)
        return [await engine.payout(record) for record in records]

    async def tally(self) -> dict[State, Tally]:
        """Count and money of all payouts of this merchant by state."""
        return await self.journal.tally(self.merchant.oid_partner)

    # ------------------------------------------------------------------ notifications

    async def receive(self, body: bytes) -> Payout:
        """Take in one notification (specification 3.4): when this returns, and only then, it may be acknowledged.

        What it says is on record then, whoever goes away meanwhile. Raises NotificationRefused and JournalUnavailable:
        it must not be acknowledged. `lianlian_async.notifications` has the web server's side; `receiver.counts` counts.
        """
        engine = self._engine_or_raise()
        told = self.receiver.read(body)
        return await self._crew.own(self.receiver.take(engine, told, partial(self._drive, engine)))

    # ------------------------------------------------------------------ statements

    async def take_listing(self, listing: Listing) -> Record | None:
        """Take in what a statement says of one payout (specification 6), once, and return the payout's record then.

        None for a number that the journal does not know: it is kept for the day on which it is enlisted.
        `lianlian_async.reconcile` compares whole statements. Raises JournalUnavailable.
        """
        engine = self._engine_or_raise()
        return await self._crew.own(take_listing(engine, listing, partial(self._drive, engine)))

    # ------------------------------------------------------------------ a person's moves

    async def resume(self, no_order: str, *, by: str) -> Payout:
        """Release a payout after a fix: it is queried, and if the gateway has no record, the same number goes again.

        `by` names who decided. Raises CommandRefused unless it waits for a fix or a person and the number is alive.
        """
        engine = self._engine_or_raise()
        await self._load(no_order)
        return await self._moved(moves.resume(engine, no_order, by))

    async def check_resumable(self, no_order: str) -> None:
        """Raise CommandRefused unless `resume` would be allowed now."""
        await self._load(no_order)
        await moves.check_resumable(self._engine_or_raise(), no_order)

    async def amend(
        self, no_order: str, changes: Mapping[str, Any], *, by: str, duplicate_ok: moves.DuplicateOk = False
    ) -> Payout:
        """Correct refused content under the same number (1004, 1005, 4015), and send it again (specification 7).

        `changes` are wire names and their new values, an empty one takes a field away. Allowed only after a single
        attempt that was turned away for its content, and a query that says "no record". Raises CommandRefused with the
        reason, InvalidOrder, DuplicateSuspected, JournalUnavailable.
        """
        engine = self._engine_or_raise()
        await self._load(no_order)
        return await self._moved(moves.amend(engine, no_order, changes, by=by, duplicate_ok=duplicate_ok))

    async def check_amendable(self, no_order: str) -> None:
        """Raise CommandRefused unless `amend` would be allowed now; asks the gateway if only its word is missing."""
        engine = self._engine_or_raise()
        await self._load(no_order)
        await self._crew.own(moves.check_amendable(engine, no_order))

    async def check_replaceable(self, no_order: str, *, new_no_order: str | None = None) -> list[Payout]:
        """Raise what `replace` would raise now; what it would call a suspected duplicate is returned."""
        engine = self._engine_or_raise()
        await self._load(no_order)
        return [await engine.payout(r) for r in await moves.check_replaceable(engine, no_order, new_no_order)]

    async def replace(
        self, no_order: str, *, by: str, new_no_order: str | None = None, duplicate_ok: moves.DuplicateOk = False
    ) -> Payout:
        """Pay the same order under a new number, because the old one is proven dead: FAILED, CLOSED or REFUNDED.

        A payout with a key gets the next number that follows from it; one without needs `new_no_order`. Replacing
        again returns the replacement that exists. Raises CommandRefused with the reason, DuplicateSuspected (the same
        card and amount was asked for since, under another key; `duplicate_ok` says that both are meant), BreakerOpen,
        InvalidOrder, OrderConflict (the new number is taken), JournalUnavailable.
        """
        engine = self._engine_or_raise()
        await self._load(no_order)

        async def replaced() -> Record:
            # A journal restored from a backup may have forgotten that it replaced this one before.
            record = await moves.replace(
                engine, no_order, by=by, new_no_order=new_no_order, duplicate_ok=duplicate_ok, grown=with_orphans
            )
            [record] = await adopt_orphans(engine, [record])
            return record

        return await self._moved(replaced())

    # ------------------------------------------------------------------ reviews

    async def reviews(self, *, fresh: bool = False) -> list[Review]:
        """All payouts that the gateway holds for a person, those with the least time left first and those that
        cannot be decided here last. With `fresh`, their siblings are queried first, 100 at most; else nobody is asked.
        """
        engine = self._engine_or_raise()
        held = [record async for record in self._pages((State.REVIEW,))]
        return await self._crew.own(reviewing.reviews(engine, held, fresh=fresh))

    async def review(self, no_order: str) -> Review:
        """One held payout and its siblings, freshly queried; `unanswered` names those of which no answer came.

        Raises CommandRefused when it is not under review.
        """
        engine, record = self._engine_or_raise(), await self._load(no_order)
        if record.state is not State.REVIEW:
            raise CommandRefused(f"{no_order} is {record.state}, and not under review")
        return await self._crew.own(reviewing.review(engine, record, fresh=True))

    async def approve(self, no_order: str, *, by: str, note: str) -> Payout:
        """A person says that a held payout is meant: it is confirmed, once (specification 3.2).

        The gateway must say CHECK right before; who approved and why is written down before confirmPayment is called.
        With `two_person` the first approval is written down and sends nothing; the second, by another name, confirms.
        Raises CommandRefused with the reason (too late, code lost, declined, not settled ...), BreakerOpen,
        JournalUnavailable: nothing was confirmed then; OutcomeUnknown: it may have been, look again.
        """
        engine = self._engine_or_raise()
        await self._load(no_order)
        return await self._moved(reviewing.approve(engine, no_order, by=by, note=note, two_person=self.two_person))

    async def decline(self, no_order: str, *, by: str, note: str) -> Payout:
        """A person says that a held payout is not meant. Nothing is sent: it is queried until the gateway closes it.

        Until then the merchant portal can still confirm it. Raises CommandRefused with the reason, JournalUnavailable.
        """
        engine = self._engine_or_raise()
        await self._load(no_order)
        return await self._moved(reviewing.decline(engine, no_order, by=by, note=note))

    # ------------------------------------------------------------------ work that is due

    async def advance(self, limit: int) -> int:
        """Claim payouts that are due, whoever began them, and start one step of each; returns how many.

        What is to be sent and what is to be asked about are claimed apart, up to `limit` of each, as far as there is
        room for them: a backlog of the one never holds up the other. For workers: see `worker.Worker`.
        """
        engine = self._engine_or_raise()
        if self.asks_only:
            return 0
        if await engine.guard.lifted():
            await self.refresh()

        async def claim(sends: bool, room: int) -> int:
            records = await engine.claim(min(limit, room - self._crew.size(_SENDS if sends else _QUERIES)), sends=sends)
            for record in records:
                if self._crew.named(record.no_order) is None:
                    self._crew.start(record.no_order, engine.step(record), _SENDS if sends else _QUERIES)
                else:
                    engine.agenda.call(record.no_order)
            return len(records)

        sent = await self._crew.own(claim(True, self.limits.in_flight))
        return sent + await self._crew.own(claim(False, self._room_to_ask))

    @property
    def _room_to_ask(self) -> int:
        """How many payouts may be claimed for a query: more than can be under way, and no more than soon get a turn."""
        room = self.limits.in_flight + self.limits.queries_in_flight
        return min(room, max(1, int(self.limits.queries_per_s * _TURNS_WITHIN_S)))

    @property
    def at_work(self) -> int:
        """How many payouts this process is at."""
        return self._crew.size()

    async def refresh(self) -> int:
        """See that the journal says of every open payout when it is due, as after a pause; returns how many moved."""
        engine = self._engine_or_raise()
        return 0 if self.asks_only else sum([await engine.refresh(record) async for record in self._pages(_OPEN)])

    async def finish(self) -> None:
        """Begin nothing more, and finish what is in flight; the payouts can still be looked at until `aclose`."""
        engine = self._engine_or_raise()
        engine.agenda.close()
        await self._crew.rest()

    async def pause(self, *, reason: str, by: str) -> Breaker:
        """Stop new money of this merchant; what is under way is followed, queries go on.

        Raises CommandRefused when `reason` or `by` says nothing.
        """
        reason, by = checked_note(reason), checked_name(by)
        return await self.journal.trip(Breaker(self.merchant.oid_partner, reason, self.clock.now(), by))

    async def unpause(self, *, by: str) -> Breaker | None:
        """Let new money of this merchant leave again; returns the pause that was lifted, if there was one.

        Payouts that waited for it go on with the next `recover`, `wait` or `pay`, or when a worker sees it.
        """
        return await self._engine_or_raise().guard.unpause(checked_name(by))

    async def paused(self) -> Breaker | None:
        """The pause in force, if any."""
        return await self._engine_or_raise().guard.paused()

    @property
    def gateway(self) -> Gateway:
        """The gateway below the front door: single exchanges, no journal, no safety. For tools that only ask."""
        return self._engine_or_raise().gateway

    # ------------------------------------------------------------------ inside

    async def _enlist(
        self, engine: Engine, orders: Sequence[tuple[Order, str | None]], duplicate_ok: moves.DuplicateOk
    ) -> list[Record]:
        records = await enlisting.enlist(engine, orders, duplicate_ok=duplicate_ok)
        for record in records:
            self._drive(engine, record)
        return records

    async def _wait(self, engine: Engine, record: Record, timeout_s: float) -> Payout:
        """Wait until the payout rests. Once an order is written down, no failure of ours is told as "nothing sent"."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.clock.loop_seconds(timeout_s)
        while True:
            news = engine.watchers.watch(record.no_order)
            try:
                payout = await engine.payout(record)
                if payout.at_rest:
                    return payout
                if engine.agenda.closing or loop.time() >= end:
                    # Something may be on its way that the last news did not tell of.
                    return await engine.payout(await self._load(record.no_order))
                self._drive(engine, record, wake=False)
                await asyncio.wait({news}, timeout=end - loop.time())
                if news.done():
                    record = news.result()
            except JournalUnavailable as error:
                raise told_after_acceptance(error, record) from error
            finally:
                engine.watchers.unwatch(record.no_order, news)


def _learnt(record: Record) -> bool:
    """Did the newest query bring a signed and bound answer?"""
    last = view_of(record.attempts, record.evidence).last_query
    return last is not None and last.outcome is Outcome.ANSWERED
