"""Whatever the bytes: a Batch or a ConfigError, and no payment that the text does not hold."""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path

import openpyxl
from batch_files import CARD, HEADER, OTHER_ROW, ROW, csv_text
from hypothesis import given, settings
from hypothesis import strategies as st

from lianlian_async.batch import Batch, read_batch
from lianlian_async.errors import ConfigError
from lianlian_async.numbers import check_key

_ENCODINGS = ("utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le")
_TELLING = st.sampled_from(
    ["", " ", CARD, f"'{CARD}", "6.2E+18", "1,234.50", "1,234", "0", "-1", "25.78", "李三", "=1+1", "#N/A", '"', "\n",
     "\ufffd", "对公", "1", "null", "k1", "k1", "01020000", "x" * 300, "\u200b", "1.1", "RSA", "{}", "５"]
)  # fmt: skip
_CELL = st.one_of(_TELLING, st.text(max_size=12))
_HEADERS = ("key", "no_order", *HEADER, "flag_card", "bank_code", "api_version", "risk_item")


def outcome(raw: bytes) -> Batch | ConfigError:
    """What reading these bytes as a file gives; anything but the two fails the test."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "batch"
        path.write_bytes(raw)
        try:
            batch = read_batch(path, oid_partner="1")
        except ConfigError as refusal:
            return refusal
    lines = [row.line for row in batch.rows]
    assert lines == sorted(set(lines))
    keys = [check_key(row.key) for row in batch.rows]
    assert len(set(keys)) == len(keys)
    assert batch.problem_count >= len(batch.problems)
    assert batch.total == sum(row.order.money_order for row in batch.rows)
    return batch


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    """Random bytes never break the reader."""
    outcome(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.sampled_from(_ENCODINGS))
def test_any_bytes_inside_a_good_file(raw: bytes, place: int, encoding: str) -> None:
    """Damage anywhere in a good file is a refusal, a problem, or a cell that says so."""
    good = csv_text(ROW, OTHER_ROW).encode(encoding)
    outcome(good[:place] + raw + good[place:])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(_CELL, max_size=12), max_size=6),
    st.permutations(_HEADERS),
    st.sampled_from(_ENCODINGS[:4]),
    st.sampled_from(",;\t"),
    st.sampled_from(["\r\n", "\n", "\r"]),
)
def test_any_cells_under_a_good_header(
    rows: list[list[str]], header: list[str], encoding: str, delimiter: str, newline: str
) -> None:
    """Any cells, in any order of columns, are read or refused row by row."""
    text = csv_text(*rows, header=header, delimiter=delimiter, newline=newline)
    outcome(text.encode(encoding, "replace"))


@cache
def workbook() -> bytes:
    """A small good workbook."""
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in (HEADER, (25.78, *ROW[1:]), OTHER_ROW):
        book.active.append(list(row))
    book.save(stream)
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8), st.booleans()
)
def test_any_damage_to_a_workbook(changes: list[tuple[float, int]], cut: bool) -> None:
    """Bytes changed, and the rest cut off."""
    raw = bytearray(workbook())
    for place, value in changes:
        raw[int(place * len(raw))] = value
    outcome(bytes(raw[: int(changes[0][0] * len(raw))] if cut else raw))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="赵钱孙李周吴郑王冯陈楼路鲁陆洛·岑闫伟芳娜敏静", min_size=1, max_size=4))
def test_a_gb18030_name_is_never_another_name(name: str) -> None:
    """It is read as what was written, or refused as ambiguous."""
    found = outcome(csv_text(("1.00", CARD, name), header=HEADER[:3]).encode("gb18030"))
    assert isinstance(found, ConfigError) or [row.order.acct_name for row in found.rows] == [name]
