"""Writing a payout statement as LianLian does: for the simulator's and the tests' statements."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TextIO

from ..clock import SHANGHAI
from .statement import COLUMNS, StatementRow

__all__ = ["statement_amount", "write_rows"]


def write_rows(stream: TextIO, rows: Iterable[StatementRow]) -> None:
    """Write the header and `rows`; `stream` must be opened with `newline=""`. UTF-8 without a mark is the vendor's."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_cells, rows))


def statement_amount(amount: Decimal) -> str:
    """An amount in the vendor's way: no zeros that say nothing, not even before the point (`.6`)."""
    text = f"{abs(amount):.2f}".rstrip("0").rstrip(".").lstrip("0")
    return f"-{text}" if amount < 0 else text or "0"


def _cells(row: StatementRow) -> list[str]:
    texts = (row.product, row.method, row.info_order, row.bank, row.account, row.name)
    return [
        row.no_order, row.oid_partner, _time(row.ordered_at), row.business, row.oid_paybill, row.settle_date,
        statement_amount(row.money_order), row.direction, row.status, _time(row.updated_at), statement_amount(row.fee),
        *map(_text, texts),
    ]  # fmt: skip


def _time(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y%m%d %H:%M:%S")


def _text(text: str) -> str:
    # A text that a reader would take for the portal's wrapping is wrapped itself.
    if text.startswith("=") or text != text.strip("\t"):
        return '="' + text.replace('"', '""') + '"'
    return text
