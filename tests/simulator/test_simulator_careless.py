"""What a plain retry loop does to a batch in a storm: the reason this library exists."""

from __future__ import annotations

import pytest
from foreign_merchant import OID_PARTNER, private_pem, public_pem

from lianlian_async.testing import ScaledClock, intent_of, pay_carelessly

ROWS = [
    {
        "card_no": f"62162610000000{index:05d}",
        "acct_name": "张三",
        "money_order": f"{10 + index}.50",
        "memo": "工资",
    }
    for index in range(300)
]


async def careless(build, merchant_key, gateway_key, *, faults: str, rows, seed: int = 1, concurrency: int = 30):
    clock = ScaledClock(100)
    simulator = build(clock=clock, faults=faults, seed=seed)
    async with simulator.serve() as server:
        await pay_carelessly(
            server.base_url,
            rows,
            oid_partner=OID_PARTNER,
            merchant_private_key=private_pem(merchant_key),
            gateway_public_key=public_pem(gateway_key),
            clock=clock,
            concurrency=concurrency,
            intent_tag="S",
        )
    simulator.run_out()  # the last late copies, and the bank
    return simulator


def by_intent(entry) -> str:
    return intent_of(entry.no_order)


async def test_a_calm_gateway_forgives_carelessness(build, merchant_key, gateway_key):
    """With nothing going wrong every row is paid exactly once."""
    simulator = await careless(build, merchant_key, gateway_key, faults="calm", rows=ROWS[:50])
    summary = simulator.ledger.summary(by_intent)
    assert (summary.paid_once, summary.paid_twice) == (50, 0)


async def test_a_storm_pays_many_rows_twice(build, merchant_key, gateway_key):
    """300 payouts, one seed: dozens of payees hold the money twice or more, counted by the gateway itself."""
    simulator = await careless(build, merchant_key, gateway_key, faults="storm", rows=ROWS)
    assert len(simulator.ledger.paid_twice(by_intent)) >= 30


async def test_the_same_seed_pays_the_same_rows_twice(build, merchant_key, gateway_key):
    """Whatever the concurrency, the faults hit the same calls."""
    runs = [
        await careless(build, merchant_key, gateway_key, faults="storm", rows=ROWS[:60], seed=5, concurrency=many)
        for many in (5, 40)
    ]
    faults = [{(r.no_order, r.fault) for r in simulator.requests if r.endpoint == "pay"} for simulator in runs]
    assert faults[0] == faults[1]
    assert len({frozenset(simulator.ledger.paid_twice(by_intent)) for simulator in runs}) == 1


async def test_the_careless_client_never_leaves_this_machine(merchant_key, gateway_key):
    """It refuses any address that is not loopback."""
    with pytest.raises(ValueError, match="this machine"):
        await pay_carelessly(
            "https://instantpay.lianlianpay.com/paymentapi/",
            ROWS[:1],
            oid_partner=OID_PARTNER,
            merchant_private_key=private_pem(merchant_key),
            gateway_public_key=public_pem(gateway_key),
            clock=ScaledClock(600),
            concurrency=1,
            intent_tag="S",
        )
