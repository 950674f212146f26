"""Every fault of the simulator, on `pay` and on `query`, over both transports: the true end, and paid at most once."""

from __future__ import annotations

from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, an_order, true_state

from lianlian_async import State, Step
from lianlian_async.clock import wire_time
from lianlian_async.numbers import derive
from lianlian_async.testing.simulator import Step as Answer
from lianlian_async.testing.simulator.faults import FAULTS
from lianlian_async.transport import FaultKind, WireAnswer, WireFault
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

NUMBER = derive(OID_PARTNER, "k")

# The gateway says that it knows the number, and has nothing: only LianLian can explain that, so a person asks.
LIES = frozenset({"2005_before", "1002_before"})
HANGS = frozenset({"hang_before", "hang_after", "late_hang", "slow"})
# Every fault over httpx2; over aiohttp those that end in the library's own code, not only in ours.
ON_THE_WIRE = sorted(
    name
    for name in FAULTS
    if name.startswith(("close", "reset", "hang", "late", "echo", "slow", "trunc", "garb", "over"))
)
CASES = [(name, HttpxTransport) for name in sorted(FAULTS)] + [(name, AiohttpTransport) for name in ON_THE_WIRE]


def _id(value: Any) -> str:
    return value if isinstance(value, str) else str(value.__module__).rpartition(".")[2]


@pytest.mark.parametrize(("fault", "transport"), CASES, ids=_id)
async def test_a_fault_on_pay(world: MakeWorld, fault: str, transport: type[Any]) -> None:
    """Whatever happened to the first request: the end is the gateway's own, and money moved once."""
    async with world(make_transport=transport) as w:
        w.simulator.script(NUMBER, pay=[Answer(fault=fault, late_s=600.0), None])
        client = await w.client()
        payout = await w.pay(client, an_order())
        await w.run_for(1200)
        await w.audit(client)
        if fault in LIES:
            assert payout.state in (State.IN_PROGRESS, State.UNKNOWN)
            assert payout.step is Step.DECIDE
            assert w.simulator.ledger.paid() == {}
        else:
            assert payout.state is State.PAID
            assert true_state(w, NUMBER) is State.PAID
            assert w.simulator.ledger.paid() == {NUMBER: 1}
        assert payout.sends == len(w.pays())


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"other_order"}))  # three of those are a conflict
async def test_a_fault_on_every_second_query(world: MakeWorld, fault: str) -> None:
    """A bad query brings nothing and harms nothing: the good one in between decides."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(
            NUMBER, pay=["close_after"], query=[fault, None, fault, None, fault, None], final="SUCCESS", after_s=100
        )
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert len(w.pays()) == 1
        await w.audit(client)


@pytest.mark.parametrize("fault", ["late_hang", "echo", "echo_close", "late_9999", "late_502"])
@pytest.mark.parametrize("late_s", [20.0, 330.5, 400.0])
async def test_a_late_copy_around_the_resend(world: MakeWorld, fault: str, late_s: float) -> None:
    """A copy that comes just before, during or just after the second send: one payment, and its true state."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[Answer(fault=fault, late_s=late_s), None])
        payout = await w.pay(client, an_order())
        await w.run_for(1200)
        assert payout.state is State.PAID
        assert w.simulator.ledger.paid() == {NUMBER: 1}
        await w.audit(client)


@pytest.mark.parametrize("faults", [["late_hang", "9104", None], ["hang_before", "4014", "close_after", None],
                                    ["9999_before", "4012", "4012", None], ["late_9999", "4014", "4014", "4014"]])  # fmt: skip
async def test_several_faults_in_a_row(world: MakeWorld, faults: list[Any]) -> None:
    """An answer to one attempt says nothing of the one before: paid at most once, and truly told."""
    async with world() as w:
        client = await w.client()
        steps = [Answer(fault=f, late_s=900.0) if f in FAULTS else f for f in faults]
        w.simulator.script(NUMBER, pay=steps)
        payout = await w.pay(client, an_order())
        await w.run_for(2000)
        for _ in range(4):
            payout = await client.get(NUMBER)
            if payout.step in (Step.FIX, Step.DECIDE) and payout.state is not State.IN_PROGRESS:
                await client.resume(NUMBER, by="Wang Fang")
            [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        assert w.simulator.ledger.paid() == {NUMBER: 1}
        await w.audit(client)


async def test_a_lost_answer_after_a_failure_without_a_bill(world: MakeWorld) -> None:
    """The resend was booked and its answer lost: it is queried before anybody is told that the gateway failed it."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["4014", "close_after"])
        payout = await w.pay(client, an_order())
        assert len(w.pays()) == 2
        assert (payout.state, payout.step) == (State.PAID, Step.NOTHING)


@pytest.mark.parametrize("kind", [FaultKind.CONNECT, FaultKind.DNS, FaultKind.TLS, FaultKind.POOL, FaultKind.TIMEOUT])
async def test_nothing_left_this_machine(world: MakeWorld, kind: FaultKind) -> None:
    """Proven unsent: UNSENT, tried again after a query, faster than after a lost answer."""
    async with world() as w:
        client = await w.client()
        faults = [WireFault(kind, sent=False)] * 3

        async def fail() -> WireFault | None:
            return faults.pop() if faults else None

        w.wires[0].before = lambda url: fail()
        task = w.start(client.pay(an_order(), key="k", wait_s=1e9))
        await w.calm()
        assert (await client.get(NUMBER)).state is State.UNSENT
        await w.run_until(task.done)
        payout = task.result()
        assert (payout.state, payout.sends, len(w.pays())) == (State.PAID, 1, 1)
        [record] = await w.records(client)
        assert len(record.attempts) == 4
        assert (record.attempts[-1].started_at - record.created_at).total_seconds() < 60
        for earlier, later in zip(record.attempts, record.attempts[1:], strict=False):
            asked = [q for q in w.queries() if earlier.started_at <= q.time <= later.started_at]
            assert asked, "a query comes before every further send (R1)"


async def test_the_gateway_cannot_be_reached_for_hours(world: MakeWorld) -> None:
    """Neither pay nor query gets through: nothing is concluded, the tries get rarer, and then it is paid once."""
    async with world() as w:
        client = await w.client()
        down = [True]

        async def fail() -> WireFault | None:
            return WireFault(FaultKind.CONNECT, sent=False) if down else None

        for wire in w.wires:
            wire.before = lambda url: fail()
        await client.pay(an_order(), key="k", wait_s=0)
        await w.run_for(5 * 3600)
        assert not w.simulator.requests
        tries = w.wires[0].total + w.wires[1].total
        assert tries < 60
        down.clear()
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, len(w.pays())) == (State.PAID, 1)
        await w.audit(client)


async def test_the_gateway_is_busy(world: MakeWorld) -> None:
    """429 and 503 to queries: it is asked more slowly than after other faults, and the truth comes out."""
    counts = {}
    for fault in ("503_before", "502_before"):
        async with world() as w:
            client = await w.client()
            w.simulator.script(NUMBER, pay=["close_after"], query=[*[fault] * 30, None], final="SUCCESS", after_s=5)
            await client.pay(an_order(), key="k", wait_s=0)
            await w.run_for(1800)
            counts[fault] = len(w.queries())
            [payout] = await w.at_rest(client, NUMBER)
            assert payout.state is State.PAID
            assert len(w.pays()) == 1
    assert counts["503_before"] < counts["502_before"]


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999"], ids=["year", "zone"]
)
async def test_a_date_header_from_nowhere(world: MakeWorld, date: str) -> None:
    """Nothing outside the signed body may keep an answer from being written down."""
    async with world() as w:
        client = await w.client()

        async def dated(heard: Any) -> Any:
            return WireAnswer(heard.status, heard.body, date)

        for wire in w.wires:
            wire.after = lambda url, heard: dated(heard)
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert len(w.pays()) == 1


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 01 Jan 2026 00:00:00", "Mon, 01 Jan 2026 00:00:00 +9999"])
async def test_a_date_header_that_says_nothing(world: MakeWorld, date: str) -> None:
    """It is left alone; the difference of the clocks stays unknown."""
    async with world() as w:
        client = await w.client()

        async def dated(heard: Any) -> Any:
            return WireAnswer(heard.status, heard.body, date)

        for wire in w.wires:
            wire.after = lambda url, heard: dated(heard)
        assert (await w.pay(client, an_order())).state is State.PAID
        assert client.gateway.clock_ahead_s is None


async def test_the_difference_of_the_clocks(world: MakeWorld) -> None:
    """Known from the Date header, to a second."""
    async with world() as w:
        client = await w.client()
        await w.pay(client, an_order())
        assert client.gateway.clock_ahead_s is not None
        assert abs(client.gateway.clock_ahead_s) <= 1
        assert wire_time(w.clock.now()).startswith("2026")


async def test_a_transport_of_the_callers_that_raises(world: MakeWorld) -> None:
    """Whatever it raises, bytes may have left: UNKNOWN, and it is queried until it ends."""
    async with world() as w:
        client = await w.client()

        async def bad() -> Any:
            raise RuntimeError("a transport of the caller's own")

        w.wires[0].after = lambda url, heard: bad()
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert len(w.pays()) == 1


async def test_control_characters_in_the_answer(world: MakeWorld) -> None:
    """What the gateway says is escaped before it is kept or shown; line breaks make the answer unreadable, not a fact."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[Answer("9911", members={"ret_msg": "limit\u202e\u200b x"})])
        await w.pay(client, an_order())
        [record] = await w.records(client)
        said = record.evidence[0].ret_msg
        assert said == "limit\\u202e\\u200b x"
        w.simulator.script("N2", pay=[Answer("9911", members={"ret_msg": "limit\r\nFAKE LOG LINE\x1b[31m"}), None])
        payout = await w.pay(client, an_order(card=2, no_order="N2"), None)
        assert payout.sends == 2
        [record] = [r for r in await w.records(client) if r.no_order == "N2"]
        assert all(c.isprintable() for e in record.evidence for c in (e.ret_msg or "") + (e.detail or ""))
        await w.audit(client)


async def test_signed_answers_of_a_wrong_shape(world: MakeWorld) -> None:
    """The genuine signature over nonsense proves nothing: queried, not sent again, and truly told in the end."""
    async with world() as w:
        client = await w.client()
        bad = Answer(members={"oid_paybill": "not a bill"})
        w.simulator.script(NUMBER, pay=[bad], query=[bad, Answer(members={"result_pay": "成功"}), None])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.sends) == (State.PAID, 1)
        [record] = await w.records(client)
        assert [e.outcome for e in record.evidence][:3] == ["unreadable"] * 3
        await w.audit(client)
