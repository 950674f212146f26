"""`pay`: once, whatever is called how often and from wherever; and what it refuses before anything is written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import evolve
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, an_order

from lianlian_async import CommandRefused, InvalidOrder, LianLianClient, NothingSent, OrderConflict, State, Step
from lianlian_async.intake import intent_of
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.numbers import derive

JOURNALS = pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])

# Worked out once: an installation that is upgraded must find its payouts under the same numbers.
KEY = "salary-2026-11/emp-1042"
NUMBER_OF_KEY = "EK3HLRQD7LB726PG3GQVAQOF3B6BFJ5Z"


@JOURNALS
async def test_an_order_nobody_disturbs(world: MakeWorld, journal: str) -> None:
    """It is paid with one request, the result is final, and the masked payout shows what happened."""
    async with world(journal=journal) as w:
        client = await w.client()
        payout = await w.pay(client, an_order("25.78"), KEY)
        assert (payout.state, payout.step, payout.final, payout.sends) == (State.PAID, Step.NOTHING, True, 1)
        assert (payout.no_order, payout.key) == (NUMBER_OF_KEY, KEY)
        assert payout.oid_paybill is not None
        assert payout.ret_code == "0000"
        assert payout.settle_date == "20261123"
        assert payout.card_no == "622848*********0000"
        assert payout.acct_name == "李*"
        assert [r.endpoint for r in w.simulator.requests][0] == "pay"
        assert w.simulator.ledger.paid() == {payout.no_order: 1}
        await w.audit(client)


@JOURNALS
async def test_the_same_key_again_and_again(world: MakeWorld, journal: str) -> None:
    """The second and third call find the first payout; the gateway sees one request."""
    async with world(journal=journal) as w:
        client = await w.client()
        first = await w.pay(client, an_order())
        w.clock.advance(90)
        again = await w.pay(client, an_order())
        assert again == first
        assert len(w.pays()) == 1
        await w.audit(client)


@JOURNALS
async def test_the_same_key_in_a_hundred_tasks(world: MakeWorld, journal: str) -> None:
    """A hundred callers at once get the same one payout, sent once."""
    async with world(journal=journal) as w:
        client = await w.client()
        calls = [client.pay(an_order(), key="k", wait_s=1e9) for _ in range(100)]
        payouts = await w.done(asyncio.gather(*calls))
        assert {p.no_order for p in payouts} == {derive(OID_PARTNER, "k")}
        assert {p.state for p in payouts} == {State.PAID}
        assert len(w.pays()) == 1
        assert len(await w.records(client)) == 1
        await w.audit(client)


@pytest.mark.parametrize("fault", [None, "9999_before", "close_after"])
async def test_the_same_keys_from_two_clients_on_one_file(world: MakeWorld, fault: str | None) -> None:
    """Two clients with a file in common and eight keys in common pay each of them once."""
    async with world(journal="sqlite") as w:
        w.simulator.script({"acct_name": "李三"}, pay=[fault, None])
        one, two = await w.client(w.journal("shared")), await w.client(w.journal("shared"))
        calls = [c.pay(an_order(card=n), key=f"k{n}", wait_s=1e9) for n in range(8) for c in (one, two)]
        payouts = await w.done(asyncio.gather(*calls))
        assert len({p.no_order for p in payouts}) == 8
        assert {p.state for p in payouts} == {State.PAID}
        assert len(w.pays()) == (16 if fault == "9999_before" else 8)
        await w.audit(one)


@JOURNALS
async def test_the_same_key_after_the_client_was_closed_and_opened(world: MakeWorld, journal: str) -> None:
    """A payout is found again by another client on the same journal, and is not sent again."""
    async with world(journal=journal) as w:
        tap = w.journal("kept")
        first = await w.client(tap)
        paid = await w.pay(first, an_order())
        await first.aclose()
        second = await w.client(tap)
        assert await w.pay(second, an_order()) == paid
        found = await second.find("k")
        assert found == paid
        assert len(w.pays()) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"money_order": "25.79"}, {"card_no": "6228480222310000001"}, {"acct_name": "李四"}, {"info_order": "其他"},
        {"info_order": ""}, {"memo": "new"}, {"dt_order": "20261122120000"}, {"notify_url": "https://b.example.com/n"},
        {"no_order": "ANOTHER1"}, {"platform": "shop"}, {"risk_item": '{"a":"b"}'},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
async def test_the_same_key_with_other_content(world: MakeWorld, changed: dict[str, Any]) -> None:
    """OrderConflict names what differs and shows none of it; nothing is sent, and the first payout is as it was."""
    async with world() as w:
        client = await w.client()
        first = await w.pay(client, an_order())
        values = {"money_order": "25.78", "card_no": "6228480222300000000", **changed}
        with pytest.raises(OrderConflict) as caught:
            await client.pay(an_order(values.pop("money_order"), **values), key="k")
        assert next(iter(changed)) in str(caught.value)
        for secret in ("6228480222310000001", "6228480222300000000", "李四", "李三", "25.79"):
            assert secret not in str(caught.value)
        assert len(w.pays()) == 1
        assert await client.get(first.no_order) == first


async def test_what_the_caller_left_open_may_differ_later(world: MakeWorld) -> None:
    """Time, notify_url and platform that the client filled in are not held against a caller who asks again."""
    async with world() as w:
        tap = w.journal()
        first = await w.client(tap)
        paid = await w.pay(first, an_order())
        await first.aclose()
        w.clock.advance(7200)
        w.merchant = w.merchant.__class__(
            oid_partner=OID_PARTNER, keys=w.merchant.keys, base_url=w.merchant.base_url,
            notify_url="https://elsewhere.example.com/n", platform="shop",
        )  # fmt: skip
        second = await w.client(tap)
        assert await w.pay(second, an_order()) == paid
        assert paid.dt_order == "20261123100000"
        assert len(w.pays()) == 1


async def test_an_explicit_number(world: MakeWorld) -> None:
    """It is used as it is; asking again under the number alone, or with dt_order spelt out, finds the same payout."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order(no_order="PAY-1_a"), None)
        assert (paid.no_order, paid.key, paid.state) == ("PAY-1_a", None, State.PAID)
        assert await w.pay(client, an_order(no_order="PAY-1_a"), None) == paid
        assert await w.pay(client, an_order(no_order="PAY-1_a", dt_order=paid.dt_order), None) == paid
        with pytest.raises(OrderConflict):
            await client.pay(an_order("1.00", no_order="PAY-1_a"))
        assert len(w.pays()) == 1


async def test_the_same_payment_under_another_name(world: MakeWorld) -> None:
    """Paid by its number alone and then asked for with a key, or by key and then with a number: it is said that this is
    the same payment, what it goes by, and that it must not be paid under another key."""
    async with world() as w:
        client = await w.client()
        by_number = await w.pay(client, an_order(no_order="N1"), None)
        for order in (an_order(no_order="N1"), an_order(no_order="N1", dt_order=by_number.dt_order)):
            with pytest.raises(OrderConflict, match=r"N1 is the same payment under another name .*its number alone"):
                await client.pay(order, key="k1")
        await w.pay(client, an_order(card=2), "k2")
        with pytest.raises(OrderConflict, match=r"same payment .*the key k2.*do not pay it under another key"):
            await client.pay(an_order(card=2, no_order="N2"), key="k2")
        with pytest.raises(OrderConflict, match="another order"):
            await client.pay(an_order("1.00", no_order="N1"), key="k1")
        assert len(w.pays()) == 2


async def test_neither_key_nor_number(world: MakeWorld) -> None:
    """InvalidOrder says what to give; nothing is written and nothing sent."""
    async with world() as w:
        client = await w.client()
        with pytest.raises(InvalidOrder, match="give a key") as caught:
            await client.pay(an_order())
        assert caught.value.field == "no_order"
        assert await w.records(client) == []
        assert not w.simulator.requests


@pytest.mark.parametrize("key", ["", " ", " a", "a ", "a\n", "e\u0301", "a\u200bb", "x" * 201, "\ud800", "a\x00"])
async def test_a_key_that_cannot_name_a_payment(world: MakeWorld, key: str) -> None:
    """Empty, padded, invisible, unnormalised and endless keys are refused before anything is written."""
    async with world() as w:
        client = await w.client()
        with pytest.raises(InvalidOrder) as caught:
            await client.pay(an_order(), key=key)
        assert caught.value.field == "key"
        assert await w.records(client) == []


def test_numbers_are_the_same_in_another_process_and_version() -> None:
    """One fixed value each: another merchant, key or generation has another number, hash seeds do not matter."""
    assert derive(OID_PARTNER, KEY) == NUMBER_OF_KEY
    program = f"from lianlian_async.numbers import derive; print(derive({OID_PARTNER!r}, {KEY!r}))"
    for seed in ("0", "4711"):
        told = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert told.stdout.strip() == NUMBER_OF_KEY
    others = {derive(OID_PARTNER, KEY, 1), derive(OID_PARTNER[:-1], KEY), derive(OID_PARTNER, KEY + "3")}
    assert len(others | {NUMBER_OF_KEY}) == 4
    assert all(len(n) == 32 and set(n) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for n in others)
    assert derive("12", "34") != derive("123", "4")


async def test_a_journal_that_was_lost(world: MakeWorld) -> None:
    """The same number goes out again, the gateway turns it away, and the old payment is not mistaken for this one."""
    async with world() as w:
        first = await w.client()
        paid = await w.pay(first, an_order())
        w.clock.advance(60)
        second = await w.client(w.watch(MemoryJournal()))
        payout = await w.pay(second, an_order())
        assert payout.no_order == paid.no_order
        assert (payout.state, payout.step) == (State.CONFLICT, Step.DECIDE)
        assert w.simulator.ledger.paid() == {paid.no_order: 1}


async def test_a_caller_that_does_not_wait(world: MakeWorld) -> None:
    """With wait_s=0 the payout comes back as it stands; it is paid all the same."""
    async with world() as w:
        client = await w.client()
        payout = await client.pay(an_order(), key="k", wait_s=0)
        assert payout.state in (State.UNSENT, State.UNKNOWN)
        assert not payout.final
        await w.run_for(3600)
        assert (await client.get(payout.no_order)).state is State.PAID
        assert len(w.pays()) == 1


@JOURNALS
async def test_many_are_written_down_together(world: MakeWorld, journal: str) -> None:
    """`enlist` starts paying all of them; asked again with the same rows it attaches to what there is."""
    async with world(journal=journal) as w:
        client = await w.client()
        rows = [(an_order(card=n), f"k{n}") for n in range(30)]
        payouts = await w.done(client.enlist(rows))
        again = await w.done(client.enlist(rows))
        assert [p.no_order for p in again] == [p.no_order for p in payouts]
        rested = await w.at_rest(client, *[p.no_order for p in payouts])
        assert {p.state for p in rested} == {State.PAID}
        assert len(w.pays()) == 30
        assert (await client.tally())[State.PAID].count == 30
        assert [p.no_order for p in await client.payouts()] == sorted(p.no_order for p in payouts)
        await w.audit(client)


@JOURNALS
async def test_many_of_which_one_is_in_conflict_with_the_journal(world: MakeWorld, journal: str) -> None:
    """All or none: OrderConflict, no row of the list is in the journal, and no later start pays one."""
    async with world(journal=journal) as w:
        client = await w.client()
        await w.pay(client, an_order("1.00", 1), "k1")
        with pytest.raises(OrderConflict):
            await w.done(client.enlist([(an_order("5.00", 5), "k5"), (an_order("1.01", 1), "k1")]))
        assert [r.key for r in await w.records(client)] == ["k1"]


@JOURNALS
async def test_many_of_which_two_are_in_conflict_with_each_other(world: MakeWorld, journal: str) -> None:
    """All or none: after OrderConflict ("nothing was sent") no row is in the journal, and recover pays none."""
    async with world(journal=journal) as w:
        client = await w.client()
        rows = [(an_order("1.00", 1), "a"), (an_order("2.00", 2), "b"), (an_order("3.00", 3), "a")]
        with pytest.raises(OrderConflict):
            await w.done(client.enlist(rows))
        await client.recover()
        await w.run_for(3600)
        assert not w.pays()
        assert await w.records(client) == []


async def test_two_lists_at_once_that_contradict_each_other(world: MakeWorld) -> None:
    """Of two lists with one key in common and other content, one is refused as a whole and none of its rows is paid."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        one = client.enlist([(an_order("1.00", 1), "shared"), (an_order("2.00", 2), "only-one")])
        two = client.enlist([(an_order("3.00", 3), "only-two"), (an_order("4.00", 4), "shared")])
        results = await w.done(asyncio.gather(one, two, return_exceptions=True))
        refused = [n for n, result in enumerate(results) if isinstance(result, OrderConflict)]
        assert len(refused) == 1
        await client.recover()
        await w.run_for(3600)
        keys = {r.key for r in await w.records(client)}
        assert keys == ({"shared", "only-one"} if refused == [1] else {"only-two", "shared"})


async def test_what_is_known_already(world: MakeWorld) -> None:
    """`known` tells for each row: the payout, a conflict, or nothing; and writes nothing."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order(card=1), "k1")
        rows = [(an_order(card=1), "k1"), (an_order("9.99", card=1), "k1"), (an_order(card=2), "k2")]
        same, other, none = await client.known(rows)
        assert same == paid
        assert isinstance(other, OrderConflict)
        assert none is None
        assert len(await w.records(client)) == 1


async def test_before_it_was_opened(world: MakeWorld) -> None:
    """A client that is not open says so, and sends nothing."""
    async with world() as w:
        client = LianLianClient(w.merchant, MemoryJournal(), clock=w.clock)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.pay(an_order(), key="k"), lambda: client.get("x"), lambda: client.query("x"), client.recover,
            lambda: client.find("k"), lambda: client.wait("x", timeout_s=1), lambda: client.resume("x", by="me"),
            lambda: client.enlist([]), client.payouts, client.paused, client.tally,
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(NothingSent, match="not open"):
                await call()
        with pytest.raises(NothingSent, match="not open"):
            _ = client.gateway


async def test_a_closed_client_on_a_journal_that_is_open(world: MakeWorld) -> None:
    """What is refused with "nothing was sent" must not lie in the journal, where the next start pays it."""
    async with world() as w:
        tap = w.journal()
        await tap.open()
        client = LianLianClient(w.merchant, tap, clock=w.clock)
        with pytest.raises(NothingSent, match="not open"):
            await client.pay(an_order(), key="k")
        assert await tap.page(None, 10) == []


async def test_an_empty_key_beside_an_explicit_number(world: MakeWorld) -> None:
    """An empty key is refused: it must never tie two numbers together."""
    async with world() as w:
        client = await w.client()
        with pytest.raises(InvalidOrder):
            await client.pay(an_order(card=1, no_order="A1"), key="")
        assert await w.records(client) == []


async def test_another_key_for_the_same_number(world: MakeWorld) -> None:
    """A number belongs to one key: under another it is a conflict, at once and later alike."""
    async with world() as w:
        client = await w.client()
        await w.pay(client, an_order(no_order="N1", dt_order="20261123100000"), "a")
        with pytest.raises(OrderConflict):
            await client.pay(an_order(no_order="N1", dt_order="20261123100000"), key="b")


async def test_a_payout_of_another_merchant_in_the_same_journal(world: MakeWorld) -> None:
    """It is refused: our key and our address must never speak for somebody else's order."""
    async with world() as w:
        ours = await w.client()
        theirs = evolve(w.merchant, oid_partner="201706020000150099")
        [record] = await ours.journal.add([intent_of(an_order(), "k", theirs, w.clock.now())])
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: ours.wait(record.no_order, timeout_s=1e6), lambda: ours.query(record.no_order),
            lambda: ours.resume(record.no_order, by="Wang Fang"), lambda: ours.get(record.no_order),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(CommandRefused):
                await w.done(call())
        assert not w.simulator.requests
