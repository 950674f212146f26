"""The statement reader: the vendor's samples to the last field, all that files in the wild do, and errors by place."""

from __future__ import annotations

import contextlib
import io
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_files import DAY, HEADER, LINE, NAME, PARTNER, any_row, refund, row, written

from lianlian_async.clock import SHANGHAI
from lianlian_async.reconcile import FileKind, StatementError, StatementName, StatementRow
from lianlian_async.reconcile import lines as lines_module
from lianlian_async.reconcile.reader import fen_of, open_statement, parse_summary, read_rows, read_summary
from lianlian_async.reconcile.statement import COLUMNS
from lianlian_async.reconcile.writer import statement_amount

SAMPLES = Path("/work/shared/statements")
_COMPARED = ("no_order", "oid_paybill", "settle_date", "status")


def read(raw: bytes, name: str = NAME) -> list[tuple[int, StatementRow]]:
    statement = open_statement(io.BytesIO(raw), name, PARTNER)
    return [numbered for chunk in statement.chunks() for numbered in chunk.rows()]


def refusal(raw: bytes, name: str = NAME) -> str:
    with pytest.raises(StatementError) as refused:
        read(raw, name)
    return str(refused.value)


# ---------------------------------------------------------------------- the vendor's own


@pytest.mark.skipif(not SAMPLES.exists(), reason="the vendor's sample files are not part of the project")
def test_every_field_of_the_vendors_samples_is_read_as_it_stands() -> None:
    """Each cell of each row, compared with a plain split of the vendor's lines (which quote nothing)."""
    count = 0
    for path in SAMPLES.glob("FKMX_*"):
        partner = path.name.split("_")[1]
        plain = [line.split(",") for line in path.read_text("utf-8").splitlines()]
        assert tuple(plain[0]) == COLUMNS
        for (line, told), cells in zip(read_rows(path, partner), plain[1:], strict=True):
            assert plain[line - 1] == cells
            times = [datetime.strptime(cells[n], "%Y%m%d %H:%M:%S").replace(tzinfo=SHANGHAI) for n in (2, 9)]
            assert [told.ordered_at, told.updated_at] == times
            assert [told.money_order, told.fee] == [Decimal(cells[6]), Decimal(cells[10])]
            assert [statement_amount(told.money_order), statement_amount(told.fee)] == [cells[6], cells[10]]
            texts = [told.no_order, told.oid_partner, told.business, told.oid_paybill, told.settle_date]
            assert texts == [cells[n] for n in (0, 1, 3, 4, 5)]
            rest = [told.direction, told.status, told.product, told.method, told.info_order, told.bank]
            assert [*rest, told.account, told.name] == [cells[n] for n in (7, 8, *range(11, 17))]
            count += 1
    assert count == 9


@pytest.mark.skipif(not SAMPLES.exists(), reason="the vendor's sample files are not part of the project")
def test_collections_are_refused_by_name_and_by_header(tmp_path: Path) -> None:
    for path in SAMPLES.glob("JYMX*"):
        partner = path.name.split("_")[1]
        with pytest.raises(StatementError, match="lists collections"):
            list(read_rows(path, partner))
    renamed = tmp_path / "download.csv"
    renamed.write_bytes(next(SAMPLES.glob("JYMX_*")).read_bytes())
    with pytest.raises(StatementError, match=r"line 1: a statement of collections \(JYMX\)"):
        list(read_rows(renamed, "201901020002021200"))


def test_a_row_like_the_vendors_is_read_to_the_last_field() -> None:
    [(line, told)] = read(f"{HEADER}\n{LINE}\n".encode())
    assert line == 2
    assert told == row(
        ordered_at=datetime(2026, 11, 23, 13, 56, 25, tzinfo=SHANGHAI),
        updated_at=datetime(2026, 11, 23, 13, 56, 26, tzinfo=SHANGHAI),
    )
    assert "info_order" not in repr(told)


# ---------------------------------------------------------------------- how files in the wild are written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "last"])
def test_encodings_and_line_ends(encoding: str, newline: str, last: str) -> None:
    """UTF-8 with and without a mark and GB18030, LF and CRLF, with and without a line break at the end."""
    text = newline.join([HEADER, LINE, LINE]) + (newline if last else "")
    statement = open_statement(io.BytesIO(text.encode(encoding)), NAME, PARTNER)
    assert statement.encoding == encoding
    told = [numbered for chunk in statement.chunks() for numbered in chunk.rows()]
    assert [(line, one.info_order) for line, one in told] == [(2, "付款"), (3, "付款")]


def test_the_portals_cells_are_unwrapped() -> None:
    """`="319080117867"`, and a tab behind a long number: both are there for Excel."""
    cells = LINE.split(",")
    wrapped = ",".join(f'="{cell}"' if n in (0, 4) else f"{cell}\t" for n, cell in enumerate(cells))
    assert read(f"{HEADER}\n{wrapped}\n".encode("gb18030")) == read(f"{HEADER}\n{LINE}\n".encode())


def test_quoted_cells_may_hold_commas_quotes_and_line_breaks() -> None:
    told = [row("A1", info_order='工资,"十一月"\n奖金'), row("A2", info_order="=1+1"), row("A3", name="\t张三")]
    assert read(written(told)) == [(2, told[0]), (4, told[1]), (5, told[2])]


def test_a_refund_row_names_the_payout_that_came_back() -> None:
    [(_, told)] = read(written([refund("319080117867")]))
    assert (told.is_refund, told.payout, told.money_order, told.fee) == (
        True, "319080117867", Decimal("-5000.00"), Decimal("-0.60"),
    )  # fmt: skip


def test_blank_lines_are_no_rows_and_keep_the_count() -> None:
    assert [line for line, _ in read(f"{HEADER}\n\n{LINE}\r\n\n{LINE}\n\n".encode())] == [3, 5]


def test_a_header_alone_is_a_day_without_payouts() -> None:
    assert read(f"{HEADER}\n".encode()) == []


@settings(max_examples=150, deadline=None)
@given(st.lists(any_row(), max_size=8))
def test_what_is_written_is_read_again(rows: list[StatementRow]) -> None:
    """Written, then read: equal, whatever the texts hold; and what goes into a database's table is the same."""
    raw = written(rows)
    assert [told for _, told in read(raw)] == rows
    chunks = list(open_statement(io.BytesIO(raw), NAME, PARTNER).chunks())
    columns = [tuple(cell for chunk in chunks for cell in chunk.columns[n]) for n in (0, 4, 5, 8)]
    assert columns == [tuple(getattr(row, name) for row in rows) for name in _COMPARED]
    fen = [(money, fee) for chunk in chunks for money, fee in zip(chunk.fen, chunk.fees, strict=True)]
    assert fen == [(row.money_order * 100, row.fee * 100) for row in rows]


@settings(max_examples=100, deadline=None)
@given(st.lists(any_row(), min_size=1, max_size=30), st.integers(1, 400))
def test_where_a_block_ends_makes_no_difference(rows: list[StatementRow], size: int) -> None:
    """Rows, lines and cells are the same whether a file is read in one piece or in many."""
    raw = written(rows)
    whole = read(raw)
    before = lines_module._BLOCK_BYTES
    lines_module._BLOCK_BYTES = size  # type: ignore[misc]
    try:
        # A quoted cell may be as long as two blocks, and these are tiny.
        assert read(raw) == whole if b'"' not in raw else True
    finally:
        lines_module._BLOCK_BYTES = before  # type: ignore[misc]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text("ab1 =\t", max_size=4), min_size=1, max_size=4), min_size=1, max_size=6))
def test_the_quick_way_to_cells_is_csv(rows: list[list[str]]) -> None:
    """Text without quotes: columns by commas alone are the columns that the csv module sees, or are not used."""
    text = "".join(f"{','.join(cells)}\n" for cells in rows)
    width = len(rows[0])
    quick = lines_module._plain_columns(text, width, text.count("\n"))
    if quick is not None and [""] not in rows:
        slow, _ = lines_module._csv_rows(text, "f", 2)
        assert [list(column) for column in quick] == [list(column) for column in zip(*slow, strict=True)]
    assert (quick is None) == any(len(cells) != width for cells in rows)


@given(st.integers(1 - 10**15, 10**15 - 1))
def test_amounts_keep_every_fen(fen: int) -> None:
    text = statement_amount(Decimal(fen).scaleb(-2))
    assert fen_of(text) == fen
    assert not text.startswith(("0.", "-0")) or fen == 0


# ---------------------------------------------------------------------- what is refused, and where


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        (0, "", "no number of an order"),
        (0, "319 080", "no number of an order"),
        (1, "201606020000150063", "another merchant"),
        (2, "20261123 24:00:00", "no time"),
        (2, "20260231 10:00:00", "a day that never was"),
        (4, "", "no number of a bill"),
        (5, "20261131", "a day that never was"),
        (5, "2026-11-23", "no date"),
        (6, "5,000", "18 columns"),
        (6, "5000.001", "no amount"),
        (6, "5e3", "no amount"),
        (6, "５０００", "no amount"),
        (6, "0", "not above zero"),
        (6, "-5000", "not above zero"),
        (7, "0", "no row of a payout statement"),
        (8, "5", "not below zero"),
        (8, "1", "status that the specification does not know"),
        (10, "", "no amount"),
        (10, ".", "no amount"),
    ],
)
@pytest.mark.parametrize("place", [1, 3])
def test_a_wrong_cell_is_named_by_file_line_and_column(column: int, cell: str, reason: str, place: int) -> None:
    """One bad cell and the whole run fails: nothing is skipped, and the message leads to the cell."""
    cells = LINE.split(",")
    cells[column] = cell
    text = [HEADER, LINE, LINE, LINE]
    text[place] = ",".join(cells)
    message = refusal("\n".join(text).encode())
    assert message.startswith(f"{NAME}, line {place + 1}")
    assert reason in message
    assert COLUMNS[column] in message or "columns" in message or "below" in message


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "does not begin with the header row"),
        (b"\n\n", "does not begin with the header row"),
        (LINE.encode(), "column 1 is '319080117867'"),
        (f"{HEADER},\n{LINE},\n".encode(), "a header of 18 columns"),
        (f"{HEADER}\n{LINE[:-1]}\n".encode(), "line 2: 16 columns instead of 17"),
        (f"{HEADER}\n{LINE}\n{LINE},\n".encode(), "line 3: 18 columns instead of 17"),
        (f"{HEADER}\n{LINE}\n".encode() + b"\xff\xfe", "line 3: bytes that are no text in UTF-8"),
        (f'{HEADER}\n{LINE[:-1]}"张三\n{LINE}\n'.encode(), "a quoted cell from here on does not end"),
        (f"{HEADER}\n{LINE}\n".encode() + b"x" * 3_000_000, "longer than 65536 characters"),
        (f'{HEADER}\n{LINE}\n"a"b,\n'.encode(), "line 3: no CSV"),
        (HEADER.encode("utf-16"), "line 1: bytes that are no text in GB18030"),
    ],
)
def test_a_broken_file_is_refused_by_place(raw: bytes, reason: str) -> None:
    assert reason in refusal(raw)


def test_bytes_that_are_no_text_are_named_by_their_line_wherever_they_are() -> None:
    """Also in a later block than the first."""
    good = f"{HEADER}\n{LINE}\n{(LINE + chr(10)) * 20_000}".encode()
    assert "line 20003: bytes" in refusal(good + b"\xe4\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"JYMX_{PARTNER}_{DAY}.txt", "lists collections"),
        (f"JYMXSUM_{PARTNER}_{DAY}.txt", "lists collections"),
        (f"FKMXSUM_{PARTNER}_{DAY}.txt", "is not read as FKMX"),
        (f"RHZZW_{PARTNER}_{DAY}.txt", "is not read as FKMX"),
        (f"FKMX_201606020000150063_{DAY}.txt", "of merchant 201606020000150063"),
        (f"FKMX_{PARTNER}_20261131.txt", "there is no day or month 20261131"),
        (f"FKMX_{PARTNER}_202613.txt", "there is no day or month 202613"),
    ],
)
def test_files_are_refused_by_their_names(name: str, reason: str) -> None:
    assert reason in refusal(f"{HEADER}\n".encode(), name)


def test_names_tell_what_a_file_covers() -> None:
    day, month = StatementName.of(NAME), StatementName.of(f"/x/FKMX_{PARTNER}_202602.txt")
    assert day == StatementName(FileKind.FKMX, PARTNER, DAY)
    assert (day.days, len(month.days if month else ())) == ((DAY,), 28)
    assert StatementName.of(f"FKMX_{PARTNER}_{DAY} (1).txt") == day
    assert StatementName.of("download.csv") is None


def test_a_summary_is_seven_figures(tmp_path: Path) -> None:
    path = tmp_path / f"FKMXSUM_{PARTNER}_{DAY}.txt"
    path.write_text("2|2|9521.6|0|0|0|.6\n")
    summary = read_summary(path, PARTNER)
    assert (summary.count, summary.amount, summary.figures[6]) == (2, Decimal("9521.60"), Decimal("0.60"))
    for text in ("", "1|2", "1|1.5|1|0|0|0|0", "1|1|x|0|0|0|0", "1|1|1|0|0|0|0\n1|1|1|0|0|0|0", "1|-1|1|0|0|0|0"):
        with pytest.raises(StatementError):
            parse_summary(text.encode(), path.name)


def test_a_file_that_cannot_be_opened_is_a_statement_error(tmp_path: Path) -> None:
    with pytest.raises(StatementError, match="cannot be read"):
        list(read_rows(tmp_path / NAME, PARTNER))


# ---------------------------------------------------------------------- whatever the bytes


def outcome(raw: bytes) -> None:
    """Rows or the one declared error; of the rows, every line of the text is one."""
    try:
        told = read(raw, "download.csv")
    except StatementError as refused:
        told, error = [], refused
    else:
        error = None
    assert error is None or (error.place.file == "download.csv" and len(str(error)) < 600)
    for line, one in told:
        assert line > 1
        assert one.oid_partner == PARTNER
        assert (one.money_order > 0) != one.is_refund


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    outcome(raw)
    outcome(f"{HEADER}\n".encode() + raw)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 900), st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]))
def test_any_bytes_inside_a_good_file(raw: bytes, place: int, encoding: str) -> None:
    good = f"{HEADER}\n{LINE}\n{LINE}\n".encode(encoding)
    outcome(good[:place] + raw + good[place:])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*LINE, '"', "=", "\n", "\r\n", "\r", ",", "\t", "\0", "5", "-"]), max_size=60))
def test_any_characters_in_a_row(characters: list[str]) -> None:
    outcome(f"{HEADER}\n{LINE}\n{''.join(characters)}\n{LINE}\n".encode())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text("0123456789|.-\r\n", max_size=40).map(str.encode))
def test_any_bytes_as_a_summary(raw: bytes) -> None:
    with contextlib.suppress(StatementError):
        assert len(parse_summary(raw, "f").figures) == 7


@settings(max_examples=100, deadline=None)
@given(st.lists(any_row(), min_size=1, max_size=5), st.data())
def test_checking_columns_refuses_what_checking_cells_refuses(rows: list[StatementRow], data: st.DataObject) -> None:
    """One cell of a good file is replaced: the file is refused exactly when a file with that row alone is."""
    texts = written(rows).decode().split("\n")
    if any('"' in text for text in texts):
        return
    line = data.draw(st.integers(1, len(rows)))
    cells = texts[line].split(",")
    cells[data.draw(st.integers(0, 10))] = data.draw(st.text("0123456789.- :A", max_size=18))
    texts[line] = ",".join(cells)

    def refused(raw: str) -> bool:
        try:
            read(raw.encode())
        except StatementError:
            return True
        return False

    assert refused("\n".join(texts)) == refused(f"{HEADER}\n{texts[line]}\n")
