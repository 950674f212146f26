"""What every journal must do; run over all of them."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path
from types import MappingProxyType

import pytest
from attrs import evolve
from journal_samples import HASH, MOMENT, PARTNER, at, attempt, change, news, record

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import Breaker, Journal, StaleVersion, Tally
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.resolver import Attempt, Outcome, Source, State, Step

BREAKER = Breaker(PARTNER, "bad signature three times", MOMENT, "gateway")


async def test_an_intent_is_added(journal: Journal) -> None:
    """It is returned as it was given, and found by number and by key."""
    [held] = await journal.add([record("n1")])
    assert held == record("n1")
    assert await journal.load("n1") == held
    assert await journal.find(PARTNER, "k-n1") == held


async def test_nothing_was_added(journal: Journal) -> None:
    """Every question has an empty answer."""
    assert await journal.load("n1") is None
    assert await journal.find(PARTNER, "k-n1") is None
    assert await journal.due(PARTNER, MOMENT, 10) == []
    assert await journal.page(None, 10) == []
    assert await journal.tally() == {}
    assert await journal.newest() is None
    assert await journal.tripped(PARTNER) is None
    assert await journal.add([]) == []


async def test_the_same_number_is_added_again_with_other_content(journal: Journal) -> None:
    """The record that exists is returned, and it is unchanged."""
    [first] = await journal.add([record("n1")])
    [second] = await journal.add([record("n1", key="other", content_hash="1" * 64, money_order="1.00")])
    assert second == first == await journal.load("n1")
    assert await journal.find(PARTNER, "other") is None


async def test_the_same_key_is_added_under_another_number(journal: Journal) -> None:
    """The record that has the key is returned, and the new number does not exist."""
    [first] = await journal.add([record("n1", key="salary")])
    [second] = await journal.add([record("n2", key="salary")])
    assert second == first
    assert await journal.load("n2") is None


async def test_a_higher_generation_is_added_without_replace(journal: Journal) -> None:
    """`add` never opens a second number for a key: the existing record is returned."""
    [first] = await journal.add([record("n1", key="salary")])
    assert await journal.add([record("n2", key="salary", generation=1)]) == [first]


async def test_another_merchant_has_the_same_key(journal: Journal) -> None:
    """Keys belong to a merchant: both are written."""
    first, second = await journal.add([record("n1", key="k"), record("n2", key="k", oid_partner="other")])
    assert (first.no_order, second.no_order) == ("n1", "n2")
    assert await journal.find("other", "k") == second


async def test_payouts_without_a_key(journal: Journal) -> None:
    """None is no key: each is written, and an empty key is a key like any other."""
    held = await journal.add(
        [record("n1", key=None), record("n2", key=None), record("n3", key=""), record("n4", key="")]
    )
    assert [r.no_order for r in held] == ["n1", "n2", "n3", "n3"]
    assert held[0].key is None
    assert await journal.find(PARTNER, "") == held[2]


async def test_a_list_that_names_a_number_twice(journal: Journal) -> None:
    """It is written once, and both places get what the journal holds, in order."""
    held = await journal.add([record("n2"), record("n1"), record("n2", content_hash="1" * 64)])
    assert [r.no_order for r in held] == ["n2", "n1", "n2"]
    assert held[2].content_hash == HASH


@pytest.mark.parametrize(
    "bad",
    [
        {"money_order": "25.7"},
        {"money_order": "2578"},
        {"money_order": "٢٥.٧٨"},
        {"content": {}},
        {"created_at": MOMENT.replace(tzinfo=None)},
        {"no_order": "\ud800"},
        {"key": "\ud800"},
        {"attempts": (attempt(1), attempt(1))},
        {"attempts": (Attempt(1, Source.PAY, MOMENT, MOMENT, HASH, "\ud800"),)},
    ],
)
async def test_one_record_of_a_list_cannot_be_kept(journal: Journal, bad: dict[str, object]) -> None:
    """ValueError, and nothing of the list is written."""
    with pytest.raises(ValueError):
        await journal.add([record("n1"), record(**{"no_order": "n2", **bad})])  # type: ignore[arg-type]
    assert await journal.page(None, 10) == []
    assert await journal.newest() is None


async def test_a_record_comes_with_attempts_and_evidence(journal: Journal) -> None:
    """They are kept in their order, with state, step, due time and version."""
    given = record(
        "n1",
        attempts=(attempt(2), attempt(1), attempt(1, Source.CONFIRM)),
        evidence=(news(at(2)), news(at(1)), news(at(2))),
        state=State.REVIEW,
        step=Step.DECIDE,
        due_at=at(5),
        version=7,
        generation=3,
    )
    await journal.add([given])
    assert await journal.load("n1") == given


async def test_the_caller_changes_the_content_it_gave(journal: Journal) -> None:
    """The journal's record does not change, and nobody can change it through what was returned."""
    content = {"money_order": "25.78"}
    [held] = await journal.add([record("n1", content=content)])
    content["money_order"] = "99.00"
    loaded = await journal.load("n1")
    assert held.content == {"money_order": "25.78"}
    assert loaded is not None
    assert isinstance(loaded.content, MappingProxyType)
    assert loaded.content == {"money_order": "25.78"}


async def test_attempts_and_evidence_are_saved(journal: Journal) -> None:
    """Each save raises the version by one and adds behind what is there."""
    await journal.add([record("n1")])
    assert await journal.save("n1", 0, change(attempts=(attempt(1),), due_at=at(2))) == 1
    assert await journal.save("n1", 1, change(evidence=(news(at(3)),), attempts=(attempt(2),))) == 2
    assert (
        await journal.save("n1", 2, change(State.IN_PROGRESS, due_at=at(9), evidence=(news(at(1)), news(at(2))))) == 3
    )
    held = await journal.load("n1")
    assert held == evolve(
        record("n1"),
        version=3,
        state=State.IN_PROGRESS,
        step=Step.QUERY,
        due_at=at(9),
        attempts=(attempt(1), attempt(2)),
        evidence=(news(at(3)), news(at(1)), news(at(2))),
    )


async def test_a_save_adds_nothing_but_a_new_standing(journal: Journal) -> None:
    """State, step and due time change, and the version counts it."""
    await journal.add([record("n1", due_at=at(1))])
    assert await journal.save("n1", 0, change(State.PAID, Step.NOTHING)) == 1
    held = await journal.load("n1")
    assert held == evolve(record("n1"), version=1, state=State.PAID, step=Step.NOTHING)


async def test_a_save_from_an_old_version(journal: Journal) -> None:
    """StaleVersion, and nothing of it is written."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, change(attempts=(attempt(1),)))
    before = await journal.load("n1")
    for version in (0, 2, -1):
        with pytest.raises(StaleVersion, match="at version 1"):
            await journal.save("n1", version, change(State.PAID, attempts=(attempt(2),), evidence=(news(at(60)),)))
    assert await journal.load("n1") == before
    assert await journal.newest() == MOMENT


async def test_a_save_to_a_number_that_does_not_exist(journal: Journal) -> None:
    """StaleVersion: whoever loads it again sees that there is nothing."""
    with pytest.raises(StaleVersion, match="not in the journal"):
        await journal.save("n1", 0, change())


async def test_an_attempt_that_was_written_already(journal: Journal) -> None:
    """ValueError, and nothing is written: evidence could not tell the two apart."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, change(attempts=(attempt(1),)))
    with pytest.raises(ValueError, match="attempt 1 of pay"):
        await journal.save("n1", 1, change(State.PAID, attempts=(attempt(2), attempt(1)), evidence=(news(),)))
    held = await journal.load("n1")
    assert held is not None
    assert (held.version, held.state, len(held.attempts), held.evidence) == (1, State.UNKNOWN, 1, ())


async def test_many_save_from_the_same_version_at_once(journal: Journal) -> None:
    """Exactly one of them wins, and the others are told."""
    await journal.add([record("n1")])
    saves = [journal.save("n1", 0, change(attempts=(attempt(n),))) for n in range(1, 21)]
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert results.count(1) == 1
    assert sum(isinstance(result, StaleVersion) for result in results) == 19
    held = await journal.load("n1")
    assert held is not None
    assert len(held.attempts) == 1


async def test_none_and_empty_texts_in_evidence(journal: Journal) -> None:
    """They come back as they were: None is not an empty text."""
    plain = evolve(news(), attempt=None, ret_code=None, ret_msg="", detail="", by=None, confirm_code="")
    odd = evolve(news(), ret_msg="a\0b\ud800\u202e\n𝄞'\"; DROP TABLE payouts; --", outcome=Outcome.UNREADABLE)
    await journal.add([record("n1", evidence=(plain, odd))])
    held = await journal.load("n1")
    assert held is not None
    assert held.evidence == (plain, odd)


async def test_moments_of_other_time_zones(journal: Journal) -> None:
    """They come back equal, to the microsecond, and in UTC."""
    odd = timezone(timedelta(hours=-3, minutes=-30))
    moment = datetime(2026, 11, 23, 10, 0, 0, 123457, tzinfo=SHANGHAI)
    given = record("n1", created_at=moment, due_at=moment.astimezone(odd), attempts=(attempt(1, started_at=moment),))
    await journal.add([given])
    await journal.save("n1", 0, change(due_at=moment.astimezone(odd), evidence=(news(moment.astimezone(odd)),)))
    held = await journal.load("n1")
    assert held is not None
    assert held.due_at is not None
    moments = [
        held.created_at,
        held.due_at,
        held.attempts[0].started_at,
        held.evidence[0].at,
        held.evidence[0].asked_at,
    ]
    assert moments == [moment] * 5
    assert {m.tzinfo for m in [*moments, held.attempts[0].deadline_at]} == {UTC}
    assert await journal.newest() == moment
    assert await journal.due(PARTNER, moment.astimezone(odd), 1) == ["n1"]


async def test_a_moment_without_a_time_zone_is_saved(journal: Journal) -> None:
    """ValueError, before anything is written."""
    await journal.add([record("n1")])
    naive = MOMENT.replace(tzinfo=None)
    for bad in (
        change(due_at=naive),
        change(evidence=(news(naive),)),
        change(attempts=(attempt(1, started_at=naive),)),
    ):
        with pytest.raises(ValueError, match="aware"):
            await journal.save("n1", 0, bad)
    for question in (
        journal.due(PARTNER, naive, 1),
        journal.reset(PARTNER, "x", naive),
        journal.trip(evolve(BREAKER, at=naive)),
    ):
        with pytest.raises(ValueError, match="aware"):
            await question
    assert await journal.load("n1") == record("n1")


async def test_what_is_due(journal: Journal) -> None:
    """The newest unknown first, then whatever is due earliest; not what is due later or never."""
    unknown = {"state": State.UNKNOWN, "step": Step.QUERY}
    await journal.add(
        [
            record("late", due_at=at(100), state=State.IN_PROGRESS),
            record("early", due_at=at(50), state=State.IN_PROGRESS),
            record("early too", due_at=at(50), state=State.REVIEW),
            record("now", due_at=at(200), state=State.UNSENT),
            record("not yet", due_at=at(200) + timedelta(microseconds=1), state=State.UNSENT),
            record("never", due_at=None, state=State.PAID),
            record("old unknown", due_at=at(1), created_at=at(-50), **unknown),
            record("new unknown", due_at=at(199), created_at=at(10), **unknown),
            record("new unknown too", due_at=at(5), created_at=at(10), **unknown),
            record("unknown, not yet", due_at=at(201), created_at=at(20), **unknown),
            record("unknown, never", created_at=at(20), **unknown),
        ]
    )
    expected = ["new unknown", "new unknown too", "old unknown", "early", "early too", "late", "now"]
    assert await journal.due(PARTNER, at(200), 100) == expected
    for limit in range(len(expected) + 1):
        assert await journal.due(PARTNER, at(200), limit) == expected[:limit]


async def test_what_was_due_is_put_off(journal: Journal) -> None:
    """A save moves it, or takes it off the list."""
    await journal.add([record("n1", due_at=at(1)), record("n2", due_at=at(1))])
    await journal.save("n1", 0, change(due_at=at(60)))
    await journal.save("n2", 0, change(State.PAID, Step.NOTHING))
    assert await journal.due(PARTNER, at(59), 10) == []
    assert await journal.due(PARTNER, at(60), 10) == ["n1"]


async def test_pages_in_the_order_of_numbers(journal: Journal) -> None:
    """Each page starts behind the last number of the one before; code points decide the order."""
    numbers = ["0", "A", "Z", "a", "a1", "é", "中", "\uffff", "𝄞"]
    await journal.add([record(number) for number in reversed(numbers)])
    seen: list[str] = []
    while page := await journal.page(seen[-1] if seen else None, 2):
        assert len(page) <= 2
        seen += [held.no_order for held in page]
    assert seen == numbers
    assert [held.no_order for held in await journal.page("B", 1)] == ["Z"]
    assert await journal.page(None, 0) == []


async def test_pages_of_some_states(journal: Journal) -> None:
    """Only those states, in the same order, whatever lies between them."""
    states = [State.PAID, State.UNKNOWN, State.REVIEW]
    await journal.add([record(f"n{number:02}", state=states[number % 3]) for number in range(30)])
    page = await journal.page("n03", 5, [State.REVIEW, State.PAID, State.REVIEW])
    assert [held.no_order for held in page] == ["n05", "n06", "n08", "n09", "n11"]
    assert [held.no_order for held in await journal.page("n20", 50, {State.UNKNOWN})] == ["n22", "n25", "n28"]
    assert await journal.page(None, 5, [State.CONFLICT]) == []


async def test_pages_and_sums_of_one_merchant(journal: Journal) -> None:
    """Several merchants may share a journal: pages and tallies of one hold nothing of another."""
    other = "201700000000000009"
    await journal.add(
        [record(f"a{n}", state=State.PAID, money_order="1.00") for n in range(2)]
        + [record(f"b{n}", oid_partner=other, state=State.PAID, money_order="7.00") for n in range(3)]
    )
    for states in ((), (State.PAID,)):
        page = await journal.page(None, 10, states, oid_partner=PARTNER)
        assert [held.no_order for held in page] == ["a0", "a1"]
        page = await journal.page("b0", 1, states, oid_partner=other)
        assert [held.no_order for held in page] == ["b1"]
    assert await journal.tally(PARTNER) == {State.PAID: Tally(2, Decimal("2.00"))}
    assert await journal.tally(other) == {State.PAID: Tally(3, Decimal("21.00"))}
    assert await journal.tally("1") == {}
    assert await journal.tally() == {State.PAID: Tally(5, Decimal("23.00"))}


async def test_a_page_carries_attempts_and_evidence(journal: Journal) -> None:
    """Each payout has its own, in the order of writing."""
    given = [record(f"n{n}", attempts=(attempt(n),), evidence=(news(at(n)), news(at(-n)))) for n in range(1, 6)]
    await journal.add(list(reversed(given)))
    assert await journal.page(None, 10) == given


@pytest.mark.parametrize("ask", ["page", "due"])
async def test_a_limit_below_zero(journal: Journal, ask: str) -> None:
    """ValueError: to SQL it would mean everything."""
    with pytest.raises(ValueError, match="limit"):
        await (journal.page(None, -1) if ask == "page" else journal.due(PARTNER, MOMENT, -1))


async def test_money_is_counted_by_state(journal: Journal) -> None:
    """Sums are exact, also where floats are not and where the caller's decimal context is narrow."""
    await journal.add(
        [record(f"a{n}", money_order="0.10", state=State.PAID) for n in range(3)]
        + [record(f"b{n}", money_order="99999999.99", state=State.UNKNOWN) for n in range(1, 102)]
        + [record("c", money_order="0.01", state=State.UNKNOWN)]
    )
    with localcontext(prec=3):
        tally = await journal.tally()
    assert tally == {State.PAID: Tally(3, Decimal("0.30")), State.UNKNOWN: Tally(102, Decimal("10099999999.00"))}
    assert [str(of.money) for of in tally.values()] in (["0.30", "10099999999.00"], ["10099999999.00", "0.30"])


async def test_the_latest_moment(journal: Journal) -> None:
    """It comes from intents, attempts and evidence, never goes back, and ignores what lies ahead."""
    await journal.add([record("n1", created_at=at(10), due_at=at(5000))])
    assert await journal.newest() == at(10)
    await journal.add([record("n2", created_at=at(5))])
    assert await journal.newest() == at(10)
    await journal.save("n1", 0, change(attempts=(attempt(1, started_at=at(20)),), due_at=at(9000)))
    assert await journal.newest() == at(20)
    await journal.save("n1", 1, change(evidence=(evolve(news(at(31)), asked_at=at(30)), news(at(15)))))
    assert await journal.newest() == at(31)
    await journal.save("n1", 2, change())
    assert await journal.newest() == at(31)


async def test_new_money_is_paused_and_released(journal: Journal) -> None:
    """The first pause stays in force until it is lifted; other merchants are not touched."""
    assert await journal.trip(BREAKER) == BREAKER
    assert await journal.trip(evolve(BREAKER, reason="other", at=at(9), by="Li")) == BREAKER
    assert await journal.tripped(PARTNER) == BREAKER
    assert await journal.tripped("other") is None
    assert await journal.reset("other", "Li", at(10)) is None
    assert await journal.reset(PARTNER, "Li", at(10)) == BREAKER
    assert await journal.tripped(PARTNER) is None
    assert await journal.reset(PARTNER, "Li", at(11)) is None
    again = evolve(BREAKER, reason="again", at=at(12).astimezone(SHANGHAI))
    assert await journal.trip(again) == again
    held = await journal.tripped(PARTNER)
    assert held == again
    assert held is not None
    assert held.at.tzinfo is UTC


async def test_a_payout_is_replaced(journal: MemoryJournal | SqliteJournal) -> None:
    """The next generation is written, and its key leads to it."""
    await journal.add([record("n1", key="salary", state=State.FAILED)])
    new = record("n2", key="salary", generation=1)
    assert await journal.replace("n1", 0, new) == new
    assert await journal.find(PARTNER, "salary") == new
    third = record("n3", key="salary", generation=2)
    assert await journal.replace("n2", 0, third) == third
    assert await journal.find(PARTNER, "salary") == third
    assert await journal.add([record("n4", key="salary")]) == [third]
    assert await journal.load("n1") == record("n1", key="salary", state=State.FAILED, replaced_by="n2")


async def test_a_payout_is_replaced_twice(journal: MemoryJournal | SqliteJournal) -> None:
    """The second call gets the first one's number, also with another number in hand and after late news."""
    for key in ("salary", None):
        old, new, other = (f"{key}{n}" for n in range(3))
        await journal.add([record(old, key=key)])
        first = await journal.replace(old, 0, record(new, key=key, generation=1))
        await journal.save(old, 0, change(State.PAID, Step.NOTHING, evidence=(news(),)))
        assert await journal.replace(old, 0, record(other, key=key, generation=1)) == first
        assert await journal.load(other) is None


async def test_a_payout_is_replaced_from_an_old_version(journal: MemoryJournal | SqliteJournal) -> None:
    """StaleVersion, and the new number does not exist: the news may be that it was paid after all."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, change(State.PAID, Step.NOTHING, evidence=(news(),)))
    with pytest.raises(StaleVersion):
        await journal.replace("n1", 0, record("n2", key="k-n1", generation=1))
    with pytest.raises(StaleVersion):
        await journal.replace("nobody", 0, record("n2", key="k-n1", generation=1))
    assert await journal.load("n2") is None


async def test_a_replacement_that_does_not_follow(journal: MemoryJournal | SqliteJournal) -> None:
    """ValueError for another merchant, another key, or a generation that is not the next."""
    await journal.add([record("n1", key="k")])
    for wrong in ({"key": "other"}, {"oid_partner": "other"}, {"generation": 0}, {"generation": 2}, {"key": None}):
        new = record("n2", **{"key": "k", "generation": 1, **wrong})
        with pytest.raises(ValueError, match="next generation"):
            await journal.replace("n1", 0, new)
    assert await journal.load("n2") is None


async def test_the_new_number_of_a_replacement_exists(journal: MemoryJournal | SqliteJournal) -> None:
    """It is returned and nothing is written; the caller compares."""
    await journal.add([record("n1", key="a"), record("n2", key="b")])
    assert await journal.replace("n1", 0, record("n2", key="a", generation=1)) == record("n2", key="b")
    assert await journal.find(PARTNER, "a") == record("n1", key="a")


async def test_a_journal_that_is_not_open(journal: Journal) -> None:
    """JournalUnavailable, for every question and command; open and close may be called again."""
    await journal.open()
    await journal.close()
    await journal.close()
    calls = [
        journal.add([record("n1")]),
        journal.load("n1"),
        journal.find(PARTNER, "k"),
        journal.save("n1", 0, change()),
        journal.due(PARTNER, MOMENT, 1),
        journal.page(None, 1),
        journal.tally(),
        journal.newest(),
        journal.trip(BREAKER),
        journal.tripped(PARTNER),
        journal.reset(PARTNER, "Li", MOMENT),
    ]
    for call in calls:
        with pytest.raises(JournalUnavailable, match="not open"):
            await call


async def test_a_journal_is_closed_and_opened_again(journal: Journal) -> None:
    """Everything is still there."""
    given = record("n1", attempts=(attempt(1),), evidence=(news(),), due_at=at(1))
    await journal.add([given])
    await journal.trip(BREAKER)
    await journal.close()
    await journal.open()
    assert await journal.load("n1") == given
    assert await journal.due(PARTNER, at(1), 1) == ["n1"]
    assert await journal.tripped(PARTNER) == BREAKER
    assert await journal.newest() == MOMENT


async def test_names_that_look_like_sql_or_paths(journal: Journal) -> None:
    """They are values and nothing else."""
    odd = ["'; DROP TABLE payouts; --", "../../etc/passwd", "a\0b", "%", "_", '"', "\\"]
    given = [record(text, key=text, oid_partner=text) for text in odd]
    await journal.add(given)
    for text, expected in zip(odd, given, strict=True):
        assert await journal.load(text) == expected
        assert await journal.find(text, text) == expected
        breaker = Breaker(text, text, MOMENT, text)
        assert await journal.trip(breaker) == breaker
        assert await journal.tripped(text) == breaker
    assert await journal.load("%%") is None


def test_a_record_and_its_evidence_are_shown() -> None:
    """Neither the content nor a confirm code is in a repr."""
    shown = repr(record("n1", evidence=(news(confirm_code="123456"),))) + repr(news(confirm_code="123456"))
    assert "张三" not in shown
    assert "123456" not in shown


async def test_payouts_are_shown_beside_other_tables(journal: Journal, tmp_path: Path) -> None:
    """By day where the gateway told one, by number, and those paid on an unknown day; bills and days as they were told."""
    paid = {"result_pay": "SUCCESS", "oid_paybill": "B1"}
    await journal.add([record("n1", money_order="0.07"), record("n2"), record("n3")])
    await journal.save("n1", 0, change(State.PAID, evidence=(news(at(1), **paid, settle_date="20261123"),)))
    await journal.save(
        "n1", 1, change(State.REFUNDED, evidence=(news(at(2), result_pay="CANCEL", settle_date="20261124"),))
    )
    await journal.save("n2", 0, change(State.PAID, evidence=(news(at(1), **paid),)))

    def work(db: sqlite3.Connection) -> tuple[list[object], ...]:
        columns = "oid_partner, no_order, fen, state, oid_paybill, settle_date"
        dated = db.execute(f"SELECT {columns} FROM dated ORDER BY settle_date, no_order").fetchall()
        numbered = db.execute(f"SELECT {columns} FROM numbered ORDER BY no_order").fetchall()
        return dated, numbered, db.execute("SELECT oid_partner, no_order FROM undated").fetchall()

    dated, numbered, undated = await journal.beside(tmp_path / "scratch.db", work)
    assert dated == [(PARTNER, "n1", 7, "REFUNDED", "B1", "20261123")]
    assert numbered == [*dated, (PARTNER, "n2", 2578, "PAID", "B1", None), (PARTNER, "n3", 2578, "UNSENT", None, None)]
    assert undated == [(PARTNER, "n2")]
    await journal.verify()


async def test_payouts_shown_beside_other_tables_are_only_read(journal: Journal, tmp_path: Path) -> None:
    await journal.add([record("n1")])

    def spoil(db: sqlite3.Connection) -> None:
        db.execute("UPDATE payouts SET state = 'PAID'")

    with pytest.raises(JournalUnavailable):
        await journal.beside(tmp_path / "scratch.db", spoil)
    assert (await journal.load("n1") or record()).state is State.UNSENT


async def test_a_statements_date_counts_only_where_there_is_no_other_and_a_refunds_never(
    journal: Journal, tmp_path: Path
) -> None:
    """The gateway's own word on the day of a payment comes first, in whatever order they come."""
    listed = evolve(news(at(3), result_pay="SUCCESS", settle_date="20261125"), source=Source.STATEMENT, attempt=None)
    told = news(at(4), result_pay="SUCCESS", settle_date="20261123")
    later = evolve(listed, at=at(5), settle_date="20261126")
    await journal.add([record("n1"), record("n2")])
    for version, piece in enumerate((listed, told, later)):
        await journal.save("n1", version, change(State.PAID, evidence=(piece,)))
    back = news(at(6), result_pay="CANCEL", settle_date="20261130")
    for version, piece in enumerate((back, listed, later)):
        await journal.save("n2", version, change(State.PAID, evidence=(piece,)))

    def work(db: sqlite3.Connection) -> list[object]:
        return db.execute("SELECT settle_date FROM numbered ORDER BY no_order").fetchall()

    assert await journal.beside(tmp_path / "scratch.db", work) == [("20261123",), ("20261125",)]
    await journal.verify()
