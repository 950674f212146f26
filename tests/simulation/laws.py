"""What must hold after every event, and at the end: I1 to I10.

Judged from the gateway's ledger and from what was durable at that moment; the library's own view of a payout is
only ever the accused, never a witness. The tables here are written down once more on purpose.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from lianlian_async import Payout, State, Step
from lianlian_async.journal import Change, Record
from lianlian_async.listing import Listing
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source
from lianlian_async.testing.simulator import Endpoint, Entry, Received

if TYPE_CHECKING:
    from .world import World

DEAD: Final = frozenset({"FAILURE", "CANCEL", "CLOSED"})
# After these bound answers an attempt is over (docs/rules.md, both kinds of refusal).
REFUSALS: Final = frozenset(
    ("1001", "1004", "1005", "1008", "3001", "4005", "4012", "4013", "4014", "4015", "9104", "9910", "9911", "9912",
     "9913")
)  # fmt: skip
GRACE: Final = timedelta(seconds=300)
_DAY: Final = timedelta(days=1)
# How long the query rate is watched, and how many more than that may come together.
_RATE_WITHIN_S: Final = 30.0
_AT_ONCE: Final = 10
_DEAD_STATES: Final = frozenset({State.FAILED, State.CLOSED, State.REFUNDED})
_LEVEL: Final = {
    State.UNSENT: 0, State.UNKNOWN: 0, State.REFUSED: 0, State.IN_PROGRESS: 1, State.REVIEW: 1, State.PAID: 2,
    State.FAILED: 2, State.CLOSED: 2, State.REFUNDED: 3, State.CONFLICT: 4,
}  # fmt: skip
# The ledger's last word that makes a reported state true. None: it knows no such number.
TRUE: Final = {
    State.PAID: {"paid"},
    State.REFUNDED: {"refunded"},
    State.FAILED: {"failed"},
    State.CLOSED: {"closed"},
    State.REVIEW: {"review"},
    State.IN_PROGRESS: {"booked", "paid", "failed", "refunded"},
    State.REFUSED: {None, "failed, no bill"},
    State.UNSENT: {None},
}
# What the ledger must say at the very moment at which an end is first reported.
_ENDS: Final = {
    State.PAID: {"paid", "refunded"},
    State.FAILED: {"failed"},
    State.CLOSED: {"closed"},
    State.REFUNDED: {"refunded"},
}
_SOURCES: Final = {Endpoint.PAY: Source.PAY, Endpoint.CONFIRM: Source.CONFIRM}


class Broken(AssertionError):
    """A law was broken."""


class Laws:
    """The judge of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.attempts: defaultdict[tuple[str, Source], list[Attempt]] = defaultdict(list)
        self.sends: Counter[tuple[str, Source]] = Counter()
        self.approved: set[str] = set()
        self.proven_dead: set[str] = set()
        self.copied: set[str] = set()
        self.level: dict[str, int] = {}
        self.acknowledged: defaultdict[tuple[str, Source], set[str]] = defaultdict(set)
        self.excused: set[str] = set()  # numbers about which a restored backup has forgotten something
        self.clocks_wrong = world.plan.has("clock")
        # A machine that stood still, or whose journal is slow, takes turns late that were given out in time.
        self._keeps_time = not any(world.plan.has(kind) for kind in ("clock", "pause", "slow journal", "restore"))
        self._last_word: dict[str, str] = {}
        self.left: defaultdict[str, set[int]] = defaultdict(set)
        self.refused: defaultdict[str, set[int]] = defaultdict(set)  # attempts that the gateway has truly turned away
        self._left_s: dict[tuple[str, int], float] = {}
        self._begun_s: dict[tuple[str, int], float] = {}
        self._queries: deque[float] = deque()

    def broken(self, law: str, what: str, no_order: str | None = None) -> Broken:
        self.world.note("BROKEN", law, what, no_order)
        self.world.failed = Broken(f"{law}: {what}" + (f" [{no_order}]" if no_order else ""))
        return self.world.failed

    # --- the journal

    def saved(self, old: Record | None, new: Record, change: Change | None) -> None:
        """Something became durable."""
        number = new.no_order
        if old is None:
            self._enlisted(new)
        level = _LEVEL[new.state]
        if level < self.level.get(number, 0) and number not in self.excused:
            raise self.broken("I4", f"{old.state if old else None} became {new.state}", number)
        self.level[number] = level
        ended = old is not None and old.state is not new.state and new.state in _ENDS
        if ended and self._last_word.get(number) not in _ENDS[new.state]:
            raise self.broken("I2", f"became {new.state}, the ledger says {self._last_word.get(number)}", number)
        for attempt in change.attempts if change else new.attempts:
            self._began(new, attempt)
        for news in change.evidence if change else new.evidence:
            self._check_said(number, news)
            if news.outcome is Outcome.APPROVED:
                self.approved.add(number)
            elif news.source is Source.QUERY and news.outcome is Outcome.ANSWERED and _ends_it(news):
                self.proven_dead.add(number)

    def _enlisted(self, new: Record) -> None:
        """A payout is new in the journal."""
        if datetime.strptime(new.content["dt_order"] + "+0800", "%Y%m%d%H%M%S%z") != new.created_at.replace(
            microsecond=0
        ):
            raise self.broken("I7", "dt_order is not the time in Shanghai", new.no_order)
        intent, generation = self.world.intents[new.no_order]
        if generation or intent.duplicate_ok:
            return
        for other in self.world.store.records.values():
            alike = all(other.content[name] == new.content[name] for name in ("card_no", "money_order"))
            young = timedelta(0) <= new.created_at - other.created_at < _DAY
            if alike and young and other.no_order not in intent.numbers and other.state not in _DEAD_STATES:
                raise self.broken(
                    "I1", "the same card and amount under another key, and nobody was asked", new.no_order
                )

    def _began(self, record: Record, attempt: Attempt) -> None:
        number = record.no_order
        if attempt.content_hash != record.content_hash:
            raise self.broken("I7", "an attempt was begun with other content than the payout's", number)
        if attempt.source is Source.PAY and number not in self.excused:
            fault = self._too_soon(record) or (
                None if self.clocks_wrong else resend_fault(record, attempt, self.left[number], self.refused[number])
            )
            if fault:
                raise self.broken("I9", fault, number)
            self._begun_s[number, attempt.number] = self.world.loop.seconds
        self.attempts[number, attempt.source].append(attempt)

    def _check_said(self, number: str, news: Evidence) -> None:
        """What counts as an answer of the gateway's must have come from it, signed, about this number."""
        if news.outcome is not Outcome.ANSWERED or news.source not in (Source.PAY, Source.CONFIRM, Source.QUERY):
            return
        said, code = self.world.gatehouse.said, news.ret_code or ""
        # Only "no record" is taken without a number, of whatever order it was said: it leads to the same number again.
        if (number, code) not in said and not (code == "8901" and news.source is Source.QUERY and ("", code) in said):
            raise self.broken("T1", f"{news.ret_code} was believed, and the gateway has not signed it", number)

    def _too_soon(self, record: Record) -> str | None:
        """Whatever the clocks of the machines say: in true time an unanswered attempt is given its grace."""
        number, now = record.no_order, self.world.loop.seconds
        if any(e.source is Source.QUERY and e.result_pay == "FAILURE" for e in record.evidence):
            return None
        for attempt in sorted(self.left[number] - (_refused(record) & self.refused[number])):
            begun = self._begun_s.get((number, attempt))
            if begun is not None and now - begun < GRACE.total_seconds():
                return f"sent again {now - begun:.0f} true seconds after an attempt that nobody had answered (R2)"
        return None

    def restored(self, before: dict[str, Record], after: dict[str, Record]) -> None:
        """A backup is in force: what it has forgotten is not held against anybody."""
        for number, record in before.items():
            if number not in after or after[number].version != record.version:
                self.excused.add(number)
                self.level.pop(number, None)

    def tail_lost(self) -> None:
        """The journal has forgotten what it had said was durable: every request must still have its attempt."""
        for (number, source), sends in sorted(self.sends.items()):
            record = self.world.store.records.get(number)
            begun = [a for a in record.attempts if a.source is source] if record is not None else []
            if sends > len(begun):
                raise self.broken("I7", f"{sends} sends, and the journal still holds {len(begun)} attempts", number)

    # --- the gateway

    def received(self, request: Received, letter: Any) -> None:
        """A request has arrived."""
        source, number = _SOURCES.get(request.endpoint), request.no_order
        if source is None or number is None or request.content is None:
            return
        if number not in self.world.intents:
            raise self.broken("I7", "a number that nobody asked for", number)
        begun = self.attempts[number, source]
        if not letter.copy:
            self.sends[number, source] += 1
        if self.sends[number, source] > len(begun):
            raise self.broken("I7", f"{self.sends[number, source]} sends, {len(begun)} attempts on record", number)
        left = self.world.moment(letter.left_at)
        if request.ret_code in REFUSALS:
            # Its clock may be wrong, so the attempt is found by its turn: the newest that had begun when this left.
            self.refused[number] |= {a.number for a in begun if self._left_s.get((number, a.number)) == letter.left_at}
        if not self.clocks_wrong:
            mine = [a for a in begun if a.started_at <= left <= a.deadline_at]
            if not mine:
                raise self.broken("I7/I9", "sent outside the time of every attempt on record", number)
            if source is Source.PAY and request.content_hash not in {a.content_hash for a in mine}:
                raise self.broken("I7", "other content than that of the attempt on record", number)
            self._check_breaker(letter, left, number)
        if source is Source.CONFIRM and number not in self.approved:
            raise self.broken("I8", "confirmed without a recorded approval", number)
        intent, generation = self.world.intents[number]
        if generation and intent.numbers[generation - 1] not in self.proven_dead:
            raise self.broken("I3", "a new number was sent before a query had proven the old one dead", number)

    def _check_breaker(self, letter: Any, left: Any, number: str) -> None:
        tripped = next(iter(self.world.store._tripped.values()), None)
        if tripped is not None and not letter.copy and left - tripped.at > timedelta(seconds=self.world.timeout_s):
            raise self.broken("I9", "sent although new money was paused", number)

    def leaves(self, number: str, source: Source) -> None:
        """The first byte of a request has left: whatever its sender thinks of it, that attempt was sent."""
        begun = self.attempts[number, source]
        if begun:
            self._left_s[number, begun[-1].number] = self.world.loop.seconds
        if begun and source is Source.PAY:
            self.left[number].add(begun[-1].number)

    def asks(self) -> None:
        """A query leaves: all processes together keep to the rate (3.4), with room for what a slow start has saved up."""
        now, rate = self.world.loop.seconds, self.world.queries_per_s
        self._queries.append(now)
        while self._queries[0] < now - _RATE_WITHIN_S:
            self._queries.popleft()
        if len(self._queries) > rate * _RATE_WITHIN_S + _AT_ONCE and self._keeps_time:
            raise self.broken(
                "I9", f"{len(self._queries)} queries within {_RATE_WITHIN_S:.0f} s, {rate:g} a second allowed"
            )

    def booked(self, entry: Entry, copy: bool) -> None:
        """The ledger has a new line, which a copy of a request that had left before may have brought."""
        number = entry.no_order
        if copy:
            self.copied.add(number)
        self._last_word[number] = entry.event if entry.oid_paybill or entry.event != "failed" else "failed, no bill"
        if entry.event not in ("booked", "review", "paid"):
            return
        if number not in self.world.intents:
            raise self.broken("I1", "money under a number that nobody asked for", number)
        intent, _ = self.world.intents[number]
        book = self.world.gatehouse.engine.book
        live = [o for n in intent.numbers for o in book.of(n) if o.result_pay not in DEAD]
        if len(live) > 1:
            raise self.broken("I1", f"{intent.key} lives {len(live)} times at the gateway", number)

    def acknowledge(self, no_order: str, result_pay: str) -> None:
        """The gateway was told that a notification is on record."""
        self._keep(no_order, Source.NOTIFY, result_pay)

    def listed(self, listing: Listing) -> None:
        """A row of a statement counts as taken in."""
        self._keep(listing.no_order, Source.STATEMENT, "CANCEL" if listing.refund else "SUCCESS")

    def _keep(self, no_order: str, source: Source, word: str) -> None:
        if not self._has_told(no_order, source, word):
            raise self.broken("I5", f"{word} ({source}) was acknowledged and is not on record", no_order)
        self.acknowledged[no_order, source].add(word)

    def _has_told(self, no_order: str, source: Source, word: str) -> bool:
        record = self.world.store.records.get(no_order)
        told = record.evidence if record is not None else ()
        return any(e.source is source and e.result_pay == word for e in told)

    # --- the end

    def at_the_end(self, payouts: list[Payout], *, watched: bool) -> None:
        """I2, I5, I6 and I10, when everything has had its time; `watched` says that workers ran."""
        known = {payout.no_order: payout for payout in payouts}
        for payout in payouts:
            word = self._last_word.get(payout.no_order)
            if not payout.at_rest:
                raise self.broken("I2", f"{payout.state} {payout.step} does not rest: {payout.advice}", payout.no_order)
            if payout.state is State.CONFLICT and not self._may_conflict(payout.no_order):
                raise self.broken("I2", "a CONFLICT that nobody has caused", payout.no_order)
            if payout.state in TRUE and not _is_true(payout, word, watched=watched):
                raise self.broken("I2", f"reported {payout.state}, the ledger says {word}", payout.no_order)
        for intent in self.world.business.intents:
            if intent.wanted and not any(number in known for number in intent.numbers):
                raise self.broken("I2", f"{intent.key} was accepted and is not in the journal")
        for (number, source), told in self.acknowledged.items():
            for word in sorted(told) if number not in self.excused else ():
                if not self._has_told(number, source, word):
                    raise self.broken("I5", f"{word} ({source}) was acknowledged and has been lost", number)
        self._check_sums(known)
        if self.world.leaks:
            raise self.broken("I10", f"a log line or error shows {self.world.leaks[0]}")

    def _may_conflict(self, number: str) -> bool:
        """A restored backup asks for the same number with another time; content was corrected, and the gateway has what
        it was before; strangers' answers may pile up."""
        if number in self.excused or self.world.intents[number][0].lied_to:
            return True
        record = self.world.store.records[number]
        if (
            number in self.copied
            and self.refused[number]
            and record.former_hashes
            and any(
                order.content.get("info_order") != record.content.get("info_order")
                for order in self.world.gatehouse.engine.book.of(number)
            )
        ):
            # The copy of what was refused came late and was booked, after all had said that there was nothing.
            return True
        told = record.evidence
        return sum(e.outcome is Outcome.FOREIGN and e.source is Source.QUERY for e in told) >= 3

    def _check_sums(self, known: dict[str, Payout]) -> None:
        house = self.world.gatehouse
        orders = list(house.engine.book)
        kept = sum((o.amount for o in orders if o.result_pay == "SUCCESS"), Decimal(0))
        out = house.opening + house.topped_up - house.operator.balance
        # What was booked last may still be at the bank when all is judged: it has left the account and reached nobody.
        under_way = sum((o.amount for o in orders if o.debited and not o.settled), Decimal(0))
        if kept + under_way != out:
            raise self.broken("I6", f"{out} left the account; {kept} reached payees, {under_way} may yet")
        believed = [p for p in known.values() if p.state is State.PAID and self._last_word[p.no_order] == "paid"]
        told = sum((p.money_order for p in believed), Decimal(0))
        unsure = Decimal(0)
        for order in orders:
            payout = known.get(order.no_order)
            if order.result_pay != "SUCCESS":
                continue
            if payout is None and order.no_order not in self.excused:
                raise self.broken("I6", "paid, and the journal does not know the number", order.no_order)
            if payout is None or payout.state is not State.PAID:
                unsure += order.amount
        if kept != told + unsure:
            raise self.broken("I6", f"{kept} was paid; reported as paid {told}, unknown and paid {unsure}")


def _is_true(payout: Payout, word: str | None, *, watched: bool) -> bool:
    if payout.state is State.IN_PROGRESS and payout.step is Step.DECIDE:
        # "Denied by the gateway", or failed without a bill: the contradiction is the gateway's own, and it is told.
        return True
    if payout.state is State.PAID and word == "refunded":
        # Only workers watch paid payouts for a later refund; elsewhere the notification has to tell.
        return not watched
    return word in TRUE[payout.state]


def _ends_it(news: Evidence) -> bool:
    if news.result_pay == "FAILURE":
        return bool(news.oid_paybill)
    return news.result_pay in ("CLOSED", "CANCEL")


def _no_record(e: Evidence) -> bool:
    if e.source is not Source.QUERY or e.outcome not in (Outcome.ANSWERED,):
        return False
    return e.ret_code == "8901" or (e.result_pay == "FAILURE" and not e.oid_paybill)


def _refused(record: Record) -> set[int]:
    """Attempts that a bound answer has turned away, as the record has it."""
    answered = (e for e in record.evidence if e.source is Source.PAY and e.outcome is Outcome.ANSWERED)
    return {e.attempt for e in answered if e.attempt is not None and e.ret_code in REFUSALS}


def resend_fault(record: Record, attempt: Attempt, left: Collection[int], refused: Collection[int]) -> str | None:
    """Why this attempt to pay must not have begun (rules R1 to R3), or None.

    Bytes of the attempts that `left` are out, and the gateway has truly turned away those that were `refused`.
    """
    earlier = [a for a in record.attempts if a.source is Source.PAY and a is not attempt and a.number < attempt.number]
    released = [e.at for e in record.evidence if e.outcome in (Outcome.RESUMED, Outcome.AMENDED)]
    lately = any(attempt.started_at - at <= _DAY for at in released)
    if attempt.started_at - record.created_at > _DAY and not lately:
        return "sent by itself more than 24 hours after it was asked for (R3)"
    if not earlier:
        return None
    about: defaultdict[int, list[Evidence]] = defaultdict(list)
    for e in record.evidence:
        if e.source is Source.PAY and e.attempt is not None:
            about[e.attempt].append(e)
    unsent = {n for n, told in about.items() if all(e.outcome in (Outcome.NOT_SENT, Outcome.UNTRUSTED) for e in told)}
    sent = [a for a in earlier if a.number not in unsent or a.number in left]
    if len(sent) >= 5 and not lately:
        return "sent by itself for the sixth time (R3)"
    last = earlier[-1]
    absent = [e for e in record.evidence if _no_record(e) and last.started_at <= e.asked_at <= attempt.started_at]
    if not absent:
        return "no query said 'no record' since the attempt before (R1, R2)"
    over = _refused(record) & set(refused)
    still_open = [a for a in sent if a.number not in over]
    if not still_open or (len(sent) == 1 and any(e.result_pay == "FAILURE" for e in absent)):
        return None
    if len({e.asked_at for e in absent}) < 3:
        return f"only {len(absent)} answers of 'no record' while an attempt was unanswered (R2)"
    if attempt.started_at < max(a.deadline_at for a in still_open) + GRACE:
        return "inside the grace of an unanswered attempt (R2)"
    return None


CANARY_CARD: Final = re.compile(r"6228480222[0-9]{9}")
CANARY_NAME: Final = "金丝雀"


def leak_in(text: str) -> str | None:
    """What this text shows that nobody may see, or None."""
    if CANARY_CARD.search(text):
        return "a full card number"
    return "a name" if CANARY_NAME in text else None
