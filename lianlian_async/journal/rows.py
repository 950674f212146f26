"""Records, amendments, attempts and evidence as rows of a table and back; and the chain that seals them.

Moments are whole microseconds since 1970 UTC, money is text with exactly two places, and what a piece of
news said is one JSON object in which an absent member means None (so that None and "" stay apart).

    chain = H(... H(H(intent) + attempt) + evidence ...)      H = SHA-256

Leases and replacements stand beside a payout, outside its chain: they come and go, or are written by others.

The chain finds rows that were changed, added or removed behind the library's back. It is not a signature:
who can write the file and knows this module can forge it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, fields, frozen

from ..resolver import Attempt, Evidence, Outcome, Source, State, Step
from . import Amendment, Breaker, Change, Lease, Record, Tally

__all__ = [
    "Entries",
    "Name",
    "Row",
    "Stored",
    "amendment_row",
    "attempt_row",
    "check_amendment",
    "check_intent",
    "check_text",
    "decode_record",
    "encode_breaker",
    "encode_entries",
    "evidence_row",
    "fen_of",
    "from_fen",
    "from_us",
    "in_utc",
    "intent_row",
    "last_of",
    "link",
    "newest_of",
    "own_change",
    "own_lease",
    "own_record",
    "payee_as_written",
    "payee_of",
    "present_among",
    "read_attempt",
    "read_evidence",
    "sealed",
    "settled_by",
    "summary_of",
    "tally_of",
    "to_us",
]

Row = tuple[Any, ...]
Name = str | tuple[str, str]  # what a payout is found by: its number, or merchant and key
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MONEY: Final = re.compile(r"[0-9]{1,16}\.[0-9]{2}")
_COLUMNS: Final = ("source", "outcome", "at", "asked_at", "attempt")
# Whatever else `Evidence` has or will have are optional texts: a new one needs no new column.
_SAID: Final = tuple(a.name for a in fields(Evidence) if a.name not in _COLUMNS)


def to_us(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC; raises ValueError for a moment without a time zone."""
    if moment.utcoffset() is None:
        raise ValueError("a moment in the journal must be aware")
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The moment as aware UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def fen_of(content: Mapping[str, str]) -> int:
    """`money_order` of an order's content in fen; raises ValueError unless it has exactly two places."""
    money = content.get("money_order", "")
    if not _MONEY.fullmatch(money):
        raise ValueError("the content of a payout must have a money_order with exactly two places")
    return int(money.replace(".", ""))


def payee_of(oid_partner: str, content: Mapping[str, str]) -> bytes:
    """SHA-256 over merchant, card and amount of an order's content: what twins have in common.

    The account of a company is written with dashes or without (specification 3.1): it is the same one.
    """
    return payee_as_written(oid_partner, {**content, "card_no": content.get("card_no", "").replace("-", "")})


def payee_as_written(oid_partner: str, content: Mapping[str, str]) -> bytes:
    """As `payee_of`, dashes and all: what the first schema of the journal has."""
    parts = (oid_partner, content.get("card_no", ""), content.get("money_order", ""))
    # The lengths keep apart what lies on either side of a border; a lone surrogate is no reason to fail.
    return sha256(b"".join(_prefixed(part.encode("utf-8", "surrogatepass")) for part in parts)).digest()


def _prefixed(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


def from_fen(fen: int) -> Decimal:
    """Fen as yuan with two places, exact whatever the caller's decimal context is."""
    return Decimal(f"{fen // 100}.{fen % 100:02d}")


def tally_of(sums: Iterable[tuple[str, int, int]]) -> dict[State, Tally]:
    """(state, count, fen) as the journal's tally."""
    return {State(state): Tally(count, from_fen(fen)) for state, count, fen in sums}


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; raises ValueError for one without a time zone."""
    return moment if moment.tzinfo is UTC else from_us(to_us(moment))


def check_text(*texts: str | None) -> None:
    """Raises UnicodeEncodeError (a ValueError) for a text that is no Unicode text (a lone surrogate)."""
    for text in texts:
        if text is not None:
            text.encode()


def _own_attempt(attempt: Attempt) -> Attempt:
    check_text(attempt.content_hash, attempt.owner)
    if attempt.started_at.tzinfo is UTC and attempt.deadline_at.tzinfo is UTC:
        return attempt
    return evolve(attempt, started_at=in_utc(attempt.started_at), deadline_at=in_utc(attempt.deadline_at))


def _own_evidence(news: Evidence) -> Evidence:
    if news.at.tzinfo is UTC and news.asked_at.tzinfo is UTC:
        return news
    return evolve(news, at=in_utc(news.at), asked_at=in_utc(news.asked_at))


def _own_amendment(amendment: Amendment) -> Amendment:
    fen_of(amendment.content)
    check_text(amendment.content_hash, amendment.by)
    return evolve(amendment, content=MappingProxyType(dict(amendment.content)), at=in_utc(amendment.at))


def own_lease(lease: Lease) -> Lease:
    """A copy with its moments in UTC; raises ValueError for a lease that would never be in force."""
    check_text(lease.owner)
    own = Lease(lease.owner, in_utc(lease.since), in_utc(lease.until))
    if own.until <= own.since:
        raise ValueError("a lease ends after it begins")
    return own


def own_change(change: Change) -> Change:
    """A copy with all moments in UTC; raises ValueError for what a journal cannot hold."""
    check_text(change.release)
    if change.lease is not None and change.release is not None:
        raise ValueError("a change takes a lease or ends one, not both")
    return evolve(
        change,
        due_at=None if change.due_at is None else in_utc(change.due_at),
        attempts=tuple(map(_own_attempt, change.attempts)),
        evidence=tuple(map(_own_evidence, change.evidence)),
        amendment=None if change.amendment is None else _own_amendment(change.amendment),
        lease=None if change.lease is None else own_lease(change.lease),
    )


def own_record(record: Record) -> Record:
    """A copy that its writer cannot change, all moments in UTC; raises ValueError for what a journal cannot hold."""
    fen_of(record.content)
    check_text(record.no_order, record.key, record.oid_partner, record.content_hash)
    return evolve(
        record,
        content=MappingProxyType(dict(record.content)),
        created_at=in_utc(record.created_at),
        due_at=None if record.due_at is None else in_utc(record.due_at),
        attempts=tuple(map(_own_attempt, record.attempts)),
        evidence=tuple(map(_own_evidence, record.evidence)),
    )


def check_amendment(content: Mapping[str, str], amended: Mapping[str, str]) -> None:
    """Raises ValueError when an amendment would make another order of this content (rule R5)."""
    for name in ("no_order", "oid_partner"):
        if amended.get(name) != content.get(name):
            raise ValueError(f"an amendment keeps the {name} of the payout")


def present_among(records: Sequence[Record], find: Callable[[Name], Record | None]) -> list[Record | None]:
    """For each record what stands under its key or number already, as if they were added one after the other.

    `find` knows the journal; what stands further up in the list is seen here. The key comes first: of several
    generations of one key the newest is meant, whatever number the caller still has in hand.
    """
    new: dict[Name, Record] = {}
    found: list[Record | None] = []
    for record in records:
        names: list[Name] = [record.no_order]
        if record.key is not None:
            names.insert(0, (record.oid_partner, record.key))
        present = next((held for name in names if (held := find(name) or new.get(name)) is not None), None)
        found.append(present)
        if present is None:
            check_intent(record)
            new.update((name, record) for name in names)
    return found


def check_intent(record: Record) -> None:
    """Raises ValueError for a new record with what only a journal can add to it."""
    if record.former_hashes or record.lease is not None or record.replaced_by is not None:
        raise ValueError("a new payout has no earlier contents, no lease and no replacement")


def newest_of(part: Record | Change) -> datetime | None:
    """The latest moment that this record or change says has been (deadlines and due times lie ahead)."""
    moments = [a.started_at for a in part.attempts]
    moments += [moment for news in part.evidence for moment in (news.at, news.asked_at)]
    if isinstance(part, Record):
        moments.append(part.created_at)
    elif part.amendment is not None:
        moments.append(part.amendment.at)
    return max(moments, default=None)


def last_of(record: Record) -> int:
    """When a payout was last sent, or else asked for, in microseconds."""
    return max(map(to_us, [record.created_at, *(attempt.started_at for attempt in record.attempts)]))


def amendment_row(amendment: Amendment) -> Row:
    """content, content_hash, at_us, by."""
    return json.dumps(dict(amendment.content)), amendment.content_hash, to_us(amendment.at), amendment.by


def attempt_row(attempt: Attempt) -> Row:
    """number, source, started_us, deadline_us, content_hash, owner."""
    started, deadline = to_us(attempt.started_at), to_us(attempt.deadline_at)
    return attempt.number, attempt.source.value, started, deadline, attempt.content_hash, attempt.owner


def read_attempt(row: Row) -> Attempt:
    """The reverse of `attempt_row`; raises ValueError for what this version does not know."""
    number, source, started, deadline, content_hash, owner = row
    return Attempt(number, Source(source), from_us(started), from_us(deadline), content_hash, owner)


def evidence_row(news: Evidence) -> Row:
    """source, outcome, at_us, asked_us, attempt, said."""
    said = {name: value for name in _SAID if (value := getattr(news, name)) is not None}
    # JSON's own escapes carry every Python text, also one that UTF-8 refuses: a gateway may send such a thing.
    return news.source.value, news.outcome.value, to_us(news.at), to_us(news.asked_at), news.attempt, json.dumps(said)


def read_evidence(row: Row) -> Evidence:
    """The reverse of `evidence_row`; raises ValueError or TypeError for what this version does not know."""
    source, outcome, at, asked_at, attempt, said = row
    return Evidence(Source(source), Outcome(outcome), from_us(at), from_us(asked_at), attempt, **json.loads(said))


def intent_row(record: Record) -> Row:
    """no_order, oid_partner, key, generation, content, content_hash, created_us: what never changes."""
    content = json.dumps(dict(record.content))
    return (
        record.no_order,
        record.oid_partner,
        record.key,
        record.generation,
        content,
        record.content_hash,
        to_us(record.created_at),
    )


def summary_of(oid_partner: str, content: Mapping[str, str]) -> Row:
    """money_order, payee: what a payout's row repeats of its content, for sums and for twins."""
    return content["money_order"], payee_of(oid_partner, content)


def settled_by(evidence: Iterable[Evidence], before: Row = (None, None)) -> Row:
    """oid_paybill, settle_date: what a payout's row repeats of its evidence, for statements; `before` is what it was.

    Taken one after the other: the newest bill counts, and the newest date that the gateway has told of a payment; a
    statement's only where there is no other. The date that comes with a refund may be the refund's own.
    """
    bill, day = before
    for news in evidence:
        if news.outcome is Outcome.ANSWERED:
            bill = news.oid_paybill or bill
            told = None if news.result_pay == "CANCEL" else news.settle_date
            day = day or told if news.source is Source.STATEMENT else told or day
    return bill, day


def encode_breaker(breaker: Breaker) -> Row:
    """oid_partner, reason, at_us, by; raises ValueError for what a journal cannot hold."""
    check_text(breaker.oid_partner, breaker.reason, breaker.by)
    return breaker.oid_partner, breaker.reason, to_us(breaker.at), breaker.by


@frozen
class Entries:
    """The rows that one add or save brings, in the order in which the chain takes them."""

    amendments: tuple[Row, ...]
    attempts: tuple[Row, ...]
    evidence: tuple[Row, ...]

    def extend(self, chain: bytes) -> bytes:
        """The chain after these entries."""
        for row in self.amendments:
            chain = link(chain, "amendment", row)
        for row in self.attempts:
            chain = link(chain, "attempt", row)
        for row in self.evidence:
            chain = link(chain, "evidence", row)
        return chain


def encode_entries(part: Record | Change) -> Entries:
    """The amendment, the attempts and the evidence of a record or change as rows."""
    amended = part.amendment if isinstance(part, Change) else None
    amendments = () if amended is None else (amendment_row(amended),)
    return Entries(amendments, tuple(map(attempt_row, part.attempts)), tuple(map(evidence_row, part.evidence)))


@frozen
class Stored:
    """One payout as rows. Those of amendments, attempts and evidence begin with version and position, in that order."""

    intent: Row  # see `intent_row`
    standing: Row  # version, state, step, due_us
    beside: Row  # replaced_by, and owner, since_us, until_us of the lease
    amendments: Sequence[Row] = ()
    attempts: Sequence[Row] = ()
    evidence: Sequence[Row] = ()

    @property
    def content(self) -> str:
        """The newest content, as JSON."""
        return str(self.amendments[-1][2] if self.amendments else self.intent[4])


def link(chain: bytes, kind: str, row: Sequence[Any]) -> bytes:
    """The chain with one more row."""
    return sha256(chain + json.dumps([kind, *row]).encode("ascii")).digest()


def sealed(stored: Stored) -> bytes:
    """The chain of one payout, computed anew."""
    chain = link(b"", "intent", stored.intent)
    kinds = ("amendment", stored.amendments), ("attempt", stored.attempts), ("evidence", stored.evidence)
    entries = [(row[0], rank, row[1], kind, row[2:]) for rank, (kind, rows) in enumerate(kinds) for row in rows]
    for *_, kind, row in sorted(entries):
        chain = link(chain, kind, row)
    return chain


def decode_record(stored: Stored) -> Record:
    """A record from its rows.

    Raises ValueError, TypeError or KeyError for rows that no version of this library up to this one wrote.
    """
    no_order, oid_partner, key, generation, _, content_hash, created = stored.intent
    version, state, step, due = stored.standing
    replaced_by, owner, since, until = stored.beside
    hashes = [content_hash, *(row[3] for row in stored.amendments)]
    return Record(
        no_order=no_order,
        key=key,
        oid_partner=oid_partner,
        content=MappingProxyType(json.loads(stored.content)),
        content_hash=hashes[-1],
        created_at=from_us(created),
        generation=generation,
        version=version,
        state=State(state),
        step=Step(step),
        due_at=None if due is None else from_us(due),
        attempts=tuple(read_attempt(row[2:]) for row in stored.attempts),
        evidence=tuple(read_evidence(row[2:]) for row in stored.evidence),
        former_hashes=tuple(hashes[:-1]),
        lease=None if owner is None else Lease(owner, from_us(since), from_us(until)),
        replaced_by=replaced_by,
    )
