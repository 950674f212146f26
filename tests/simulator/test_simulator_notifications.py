"""Notifications: signed, to the address of the request, six times six minutes until answered 0000."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from lianlian_async.testing.simulator import Behaviour
from lianlian_async.testing.simulator.notifier import on_this_machine

OK = {"ret_code": "0000", "ret_msg": "交易成功"}


class Inbox:
    """A merchant's notification address that answers from a list, then 0000."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.types: list[str] = []
        self.answers: list[object] = []
        self.url = ""
        self.clock = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.types.append(request.headers["Content-Type"])
        self.times.append(self.clock.now().timestamp())
        answer = self.answers.pop(0) if self.answers else OK
        if answer == "hang":
            await asyncio.sleep(3600)
        if isinstance(answer, int):
            return web.Response(status=answer, text=json.dumps(OK))
        return web.json_response(answer)

    async def drain(self, simulator, seconds: float, step: float = 30.0) -> None:
        """Walk the clock on, and let the posts of each step arrive and be answered."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            for _ in range(5):
                await asyncio.sleep(0)
            for _ in range(100):
                if not simulator.notifying:
                    break
                await asyncio.sleep(0.001)


@asynccontextmanager
async def inbox(clock):
    box = Inbox()
    box.clock = clock
    app = web.Application()
    app.router.add_post("/notify", box.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
    try:
        yield box
    finally:
        await runner.cleanup()


async def test_a_result_is_told_until_it_is_acknowledged(run, clock):
    """Three answers that are not 0000 bring it back every six minutes, 0000 ends it; every one is signed alike."""
    async with inbox(clock) as box, run() as (simulator, merchant):
        box.answers = [{"ret_code": "9999"}, 500, "text"]
        simulator.script("no1", final="SUCCESS", after_s=10)
        bill = (await merchant.pay(notify_url=box.url))["oid_paybill"]
        await box.drain(simulator, 3600)
        assert len(box.bodies) == 4
        gaps = [round(b - a) for a, b in zip(box.times, box.times[1:], strict=False)]
        assert gaps == [360, 360, 360]
        assert len(set(box.bodies)) == 1
        told = merchant.checked(box.bodies[0])
        assert box.types[0] == "text/json;charset=utf-8"
        assert told["result_pay"] == "SUCCESS"
        assert (told["oid_paybill"], told["settle_date"], told["money_order"]) == (bill, "20261123", "25.78")
        assert (told["dt_order"], told["info_order"]) == ("20261123100000", "测试")


@pytest.mark.parametrize(("behaviour", "times"), [(Behaviour(), 6), (Behaviour.later_docs(), 30)])
async def test_nobody_is_told_for_ever(run, clock, behaviour, times):
    """Six times by the specification, thirty by the later documents."""
    async with inbox(clock) as box, run(behaviour=behaviour) as (simulator, merchant):
        box.answers = [{"ret_code": "9999"}] * 100
        await merchant.pay(notify_url=box.url)
        await box.drain(simulator, 2 * 3600)
        assert len(box.bodies) == times


async def test_failure_and_cancel_are_told_too(run, clock):
    """FAILURE with its reason; a CANCEL after the SUCCESS, both with the same bill."""
    async with inbox(clock) as box, run() as (simulator, merchant):
        simulator.script("a", final="FAILURE", reason="账户异常", after_s=10)
        simulator.script("b", final="CANCEL", after_s=70, cancel_after_s=60)
        await merchant.pay("a", notify_url=box.url)
        await merchant.pay("b", notify_url=box.url, money_order="1.00")
        await box.drain(simulator, 600)
        told = [merchant.checked(body) for body in box.bodies]
        assert [(m["no_order"], m["result_pay"]) for m in told] == [("a", "FAILURE"), ("b", "SUCCESS"), ("b", "CANCEL")]
        assert told[0]["info_order"] == "测试_账户异常"
        assert told[1]["oid_paybill"] == told[2]["oid_paybill"]


async def test_orders_without_a_bill_are_never_told(run, clock):
    """CHECK, CLOSED and a failure before the bill have to be asked for."""
    async with inbox(clock) as box, run(balance=30) as (simulator, merchant):
        simulator.script("a", pay=["4003"])
        await merchant.pay("a", notify_url=box.url)
        assert (await merchant.pay("b", notify_url=box.url, money_order="31"))["ret_code"] == "9104"
        await box.drain(simulator, 3600)
        assert (await merchant.query("a"))["result_pay"] == "CLOSED"
        assert box.bodies == []


async def test_a_merchant_that_hangs_is_told_again(run, clock):
    """An answer that does not come counts as none and holds nobody else up."""
    async with inbox(clock) as box, run() as (simulator, merchant):
        box.answers = ["hang"]
        await merchant.pay("a", notify_url=box.url)
        await box.drain(simulator, 120)
        await merchant.pay("b", notify_url=box.url, money_order="1.00")
        await box.drain(simulator, 600)
        assert [json.loads(body)["no_order"] for body in box.bodies] == ["a", "b", "a"]


async def test_notifications_can_be_lost_doubled_late_or_spoiled(run, clock):
    """A script names the fault of each; an acknowledgement of a spoiled one counts for nothing."""
    async with inbox(clock) as box, run() as (simulator, merchant):
        simulator.script("no1", final="SUCCESS", after_s=10, notify=["lost", "unsigned", "bad_sign", "duplicate"])
        await merchant.pay(notify_url=box.url)
        await box.drain(simulator, 3600)
        assert [body.count(b'"sign"') for body in box.bodies] == [0, 1, 1, 1]
        assert box.bodies[2] == box.bodies[3]
        assert box.bodies[1] != box.bodies[2]
        assert round(box.times[2] - box.times[0]) == 720


async def test_the_confirming_requests_address_is_told(run, clock):
    """The notify_url of the confirmation takes the place of the payment's."""
    async with inbox(clock) as box, run() as (simulator, merchant):
        simulator.script("no1", pay=["4003"])
        code = (await merchant.pay(notify_url=box.url))["confirm_code"]
        await merchant.confirm("no1", code)
        await box.drain(simulator, 600)
        assert box.bodies == []


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:1/x", True),
        ("http://localhost/x", True),
        ("http://[::1]/x", True),
        ("https://pay.example.com/x", False),
        ("http://10.0.0.1/x", False),
        ("http://127.0.0.1.example.com/x", False),
        ("http:///x", False),
    ],
)
def test_only_this_machine_is_ever_notified(url, here):
    """A batch with real addresses must not make a test double call the outside world."""
    assert on_this_machine(url) is here
