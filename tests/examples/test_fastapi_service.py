"""examples/fastapi_service.py, through its own doors."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import aiohttp
import pytest
from cli_world import Gateway, Shell, a_row, pause_in_journal
from examples_world import AT_REST, TOKEN, Program, judge, payments, read, until

pytestmark = pytest.mark.checkout

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
TABLE = "SELECT * FROM payouts"


@pytest.fixture
def service(shell: Shell, session: aiohttp.ClientSession) -> Program:
    return Program("fastapi_service.py", shell, session)


async def post(service: Program, wanted: dict[str, Any], **how: Any) -> tuple[int, dict[str, Any]]:
    async with service.session.post(f"{service.url}/payouts", json=wanted, headers=AUTHORIZED, **how) as response:
        assert wanted["card_no"] not in await response.text()
        return response.status, await response.json()


async def get(service: Program, key: str) -> tuple[int, dict[str, Any]]:
    async with service.session.get(f"{service.url}/payouts/{key}", headers=AUTHORIZED) as response:
        return response.status, await response.json()


async def settled(service: Program, wanted: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """What callers are told once nothing moves, which the service's own table must say, too."""

    async def told() -> dict[str, dict[str, Any]]:
        return {w["key"]: (await get(service, w["key"]))[1] for w in wanted}

    def names(payouts: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {key: (payout["no_order"], payout["state"], payout["step"]) for key, payout in payouts.items()}

    async def agreed() -> bool:
        now = await told()
        own = {row["key"]: row for row in read(service.shell.folder / "service.db", TABLE)}
        return all(payout["step"] in AT_REST for payout in now.values()) and names(now) == names(own)

    await until(agreed)
    return await told()


async def stop(service: Program) -> None:
    """SIGTERM: the lifespan ends, the client is closed, and uvicorn passes the signal on."""
    said = await service.end(signal.SIGTERM, ends_with=-signal.SIGTERM)
    assert "Application shutdown complete" in said


async def test_paid_once_however_often_it_is_asked_for(service: Program, gateway: Gateway) -> None:
    """Each of ten is asked for three times, twice at once; the callers, the table and the ledger agree."""
    await service.start()
    wanted = payments(10)
    answers = await asyncio.gather(*(post(service, w) for w in wanted for _ in range(2)))
    answers += [await post(service, w) for w in wanted]
    assert {status for status, _ in answers} <= {200, 202}
    assert all(isinstance(told["money_order"], str) for _, told in answers)
    told = await settled(service, wanted)
    assert judge(gateway, wanted, told) >= 8
    assert [(await post(service, w))[0] for w in wanted] == [200] * 10
    await stop(service)
    service.require_discreet(*(w["card_no"] for w in wanted), "李三")


async def test_killed_again_and_again(service: Program, gateway: Gateway) -> None:
    """kill -9 while callers wait, three times over: they ask again with the same key, and all is paid once."""
    wanted, draw = payments(15), random.Random(20161018)
    for _ in range(3):
        await service.start()
        calls = [asyncio.create_task(post(service, w)) for w in draw.sample(wanted, 10)]
        await asyncio.sleep(draw.uniform(0.02, 0.4))
        await service.kill()
        await asyncio.gather(*calls, return_exceptions=True)
    await service.start()
    answers = await asyncio.gather(*(post(service, w) for w in wanted))
    assert {status for status, _ in answers} <= {200, 202}
    assert judge(gateway, wanted, await settled(service, wanted)) >= 12
    await stop(service)
    service.require_discreet(*(w["card_no"] for w in wanted), "李三")


async def test_what_is_refused(service: Program, gateway: Gateway) -> None:
    """Every refusal has its status, says what to do, and repeats neither card number nor name."""
    await service.start()
    one = a_row(1)
    status, told = await post(service, {**one, "money_order": 1.01})
    assert (status, told["problems"][0]["field"]) == (422, "money_order")
    assert (await post(service, {name: one[name] for name in one if name != "key"}))[0] == 422
    status, told = await post(service, {**one, "card_no": "6228480223123114x41"})
    assert (status, told["field"]) == (422, "card_no")
    assert gateway.ledger.entries == []

    status, first = await post(service, one)
    assert status in (200, 202)
    status, told = await post(service, {**one, "money_order": "9.99"})
    assert (status, told["error"]) == (409, "OrderConflict")
    again = {**one, "key": "another"}
    status, told = await post(service, again)
    assert (status, told["twins"]) == (409, [first["no_order"]])
    assert "duplicate_ok" in told["advice"]
    assert (await get(service, "another"))[0] == 404
    assert (await post(service, {**again, "duplicate_ok": True}))[0] in (200, 202)

    async with service.session.post(f"{service.url}/payouts", json=a_row(2)) as response:
        assert response.status in (401, 403)
    async with service.session.get(f"{service.url}/payouts/{one['key']}", headers={"Authorization": "Bearer x"}) as r:
        assert r.status == 401
    async with service.session.post(f"{service.url}/lianlian", data=b"{}") as response:
        assert (await response.json(content_type=None))["ret_code"] == "9999"

    await pause_in_journal(service.shell.journal, "the account is being audited")
    status, told = await post(service, a_row(3))
    assert (status, told["error"]) == (503, "BreakerOpen")
    assert (await post(service, one))[0] in (200, 202)
    await stop(service)
    service.require_discreet(one["card_no"], "6228480223123114x41", "李三")
