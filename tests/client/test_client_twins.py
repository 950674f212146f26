"""The guard against a second payment of the same: two at the same moment, old payouts that still live, many siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order

from lianlian_async import DuplicateSuspected, LianLianClient, Order, Payout, State, Step
from lianlian_async.batch import BatchRow
from lianlian_async.batch.run import run_batch
from lianlian_async.numbers import derive
from lianlian_async.testing import Behaviour

DAY_S = 86_400
# The gateway asks nobody (4002 exists only where the merchant has it switched on): whatever is sent is paid.
UNASKED = Behaviour(check_duplicates=False)
CARD = an_order(card=9).card_no
Move = Callable[[LianLianClient, str], Coroutine[Any, Any, Payout]]


async def _amend(client: LianLianClient, key: str) -> Payout:
    return await client.amend(derive(OID_PARTNER, key), {"card_no": CARD}, by="Wang Fang")


async def _replace(client: LianLianClient, key: str) -> Payout:
    return await client.replace(derive(OID_PARTNER, key), by="Wang Fang")


async def _pay(client: LianLianClient, key: str) -> Payout:
    return await client.pay(an_order(card=9), key=key, wait_s=0)


@pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])
@pytest.mark.parametrize(
    ("one", "other"),
    [(_amend, _amend), (_amend, _pay), (_replace, _replace), (_replace, _pay), (_amend, _replace), (_replace, _amend)],
)
async def test_two_moves_at_the_same_moment_that_would_pay_the_same(
    world: MakeWorld, journal: str, one: Move, other: Move
) -> None:
    """In two clients, each of which looked before the other wrote: one is written, whoever comes second is asked."""
    async with world(journal=journal, behaviour=UNASKED) as w:
        shared = w.journal("shared")
        first, second = await w.client(shared), await w.client(shared if journal == "memory" else w.journal("shared"))
        for key, move in (("a", one), ("b", other)):
            await _ready_for(w, first, key, move)

        async def meanwhile() -> None:
            first.journal.hook = None
            await other(second, "b")

        def hook(phase: str, name: str, count: int, args: tuple[Any, ...]) -> Any:
            writes = name == "replace" or (name == "save" and args[2].amendment is not None)
            return meanwhile() if phase == "before" and writes else None

        first.journal.hook = hook
        with pytest.raises(DuplicateSuspected):
            await w.done(one(first, "a"))
        assert first.journal.hook is None
        await w.run_for(3600)
        assert str(w.simulator.received_by(CARD)) == "25.78"


async def _ready_for(w: World, client: LianLianClient, key: str, move: Move) -> None:
    """A payout of this key that the move can be made on, and that is nobody's twin."""
    number = derive(OID_PARTNER, key)
    if move is _amend:
        w.simulator.script(number, pay=["1004", None])
        await w.pay(client, an_order(card=ord(key)), key)
    if move is _replace:
        w.simulator.script(number, final="FAILURE", after_s=1)
        assert (await w.pay(client, an_order(card=9), key)).state is State.FAILED


@pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])
async def test_an_old_payout_that_may_still_be_sent_is_a_twin(world: MakeWorld, journal: str) -> None:
    """Days old and waiting for a fix; then released and paid just now; a day after that, another payment is meant."""
    async with world(journal=journal, behaviour=UNASKED) as w:
        client = await w.client()
        w.simulator.script(derive(OID_PARTNER, "k"), pay=["4012", "4012", None])
        assert (await w.pay(client, an_order())).step is Step.FIX
        await w.run_for(3 * DAY_S)
        with pytest.raises(DuplicateSuspected):
            await w.pay(client, an_order(), "again")
        await client.resume(derive(OID_PARTNER, "k"), by="Wang Fang")
        [payout] = await w.at_rest(client, derive(OID_PARTNER, "k"))
        assert payout.state is State.PAID
        await w.run_for(DAY_S - 900)
        with pytest.raises(DuplicateSuspected):
            await w.pay(client, an_order(), "again")
        await w.run_for(1000)
        assert (await w.pay(client, an_order(), "next month")).state is State.PAID


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_a_sibling_that_was_asked_for_long_ago(world: MakeWorld, journal: str) -> None:
    """Paid a minute ago, ordered three days ago: the review shows it."""
    async with world(journal=journal, behaviour=UNASKED) as w:
        client = await w.client()
        old = derive(OID_PARTNER, "old")
        w.simulator.script(old, pay=["4012", "4012", None])
        w.simulator.script(derive(OID_PARTNER, "k"), pay=["4002"])
        await w.pay(client, an_order(), "old")
        await w.run_for(3 * DAY_S)
        await client.resume(old, by="Wang Fang")
        [payout] = await w.at_rest(client, old)
        assert payout.state is State.PAID
        await w.pay(client, an_order(), duplicate_ok=True)
        review = await w.done(client.review(derive(OID_PARTNER, "k")))
        assert [sibling.no_order for sibling in review.siblings] == [old]


async def test_more_siblings_than_are_shown(world: MakeWorld) -> None:
    """Those that paid or may pay come first, however old, and the rest is counted; the approval notes it, too."""
    async with world(behaviour=UNASKED) as w:
        client = await w.client()
        w.simulator.script(derive(OID_PARTNER, "k"), pay=["4002"])
        await w.pay(client, an_order(), "paid first")
        for number in range(22):
            w.simulator.script(derive(OID_PARTNER, f"s{number}"), final="FAILURE", after_s=1)
        await client.enlist([(an_order(), f"s{number}") for number in range(22)], duplicate_ok=True)
        await w.run_for(300)
        await w.pay(client, an_order(), duplicate_ok=True)
        review = await w.done(client.review(derive(OID_PARTNER, "k")))
        assert (len(review.siblings), review.more_siblings) == (20, 3)
        assert [(s.key, s.state) for s in review.siblings][0] == ("paid first", State.PAID)
        payout = await w.done(client.approve(review.payout.no_order, by="Wang Fang", note="called"))
        record = await client.journal.load(payout.no_order)
        assert record is not None
        [word] = [e.detail for e in record.evidence if e.by]
        assert word is not None
        assert word.endswith(", and 3 more]")


async def test_the_account_of_a_company_with_dashes_and_without(world: MakeWorld) -> None:
    """It is the same account (specification 3.1)."""
    company = {"flag_card": "1", "bank_code": "01020000", "city_code": "110000", "brabank_name": "x支行"}

    def to(account: str) -> Order:
        return an_order(card_no=account, acct_name="公司", **company)

    async with world(behaviour=UNASKED) as w:
        client = await w.client()
        await w.pay(client, to("110-0987-654321"))
        with pytest.raises(DuplicateSuspected):
            await w.pay(client, to("1100987654321"), "again")
        assert len(w.pays()) == 1


async def test_a_yes_holds_for_those_that_were_asked_about(world: MakeWorld) -> None:
    """Somebody looked at one twin and said that both are meant; of one that came since nobody was asked."""
    async with world(journal="sqlite", behaviour=UNASKED) as w:
        client = await w.client()
        first = await w.pay(client, an_order(), "first")
        [twin] = await client.twins(an_order(), "second")
        await w.pay(client, an_order(), "meanwhile", duplicate_ok=True)
        with pytest.raises(DuplicateSuspected) as told:
            await client.enlist([(an_order(), "second")], duplicate_ok=[twin.no_order])
        assert told.value.twins == {derive(OID_PARTNER, "second"): (derive(OID_PARTNER, "meanwhile"),)}
        numbers = [first.no_order, derive(OID_PARTNER, "meanwhile")]
        assert (await w.pay(client, an_order(), "second", duplicate_ok=numbers)).state is State.PAID


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_two_people_pay_the_same_rows_from_two_files(world: MakeWorld, journal: str) -> None:
    """Each was asked before the other's rows were written down. One file is paid; of the other, nothing that is the same
    is written, and its reader is told. Twins inside one file were asked about, and each is paid."""
    async with world(journal=journal, behaviour=UNASKED) as w:
        client = await w.client()

        def rows(file: str) -> list[BatchRow]:
            return [BatchRow(line, f"{file}/{line}", an_order(card=line // 2)) for line in range(6)]

        stop = asyncio.Event()
        assert await w.done(run_batch(client, rows("one"), stop=stop)) is None
        fault = await w.done(run_batch(client, rows("other"), stop=stop))
        assert isinstance(fault, DuplicateSuspected)
        assert {str(w.simulator.received_by(an_order(card=card).card_no)) for card in range(3)} == {"51.56"}
        seen = {twin.no_order for row in rows("other") for twin in await client.twins(row.order, row.key)}
        assert await w.done(run_batch(client, rows("other"), stop=stop, meant=seen)) is None


async def test_many_replace_and_pay_the_same_at_once(world: MakeWorld) -> None:
    """Two dead payouts of one payment, and ten callers in two clients: it is paid once."""
    async with world(journal="sqlite", behaviour=UNASKED) as w:
        clients = [await w.client(w.journal("shared")) for _ in range(2)]
        for key in "ab":
            await _ready_for(w, clients[0], key, _replace)
        moves = [_replace(c, k) for c in clients for k in "abab"] + [_pay(clients[1], key) for key in "cd"]
        came = await w.done(asyncio.gather(*moves, return_exceptions=True))
        assert {type(one) for one in came} <= {Payout, DuplicateSuspected}
        await w.run_for(3600)
        assert str(w.simulator.received_by(CARD)) == "25.78"
