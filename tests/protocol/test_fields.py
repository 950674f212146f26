"""Single fields: what each takes and refuses, money, and how values are shown (specification 3.1)."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lianlian_async.errors import InvalidOrder
from lianlian_async.protocol import FIELDS, looks_rounded, mask_card, mask_name, parse_money, safe_text, wire_money
from lianlian_async.protocol.fields import check_field, field_fault, is_date, is_date_time

SPECIFICATION = Path(__file__).parents[2] / "../shared/spec/instant-payment-api-v1.5.txt"


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not here")
def test_every_request_field_of_the_specification():
    """The table has each field of the pay, confirm and query requests with the type the specification prints."""
    text = SPECIFICATION.read_text(encoding="utf-8")
    first_mention = {name: text.find(f"\t{name}\t") for name in FIELDS}
    assert {name for name, found in first_mention.items() if found < 0} == {"risk_item"}  # api_version 1.1 adds it
    for name, position in first_mention.items():
        if position >= 0:
            printed = text[position:].split("\t")[3].replace(" ", "")
            assert printed == FIELDS[name].printed_type, name


GOOD = {
    "oid_partner": ["201304121000001004", "1"],
    "platform": ["jd.com", "x" * 32, "连连平台"],
    "api_version": ["1.0", "1.1"],
    "sign_type": ["RSA"],
    "no_order": ["2016081814226", "salary-2026_11", "A" * 32],
    "dt_order": ["20160804180812", "20240229235959"],
    "money_order": ["25.78", "0.01", "99999999.99"],
    "card_no": ["6228480223312311474", "12345", "0" * 32, "1001-2002-3003"],
    "acct_name": ["李三", "李", "A&B Trading Ltd", "买买提·艾力", "JOHN SMITH", "𠮷野", "李" * 85],
    "bank_name": ["中国农业银行"],
    "info_order": ["测试", "test测试10.00?", "x" * 255, "工" * 85, "50% _ (11)"],
    "flag_card": ["0", "1"],
    "notify_url": ["https://pay.example.com/n"],
    "memo": ["代付", "x" * 24, "代" * 24, "𠮷" * 12],
    "prcptcd": ["102331002021"],
    "bank_code": ["01020000"],
    "city_code": ["330100"],
    "brabank_name": ["中国工商银行杭州市文三路支行"],
    "risk_item": ['{"frms_ware_category":"1002","goods_name":"工资"}', "{}"],
    "confirm_code": ["542312", "a1B2c3"],
    "oid_paybill": ["2016081847411984"],
}

BAD = {
    "oid_partner": ["2013041210000010041", "20130412a", "２０１３"],
    "platform": ["x" * 33, "a&b", "a=b", "连" * 11],
    "api_version": ["1.2", "1", "2.0"],
    "sign_type": ["MD5", "rsa", "SHA256withRSA"],
    "no_order": ["A" * 33, "a b", "单号", "a/b", "a.b", "a'b", "１"],
    "dt_order": [
        "20160230000000",
        "20161301000000",
        "20160101240000",
        "20160101000060",
        "2016080418081",
        "2016-08-04 18:08",
    ],
    "money_order": ["25.7", "25", "0.00", "100000000.00", "1e3", "025.00", "25.789", "+1.00", "１.00"],
    "card_no": [
        "6.22848E+18",
        "6,2E18",
        "6228480223312311474.0",
        "6228 4802",
        "1234",
        "0" * 33,
        "-12345",
        "6228x0223",
        "６２２８４８０２",
    ],
    "acct_name": ["a=b", "x&no_order=1", "李" * 86, "李\u3000三", "李\xa0三"],
    "bank_name": ["a&b", "行" * 86],
    "info_order": ["x" * 256, "工" * 86, "rent&no_order=1", "a=b", "a&b"],
    "flag_card": ["2", "00", "private!"],
    "notify_url": ["http://pay.example.com/n"],
    "memo": ["x" * 25, "代" * 25, "𠮷" * 13, "a&b"],
    "prcptcd": ["10233100202", "1023310020210", "10233100202x"],
    "bank_code": ["0102", "010200000", "ICBC"],
    "city_code": ["33010", "杭州"],
    "brabank_name": ["a=b", "行" * 86],
    "risk_item": ["text", "[]", '{"a":', '"a"', '{"a":"b&c"}', '{"a":"b=c"}', '{"a":"' + "x" * 2048 + '"}', "[" * 2000],
    "confirm_code": ["1234567", "12 34", "12-34"],
    "oid_paybill": ["1" * 19, "a-b"],
}


def cases(table: dict[str, list[str]]) -> list[object]:
    return [
        pytest.param(name, value, id=f"{name}-{n}") for name, values in table.items() for n, value in enumerate(values)
    ]


def test_every_field_is_tried():
    """No field of the table is without good and bad samples."""
    assert set(GOOD) == set(BAD) == set(FIELDS)


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_good_value(name: str, value: str):
    """It may travel."""
    assert field_fault(name, value) is None


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_bad_value(name: str, value: str):
    """It is refused by name and section, without being repeated."""
    with pytest.raises(InvalidOrder) as refused:
        check_field(name, value)
    assert refused.value.field == name
    assert refused.value.section == "3.1"
    assert refused.value.remedy
    assert len(value) < 8 or value not in str(refused.value)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is missing"),
        (12, "is of type int"),
        (1.5, "is of type float"),
        (True, "is of type bool"),
        (b"x", "is of type bytes"),
        (Decimal("1.00"), "is of type Decimal"),
        ("", "is empty"),
        ("null", "is the word null"),
        ("NULL", "is the word null"),
        ("Null", "is the word null"),
        (" x", "begins or ends with a blank"),
        ("x ", "begins or ends with a blank"),
        ("x\u3000", "begins or ends with a blank"),
        ("x\n", "begins or ends with a blank"),
        ("李\x00三", "U+0000 at position 2"),
        ("a\tb", "U+0009 at position 2"),
        ("a\nb", "U+000A at position 2"),
        ("a\x85b", "U+0085 at position 2"),
        ("a\u202eb", "U+202E at position 2"),
        ("a\u2066b", "U+2066 at position 2"),
        ("a\u200bb", "U+200B at position 2"),
        ("a\u200db", "U+200D at position 2"),
        ("\ufeffb", "U+FEFF at position 1"),
        ("a\xadb", "U+00AD at position 2"),
        ("a\u2028b", "U+2028 at position 2"),
        ("李\ufe0f", "U+FE0F at position 2"),
        ("李\U000e0100", "U+E0100 at position 2"),
        ("a\u3164b", "U+3164 at position 2"),
        ("a\ud800", "U+D800 at position 2"),
        ("e\u0301", "is not in Unicode's normal form NFC"),
        ("\uf900", "is not in Unicode's normal form NFC"),
    ],
)
def test_what_no_field_takes(name: str, value: object, problem: str):
    """Wrong types, the word null, edge blanks, and what cannot be seen are refused everywhere."""
    with pytest.raises(InvalidOrder) as refused:
        check_field(name, value, "3.2")
    assert problem in refused.value.problem
    assert "(specification 3.2)" in str(refused.value)


def test_card_number_that_a_spreadsheet_destroyed():
    """The sentence says what happened and what to do."""
    with pytest.raises(InvalidOrder) as refused:
        check_field("card_no", "6.22848E+18")
    assert str(refused.value) == (
        "card_no: is in scientific notation: a spreadsheet has thrown its last digits away; "
        "format the column as text and enter the number again from its source (specification 3.1)"
    )


@pytest.mark.parametrize(
    ("card_no", "rounded"),
    [
        ("6228480223312310000", True),
        ("6228480223312310", True),
        ("6228480223312311474", False),
        ("6228480223312310001", False),
        ("622848022331230", False),
        ("622848022331231x000", False),
        ("", False),
    ],
)
def test_card_number_that_a_spreadsheet_may_have_rounded(card_no: str, rounded: bool):
    """Zeros only after the fifteenth digit are suspicious."""
    assert looks_rounded(card_no) is rounded


class TestMoney:
    @pytest.mark.parametrize(
        ("value", "amount"),
        [
            ("25.78", "25.78"),
            ("25.7", "25.70"),
            ("25", "25.00"),
            ("0.01", "0.01"),
            ("99999999.99", "99999999.99"),
            (Decimal("200.1"), "200.10"),
            (Decimal(5), "5.00"),
        ],
    )
    def test_amount(self, value: object, amount: str):
        """It comes out with exactly two places."""
        parsed = parse_money(value)
        assert str(parsed) == wire_money(parsed) == amount

    @pytest.mark.parametrize(
        "value",
        [
            *(25.78, 25, True, None, b"25", [], complex(1)),
            *(
                "",
                " 25",
                "25 ",
                "+25",
                "-25",
                "-0.01",
                "0",
                "0.0",
                "0.00",
                "00.01",
                "025",
                ".5",
                "25.",
                "25.780",
                "0.001",
            ),
            *("1,000.00", "1_000", "1e3", "1E+3", "NaN", "Infinity", "２５", "25．00", "٢٥", "0x10", "25.78元", "25\n"),
            *("100000000", "100000000.00", "99999999.999", "9" * 400),
            *map(Decimal, ("NaN", "sNaN", "Infinity", "-1", "-0", "0", "1E+3", "25.780", "0.001", "100000000", "1e-7")),
        ],
        ids=repr,
    )
    def test_what_is_no_amount(self, value: object):
        """It is refused under the name it was given for, and not repeated."""
        with pytest.raises(InvalidOrder) as refused:
            parse_money(value, field="amount")
        assert refused.value.field == "amount"
        assert len(str(value)) < 8 or str(value) not in str(refused.value)

    @given(st.decimals("0.01", "99999999.99", places=2))
    def test_round_trip(self, amount: Decimal):
        """Every amount of the range travels and comes back the same, in whatever spelling."""
        assert parse_money(wire_money(amount)) == amount
        assert parse_money(f"{amount:f}").as_tuple().exponent == -2

    @given(st.floats())
    def test_floats(self, value: float):
        """No float is ever taken."""
        with pytest.raises(InvalidOrder, match="of type float"):
            parse_money(value)

    @given(st.text(max_size=12))
    def test_any_text(self, text: str):
        """Any text is an amount in the range with two places, or refused."""
        try:
            amount = parse_money(text)
        except InvalidOrder:
            return
        assert Decimal("0.01") <= amount <= Decimal("99999999.99")
        assert amount.as_tuple().exponent == -2

    def test_callers_decimal_context(self):
        """A context with little precision changes no amount."""
        with decimal.localcontext(prec=3, rounding=decimal.ROUND_UP):
            assert str(parse_money("12345678.91")) == wire_money(Decimal("12345678.91")) == "12345678.91"


class TestShowing:
    @pytest.mark.parametrize(
        ("card_no", "shown"),
        [
            ("6228480223312311474", "622848*********1474"),
            ("62284802233123", "622848****3123"),
            ("6228480223312", "*************"),
            ("123", "***"),
            ("", ""),
            ("6228480223312\u202e311474", "********************"),
            ("x" * 100, "*" * 32),
        ],
    )
    def test_card_number(self, card_no: str, shown: str):
        """First six and last four, and nothing of what is short or no number."""
        assert mask_card(card_no) == shown

    @given(st.text(st.sampled_from("0123456789-"), max_size=40))
    def test_card_number_never_shows_its_middle(self, card_no: str):
        """At most ten characters show, and at least four are hidden."""
        shown = mask_card(card_no)
        assert shown[6:-4].strip("*") == ""
        assert shown.count("*") >= min(4, len(card_no))

    @pytest.mark.parametrize(
        ("name", "shown"),
        [("李三", "李*"), ("李", "李"), ("", ""), ("某某某科技发展有限公司", "某********"), ("\u202ex", "\\u202e*")],
    )
    def test_name(self, name: str, shown: str):
        """Its first character, and at most eight stars."""
        assert mask_name(name) == shown

    @given(st.text(min_size=2, max_size=30))
    def test_name_never_shows_its_rest(self, name: str):
        """Only stars follow the first character."""
        assert set(mask_name(name)[-min(len(name) - 1, 8) :]) == {"*"}

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("交易成功", "交易成功"),
            ("a\r\nFORGED LINE", "a\\r\\nFORGED LINE"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("abc\u202edef", "abc\\u202edef"),
            ("a\u200bb\u3164", "a\\u200bb\\u3164"),
            ("\ud800", "\\ud800"),
            ("x" * 200, "x" * 200),
            ("x" * 201, "x" * 199 + "…"),
            ("\x00" * 100, ("\\x00" * 50)[:199] + "…"),
        ],
    )
    def test_text_for_a_log(self, text: str, shown: str):
        """What cannot be seen is escaped, what is long is cut."""
        assert safe_text(text) == shown

    @given(st.text(max_size=300), st.integers(1, 250))
    def test_any_text_for_a_log(self, text: str, limit: int):
        """It is one printable line within the limit."""
        shown = safe_text(text, limit)
        assert len(shown) <= limit
        assert shown.isprintable()
        json.dumps(shown).encode()


def test_dates():
    """Only days and moments that exist, in ASCII digits."""
    assert is_date("20240229")
    assert not is_date("20230229")
    assert not is_date("2024022")
    assert not is_date("２０２４０２２９")
    assert is_date_time("20240229235959")
    assert not is_date_time("20240229235960")
    assert not is_date_time("00000101000000")
