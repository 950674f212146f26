"""Payouts, attempts and evidence for the journal's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from lianlian_async.crypto import JournalKeys
from lianlian_async.journal import Amendment, Change, Lease, Record
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source, State, Step

MOMENT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
PARTNER = "201700000000000001"
HASH = "0" * 64


def journal_keys(*names: str) -> JournalKeys:
    """Keys of these ids, the newest first; the same id is the same key."""
    return JournalKeys({name: sha256(name.encode()).digest() for name in names})


def at(seconds: float) -> datetime:
    """So many seconds after the first moment."""
    return MOMENT + timedelta(seconds=seconds)


def record(no_order: str = "n1", **changes: object) -> Record:
    """A fresh intent; its key is its number with a `k`."""
    content = {"acct_name": "张三", "money_order": str(changes.pop("money_order", "25.78")), "no_order": no_order}
    members: dict[str, object] = {
        "no_order": no_order,
        "key": f"k-{no_order}",
        "oid_partner": PARTNER,
        "content": content,
        "content_hash": HASH,
        "created_at": MOMENT,
        **changes,
    }
    return Record(**members)  # type: ignore[arg-type]


def attempt(number: int = 1, source: Source = Source.PAY, started_at: datetime = MOMENT) -> Attempt:
    """One send, with half a minute to go."""
    return Attempt(number, source, started_at, started_at + timedelta(seconds=30), HASH, "host:1")


def news(when: datetime = MOMENT, **said: object) -> Evidence:
    """An accepted order, unless said otherwise."""
    members: dict[str, object] = {"attempt": 1, "ret_code": "0000", "ret_msg": "交易成功", **said}
    return Evidence(Source.PAY, Outcome.ANSWERED, when, when, **members)  # type: ignore[arg-type]


def change(
    state: State = State.UNKNOWN,
    step: Step = Step.QUERY,
    due_at: datetime | None = None,
    attempts: tuple[Attempt, ...] = (),
    evidence: tuple[Evidence, ...] = (),
) -> Change:
    """What a save adds."""
    return Change(state, step, due_at, attempts, evidence)


def amendment(no_order: str = "n1", by: str = "Li", when: datetime = MOMENT, **content: str) -> Amendment:
    """Other content under the same number; its hash is its amount."""
    whole = {"acct_name": "张三", "money_order": "25.78", "no_order": no_order, **content}
    return Amendment(whole, whole["money_order"], when, by)


def lease(owner: str = "a", since: float = 0, until: float = 60) -> Lease:
    """So many seconds after the first moment until so many."""
    return Lease(owner, at(since), at(until))
