"""Records and evidence as rows, and the SQL files."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from attrs import evolve, fields
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_samples import MOMENT, amendment, at, attempt, change, news, record

from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import rows, sqlite
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.statements import load_migrations, load_statements, split
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source

# Surrogates too: JSON from a gateway can hold them.
TEXTS = st.text(max_size=40, alphabet=st.characters())
KEPT_TEXTS = st.text(max_size=20, alphabet=st.characters(exclude_categories=["Cs"]))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001
EVIDENCE = st.builds(
    Evidence,
    source=st.sampled_from(Source),
    outcome=st.sampled_from(Outcome),
    at=MOMENTS,
    asked_at=MOMENTS,
    attempt=st.none() | st.integers(0, 2**31),
    **{a.name: st.none() | TEXTS for a in fields(Evidence) if a.name in rows._SAID},
)
ATTEMPTS = st.builds(Attempt, st.integers(0, 2**31), st.sampled_from(Source), MOMENTS, MOMENTS, KEPT_TEXTS, KEPT_TEXTS)


@settings(max_examples=300, deadline=None)
@given(EVIDENCE)
def test_any_evidence_becomes_a_row(evidence: Evidence) -> None:
    """It comes back equal, whatever its members hold."""
    assert rows.read_evidence(rows.evidence_row(evidence)) == evidence


@settings(max_examples=100, deadline=None)
@given(ATTEMPTS)
def test_any_attempt_becomes_a_row(one: Attempt) -> None:
    """It comes back equal."""
    assert rows.read_attempt(rows.attempt_row(one)) == one


@settings(max_examples=40, deadline=None)
@given(st.lists(EVIDENCE, max_size=5), st.lists(EVIDENCE, max_size=5), st.lists(ATTEMPTS, max_size=3), KEPT_TEXTS)
def test_anything_goes_through_a_file(
    first: list[Evidence], second: list[Evidence], attempts: list[Attempt], key: str
) -> None:
    """What was added and saved is there after closing and opening, equal to what a journal in memory holds."""
    unique = tuple({(a.source, a.number): a for a in attempts}.values())

    async def through(journal: SqliteJournal | MemoryJournal) -> object:
        await journal.open()
        await journal.add([record("n1", key=key, evidence=tuple(first))])
        await journal.save("n1", 0, change(attempts=unique, evidence=tuple(second)))
        await journal.close()
        await journal.open()
        held = await journal.load("n1")
        newest = await journal.newest()
        await journal.close()
        assert held is not None
        assert held.evidence == (*first, *second)
        assert held.attempts == unique
        return held, newest

    async def both() -> None:
        with tempfile.TemporaryDirectory() as directory:
            on_disk = await through(SqliteJournal(Path(directory, "payouts.db")))
        assert on_disk == await through(MemoryJournal())

    asyncio.run(both())


def test_every_member_of_evidence_is_kept() -> None:
    """Also those that are added to the class later: each one is a column or a member of `said`."""
    assert {a.name for a in fields(Evidence)} == {*rows._COLUMNS, *rows._SAID}


@pytest.mark.parametrize(
    "moment", [MOMENT, at(0.000001), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_a_moment_becomes_microseconds(moment: datetime) -> None:
    """It comes back equal, at the ends of the calendar too."""
    assert rows.from_us(rows.to_us(moment)) == moment


def test_a_moment_that_utc_does_not_have() -> None:
    """OverflowError when it is written, not when it is read."""
    with pytest.raises(OverflowError):
        rows.to_us(datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))))


def test_the_chain_of_a_payout() -> None:
    """It is the same however it is computed, and any change, swap, loss or addition makes another one."""
    one = record("n1", evidence=(news(at(1)),))
    first, second = amendment(money_order="1.00"), amendment(money_order="2.00")
    two = evolve(change(), amendment=first)
    three = evolve(change(attempts=(attempt(1),), evidence=(news(at(2)), news(at(3)))), amendment=second)
    intent = rows.intent_row(one)
    grown = rows.link(b"", "intent", intent)
    for part in (one, two, three):
        grown = rows.encode_entries(part).extend(grown)
    attempts = [(2, 0, *rows.attempt_row(attempt(1)))]
    evidence = [(0, 0, *rows.evidence_row(news(at(1))))]
    evidence += [(2, n, *rows.evidence_row(news(at(2 + n)))) for n in range(2)]
    amendments = [(1, 0, *rows.amendment_row(first)), (2, 0, *rows.amendment_row(second))]
    whole = rows.Stored(intent, (), (), amendments, attempts, evidence)
    assert rows.sealed(whole) == grown
    others = [
        evolve(whole, intent=rows.intent_row(evolve(one, content_hash="1" * 64))),
        evolve(whole, attempts=[]),
        evolve(whole, amendments=[]),
        evolve(whole, amendments=amendments[:1]),
        evolve(whole, amendments=[(1, 0, *amendments[1][2:]), (2, 0, *amendments[0][2:])]),
        evolve(whole, amendments=[amendments[0], (3, 0, *amendments[1][2:])]),
        evolve(whole, evidence=evidence[:2]),
        evolve(whole, evidence=[evidence[0], (2, 0, *evidence[2][2:]), (2, 1, *evidence[1][2:])]),
        evolve(whole, evidence=[*evidence, (3, 0, *evidence[2][2:])]),
        evolve(whole, attempts=[(2, 0, *rows.attempt_row(attempt(2)))]),
    ]
    chains = [rows.sealed(other) for other in others]
    assert grown not in chains
    assert len(set(chains)) == len(chains)


def test_statements_are_read_by_name() -> None:
    """Each has a body without comments, and SQLite understands all of them on the schema of the migrations."""
    db = sqlite3.connect(":memory:")
    for script in load_migrations("sqlite"):
        for statement in split(script):
            db.execute(statement)
    statements = load_statements("sqlite")
    for statement in statements.values():
        assert "--" not in statement
        numbered = {int(digit) for digit in re.findall(r"\?(\d+)", statement)}
        values = [None] * max(numbered, default=statement.count("?"))
        db.execute(f"EXPLAIN {statement}", values)
    db.close()
    used = "".join(path.read_text("utf-8") for path in Path(sqlite.__file__).parent.glob("sqlite*.py"))
    assert [name for name in statements if f'"{name}"' not in used] == []


def test_a_script_with_a_trigger_is_split() -> None:
    """The semicolons inside it do not end it."""
    script = "-- x\nCREATE TABLE a (b);\nCREATE TRIGGER c BEFORE DELETE ON a\nBEGIN SELECT 1; SELECT 2; END;\n"
    assert [statement[:12] for statement in split(script)] == ["CREATE TABLE", "CREATE TRIGG"]


async def test_a_row_that_a_later_version_wrote(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JournalUnavailable names the payout: what cannot be understood is not guessed at."""
    journal = SqliteJournal(path)
    await journal.open()
    monkeypatch.setattr(rows, "_SAID", (*rows._SAID, "mood"))
    with monkeypatch.context() as later:
        later.setattr(Evidence, "mood", "good", raising=False)
        await journal.add([record("n1", evidence=(news(),))])
    with pytest.raises(JournalUnavailable, match=r"payout n1 .* cannot be read: a later version wrote it"):
        await journal.load("n1")
    await journal.close()
