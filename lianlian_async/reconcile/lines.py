"""From the bytes of a statement to the cells of its rows, a block at a time and within bounds, whatever the bytes.

    bytes ─► encoding (by the header) ─► text, in blocks of whole lines ─► cells of each row, with its line

A file of any length needs the memory of a block or two. A line that never ends, a quote that never closes and bytes
that are no text end in a `StatementError`.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from attrs import frozen

from .statement import Place, StatementError

__all__ = ["Block", "blocks_of", "encoding_of", "unwrapped"]

_BLOCK_BYTES: Final = 1 << 20
_LINE_MAX: Final = 65_536
_HEADER_BYTES_MAX: Final = 4096


@frozen
class Block:
    """Rows as they stand in a file, by column, and the line on which each row begins."""

    columns: Sequence[Sequence[str]]
    lines: Sequence[int]


def encoding_of(start: bytes) -> str:
    """The encoding of a file that begins with `start`: `utf-8`, `utf-8-sig` or `gb18030`.

    The first line of a statement is Chinese, or (of a summary) digits; therefore it tells.
    """
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    line = start[:_HEADER_BYTES_MAX].split(b"\n", 1)[0]
    try:
        # The end of what was looked at may lie in the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def blocks_of(stream: BinaryIO, file: str, encoding: str, width: int) -> Iterator[Block]:
    """The rows of `stream`, the header as a block of its own; blank lines are no rows.

    Every row but the header must have `width` cells. Raises StatementError and OSError.
    """
    texts, number = _texts(stream, file, encoding), 1
    for text in texts:
        while True:
            try:
                block, count = _block(text, file, number, width)
                break
            except _Unfinished:
                # A quoted cell may hold line breaks, and the block may end within it.
                more = next(texts, None)
                if more is None or len(text) > 2 * _BLOCK_BYTES:
                    raise StatementError(Place(file, number), "a quoted cell from here on does not end") from None
                text += more
        yield block
        number += count


def _texts(stream: BinaryIO, file: str, encoding: str) -> Iterator[str]:
    """The text in pieces that end with a line."""
    decoder = codecs.getincrementaldecoder(encoding)()
    rest, number, last = "", 1, False
    while not last:
        raw = stream.read(_BLOCK_BYTES)
        last = not raw
        try:
            text = rest + decoder.decode(raw, last)
        except UnicodeDecodeError as error:
            line = number + rest.count("\n") + error.object[: error.start].count(b"\n")
            problem = f"bytes that are no text in {encoding.removesuffix('-sig').upper()}"
            raise StatementError(Place(file, line), problem) from None
        end = len(text) if last else text.rfind("\n") + 1
        text, rest = text[:end], text[end:]
        if len(rest) > _LINE_MAX:
            raise StatementError(Place(file, number + text.count("\n")), f"a line longer than {_LINE_MAX} characters")
        if number == 1 and text:
            head = text.find("\n") + 1 or len(text)
            yield text[:head]
            text, number = text[head:], 2
        number += text.count("\n")
        if text:
            yield text


class _Unfinished(Exception):
    """The text ends within a quoted cell."""


def _block(text: str, file: str, number: int, width: int) -> tuple[Block, int]:
    """The rows of `text`, whose first line is line `number` of the file, and how many lines those are."""
    ends = text.count("\n") + (not text.endswith("\n"))
    columns = None if number == 1 else _plain_columns(text, width, ends)
    if columns is not None:
        block = Block(columns, range(number, number + ends))
    else:
        rows, lines = _csv_rows(text, file, number)
        if number > 1 and (wrong := next((n for n, row in enumerate(rows) if len(row) != width), None)) is not None:
            raise StatementError(Place(file, lines[wrong]), f"{len(rows[wrong])} columns instead of {width}")
        block = Block(tuple(zip(*rows, strict=True)), lines)
    if "=" in text or "\t" in text:
        block = Block([list(map(unwrapped, cells)) for cells in block.columns], block.lines)
    return block, ends


def _plain_columns(text: str, width: int, lines: int) -> Sequence[Sequence[str]] | None:
    """The columns of a text in which nothing is quoted and every row has `width` cells: then CSV is no more than
    commas, and four times as fast. None where that is not so."""
    if '"' in text:
        return None
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        return None
    cells = (text if text.endswith("\n") else f"{text}\n").replace("\n", ",\n,").split(",")
    step = width + 1
    # Behind each row stands a cell that nothing else can be: a line break. The last comma leaves one more.
    if len(cells) != step * lines + 1 or cells[width::step].count("\n") != lines:
        return None
    return tuple(cells[column::step][:lines] for column in range(width))


def _csv_rows(text: str, file: str, number: int) -> tuple[list[list[str]], list[int]]:
    rows, lines, line = [], [], number
    reader = csv.reader(_split(text), strict=True)
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(line)
            line = number + reader.line_num
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise _Unfinished from None
        raise StatementError(Place(file, line), f"no CSV: {error}") from None
    return rows, lines


def _split(text: str) -> list[str]:
    """Lines with their ends, which a quoted cell keeps; only LF ends a line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


_WRAPPED: Final = re.compile('="((?:[^"]|"")*)"', re.DOTALL)


def unwrapped(cell: str) -> str:
    """What a cell of the portal's download holds: `="319080117867"` and a tab behind a number are there for Excel."""
    text = cell.strip("\t")
    if text.startswith('="') and (match := _WRAPPED.fullmatch(text)):
        return match[1].replace('""', '"')
    return text
