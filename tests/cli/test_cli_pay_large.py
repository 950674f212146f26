"""`pay` with a file of real size: a thousand rows."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal

import pytest
from cli_world import Gateway, Shell, audit, rows, write_csv


@pytest.mark.slow
async def test_a_thousand_rows(gateway: Gateway, shell: Shell) -> None:
    """A thousand rows on a calm day: every payee gets the amount of the row, once, within a minute."""
    lines = rows(1000)
    file = write_csv(shell.folder / "salaries.csv", lines)
    started = time.perf_counter()
    ran = await shell.pay(file)
    took_s = time.perf_counter() - started
    assert ran.code == 0, ran.text[-2000:]
    audit(shell.outcomes(), [line["key"] for line in lines], gateway.ledger)
    sent = Counter((r.content["card_no"], r.content["money_order"]) for r in gateway.simulator.requests
                   if r.endpoint == "pay" and r.content)  # fmt: skip
    assert set(sent) == {(line["card_no"], line["money_order"]) for line in lines}
    assert gateway.ledger.summary().paid_once == 1000
    assert gateway.ledger.summary().paid_amount == sum(Decimal(line["money_order"]) for line in lines)
    assert all(gateway.simulator.received_by(line["card_no"]) == Decimal(line["money_order"]) for line in lines)
    assert took_s < 60
    assert gateway.asked("query") < 10 * 1000
    assert (await shell.pay(file)).code == 0
    assert gateway.ledger.summary().paid_once == 1000
