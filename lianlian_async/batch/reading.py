"""A file of payouts, read and checked as a whole before anybody thinks of sending.

Which payment a row is, is said by its key, for ever:

    column `key`            the caller's own name for the payment, such as salary-2026-11/emp-1042
    else column `no_order`  the number itself
    else                    `row:` and 32 hex digits of what the row says (`#2`, `#3` … for identical rows)

The third makes a file safe to run again: renamed, saved again, sorted, in another encoding, with other rows
changed, added or taken out, its rows are the payments they were, and pay nothing twice. It has two limits, and
both are to be said aloud before anything is sent. A row that repeats next month is the *same* payment and will
not be paid again: give it a key. And a row that is *edited* after it was paid (a memo put right, say) is another
payment and would be paid again: who edits and runs again needs a key column.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

from attrs import define, field, frozen

from ..errors import ConfigError, InvalidOrder
from ..numbers import check_key
from ..protocol.fields import field_fault, safe_text
from ..protocol.messages import Order, content_hash
from .cells import read_cell
from .columns import CHECKED_ONLY, REQUIRED, understand
from .sheets import OLE_MAGIC, ZIP_MAGIC, read_sheet, refuse_ole
from .text import Table, read_text

__all__ = ["FILE_BYTES_MAX", "PROBLEMS_KEPT_MAX", "ROWS_MAX", "Batch", "BatchRow", "Problem", "read_batch"]

FILE_BYTES_MAX: Final = 256 * 1024**2
ROWS_MAX: Final = 1_000_000
PROBLEMS_KEPT_MAX: Final = 10_000
_PIECE_BYTES: Final = 1024**2


@frozen
class BatchRow:
    """One payment of a file. `line` is its first line there; `derived` says that the key was made from the row."""

    line: int
    key: str
    order: Order
    derived: bool = False


@frozen
class Problem:
    """Why a line cannot be paid, and the way out. `field` is a column's wire name, or "" for the line itself."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"line {self.line}", self.field, self.reason) if part)


@frozen
class Batch:
    """What a file says. Pay nothing of it while `problem_count` is not 0: `rows` are then only the sound ones.

    `problems` holds the first `PROBLEMS_KEPT_MAX`. `notes` tell how the file was read.
    """

    path: Path
    rows: tuple[BatchRow, ...] = field(repr=lambda rows: f"<{len(rows)} rows>")
    problems: tuple[Problem, ...] = field(repr=lambda problems: f"<{len(problems)} problems>")
    notes: tuple[str, ...]
    problem_count: int

    @property
    def count(self) -> int:
        """How many payments."""
        return len(self.rows)

    @property
    def total(self) -> Decimal:
        """Their sum in yuan."""
        return sum((row.order.money_order for row in self.rows), Decimal("0.00"))

    @property
    def derived_count(self) -> int:
        """How many rows have neither `key` nor `no_order`, so that their key follows from what they say."""
        return sum(row.derived for row in self.rows)

    @property
    def twins(self) -> tuple[tuple[BatchRow, ...], ...]:
        """Groups of rows that pay the same amount to the same account: ask whether that is meant."""
        groups: dict[tuple[str, Decimal], list[BatchRow]] = {}
        for row in self.rows:
            account = row.order.card_no.replace("-", "")
            groups.setdefault((account, row.order.money_order), []).append(row)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def read_batch(path: Path, *, oid_partner: str | None = None) -> Batch:
    """Read and check a whole file of payouts: CSV, Excel's 'Unicode text', or .xlsx (specification 3.1).

    `oid_partner` is the merchant who will pay; a file with that column must name the same one. Raises
    ConfigError, in one sentence, when the file as a whole cannot be read.
    """
    shown = safe_text(os.fspath(path), limit=500)
    try:
        return _batch(path, _table(_bytes(path)), oid_partner)
    except ConfigError as fault:
        raise ConfigError(f"{shown} {fault}") from None


def _batch(path: Path, table: Table, oid_partner: str | None) -> Batch:
    found: _Rows | None = None
    for line, cells in table.lines:
        if found is not None:
            found.add(line, cells)
        elif any(cell is not None and str(cell).strip() for cell in cells):
            found = _Rows(understand(cells), oid_partner, table.hidden)
    if found is None:
        raise ConfigError("holds nothing but blank lines; give a header line and a line for each payment")
    if not found.rows and not found.problem_count:
        raise ConfigError("has a header line and no payments; give a line for each")
    return Batch(path, tuple(found.rows), tuple(found.problems), table.notes, found.problem_count)


# ---------------------------------------------------------------------- the file


def _bytes(path: Path) -> bytes:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError("is a directory; give a file")
        if not stat.S_ISREG(mode):
            # A pipe may never end, and cannot be read again when the batch is run again.
            raise ConfigError("is not an ordinary file; save it as one first")
        with open(path, "rb") as stream:
            # In pieces: a single read would set aside room for the largest file before it knows the size of this one.
            raw = b"".join(_pieces(stream))
    except OSError as fault:
        raise ConfigError(f"cannot be read: {fault.strerror}; give a readable file") from None
    except ValueError:
        raise ConfigError("cannot be the name of a file; give another") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"is larger than {FILE_BYTES_MAX >> 20} MiB; split it")
    return raw


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """What is in a file, up to a little more than may be in it."""
    size = 0
    while size <= FILE_BYTES_MAX and (piece := stream.read(_PIECE_BYTES)):
        size += len(piece)
        yield piece


def _table(raw: bytes) -> Table:
    """What the bytes are is told by the bytes: a name ending in .csv proves nothing."""
    if not raw.strip():
        raise ConfigError("is empty; give a header line and a line for each payment")
    if raw.startswith(ZIP_MAGIC):
        return read_sheet(raw)
    if raw.startswith(OLE_MAGIC):
        refuse_ole(raw)
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise ConfigError("is a web page or XML, whatever its name says; save it as .xlsx or as 'CSV UTF-8'")
    return read_text(raw)


# ---------------------------------------------------------------------- the rows


@define
class _Rows:
    """Collects the rows under one header, and everything that is wrong with any of them."""

    names: tuple[str | None, ...]
    oid_partner: str | None
    hidden: frozenset[int]
    rows: list[BatchRow] = field(factory=list)
    problems: list[Problem] = field(factory=list)
    problem_count: int = 0
    copies: Counter[str] = field(factory=Counter)
    lines_of_keys: dict[str, int] = field(factory=dict)
    lines_of_numbers: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if "oid_partner" in self.names and self.oid_partner is None:
            raise ConfigError("has a column oid_partner, and nobody said who pays; leave the column out")

    def add(self, line: int, cells: Sequence[object]) -> None:
        """Read one line of the file; a blank one is passed over."""
        values: dict[str, str] = {}
        faults: list[InvalidOrder] = []
        for place, raw in enumerate(cells):
            if raw is None or raw == "":
                continue
            name = self.names[place] if place < len(self.names) else None
            try:
                if name is None:
                    if not isinstance(raw, str) or raw.strip():
                        return self._report(line, "", self._stray(place))
                elif text := read_cell(name, raw):
                    values[name] = text
            except InvalidOrder as fault:
                faults.append(fault)
        if not faults and not values:
            return None
        if len(self.rows) >= ROWS_MAX:
            raise ConfigError(f"has more than {ROWS_MAX} payments; split it")
        return self._finish(line, values, faults)

    def _stray(self, place: int) -> str:
        if place < len(self.names):
            return f"column {place + 1} holds a value and has no name; name the column in the header line or clear it"
        return (
            f"has more cells than the header line ({place + 1}, not {len(self.names)}); "
            "put quotes around a cell that holds the separator"
        )

    def _finish(self, line: int, values: dict[str, str], faults: list[InvalidOrder]) -> None:
        own_key = values.pop("key", "")
        if not values.keys().isdisjoint(CHECKED_ONLY):
            faults += _check_only(values, self.oid_partner)
        order = _order(values, faults)
        key = own_key or values.get("no_order", "")
        try:
            if own_key:
                check_key(own_key)
        except InvalidOrder as fault:
            faults.append(fault)
        if line in self.hidden:
            self._report(line, "", "is hidden in the sheet; show all rows, and take out the ones not to be paid")
        for what in faults:
            self._report(line, what.field, f"{what.problem}; {what.remedy}")
        if order is not None and not key:
            key = self._derived(order)
        unique = self._claim(line, values.get("no_order", ""), key, own_key)
        if order is not None and not faults and unique and line not in self.hidden:
            self.rows.append(BatchRow(line, key, order, derived=not own_key and order.no_order is None))

    def _derived(self, order: Order) -> str:
        digest = content_hash(order.members())[:32]
        self.copies[digest] += 1
        copy = self.copies[digest]
        return f"row:{digest}" if copy == 1 else f"row:{digest}#{copy}"

    def _claim(self, line: int, no_order: str, key: str, own_key: str) -> bool:
        """Note key and number of a line; False, and a problem, when another line has them already."""
        unique = True
        first = self.lines_of_numbers.setdefault(no_order, line) if no_order else line
        if first != line:
            self._report(line, "no_order", f"is the same as on line {first}; a number stands for one payment only")
            unique = False
        first = self.lines_of_keys.setdefault(key, line) if key else line
        if first != line and (unique or own_key):
            self._report(line, "key", f"is the same as on line {first}; a key stands for one payment only")
            unique = False
        return unique

    def _report(self, line: int, name: str, reason: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_KEPT_MAX:
            self.problems.append(Problem(line, name, reason))


def _check_only(values: dict[str, str], oid_partner: str | None) -> list[InvalidOrder]:
    """Take out what the client fills in itself: it sets nothing here, so it may say nothing else."""
    sent = {
        "oid_partner": oid_partner,
        "api_version": "1.1" if values.get("risk_item") else "1.0",
        "sign_type": "RSA",
    }
    said = {name: values.pop(name, "") for name in CHECKED_ONLY}
    return [
        InvalidOrder(
            name,
            "is not the merchant who pays" if name == "oid_partner" else f"is not {sent[name]}, which will be sent",
            "leave the column out, or give the file to the set-up it was made for",
        )
        for name, value in said.items()
        if value and value != sent[name]
    ]


def _order(values: dict[str, str], faults: list[InvalidOrder]) -> Order | None:
    """The order that `values` describe; or None, with every reason added to `faults`."""
    missing = [name for name in REQUIRED if name not in values]
    if missing:
        told = {fault.field for fault in faults}
        faults += [InvalidOrder(name, "is missing", "give a value") for name in missing if name not in told]
    together = None
    if not faults:
        try:
            return Order(**values)
        except InvalidOrder as fault:
            together = fault
    alone = [(name, field_fault(name, value)) for name, value in values.items() if name != "money_order"]
    found = [InvalidOrder(name, *what) for name, what in alone if what is not None]
    faults += found or ([together] if together is not None else [])
    return None
