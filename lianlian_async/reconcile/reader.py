"""Reading a payout statement: every row exactly, or one error that says where and why.

    blocks of cells (`lines`) ─► checked a column at a time ─► Chunk ─┬─► rows, as `StatementRow`
                                                                      └─► columns, for a table of a database

There is one reader. A column is checked as a whole, which is what makes five million rows cheap; only when it does not
pass are its cells looked at one by one, by the same pattern, to name the first that is wrong. No row is ever skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

from attrs import field, frozen

from ..clock import SHANGHAI
from ..protocol.fields import safe_text
from .lines import Block, blocks_of, encoding_of
from .statement import (
    COLUMNS,
    PAID,
    REFUNDED,
    FileKind,
    Place,
    StatementError,
    StatementName,
    StatementRow,
    StatementSummary,
    settle_day,
    yuan,
)

__all__ = ["Chunk", "Statement", "fen_of", "fen_of_all", "open_statement", "read_rows", "read_summary", "unreadable"]

_START_BYTES: Final = 4096
_NO_ORDER, _PARTNER, _ORDERED, _BUSINESS, _BILL, _DAY, _MONEY, _FLAG, _STATUS, _UPDATED, _FEE, _TEXTS = range(12)
_AMOUNT: Final = r"-?(?:[0-9]{1,13}(?:\.[0-9]{1,2})?|\.[0-9]{1,2})"
_NUMBER: Final = r"[0-9A-Za-z][!-~]{0,63}"
_TIME: Final = r"[0-9]{8} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
# What a cell must look like, and what it is called where it does not.
_SHAPES: Final = (
    (_NUMBER, "no number of an order"),
    (r"[0-9]{18}", "no merchant number of 18 digits"),
    (_TIME, "no time like 20190801 13:56:25"),
    (r"[0-9A-Za-z]{0,32}", "no business code"),
    (_NUMBER, "no number of a bill or of a payout"),
    (r"[0-9]{8}", "no date like 20190801"),
    (_AMOUNT, "no amount in yuan with at most two decimals"),
    (r"1", "not 1 (paid out): this is no row of a payout statement"),
    (r"[05]", "neither 0 (paid) nor 5 (refunded): a status that the specification does not know"),
    (_TIME, "no time like 20190801 13:56:25"),
    (_AMOUNT, "no amount in yuan with at most two decimals"),
)
_ALL: Final = tuple(re.compile(f"(?:{shape}\n)*") for shape, _ in _SHAPES)
_ONE: Final = tuple(re.compile(shape) for shape, _ in _SHAPES)
# Columns in which one value stands for many rows: each different value is looked at once.
_FEW: Final = frozenset({_PARTNER, _BUSINESS, _DAY, _FLAG, _STATUS, _FEE})


@frozen(eq=False)
class Chunk:
    """Some rows of a statement, checked: the cells of each of the 17 columns, the line on which each row begins, and
    `money_order` and `fee` of each row in fen."""

    columns: Sequence[Sequence[str]] = field(repr=False)
    lines: Sequence[int] = field(repr=False)
    fen: Sequence[int] = field(repr=False)
    fees: Sequence[int] = field(repr=False)

    @property
    def numbers(self) -> Sequence[str]:
        """`no_order` of each row; on a refund row the refund's own."""
        return self.columns[_NO_ORDER]

    @property
    def bills(self) -> Sequence[str]:
        """`oid_paybill` of each row; on a refund row the number of the payout that came back."""
        return self.columns[_BILL]

    @property
    def days(self) -> Sequence[str]:
        """`settle_date` of each row."""
        return self.columns[_DAY]

    @property
    def statuses(self) -> Sequence[str]:
        """`PAID` or `REFUNDED` of each row."""
        return self.columns[_STATUS]

    def rows(self) -> Iterator[tuple[int, StatementRow]]:
        """Each row with its line."""
        for line, cells in zip(self.lines, zip(*self.columns, strict=True), strict=True):
            yield line, _row(cells)


def fen_of_all(amounts: Sequence[str]) -> list[int]:
    """Amounts as a statement writes them (`5000`, `9087.6`, `.6`, `-12.30`), in fen."""
    # By the place of the point, and without a call for each: a month has five million of them.
    return [
        int(amount.replace(".", ""))
        if amount[-3:-2] == "."
        else int(amount.replace(".", "")) * 10
        if amount[-2:-1] == "."
        else int(amount) * 100
        for amount in amounts
    ]


def fen_of(amount: str) -> int:
    """One amount, in fen."""
    return fen_of_all((amount,))[0]


def _yuan(amount: str) -> Decimal:
    return yuan(fen_of(amount))


def _row(cells: Sequence[str]) -> StatementRow:
    return StatementRow(
        no_order=cells[0], oid_partner=cells[1], ordered_at=_moment(cells[2]), business=cells[3], oid_paybill=cells[4],
        settle_date=cells[5], money_order=_yuan(cells[6]), direction=cells[7], status=cells[8],
        updated_at=_moment(cells[9]), fee=_yuan(cells[10]), product=cells[11], method=cells[12], info_order=cells[13],
        bank=cells[14], account=cells[15], name=cells[16],
    )  # fmt: skip


def _moment(text: str) -> datetime:
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(year, month, day, int(text[9:11]), int(text[12:14]), int(text[15:]), tzinfo=SHANGHAI)


def _days_in(cells: Sequence[str], text: str) -> set[str]:
    """The days of times, which are joined in `text`; mostly it is one."""
    first = cells[0][:8]
    return {first} if f"\n{text}".count(f"\n{first} ") == len(cells) else {cell[:8] for cell in cells}


class Statement:
    """A payout statement that is open: `encoding`, and its rows in chunks, once."""

    def __init__(self, stream: BinaryIO, file: str, oid_partner: str) -> None:
        self._file = file
        self._oid_partner = oid_partner
        start = stream.read(_START_BYTES)
        self.encoding = encoding_of(start)
        stream.seek(0)
        self._blocks = blocks_of(stream, file, self.encoding, len(COLUMNS))

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in their order. Raises StatementError."""
        header = next(self._blocks, None)
        if header is None or not header.lines:
            raise StatementError(Place(self._file), "it does not begin with the header row")
        _check_header([cells[0] for cells in header.columns], self._file)
        yield from (self._checked(block) for block in self._blocks if block.lines)

    def _checked(self, block: Block) -> Chunk:
        for column in range(_TEXTS):
            self._check_column(column, block.columns[column], block.lines)
        fen = fen_of_all(block.columns[_MONEY])
        each = {fee: fen_of(fee) for fee in set(block.columns[_FEE])}
        fees = [each[fee] for fee in block.columns[_FEE]]
        self._check_signs(block, fen)
        return Chunk(block.columns, block.lines, fen, fees)

    def _check_column(self, column: int, cells: Sequence[str], lines: Sequence[int]) -> None:
        few = set(cells) if column in _FEW else cells
        text = "\n".join(few)
        if _ALL[column].fullmatch(f"{text}\n") is None or text.count("\n") != len(few) - 1:
            self._refuse_first(column, cells, lines, lambda cell: _ONE[column].fullmatch(cell) is not None)
        days = few if column == _DAY else _days_in(cells, text) if column in (_ORDERED, _UPDATED) else ()
        if not all(map(settle_day, days)):
            self._refuse_first(
                column, cells, lines, lambda cell: settle_day(cell[:8]) is not None, "a day that never was"
            )
        if column == _PARTNER and few != {self._oid_partner}:
            ours = f"another merchant than {self._oid_partner}"
            self._refuse_first(column, cells, lines, lambda cell: cell == self._oid_partner, ours)

    def _refuse_first(
        self, column: int, cells: Sequence[str], lines: Sequence[int], fits: Callable[[str], bool], reason: str = ""
    ) -> None:
        for line, cell in zip(lines, cells, strict=True):
            if not fits(cell):
                place = Place(self._file, line, COLUMNS[column])
                raise StatementError(place, f"{safe_text(cell, limit=40)!r} is {reason or _SHAPES[column][1]}")

    def _check_signs(self, block: Block, fen: Sequence[int]) -> None:
        """A payment has a positive amount, a refund a negative one."""
        statuses = block.columns[_STATUS]
        for status, amount, line in zip(statuses, fen, block.lines, strict=True) if min(fen) <= 0 else ():
            if (amount <= 0 and status == PAID) or (amount >= 0 and status == REFUNDED):
                self._refuse_sign(line, status)
        if min(fen) > 0 and REFUNDED in statuses:
            self._refuse_sign(block.lines[statuses.index(REFUNDED)], REFUNDED)

    def _refuse_sign(self, line: int, status: str) -> None:
        wanted = "above" if status == PAID else "below"
        place = Place(self._file, line, COLUMNS[_MONEY])
        raise StatementError(place, f"an amount that is not {wanted} zero, in a row with status {status}")


def _check_header(cells: Sequence[str], file: str) -> None:
    names, line = [cell.strip() for cell in cells], 1
    if tuple(names) == COLUMNS:
        return
    if names[:3] == list(COLUMNS[:3]) and len(names) == len(COLUMNS) - 3:
        raise StatementError(Place(file, line), "a statement of collections (JYMX), not of payouts (FKMX)")
    wrong = next((n for n, (name, own) in enumerate(zip(names, COLUMNS, strict=False)) if name != own), len(names))
    if wrong >= len(COLUMNS) or wrong >= len(names):
        raise StatementError(Place(file, line), f"a header of {len(names)} columns instead of {len(COLUMNS)}")
    told = safe_text(names[wrong], limit=40)
    raise StatementError(
        Place(file, line), f"no payout statement: column {wrong + 1} is {told!r}, not {COLUMNS[wrong]}"
    )


def open_statement(stream: BinaryIO, path: Path | str, oid_partner: str) -> Statement:
    """A payout statement of merchant `oid_partner`, from its bytes; `path` is its name. Raises StatementError.

    Collections, summaries and account totals are refused by their names.
    """
    name = StatementName.of(path)
    file = safe_text(Path(path).name)
    if name is not None:
        _check_name(name, file, oid_partner, FileKind.FKMX)
    return Statement(stream, file, oid_partner)


def _check_name(name: StatementName, file: str, oid_partner: str, wanted: FileKind) -> None:
    if name.oid_partner != oid_partner:
        raise StatementError(Place(file), f"of merchant {name.oid_partner}, not of {oid_partner}")
    if name.kind in (FileKind.JYMX, FileKind.JYMXSUM):
        raise StatementError(Place(file), f"{name.kind} lists collections; this library pays out (FKMX, FKMXSUM)")
    if name.kind is not wanted:
        raise StatementError(Place(file), f"{name.kind} is not read as {wanted}")


def read_rows(path: Path, oid_partner: str) -> Iterator[tuple[int, StatementRow]]:
    """Each row of a payout statement with its line. Raises StatementError, also for a file that cannot be opened."""
    try:
        with path.open("rb") as stream:
            for chunk in open_statement(stream, path, oid_partner).chunks():
                yield from chunk.rows()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> StatementError:
    """What a file that cannot be opened or read is told as."""
    return StatementError(Place(safe_text(str(path), limit=500)), f"cannot be read ({error.strerror or error})")


_SUMMARY_BYTES_MAX: Final = 4096


def read_summary(path: Path, oid_partner: str) -> StatementSummary:
    """The figures of FKMXSUM: one line, seven amounts or counts parted by `|`. Raises StatementError."""
    file = safe_text(path.name)
    name = StatementName.of(path)
    if name is not None:
        _check_name(name, file, oid_partner, FileKind.FKMXSUM)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_SUMMARY_BYTES_MAX + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    return parse_summary(raw, file)


def parse_summary(raw: bytes, file: str) -> StatementSummary:
    """The figures of a summary's bytes. Raises StatementError."""
    lines = raw.removeprefix(b"\xef\xbb\xbf").decode("ascii", "replace").split("\n")
    lines = [line.rstrip("\r") for line in lines]
    if len(raw) > _SUMMARY_BYTES_MAX or not lines[0] or any(lines[1:]):
        raise StatementError(Place(file), "no summary: it must be one line")
    cells = lines[0].split("|")
    wrong = next((n for n, cell in enumerate(cells, 1) if not _ONE[_MONEY].fullmatch(cell)), 0)
    if wrong or len(cells) != 7:
        problem = f"figure {wrong} is no number" if wrong else f"{len(cells)} figures instead of 7"
        raise StatementError(Place(file, 1), problem)
    figures = tuple(_yuan(cell) for cell in cells)
    if figures[1] != int(figures[1]) or figures[1] < 0:
        raise StatementError(Place(file, 1), "figure 2, how many there are, is not a whole number")
    return StatementSummary(figures)
