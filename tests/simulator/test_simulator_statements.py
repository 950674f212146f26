"""The gateway's statements: from its own ledger, as the vendor writes them, ready at nine on the next day."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from lianlian_async.clock import SHANGHAI
from lianlian_async.reconcile.reader import read_rows, read_summary
from lianlian_async.reconcile.writer import statement_amount
from lianlian_async.testing.clocks import ManualClock
from lianlian_async.testing.simulator import Entry, Ledger
from lianlian_async.testing.simulator.statements import (
    hand_out_statements,
    ready_days,
    statement_text,
    summary_text,
    write_statements,
)

PARTNER = "201606020000150062"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=SHANGHAI)


def entry(no_order: str, event: str, days: float = 0, money: str = "9087.60", bill: str = "") -> Entry:
    at = NOON + timedelta(days=days)
    return Entry(at, no_order, event, Decimal(money), "622848*********0018", bill or f"B{no_order}")


def a_ledger() -> Ledger:
    return Ledger(
        entries=[
            entry("n1", "booked"), entry("n1", "paid", 0.001), entry("n2", "paid", 0.4, "0.60"),
            entry("n3", "failed", 0.4), entry("n4", "paid", 0.6, "50000.00"), entry("n1", "refunded", 1.2),
            entry("n5", "closed", 1.3, bill=""),
        ]
    )  # fmt: skip


def test_a_day_as_the_vendor_writes_it() -> None:
    """Header, LF, no mark, fees without a zero, a settle date by the money's own day, no failures."""
    lines = statement_text(a_ledger(), PARTNER, "20261123").split("\n")
    assert lines[0].startswith("商户订单号,商户号,商户订单时间")
    assert lines[1] == (
        f"n1,{PARTNER},20261123 12:00:00,202000,Bn1,20261123,9087.6,1,0,20261123 12:01:26,.6,"
        "实时付款渠道,余额支付,付款,中国农业银行,0018,"
    )
    assert [line.split(",")[0] for line in lines[1:-1]] == ["n1", "n2"]
    assert lines[-1] == ""
    [refund] = [line for line in statement_text(a_ledger(), PARTNER, "202611").split("\n") if line.startswith("R")]
    assert refund.split(",")[4:11] == ["n1", "20261124", "-9087.6", "1", "5", "20261124 16:48:00", "-.6"]
    assert summary_text(a_ledger(), "20261124") == "2|1|50000|1|9087.6|0|0\n"


def test_the_reader_reads_what_the_gateway_writes(tmp_path: Path) -> None:
    """Two pieces of code that share nothing agree on every row, and the summary on its rows."""
    paths = write_statements(a_ledger(), PARTNER, tmp_path, ["20261123", "20261124"])
    assert [path.name[:7] for path in paths] == ["FKMX_20", "FKMXSUM"] * 2
    rows = [row for path in paths[::2] for _, row in read_rows(path, PARTNER)]
    told = [(row.payout, row.is_refund, statement_amount(row.money_order), row.settle_date) for row in rows]
    assert told == [
        ("n1", False, "9087.6", "20261123"), ("n2", False, ".6", "20261123"), ("n4", False, "50000", "20261124"),
        ("n1", True, "-9087.6", "20261124"),
    ]  # fmt: skip
    assert [read_summary(path, PARTNER).count for path in paths[1::2]] == [2, 1]


def test_a_day_is_ready_at_nine_on_the_next() -> None:
    ledger = a_ledger()
    morning = datetime(2026, 11, 24, 9, tzinfo=SHANGHAI)
    assert ready_days(ledger, morning - timedelta(seconds=1)) == []
    assert ready_days(ledger, morning) == ["20261123"]
    assert ready_days(ledger, morning + timedelta(days=1)) == ["20261123", "20261124"]
    assert ready_days(Ledger(), morning) == []


async def test_files_are_handed_out_each_morning(tmp_path: Path) -> None:
    """Once each, and no earlier."""
    clock = ManualClock(NOON)
    task = asyncio.create_task(hand_out_statements(a_ledger(), PARTNER, tmp_path, clock))
    seen = []
    for hours in (0, 20, 2, 24):
        await clock.run_for(hours * 3600)
        seen.append(len(list(tmp_path.iterdir())))
    assert seen == [0, 0, 2, 4]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
