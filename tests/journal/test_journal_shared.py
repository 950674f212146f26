"""What processes agree about on one journal: leases, turns, what applications are told, orphans; run over all journals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve
from journal_samples import MOMENT, PARTNER, amendment, at, attempt, change, lease, news, record

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import JournalUnavailable
from lianlian_async.journal import Journal, Lease, Leased, Moved, Orphan, Record, StaleVersion
from lianlian_async.resolver import State, Step

SECOND = timedelta(seconds=1)
ORPHAN = Orphan(PARTNER, "stranger", MOMENT, {"no_order": "stranger", "result_pay": "SUCCESS"})
NAIVE = MOMENT.replace(tzinfo=None)
NO_TEXT = "\ud800"


async def held(journal: Journal, no_order: str = "n1") -> Record:
    found = await journal.load(no_order)
    assert found is not None
    return found


async def lease_of(journal: Journal, no_order: str = "n1") -> Lease | None:
    return (await held(journal, no_order)).lease


def ready(*numbers: str, **more: Any) -> list[Record]:
    """Payouts that are due from the first moment on."""
    return [record(no_order, due_at=MOMENT, **more) for no_order in numbers]


# --- leases


async def test_a_save_takes_a_lease(journal: Journal) -> None:
    """The record shows it, in UTC, and it counts as nothing else."""
    await journal.add([record("n1")])
    shanghai = Lease("a", at(0).astimezone(SHANGHAI), at(60).astimezone(SHANGHAI))
    assert await journal.save("n1", 0, evolve(change(), lease=shanghai)) == 1
    assert await held(journal) == record("n1", version=1, state=State.UNKNOWN, step=Step.QUERY, lease=lease("a"))
    taken = await lease_of(journal)
    assert taken is not None
    assert (taken.since.tzinfo, taken.until.tzinfo) == (UTC, UTC)


async def test_somebody_else_is_at_the_payout(journal: Journal) -> None:
    """Leased, until the last microsecond of the lease, and nothing of the change is written."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, evolve(change(), lease=lease("a")))
    before = await held(journal)
    theirs = Lease("b", at(60) - timedelta(microseconds=1), at(100))
    wanted = evolve(
        change(State.PAID, Step.NOTHING, attempts=(attempt(1, started_at=at(70)),), evidence=(news(at(70)),)),
        amendment=amendment(money_order="1.00"),
        lease=theirs,
    )
    with pytest.raises(Leased, match="somebody else is at payout n1"):
        await journal.save("n1", 1, wanted)
    assert await held(journal) == before
    assert await journal.newest() == MOMENT
    assert len(await journal.moved("app", lease("app"), 10)) == 1
    assert await journal.save("n1", 1, evolve(wanted, lease=lease("b", 60, 100))) == 2
    assert await lease_of(journal) == lease("b", 60, 100)


async def test_a_save_from_an_old_version_under_somebody_elses_lease(journal: Journal) -> None:
    """StaleVersion and not Leased: waiting would not help."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, evolve(change(), lease=lease("a")))
    with pytest.raises(StaleVersion, match="at version 1") as stale:
        await journal.save("n1", 0, evolve(change(), lease=lease("b")))
    assert not isinstance(stale.value, Leased)


async def test_a_save_without_a_lease(journal: Journal) -> None:
    """It is guarded by the version alone, and leaves the lease as it is: news is never refused."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, evolve(change(), lease=lease("a")))
    assert await journal.save("n1", 1, change(evidence=(news(),))) == 2
    assert await lease_of(journal) == lease("a")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (lease("a", 10, 100), lease("a", 10, 100)),
        (lease("a", 10, 20), lease("a", 10, 60)),
        (lease("a", 59.999999, 60), lease("a", 59.999999, 60)),
        (lease("a", 60, 70), lease("a", 60, 70)),
        (lease("a", 200, 201), lease("a", 200, 201)),
        (lease("b", 60, 61), lease("b", 60, 61)),
        (lease("a", -20, -10), lease("a", -20, 60)),
    ],
)
async def test_a_lease_is_taken_again(journal: Journal, wanted: Lease, expected: Lease) -> None:
    """Its owner's own is never made shorter while in force; one that has ended is anybody's."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, evolve(change(), lease=lease("a")))
    await journal.save("n1", 1, evolve(change(), lease=wanted))
    assert await lease_of(journal) == expected


async def test_a_lease_is_released(journal: Journal) -> None:
    """By its owner only, by a save or without one; the version stays."""
    await journal.add(ready("n1"))
    await journal.save("n1", 0, evolve(change(due_at=MOMENT), lease=lease("a")))
    await journal.release("n1", "b")
    await journal.save("n1", 1, evolve(change(due_at=MOMENT), release="b"))
    assert await lease_of(journal) == lease("a")
    await journal.release("n1", "a")
    await journal.release("n1", "a")
    await journal.release("nobody", "a")
    assert (await held(journal)).version == 2
    assert await lease_of(journal) is None
    await journal.save("n1", 2, evolve(change(due_at=MOMENT), lease=lease("b")))
    await journal.save("n1", 3, evolve(change(due_at=MOMENT), release="b"))
    assert await lease_of(journal) is None
    assert await journal.due(PARTNER, MOMENT, 10) == ["n1"]


async def test_a_save_that_fails_releases_nothing(journal: Journal) -> None:
    """The lease is as it was."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, evolve(change(attempts=(attempt(1),)), lease=lease("a")))
    for version, error in ((0, StaleVersion), (1, ValueError)):
        with pytest.raises(error):
            await journal.save("n1", version, evolve(change(attempts=(attempt(1),)), release="a"))
    assert await lease_of(journal) == lease("a")


@pytest.mark.parametrize(
    "bad",
    [
        {"lease": lease("a", 5, 5)},
        {"lease": lease("a", 6, 5)},
        {"lease": lease(NO_TEXT)},
        {"lease": Lease("a", NAIVE, at(60))},
        {"lease": Lease("a", MOMENT, NAIVE)},
        {"lease": lease("a"), "release": "a"},
        {"release": NO_TEXT},
    ],
)
async def test_a_lease_that_cannot_be(journal: Journal, bad: dict[str, Any]) -> None:
    """ValueError, and nothing is written."""
    await journal.add([record("n1")])
    with pytest.raises(ValueError):
        await journal.save("n1", 0, evolve(change(), **bad))
    assert await held(journal) == record("n1")


# --- claims


async def test_payouts_are_claimed(journal: Journal) -> None:
    """Due ones of one merchant, in the order of `due`, under the lease; their versions stay."""
    await journal.add(ready("late", "early", state=State.IN_PROGRESS))
    await journal.save("early", 0, change(State.IN_PROGRESS, due_at=at(-5), evidence=(news(),)))
    unknown = record("unknown", due_at=MOMENT, state=State.UNKNOWN, step=Step.QUERY)
    await journal.add([unknown, record("not yet", due_at=at(1))])
    await journal.add(ready("theirs", oid_partner="other"))
    expected = ["unknown", "early", "late"]
    assert await journal.due(PARTNER, MOMENT, 10) == expected
    claimed = await journal.claim(PARTNER, lease("a"), 10)
    assert [one.no_order for one in claimed] == expected
    assert claimed == [await held(journal, no_order) for no_order in expected]
    assert {one.lease for one in claimed} == {lease("a")}
    assert [one.version for one in claimed] == [0, 1, 0]
    assert claimed[1].evidence == (news(),)
    assert await journal.due(PARTNER, MOMENT, 10) == []
    assert await journal.due("other", MOMENT, 10) == ["theirs"]


async def test_sends_and_queries_are_claimed_apart(journal: Journal) -> None:
    """Whatever is due of the one kind, a claim of the other gets its own: sends by their moment, of queries the newest
    unknown first."""
    sends = [
        record("resend", due_at=at(-1), state=State.UNKNOWN, step=Step.SUBMIT),
        record("first send", due_at=at(-9), state=State.UNSENT, step=Step.SUBMIT),
    ]
    queries = [
        record("old unknown", due_at=at(-8), created_at=at(-8), state=State.UNKNOWN, step=Step.QUERY),
        record("new unknown", due_at=at(-2), created_at=at(-2), state=State.UNKNOWN, step=Step.QUERY),
        record("under way", due_at=at(-5), state=State.IN_PROGRESS, step=Step.QUERY),
        record("watched", due_at=at(-7), state=State.PAID, step=Step.NOTHING),
    ]
    await journal.add([*sends, *queries])
    of_sends, of_queries = ["first send", "resend"], ["new unknown", "old unknown", "watched", "under way"]
    assert await journal.due(PARTNER, MOMENT, 10, sends=True) == of_sends
    assert await journal.due(PARTNER, MOMENT, 10, sends=False) == of_queries
    assert await journal.due(PARTNER, MOMENT, 10) == [
        "new unknown", "old unknown", "first send", "watched", "under way", "resend",
    ]  # fmt: skip
    for limit in range(7):
        assert await journal.due(PARTNER, MOMENT, limit, sends=True) == of_sends[:limit]
        assert await journal.due(PARTNER, MOMENT, limit, sends=False) == of_queries[:limit]
    claimed = await journal.claim(PARTNER, lease("a"), 1, sends=True)
    assert [one.no_order for one in claimed] == ["first send"]
    claimed = await journal.claim(PARTNER, lease("a"), 10, sends=False)
    assert [one.no_order for one in claimed] == of_queries
    assert await journal.due(PARTNER, MOMENT, 10) == ["resend"]
    to_be_sent = change(State.UNKNOWN, Step.SUBMIT, due_at=at(-20))
    await journal.save("under way", 0, evolve(to_be_sent, release="a"))
    assert await journal.due(PARTNER, MOMENT, 10, sends=False) == []
    assert await journal.due(PARTNER, MOMENT, 10, sends=True) == ["under way", "resend"]


async def test_payouts_are_claimed_twice(journal: Journal) -> None:
    """What is under anybody's lease is passed over, one's own too, until it has ended."""
    await journal.add(ready("n1", "n2", "n3"))
    assert [one.no_order for one in await journal.claim(PARTNER, lease("a"), 2)] == ["n1", "n2"]
    assert [one.no_order for one in await journal.claim(PARTNER, lease("a", 1, 99), 10)] == ["n3"]
    assert await journal.claim(PARTNER, lease("b", 59, 99), 10) == []
    assert await journal.due(PARTNER, at(60), 10) == ["n1", "n2"]
    again = await journal.claim(PARTNER, lease("b", 60, 61), 10)
    assert [(one.no_order, one.lease) for one in again] == [("n1", lease("b", 60, 61)), ("n2", lease("b", 60, 61))]
    await journal.release("n2", "b")
    assert await journal.due(PARTNER, at(60), 10) == ["n2"]


async def test_nothing_is_claimed(journal: Journal) -> None:
    """A limit of none, or nobody's payouts."""
    await journal.add(ready("n1"))
    assert await journal.claim(PARTNER, lease("a"), 0) == []
    assert await journal.claim("other", lease("a"), 10) == []
    assert await lease_of(journal) is None


# --- turns


async def test_turns_are_reserved(journal: Journal) -> None:
    """One after the other, each merchant for itself; what passed unused is not made up for."""
    assert await journal.turn(PARTNER, MOMENT, SECOND, 1) == MOMENT
    assert await journal.turn(PARTNER, MOMENT, SECOND, 3) == at(1)
    assert await journal.turn(PARTNER, at(2).astimezone(SHANGHAI), SECOND / 2, 1) == at(4)
    assert await journal.turn(PARTNER, at(2), SECOND, 1) == at(4.5)
    assert await journal.turn("other", MOMENT, SECOND, 1) == MOMENT
    assert await journal.turn(PARTNER, at(100), SECOND, 1) == at(100)
    first = await journal.turn(PARTNER, at(100), SECOND, 1)
    assert (first, first.tzinfo) == (at(101), UTC)


async def test_a_clock_was_set_back(journal: Journal) -> None:
    """Up to an hour is waited for; from more than an hour ahead, the turns begin again."""
    assert await journal.turn(PARTNER, at(7199), SECOND, 1) == at(7199)
    assert await journal.turn(PARTNER, at(3600), SECOND, 1) == at(7200)
    assert await journal.turn(PARTNER, at(3600), SECOND, 1) == at(3600)
    assert await journal.turn(PARTNER, at(3600), SECOND, 1) == at(3601)


@pytest.mark.parametrize(
    ("now", "gap", "count"),
    [(NAIVE, SECOND, 1), (MOMENT, SECOND * 0, 1), (MOMENT, -SECOND, 1), (MOMENT, SECOND, 0), (MOMENT, SECOND, -1)],
)
async def test_turns_that_cannot_be(journal: Journal, now: datetime, gap: timedelta, count: int) -> None:
    """ValueError, and nothing is reserved."""
    with pytest.raises(ValueError):
        await journal.turn(PARTNER, now, gap, count)
    assert await journal.turn(PARTNER, MOMENT, SECOND, 1) == MOMENT


async def test_turns_beyond_the_calendar(journal: Journal) -> None:
    """OverflowError, and nothing is reserved."""
    with pytest.raises(OverflowError):
        await journal.turn(PARTNER, MOMENT, timedelta(days=365), 10_000)
    assert await journal.turn(PARTNER, MOMENT, SECOND, 1) == MOMENT


# --- what applications are told


async def three_changes(journal: Journal) -> list[Moved]:
    """n1 becomes unknown, then paid; n2 becomes unknown. What else is saved changes neither state nor step."""
    await journal.add([record("n1"), record("n2"), record("n3")])
    await journal.save("n1", 0, change(State.UNKNOWN))
    await journal.save("n1", 1, change(State.UNKNOWN, attempts=(attempt(1),), due_at=at(9)))
    await journal.save("n2", 0, change(State.UNKNOWN))
    await journal.save("n1", 2, change(State.PAID, Step.NOTHING, evidence=(news(),)))
    return [
        Moved(1, "n1", 1, State.UNKNOWN, Step.QUERY),
        Moved(2, "n2", 1, State.UNKNOWN, Step.QUERY),
        Moved(3, "n1", 3, State.PAID, Step.NOTHING),
    ]


async def test_payouts_move(journal: Journal) -> None:
    """Each change of state or step is told, once, in the order of the saves; intents are none."""
    expected = await three_changes(journal)
    assert await journal.moved("app", lease("a"), 10) == expected
    assert await journal.moved("app", lease("a"), 2) == expected[:2]
    assert await journal.moved("app", lease("a"), 0) == []
    await journal.told("app", expected[0])
    assert await journal.moved("app", lease("a"), 10) == expected[1:]
    await journal.told("app", expected[2])
    assert await journal.moved("app", lease("a"), 10) == []
    await journal.save("n2", 1, change(State.UNKNOWN, Step.DECIDE))
    assert await journal.moved("app", lease("a"), 10) == [Moved(4, "n2", 2, State.UNKNOWN, Step.DECIDE)]


async def test_two_subscribers(journal: Journal) -> None:
    """Each is told everything, also one that comes later."""
    expected = await three_changes(journal)
    for one in await journal.moved("app", lease("a"), 10):
        await journal.told("app", one)
    assert await journal.moved("books", lease("a"), 10) == expected
    assert await journal.moved("app", lease("a"), 10) == []


async def test_a_change_could_not_be_told(journal: Journal) -> None:
    """The others go on; it comes first when its second chance has come, with the number of tries."""
    one, two, three = await three_changes(journal)
    await journal.told("app", one, again_at=at(30))
    assert await journal.moved("app", lease("a", 29), 10) == [two, three]
    await journal.told("app", two, again_at=at(10).astimezone(SHANGHAI))
    again = await journal.moved("app", lease("a", 30), 10)
    assert again == [evolve(one, tries=1), evolve(two, tries=1), three]
    assert await journal.moved("app", lease("a", 30), 1) == again[:1]
    await journal.told("app", three)
    await journal.told("app", again[0], again_at=at(40))
    assert await journal.moved("app", lease("a", 30), 10) == [evolve(two, tries=1)]
    assert await journal.moved("app", lease("a", 40), 10) == [evolve(one, tries=2), evolve(two, tries=1)]
    await journal.told("app", again[0])
    await journal.told("app", again[1])
    assert await journal.moved("app", lease("a", 50), 10) == []


async def test_an_early_change_is_told_late(journal: Journal) -> None:
    """What came after it is not told again."""
    one, _, three = await three_changes(journal)
    await journal.told("app", three)
    await journal.told("app", one)
    assert await journal.moved("app", lease("a"), 10) == []


async def test_two_tell_the_same_subscriber(journal: Journal) -> None:
    """One at a time, while its lease is in force; asking again makes it longer, never shorter."""
    expected = await three_changes(journal)
    assert await journal.moved("app", lease("a", 0, 60), 10) == expected
    assert await journal.moved("app", lease("b", 59, 99), 10) == []
    assert await journal.moved("books", lease("b", 59, 99), 10) == expected
    assert await journal.moved("app", lease("a", 10, 20), 10) == expected
    assert await journal.moved("app", lease("b", 59, 99), 10) == []
    assert await journal.moved("app", lease("b", 60, 99), 10) == expected
    assert await journal.moved("app", lease("a", 61, 99), 10) == []


async def test_a_subscriber_nobody_has_asked_for(journal: Journal) -> None:
    """It may be told all the same, and anybody may go on from there."""
    one, two, three = await three_changes(journal)
    await journal.told("app", one)
    assert await journal.moved("app", lease("a"), 10) == [two, three]


async def test_a_change_that_is_not_in_the_journal(journal: Journal) -> None:
    """ValueError, and nothing is remembered: later changes would be lost."""
    expected = await three_changes(journal)
    for seq in (0, -1, 4):
        for again_at in (None, at(5)):
            with pytest.raises(ValueError, match="no change"):
                await journal.told("app", evolve(expected[0], seq=seq), again_at=again_at)
    assert await journal.moved("app", lease("a"), 10) == expected


# --- orphans


async def test_an_orphan_is_noted(journal: Journal) -> None:
    """Once for each different thing that is said, with the moment when it first came."""
    assert await journal.note_orphan(ORPHAN)
    assert not await journal.note_orphan(evolve(ORPHAN, at=at(99), said=dict(reversed(ORPHAN.said.items()))))
    failed = evolve(ORPHAN, at=at(1).astimezone(SHANGHAI), said={**ORPHAN.said, "result_pay": "FAILURE"})
    assert await journal.note_orphan(failed)
    assert await journal.note_orphan(evolve(ORPHAN, no_order="other"))
    assert await journal.note_orphan(evolve(ORPHAN, oid_partner="other"))
    found = await journal.orphans(PARTNER, ["stranger", "nobody", "stranger"])
    assert found == [failed, ORPHAN]
    assert [one.at.tzinfo for one in found] == [UTC, UTC]
    assert isinstance(found[0].said, MappingProxyType)
    assert await journal.orphans(PARTNER) == [failed, evolve(ORPHAN, no_order="other"), ORPHAN]
    assert await journal.orphans(PARTNER, []) == []
    assert await journal.orphans("nobody") == []


async def test_what_an_orphan_says_is_any_text(journal: Journal) -> None:
    """It comes back as it was; the caller's own mapping may change."""
    said = {"memo": "a\0b\ud800\u202e\n𝄞'\"", "": ""}
    kept = dict(said)
    assert await journal.note_orphan(Orphan("a\0b", "a\0c", MOMENT, said))
    assert await journal.note_orphan(Orphan("a\0b", "a", MOMENT, said))
    said["memo"] = "other"
    assert await journal.orphans("a\0b", ["a\0c"]) == [Orphan("a\0b", "a\0c", MOMENT, kept)]


async def test_many_orphans(journal: Journal) -> None:
    """Of a merchant the newest thousand, of given numbers all."""
    for number in range(1003):
        await journal.note_orphan(Orphan(PARTNER, f"n{number}", at(number % 7), {}))
    everything = await journal.orphans(PARTNER)
    assert len(everything) == 1000
    assert everything[0].no_order == "n1000"
    assert [one.at for one in everything] == sorted((one.at for one in everything), reverse=True)
    assert len(await journal.orphans(PARTNER, [f"n{number}" for number in range(1003)])) == 1003


# --- all of them

QUESTIONS: dict[str, Callable[[Journal], Any]] = {
    "claim": lambda j: j.claim(NO_TEXT, lease("a"), 1),
    "claim by nobody": lambda j: j.claim(PARTNER, lease(NO_TEXT), 1),
    "claim below none": lambda j: j.claim(PARTNER, lease("a"), -1),
    "claim without end": lambda j: j.claim(PARTNER, Lease("a", MOMENT, NAIVE), 1),
    "claim of no time": lambda j: j.claim(PARTNER, lease("a", 5, 5), 1),
    "due": lambda j: j.due(NO_TEXT, MOMENT, 1),
    "release": lambda j: j.release(NO_TEXT, "a"),
    "release of nobody": lambda j: j.release("n1", NO_TEXT),
    "turn": lambda j: j.turn(NO_TEXT, MOMENT, SECOND, 1),
    "moved": lambda j: j.moved(NO_TEXT, lease("a"), 1),
    "moved below none": lambda j: j.moved("app", lease("a"), -1),
    "moved to nobody": lambda j: j.moved("app", lease(NO_TEXT), 1),
    "moved of no time": lambda j: j.moved("app", lease("a", 5, 5), 1),
    "told": lambda j: j.told(NO_TEXT, Moved(1, "n1", 1, State.UNKNOWN, Step.QUERY)),
    "told naively": lambda j: j.told("app", Moved(1, "n1", 1, State.UNKNOWN, Step.QUERY), again_at=NAIVE),
    "note_orphan": lambda j: j.note_orphan(evolve(ORPHAN, no_order=NO_TEXT)),
    "note_orphan for nobody": lambda j: j.note_orphan(evolve(ORPHAN, oid_partner=NO_TEXT)),
    "note_orphan naively": lambda j: j.note_orphan(evolve(ORPHAN, at=NAIVE)),
    "orphans": lambda j: j.orphans(NO_TEXT),
    "orphans of no text": lambda j: j.orphans(PARTNER, [NO_TEXT]),
    "twins": lambda j: j.twins(record(NO_TEXT), MOMENT),
    "twins naively": lambda j: j.twins(record("n1"), NAIVE),
    "add naively": lambda j: j.add([record("n9")], twins_since=NAIVE),
}


@pytest.mark.parametrize("what", QUESTIONS)
async def test_a_question_with_a_mistake(journal: Journal, what: str) -> None:
    """ValueError, and nothing is written."""
    await journal.add(ready("n1"))
    await journal.save("n1", 0, change(due_at=MOMENT))
    before = await held(journal)
    with pytest.raises(ValueError):
        await QUESTIONS[what](journal)
    assert await held(journal) == before
    assert await journal.orphans(PARTNER) == []
    assert len(await journal.moved("app", lease("b"), 10)) == 1
    assert await journal.page(None, 10) == [before]


async def test_a_closed_journal_agrees_about_nothing(journal: Journal) -> None:
    """JournalUnavailable, for every question and command."""
    await journal.close()
    for call in (
        journal.claim(PARTNER, lease("a"), 1),
        journal.release("n1", "a"),
        journal.turn(PARTNER, MOMENT, SECOND, 1),
        journal.moved("app", lease("a"), 1),
        journal.told("app", Moved(1, "n1", 1, State.UNKNOWN, Step.QUERY)),
        journal.note_orphan(ORPHAN),
        journal.orphans(PARTNER),
        journal.twins(record("n1"), MOMENT),
        journal.replace("n1", 0, record("n2")),
        journal.verify(),
    ):
        with pytest.raises(JournalUnavailable, match="not open"):
            await call


async def test_the_journal_is_opened_again(journal: Journal) -> None:
    """What was agreed still holds, leases too."""
    one, two, three = await three_changes(journal)
    await journal.add(ready("n4", "n5"))
    await journal.save("n3", 0, evolve(change(), lease=lease("a")))
    await journal.claim(PARTNER, lease("b"), 1)
    await journal.turn(PARTNER, MOMENT, SECOND, 5)
    await journal.moved("app", lease("a"), 10)
    await journal.told("app", one, again_at=at(90))
    await journal.told("app", two)
    await journal.note_orphan(ORPHAN)
    await journal.close()
    await journal.open()
    assert await lease_of(journal, "n3") == lease("a")
    assert await lease_of(journal, "n4") == lease("b")
    assert [one.no_order for one in await journal.claim(PARTNER, lease("c"), 9)] == ["n5"]
    assert await journal.turn(PARTNER, MOMENT, SECOND, 1) == at(5)
    assert await journal.moved("app", lease("b", 59, 99), 10) == []
    assert (await journal.moved("app", lease("b", 90, 99), 10))[:2] == [evolve(one, tries=1), three]
    assert await journal.orphans(PARTNER) == [ORPHAN]
