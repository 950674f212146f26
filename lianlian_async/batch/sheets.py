"""Batch files that are Excel sheets (.xlsx), with openpyxl: the extra `xlsx`.

A sheet can say one thing and show another: hidden rows, merged cells, formulas not yet worked out, several
sheets. Whoever looked the file over saw what it shows, so where the two may differ it is refused.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final

from attrs import frozen

from ..errors import ConfigError
from ..protocol.fields import safe_text
from .text import Table

__all__ = ["OLE_MAGIC", "ZIP_MAGIC", "read_sheet", "refuse_ole"]

ZIP_MAGIC: Final = b"PK\x03\x04"
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

UNPACKED_BYTES_MAX: Final = 1024**3
_EXCEL_ROWS_MAX = 1_048_576
_CHUNK_BYTES = 1 << 20

# openpyxl answers a damaged file with whatever its parts stumble over; BLE rules out catching everything.
_DAMAGE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
)


def refuse_ole(raw: bytes) -> None:
    """Raise ConfigError for Microsoft's old container: a .xls, or a .xlsx behind a password."""
    if "EncryptedPackage".encode("utf-16-le") in raw:
        raise ConfigError("is protected by a password; save it without one, or as 'CSV UTF-8'")
    raise ConfigError("is in the old .xls format; save it as .xlsx or as 'CSV UTF-8'")


def read_sheet(raw: bytes) -> Table:
    """The lines of the one visible sheet of a workbook that holds anything. Raises ConfigError."""
    try:
        import openpyxl
    except ImportError:
        raise ConfigError(
            "is an Excel workbook, for which openpyxl is missing: pip install 'lianlian-async[xlsx]', "
            "or save it as 'CSV UTF-8'"
        ) from None
    try:
        _inspect(raw)
        with warnings.catch_warnings():
            # About decoration that openpyxl cannot keep when it writes; nothing is written.
            warnings.simplefilter("ignore")
            workbook = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=False, keep_links=False)
            try:
                return _table(workbook, raw)
            finally:
                workbook.close()
    except _DAMAGE:
        raise ConfigError("is not a whole Excel workbook; save it again, or as 'CSV UTF-8'") from None


def _inspect(raw: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = archive.infolist()
    names = {member.filename for member in members}
    if "xl/workbook.bin" in names or not any(name.startswith("xl/") for name in names):
        raise ConfigError("is no .xlsx workbook; save it as .xlsx or as 'CSV UTF-8'")
    if any(member.flag_bits & 1 for member in members):
        raise ConfigError("is protected by a password; save it without one, or as 'CSV UTF-8'")
    if sum(member.file_size for member in members) > UNPACKED_BYTES_MAX:
        raise ConfigError(f"unpacks to more than {UNPACKED_BYTES_MAX >> 20} MiB; split it")


def _table(workbook: Any, raw: bytes) -> Table:
    full, notes = [], []
    for sheet in workbook.worksheets:
        layout = _layout(raw, sheet)
        # The dimensions that a file states are often wrong, and openpyxl would then leave cells out.
        sheet.reset_dimensions()
        if sheet.sheet_state != "visible":
            notes.append(f"the hidden sheet {_title(sheet)} was not read")
        elif lines := _filled(sheet.iter_rows(values_only=True)):
            full.append((sheet, lines, layout))
    if len(full) != 1:
        titles = ", ".join(_title(sheet) for sheet, _, _ in full)
        raise ConfigError(f"has content in the sheets {titles}; keep one" if full else "has no visible content")
    sheet, lines, layout = full[0]
    layout.require_plain()
    if len(workbook.worksheets) > 1:
        notes.insert(0, f"read the sheet {_title(sheet)}")
    return Table(iter(lines), tuple(notes), layout.hidden)


def _title(sheet: Any) -> str:
    return repr(safe_text(str(sheet.title), limit=40))


def _filled(rows: Iterator[Sequence[object]]) -> list[tuple[int, Sequence[object]]]:
    """The rows that hold anything, with their numbers. Read at once: openpyxl's complaints stay in here."""
    # Every row up to the last one is handed out, also those that are not there.
    lines = enumerate(islice(rows, _EXCEL_ROWS_MAX), start=1)
    return [(line, cells) for line, cells in lines if any(cell is not None for cell in cells)]


# ---------------------------------------------------------------------- what openpyxl does not tell

_ATTRIBUTES = rb"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*"""
_TAG = re.compile(rb"<(?:\w+:)?(row|mergeCell)\b(" + _ATTRIBUTES + rb")>")
# A row or cell so far away, or at such a place, that no file of payouts has it. openpyxl makes room for all places up
# to it: a small file would take hours, or all memory.
_PLACE = rb"(?:[A-Z]{1,2})?[0-9]{1,9}"
_NO_PLACE = re.compile(
    rb"<(?:\w+:)?(?:row|c)\b" + _ATTRIBUTES + rb"?\sr\s*=\s*(?!\"" + _PLACE + rb"\"|'" + _PLACE + rb"')"
)
_ROW_NUMBER = re.compile(rb"""\br\s*=\s*["']([0-9]{1,9})["']""")
_HIDDEN = re.compile(rb"""\bhidden\s*=\s*["'](?:1|true)["']""")


@frozen
class _Layout:
    hidden: frozenset[int]
    merged: bool
    ordered: bool

    def require_plain(self) -> None:
        if self.merged:
            raise ConfigError("has merged cells; unmerge them, so that each row says all of its own")
        if not self.ordered:
            raise ConfigError("has rows out of order; save it again with Excel")


def _layout(raw: bytes, sheet: Any) -> _Layout:
    """Hidden rows, merged cells, and rows out of order, which openpyxl's quick reader drops without a word."""
    hidden, number, merged, ordered = set(), 0, False, True
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, archive.open(sheet._worksheet_path) as part:
        for tag in _tags(part):
            if tag[1] == b"mergeCell":
                merged = True
                continue
            stated = _ROW_NUMBER.search(tag[2])
            following = int(stated[1]) if stated else number + 1
            if following > _EXCEL_ROWS_MAX:
                raise ConfigError("has rows beyond Excel's last one; save it again with Excel")
            ordered = ordered and number < following
            number = following
            if _HIDDEN.search(tag[2]):
                hidden.add(number)
    # Without a single row here, the XML is in an encoding that this look at its bytes cannot read.
    return _Layout(frozenset(hidden), merged, ordered and number > 0)


def _tags(part: IO[bytes]) -> Iterator[re.Match[bytes]]:
    """The tags of rows and merged cells in a sheet's XML, piece by piece."""
    rest = b""
    while piece := part.read(_CHUNK_BYTES):
        text = rest + piece
        if b"\0" in piece:
            raise ConfigError("has a sheet in another encoding than Excel's own; save it again with Excel")
        cut = text.rfind(b"<")
        if cut < 0 or text.find(b">", cut) >= 0 or len(text) > 4 * _CHUNK_BYTES:
            cut = len(text)
        if _NO_PLACE.search(text, 0, cut):
            raise ConfigError("has rows or cells far away from the others; copy what counts into a new sheet")
        yield from _TAG.finditer(text, 0, cut)
        rest = text[cut:]
