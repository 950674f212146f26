"""What every part that drives payouts writes down: one version-checked save, and what everybody hears of it.

It knows no rules and sends nothing; whoever sends stands above it (`engine`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve

from .agenda import Agenda, Wake
from .breaker import Guard
from .clock import Clock
from .errors import JournalUnavailable, OutcomeUnknown
from .journal import Amendment, Change, Journal, Lease, Record, StaleVersion
from .records import after_everything, new_alarms, still_about
from .resolver import Attempt, Decision, Evidence, View, decide, view_of
from .watch import Watch

__all__ = ["Scribe", "alarms"]

logger = logging.getLogger("lianlian_async.engine")
# Apart from the rest, so that an application can bring what its operators must hear of to where they hear it.
alarms = logging.getLogger("lianlian_async.alarms")

# How long an answer in hand is offered to a journal that cannot be written, before the process lets go of
# it. Nothing is lost for good: the attempt is on record, so the next start asks the gateway.
_REWRITE_AFTER_S: Final = (0.1, 0.5, 1, 2, 5, 10, 20)


class Scribe:
    """Writes attempts, news and words of one merchant's payouts into the journal."""

    def __init__(
        self,
        journal: Journal,
        oid_partner: str,
        *,
        clock: Clock,
        owner: str,
        observer: Callable[[Record], None] | None,
        asks_only: bool = False,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.agenda = Agenda(clock)
        self.guard = Guard(journal, clock, oid_partner, asks_only=asks_only)
        self.owner = owner
        self._observer = observer
        self._watch = Watch(clock)

    async def learn(self, record: Record, evidence: Evidence) -> Record:
        """Write one piece of news down, whatever it takes, and stop new money if it says so.

        Raises OutcomeUnknown when the journal stays away: the next start, or the next try, asks the gateway.
        """
        for after_s in (*_REWRITE_AFTER_S, None):
            try:
                record, evidence = await self._write_down(record, evidence)
                break
            except JournalUnavailable as error:
                logger.warning("%s: the news could not be written down yet: %s", record.no_order, error)
                if after_s is None or await self._nap(after_s) is Wake.CLOSED:
                    raise OutcomeUnknown(
                        f"{record.no_order}: the answer came and could not be written down ({error}): query first"
                    ) from error
        await self.guard.heard(record, evidence)
        return record

    async def note(self, record: Record, evidence: Evidence) -> Record:
        """Write one piece of news down, in one try; raises StaleVersion and JournalUnavailable."""
        return await self.write(record, evidence=after_everything(evidence, record))

    async def _nap(self, seconds: float) -> Wake:
        return await self.agenda.until(self.clock.now() + timedelta(seconds=seconds))

    async def _write_down(self, record: Record, evidence: Evidence) -> tuple[Record, Evidence]:
        while True:
            evidence = after_everything(evidence, record)
            try:
                return await self.write(record, evidence=evidence), evidence
            except StaleVersion:
                newer = await self._again(record)
                evidence, record = still_about(evidence, record, newer), newer

    async def write(
        self, record: Record, *, attempt: Attempt | None = None, evidence: Evidence | None = None,
        amendment: Amendment | None = None, twins_since: datetime | None = None, meant: Collection[str] = (),
    ) -> Record:  # fmt: skip
        """Add to a payout's record, and return it as it stands then.

        The beginning of an attempt claims the payout for as long as the attempt may last; news ends the claim.
        Raises StaleVersion, also when another process has claimed it, JournalUnavailable, and TwinsFound (see the
        journal's `save`); nothing was written then.
        """
        attempts, pieces = (attempt,) if attempt else (), (evidence,) if evidence else ()
        every, known = (*record.attempts, *attempts), (*record.evidence, *pieces)
        view = view_of(every, known)
        decision = self._decided(record, view, revived=bool(await self.revived(record)))
        lease = Lease(self.owner, attempt.started_at, attempt.deadline_at) if attempt else None
        change = Change(
            view.state, decision.step, decision.due_at, attempts, pieces, amendment, lease,
            release=None if attempt else self.owner,
        )  # fmt: skip
        version = await self.journal.save(record.no_order, record.version, change, twins_since=twins_since, meant=meant)
        for alarm in new_alarms(record, view):
            alarms.warning("%s: %s", record.no_order, alarm)
        grown = evolve(
            record, attempts=every, evidence=known, version=version, state=change.state, step=change.step,
            due_at=change.due_at, lease=lease,
        )  # fmt: skip
        if amendment is not None:
            former = (*record.former_hashes, record.content_hash)
            grown = evolve(
                grown, content=amendment.content, content_hash=amendment.content_hash, former_hashes=former
            )  # fmt: skip
        self._observe(grown)
        return grown

    async def revived(self, record: Record) -> list[str]:
        """The numbers that this one replaced and that are not proven dead any more (rule R4)."""
        return await self.journal.revived(record.no_order) if record.generation else []

    def _decided(self, record: Record, view: View, *, paused: bool = False, revived: bool = False) -> Decision:
        left_s, now = self._watch.left_s(record.no_order, view), self.clock.now()
        return decide(view, record.created_at, now, paused=paused, revived=revived, unwatched_s=left_s)

    def _observe(self, record: Record) -> None:
        if self._observer is None:
            return
        try:
            self._observer(record)
        except Exception:  # whatever an observer does, the payout goes on
            logger.exception("the observer failed for %s", record.no_order)

    async def _settle(self, record: Record, decision: Decision) -> Record:
        """See that the journal's own columns say where the payout rests; another's word on it is as good."""
        if (record.step, record.due_at) == (decision.step, decision.due_at):
            return record
        change = Change(record.state, decision.step, decision.due_at, release=self.owner)
        try:
            version = await self.journal.save(record.no_order, record.version, change)
        except StaleVersion:
            return await self._again(record)
        lease = None if record.lease is not None and record.lease.owner == self.owner else record.lease
        settled = evolve(record, version=version, step=decision.step, due_at=decision.due_at, lease=lease)
        self._observe(settled)
        return settled

    async def _again(self, record: Record) -> Record:
        newer = await self.journal.load(record.no_order)
        if newer is None:
            raise JournalUnavailable(f"{record.no_order} is gone from the journal: is it still the same file?")
        return newer
