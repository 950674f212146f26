"""What becomes of a payout after each answer to `pay`: state, step, and how often the order reached the gateway."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, an_order

from lianlian_async import BreakerOpen, CommandRefused, State, Step
from lianlian_async.numbers import derive
from lianlian_async.testing.simulator import Behaviour
from lianlian_async.testing.simulator import Step as Answer

NUMBER = derive(OID_PARTNER, "k")

# One line for every code of the specification (and three it does not list) that answers the *first* request; what
# comes after is as usual. "books": the gateway has taken the order all the same. Read from safety.md 3.2.
#  code   books  state          step     sends  paused
TABLE = """
   0000   yes    PAID           NOTHING  1      no
   1001   no     REFUSED        FIX      1      yes
   1002   no     UNKNOWN        DECIDE   1      no
   1002   yes    PAID           NOTHING  1      no
   1004   no     REFUSED        FIX      1      no
   1005   no     REFUSED        FIX      1      no
   1008   no     UNKNOWN        FIX      1      yes
   2005   yes    PAID           NOTHING  1      no
   3001   no     REFUSED        FIX      1      yes
   4001   no     PAID           NOTHING  2      no
   4001   yes    PAID           NOTHING  1      no
   4002   yes    REVIEW         DECIDE   1      no
   4003   yes    REVIEW         DECIDE   1      no
   4004   yes    REVIEW         DECIDE   1      no
   4005   no     UNKNOWN        FIX      1      yes
   4006   no     PAID           NOTHING  2      no
   4006   yes    PAID           NOTHING  1      no
   4007   no     PAID           NOTHING  2      no
   4007   yes    PAID           NOTHING  1      no
   4008   no     PAID           NOTHING  2      no
   4009   yes    PAID           NOTHING  1      no
   4010   no     PAID           NOTHING  2      no
   4011   yes    PAID           NOTHING  1      no
   4012   no     PAID           NOTHING  2      no
   4013   no     REFUSED        FIX      1      no
   4014   no     PAID           NOTHING  2      no
   4015   no     REFUSED        FIX      1      no
   4103   no     PAID           NOTHING  2      no
   4105   yes    PAID           NOTHING  1      no
   7777   no     PAID           NOTHING  2      no
   7777   yes    PAID           NOTHING  1      no
   8901   no     PAID           NOTHING  2      no
   8901   yes    PAID           NOTHING  1      no
   9104   no     REFUSED        FIX      1      no
   9910   no     REFUSED        FIX      1      no
   9911   no     REFUSED        FIX      1      no
   9912   no     REFUSED        FIX      1      no
   9913   no     REFUSED        FIX      1      no
   9999   no     PAID           NOTHING  2      no
   9999   yes    PAID           NOTHING  1      no
"""
ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()]

# These keep an order that failed without a bill, so a query says FAILURE where it says 8901 for the others.
KEEPS_A_FAILED_ORDER = frozenset({"4013", "4014", "9104"})
REVIEWS = frozenset({"4002", "4003", "4004"})


def first_answer(code: str, books: str) -> Any:
    """What the simulator must do with the first request."""
    if code in REVIEWS or code in KEEPS_A_FAILED_ORDER or code in ("4005", "0000"):
        return code
    return Answer(code, booked=books == "yes")


@pytest.mark.parametrize(("code", "books", "state", "step", "sends", "paused"), ROWS, ids=lambda v: v)
async def test_after_the_first_answer(
    world: MakeWorld, code: str, books: str, state: str, step: str, sends: str, paused: str
) -> None:
    """State and step are those of the table; the order goes again only after queries, with the same content."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[first_answer(code, books), None])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State(state), Step(step))
        assert (len(w.pays()), payout.sends) == (int(sends), int(sends))
        assert ((await client.paused()) is not None) == (paused == "yes")
        assert payout.advice
        assert w.simulator.ledger.paid() == ({NUMBER: 1} if state == "PAID" else {})
        assert payout.sends == 1 or w.simulator.requests[1].endpoint == "query", "a query comes first (R1)"
        await w.audit(client)
        # Whoever waits again, asks again or starts again changes nothing about a payout that waits for somebody.
        await w.run_for(6 * 3600)
        again = await w.pay(client, an_order())
        later = {State.REVIEW: (State.CLOSED, Step.NOTHING), State.UNKNOWN: (again.state, payout.step)}
        assert (again.state, again.step) == later.get(payout.state, (payout.state, payout.step))
        assert again.state is not State.UNKNOWN or payout.state is State.UNKNOWN
        assert again.sends == payout.sends == len(w.pays())


@pytest.mark.parametrize("code", ["9999", "4006", "4103"])
async def test_a_code_that_leaves_it_open_and_nothing_was_booked(world: MakeWorld, code: str) -> None:
    """At least three answers of "no record", the last one five minutes after the deadline; then the identical content."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[Answer(code, booked=False), None])
        client = await w.client()
        await w.pay(client, an_order())
        first, second = w.pays(NUMBER)
        assert (second.time - first.time).total_seconds() >= 30 + 300
        between = [q for q in w.queries(NUMBER) if first.time <= q.time <= second.time]
        assert len(between) >= 3
        assert {q.ret_code for q in between} == {"8901"}
        assert first.content == {**second.content, "sign": first.content["sign"]}
        assert first.content["dt_order"] == "20261123100000"


@pytest.mark.parametrize(
    ("code", "state", "step"),
    [("4006", State.UNKNOWN, Step.FIX), ("4007", State.UNKNOWN, Step.FIX), ("4012", State.REFUSED, Step.FIX),
     ("4103", State.UNKNOWN, Step.DECIDE), ("4008", State.UNKNOWN, Step.DECIDE)],
)  # fmt: skip
async def test_the_same_answer_after_the_one_resend(world: MakeWorld, code: str, state: State, step: Step) -> None:
    """Sent twice and not a third time: now somebody must look at it. For 4006 and 4007 new money is paused."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[Answer(code, booked=False), ...])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step, payout.sends) == (state, step, 2)
        assert ((await client.paused()) is not None) == (code in ("4006", "4007"))
        await w.run_for(3 * 86_400)
        assert len(w.pays()) == 2
        await w.audit(client)


async def test_4014_again_and_again(world: MakeWorld) -> None:
    """The same number after 1, 5, 15 and 15 minutes; five sends are the limit, then a person decides."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=["4014", ...])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.step, payout.rule, payout.sends) == (Step.DECIDE, "too many sends", 5)
        times = [p.time for p in w.pays(NUMBER)]
        gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:], strict=False)]
        for gap, minutes in zip(gaps, (1, 5, 15, 15), strict=True):
            assert 60 * minutes <= gap < 60 * minutes * 1.2
        assert w.simulator.ledger.paid() == {}
        await w.audit(client)


async def test_4014_twice_and_then_it_works(world: MakeWorld) -> None:
    """It is created at the third try and paid once."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=["4014", "4014", None])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.sends) == (State.PAID, 3)
        await w.audit(client)


async def test_no_answer_for_a_day(world: MakeWorld) -> None:
    """Nothing is sent by itself beyond 24 hours or five sends; a person decides, and the number may go on."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[Answer("9999", booked=False), ...])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert payout.step is Step.DECIDE
        assert payout.rule in ("too many sends", "too old to resend")
        assert payout.sends <= 5
        await w.audit(client)
        sends = payout.sends
        await w.run_for(3 * 86_400)
        assert len(w.pays()) == sends
        w.simulator.script(NUMBER)
        await client.resume(payout.no_order, by="Wang Fang")
        [payout] = await w.at_rest(client, payout.no_order)
        assert payout.state is State.PAID
        await w.audit(client)


async def test_the_gateway_is_out_for_more_than_a_day(world: MakeWorld) -> None:
    """A payout that could never be sent is 24 hours old: a person decides before it goes out after all."""
    async with world() as w:
        client = await w.client()
        await client.pause(reason="holiday", by="Wang Fang")
        await client.unpause(by="Wang Fang")
        w.wires[0].before = _refused
        payout = await w.done(client.pay(an_order(), key="k", wait_s=1e9), stride=0.02)
        assert (payout.state, payout.step, payout.rule) == (State.UNSENT, Step.DECIDE, "too old to resend")
        assert not w.pays()
        w.wires[0].before = None
        await client.resume(payout.no_order, by="Wang Fang")
        [payout] = await w.at_rest(client, payout.no_order)
        assert payout.state is State.PAID
        assert len(w.pays()) == 1


async def _nothing_left() -> Any:
    from lianlian_async.transport import FaultKind, WireFault

    return WireFault(FaultKind.CONNECT, sent=False, detail="ConnectError")


def _refused(url: str) -> Any:
    return _nothing_left()


@pytest.mark.parametrize(
    ("final", "state"),
    [("SUCCESS", State.PAID), ("FAILURE", State.FAILED), ("CLOSED", State.CLOSED), ("CANCEL", State.PAID)],
)
async def test_how_the_bank_ends_it(world: MakeWorld, final: str, state: State) -> None:
    """Whatever the bank decides is what the payout says; nothing is sent again by itself."""
    async with world() as w:
        w.simulator.script(NUMBER, final=final)
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (state, Step.NOTHING)
        assert payout.replaceable == (state in (State.FAILED, State.CLOSED))
        await w.run_for(2 * 86_400)
        assert len(w.pays()) == 1


async def test_a_refund_after_success(world: MakeWorld) -> None:
    """PAID becomes REFUNDED when a query says CANCEL; a repeated `pay` of the key does not pay again."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order())
        w.simulator.operator.cancel(paid.no_order)
        payout = await w.done(client.query(paid.no_order))
        assert (payout.state, payout.step, payout.replaceable) == (State.REFUNDED, Step.NOTHING, True)
        assert (await w.pay(client, an_order())).state is State.REFUNDED
        assert len(w.pays()) == 1


async def test_a_word_nobody_knows(world: MakeWorld) -> None:
    """An unknown result_pay is work in progress, never an end; it is followed until it ends."""
    async with world() as w:
        w.simulator.script(NUMBER, timeline=[("APPLY", 0), ("QUEUED_AT_BANK", 60), ("WAITING", 900), ("SUCCESS", 5000)])
        client = await w.client()
        payout = await client.pay(an_order(), key="k", wait_s=0)
        for seconds in (30, 870, 60):
            await w.run_for(seconds)
            payout = await client.get(NUMBER)
            assert (payout.state, payout.step) == (State.IN_PROGRESS, Step.QUERY)
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        assert len(w.pays()) == 1


# --- reviews


@pytest.mark.parametrize("code", sorted(REVIEWS))
async def test_under_review(world: MakeWorld, code: str) -> None:
    """It is never sent again and never confirmed; `resume` is refused; after its window a query says CLOSED."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[code])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.REVIEW, Step.DECIDE)
        with pytest.raises(CommandRefused):
            await client.resume(NUMBER, by="Wang Fang")
        await w.done(client.query(NUMBER))
        await w.pay(client, an_order())
        await client.recover()
        await w.run_for(1900)
        payout = await w.done(client.query(NUMBER))
        assert (payout.state, payout.step, payout.replaceable) == (State.CLOSED, Step.NOTHING, True)
        assert len(w.pays()) == 1
        await w.audit(client)


async def test_a_review_whose_answer_was_lost(world: MakeWorld) -> None:
    """The query says CHECK, the confirm_code is gone: a person, and no second request to fish for it."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[Answer("4003", fault=None), None])
        client = await w.client()
        w.wires[0].after = _lost
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.REVIEW, Step.DECIDE)
        assert "portal" in payout.advice
        w.simulator.operator.confirm_in_portal(NUMBER)
        await w.run_for(600)
        payout = await w.done(client.query(NUMBER))
        assert payout.state is State.PAID
        assert len(w.pays()) == 1


def _lost(url: str, heard: Any) -> Any:
    return _no_answer()


async def _no_answer() -> Any:
    from lianlian_async.transport import FaultKind, WireFault

    return WireFault(FaultKind.DISCONNECT, sent=True, detail="RemoteProtocolError")


async def test_two_orders_that_look_alike(world: MakeWorld) -> None:
    """The second of the same card and amount is REVIEW (4002); the first is paid; nothing is confirmed."""
    async with world() as w:
        client = await w.client()
        first = await w.pay(client, an_order(), "a")
        second = await w.pay(client, an_order(), "b", duplicate_ok=True)
        assert (first.state, second.state, second.ret_code) == (State.PAID, State.REVIEW, "4002")
        await w.audit(client)


# --- resume


async def test_the_balance_was_too_low(world: MakeWorld) -> None:
    """9104 waits for somebody; after a top-up and `resume` the same number is paid with the same content."""
    async with world(balance=Decimal(10)) as w:
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step, payout.ret_code) == (State.REFUSED, Step.FIX, "9104")
        await w.run_for(7200)
        w.simulator.operator.top_up("1000")
        await client.resume(NUMBER, by="Wang Fang")
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.sends) == (State.PAID, 2)
        assert len({p.content_hash for p in w.pays()}) == 1
        await w.audit(client)


async def test_resumed_before_it_was_mended(world: MakeWorld) -> None:
    """Each `resume` is one more request, after a query; then it waits again."""
    async with world(balance=Decimal(10)) as w:
        client = await w.client()
        await w.pay(client, an_order())
        for sends in (2, 3, 4, 5, 6, 7):
            await client.resume(NUMBER, by="Wang Fang")
            [payout] = await w.at_rest(client, NUMBER)
            assert (payout.state, payout.step, payout.sends) == (State.REFUSED, Step.FIX, sends)
        await w.audit(client)


@pytest.mark.parametrize("pay", [[None], ["4003"], ["2005_before"]], ids=["paid", "review", "in progress"])
async def test_resume_where_there_is_nothing_to_resume(world: MakeWorld, pay: list[str | None]) -> None:
    """CommandRefused, and nothing is written or sent by it."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=pay)
        client = await w.client()
        payout = await w.done(client.pay(an_order(), key="k", wait_s=300))
        before = await w.records(client)
        with pytest.raises(CommandRefused, match="nothing to resume"):
            await client.resume(payout.no_order, by="Wang Fang")
        with pytest.raises(CommandRefused, match="not in this journal"):
            await client.resume("NOSUCHNUMBER", by="Wang Fang")
        assert await w.records(client) == before
        assert len(w.pays()) == 1


async def test_resume_by_nobody(world: MakeWorld) -> None:
    """Whoever decides has a name."""
    async with world(balance=Decimal(10)) as w:
        client = await w.client()
        await w.pay(client, an_order())
        for nobody in ("", "  "):
            with pytest.raises(CommandRefused, match="name"):
                await client.resume(NUMBER, by=nobody)


async def test_resume_while_an_attempt_is_unanswered(world: MakeWorld) -> None:
    """A person's word does not shorten the grace: a refusal of one attempt says nothing of the other (R2)."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=[Answer("9999", booked=False), Answer("9911"), None])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step, payout.sends) == (State.UNKNOWN, Step.FIX, 2)
        await client.resume(NUMBER, by="Wang Fang")
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.sends) == (State.PAID, 3)
        second, third = w.pays(NUMBER)[1:]
        assert (third.time - second.time).total_seconds() >= 330
        await w.audit(client)


async def test_a_late_copy_comes_after_a_refusal_was_resumed(world: MakeWorld) -> None:
    """The first request was lost on its way and arrives after ten minutes; whatever was resumed, it is paid once."""
    async with world(behaviour=Behaviour(settle_s=(1.0, 2.0))) as w:
        w.simulator.script(NUMBER, pay=[Answer(fault="late_hang", late_s=600), Answer("9911"), None])
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert payout.step in (Step.FIX, Step.NOTHING)
        if payout.step is Step.FIX:
            await client.resume(NUMBER, by="Wang Fang")
            [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        assert w.simulator.ledger.paid() == {NUMBER: 1}
        await w.audit(client)


# --- the breaker

TRIPS = {
    "1001": 1, "1008": 1, "3001": 1, "4005": 1, "4007": 2, "4006": 2, "unsigned": 3, "bad_sign": 3,
}  # fmt: skip


@pytest.mark.parametrize("cause", sorted(TRIPS))
async def test_new_money_is_paused(world: MakeWorld, cause: str) -> None:
    """New payouts are refused, journalled ones wait, queries go on; after `unpause` and `resume` each is paid once."""
    async with world() as w:
        client = await w.client()
        step: Any = cause if cause in ("unsigned", "bad_sign", "4005") else Answer(cause, booked=False)
        w.simulator.script({"acct_name": "李三"}, pay=[step, ...])
        w.simulator.script({"acct_name": "王五"}, pay=[Answer("9999", booked=False), None])
        w.simulator.script({"acct_name": "赵六"}, timeline=[("PROCESSING", 0), ("SUCCESS", 12_000)])
        follows = await client.pay(an_order(card=50, acct_name="赵六"), key="in-progress", wait_s=0)
        waits = await client.pay(an_order(card=51, acct_name="王五"), key="waits", wait_s=0)
        hit = []
        for n in range(3 if TRIPS[cause] == 3 else 1):
            payout = await w.done(client.pay(an_order(card=n), key=f"k{n}", wait_s=400 if TRIPS[cause] > 1 else 1e9))
            hit.append(payout.no_order)
            if await client.paused():
                break
        await w.run_until(lambda: bool(w.journals[0].calls.get("trip")), within_s=2000)
        await w.calm()
        pause = await client.paused()
        assert pause is not None
        assert pause.by == "gateway"
        with pytest.raises(BreakerOpen, match="paused"):
            await client.pay(an_order(card=99, acct_name="孙七"), key="new")
        assert await client.find("new") is None
        sent = len(w.pays())
        await w.run_for(2 * 3600)
        assert len(w.pays()) == sent, "no new money leaves"
        queries = len(w.queries(follows.no_order))
        await w.run_for(4 * 3600)
        assert (await client.get(follows.no_order)).state is State.PAID
        assert len(w.queries(follows.no_order)) > queries
        assert len(w.pays()) == sent
        # Mended.
        for number in hit:
            w.simulator.script(number)
        assert await client.unpause(by="Wang Fang") == pause
        for number in hit:
            if (await client.get(number)).step in (Step.FIX, Step.DECIDE):
                await client.resume(number, by="Wang Fang")
        await client.recover()
        rested = await w.at_rest(client, waits.no_order, *hit)
        assert {p.state for p in rested} == {State.PAID}
        assert (await w.pay(client, an_order(card=99, acct_name="孙七"), "new")).state is State.PAID
        await w.audit(client)


async def test_paused_by_a_person(world: MakeWorld) -> None:
    """The reason and the name come back with BreakerOpen; a payout that exists is still found under its key."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order())
        pause = await client.pause(reason="audit week", by="Wang Fang")
        assert await client.pause(reason="another", by="Li Na") == pause
        with pytest.raises(BreakerOpen, match="by Wang Fang: audit week"):
            await client.pay(an_order(card=2), key="k2")
        with pytest.raises(BreakerOpen):
            await client.enlist([(an_order(), "k"), (an_order(card=2), "k2")])
        assert await w.pay(client, an_order()) == paid
        assert await client.unpause(by="Wang Fang") == pause
        assert await client.unpause(by="Wang Fang") is None
        assert (await w.pay(client, an_order(card=2), "k2")).state is State.PAID


async def test_paused_for_longer_than_an_answer_is_fresh(world: MakeWorld) -> None:
    """A payout whose resend waits for `unpause` says FIX all the time, and queries go on (a late copy may be paid)."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[Answer("9999", booked=False), None])
        await client.pay(an_order(), key="k", wait_s=0)
        await w.calm()
        await client.pause(reason="audit week", by="Wang Fang")
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.step, payout.rule) == (Step.FIX, "paused")
        asked = len(w.queries())
        for _ in range(15):
            await w.run_for(290)
            payout = await client.get(NUMBER)
            assert (payout.step, payout.rule) == (Step.FIX, "paused")
        assert len(w.queries()) > asked


async def test_paused_and_a_known_payout_under_key_and_number(world: MakeWorld) -> None:
    """What exists is attached to, paused or not: a key that has an explicit number is found by the key alone."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order(no_order="N1"), "k")
        assert await w.pay(client, an_order(), "k") == paid
        await client.pause(reason="audit week", by="Wang Fang")
        assert await w.pay(client, an_order(), "k") == paid


async def test_a_certificate_that_is_not_trusted(world: MakeWorld) -> None:
    """Nothing was sent, new money is paused; after `unpause` the same number is paid."""
    from lianlian_async.transport import FaultKind, WireFault

    async with world() as w:
        client = await w.client()

        async def untrusted() -> Any:
            return WireFault(FaultKind.CERTIFICATE, sent=False, detail="ConnectError from SSLCertVerificationError")

        w.wires[0].before = lambda url: untrusted()
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.UNSENT, Step.FIX)
        assert await client.paused()
        assert not w.pays()
        w.wires[0].before = None
        await client.unpause(by="Wang Fang")
        [payout] = await w.at_rest(client, payout.no_order)
        assert (payout.state, payout.sends) == (State.PAID, 1)
        await w.audit(client)


async def test_unsigned_answers_after_unpause(world: MakeWorld) -> None:
    """Three in a row are counted anew: one further unsigned answer does not pause again."""
    async with world() as w:
        client = await w.client()
        w.simulator.script({"acct_name": "李三"}, pay=["unsigned"])
        for n in range(3):
            await w.pay(client, an_order(card=n), f"k{n}")
        assert await client.unpause(by="Wang Fang")
        await w.pay(client, an_order(card=9), "k9")
        assert await client.paused() is None


async def test_paused_while_an_attempt_was_being_written_down(world: MakeWorld) -> None:
    """None after the breaker tripped (I9): what has not left yet stays, proven unsent."""
    async with world() as w:
        client = await w.client()

        async def trip() -> None:
            await client.pause(reason="wrong key", by="gateway")

        def hook(phase: str, name: str, count: int, args: Any) -> Any:
            return trip() if (phase, name) == ("after", "save") and args[2].attempts else None

        w.journals[0].hook = hook
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.UNSENT, Step.FIX)
        assert not w.pays()


# --- queries


@pytest.mark.parametrize("code", ["1001", "1004", "1008", "3001"])
async def test_a_query_is_turned_away(world: MakeWorld, code: str) -> None:
    """It says nothing of the order, and new money is paused; once mended, a query by hand brings the truth."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["close_after"], query=[code, None])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.UNKNOWN, Step.FIX)
        assert await client.paused()
        await client.unpause(by="Wang Fang")
        await w.done(client.query(NUMBER))
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.sends) == (State.PAID, 1)
        assert len(w.pays()) == 1
        await w.audit(client)


@pytest.mark.parametrize("code", ["1001", "1004", "1008", "3001"])
async def test_resumed_after_a_query_was_turned_away(world: MakeWorld, code: str) -> None:
    """`resume` releases it: the gateway is asked again, and the payout ends truly."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["close_after"], query=[code, None])
        await w.pay(client, an_order())
        await client.unpause(by="Wang Fang")
        payout = await client.resume(NUMBER, by="Wang Fang")
        assert payout.step is Step.QUERY
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID


@pytest.mark.parametrize("code", ["1001", "1008"])
async def test_a_query_is_turned_away_while_the_order_is_at_the_bank(world: MakeWorld, code: str) -> None:
    """No new money, but queries go on, more slowly: an order in progress ends truly without anybody's help."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, query=[None, code, None], timeline=[("PROCESSING", 0), ("SUCCESS", 600)])
        await client.pay(an_order(), key="k", wait_s=0)
        await w.run_for(3 * 3600)
        await client.unpause(by="Wang Fang")
        await client.recover()
        await w.run_for(3 * 3600)
        assert (await client.get(NUMBER)).state is State.PAID


async def test_a_query_that_never_works(world: MakeWorld) -> None:
    """A payout that nobody can ask about stays UNKNOWN; after seven days a person decides. It is never sent again."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["close_after"], query=["9999", ...])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step, payout.rule) == (State.UNKNOWN, Step.DECIDE, "given up")
        assert len(w.pays()) == 1
        assert len(w.queries()) < 80
        await w.audit(client)


async def test_no_record_after_a_record(world: MakeWorld) -> None:
    """ "No record" never permits anything once a record was seen; it is reported."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, query=[None, *["8901"] * 12, None], timeline=[("PROCESSING", 0), ("SUCCESS", 4000)])
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert any("8901" in alarm for alarm in payout.alarms)
        assert len(w.pays()) == 1
        await w.audit(client)


async def test_one_answer_of_another_order(world: MakeWorld) -> None:
    """The connections for queries are renewed; one stray answer is no conflict."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, query=["other_order", None])
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert w.wires[1].renewed == 1
        await w.audit(client)


async def test_three_answers_of_another_order(world: MakeWorld) -> None:
    """Then it is no mix-up any more: CONFLICT, and nothing more is sent."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["close_before"], query=["other_order", ...])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.CONFLICT, Step.DECIDE)
        assert w.wires[1].renewed == 3
        with pytest.raises(CommandRefused):
            await client.resume(NUMBER, by="Wang Fang")
        assert len(w.pays()) == 1


async def test_a_pay_answer_of_another_order(world: MakeWorld) -> None:
    """The connection that brought it is not used for the next payment (safety.md 3.5)."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["other_order"])
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert w.wires[0].renewed == 1


@pytest.mark.parametrize(
    "members",
    [{"money_order": "25.79"}, {"dt_order": "20261123100001"}, {"info_order": "another"}],
    ids=lambda members: next(iter(members)),
)
async def test_the_gateway_has_another_order_under_our_number(world: MakeWorld, members: dict[str, str]) -> None:
    """CONFLICT: nothing more is sent, a person decides."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["close_after"], query=[Answer(members=members), ...])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.CONFLICT, Step.DECIDE)
        assert len(w.pays()) == 1


async def test_query_by_hand(world: MakeWorld) -> None:
    """`query` asks up to three times when an answer brings nothing, and then tells what is known."""
    async with world() as w:
        client = await w.client()
        paid = await w.pay(client, an_order())
        asked = len(w.queries())
        w.simulator.script(NUMBER, query=["garbage", "502_before", None])
        assert (await w.done(client.query(NUMBER))).state is State.PAID
        assert len(w.queries()) > asked
        w.simulator.script(NUMBER, query=["garbage", ...])
        asked = len(w.queries())
        assert (await w.done(client.query(NUMBER))).state is State.PAID
        assert len(w.queries()) == asked + 3
        with pytest.raises(CommandRefused):
            await client.query("NOSUCHNUMBER")
        assert paid.no_order == NUMBER


async def test_twins(world: MakeWorld) -> None:
    """Two clients resume and query the same payout at the same time: it goes out once more, not twice."""
    async with world(journal="sqlite", balance=Decimal(10)) as w:
        one, two = await w.client(w.journal("shared")), await w.client(w.journal("shared"))
        await w.pay(one, an_order())
        w.simulator.operator.top_up("1000")
        await one.resume(NUMBER, by="A")
        try:
            await two.resume(NUMBER, by="B")
        except CommandRefused:
            await two.recover()
        await w.done(two.query(NUMBER))
        [payout] = await w.at_rest(one, NUMBER)
        [same] = await w.at_rest(two, NUMBER)
        assert payout.state is same.state is State.PAID
        assert len(w.pays()) == 2
        await w.audit(one)
