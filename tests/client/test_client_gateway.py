"""Below the front door: one exchange each, typed answers, and exceptions that say what they prove."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import NOTIFY_URL, OID_PARTNER, World, an_order

from lianlian_async import Gateway, KeyRing, LianLianClient, NothingSent, OutcomeUnknown, State
from lianlian_async.errors import LianLianError
from lianlian_async.protocol.messages import freeze
from lianlian_async.resolver import Outcome
from lianlian_async.testing.simulator import Behaviour
from lianlian_async.testing.simulator import Step as Answer
from lianlian_async.transport import FaultKind, WireAnswer, WireFault


def content(no_order: str = "N1", **more: Any) -> dict[str, str]:
    return freeze(
        an_order(no_order=no_order, **more), oid_partner=OID_PARTNER, no_order=None, dt_order="20261123100000",
        notify_url=NOTIFY_URL,
    )  # fmt: skip


async def gateway(w: World) -> tuple[LianLianClient, Gateway]:
    client = await w.client()
    return client, client.gateway


async def test_pay_query_confirm(world: MakeWorld) -> None:
    """The answers are values with the wire's own names; nothing secret is in their repr."""
    async with world(behaviour=Behaviour(settle_s=(1.0, 1.0))) as w:
        _, g = await gateway(w)
        paid = await g.pay(content())
        assert (paid.ret_code, paid.no_order, paid.oid_partner) == ("0000", "N1", OID_PARTNER)
        w.clock.advance(5)
        w.simulator.catch_up()
        found = await g.query(no_order="N1")
        assert (found.result_pay, found.money_order, found.oid_paybill) == (
            "SUCCESS",
            Decimal("25.78"),
            paid.oid_paybill,
        )
        assert (await g.query(oid_paybill=paid.oid_paybill)).no_order == "N1"
        assert (await g.query(no_order="N2")).ret_code == "8901"
        w.simulator.script("N3", pay=["4003"])
        review = await g.pay(content("N3", card=3))
        assert review.ret_code == "4003"
        assert review.confirm_code
        assert review.confirm_code not in repr(review)
        confirmed = await g.confirm(no_order="N3", confirm_code=review.confirm_code, notify_url=NOTIFY_URL)
        assert (confirmed.ret_code, confirmed.no_order) == ("0000", "N3")


@pytest.mark.parametrize(
    "fault",
    ["close_before", "close_after", "hang_after", "truncated", "garbage", "html", "502_after", "503_before", "oversized",
     "unsigned", "bad_sign", "forged_refusal", "other_order"],
)  # fmt: skip
async def test_no_proof(world: MakeWorld, fault: str) -> None:
    """OutcomeUnknown for everything that is less than a signed and bound answer, for pay, confirm and query."""
    async with world() as w:
        _, g = await gateway(w)
        w.simulator.script("N1", pay=[fault], query=[fault], confirm=[fault])
        for call in (
            g.pay(content()), g.query(no_order="N1"),
            g.confirm(no_order="N1", confirm_code="123456", notify_url=NOTIFY_URL),
        ):  # fmt: skip
            with pytest.raises(OutcomeUnknown, match=r"query before anything else|another order") as caught:
                await call
            assert not isinstance(caught.value, NothingSent)


async def test_an_answer_without_a_number(world: MakeWorld) -> None:
    """A signed refusal that names no order may be anybody's: OutcomeUnknown."""
    async with world() as w:
        _, g = await gateway(w)
        w.simulator.script("N1", pay=["4005"])
        with pytest.raises(OutcomeUnknown, match="numberless"):
            await g.pay(content())


async def test_nothing_left(world: MakeWorld) -> None:
    """NothingSent only with the transport's proof."""
    async with world() as w:
        _, g = await gateway(w)
        for fault, raises in (
            (WireFault(FaultKind.CONNECT, sent=False), NothingSent),
            (WireFault(FaultKind.CERTIFICATE, sent=False), NothingSent),
            (WireFault(FaultKind.CONNECT, sent=True), OutcomeUnknown),
            (WireFault(FaultKind.TIMEOUT, sent=True), OutcomeUnknown),
        ):

            async def fail(fault: WireFault = fault) -> WireFault:
                return fault

            w.wires[0].before = w.wires[1].before = lambda url: fail()
            with pytest.raises(raises):
                await g.pay(content())
            with pytest.raises(raises):
                await g.query(no_order="N1")
        assert not w.simulator.requests


@pytest.mark.parametrize("endpoint", ["pay", "query", "confirm"])
async def test_a_signed_answer_of_a_wrong_shape(world: MakeWorld, endpoint: str) -> None:
    """OutcomeUnknown, as for everything that is no proof; nobody has to know a third exception."""
    async with world() as w:
        _, g = await gateway(w)
        bad = Answer(members={"oid_paybill": "not a bill", "oid_partner": "not a partner"})
        w.simulator.script("N1", pay=[bad], query=[bad], confirm=[bad])
        calls: dict[str, Any] = {
            "pay": lambda: g.pay(content()),
            "query": lambda: g.query(no_order="N1"),
            "confirm": lambda: g.confirm(no_order="N1", confirm_code="123456", notify_url=NOTIFY_URL),
        }
        with pytest.raises(LianLianError) as caught:
            await calls[endpoint]()
        assert isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("what", ["another bill", "no number"])
async def test_a_query_answer_that_is_not_bound(world: MakeWorld, what: str) -> None:
    """An answer about another bill, or one that names no order and yet says SUCCESS, proves nothing."""
    async with world() as w:
        client, g = await gateway(w)
        one = await w.pay(client, an_order("1.00", 1), "a")
        two = await w.pay(client, an_order("2.00", 2), "b")
        if what == "no number":
            w.simulator.script(one.no_order, query=[Answer(members={"no_order": None}), ...])
            with pytest.raises(OutcomeUnknown):
                await g.query(no_order=one.no_order)
        else:
            changed = {"no_order": two.no_order, "oid_paybill": two.oid_paybill}
            w.simulator.script(one.no_order, query=[Answer(members=changed), ...])
            with pytest.raises(OutcomeUnknown):
                await g.query(oid_paybill=one.oid_paybill)


async def test_a_probe(world: MakeWorld) -> None:
    """It asks for a number that nobody uses and tells what is wrong with the set-up; no money can move by it."""
    async with world() as w:
        _, g = await gateway(w)
        news = await g.probe()
        assert (news.outcome, news.ret_code) == (Outcome.ANSWERED, "8901")
        w.simulator.operator.set_ip_allowed(False)
        assert (await g.probe()).ret_code == "1008"
        assert {r.endpoint for r in w.simulator.requests} == {"query"}


async def test_the_gateways_key_is_another(world: MakeWorld, keys: Any) -> None:
    """With a wrong public key nothing the gateway says is believed, nothing is concluded, and nothing is paid twice."""
    async with world() as w:
        wrong = KeyRing.load(
            merchant_private_key=keys.folder / "merchant-private.pem",
            gateway_public_key=keys.folder / "stranger-public.pem",
        )
        w.merchant = w.merchant.__class__(
            oid_partner=OID_PARTNER, keys=wrong, base_url=w.merchant.base_url, notify_url=NOTIFY_URL
        )
        client = await w.client()
        payouts = [await client.pay(an_order(card=n), key=f"k{n}", wait_s=0) for n in range(3)]
        await w.run_for(1200)
        assert await client.paused() is not None
        assert {(await client.get(p.no_order)).state for p in payouts} == {State.UNKNOWN}
        assert len(w.pays()) <= 3
        assert w.simulator.ledger.paid() == {}


async def test_the_gateway_changes_its_key(world: MakeWorld, keys: Any) -> None:
    """After three answers that nobody signed new money stops; with the right key again all of it is paid once."""
    async with world() as w:
        client = await w.client()
        w.simulator.operator.rotate_gateway_key(keys.read("stranger-private"), open_old=True)
        payouts = [await client.pay(an_order(card=n), key=f"k{n}", wait_s=0) for n in range(3)]
        await w.run_for(600)
        assert await client.paused() is not None
        ring = KeyRing.load(
            merchant_private_key=keys.folder / "merchant-private.pem",
            gateway_public_key=keys.folder / "stranger-public.pem",
        )
        tap = await w.crash(client)
        w.merchant = w.merchant.__class__(
            oid_partner=OID_PARTNER, keys=ring, base_url=w.merchant.base_url, notify_url=NOTIFY_URL
        )
        mended = await w.client(tap)
        await mended.unpause(by="Wang Fang")
        await mended.recover()
        rested = await w.at_rest(mended, *[p.no_order for p in payouts])
        assert {p.state for p in rested} == {State.PAID}
        assert len(w.pays()) == 3
        await w.audit(mended)


async def test_the_body_is_seen_once_only(world: MakeWorld) -> None:
    """Two sends of one content are two envelopes: keys and nonce are never used again."""
    async with world() as w:
        _, g = await gateway(w)
        bodies = {await g.seal(content()) for _ in range(20)}
        assert len(bodies) == 20
        assert all(b"6228480" not in body for body in bodies)


async def test_an_answer_that_is_not_200(world: MakeWorld) -> None:
    """A genuine, signed answer behind another status proves nothing (R9)."""
    async with world() as w:
        client, _ = await gateway(w)

        async def other(heard: Any) -> Any:
            return WireAnswer(202, heard.body, heard.date)

        w.wires[0].after = lambda url, heard: other(heard)
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert payout.ret_code is None
        assert len(w.pays()) == 1
