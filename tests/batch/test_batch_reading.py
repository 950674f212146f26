"""Files as a whole: encodings, separators, headers, keys, doubles, and what is said about them."""

from __future__ import annotations

import hashlib
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from batch_files import CARD, HEADER, OTHER_CARD, OTHER_ROW, ROW, csv_text, saved

from lianlian_async.batch import Batch, Problem, read_batch, reading, text
from lianlian_async.errors import ConfigError
from lianlian_async.protocol import Order

CHINESE_HEADER = ("付款金额", "银行账号", "收款人姓名", "收款备注")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "工资 2026-11.csv"


def read(path: Path, content: str | bytes, encoding: str = "utf-8", oid_partner: str | None = None) -> Batch:
    return read_batch(saved(path, content, encoding), oid_partner=oid_partner)


def refusal(path: Path, content: str | bytes, encoding: str = "utf-8") -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, content, encoding)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path} ")


# ---------------------------------------------------------------------- what reads


def test_a_plain_file(path: Path) -> None:
    """Every row becomes an order, with its line, its key and the file's sum."""
    batch = read(path, csv_text(ROW, OTHER_ROW))
    assert [row.line for row in batch.rows] == [2, 3]
    assert batch.rows[0].order == Order(money_order="25.78", card_no=CARD, acct_name="李三", memo="工资")
    assert (batch.count, batch.total, batch.problems, batch.notes) == (2, Decimal("125.78"), (), ())
    assert batch.path == path


@pytest.mark.parametrize("header", [HEADER, CHINESE_HEADER, ("Money_Order ", " CARD_NO", "Acct_Name", "MEMO")])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_every_way_of_saving_it(
    path: Path, header: tuple[str, ...], delimiter: str, newline: str, encoding: str
) -> None:
    """Encoding, separator, line ends and the language of the header change neither orders, lines nor keys."""
    plain = read(path, csv_text(ROW, OTHER_ROW))
    batch = read(path, csv_text(ROW, OTHER_ROW, header=header, delimiter=delimiter, newline=newline), encoding)
    assert batch.rows == plain.rows
    assert batch.notes == {"gb18030": ("read as GB18030",), "utf-16": ("read as UTF-16",)}.get(encoding, ())


def test_utf_16_of_the_other_byte_order(path: Path) -> None:
    """The byte order mark decides."""
    batch = read(path, "\ufeff" + csv_text(ROW, delimiter="\t"), "utf-16-be")
    assert batch.count == 1


def test_full_width_headers_with_remarks(path: Path) -> None:
    """Widths, line breaks, stars and the unit that templates print do not matter."""
    header = ("*付款金额（元）", "银行\n账号", "收款人姓名 *", "ｍｅｍｏ")
    assert read(path, csv_text(ROW, header=header)).count == 1


def test_all_headers_of_the_specification(path: Path) -> None:
    """Every Chinese name that section 3.1 prints is understood as its field."""
    cells = {
        "商户付款流水号": ("no_order", "2016081814226"),
        "商户时间": ("dt_order", "20160804180812"),
        "付款金额": ("money_order", "49.65"),
        "银行账号": ("card_no", "33001616161653000000"),
        "收款人姓名": ("acct_name", "杭州某某有限公司"),
        "收款人银行名称": ("bank_name", "中国建设银行"),
        "订单描述": ("info_order", "货款"),
        "对公对私标志": ("flag_card", "1"),
        "服务器异步通知地址": ("notify_url", "https://pay.example.com/n"),
        "收款备注": ("memo", "货款"),
        "大额行号": ("prcptcd", "105331000000"),
        "银行编码": ("bank_code", "01050000"),
        "开户行所在市编码": ("city_code", "330100"),
        "开户支行名称": ("brabank_name", "杭州文三路支行"),
        "平台来源": ("platform", "jd.com"),
    }
    row = [f"'{value}" if name == "card_no" else value for name, value in cells.values()]
    [found] = read(path, csv_text(row, header=list(cells))).rows
    assert found.order.members() == dict(cells.values())


def test_quoted_cells_with_line_breaks_count_as_lines(path: Path) -> None:
    """A later row's line is the one that an editor shows, although a cell above it had two lines."""
    content = 'money_order,card_no,acct_name,"memo\n"\n1.00,' + CARD + ',李三,"a\nb"\n2.00,' + CARD + ",李三,"
    batch = read(path, content)
    assert [(problem.line, problem.field) for problem in batch.problems] == [(3, "memo")]
    assert [row.line for row in batch.rows] == [5]


def test_blank_lines_and_trailing_empty_columns(path: Path) -> None:
    """Empty lines anywhere and empty columns on the right are passed over; lines still count."""
    content = f"\n , ,\nmoney_order,card_no,acct_name,,\n\n1.00,{CARD},李三,,,,\n,,,,,\n2.00,{CARD},李三\n\n"
    batch = read(path, content)
    assert [row.line for row in batch.rows] == [5, 7]
    assert not batch.problems


def test_excels_separator_line(path: Path) -> None:
    """`sep=;` in the first line decides, and counts as a line."""
    batch = read(path, "sep=;\r\n" + csv_text(ROW, delimiter=";"))
    assert [row.line for row in batch.rows] == [3]
    assert "commas, semicolons or tabs" in refusal(path, "sep=|\r\n" + csv_text(ROW))


def test_a_last_line_without_a_line_break(path: Path) -> None:
    """It is read, and a note says that the file may have been cut."""
    assert read(path, csv_text(ROW).rstrip()).notes == ("the last line has no line break: see that the file is whole",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_last_line_with_a_line_break_in_any_encoding(path: Path, encoding: str) -> None:
    """No note then."""
    mark = "" if encoding == "utf-8" else "\ufeff"
    assert not any("whole" in note for note in read(path, mark + csv_text(ROW, newline="\n"), encoding).notes)


def test_cells_that_exports_wrap(path: Path) -> None:
    """Blanks, tabs, an apostrophe and ="..." around a value go; the order is the same."""
    content = (
        f'money_order,card_no,acct_name\n 25.78 ,{CARD}\t,\'李三\n25.78,"=""{CARD}""",\' 李三 \n25.78,\'{CARD},李三\n'
    )
    batch = read(path, content)
    assert not batch.problems
    assert len({row.order for row in batch.rows}) == 1


# ---------------------------------------------------------------------- files that do not read


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A missing file, a directory, a pipe and an impossible name each get one sentence."""
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "absent.csv": "No such file",
        ".": "is a directory",
        "pipe": "not an ordinary file",
        "a\0b": "cannot be the name",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_batch(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \r\n\t\n", "is empty"),
        (b"\xef\xbb\xbf\r\n", "nothing but blank lines"),
        (b",,\r\n,,\r\n", "nothing but blank lines"),
        (csv_text().encode(), "no payments"),
        (csv_text(ROW).encode("utf-16-le"), "zero bytes"),
        (csv_text(ROW).encode("utf-32"), "UTF-32"),
        (csv_text(ROW).encode("utf-16")[:-1], "not in UTF-16"),
        (csv_text(ROW).encode("utf-8-sig").replace("李".encode(), b"\xc0\xee"), "not in the UTF-8"),
        (csv_text(ROW).encode() + b"\xff\xff\n", "not in UTF-8 or GB18030"),
        (csv_text(ROW).encode() + b"\0", "zero bytes"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "no header line"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "zero bytes"),
        (b"<html><table><tr><td>1</td></tr></table>", "web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old .xls format"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (f"25.78,{CARD},李三\n".encode(), "no header line"),
        (b"money_order,card_no\n", "no column acct_name"),
        (b"card_no,\xe9\x87\x91\n", "money_order (付款金额) and no column acct_name"),
    ],
)  # fmt: skip
def test_content_that_is_no_batch(path: Path, content: bytes, words: str) -> None:
    """One sentence says what it is instead, or what is missing."""
    assert words in refusal(path, content)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("sign", "a signature belongs to one message"),
        ("签名", "a signature belongs to one message"),
        ("ret_code", "outcome file"),
        ("部门", "not known (column 5 (E)); rename these or leave them out"),
        ("MONEY_ORDER", "names money_order twice, in columns 1 and 5"),
        ("金额", "names money_order twice, in columns 1 and 5"),
        ("oid_partner", "nobody said who pays"),
    ],
)
def test_headers_that_are_refused(path: Path, header: str, words: str) -> None:
    """A column that is not understood, or twice there, is never skipped."""
    assert words in refusal(path, csv_text((*ROW, "1"), header=(*HEADER, header)))


def test_a_file_without_a_header_shows_nobody(path: Path) -> None:
    """The first payee stands where the header should be, and is not repeated."""
    message = refusal(path, csv_text(OTHER_ROW, header=ROW))
    assert CARD not in message
    assert "李" not in message
    message = refusal(path, csv_text(ROW, header=(*HEADER, CARD)))
    assert CARD not in message


@pytest.mark.parametrize("last", ["memo", "收款备注"])
def test_a_header_without_its_line_break_shows_nobody(path: Path, last: str) -> None:
    """The first payee became part of a column's name; the places are told, as a spreadsheet counts them too."""
    header = ("money_order", "card_no", "acct_name", last + "李三", *("25.78", CARD, "李三") * 8)
    message = refusal(path, csv_text(OTHER_ROW, header=header))
    assert "not known (column 4 (D), 5 (E), 6 (F)" in message
    assert "李" not in message
    assert CARD not in message
    far = ("money_order", "card_no", "acct_name", *("memo",) * 24, "李三")
    assert "column 28 (AB)" in refusal(path, csv_text(OTHER_ROW, header=far))


@pytest.mark.parametrize("broken", ['1.00,"62,张三\n', '1.00,"62"x,张三\n', '1.00,"\n2.00,"x,张三\n'])
def test_broken_quoting_spoils_the_whole_file(path: Path, broken: str) -> None:
    """After a stray quote no line can be trusted, so none is read."""
    assert "begins on line 3" in refusal(path, csv_text(ROW) + broken + csv_text(ROW))


def test_a_quote_that_swallows_lines_never_pays_them_as_one(path: Path) -> None:
    """Where a second stray quote makes it look well-formed, the line break inside the cell is refused."""
    content = f'acct_name,money_order,card_no,memo\n李三,1.00,{CARD},"a\n王五,2.00,{CARD},b"\n赵六,3.00,{CARD},c\n'
    batch = read(path, content)
    assert [(problem.line, problem.field) for problem in batch.problems] == [(2, "memo")]


def test_bytes_that_read_as_two_encodings(path: Path) -> None:
    """GB18030 bytes that happen to be UTF-8 would put another name on the payment: refused."""
    header = b"money_order,card_no,acct_name\n"
    name = "楼路".encode("gb18030")
    assert name.decode("utf-8") == "¥·"
    assert "different names" in refusal(path, header + b"1.00," + CARD.encode() + b"," + name + b"\n")


@pytest.mark.parametrize("name", ["李四", "王伟", "张小明", "欧阳娜娜", "阿·李", "𠮷野", "喆喆", "陈喆"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_short_files_with_one_name(path: Path, name: str, encoding: str) -> None:
    """A single Chinese name is enough to tell the encodings apart."""
    content = csv_text(("1.00", CARD, name), header=HEADER[:3])
    [row] = read(path, content, encoding).rows
    assert row.order.acct_name == name


def test_big5_is_not_taken_for_gb18030(path: Path) -> None:
    """Where the foreign bytes have no meaning in GB18030, the file is refused instead of misread."""
    private = csv_text(ROW).replace("李三", "\ue123")
    assert "without a meaning" in refusal(path, private, "gb18030")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_name_that_was_misread_before_it_was_saved(path: Path, encoding: str) -> None:
    """However the file announces its encoding: a private character is that line's fault, and the others are read."""
    content = csv_text((ROW[0], ROW[1], "\ue7d0公司", *ROW[3:]), OTHER_ROW)
    batch = read(path, content, encoding)
    assert [(problem.line, problem.field) for problem in batch.problems] == [(2, "acct_name")]
    assert "\ue7d0" not in str(batch.problems[0])
    assert [row.line for row in batch.rows] == [3]


def test_files_and_rows_beyond_the_bounds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many bytes or payments are refused with the way out."""
    monkeypatch.setattr(reading, "ROWS_MAX", 1)
    assert "more than 1 payments; split it" in refusal(path, csv_text(ROW, OTHER_ROW))
    monkeypatch.setattr(reading, "FILE_BYTES_MAX", 10)
    assert "split it" in refusal(path, csv_text(ROW))


# ---------------------------------------------------------------------- keys


def test_keys_are_the_files_own_first(path: Path) -> None:
    """`key` wins; else the number is the key; else it follows from the row."""
    header = ("key", "no_order", *HEADER)
    rows = read(
        path, csv_text(("k1", "N1", *ROW), ("", "N2", *ROW), ("k3", "", *ROW), ("", "", *ROW), header=header)
    ).rows
    assert [row.key for row in rows[:3]] == ["k1", "N2", "k3"]
    assert [row.order.no_order for row in rows] == ["N1", "N2", None, None]
    assert rows[3].key.startswith("row:")
    assert [row.derived for row in rows] == [False, False, False, True]


def test_a_derived_key_is_for_ever(path: Path) -> None:
    """It is the hash of the order's members; a change of it would pay files again that were paid before."""
    batch = read(path, csv_text(ROW))
    members = {"money_order": "25.78", "card_no": CARD, "acct_name": "李三", "flag_card": "0", "memo": "工资"}
    canonical = json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert batch.rows[0].key == "row:" + hashlib.sha256(canonical).hexdigest()[:32]
    assert batch.rows[0].key == "row:38a17bd59a06567fbb3be267525acfc8"
    assert batch.derived_count == 1


def test_derived_keys_stay_when_the_file_changes_around_them(path: Path) -> None:
    """Sorting, taking other rows out, adding columns and writing values another way keep every key."""
    before = {row.order.acct_name: row.key for row in read(path, csv_text(ROW, OTHER_ROW)).rows}
    header = ("收款备注", "flag_card", "收款人姓名", "key", "bank_name", "银行账号", "付款金额")
    moved = csv_text(
        ("奖金", "对私", "欧阳娜娜", "", "", f"'{OTHER_CARD}", "¥100"),
        ("", "0", "新人", "", "", CARD, "3"),
        header=header,
    )
    after = {row.order.acct_name: row.key for row in read(path, moved, "gb18030").rows}
    assert after["欧阳娜娜"] == before["欧阳娜娜"]
    assert after["新人"] not in before.values()


def test_identical_rows_are_separate_payments_and_twins(path: Path) -> None:
    """They are numbered in the order of the file, and pointed out."""
    batch = read(path, csv_text(ROW, OTHER_ROW, ROW, ROW))
    keys = [row.key for row in batch.rows]
    assert [keys[2], keys[3]] == [keys[0] + "#2", keys[0] + "#3"]
    assert [[row.line for row in twins] for twins in batch.twins] == [[2, 4, 5]]


def test_twins_are_the_same_payee_and_amount_whatever_else_differs(path: Path) -> None:
    """Another memo does not hide a double; another amount is no double."""
    batch = read(path, csv_text(ROW, (*ROW[:3], "另"), ("25.79", *ROW[1:]), (ROW[0], OTHER_CARD, "李三", "")))
    assert [[row.line for row in twins] for twins in batch.twins] == [[2, 3]]


def test_twins_of_a_corporate_account_written_two_ways(path: Path) -> None:
    """Hyphens make no other account."""
    header = (*HEADER, "flag_card", "bank_code")
    accounts = ("33001616161653", "3300-1616-161653")
    rows = [("1.00", account, "某某公司", "", "对公", "01050000") for account in accounts]
    assert [[row.line for row in twins] for twins in read(path, csv_text(*rows, header=header)).twins] == [[2, 3]]


def test_the_same_key_or_number_twice(path: Path) -> None:
    """A problem names both lines; the key itself is not repeated."""
    header = ("key", "no_order", *HEADER)
    content = csv_text(
        ("k1", "", *ROW), ("k1", "", *OTHER_ROW), ("", "N1", *ROW), ("k4", "N1", *ROW), ("", "N1", *ROW),
        ("N1", "", *ROW), header=header,
    )  # fmt: skip
    batch = read(path, content)
    assert [(p.line, p.field, p.reason.split(";")[0]) for p in batch.problems] == [
        (3, "key", "is the same as on line 2"),
        (5, "no_order", "is the same as on line 4"),
        (6, "no_order", "is the same as on line 4"),
        (7, "key", "is the same as on line 4"),
    ]
    assert [row.line for row in batch.rows] == [2, 4]


def test_an_explicit_key_that_equals_a_derived_one(path: Path) -> None:
    """The outcome file's keys may be copied into the file of payments; they stay one payment each."""
    key = read(path, csv_text(ROW)).rows[0].key
    batch = read(path, csv_text((key, *ROW), header=("key", *HEADER)))
    assert (batch.rows[0].key, batch.rows[0].derived) == (key, False)
    batch = read(path, csv_text((key, *ROW), ("", *ROW), header=("key", *HEADER)))
    assert [(problem.line, problem.field) for problem in batch.problems] == [(3, "key")]


@pytest.mark.parametrize("key", ["x" * 201, "a\u200bb", "e\u0301"])
def test_keys_that_cannot_last(path: Path, key: str) -> None:
    """What numbers.check_key refuses is a problem of the row."""
    batch = read(path, csv_text((key, *ROW), header=("key", *HEADER)))
    assert [problem.field for problem in batch.problems] == ["key"]
    assert batch.rows == ()


# ---------------------------------------------------------------------- what the client fills in


def test_a_file_that_names_its_merchant(path: Path) -> None:
    """It is accepted for that merchant only."""
    header, partner = (*HEADER, "商户编号"), "201306031000001013"
    assert read(path, csv_text((*ROW, partner), (*OTHER_ROW, ""), header=header), oid_partner=partner).count == 2
    [problem] = read(path, csv_text((*ROW, "201306031000001014"), header=header), oid_partner=partner).problems
    assert (problem.line, problem.field) == (2, "oid_partner")


def test_columns_that_may_only_say_what_is_sent(path: Path) -> None:
    """api_version and sign_type are checked, and set nothing."""
    header = (*HEADER, "api_version", "sign_type", "risk_item")
    plain, risky = (*ROW, "1.0", "RSA", ""), (*ROW, "1.1", "", '{"goods_name":"x"}')
    batch = read(path, csv_text(plain, risky, header=header))
    assert not batch.problems
    assert batch.rows[0].key == read(path, csv_text(ROW)).rows[0].key
    wrong = read(path, csv_text((*ROW, "1.1", "MD5", ""), header=header)).problems
    assert [problem.field for problem in wrong] == ["api_version", "sign_type"]


# ---------------------------------------------------------------------- problems


def test_every_bad_field_of_every_bad_row_is_listed(path: Path) -> None:
    """All faults at once, with line and field; the sound rows are still there to be counted."""
    content = csv_text(ROW, ("0", "12", "", "x" * 30), OTHER_ROW, ("1.001", CARD, "李=三", ""))
    batch = read(path, content)
    assert [(problem.line, problem.field) for problem in batch.problems] == [
        (3, "money_order"), (3, "acct_name"), (3, "card_no"), (3, "memo"), (5, "money_order"), (5, "acct_name"),
    ]  # fmt: skip
    assert batch.problem_count == 6
    assert [row.line for row in batch.rows] == [2, 4]
    assert str(batch.problems[1]) == "line 3: acct_name: is missing; give a value"


def test_fields_that_need_each_other(path: Path) -> None:
    """What an order owes as a whole is a problem of the field that is missing."""
    problems = read(path, csv_text(("50000.00", CARD, "李三", "工资"))).problems
    assert [(problem.line, problem.field) for problem in problems] == [(2, "info_order")]
    header = (*HEADER, "flag_card")
    problems = read(path, csv_text(("1.00", "3300-1616", "某公司", "", "对公"), header=header)).problems
    assert [(problem.line, problem.field) for problem in problems] == [(2, "bank_code")]


def test_rows_with_too_many_or_nameless_cells(path: Path) -> None:
    """An amount with an unquoted comma moves every cell: the row is refused as a whole."""
    content = f"money_order,card_no,,acct_name\n1,234.50,{CARD},,李三\n1.00,{CARD},x,李三\n1.00,{CARD},,李三\n"
    batch = read(path, content)
    assert [(p.line, p.field, p.reason.split(";")[0]) for p in batch.problems] == [
        (2, "", "column 3 holds a value and has no name"),
        (3, "", "column 3 holds a value and has no name"),
    ]
    assert str(read(path, csv_text((*ROW, "x"))).problems[0]).startswith("line 2: has more cells than the header")
    assert [row.line for row in batch.rows] == [4]


def test_a_total_line_at_the_end(path: Path) -> None:
    """It is a row without a payee, and refused as one."""
    problems = read(path, csv_text(ROW, ("25.78", "", "合计", ""))).problems
    assert [(problem.line, problem.field) for problem in problems] == [(3, "card_no")]


def test_more_problems_than_anyone_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are kept, all are counted."""
    monkeypatch.setattr(reading, "PROBLEMS_KEPT_MAX", 3)
    batch = read(path, csv_text(*[("0", CARD, "李三", "")] * 5))
    assert (len(batch.problems), batch.problem_count, batch.count) == (3, 5, 0)


def test_nothing_said_about_a_file_shows_a_card_or_a_name(path: Path) -> None:
    """Problems, and the repr of everything, mask both."""
    name = "尉迟恭敬"
    bad = [
        ("0", CARD, name, ""), ("1", f"{CARD[:8]} {CARD[8:]}", name, ""), ("1", CARD + "x", name, ""),
        ("1", CARD, name + "=", ""), ("1", CARD, name + "\u200b", ""), (CARD, name, CARD, ""),
        ("1", "6.2E+18", name, "x" * 99),
        ("1", CARD[:15] + "0000", name, ""), (f"{CARD}", CARD, name, "null"), ("1", CARD, name, "", CARD),
    ]  # fmt: skip
    batch = read(path, csv_text(*bad, ("1", CARD, name, "")))
    assert {problem.line for problem in batch.problems} == set(range(2, 12))
    shown = " ".join([*map(str, batch.problems), repr(batch), repr(batch.rows), repr(batch.problems)])
    assert CARD not in shown
    assert CARD[:8] not in shown
    assert name not in shown
    assert name[1:] not in shown


def test_a_problem_is_told_in_one_line() -> None:
    """Line, field, reason."""
    assert str(Problem(7, "card_no", "is missing")) == "line 7: card_no: is missing"


def test_a_header_larger_than_the_part_that_is_looked_at(path: Path) -> None:
    """The separator is found in the first 65,536 characters or not at all; nothing hangs or breaks."""
    assert "no header line" in refusal(path, '"' + "x" * (text._HEADER_CHARACTERS_MAX + 10) + '",b\n')
