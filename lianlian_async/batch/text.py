"""Batch files that are text: CSV in UTF-8 or GB18030, and Excel's 'Unicode text' (UTF-16, tabs)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence

from attrs import frozen

from ..errors import ConfigError
from .columns import known_in

__all__ = ["Table", "read_text"]

_SAVE_AS = "save it as 'CSV UTF-8'"
_HEADER_CHARACTERS_MAX = 65536


@frozen
class Table:
    """A file as lines of cells, before anyone knows what they mean; the first line with content is the header.

    `lines` are numbered as an editor or a spreadsheet numbers them. `hidden` are the ones a sheet does not show.
    """

    lines: Iterator[tuple[int, Sequence[object]]]
    notes: tuple[str, ...] = ()
    hidden: frozenset[int] = frozenset()


def read_text(raw: bytes) -> Table:
    """The lines of a text file. Raises ConfigError, also from the iterator, when it is not to be trusted."""
    encoding, note = _encoding(raw)
    stream = io.TextIOWrapper(io.BytesIO(raw), encoding=encoding, errors="strict", newline="")
    opening = stream.read(_HEADER_CHARACTERS_MAX)
    stream.seek(0)
    notes = [note] if note else []
    if not raw.endswith((b"\n", b"\r", b"\n\0", b"\r\0")):
        notes.append("the last line has no line break: see that the file is whole")
    skipped = 0
    delimiter = _delimiter(opening)
    if hint := re.match(r"sep=(.)(\r\n|\r|\n)", opening, re.IGNORECASE):
        # Excel's own first line; it numbers as a line, and it decides.
        delimiter, skipped = hint[1], 1
        stream.readline()
    return Table(_lines(stream, delimiter, skipped), tuple(notes))


def _lines(stream: io.TextIOWrapper, delimiter: str, skipped: int) -> Iterator[tuple[int, Sequence[str]]]:
    # A stray quote swallows the lines after it. strict finds most of them; the others leave a line break
    # inside a field, which no field may hold.
    if delimiter not in ",;\t":
        raise ConfigError(f"is separated by {delimiter!r}; use commas, semicolons or tabs")
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    before = 0
    try:
        for cells in reader:
            yield before + skipped + 1, cells
            before = reader.line_num
    except csv.Error:
        raise ConfigError(
            f"has a quoted cell that does not end properly, in the row that begins on line {before + skipped + 1}; "
            "double a quote inside a quoted cell, or take it out"
        ) from None


def _delimiter(opening: str) -> str:
    """The one that makes the most of the first line with content."""
    return max(",;\t", key=lambda delimiter: _columns_with(opening, delimiter))


def _columns_with(opening: str, delimiter: str) -> int:
    try:
        for cells in csv.reader(io.StringIO(opening, newline=""), delimiter=delimiter, strict=True):
            if any(cell.strip() for cell in cells):
                return known_in(cells)
    except csv.Error:
        pass
    return 0


# ---------------------------------------------------------------------- encodings


def _encoding(raw: bytes) -> tuple[str, str | None]:
    """The codec of a file, proven by decoding all of it, and what to tell the reader about it."""
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ConfigError(f"is in UTF-32; {_SAVE_AS}")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _proven(raw, "utf-16", "UTF-16"), "read as UTF-16"
    if b"\0" in raw:
        raise ConfigError(f"holds zero bytes: it is not a text file, or one in UTF-16 without a mark; {_SAVE_AS}")
    if raw.startswith(codecs.BOM_UTF8):
        return _proven(raw, "utf-8-sig", "the UTF-8 that its first bytes announce"), None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _proven(raw, "gb18030", "UTF-8 or GB18030"), "read as GB18030"
    if not raw.isascii() and _could_be_gb18030(raw, text):
        raise ConfigError(
            f"can be read as UTF-8 and as GB18030, with different names in it; {_SAVE_AS}, which carries a mark"
        )
    return "utf-8", None


def _proven(raw: bytes, codec: str, name: str) -> str:
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as fault:
        raise ConfigError(f"is not in {name} (byte {fault.start + 1}); {_SAVE_AS}") from None
    # GB18030 takes nearly any bytes, such as Big5; what has no meaning in it lands on private characters. Where the
    # encoding is sure they are single cells' faults, and are told with their lines.
    if "\0" in text or (codec == "gb18030" and re.search("[\ue000-\uf8ff]", text)):
        raise ConfigError(f"holds characters without a meaning in {name}; {_SAVE_AS}")
    return codec


def _could_be_gb18030(raw: bytes, text: str) -> bool:
    """True when `text`, the reading as UTF-8, is less likely than the reading as GB18030.

    Two bytes of GB18030 can make one Latin, Greek or Arabic letter of UTF-8. Without a mark, a file with no
    Chinese in common use but with such letters would put an unknown name on a payment.
    """
    try:
        other = raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    wide = [char for char in set(text) if char > "\u07ff"]
    if wide and all(_is_common(char) for char in wide):
        return False
    return all(_gb2312_row(char) is not None for char in set(other) if char > "\x7f")


def _is_common(char: str) -> bool:
    """True for Chinese punctuation and the 3,755 most common characters."""
    row = _gb2312_row(char)
    return row is not None and (row <= 0xA3 or 0xB0 <= row <= 0xD7)


def _gb2312_row(char: str) -> int | None:
    try:
        return char.encode("gb2312")[0]
    except UnicodeEncodeError:
        return None
