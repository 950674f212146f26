"""Excel workbooks: what a sheet may hold, and where it shows something else than it says."""

from __future__ import annotations

import builtins
import datetime
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from batch_files import CARD, HEADER, OTHER_ROW, ROW, csv_text, saved, saved_sheet
from openpyxl.chart import BarChart
from openpyxl.worksheet.datavalidation import DataValidation

from lianlian_async.batch import read_batch, sheets
from lianlian_async.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "工资.xlsx"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_batch(path)
    return str(caught.value).removeprefix(f"{path} ")


def edited(path: Path, change: Callable[[Any], object], *rows: Any) -> Path:
    """A workbook of these rows after `change` has been applied to it."""
    workbook = openpyxl.load_workbook(saved_sheet(path, *(rows or (ROW, OTHER_ROW))))
    change(workbook)
    workbook.save(path)
    return path


def repacked(path: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """`path` with one of its parts changed by hand."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[member] = change(parts[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


SHEET = "xl/worksheets/sheet1.xml"


def test_a_sheet_reads_as_the_csv_of_it_does(path: Path, tmp_path: Path) -> None:
    """Same orders, same keys, same lines: saving a file in the other format pays nothing twice."""
    sheet = read_batch(saved_sheet(path, ROW, OTHER_ROW))
    text = read_batch(saved(tmp_path / "a.csv", csv_text(ROW, OTHER_ROW)))
    assert sheet.rows == text.rows
    assert sheet.notes == ()


def test_the_content_decides_what_a_file_is(tmp_path: Path) -> None:
    """A workbook named .csv, and text named .xlsx."""
    assert read_batch(saved_sheet(tmp_path / "a.xlsx", ROW).rename(tmp_path / "a.csv")).count == 1
    assert read_batch(saved(tmp_path / "b.xlsx", csv_text(ROW))).count == 1


def test_amounts_as_numbers(path: Path) -> None:
    """Numbers of at most two decimals are the amounts their author typed; the rest of a formula is not."""
    amounts = (25.78, 100, 1234.5, "1,234.50", 0.07, 25.780000000000001, 33.333333, 25.785)
    batch = read_batch(saved_sheet(path, *[(amount, *ROW[1:]) for amount in amounts]))
    assert [str(row.order.money_order) for row in batch.rows] == [
        "25.78", "100.00", "1234.50", "1234.50", "0.07", "25.78",
    ]  # fmt: skip
    assert [(problem.line, problem.field) for problem in batch.problems] == [(8, "money_order"), (9, "money_order")]


def test_account_numbers_as_numbers(path: Path) -> None:
    """Digits or zeros are lost: refused by name, as are dates, truth values and numbers for keys."""
    header = ("key", *HEADER)
    rows = [
        ("k2", 1.5, int(CARD), "李三", ""),
        ("k3", 1.5, 6.22848040256489e18, "李三", ""),
        ("k4", 1.5, 12345678, "李三", ""),
        (5, 1.5, CARD, "李三", datetime.date(2026, 11, 1)),
        ("k6", True, CARD, "李三", "x"),
    ]
    batch = read_batch(saved_sheet(path, *rows, header=header))
    assert [(problem.line, problem.field) for problem in batch.problems] == [
        (2, "card_no"), (3, "card_no"), (4, "card_no"), (5, "key"), (5, "memo"), (6, "money_order"),
    ]  # fmt: skip
    assert all(CARD[:6] not in problem.reason for problem in batch.problems)


def test_formulas_and_errors(path: Path) -> None:
    """A formula's result may be out of date, and an error is nobody's name."""
    batch = read_batch(saved_sheet(path, ("=B2*2", CARD, "李三", ""), ("1", CARD, "#N/A", ""), ("1", CARD, "=A1", "")))
    assert [(problem.line, problem.field) for problem in batch.problems] == [
        (2, "money_order"), (3, "acct_name"), (4, "acct_name"),
    ]  # fmt: skip


def test_array_formulas(path: Path) -> None:
    """They are objects of their own to openpyxl."""

    def change(workbook: Any) -> None:
        from openpyxl.worksheet.formula import ArrayFormula

        workbook.active["A2"] = ArrayFormula("A2:A2", "=SUM(1*2)")

    [problem] = read_batch(edited(path, change)).problems
    assert problem.field == "money_order"
    assert problem.reason.startswith("is a formula")


def test_hidden_rows(path: Path) -> None:
    """Whoever looked the sheet over did not see them, so they are not paid without a word."""

    def change(workbook: Any) -> None:
        workbook.active.row_dimensions[3].hidden = True
        workbook.active.row_dimensions[9].hidden = True

    batch = read_batch(edited(path, change))
    assert [(problem.line, problem.field) for problem in batch.problems] == [(3, "")]
    assert "is hidden" in batch.problems[0].reason
    assert [row.line for row in batch.rows] == [2]


def test_hidden_rows_are_found_across_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that is cut by the reading of pieces is put together again."""
    monkeypatch.setattr(sheets, "_CHUNK_BYTES", 7)

    def change(workbook: Any) -> None:
        workbook.active.row_dimensions[3].hidden = True

    assert [problem.line for problem in read_batch(edited(path, change)).problems] == [3]


def test_merged_cells(path: Path) -> None:
    """Only the first row of a merged area holds its value."""
    assert "merged cells" in refusal(edited(path, lambda workbook: workbook.active.merge_cells("D2:D3")))


def test_several_sheets_with_content(path: Path) -> None:
    """Which one is meant is not guessed."""

    def change(workbook: Any) -> None:
        workbook.create_sheet("二月").append(["x"])
        workbook.create_sheet("空")

    assert refusal(edited(path, change)) == "has content in the sheets 'Sheet', '二月'; keep one"


def test_other_sheets_that_are_empty_hidden_or_charts(path: Path) -> None:
    """The one that is read is named, and so is a hidden one that is not."""

    def change(workbook: Any) -> None:
        workbook.create_sheet("空")
        lists = workbook.create_sheet("银行")
        lists.append(["工商银行"])
        lists.sheet_state = "hidden"
        workbook.create_chartsheet("图").add_chart(BarChart())

    batch = read_batch(edited(path, change))
    assert batch.notes == ("read the sheet 'Sheet'", "the hidden sheet '银行' was not read")
    assert batch.count == 2


def test_a_workbook_with_nothing_to_see(path: Path) -> None:
    """Empty, or all of it hidden."""
    workbook = openpyxl.Workbook()
    workbook.save(path)
    assert refusal(path) == "has no visible content"

    def change(workbook: Any) -> None:
        workbook.create_sheet("空")
        workbook["Sheet"].sheet_state = "hidden"

    assert refusal(edited(path, change)) == "has no visible content"


def test_decoration_that_openpyxl_warns_about(path: Path) -> None:
    """Drop-down lists and the like are no reason for a warning."""

    def change(workbook: Any) -> None:
        rule = DataValidation(type="list", formula1='"a,b"')
        workbook.active.add_data_validation(rule)
        rule.add("D2:D9")

    edited(path, change)
    extension = b'<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
    repacked(path, SHEET, lambda xml: xml.replace(b"</worksheet>", extension))
    assert read_batch(path).count == 2


def test_blank_rows_and_wrong_dimensions(path: Path) -> None:
    """Lines are the sheet's own; a wrong statement of its size leaves nothing out."""
    saved_sheet(path, (), ROW, ("", None, "", ""), (), OTHER_ROW)
    repacked(path, SHEET, lambda xml: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', xml))
    batch = read_batch(path)
    assert [row.line for row in batch.rows] == [3, 6]
    assert not batch.problems


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b'<row r="3"', b'<row r="2"', "out of order"),
        (b'<row r="3"', b'<row r="999999999"', "beyond Excel's last one"),
        (b"<row ", b"<row <", "not a whole Excel workbook"),
        (b"</sheetData>", b"", "not a whole Excel workbook"),
        (b'<v>25.78</v>', b"<v>x</v>", "not a whole Excel workbook"),
        (b'<c r="A2" t="n">', b'<c r="A2" t="s">', "not a whole Excel workbook"),
    ],
)  # fmt: skip
def test_sheets_that_openpyxl_would_misread(path: Path, before: bytes, after: bytes, words: str) -> None:
    """A row out of order would be left out without a word; damage gets one sentence."""
    repacked(saved_sheet(path, (25.78, *ROW[1:]), OTHER_ROW), SHEET, lambda xml: xml.replace(before, after, 1))
    assert words in refusal(path)


ROW_AT = b'<row r="3"'


@pytest.mark.parametrize(
    "place",
    [b'r="%s"' % (b"7" * 128), b"r='%s'" % (b"7" * 128), b'r="1e9"', b'r="&#51;"', b'spans=">" r="%s"' % (b"7" * 30),
     b'r = "7777777777"', b'r=" 3"', b'r="\xef\xbc\x93"'],
)  # fmt: skip
def test_a_row_at_no_place(path: Path, place: bytes) -> None:
    """However it is written: refused before openpyxl hands out all the rows before it, which would never end."""
    saved_sheet(path, ROW, OTHER_ROW)
    repacked(path, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(ROW_AT, b"<row " + place, 1))
    assert "far away" in refusal(path)


@pytest.mark.parametrize("place", [b"AAA3", b"XFD3", b"Z" * 9 + b"3", b"&#65;3", b"a3"])
def test_a_cell_at_no_place(path: Path, place: bytes) -> None:
    """Refused before openpyxl makes room for all the columns before it; nine letters would be some terabytes."""
    saved_sheet(path, ROW, OTHER_ROW)
    repacked(path, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b'r="D3"', b'r="' + place + b'"', 1))
    assert "far away" in refusal(path)


def test_text_that_looks_like_a_place(path: Path) -> None:
    """What stands in a cell is no place of one."""
    found = read_batch(saved_sheet(path, (*ROW[:3], "<c r='ZZZZ9'> r=\"x\"")))
    assert found.problem_count == 1  # a memo holds no equals sign
    assert found.problems[0].field == "memo"


def test_rows_that_are_not_there_are_counted_to_excels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hands out rows without an end is not listened to without an end."""
    monkeypatch.setattr(sheets, "_EXCEL_ROWS_MAX", 1000)
    endless = iter(lambda: ("x",), None)
    assert len(sheets._filled(endless)) == 1000


def test_a_sheet_in_another_encoding(path: Path) -> None:
    """Hidden rows cannot be looked for in it, so it is refused."""
    saved_sheet(path, ROW)

    def recoded(xml: bytes) -> bytes:
        return (
            xml.decode().replace("<worksheet", '<?xml version="1.0" encoding="UTF-16"?><worksheet', 1).encode("utf-16")
        )

    repacked(path, SHEET, recoded)
    assert "save it again" in refusal(path)


def test_rows_without_numbers(path: Path) -> None:
    """Some programs write none; they count from the row above."""
    saved_sheet(path, ROW, OTHER_ROW)
    repacked(path, SHEET, lambda xml: re.sub(rb'(<row|<c) r="[^"]*"', rb"\1", xml).replace(b"<row", b'<row hidden="0"'))
    assert [row.line for row in read_batch(path).rows] == [2, 3]


def test_other_zips_and_cut_ones(path: Path) -> None:
    """OpenDocument, binary workbooks, passwords and half files."""
    whole = saved_sheet(path, ROW).read_bytes()
    saved(path, whole[: len(whole) // 2])
    assert "not a whole Excel workbook" in refusal(path)
    for name in ("content.xml", "xl/workbook.bin"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "x")
        assert "is no .xlsx workbook" in refusal(path)
    locked = bytearray(whole)
    for place in (m.start() for m in re.finditer(b"PK\x01\x02", whole)):
        locked[place + 8] |= 1
    saved(path, bytes(locked))
    assert "protected by a password" in refusal(path)


def test_a_workbook_that_unpacks_to_too_much(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes are added up before anything is unpacked."""
    monkeypatch.setattr(sheets, "UNPACKED_BYTES_MAX", 1000)
    assert "split it" in refusal(saved_sheet(path, ROW))


def test_without_openpyxl(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence holds the command that helps; text files need nothing."""
    saved_sheet(path, ROW)
    genuine = builtins.__import__

    def importing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "openpyxl":
            raise ImportError(name)
        return genuine(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert "pip install 'lianlian-async[xlsx]'" in refusal(path)
    assert read_batch(saved(path, csv_text(ROW))).count == 1


def test_a_workbook_as_excel_writes_it(path: Path) -> None:
    """Text in a shared table, some of it in several fonts, and numbers with their digits at full length."""
    texts = ["付款金额(元)", "银行账号", "收款人姓名", "对公对私标志", CARD, "李三", "对私"]
    entries = [f"<si><t>{text}</t></si>" for text in texts]
    entries[5] = '<si><r><rPr><b/></rPr><t>李</t></r><r><t xml:space="preserve">三</t></r><phoneticPr fontId="1"/></si>'
    cells = [
        '<c r="A2" s="0"><v>25.78</v></c>',
        *(f'<c r="{column}2" t="s"><v>{n}</v></c>' for column, n in zip("BCD", (4, 5, 6), strict=True)),
    ]
    header = "".join(f'<c r="{column}1" t="s"><v>{n}</v></c>' for n, column in enumerate("ABCD"))
    rows = (
        f'<sheetData><row r="1" spans="1:4" ht="15" customHeight="1">{header}</row>'
        f'<row r="2" spans="1:4">{"".join(cells)}</row><row r="3" spans="1:4"><c r="A3" s="0"/></row></sheetData>'
    )
    main, office = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org"
    kind = f"{office}/officeDocument/2006/relationships/sharedStrings"
    content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    repacked(
        saved_sheet(path), SHEET, lambda xml: re.sub(b"<sheetData>.*</sheetData>", rows.encode(), xml, flags=re.DOTALL)
    )
    repacked(
        path,
        "[Content_Types].xml",
        lambda xml: xml.replace(
            b"</Types>", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{content_type}"/></Types>'.encode()
        ),
    )
    repacked(
        path,
        "xl/_rels/workbook.xml.rels",
        lambda xml: xml.replace(
            b"</Relationships>",
            f'<Relationship Id="rId99" Type="{kind}" Target="sharedStrings.xml"/></Relationships>'.encode(),
        ),
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{"".join(entries)}</sst>')
    batch = read_batch(path)
    assert batch.problems == ()
    [row] = batch.rows
    assert (row.line, row.order.acct_name, row.order.card_no, row.order.flag_card) == (2, "李三", CARD, "0")
    assert str(batch.total) == "25.78"
