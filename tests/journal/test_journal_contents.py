"""Keys, contents, twins and generations: what a payout is; run over all journals."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve
from journal_samples import HASH, MOMENT, PARTNER, amendment, at, attempt, change, lease, news, record

from lianlian_async.clock import SHANGHAI
from lianlian_async.journal import Amendment, Change, Journal, Record, StaleVersion, Tally
from lianlian_async.resolver import State, Step


def amends(amended: Amendment, **more: Any) -> Change:
    return evolve(change(**more), amendment=amended)


def to(card_no: str, no_order: str, **more: Any) -> Record:
    """A payout of 25.78 to this card."""
    content = {"card_no": card_no, "money_order": more.pop("money_order", "25.78"), "no_order": no_order}
    return record(no_order, content=content, **more)


# --- keys and numbers


async def test_a_key_comes_before_a_number(journal: Journal) -> None:
    """Whoever still has the old number in hand is led to the newest generation of the key."""
    await journal.add([record("n1", key="salary", state=State.FAILED)])
    new = await journal.replace("n1", 0, record("n2", key="salary", generation=1))
    assert await journal.add([record("n1", key="salary")]) == [new]


async def test_a_number_that_another_key_has(journal: Journal) -> None:
    """The key is unknown, so the number decides."""
    [held] = await journal.add([record("n1", key="a")])
    assert await journal.add([record("n1", key="b")]) == [held]
    assert await journal.find(PARTNER, "b") is None


async def test_a_list_in_which_numbers_and_keys_cross(journal: Journal) -> None:
    """It is as if its records were added one after the other."""
    await journal.add([record("n5", key=None)])
    crossed = [record("n1", key="a"), record("n5", key="a"), record("n1", key="b"), record("n2", key="a")]
    held = await journal.add([*crossed, record("n2", key="c")])
    assert [(one.no_order, one.key) for one in held] == [("n1", "a")] * 4 + [("n2", "c")]
    assert [one.no_order for one in await journal.page(None, 10)] == ["n1", "n2", "n5"]


async def test_one_of_a_list_has_other_content(journal: Journal) -> None:
    """Nothing of the list is written, and its place shows what exists."""
    [held] = await journal.add([record("n1")])
    assert await journal.add([record("n2"), record("n1", content_hash="1" * 64)]) == [record("n2"), held]
    assert await journal.load("n2") is None


@pytest.mark.parametrize("more", [{"former_hashes": (HASH,)}, {"lease": lease()}, {"replaced_by": "n0"}])
async def test_a_new_payout_with_what_only_a_journal_adds(journal: Journal, more: dict[str, Any]) -> None:
    """ValueError: it would be lost. A record that the journal itself gave may be added again."""
    with pytest.raises(ValueError, match="a new payout has"):
        await journal.add([record("n1"), record("n2", **more)])
    [held] = await journal.add([record("n0")])
    with pytest.raises(ValueError, match="a new payout has"):
        await journal.replace("n0", 0, record("n2", key="k-n0", generation=1, **more))
    assert await journal.add([evolve(held, **more)]) == [held]
    assert await journal.page(None, 10) == [held]


# --- generations


@pytest.mark.parametrize("key", ["salary", None])
async def test_generations_of_a_payout(journal: Journal, key: str | None) -> None:
    """Each names the next one, also without a key."""
    await journal.add([record("n0", key=key)])
    for generation in range(3):
        new = record(f"n{generation + 1}", key=key, generation=generation + 1)
        assert await journal.replace(f"n{generation}", 0, new) == new
    held = await journal.page(None, 10)
    assert [one.replaced_by for one in held] == ["n1", "n2", "n3", None]
    assert await journal.replace("n1", 0, record("x", key=key, generation=2)) == held[2]


async def test_a_replacement_that_was_not_written(journal: Journal) -> None:
    """The number existed: it does not replace anything."""
    await journal.add([record("n1"), record("n2")])
    await journal.replace("n1", 0, record("n2", key="k-n1", generation=1))
    assert await journal.load("n1") == record("n1")


async def test_a_replaced_payout_moves_on(journal: Journal) -> None:
    """It keeps its successor, and its own version."""
    await journal.add([record("n1")])
    await journal.replace("n1", 0, record("n2", key="k-n1", generation=1))
    assert await journal.save("n1", 0, change(State.PAID, evidence=(news(),))) == 1
    held = await journal.load("n1")
    assert held is not None
    assert (held.replaced_by, held.version) == ("n2", 1)


# --- amendments


async def test_a_payout_is_amended(journal: Journal) -> None:
    """Content and hash are the new ones; the earlier hashes stay, oldest first, and it stands for all of them."""
    given = record("n1", oid_partner=PARTNER)
    await journal.add([given])
    first = amendment(money_order="1.00", when=at(10).astimezone(SHANGHAI))
    assert await journal.save("n1", 0, amends(first, evidence=(news(),))) == 1
    second = amendment(money_order="2.00", acct_name="李四", when=at(20))
    assert await journal.save("n1", 1, amends(second, attempts=(attempt(1),))) == 2
    assert await journal.save("n1", 2, change(evidence=(news(at(1)),))) == 3
    held = await journal.load("n1")
    assert held == evolve(
        given,
        content=second.content,
        content_hash="2.00",
        former_hashes=(HASH, "1.00"),
        version=3,
        state=State.UNKNOWN,
        step=Step.QUERY,
        attempts=(attempt(1),),
        evidence=(news(), news(at(1))),
    )
    assert isinstance(held.content, MappingProxyType)
    assert [held.stands_for(one) for one in (HASH, "1.00", "2.00", "3.00")] == [True, True, True, False]
    assert await journal.newest() == at(20)
    assert await journal.tally() == {State.UNKNOWN: Tally(1, Decimal("2.00"))}
    assert await journal.verify() == 1
    assert await journal.find(PARTNER, "k-n1") == held
    assert await journal.page(None, 1) == [held]


async def test_an_amended_payout_is_added_again(journal: Journal) -> None:
    """With any content it ever had it is the same payout; with another one it is not."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, amends(amendment(money_order="1.00")))
    held = await journal.load("n1")
    for content_hash in (HASH, "1.00"):
        assert await journal.add([record("n1", content_hash=content_hash), record(f"with {content_hash}")]) == [
            held,
            record(f"with {content_hash}"),
        ]
    await journal.add([record("n1", content_hash="2.00"), record("n3")])
    assert await journal.load("n3") is None


async def test_a_payout_is_amended_back(journal: Journal) -> None:
    """All its hashes stay on record."""
    await journal.add([record("n1", content_hash="25.78")])
    await journal.save("n1", 0, amends(amendment(money_order="1.00")))
    await journal.save("n1", 1, amends(amendment()))
    held = await journal.load("n1")
    assert held is not None
    assert (held.content_hash, held.former_hashes) == ("25.78", ("25.78", "1.00"))


@pytest.mark.parametrize(
    "bad",
    [
        amendment("n2"),
        amendment("n1", oid_partner="other"),
        Amendment({"money_order": "1.00"}, HASH, MOMENT, "Li"),
        amendment("n1", money_order="1.0"),
        evolve(amendment("n1"), at=MOMENT.replace(tzinfo=None)),
        amendment("n1", by="\ud800"),
        evolve(amendment("n1"), content_hash="\ud800"),
    ],
)
async def test_an_amendment_that_cannot_be(journal: Journal, bad: Amendment) -> None:
    """ValueError, and nothing of the change is written; a number and a merchant are never amended."""
    await journal.add([record("n1")])
    with pytest.raises(ValueError):
        await journal.save("n1", 0, evolve(amends(bad, evidence=(news(at(9)),)), lease=lease()))
    assert await journal.load("n1") == record("n1")
    assert await journal.newest() == MOMENT


async def test_an_amendment_from_an_old_version(journal: Journal) -> None:
    """StaleVersion, and the content is as it was."""
    await journal.add([record("n1")])
    await journal.save("n1", 0, change())
    with pytest.raises(StaleVersion):
        await journal.save("n1", 0, amends(amendment(money_order="1.00")))
    held = await journal.load("n1")
    assert held is not None
    assert held.content["money_order"] == "25.78"


async def test_the_caller_changes_the_content_of_an_amendment(journal: Journal) -> None:
    """The journal's record does not change."""
    content = {"no_order": "n1", "money_order": "1.00"}
    await journal.add([record("n1")])
    await journal.save("n1", 0, amends(Amendment(content, HASH, MOMENT, "Li")))
    content["money_order"] = "99.00"
    held = await journal.load("n1")
    assert held is not None
    assert held.content == {"no_order": "n1", "money_order": "1.00"}
