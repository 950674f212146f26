"""Small questions to a journal record that several parts ask alike."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define, evolve, frozen

from .errors import LianLianError, OutcomeUnknown
from .journal import Record
from .resolver import Attempt, Evidence, Outcome, Source, View, view_of

__all__ = [
    "Last",
    "Ready",
    "after_everything",
    "begun",
    "known_bills",
    "new_alarms",
    "still_about",
    "told_after_acceptance",
    "unsent",
]


@define
class Last:
    """The newest record in this process's hands, for whoever has to tell what is known when a journal fails."""

    record: Record


@frozen
class Ready:
    """What one confirm takes: the last word that was needed, and until when it may leave."""

    approval: Evidence
    until: datetime


def told_after_acceptance(error: LianLianError, record: Record) -> OutcomeUnknown:
    """What a waiting caller is told: the order is written down and will be sent, so it must not be paid otherwise."""
    if isinstance(error, OutcomeUnknown):
        return error
    return OutcomeUnknown(
        f"{record.no_order} is written down and goes on, or has been sent: {error}. Ask again with the same key; "
        "do not pay it otherwise"
    )


def known_bills(record: Record) -> frozenset[str]:
    bound = (e for e in record.evidence if e.outcome is Outcome.ANSWERED and e.oid_paybill)
    return frozenset(e.oid_paybill for e in bound if e.oid_paybill)


def after_everything(evidence: Evidence, record: Record) -> Evidence:
    """Give `evidence` a moment later than all that is on record: two pieces of news never share one."""
    moments = [e.at for e in record.evidence]
    moments += [a.started_at for a in record.attempts]
    latest = max(moments, default=None)
    if latest is None or evidence.at > latest:
        return evidence
    return evolve(evidence, at=latest + timedelta(microseconds=1))


def still_about(evidence: Evidence, asked: Record, now: Record) -> Evidence:
    """`evidence`, which was bound to the payout as `asked`, for the payout as it stands `now`.

    Where a person corrected the content meanwhile (`amend`), an answer about the new one differs from the old one:
    that is no contradiction of the gateway's, and says nothing; it is asked again.
    """
    corrected = asked.content_hash != now.content_hash
    if not corrected or evidence.outcome is not Outcome.MISMATCHED:
        return evidence
    return Evidence(
        evidence.source, Outcome.NO_ANSWER, at=evidence.at, asked_at=evidence.asked_at, attempt=evidence.attempt,
        detail="the content was corrected while this was asked",
    )  # fmt: skip


def new_alarms(before: Record, after: View) -> tuple[str, ...]:
    """What an operator should hear of that was not known `before`: told once, when it is written down."""
    if not after.alarms:
        return ()
    known = view_of(before.attempts, before.evidence).alarms
    return tuple(alarm for alarm in after.alarms if alarm not in known)


def begun(record: Record, source: Source, now: datetime, *, seconds: float, owner: str) -> Attempt:
    """The next attempt of a payout, which begins now and may last so long."""
    return Attempt(
        number=len(record.attempts) + 1, source=source, started_at=now, deadline_at=now + timedelta(seconds=seconds),
        content_hash=record.content_hash, owner=owner,
    )  # fmt: skip


def unsent(attempt: Attempt, now: datetime, why: str) -> Evidence:
    """Proof that nothing of this attempt has left."""
    return Evidence(attempt.source, Outcome.NOT_SENT, at=now, asked_at=now, attempt=attempt.number, detail=why)
