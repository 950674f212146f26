"""Single cells: what is forgiven, and what is refused by name."""

from __future__ import annotations

import datetime
import random

import pytest
from batch_files import CARD, with_luhn

from lianlian_async.batch.cells import read_cell
from lianlian_async.errors import InvalidOrder


def refusal(name: str, raw: object) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read_cell(name, raw)
    assert caught.value.field == name
    return f"{caught.value.problem}; {caught.value.remedy}"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("25.78", "25.78"),
        (" 25.7 ", "25.7"),
        ("'25", "25"),
        ("1,234.50", "1234.50"),
        ("12,345,678.90", "12345678.90"),
        ("¥1,234.50", "1234.50"),
        ("￥ 100", "100"),
        (100, "100"),
        (25.78, "25.78"),
        (100.0, "100"),
        (0.1 + 0.2 - 0.2, None),
        (1234.5, "1234.5"),
        (99999999.99, "99999999.99"),
    ],
)
def test_amounts_that_mean_one_thing(raw: object, value: str | None) -> None:
    """They are read without a float touching them; a number's digits are the ones its author typed."""
    if value is None:
        assert "ROUND" in refusal("money_order", raw)
    else:
        assert read_cell("money_order", raw) == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("1,234", "may separate thousands or decimals"),
        ("1,234.5", "may separate thousands or decimals"),
        ("1,234,567", "may separate thousands or decimals"),
        ("1234,50", "comma where the decimal point belongs"),
        ("1.234,50", "comma where the decimal point belongs"),
        ("12,34.50", "not a plain amount"),
        ("0", "is zero"),
        ("0.00", "is zero"),
        ("-5", "is negative"),
        ("−5.00", "is negative"),
        ("(5.00)", "is negative"),
        ("5.00-", "is negative"),
        ("1.234", "more than two decimals"),
        ("1.000", "more than two decimals"),
        ("１００", "full-width"),
        ("100．00", "full-width"),
        ("1e3", "scientific"),
        ("1.2E+05", "scientific"),
        ("100元", "has a unit"),
        ("1万", "has a unit"),
        ("RMB 5", "has a unit"),
        ("¥-5", "is negative"),
        ("¥", "not a plain amount"),
        ("+5", "not a plain amount"),
        ("007", "not a plain amount"),
        (".5", "not a plain amount"),
        ("5.", "not a plain amount"),
        ("1 000.00", "not a plain amount"),
        ("٣", "not a plain amount"),
        ("100000000", "not a plain amount"),
        ("inf", "not a plain amount"),
        ("=A1*2", "is a formula"),
        (0, "is zero"),
        (0.0, "is zero"),
        (-5, "is negative"),
        (-5.5, "is negative"),
        (0.125, "more than two decimals"),
        (1e-07, "more than two decimals"),
        (100.00000000000001, "more than two decimals"),
        (1e16, "scientific"),
        (1e300, "scientific"),
        (float("inf"), "not a plain amount"),
        (True, "truth value"),
        (datetime.datetime.fromisoformat("2026-11-01"), "is a date to the spreadsheet"),
        (datetime.timedelta(1), "special value"),
    ],
)
def test_amounts_that_are_refused_by_name(raw: object, words: str) -> None:
    """Zero, signs, units, odd widths, and whatever could mean two amounts; nobody is told to program."""
    said = refusal("money_order", raw)
    assert words in said
    assert "Decimal" not in said
    assert "write it like 25.78" in said or words != "not a plain amount"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("6228 4804 0256 4890 018", "holds a blank at position 5"),
        ("6228\u00a04804", "holds a blank"),
        ("６２２８４８０４０２５６４８９００１８", "full-width digits"),
        ("6228480402564890000", "a spreadsheet seems to have rounded it"),
        ("62284804025648900", "a spreadsheet seems to have rounded it"),
        (6228480402564890018, "keeps 15 digits: the others are lost"),
        (6.22848040256489e18, "keeps 15 digits: the others are lost"),
        (123456789012345, "drops leading zeros"),
        (3.5, "drops leading zeros"),
        ("#N/A", "a program writes"),
        ("nan", "a program writes"),
    ],
)
def test_account_numbers_that_a_spreadsheet_has_spoilt(raw: object, words: str) -> None:
    """Each with its name and the way out."""
    assert words in refusal("card_no", raw)


def test_a_number_that_truly_ends_in_zeros() -> None:
    """The apostrophe vouches for it."""
    assert read_cell("card_no", "'6228480402564890000") == "6228480402564890000"
    assert read_cell("card_no", '="6228480402564890000"') == "6228480402564890000"


def test_sixteen_digits_ending_in_a_zero() -> None:
    """One genuine card in ten ends so: the check digit tells it from a rounded one, nine times in ten."""
    rng = random.Random(16)
    genuine, rounded = 0, 0
    for _ in range(2000):
        card = with_luhn("6222" + "".join(rng.choices("0123456789", k=11)))
        assert read_cell("card_no", card) == card
        genuine += card.endswith("0")
        try:
            read_cell("card_no", card[:15] + "0")
        except InvalidOrder:
            rounded += 1
    assert genuine > 150
    assert rounded > 1700


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("acct_name", "李?", "question mark"),
        ("acct_name", "李\ufffd", "conversion"),
        ("acct_name", "李三_x000D_", "conversion"),
        ("acct_name", "\ue7d0公司", "conversion"),
        ("memo", "工资\U0010fffd", "conversion"),
        ("acct_name", "#N/A", "a program writes"),
        ("acct_name", "#REF!", "a program writes"),
        ("acct_name", "######", "a program writes"),
        ("acct_name", "None", "a program writes"),
        ("memo", "NaN", "a program writes"),
        ("memo", '=VLOOKUP(A1,"x",2)', "is a formula"),
        ("memo", 2026, "drops leading zeros"),
        ("key", 1042, "drops leading zeros"),
        ("no_order", 20160818, "drops leading zeros"),
        ("dt_order", datetime.datetime.fromisoformat("2026-11-01"), "is a date"),
        ("bank_code", 1020000, "drops leading zeros"),
        ("flag_card", "2", "neither"),
        ("flag_card", "私", "neither"),
        ("flag_card", 2, "neither"),
        ("acct_name", True, "truth value"),
    ],
)
def test_other_cells_that_are_refused(name: str, raw: object, words: str) -> None:
    """What programs leave behind, and numbers where text is meant."""
    assert words in refusal(name, raw)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("flag_card", "对私", "0"),
        ("flag_card", "对公", "1"),
        ("flag_card", "1-对公", "1"),
        ("flag_card", 1, "1"),
        ("flag_card", 0.0, "0"),
        ("city_code", 330100, "330100"),
        ("card_no", f" {CARD}\t", CARD),
        ("acct_name", "'李三", "李三"),
        ("acct_name", "Nanette", "Nanette"),
        ("memo", "'", ""),
        ("memo", None, ""),
        ("memo", " \t", ""),
        ("risk_item", '{"a":"b"}', '{"a":"b"}'),
    ],
)
def test_cells_that_are_understood(name: str, raw: object, value: str) -> None:
    """The text that would travel."""
    assert read_cell(name, raw) == value
