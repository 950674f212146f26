"""Statements as LianLian writes them, and strategies for any statement there could be."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from lianlian_async.clock import SHANGHAI
from lianlian_async.reconcile import StatementRow
from lianlian_async.reconcile.statement import COLUMNS
from lianlian_async.reconcile.writer import write_rows

PARTNER = "201606020000150062"
DAY = "20261123"
NAME = f"FKMX_{PARTNER}_{DAY}.txt"
HEADER = ",".join(COLUMNS)
# As in the vendor's samples: a fee without a zero before its point, two empty columns at the end.
LINE = (
    f"319080117867,{PARTNER},20261123 13:56:25,202000,2026112325261800,20261123,5000,1,0,20261123 13:56:26,.6,"
    "实时付款渠道,余额支付,付款,中国农业银行,,"
)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=SHANGHAI)


def row(no_order: str = "319080117867", **changes: Any) -> StatementRow:
    """A payment of 5000.00 with a fee of 0.60, with `changes`."""
    plain: dict[str, Any] = {
        "no_order": no_order, "oid_partner": PARTNER, "ordered_at": NOON, "business": "202000",
        "oid_paybill": "2026112325261800", "settle_date": DAY, "money_order": Decimal("5000.00"), "direction": "1",
        "status": "0", "updated_at": NOON + timedelta(seconds=1), "fee": Decimal("0.60"), "product": "实时付款渠道",
        "method": "余额支付", "info_order": "付款", "bank": "中国农业银行",
    }  # fmt: skip
    return StatementRow(**plain | changes)


def refund(payout: str, number: str = "R1", **changes: Any) -> StatementRow:
    """The refund of a payout of 5000.00."""
    money = {"money_order": Decimal("-5000.00"), "fee": Decimal("-0.60")}
    return row(number, oid_paybill=payout, status="5", **money | changes)


def written(rows: Sequence[StatementRow]) -> bytes:
    stream = io.StringIO(newline="")
    write_rows(stream, rows)
    return stream.getvalue().encode()


_NUMBERS = st.from_regex(r"[0-9A-Za-z][!-~]{0,31}", fullmatch=True)
_MOMENTS = st.integers(946_656_000, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, SHANGHAI))
_YUAN = st.integers(1, 10**15 - 1).map(lambda fen: Decimal(fen).scaleb(-2))
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@st.composite
def any_row(draw: st.DrawFn) -> StatementRow:
    """Any row that a payout statement may hold."""
    status = draw(st.sampled_from("05"))
    sign = -1 if status == "5" else 1
    return StatementRow(
        no_order=draw(_NUMBERS), oid_partner=PARTNER, ordered_at=draw(_MOMENTS),
        business=draw(st.from_regex("[0-9A-Za-z]{0,8}", fullmatch=True)), oid_paybill=draw(_NUMBERS),
        settle_date=draw(_MOMENTS).strftime("%Y%m%d"), money_order=sign * draw(_YUAN), direction="1", status=status,
        updated_at=draw(_MOMENTS), fee=draw(st.integers(-(10**6), 10**6)) * Decimal("0.01"), product=draw(_TEXTS),
        method=draw(_TEXTS), info_order=draw(_TEXTS), bank=draw(_TEXTS), account=draw(_TEXTS), name=draw(_TEXTS),
    )  # fmt: skip
