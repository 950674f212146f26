"""The bank lists of section 9, and newer ones of the vendor's."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from lianlian_async.errors import ConfigError
from lianlian_async.protocol import Bank, Banks, CorporateBank, load_banks

SHARED = Path(__file__).parents[2] / "../shared"
SPECIFICATION = SHARED / "spec/instant-payment-api-v1.5.txt"
VENDOR_LIST = SHARED / "banks/vendor-support-bank-list.json"
FIVE_MILLION = Decimal("5000000.00")


def test_both_lists():
    """183 personal banks; 26 corporate ones, of which ten are free at any amount and sixteen up to five million."""
    banks = load_banks()
    assert len(banks.personal) == 183
    limits = [bank.branch_free_up_to for bank in banks.corporate.values()]
    assert limits == [None] * 10 + [FIVE_MILLION] * 16
    assert all(code == bank.code for part in (banks.personal, banks.corporate) for code, bank in part.items())
    assert banks.corporate["03100000"] == CorporateBank("03100000", "上海浦东发展银行", "浦发银行", None)
    assert load_banks() is banks


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not here")
def test_lists_equal_the_specification():
    """Every row, code and name, in the specification's order."""
    text = SPECIFICATION.read_text(encoding="utf-8").rpartition("9.实时付款对私支持银行列表")[2]
    personal, _, corporate = text.partition("对公支持银行列表")
    banks = load_banks()
    rows = re.findall(r"^(\S+)\t([0-9]{8})$", personal, re.MULTILINE)
    assert [(bank.name, bank.code) for bank in banks.personal.values()] == rows
    rows = re.findall(r"^([0-9]{8})\t(\S+)\t(\S+)", corporate, re.MULTILINE)
    assert [(bank.code, bank.name, bank.short_name) for bank in banks.corporate.values()] == rows


@pytest.mark.parametrize(
    ("bank_code", "money_order", "free"),
    [
        ("01000000", "99999999.99", True),
        ("03160000", "5000000.00", True),
        ("03160000", "5000000.01", False),
        ("05083000", "5000000.01", False),
        ("65012900", "0.01", False),
        ("", "0.01", False),
    ],
)
def test_branch_data(bank_code: str, money_order: str, free: bool):
    """The limit is inclusive; a bank that is not listed is never free."""
    assert load_banks().is_branch_free(bank_code, Decimal(money_order)) is free


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("01020000", ["01020000"]),
        ("0103", ["01030000"]),
        ("浦发", ["03100000"]),
        (" 泰隆 ", ["04733450", "64733450"]),
        ("珠海华润", ["04375850"]),
        ("no such bank", []),
        ("", []),
        ("  ", []),
    ],
)
def test_search(text: str, codes: list[str]):
    """By the beginning of the code, or a part of the long or short name; each bank once."""
    assert [bank.code for bank in load_banks().search(text)] == codes


def vendor_list(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def row(code: str, name: str = "某银行", corporate: str = "支持", personal: str = "支持") -> dict[str, str]:
    return {"bank_code": code, "bank_name": name, "support_enterprise": corporate, "support_individul": personal}


def test_newer_list(tmp_path: Path):
    """Tiers stay for banks still listed; new corporate banks always need branch data."""
    rows = [
        row("01020000", "工行"),
        row("03160000"),
        row("99999900"),
        row("88888800", corporate="不支持"),
        row("7" * 8, personal="不支持"),
    ]
    banks = Banks.from_json(vendor_list(tmp_path / "banks.json", *rows))
    assert list(banks.personal) == ["01020000", "03160000", "99999900", "88888800"]
    assert list(banks.corporate) == ["01020000", "03160000", "99999900", "77777777"]
    assert banks.corporate["01020000"] == CorporateBank("01020000", "工行", "工商银行", None)
    assert banks.is_branch_free("03160000", FIVE_MILLION)
    assert not banks.is_branch_free("99999900", Decimal("0.01"))
    assert not banks.is_branch_free("01030000", Decimal("0.01"))  # no longer listed


@pytest.mark.skipif(not VENDOR_LIST.exists(), reason="the vendor's list is not here")
def test_vendors_newer_list():
    """413 codes, all personal, 411 corporate; every code of the specification is still there."""
    banks, specified = Banks.from_json(VENDOR_LIST), load_banks()
    assert (len(banks.personal), len(banks.corporate)) == (413, 411)
    assert specified.personal.keys() <= banks.personal.keys()
    assert specified.corporate.keys() <= banks.corporate.keys()
    assert sum(bank.is_branch_free(Decimal("0.01")) for bank in banks.corporate.values()) == 26
    assert banks.personal["99999900"] == Bank("99999900", "新网银行")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"a":1}', "[1]", '["text"]', "[{}]", json.dumps([row("0102")]), json.dumps([row(5)]),
     json.dumps([{**row("01020000"), "bank_name": None}]), json.dumps([row("01020000", personal="不支持")])],
)  # fmt: skip
def test_list_of_another_shape(tmp_path: Path, content: str):
    """The sentence says which shape is expected."""
    (tmp_path / "banks.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="does not have the vendor's shape"):
        Banks.from_json(tmp_path / "banks.json")


def test_list_that_is_not_there(tmp_path: Path):
    """The sentence names the file and the reason."""
    with pytest.raises(ConfigError, match=r"banks\.json cannot be read: No such file or directory"):
        Banks.from_json(tmp_path / "banks.json")
