"""Batch files as people and programs make them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import openpyxl

CARD = "6228480402564890018"
OTHER_CARD = "6217000010012345678"
HEADER = ("money_order", "card_no", "acct_name", "memo")
ROW = ("25.78", CARD, "李三", "工资")
OTHER_ROW = ("100.00", OTHER_CARD, "欧阳娜娜", "奖金")


def csv_text(*rows: Sequence[str], header: Sequence[str] = HEADER, delimiter: str = ",", newline: str = "\r\n") -> str:
    """The text of a CSV file with this header and these rows."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=newline).writerows([header, *rows])
    return stream.getvalue()


def saved(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    """`path`, now holding `content`."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def saved_sheet(path: Path, *rows: Sequence[object], header: Sequence[object] = HEADER) -> Path:
    """`path`, now a workbook with one sheet of these rows."""
    workbook = openpyxl.Workbook()
    for row in (header, *rows):
        workbook.active.append(list(row))
    workbook.save(path)
    return path


def with_luhn(digits: str) -> str:
    """`digits` and their check digit."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)
