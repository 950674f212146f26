"""Whatever is asked of them, in whatever order: the journals in memory and in a file give the same answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_samples import MOMENT, PARTNER, amendment, at, attempt, change, journal_keys, lease, news, record

from lianlian_async.crypto import JournalKeys
from lianlian_async.errors import LianLianError
from lianlian_async.journal import Journal, Lease, Moved, Orphan, TwinsFound, sqlite_rotate
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_rotate import rotate
from lianlian_async.resolver import State, Step

Ask = Callable[[Journal], Coroutine[Any, Any, object]]

NUMBERS = st.sampled_from(["n1", "n2", "n3", "n4"])
KEYS = st.sampled_from([None, "k1", "k2"])
PARTNERS = st.sampled_from([PARTNER, PARTNER, "other"])
OWNERS = st.sampled_from(["a", "b"])
NAMES = st.sampled_from(["app", "books"])
STATES = st.sampled_from([State.UNSENT, State.UNKNOWN, State.IN_PROGRESS, State.PAID, State.FAILED])
MOMENTS = st.integers(-3, 12).map(at)
# A lease of no time is among them: both must refuse it.
LENGTHS = st.sampled_from([0, 1, 2, 3, 5, 8, 8, 8])
LEASES = st.builds(lambda owner, since, length: lease(owner, since, since + length), OWNERS, st.integers(0, 9), LENGTHS)
CARDS = st.sampled_from(["62", "63"])
AMOUNTS = st.sampled_from(["1.00", "2.00"])
LIMITS = st.integers(0, 4)


@st.composite
def records(draw: st.DrawFn) -> Any:
    no_order, amount = draw(NUMBERS), draw(AMOUNTS)
    return record(
        no_order,
        key=draw(KEYS),
        oid_partner=draw(PARTNERS),
        content={"card_no": draw(CARDS), "money_order": amount, "no_order": no_order},
        content_hash=draw(st.sampled_from(["h1", "h1", "h2"])),
        created_at=draw(MOMENTS),
        state=draw(STATES),
        due_at=draw(st.none() | MOMENTS),
        generation=draw(st.sampled_from([0, 0, 1])),
    )


ATTEMPTS = st.integers(1, 9).map(lambda number: (attempt(number),))
# A change that takes a lease and ends one is among them: both must refuse it.
HOLDS = st.one_of(
    st.just({}),
    st.builds(lambda one: {"lease": one}, LEASES),
    st.builds(lambda one: {"lease": one}, LEASES),
    st.builds(lambda owner: {"release": owner}, OWNERS),
    st.builds(lambda one, owner: {"lease": one, "release": owner}, LEASES, OWNERS),
)


@st.composite
def changes(draw: st.DrawFn) -> Any:
    plain = change(
        draw(STATES),
        draw(st.sampled_from([Step.QUERY, Step.DECIDE, Step.NOTHING])),
        draw(MOMENTS | st.none()),
        draw(st.just(()) | st.just(()) | ATTEMPTS),
        tuple(news(moment) for moment in draw(st.lists(MOMENTS, max_size=2))),
    )
    return evolve(plain, **draw(HOLDS))


async def _save(journal: Journal, no_order: str, behind: int, wanted: Any, amended: dict[str, str] | None) -> object:
    """Mostly from the version that is there."""
    if amended is not None:
        wanted = evolve(wanted, amendment=amendment(**{"no_order": no_order, **amended}))
    held = await journal.load(no_order)
    since = MOMENT if amended is not None and len(no_order) % 2 == 0 else None
    return await journal.save(no_order, (held.version if held else 0) - behind, wanted, twins_since=since)


async def _replace(journal: Journal, no_order: str, new: str, behind: int) -> object:
    held = await journal.load(no_order)
    if held is None:
        return await journal.replace(no_order, 0, record(new))
    content = {**held.content, "no_order": new}
    following = record(
        new, key=held.key, oid_partner=held.oid_partner, generation=held.generation + 1, content=content, due_at=MOMENT
    )
    return await journal.replace(no_order, held.version - behind, following)


async def _told(journal: Journal, name: str, seq: int, again_at: Any) -> object:
    return await journal.told(name, Moved(seq, "n1", 1, State.PAID, Step.NOTHING), again_at=again_at)


def _asking(method: str, *arguments: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Ask]:
    def asked(values: Sequence[Any], named: dict[str, Any]) -> Ask:
        async def ask(journal: Journal) -> object:
            return await getattr(journal, method)(*values, **named)

        return ask

    return st.builds(asked, st.tuples(*arguments), st.fixed_dictionaries(more))


def _doing(
    what: Callable[..., Coroutine[Any, Any, object]], *arguments: st.SearchStrategy[Any]
) -> st.SearchStrategy[Ask]:
    return st.tuples(*arguments).map(lambda values: lambda journal: what(journal, *values))


BEHIND = st.sampled_from([0] * 9 + [1])
AMENDED = st.fixed_dictionaries({"card_no": CARDS, "money_order": AMOUNTS})
WRONGLY_AMENDED = st.fixed_dictionaries({"no_order": NUMBERS})
SAVES = _doing(_save, NUMBERS, BEHIND, changes(), st.one_of(st.none(), st.none(), AMENDED, WRONGLY_AMENDED))
KINDS = (
    _asking("add", st.lists(records(), max_size=3)),
    _asking(
        "add", st.lists(records(), max_size=3), twins_since=st.none() | MOMENTS, meant=st.just(()) | st.lists(NUMBERS)
    ),
    SAVES,
    SAVES,
    SAVES,
    _doing(_replace, NUMBERS, NUMBERS, BEHIND),
    _asking("claim", PARTNERS, LEASES, LIMITS),
    _asking("release", NUMBERS, OWNERS),
    _asking("due", PARTNERS, MOMENTS, LIMITS),
    _asking("moved", NAMES, LEASES, LIMITS),
    _asking("moved", NAMES, LEASES, st.just(99)),
    _doing(_told, NAMES, st.integers(0, 6), st.none() | MOMENTS),
    _asking("turn", PARTNERS, st.integers(-4000, 4000).map(at), st.integers(0, 90).map(timedelta), st.integers(1, 3)),
    _asking("turn", PARTNERS, MOMENTS, st.integers(0, 3).map(lambda s: timedelta(seconds=s)), st.integers(0, 3)),
    _asking("twins", records(), MOMENTS),
    _asking("revived", NUMBERS),
    _asking("note_orphan", st.builds(Orphan, PARTNERS, NUMBERS, MOMENTS, st.fixed_dictionaries({"a": AMOUNTS}))),
    _asking("orphans", PARTNERS, st.none() | st.lists(NUMBERS)),
)
CALLS = st.lists(st.one_of(*KINDS), min_size=8, max_size=40)


async def _outcome(ask: Ask, journal: Journal) -> object:
    """What came of it; of an error what a caller can tell apart."""
    try:
        return await ask(journal)
    except TwinsFound as error:
        return TwinsFound, error.twins
    except (LianLianError, ValueError, OverflowError) as error:
        return type(error)


async def _everything(journal: Journal) -> object:
    """All that can be learned from a journal."""
    return (
        await journal.page(None, 100),
        await journal.tally(),
        await journal.newest(),
        await journal.verify(),
        [await journal.due(partner, at(100), 100) for partner in (PARTNER, "other")],
        [await journal.orphans(partner) for partner in (PARTNER, "other")],
        [await journal.moved(name, Lease("z", at(90), at(91)), 100) for name in ("app", "books", "new")],
    )


async def _begin(journal: Journal) -> object:
    """Four payouts, two of which are twins, and a few changes."""
    begun = [record(f"n{number}", key=f"k{number}", content_hash="h1", due_at=at(number % 3)) for number in range(1, 5)]
    added = await journal.add(begun)
    return added, [await journal.save(f"n{number}", 0, change()) for number in range(2, 5)]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([None, journal_keys("a")]), CALLS)
def test_any_calls_in_any_order(keys: JournalKeys | None, calls: list[Ask]) -> None:
    """Encrypted or not: each answer, each error and everything that is there in the end is the same, after opening again too."""

    async def both() -> None:
        with tempfile.TemporaryDirectory() as directory:
            memory, file = MemoryJournal(), SqliteJournal(Path(directory, "payouts.db"), keys=keys)
            await memory.open()
            await file.open()
            for ask in (_begin, *calls):
                assert await _outcome(ask, file) == await _outcome(ask, memory)
            await file.close()
            await file.open()
            assert await _everything(file) == await _everything(memory)
            await file.close()

    asyncio.run(both())


class Interrupted(Exception):
    """A rotation went so far and no further."""


def _rotate(path: Path, name: str, stop_after: int) -> None:
    """Seal everything anew with one key, one at a time, and die after so many."""

    def observe(done: int) -> None:
        if done > stop_after:
            raise Interrupted

    keys = journal_keys(name, *(other for other in "abc" if other != name))
    with suppress(Interrupted):
        rotate(path, keys, observe=observe)


async def _rotation(journal: Journal, name: str, stop_after: int) -> None:
    if isinstance(journal, SqliteJournal):
        _rotate(journal.path, name, stop_after)


ROTATIONS = _doing(_rotation, st.sampled_from("abc"), st.sampled_from([0, 1, 2, 3, 99]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["", "a"]), st.integers(0, 5), st.lists(st.one_of(SAVES, ROTATIONS, *KINDS), max_size=25))
def test_any_calls_between_rotations_that_were_interrupted(key: str, stop_after: int, calls: list[Ask]) -> None:
    """The keys change under the journal's hands, or come to one that had none, and nobody can tell by its answers."""

    async def both() -> None:
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite_rotate, "_STRETCH", 1)
            patch.setattr(sqlite_rotate, "_PAUSE_S", 0)
            path = Path(directory, "payouts.db")
            memory, before = MemoryJournal(), SqliteJournal(path, keys=journal_keys(key) if key else None)
            await memory.open()
            await before.open()
            assert await _begin(before) == await _begin(memory)
            await before.close()
            _rotate(path, "b", stop_after)
            file = SqliteJournal(path, keys=journal_keys("c", "b", "a"))
            await file.open()
            for ask in calls:
                assert await _outcome(ask, file) == await _outcome(ask, memory)
            assert await _everything(file) == await _everything(memory)
            await file.close()

    asyncio.run(both())
