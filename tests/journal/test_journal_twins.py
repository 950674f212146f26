"""Twins, replaced numbers that come back, and how payouts begin: what guards a second payment; over all journals."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from journal_samples import MOMENT, at, attempt, change, journal_keys, lease, news, record

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import Amendment, Change, Journal, Record, StaleVersion, TwinsFound
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_open import APPLICATION_ID
from lianlian_async.journal.sqlite_rotate import rotate, verify_chains
from lianlian_async.journal.statements import load_migrations
from lianlian_async.resolver import State, Step

PAID: dict[str, Any] = {"state": State.PAID, "step": Step.NOTHING}


def amends(amended: Amendment, **more: Any) -> Change:
    return evolve(change(**more), amendment=amended)


def to(card_no: str, no_order: str, **more: Any) -> Record:
    """A payout of 25.78 to this card."""
    content = {"card_no": card_no, "money_order": more.pop("money_order", "25.78"), "no_order": no_order}
    return record(no_order, content=content, **more)


async def test_a_new_payout_has_twins(journal: Journal) -> None:
    """TwinsFound names them, the newest first, and nothing is written."""
    await journal.add(
        [
            to("62", "old", created_at=at(-1), **PAID),
            to("62", "a"),
            to("62", "b", created_at=at(5)),
            to("62", "c", **PAID),
        ]
    )
    await journal.add([to("62", "theirs", oid_partner="other"), to("63", "d"), to("62", "e", money_order="1.00")])
    with pytest.raises(TwinsFound, match="1 payouts have twins") as found:
        await journal.add([to("99", "alone"), to("62", "new")], twins_since=MOMENT.astimezone(SHANGHAI))
    assert found.value.twins == {"new": ("b", "c", "a")}
    assert await journal.load("alone") is None
    with pytest.raises(TwinsFound) as found:
        await journal.add([to("62", "new")], twins_since=at(5.000001))
    assert found.value.twins == {"new": ("b", "a")}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("state", State)
async def test_a_twin_in_a_state(journal: Journal, state: State, step: Step) -> None:
    """Where money did not move, or came back, and a query agrees, it is none; where only a notification says so, it is
    (R8): its step is not NOTHING then. PAID counts for a day, what may still pay for ever."""
    unpaid = state in (State.FAILED, State.CLOSED, State.REFUNDED)
    old = to("62", "old", state=state, step=step)
    await journal.add([old])
    assert old.dead is (unpaid and step is Step.NOTHING)
    assert await journal.twins(to("62", "new"), MOMENT) == [old]
    ended = step is Step.NOTHING and (unpaid or state is State.PAID)
    assert await journal.twins(to("62", "new"), at(1)) == ([] if ended else [old])
    for since, twin in ((MOMENT, not old.dead), (at(1), not ended)):
        if twin:
            with pytest.raises(TwinsFound):
                await journal.add([to("62", "new")], twins_since=since)
    if ended:
        assert await journal.add([to("62", "new")], twins_since=at(1)) == [to("62", "new")]


async def test_twins_in_one_list(journal: Journal) -> None:
    """Each is told of those further up; one that is dead, older, or the same payout again is none."""
    many = [
        to("62", "dead", state=State.CLOSED, step=Step.NOTHING),
        to("62", "older", created_at=at(-1), **PAID),
        to("62", "a"),
        to("62", "a"),
        to("63", "x"),
        to("62", "b", created_at=at(9)),
        to("62", "c"),
    ]
    with pytest.raises(TwinsFound) as found:
        await journal.add(many, twins_since=MOMENT)
    assert found.value.twins == {"b": ("a",), "c": ("a", "b")}
    assert await journal.page(None, 10) == []


async def test_payouts_that_exist_are_no_twins(journal: Journal) -> None:
    """Adding one again is always fine, by number or by key; a new one beside it has it as a twin."""
    await journal.add([to("62", "a", key="salary"), to("62", "b")])
    again = [to("62", "a", key=None), to("62", "z", key="salary"), to("62", "b")]
    assert [one.no_order for one in await journal.add(again, twins_since=MOMENT)] == ["a", "a", "b"]
    with pytest.raises(TwinsFound) as found:
        await journal.add([*again, to("62", "c")], twins_since=MOMENT)
    assert found.value.twins == {"c": ("b", "a")}


async def test_other_content_comes_before_twins(journal: Journal) -> None:
    """Nothing would be new: the caller looks at the content first."""
    await journal.add([to("62", "a")])
    held = await journal.add([to("62", "b"), to("62", "a", content_hash="1" * 64)], twins_since=MOMENT)
    assert [one.no_order for one in held] == ["b", "a"]
    assert await journal.load("b") is None


async def test_twins_are_looked_up(journal: Journal) -> None:
    """With all they have, the newest first, in whatever state, and never the payout itself."""
    await journal.add(
        [to("62", "a"), to("62", "b", created_at=at(3)), to("62", "c"), to("62", "d", created_at=at(-1), **PAID)]
    )
    await journal.save("c", 0, evolve(change(State.PAID, Step.NOTHING, evidence=(news(),)), lease=lease()))
    found = await journal.twins(to("62", "a"), MOMENT)
    assert found == [await journal.load("b"), await journal.load("c")]
    assert [one.no_order for one in await journal.twins(to("62", "new"), at(-1))] == ["b", "c", "a", "d"]
    assert await journal.twins(to("62", "new", oid_partner="other"), MOMENT) == []
    assert [one.no_order for one in await journal.twins(to("62", "new"), at(4))] == ["b", "a"]


async def test_a_twin_that_was_sent_late(journal: Journal) -> None:
    """A payout that was asked for long ago and paid just now counts from its newest attempt, not from its intent."""
    await journal.add([to("62", "old", created_at=at(-100_000))])
    await journal.save("old", 0, change(attempts=(attempt(1, started_at=at(-100_000)),)))
    await journal.save("old", 1, change(State.PAID, Step.NOTHING, attempts=(attempt(2, started_at=at(9)),)))
    assert [one.no_order for one in await journal.twins(to("62", "new"), at(9))] == ["old"]
    with pytest.raises(TwinsFound):
        await journal.add([to("62", "new")], twins_since=at(9))
    assert await journal.twins(to("62", "new"), at(9.000001)) == []
    assert await journal.add([to("62", "new")], twins_since=at(9.000001)) == [to("62", "new")]
    assert await journal.verify() == 2


@pytest.mark.parametrize(("one", "other"), [("110-0987-654321", "1100987654321"), ("1100987654321", "110-0987-654321")])
async def test_an_account_is_written_in_two_ways(journal: Journal, one: str, other: str) -> None:
    """With dashes and without: the same account of the same company (specification 3.1), amended or not."""
    await journal.add([to(one, "a"), to("62", "b")])
    assert [twin.no_order for twin in await journal.twins(to(other, "new"), MOMENT)] == ["a"]
    with pytest.raises(TwinsFound):
        await journal.add([to(other, "new")], twins_since=MOMENT)
    with pytest.raises(TwinsFound):
        await journal.save("b", 0, amends(_moved("b", other)), twins_since=MOMENT)


def _moved(no_order: str, card: str) -> Amendment:
    return Amendment({"card_no": card, "money_order": "25.78", "no_order": no_order}, "1" * 64, MOMENT, "Li")


async def test_an_amendment_that_would_make_a_twin(journal: Journal) -> None:
    """It is seen in the transaction that writes: nothing is written then, the lease included. One's own old content, a
    dead payout and one long paid are no twins; without `twins_since` nobody wants to know."""
    await journal.add([to("62", "a"), to("63", "b"), to("64", "c", state=State.CLOSED, step=Step.NOTHING)])
    await journal.add([to("65", "d", created_at=at(-9), **PAID)])
    with pytest.raises(TwinsFound) as found:
        await journal.save("b", 0, evolve(amends(_moved("b", "62")), lease=lease()), twins_since=MOMENT)
    assert found.value.twins == {"b": ("a",)}
    assert await journal.load("b") == to("63", "b")
    for version, card in enumerate(("64", "63", "65", "65")):
        await journal.save("b", version, amends(_moved("b", card)), twins_since=MOMENT)
    assert await journal.save("b", 4, amends(_moved("b", "62"))) == 5
    assert await journal.save("a", 0, change(), twins_since=MOMENT) == 1


async def test_a_replacement_that_would_be_a_twin(journal: Journal) -> None:
    """It is seen in the transaction that writes: nothing is written then. What is replaced is no twin of it, and who
    asks again for a replacement that exists gets it."""
    await journal.add([to("62", "a", state=State.FAILED), to("62", "b")])
    following = to("62", "a2", key="k-a", generation=1)
    with pytest.raises(TwinsFound) as found:
        await journal.replace("a", 0, following, twins_since=MOMENT)
    assert found.value.twins == {"a2": ("b",)}
    assert await journal.load("a2") is None
    assert await journal.load("a") == to("62", "a", state=State.FAILED)
    assert await journal.replace("a", 0, following) == following
    assert await journal.replace("a", 0, following, twins_since=MOMENT) == following


async def test_twins_that_are_meant(journal: Journal) -> None:
    """Somebody was asked about these; one that came since is a twin all the same, in the journal and in the list."""
    await journal.add([to("62", "a"), to("63", "x"), to("62", "f", state=State.FAILED)])
    assert await journal.add([to("62", "b")], twins_since=MOMENT, meant=["a", "f"]) == [to("62", "b")]
    for write in (
        lambda meant: journal.add([to("62", "c"), to("62", "d")], twins_since=MOMENT, meant=meant),
        lambda meant: journal.save("x", 0, amends(_moved("x", "62")), twins_since=MOMENT, meant=meant),
        lambda meant: journal.replace("f", 0, to("62", "f2", key="k-f", generation=1), twins_since=MOMENT, meant=meant),
    ):
        with pytest.raises(TwinsFound) as found:
            await write({"a", "f"})
        assert all("b" in twins and "a" not in twins for twins in found.value.twins.values())
    with pytest.raises(TwinsFound) as found:
        await journal.add([to("62", "c"), to("62", "d")], twins_since=MOMENT, meant={"a", "b", "f"})
    assert found.value.twins == {"d": ("c",)}
    assert len(await journal.add([to("62", "c"), to("62", "d")], twins_since=MOMENT, meant=list("abfcd"))) == 2


async def test_a_number_that_was_replaced_comes_back(journal: Journal) -> None:
    """Nothing of what came in its place is sent any more, however far down: StaleVersion, and nothing is written."""
    dead = {"state": State.FAILED, "step": Step.NOTHING}
    await journal.add([to("62", "a", **dead), to("62", "x")])
    await journal.replace("a", 0, to("62", "b", key="k-a", generation=1, **dead))
    await journal.replace("b", 0, to("62", "c", key="k-a", generation=2))
    assert [await journal.revived(name) for name in "abcxy"] == [[]] * 5
    await journal.save("a", 0, change(State.CONFLICT, Step.DECIDE))
    assert [await journal.revived(name) for name in "abcx"] == [[], ["a"], ["a"], []]
    with pytest.raises(StaleVersion, match="stands in the place of a"):
        await journal.save("c", 0, change(attempts=(attempt(),)))
    assert await journal.load("c") == to("62", "c", key="k-a", generation=2)
    await journal.save("b", 0, change(State.FAILED, Step.QUERY))
    assert await journal.revived("c") == ["b", "a"]
    assert await journal.save("c", 0, change(evidence=(news(),))) == 1
    assert await journal.save("x", 0, change(attempts=(attempt(),))) == 1


@pytest.mark.parametrize(("state", "step"), [(State.PAID, Step.NOTHING), (State.UNSENT, Step.QUERY)])
async def test_a_payout_that_begins_otherwise(journal: Journal, state: State, step: Step) -> None:
    """An application is told of a payout that is, say, paid from its first row on; also when it replaces another."""
    told = {"state": state, "step": step}
    await journal.add([to("62", "a", state=State.FAILED, step=Step.NOTHING), to("63", "b", **told), to("64", "c")])
    await journal.replace("a", 0, to("62", "d", key="k-a", generation=1, **told))
    moved = await journal.moved("app", lease(), 10)
    assert [(one.no_order, one.version, one.state, one.step) for one in moved] == [
        ("a", 0, State.FAILED, Step.NOTHING), ("b", 0, state, step), ("d", 0, state, step),
    ]  # fmt: skip


async def test_an_amendment_makes_and_unmakes_twins(journal: Journal) -> None:
    """A payout is the twin of whom it would pay now."""
    await journal.add([to("62", "a"), to("62", "b")])
    moved = Amendment({"card_no": "63", "money_order": "25.78", "no_order": "a"}, "1" * 64, MOMENT, "Li")
    await journal.save("a", 0, amends(moved))
    assert [one.no_order for one in await journal.twins(to("62", "new"), MOMENT)] == ["b"]
    assert [one.no_order for one in await journal.twins(to("63", "new"), MOMENT)] == ["a"]
    with pytest.raises(TwinsFound):
        await journal.add([to("63", "new")], twins_since=MOMENT)


async def test_payouts_without_a_card(journal: Journal) -> None:
    """A missing card is an empty one; what lies on either side of a border is kept apart."""
    await journal.add([record("n1")])
    with pytest.raises(TwinsFound):
        await journal.add([to("", "n2")], twins_since=MOMENT)
    shifted = to("1", "n2", money_order="22.00"), to("12", "n3", money_order="2.00")
    assert await journal.add(shifted, twins_since=MOMENT) == list(shifted)
    odd = to("\ud800", "n4")
    assert await journal.add([odd], twins_since=MOMENT) == [odd]


# --- files of the first schema


@pytest.fixture(params=["plain", "sealed"])
def old_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A journal that the first schema's code wrote, and whether it is sealed. Its rows are in `schema1`."""
    path = tmp_path / "old.db"
    rows = (Path(__file__).parent / "schema1" / f"{request.param}.sql").read_text("utf-8")
    with closing(sqlite3.connect(path)) as db:
        db.executescript(load_migrations("sqlite")[0])
        db.executescript(f"DELETE FROM keys; DELETE FROM newest; PRAGMA foreign_keys = OFF; {rows}")
        db.executescript(f"PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID}")
    path.chmod(0o600)
    return path, request.param


def _of(old_file: tuple[Path, str]) -> SqliteJournal:
    path, kind = old_file
    return SqliteJournal(path, keys=journal_keys("a") if kind == "sealed" else None)


async def _holds_what_it_held(journal: SqliteJournal) -> None:
    assert await journal.verify() == 7
    dashed = [twin.no_order for twin in await journal.twins(to("1100987654321", "new"), at(999_999))]
    assert dashed == ["amended", "dashed"]
    assert [twin.no_order for twin in await journal.twins(to("62", "new"), at(100_000))] == ["told", "late", "plain"]
    assert [twin.no_order for twin in await journal.twins(to("62", "new"), at(100_001))] == ["told", "plain"]
    with pytest.raises(TwinsFound) as found:
        await journal.add([to("1100987654321", "n1"), to("62", "n2")], twins_since=at(100_000))
    assert found.value.twins == {"n1": ("amended", "dashed"), "n2": ("told", "late", "plain")}
    last = await journal.load("late")
    assert last is not None
    assert [one.number for one in last.attempts] == [1, 2]


async def test_a_journal_of_the_first_schema(old_file: tuple[Path, str]) -> None:
    """It opens, again and again, and its twins are right: by their newest attempts, without dashes, and by R8."""
    for _ in range(2):
        journal = _of(old_file)
        await journal.open()
        await _holds_what_it_held(journal)
        await journal.close()


async def test_a_journal_of_the_first_schema_is_checked_without_its_key(old_file: tuple[Path, str]) -> None:
    """That migrates it, except for what takes the key: whoever comes with the key does the rest."""
    assert verify_chains(old_file[0]) == 7
    journal = _of(old_file)
    await journal.open()
    await _holds_what_it_held(journal)
    await journal.close()


async def test_a_journal_of_the_first_schema_is_rotated(old_file: tuple[Path, str]) -> None:
    """Its payees are found under the new key."""
    path, kind = old_file
    keys = journal_keys("b", "a") if kind == "sealed" else journal_keys("b")
    assert rotate(path, keys) == 7
    journal = SqliteJournal(path, keys=journal_keys("b"))
    await journal.open()
    await _holds_what_it_held(journal)
    await journal.close()


async def test_a_tampered_journal_of_the_first_schema(old_file: tuple[Path, str]) -> None:
    """A payee that was changed before the migration is not made good by it."""
    with closing(sqlite3.connect(old_file[0])) as db:
        db.executescript("DROP TRIGGER payouts_payee_stays; DROP TRIGGER payouts_count")
        db.execute("UPDATE payouts SET payee = x'00' WHERE no_order = 'dashed'")
        (trigger,) = (one for one in load_migrations("sqlite")[0].split(";\n\n") if "TRIGGER payouts_count" in one)
        db.executescript(f"{trigger};")
        db.commit()
    with pytest.raises(JournalUnavailable, match="payout dashed"):
        await _of(old_file).open()


async def test_a_process_of_the_first_schema_goes_on(old_file: tuple[Path, str]) -> None:
    """Its code adds nothing to a file that was migrated under its feet: it would hash payees in the old way. What it
    sends it can still write down, and when it was sent counts."""
    path, _ = old_file
    journal = _of(old_file)
    await journal.open()
    with closing(sqlite3.connect(path)) as db:
        columns = "no_order, oid_partner, generation, content, content_hash, money_order, payee, created_us, version"
        with pytest.raises(sqlite3.IntegrityError, match="was last asked for when it was created"):
            db.execute(
                f"INSERT INTO payouts ({columns}, state, step, chain, sealed_by)"
                " VALUES ('n', 'p', 0, '{}', '', '1.00', x'', 1, 0, 'UNSENT', 'SUBMIT', x'', 0)"
            )
    await journal.close()


async def test_when_it_was_last_sent_is_changed(tmp_path: Path) -> None:
    """Behind the journal's back: found when it is read."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.open()
    await journal.add([to("62", "a")])
    await journal.save("a", 0, change(attempts=(attempt(1, started_at=at(60)),)))
    with closing(sqlite3.connect(journal.path)) as db:
        with pytest.raises(sqlite3.IntegrityError, match="never lies further back"):
            db.execute("UPDATE payouts SET last_us = 0")
        db.execute("UPDATE payouts SET last_us = last_us + 1")
        db.commit()
    with pytest.raises(JournalUnavailable, match="payout a "):
        await journal.load("a")
    await journal.close()
