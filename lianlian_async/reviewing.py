"""People decide on payouts that the gateway holds for them: 4002, 4003 and 4004 (specification 2.1, 3.2, 8).

    review ──► approve: query says CHECK ──► journal: who, why, confirm begun ──► confirmPayment ──► query
                        asked after the word    looked at once more, on that very record
           └─► decline: journal: who, why ──► queried until the gateway closes it

Nothing else in this library confirms. Whether somebody may is `resolver.permits`' to say; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from .clock import SHANGHAI
from .engine import Engine
from .errors import CommandRefused
from .journal import Record, StaleVersion
from .moves import load, refusal_to_follow, require_running, said
from .payout import Payout
from .people import checked_name, checked_note
from .records import Ready
from .resolver import Evidence, Outcome, Proof, Source, State, View, row_of, view_of
from .resolver.permits import (
    CONFIRM_TRIES_MAX,
    approvals,
    confirm_until,
    refusal_to_approve,
    refusal_to_confirm,
    refusal_to_decline,
)

__all__ = ["Review", "Word", "approve", "decline", "review", "reviews"]

SIBLINGS_MAX: Final = 20
# Behind the note of whoever approves: what the approval rested on. It is one piece of evidence with it.
_SEEN: Final = " [siblings seen: "
# A list of held payouts asks about so many siblings at most, and says which it did not ask about.
ASKED_MAX: Final = 100
_NOTHING_DONE: Final = "nothing was confirmed and the approval was not recorded"


@frozen(kw_only=True)
class Word:
    """What a person said about a held payout, and when.

    `seen` names the siblings and their states as they were when somebody approved ("none" where there were none);
    None for a decline.
    """

    by: str
    at: datetime
    note: str
    approves: bool
    seen: str | None = None


@frozen(kw_only=True)
class Review:
    """A payout that waits for a person's decision.

    `code` is the gateway's 4002, 4003 or 4004 (None when only a query showed CHECK) and `why` says it in words.
    `confirm_until` is the last moment at which it can be approved here, None when the confirm_code was lost.
    `siblings` are the payouts of the same card and amount that were asked for or sent on that day or within 24 hours,
    or may still be, and `more_siblings` how many there are beside them: those that ended unpaid are left out first.
    They are asked about from `asked_at` on (None: nobody was); those named in `unanswered` are shown as they were known
    before, because no answer says how they stand now. `words` is what people have said, and `approvals` names those
    whose approval no confirm has used up. `refusal` is why it cannot be approved now, or None.
    """

    payout: Payout
    code: str | None
    why: str
    held_at: datetime
    confirm_until: datetime | None
    minutes_left: int
    tries_left: int
    siblings: tuple[Payout, ...]
    words: tuple[Word, ...]
    approvals: tuple[str, ...]
    refusal: str | None
    asked_at: datetime | None = None
    unanswered: tuple[str, ...] = ()
    more_siblings: int = 0


async def review(engine: Engine, record: Record, *, fresh: bool) -> Review:
    """What a person must see of `record`, which is under review; with `fresh` its siblings are queried first."""
    [found] = await _reviews(engine, [record], fresh=fresh)
    return found


async def reviews(engine: Engine, records: Sequence[Record], *, fresh: bool) -> list[Review]:
    """The same for many, those with the least time left first and those that cannot be decided here last.

    With `fresh`, each sibling is queried once, at the common pace, `ASKED_MAX` at most; those of the most urgent first.
    """
    far = datetime.max.replace(tzinfo=SHANGHAI)
    view = {record.no_order: view_of(record.attempts, record.evidence) for record in records}
    urgent = sorted(records, key=lambda r: (confirm_until(v := view[r.no_order]) or far, v.held_at or r.created_at))
    return [held for held in await _reviews(engine, urgent, fresh=fresh) if held.payout.state is State.REVIEW]


async def _reviews(engine: Engine, records: Sequence[Record], *, fresh: bool) -> list[Review]:
    asked_at = engine.clock.now() if fresh else None
    beside = [(record, *await _siblings(engine, record)) for record in records]
    newest: dict[str, Record] = {}
    if fresh:
        known = {twin.no_order: twin for _, twins, _ in beside for twin in twins if twin.attempts}
        asked = await asyncio.gather(*(_asked(engine, twin) for twin in list(known.values())[:ASKED_MAX]))
        newest = {record.no_order: record for record in asked}
    found = []
    for record, twins, more in beside:
        now = [newest.get(twin.no_order, twin) for twin in twins]
        silent = tuple(twin.no_order for twin in now if asked_at is not None and not _answered(twin, asked_at))
        held = newest.get(record.no_order, record)
        siblings = [await engine.payout(twin) for twin in now]
        seen = _review_of(held, await engine.payout(held), siblings, engine.clock.now())
        refusal = seen.refusal or await refusal_to_follow(engine, held)
        found.append(evolve(seen, asked_at=asked_at, unanswered=silent, more_siblings=more, refusal=refusal))
    return found


async def _asked(engine: Engine, twin: Record) -> Record:
    """What the gateway says of it now; one that is not asked about any more stays as it was known."""
    try:
        return await engine.ask(twin, urgent=True)
    except CommandRefused:
        return twin


def _answered(record: Record, since: datetime) -> bool:
    """Whether a query that was asked since then said anything of this payout; what never left needs none."""
    queries = (e for e in record.evidence if e.source is Source.QUERY and e.asked_at >= since)
    return not record.attempts or any(row_of(e).effect.proves is not Proof.NOTHING for e in queries)


def _review_of(record: Record, payout: Payout, siblings: Sequence[Payout], now: datetime) -> Review:
    view = view_of(record.attempts, record.evidence)
    until = confirm_until(view)
    held = next((row_of(e) for e in record.evidence if e.source is Source.PAY and _holds(e.outcome, e.ret_code)), None)
    return Review(
        payout=payout,
        code=held.key[:4] if held else None,
        why=held.effect.advice if held else payout.advice,
        held_at=view.held_at or record.created_at,
        confirm_until=until,
        minutes_left=0 if until is None else max(0, int((until - now).total_seconds() // 60)),
        tries_left=max(0, CONFIRM_TRIES_MAX - view.confirms),
        siblings=tuple(siblings),
        words=tuple(map(_word, view.words)),
        approvals=tuple(word.by or "" for word in approvals(view)),
        refusal=refusal_to_approve(view, now),
    )


def _word(said: Evidence) -> Word:
    approves, note, seen = said.outcome is Outcome.APPROVED, said.detail or "", None
    if approves and note.endswith("]") and _SEEN in note:
        note, _, seen = note[:-1].rpartition(_SEEN)
    return Word(by=said.by or "", at=said.at, note=note, approves=approves, seen=seen)


def _holds(outcome: Outcome, ret_code: str | None) -> bool:
    return outcome is Outcome.ANSWERED and ret_code in ("4002", "4003", "4004")


async def _siblings(engine: Engine, record: Record) -> tuple[list[Record], int]:
    """Payouts of the same card and amount since the beginning of the gateway's day, or for 24 hours if that is longer,
    and all that may still pay; and how many more there are. Those that have paid, or may, come first."""
    midnight = record.created_at.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    since = min(midnight, record.created_at - timedelta(hours=24))
    every = sorted(await engine.journal.twins(record, since), key=lambda twin: twin.dead)
    return every[:SIBLINGS_MAX], len(every[SIBLINGS_MAX:])


async def approve(engine: Engine, no_order: str, *, by: str, note: str, two_person: bool) -> Record:
    """Record the approval, and confirm once all who must have approved; see the client's `approve`."""
    by, note, since = checked_name(by), checked_note(note), engine.clock.now()
    record = await load(engine.journal, no_order)
    view = _approvable(engine, record, by)
    if (refusal := await refusal_to_follow(engine, record)) is not None:
        raise CommandRefused(f"{no_order} {refusal}")
    await require_running(engine)
    note = f"{note}{_SEEN}{await _seen(engine, record)}]"
    word = _Approval(engine, record, by, note, since, two_person)
    if two_person and not approvals(view):
        return await word.first()
    try:
        asked = await engine.ask(record, urgent=True)
        return await engine.confirm(asked, view.confirm_code or "", word.judge)
    except StaleVersion as error:
        raise CommandRefused(f"{no_order}: another process is at it just now; {_NOTHING_DONE}, try again") from error


@frozen
class _Approval:
    """One person's approval of a payout as they saw it, given at the moment `since`."""

    engine: Engine
    seen: Record
    by: str
    note: str
    since: datetime
    two_person: bool

    async def first(self) -> Record:
        """Write it down as the first of two; nothing is sent."""
        record = self.seen
        while True:
            try:
                return await self.engine.write(record, evidence=self._word(record))
            except StaleVersion:
                record = await load(self.engine.journal, record.no_order)
                self._require_unmoved(record, _approvable(self.engine, record, self.by))

    def judge(self, record: Record) -> Ready:
        """Whether this record may be confirmed now by this approval: the law's 3.3, and the two people's rule, are
        applied to the very record that the confirm is begun on, whatever came between."""
        view = _approvable(self.engine, record, self.by)
        self._require_unmoved(record, view)
        queries = [e for e in record.evidence if e.source is Source.QUERY]
        refusal = refusal_to_confirm(view, queries, since=self.since, two_person=self.two_person)
        if refusal is not None:
            raise CommandRefused(f"{record.no_order}: {refusal}; {_NOTHING_DONE}, try again")
        approval = evolve(self._word(record), attempt=len(record.attempts) + 1)
        return Ready(approval, confirm_until(view) or self.since)

    def _require_unmoved(self, record: Record, view: View) -> None:
        """A query's answer in between changes nothing of what was decided upon; a word or a confirm does."""
        before = view_of(self.seen.attempts, self.seen.evidence)
        if record.attempts != self.seen.attempts or view.words != before.words:
            raise CommandRefused(f"{record.no_order} moved meanwhile; {_NOTHING_DONE}: look at it again")

    def _word(self, record: Record) -> Evidence:
        return said(self.engine, record, Outcome.APPROVED, self.by, self.note)


def _approvable(engine: Engine, record: Record, by: str) -> View:
    view = view_of(record.attempts, record.evidence)
    refusal = refusal_to_approve(view, engine.clock.now(), by)
    if refusal is not None:
        raise CommandRefused(f"{record.no_order} cannot be approved: {refusal}")
    return view


async def _seen(engine: Engine, record: Record) -> str:
    twins, more = await _siblings(engine, record)
    seen = [f"{twin.no_order} {twin.state}" for twin in twins] + ([f"and {more} more"] if more else [])
    return ", ".join(seen) or "none"


async def decline(engine: Engine, no_order: str, *, by: str, note: str) -> Record:
    """Record that it is not meant; see the client's `decline`."""
    by, note = checked_name(by), checked_note(note)
    while True:
        record = await load(engine.journal, no_order)
        refusal = refusal_to_decline(view_of(record.attempts, record.evidence))
        if refusal is not None:
            raise CommandRefused(f"{no_order} cannot be declined: {refusal}")
        try:
            return await engine.write(record, evidence=said(engine, record, Outcome.DECLINED, by, note))
        except StaleVersion:
            continue
