"""What people and processes did to a payout, in sentences: for `status`, `due` and `explain`."""

from __future__ import annotations

from datetime import datetime

from ..clock import SHANGHAI
from ..journal import Record
from ..protocol.fields import safe_text
from ..resolver import Evidence, Outcome

__all__ = ["contents_of", "moment", "notes_of"]

_HASH_CHARACTERS = 12
_SAID = {Outcome.APPROVED: "approved it", Outcome.DECLINED: "declined it"}


def moment(at: datetime) -> str:
    """A moment on LianLian's clock, to the second."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def notes_of(record: Record, now: datetime) -> list[str]:
    """What should be known of a payout beside its state: other numbers, corrections, words, who is at it."""
    notes = [_said(word) for word in record.evidence if word.outcome in (*_SAID, Outcome.AMENDED, Outcome.REPLACED)]
    if record.replaced_by is not None:
        notes.append(f"replaced by {record.replaced_by}")
    if record.lease is not None and now < record.lease.until:
        notes.append(f"process {record.lease.owner} is at it, until {moment(record.lease.until)} at the latest")
    return notes


def _said(word: Evidence) -> str:
    when_and_who = f"{moment(word.at)} {safe_text(word.by or '')}"
    if word.outcome is Outcome.AMENDED:
        return f"{when_and_who} corrected its content"
    detail = safe_text(word.detail or "", limit=600)
    if word.outcome is Outcome.REPLACED:
        return f"{when_and_who} paid it again, {detail}"
    return f"{when_and_who} {_SAID[word.outcome]}: {detail}"


def contents_of(record: Record) -> list[str]:
    """The contents that this number has had, oldest first, by their hashes, and which attempt sent which; nothing
    where there never was but one."""
    if not record.former_hashes:
        return []
    words = [word for word in record.evidence if word.outcome is Outcome.AMENDED]
    whose = ["as it was asked for", *(f"corrected by {safe_text(w.by or '')}, {moment(w.at)}" for w in words)]
    lines = []
    for content_hash, origin in zip((*record.former_hashes, record.content_hash), whose, strict=False):
        sent = [f"{a.number}" for a in record.attempts if a.content_hash == content_hash]
        lines.append(f"{content_hash[:_HASH_CHARACTERS]} {origin}; sent by attempt {', '.join(sent) or 'none'}")
    return lines
