"""A reconciliation for programs and spreadsheets: one JSON object, and the differences as CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError
from ..protocol.fields import safe_text
from .results import DayTotals, Difference, Reconciliation

__all__ = ["COLUMNS", "as_object", "check_place", "differences_csv", "lines_of", "write_text"]

COLUMNS: Final = (
    "kind", "day", "no_order", "detail", "listed_amount", "our_amount", "listed_bill", "our_bill", "our_date", "before",
    "state", "card_no", "acct_name", "places",
)  # fmt: skip
# What makes a spreadsheet take a text for a formula. No amount here is below zero.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def differences_csv(result: Reconciliation) -> str:
    """The differences, a line each, with a mark for Excel; a text that it would run as a formula begins with `'`."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(getattr(difference, name)) for name in COLUMNS] for difference in result.differences)
    return f"\ufeff{stream.getvalue()}"


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    text = "" if value is None else "; ".join(value) if isinstance(value, tuple) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def as_object(result: Reconciliation) -> dict[str, Any]:
    """The whole result as plain values, amounts as text with two places."""
    return {
        "oid_partner": result.oid_partner,
        "even": result.even,
        "files": [{"name": file.name, "encoding": file.encoding, "rows": file.rows} for file in result.files],
        "total": _totals(result.total),
        "days": [_totals(day) for day in result.days],
        "opening": _plain(result.opening),
        "closing": _plain(result.closing),
        "unexplained": _plain(result.unexplained),
        "differences": [_difference(difference) for difference in result.differences],
        "waiting": [_difference(difference) for difference in result.waiting],
    }


def _totals(totals: DayTotals) -> dict[str, Any]:
    return {
        "day": totals.day, "count": totals.count, "amount": _plain(totals.amount), "fee": _plain(totals.fee),
        "refunds": totals.refunds, "refunded": _plain(totals.refunded), "outflow": _plain(totals.outflow),
        "our_count": totals.our_count, "our_amount": _plain(totals.our_amount), "states": dict(totals.states),
        "differences": totals.differences,
    }  # fmt: skip


def _difference(difference: Difference) -> dict[str, Any]:
    values = {name: _plain(getattr(difference, name)) for name in COLUMNS}
    return {**values, "places": list(difference.places), "evidence": list(difference.evidence)}


def _plain(value: object) -> object:
    return f"{value:.2f}" if isinstance(value, Decimal) else None if value is None else value


# ---------------------------------------------------------------------- files


def check_place(path: Path) -> None:
    """Raise ConfigError when no file could be written there: to be asked before a long run."""
    try:
        handle, name = tempfile.mkstemp(prefix=".report-", suffix=".tmp", dir=path.absolute().parent)
        os.close(handle)
        os.unlink(name)
        if path.exists() and not path.is_file():
            raise OSError(0, "not an ordinary file")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a report, mode 0600: the file is the old one or the whole new one. Raises ConfigError."""
    try:
        handle, name = tempfile.mkstemp(prefix=".report-", suffix=".tmp", dir=path.absolute().parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                stream.write(text)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> ConfigError:
    shown, why = safe_text(os.fspath(path), limit=500), getattr(error, "strerror", None) or error
    return ConfigError(f"the report {shown} cannot be written ({why}): give another path")


def lines_of(differences: Sequence[Difference], most: int) -> list[str]:
    """The first differences in a line each, for a terminal."""
    lines = []
    for one in differences[:most]:
        name = f"{one.no_order}  " if one.no_order else ""
        payee = "  ".join(filter(None, (one.card_no, one.acct_name)))
        lines.append(f"{one.day}  {one.kind:<8} {name}{one.detail}{f'  {payee}' if payee else ''}")
    return lines
