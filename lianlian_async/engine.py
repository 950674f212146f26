"""One payout, one step at a time: write down, act, write down what came of it.

    journal ──► view_of ──► decide ──► SUBMIT: save(attempt) ─► send ─┐
       ▲                           └─► QUERY:  ask ────────────────────┤
       └──────────────────── save(evidence) ◄──────────────────────────┘

Here is the only code that sends money, and it knows no rules: `resolver` decides, and a person approves. What
it must keep is rule R6: an attempt is durable before its first byte leaves, and it is checked once more, right
before the call, that the attempt is still in its time. The lease that comes with an attempt lasts as long as
the attempt may: whoever sleeps through it does not send any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from .agenda import Pace, Wake
from .clock import Clock
from .config import Limits
from .crew import Watchers
from .errors import CommandRefused, JournalUnavailable, OutcomeUnknown
from .gateway import Gateway
from .journal import Journal, Lease, Leased, Record, StaleVersion
from .payout import Payout
from .records import Last, Ready, begun, known_bills, told_after_acceptance, unsent
from .resolver import Attempt, Decision, Evidence, Source, State, Step, view_of
from .resolver.pacing import RECONNECT_AFTER_S, wait_s
from .scribe import Scribe

__all__ = ["CONFIRMS_AT_ONCE", "Engine"]

logger = logging.getLogger("lianlian_async.engine")

_DUE_JITTER: Final = 0.1
# A claim outlasts the longest call by this much, so that a slow journal does not end it too early.
_LEASE_MARGIN_S: Final = 30
# A process claims no more than it can ask about within this time at the common rate. Where that takes longer than a
# moment, other processes take turns, too: the claim then lasts for so many times the wait.
_CLAIM_WAIT_S: Final = 120
_MOMENT_S: Final = 2
_SHARERS: Final = 2
# Whoever waited longer than this for a turn looks at the payout again before using it.
_SEEN_FOR: Final = timedelta(seconds=1)
# Confirms have slots of their own: a held payout expires, so it must not queue behind orders that can wait.
CONFIRMS_AT_ONCE: Final = 4
# How often, a second apart, a confirm waits for another process that is asking about the payout just now.
_LEASED_TRIES: Final = 30


class Engine(Scribe):
    """Advances payouts of one merchant; shared by the client and everything that drives payouts."""

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        *,
        clock: Clock,
        limits: Limits,
        owner: str,
        entropy: Callable[[int], bytes] = os.urandom,
        observer: Callable[[Record], None] | None = None,
        asks_only: bool = False,
    ) -> None:
        partner = gateway.merchant.oid_partner
        super().__init__(journal, partner, clock=clock, owner=owner, observer=observer, asks_only=asks_only)
        self.gateway = gateway
        self._entropy = entropy
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._confirm_slots = asyncio.Semaphore(CONFIRMS_AT_ONCE)
        self._pace = Pace(
            clock, self.agenda, per_s=limits.queries_per_s, room=limits.queries_in_flight,
            reserve=lambda now, gap, turns: journal.turn(partner, now, gap, turns),
        )  # fmt: skip
        self.watchers = Watchers()

    # ------------------------------------------------------------------ driving

    async def drive(self, record: Record) -> Record:
        """Advance one payout until nothing more is due by itself, or the agenda closes.

        A journal that fails is tried again, more and more slowly: whoever waits is told, and a payout that was
        once written down is never left lying.
        """
        last = Last(record)
        try:
            await self._drive_on(last)
        finally:
            self.watchers.tell(last.record)
        return last.record

    async def _drive_on(self, last: Last) -> None:
        for times in count(1):
            try:
                await self._drive(last)
                return
            except (JournalUnavailable, OutcomeUnknown) as error:
                name = last.record.no_order
                logger.warning("%s: %s", name, error)
                self.watchers.tell(last.record, told_after_acceptance(error, last.record))
                wait = timedelta(seconds=wait_s(times, RECONNECT_AFTER_S))
                if await self.agenda.until(self.clock.now() + wait, name) is Wake.CLOSED:
                    return
                # Its word may be in doubt: what the journal holds is what counts from here on.
                with suppress(JournalUnavailable):
                    last.record = await self._again(last.record)

    async def _drive(self, last: Last) -> None:
        name = last.record.no_order
        while True:
            await self.guard.write_down()
            decision = await self.decision(last.record)
            if decision.action is None or decision.due_at is None or decision.step is Step.NOTHING:
                last.record = await self._settle(last.record, decision)
                self.watchers.tell(last.record)
                if not self.agenda.was_called(name):
                    return
                last.record = await self._again(last.record)
                continue
            self.watchers.tell(last.record)
            due_at = decision.due_at
            if due_at > self.clock.now() and decision.action is Step.QUERY:
                due_at = self._jittered(due_at)
            match await self.agenda.until(due_at, name):
                case Wake.CLOSED:
                    return
                case Wake.CALLED:
                    last.record = await self._again(last.record)
                case Wake.CAME:
                    await self._act(last, decision)

    async def _act(self, last: Last, decision: Decision) -> None:
        """Do what is due, unless another process did it meanwhile or is at it."""
        name = last.record.no_order
        if (until := self._elsewhere(last.record)) is not None:
            await self.agenda.until(until, name)
            last.record = await self._again(last.record)
        elif decision.action is Step.SUBMIT:
            last.record = await self.submit(last)
        else:
            fresh = await self._again(last.record)
            same = fresh.version == last.record.version and self._elsewhere(fresh) is None
            last.record = await self.ask(fresh) if same else fresh

    def _elsewhere(self, record: Record) -> datetime | None:
        """Until when another process has claimed this payout, if one has."""
        lease = record.lease
        if lease is None or lease.owner == self.owner or lease.until <= self.clock.now():
            return None
        return lease.until

    async def step(self, record: Record) -> Record:
        """Advance a payout that this process has claimed by the one step that is due, and end the claim.

        Raises JournalUnavailable or OutcomeUnknown when the journal fails; the claim ends by itself then.
        """
        last = Last(record)
        try:
            await self.guard.write_down()
            decision = await self.decision(record)
            due = decision.due_at is not None and decision.due_at <= self.clock.now()
            # What by now is to be asked about instead of sent, or the reverse, is claimed apart.
            if decision.action is None or not due or (Step.SUBMIT is decision.step) is not (Step.SUBMIT is record.step):
                last.record = await self._settle(record, decision)
            elif decision.action is Step.SUBMIT:
                last.record = await self.submit(last)
            else:
                last.record = await self.ask(record)
            lease = last.record.lease
            if last.record.version == record.version or (lease is not None and lease.owner == self.owner):
                await self.journal.release(record.no_order, self.owner)
        finally:
            self.watchers.tell(last.record)
        return last.record

    async def claim(self, limit: int, *, sends: bool) -> list[Record]:
        """Claim up to `limit` due payouts that nobody is at, to send them or to ask; each needs its `step`."""
        now, partner = self.clock.now(), self.gateway.merchant.oid_partner
        if limit <= 0 or self.agenda.closing or not await self.journal.due(partner, now, 1, sends=sends):
            return []
        asked = 0 if sends else (limit := min(limit, self._pace.spare(_CLAIM_WAIT_S)))
        return await self.journal.claim(partner, self.lease(now, asked), limit, sends=sends) if limit > 0 else []

    async def refresh(self, record: Record) -> bool:
        """See that the journal says when this payout is due next; True when it did not."""
        decision = await self.decision(record)
        return await self._settle(record, decision) is not record

    def lease(self, since: datetime, count: int) -> Lease:
        """A lease of this process that outlasts one step of each of `count` payouts, and the wait for their turns."""
        longest = max(self.gateway.timeouts.pay_s, self.gateway.timeouts.query_s)
        wait_s = self._pace.queue_s(count)
        shared_s = wait_s * _SHARERS if wait_s > _MOMENT_S else 0
        return Lease(self.owner, since, since + timedelta(seconds=longest + _LEASE_MARGIN_S + shared_s))

    # ------------------------------------------------------------------ deciding

    async def decision(self, record: Record) -> Decision:
        """What must happen next, the breaker and the numbers that this one replaced included."""
        decision = self._decide(record, revived=bool(await self.revived(record)))
        if decision.sends and await self.guard.paused() is not None:
            return self._decide(record, paused=True)
        return decision

    async def payout(self, record: Record) -> Payout:
        """What a caller sees of `record`."""
        return Payout.of(record, view_of(record.attempts, record.evidence), await self.decision(record))

    def snapshot(self, record: Record) -> Payout:
        """The same without a look at the journal: whether new money is paused is not taken into account."""
        view = view_of(record.attempts, record.evidence)
        return Payout.of(record, view, self._decided(record, view))

    def _decide(self, record: Record, *, paused: bool = False, revived: bool = False) -> Decision:
        view = view_of(record.attempts, record.evidence)
        return self._decided(record, view, paused=paused, revived=revived)

    # ------------------------------------------------------------------ acting

    async def submit(self, last: Last) -> Record:
        """Send the order once, if the decision table still says so when a slot is free."""
        record = last.record
        async with self._slots:
            if self.agenda.closing:
                return record
            decision = self._decide(record)
            if decision.action is not Step.SUBMIT or (decision.due_at or self.clock.now()) > self.clock.now():
                return record
            body = await self.gateway.seal(record.content)
            attempt = self._begun(record, Source.PAY)
            try:
                last.record = record = await self.write(record, attempt=attempt)
            except StaleVersion:
                return await self._again(record)
            return await self.learn(record, await self._send(record, attempt, body))

    async def confirm(self, record: Record, confirm_code: str, judge: Callable[[Record], Ready]) -> Record:
        """Confirm once what people approved (specification 3.2).

        `judge` looks at the record right before the attempt is written down, together with who decided, and again when
        the payout moved meanwhile; it raises CommandRefused unless this record may be confirmed. Raises CommandRefused
        when the client is finishing, and Leased when another process keeps the payout; nothing was sent then.
        """
        async with self._confirm_slots:
            body = await self.gateway.seal_confirm(record.content, confirm_code)
            for times in count(1):
                self._refuse_when_closing(record)
                ready = judge(record)
                attempt = self._begun(record, Source.CONFIRM)
                try:
                    record = await self.write(record, attempt=attempt, evidence=ready.approval)
                    break
                except StaleVersion as stale:
                    if isinstance(stale, Leased):
                        if times >= _LEASED_TRIES:
                            raise
                        await self._nap(1.0)
                    record = await self._again(record)
            return await self.learn(record, await self._send(record, attempt, body, ready.until))

    def _refuse_when_closing(self, record: Record) -> None:
        if self.agenda.closing:
            raise CommandRefused(f"{record.no_order}: this client is finishing, so the gateway is not asked any more")

    async def ask(self, record: Record, *, urgent: bool = False) -> Record:
        """Ask the gateway once, at the common pace: what a person waits for first, then the newest unknown.

        After a long wait the payout is looked at again: if it moved, or another process has it, the turn goes to the
        next one, so that no two processes spend turns on one question. A client that is finishing asks nobody: the
        record comes back as it was, and for an `urgent` question, which somebody means to rely on, CommandRefused is
        raised.
        """
        created = record.created_at.timestamp()
        rank = (0.0,) if urgent else (1.0, -created) if record.state is State.UNKNOWN else (2.0, created)
        since = self.clock.now()
        async with self._pace.turn(rank) as turn:
            if not turn:
                if urgent:
                    self._refuse_when_closing(record)
                return record
            if not urgent and self.clock.now() - since > _SEEN_FOR:
                fresh = await self._again(record)
                if fresh.version != record.version or self._elsewhere(fresh) is not None:
                    turn.pass_on()
                    return fresh
            evidence = await self.gateway.tell_query(record.content, bills=known_bills(record))
            return await self.learn(record, evidence)

    def _begun(self, record: Record, source: Source) -> Attempt:
        return begun(record, source, self.clock.now(), seconds=self.gateway.timeouts.pay_s, owner=self.owner)

    async def _send(self, record: Record, attempt: Attempt, body: bytes, until: datetime | None = None) -> Evidence:
        """Send what is written down, unless new money was paused meanwhile or its time has gone by (`until`).

        A machine that slept between the commit and the first byte must not send what others may by now have
        asked about and sent again: the time is looked at here, and once more by the transport.
        """
        if await self.guard.paused() is not None:
            return unsent(attempt, self.clock.now(), "new money was paused meanwhile")
        left_s = (attempt.deadline_at - self.clock.now()).total_seconds()
        if left_s < self.gateway.timeouts.pay_s / 2 or not self._in_time(attempt, until):
            return unsent(attempt, self.clock.now(), "woke too late")
        return await self.gateway.tell_sent(
            attempt.source, record.content, body, attempt=attempt.number, seconds=left_s, bills=known_bills(record),
            guard=lambda: self._in_time(attempt, until),
        )  # fmt: skip

    def _in_time(self, attempt: Attempt, until: datetime | None) -> bool:
        now = self.clock.now()
        return attempt.started_at <= now < attempt.deadline_at and (until is None or now <= until)

    def _jittered(self, due_at: datetime) -> datetime:
        """Up to a tenth later, so that payouts sent together are not all asked about in the same instant."""
        share = int.from_bytes(self._entropy(2), "big") / 0xFFFF
        return due_at + (due_at - self.clock.now()) * _DUE_JITTER * share
