"""Notifications come in here: proven, bound, written down, and only then acknowledged (specification 3.4).

    body ─► size ─► parse ─► our partner ─► signature ─► shape ─┬─► bind ─► journal.save ─► accepted
            └──── `read`: pure, cheap, no look at the journal ───┘  └─ `take`: in a task that the client owns ─┘

What is forged ends in `read`, at the cost of one signature check; it changes nothing but a counter. What is genuine
goes by the table (docs/notifications.md): forward and older news, and repeats, are accepted; what contradicts the
record is written down and not accepted, and a genuine notification about a number that the journal does not know is
kept as an orphan, for the day on which that number is enlisted.

Rows of a statement come in here as well (`take_listing`): they are news that nobody asked for, like notifications.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import define, evolve, field

from .clock import Clock
from .codec import parse_object
from .config import Merchant
from .crypto.signing import verify_members
from .engine import Engine
from .errors import JournalUnavailable, MessageRejected, NotificationRefused, Refusal, Rejection
from .gateway import as_told
from .journal import Orphan, Record, StaleVersion
from .listing import Listing, is_listing, news_of_listing, of_said, orphan_of
from .moves import load
from .payout import Payout
from .protocol.answers import Notification
from .records import after_everything, known_bills
from .resolver import Evidence, Outcome, Source, State, decide, view_of
from .resolver.binding import bind_record, differences

__all__ = [
    "NOTIFICATION_BYTES_MAX",
    "NotificationCounts",
    "Receiver",
    "adopt_orphans",
    "take_listing",
    "with_orphans",
]

logger = logging.getLogger("lianlian_async.notifications")

NOTIFICATION_BYTES_MAX: Final = 65536
# A notification has a dozen members and far less text than the limit of reading allows. These two keep a body that is
# made to be slow to read from costing more than a few signature checks.
_ELEMENTS_MAX: Final = 1000
_TEXT_MAX: Final = 8192
# What LianLian notifies of (specification 3.4). Everything else is asked for, never told.
_RESULTS: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
# A flood of forgeries must not become a flood of log lines.
_LOG_EVERY: Final = timedelta(seconds=60)

_REFUSED: Final = {
    Rejection.UNREADABLE: Refusal.MALFORMED,
    Rejection.UNSIGNED: Refusal.UNSIGNED,
    Rejection.BAD_SIGNATURE: Refusal.BAD_SIGNATURE,
}


@define
class NotificationCounts:
    """How many notifications came to one client, and what became of them."""

    received: int = 0
    accepted: int = 0  # written down (or on record already), so that they may be acknowledged
    refused: Counter[Refusal] = field(factory=Counter)


class Receiver:
    """Takes LianLian's notifications in for one client, and counts them."""

    def __init__(self, merchant: Merchant, clock: Clock) -> None:
        self.counts = NotificationCounts()
        self._merchant = merchant
        self._clock = clock
        self._logged: dict[Refusal, datetime] = {}

    def read(self, body: bytes) -> Notification:
        """The notification in `body`, proven to be LianLian's and ours. Raises NotificationRefused."""
        self.counts.received += 1
        try:
            return _proven(body, self._merchant)
        except NotificationRefused as refused:
            self.refuse(refused.reason)
            raise

    async def take(self, engine: Engine, told: Notification, drive: Callable[[Record], None]) -> Payout:
        """Write `told` down, and return the payout once that is durable; `drive` sees to what must happen next.

        Raises NotificationRefused for an unknown order and for a contradiction, and JournalUnavailable.
        """
        try:
            record = await _take(engine, told, drive)
        except NotificationRefused as refused:
            self.refuse(refused.reason)
            raise
        except JournalUnavailable:
            self.refuse(Refusal.JOURNAL_DOWN)
            raise
        self.counts.accepted += 1
        return engine.snapshot(record)

    def refuse_unread(self, reason: Refusal) -> None:
        """Count a notification of which the body never came in whole."""
        self.counts.received += 1
        self.refuse(reason)

    def refuse(self, reason: Refusal) -> None:
        """Count a refusal, and say so at most once a minute for each reason."""
        self.counts.refused[reason] += 1
        now, last = self._clock.now(), self._logged.get(reason)
        # A clock that was set back must not silence the log until it has caught up.
        if last is None or not timedelta(0) <= now - last < _LOG_EVERY:
            self._logged[reason] = now
            logger.warning("notification refused (%s); %d so far", reason, self.counts.refused[reason])


def _proven(body: bytes, merchant: Merchant) -> Notification:
    """The notification, after every check that needs no journal; the cheapest come first."""
    if len(body) > NOTIFICATION_BYTES_MAX:
        raise NotificationRefused(Refusal.OVERSIZE, f"the body is longer than {NOTIFICATION_BYTES_MAX} bytes")
    try:
        _require_small(sum(body.count(mark) for mark in (b",", b"[", b"{")), _ELEMENTS_MAX)
        members = parse_object(body)
        if members.get("oid_partner") != merchant.oid_partner:
            raise NotificationRefused(Refusal.OTHER_MERCHANT, "oid_partner is not this merchant's")
        _require_small(sum(len(value or "") for value in members.values()), _TEXT_MAX)
        verify_members(members, merchant.keys)
        told = Notification.read(members)
    except MessageRejected as rejected:
        raise NotificationRefused(_REFUSED[rejected.reason], rejected.detail) from None
    if told.result_pay not in _RESULTS:
        raise NotificationRefused(Refusal.UNKNOWN_RESULT, "result_pay is none of SUCCESS, FAILURE and CANCEL")
    return told


def _require_small(size: int, maximum: int) -> None:
    if size > maximum:
        raise MessageRejected(Rejection.UNREADABLE, "it is far larger than a notification is")


async def _take(engine: Engine, told: Notification, drive: Callable[[Record], None]) -> Record:
    while True:
        record = await engine.journal.load(told.no_order) or await _orphaned(engine, told)
        if record.oid_partner != told.oid_partner:
            # Several merchants share this journal, and the number is another one's.
            raise NotificationRefused(Refusal.OTHER_MERCHANT, "the number belongs to another merchant")
        now = engine.clock.now()
        news = _news(told, record, at=now, asked_at=now)
        known = _place_of(news, record)
        if known is not None:
            # The same words get the same answer as when they were new, whatever has come since.
            if view_of(record.attempts, record.evidence[: known + 1]).state is State.CONFLICT:
                raise _contradiction(told)
            return record
        try:
            record = await engine.note(record, news)
        except StaleVersion:
            continue  # An answer or a query's result came in between: what is told is bound to that, too.
        drive(record)
        if record.state is State.CONFLICT:
            logger.error("%s: a notification contradicts what is known (%s)", record.no_order, _summary(news))
            raise _contradiction(told)
        return record


def _contradiction(told: Notification) -> NotificationRefused:
    return NotificationRefused(
        Refusal.CONTRADICTION, f"{told.no_order}: at odds with what is known; both are on record"
    )


def _summary(news: Evidence) -> str:
    return news.detail if news.detail and news.outcome is Outcome.MISMATCHED else f"result_pay {news.result_pay}"


async def take_listing(engine: Engine, listing: Listing, drive: Callable[[Record], None]) -> Record | None:
    """Write down what a statement says of a payout, once, and return the payout as it stands then.

    None for a number that is not this merchant's: it is kept as an orphan. Raises JournalUnavailable.
    """
    while True:
        record = await engine.journal.load(listing.no_order)
        if record is None or record.oid_partner != listing.oid_partner:
            await engine.journal.note_orphan(orphan_of(listing, engine.clock))
            return None
        news = news_of_listing(listing, record, engine.clock)
        if news is None:
            return record
        try:
            record = await engine.note(record, news)
        except StaleVersion:
            continue
        drive(record)
        return record


# ---------------------------------------------------------------------- from words to evidence


def _news(told: Notification, record: Record, *, at: datetime, asked_at: datetime) -> Evidence:
    """What `told` is to `record`: bound to it, or at odds with it."""
    bills = known_bills(record)
    outcome = bind_record(told, record.content, bills)
    agrees = outcome is Outcome.ANSWERED
    detail = _reason(told, record.content) if agrees else _disagreement(told, record.content, bills)
    return Evidence(
        source=Source.NOTIFY, outcome=outcome, at=at, asked_at=asked_at, result_pay=told.result_pay,
        oid_paybill=told.oid_paybill, settle_date=told.settle_date, detail=detail,
    )  # fmt: skip


def _reason(told: Notification, content: Mapping[str, str]) -> str | None:
    """Why the bank failed it: what stands in info_order beside, or behind, the text that we gave."""
    ours, text = content.get("info_order"), told.info_order
    if not text or text == ours:
        return None
    return as_told(text.removeprefix(f"{ours}_") if ours else text, content)


def _disagreement(told: Notification, content: Mapping[str, str], bills: frozenset[str]) -> str:
    """What is told otherwise; a text is only named, because it may say anything."""
    names = differences(told, content, bills)
    return f"differs: {', '.join(name if name == 'info_order' else f'{name} {getattr(told, name)}' for name in names)}"


def _place_of(news: Evidence, record: Record) -> int | None:
    """Where `record` holds this very news already, if it does."""
    words = _words(news)
    return next((place for place, known in enumerate(record.evidence) if _words(known) == words), None)


def _words(news: Evidence) -> tuple[object, ...]:
    # The bank's reason is a text for people: told in other words, it is still the same news.
    detail = None if news.outcome is Outcome.ANSWERED else news.detail
    return news.source, news.outcome, news.result_pay, news.oid_paybill, news.settle_date, detail


# ---------------------------------------------------------------------- orphans


async def _orphaned(engine: Engine, told: Notification) -> Record:
    """Keep `told` for the day on which its number is enlisted. Raises NotificationRefused, unless that is today."""
    orphan = Orphan(told.oid_partner, told.no_order, engine.clock.now(), _said(told))
    is_new = await engine.journal.note_orphan(orphan)
    record = await engine.journal.load(told.no_order)
    if record is not None:
        return record
    if is_new:
        logger.error(
            "%s: a genuine notification about a number that this journal does not know. Is the journal a restored "
            "backup, or does somebody else use this merchant's numbers?", told.no_order,
        )  # fmt: skip
    raise NotificationRefused(Refusal.UNKNOWN_ORDER, f"{told.no_order} is not in the journal")


def _said(told: Notification) -> dict[str, str]:
    members = {
        "oid_partner": told.oid_partner,
        "no_order": told.no_order,
        "dt_order": told.dt_order,
        "money_order": str(told.money_order),
        "oid_paybill": told.oid_paybill,
        "result_pay": told.result_pay,
        "settle_date": told.settle_date,
        "info_order": told.info_order,
    }
    return {name: value for name, value in members.items() if value}


async def with_orphans(engine: Engine, intents: Sequence[Record]) -> list[Record]:
    """`intents`, not yet written down, with all that notifications have told of their numbers.

    A journal that was lost, or restored from a backup, has forgotten what it sent. What came since then must be part
    of the payout before anything is sent for it, and in the same transaction.
    """
    told = await _told_before(engine, intents)
    return [_grown(intent, told.get(intent.no_order, ()), engine.clock) for intent in intents]


async def adopt_orphans(engine: Engine, records: Sequence[Record]) -> list[Record]:
    """`records`, as they stand in the journal, with what came between the look at the orphans and their writing."""
    told = await _told_before(engine, records)
    return [await _adopt(engine, record, told.get(record.no_order, ())) for record in records]


async def _told_before(engine: Engine, records: Sequence[Record]) -> dict[str, list[Orphan]]:
    told: dict[str, list[Orphan]] = {}
    partners = {record.oid_partner for record in records}
    for partner in partners:
        numbers = [record.no_order for record in records if record.oid_partner == partner]
        for orphan in await engine.journal.orphans(partner, numbers):
            told.setdefault(orphan.no_order, []).append(orphan)
    return {number: sorted(orphans, key=lambda o: (o.at, sorted(o.said.items()))) for number, orphans in told.items()}


def _grown(intent: Record, orphans: Sequence[Orphan], clock: Clock) -> Record:
    record = intent
    for orphan in orphans:
        news = _news_of(orphan, record, clock)
        if news is not None:
            record = evolve(record, evidence=(*record.evidence, after_everything(news, record)))
    if record is intent:
        return intent
    view = view_of(record.attempts, record.evidence)
    decision = decide(view, record.created_at, clock.now())
    return evolve(record, state=view.state, step=decision.step, due_at=decision.due_at)


async def _adopt(engine: Engine, record: Record, orphans: Sequence[Orphan]) -> Record:
    for orphan in orphans:
        while (news := _news_of(orphan, record, engine.clock)) is not None:
            try:
                record = await engine.note(record, news)
            except StaleVersion:
                record = await load(engine.journal, record.no_order)
    return record


def _news_of(orphan: Orphan, record: Record, clock: Clock) -> Evidence | None:
    """What an orphan is to a payout; None where the payout holds it already."""
    if is_listing(orphan.said):
        return news_of_listing(of_said(orphan.oid_partner, orphan.said), record, clock)
    news = _news(Notification.read(orphan.said), record, at=clock.now(), asked_at=orphan.at)
    return news if _place_of(news, record) is None else None
