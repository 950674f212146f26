"""Requests as a whole: orders, what fields owe to each other, and what is frozen (specification 3)."""

from __future__ import annotations

import pickle
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lianlian_async.errors import InvalidOrder
from lianlian_async.protocol import Order, confirm_members, content_hash, freeze, query_members

OID = "201304121000001004"
URL = "https://pay.example.com/lianlian"
PERSONAL = {"money_order": "25.78", "card_no": "6228480223312311474", "acct_name": "李三"}
CORPORATE = {**PERSONAL, "flag_card": "1", "bank_code": "01020000", "card_no": "1202-0203-1990"}
FREE_AT_ANY_AMOUNT, FREE_UP_TO_FIVE_MILLION, NEVER_FREE = "01020000", "03020000", "65012900"
PURPOSE = {"info_order": "工资", "memo": "工资"}


def frozen(order: Order, **changes) -> dict[str, str]:
    return freeze(
        order, **{"oid_partner": OID, "no_order": "A-1", "dt_order": "20261101093000", "notify_url": URL, **changes}
    )


class TestOrder:
    def test_smallest(self):
        """Amount, account and name are enough for a personal account."""
        order = Order(**PERSONAL)
        assert order.money_order == Decimal("25.78")
        assert order.members() == {**PERSONAL, "flag_card": "0"}

    def test_amount_comes_out_with_two_places(self):
        """Equal amounts in other spellings make equal orders."""
        assert Order(**{**PERSONAL, "money_order": Decimal("200.1")}) == Order(**{**PERSONAL, "money_order": "200.10"})

    @pytest.mark.parametrize("name", ["card_no", "acct_name", "flag_card"])
    @pytest.mark.parametrize("value", [None, ""])
    def test_required_field_is_missing(self, name: str, value: str | None):
        """It is named."""
        with pytest.raises(InvalidOrder, match=f"^{name}: is missing"):
            Order(**{**PERSONAL, name: value})

    @pytest.mark.parametrize("value", [0, False, 0.0])
    def test_required_field_of_another_type(self, value: object):
        """What is there is not missing: its type is what is wrong."""
        with pytest.raises(InvalidOrder, match=f"^flag_card: is of type {type(value).__name__}, not text"):
            Order(**{**PERSONAL, "flag_card": value})  # type: ignore[arg-type]

    def test_empty_optional_fields_are_absent(self):
        """An empty cell of a file and a field left out are the same."""
        names = ("info_order", "memo", "bank_name", "prcptcd", "bank_code", "city_code", "brabank_name")
        names += ("platform", "notify_url", "risk_item", "no_order", "dt_order")
        assert Order(**PERSONAL, **dict.fromkeys(names, "")) == Order(**PERSONAL)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("money_order", 25.78),
            ("card_no", 6228480223312311474),
            ("memo", "x" * 25),
            ("notify_url", "http://a.example/"),
        ],
    )
    def test_bad_field(self, name: str, value: object):
        """Each field is checked when the order is made."""
        with pytest.raises(InvalidOrder) as refused:
            Order(**{**PERSONAL, name: value})
        assert refused.value.field == name

    def test_nothing_personal_shows(self):
        """repr masks account and name, and leaves free text out."""
        order = Order(**PERSONAL, memo="给李三的工资", risk_item='{"user_info_full_name":"李三"}', no_order="A-1")
        assert repr(order) == (
            "Order(money_order=Decimal('25.78'), card_no=622848*********1474, acct_name=李*, flag_card='0', "
            "no_order='A-1', dt_order=None)"
        )

    def test_order_cannot_change(self):
        """It is a value."""
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            Order(**PERSONAL).memo = "x"  # type: ignore[misc]

    def test_error_survives_pickling(self):
        """A worker process can report it."""
        with pytest.raises(InvalidOrder) as refused:
            Order(**{**PERSONAL, "memo": "x" * 25})
        assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


class TestPurpose:
    @pytest.mark.parametrize("missing", ["info_order", "memo"])
    @pytest.mark.parametrize("money_order", ["50000.00", "50000.01", "99999999.99"])
    def test_large_order_without_purpose(self, missing: str, money_order: str):
        """From 50,000.00 on, itself included, both texts are required."""
        given_fields = {**PERSONAL, **PURPOSE, "money_order": money_order}
        del given_fields[missing]
        with pytest.raises(InvalidOrder, match=f"^{missing}: is missing from an order of 50000.00 or more"):
            Order(**given_fields)
        assert Order(**given_fields, **{missing: "工资"})

    def test_smaller_order_without_purpose(self):
        """One fen below, none is."""
        assert Order(**{**PERSONAL, "money_order": "49999.99"})


class TestAccounts:
    @pytest.mark.parametrize("card_no", ["1234567", "1202-0203-1990"])
    def test_corporate_number_as_a_personal_one(self, card_no: str):
        """It is refused, and the flag is mentioned."""
        with pytest.raises(InvalidOrder, match=r"card_no: .* for a corporate account set flag_card to 1"):
            Order(**{**PERSONAL, "card_no": card_no})

    def test_corporate_without_bank_code(self):
        """bank_code is required."""
        with pytest.raises(InvalidOrder, match=r"^bank_code: is missing"):
            Order(**{**PERSONAL, "flag_card": "1", "prcptcd": "102331002021"})

    @pytest.mark.parametrize(
        ("bank_code", "money_order", "free"),
        [
            (FREE_AT_ANY_AMOUNT, "0.01", True),
            (FREE_AT_ANY_AMOUNT, "99999999.99", True),
            (FREE_UP_TO_FIVE_MILLION, "4999999.99", True),
            (FREE_UP_TO_FIVE_MILLION, "5000000.00", True),
            (FREE_UP_TO_FIVE_MILLION, "5000000.01", False),
            (NEVER_FREE, "0.01", False),
            ("99999999", "0.01", False),
        ],
    )
    @pytest.mark.parametrize(
        ("branch", "complete"),
        [
            ({}, False),
            ({"city_code": "330100"}, False),
            ({"brabank_name": "文三路支行"}, False),
            ({"prcptcd": "102331002021"}, True),
            ({"city_code": "330100", "brabank_name": "文三路支行"}, True),
            ({"prcptcd": "102331002021", "city_code": "330100"}, True),
        ],
    )
    def test_branch_data(self, bank_code: str, money_order: str, free: bool, branch: dict[str, str], complete: bool):
        """prcptcd, or city and branch, unless the bank is free at that amount."""
        fields = {**CORPORATE, **PURPOSE, "bank_code": bank_code, "money_order": money_order, **branch}
        if free or complete:
            assert Order(**fields).bank_code == bank_code
            return
        with pytest.raises(InvalidOrder, match="give prcptcd, or city_code and brabank_name") as refused:
            Order(**fields)
        assert refused.value.field == "prcptcd"


class TestFreeze:
    def test_specification_sample(self):
        """The members of the specification's sample, in its order, and no others."""
        order = Order(**PERSONAL, bank_name="中国农业银行", info_order="测试")
        assert list(frozen(order, platform="jd.com").items()) == [
            ("oid_partner", OID),
            ("platform", "jd.com"),
            ("api_version", "1.0"),
            ("sign_type", "RSA"),
            ("no_order", "A-1"),
            ("dt_order", "20261101093000"),
            ("money_order", "25.78"),
            ("card_no", "6228480223312311474"),
            ("acct_name", "李三"),
            ("bank_name", "中国农业银行"),
            ("info_order", "测试"),
            ("flag_card", "0"),
            ("notify_url", URL),
        ]

    def test_what_the_order_says_wins(self):
        """Its own number, time, address and platform are used."""
        own = {
            "no_order": "B-2",
            "dt_order": "20261102000000",
            "notify_url": "https://other.example/",
            "platform": "own",
        }
        content = frozen(Order(**PERSONAL, **own), platform="jd.com")
        assert own.items() <= content.items()

    @pytest.mark.parametrize("name", ["oid_partner", "no_order", "dt_order", "notify_url"])
    @pytest.mark.parametrize("value", [None, ""])
    def test_argument_is_missing(self, name: str, value: str | None):
        """It is named."""
        with pytest.raises(InvalidOrder, match=f"^{name}: is missing"):
            frozen(Order(**PERSONAL), **{name: value})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("oid_partner", "x"),
            ("no_order", "a b"),
            ("dt_order", "20261301000000"),
            ("notify_url", "http://pay.example.com/"),
            ("platform", "a&b"),
            ("api_version", "2.0"),
        ],
    )
    def test_argument_is_bad(self, name: str, value: str):
        """Arguments pass the same checks as fields."""
        with pytest.raises(InvalidOrder) as refused:
            frozen(Order(**PERSONAL), **{name: value})
        assert refused.value.field == name

    @pytest.mark.parametrize("url", ["http://10.0.0.1/", 5])
    def test_http_allowed(self, url: object):
        """The flag lets plain http through, and nothing else."""
        assert frozen(Order(**PERSONAL), notify_url="http://shop.example/", allow_http=True)["notify_url"]
        with pytest.raises(InvalidOrder, match=r"^notify_url"):
            frozen(Order(**PERSONAL), notify_url=url, allow_http=True)

    def test_risk_item_makes_it_version_1_1(self):
        """The member and its version go together."""
        order = Order(**PERSONAL, risk_item='{"goods_name":"工资"}')
        assert frozen(order)["api_version"] == "1.1"
        assert frozen(Order(**PERSONAL), api_version="1.1")["api_version"] == "1.1"
        with pytest.raises(InvalidOrder, match=r"^api_version: is 1.0, which has no risk_item"):
            frozen(order, api_version="1.0")


class TestConfirmAndQuery:
    def test_confirm(self):
        """The members of specification 3.2."""
        members = confirm_members(
            oid_partner=OID, no_order="A-1", confirm_code="542312", notify_url=URL, platform="jd.com"
        )
        assert members == {
            "oid_partner": OID,
            "platform": "jd.com",
            "api_version": "1.0",
            "sign_type": "RSA",
            "no_order": "A-1",
            "notify_url": URL,
            "confirm_code": "542312",
        }

    def test_confirm_without_code(self):
        """There is nothing to confirm; the section is named."""
        with pytest.raises(InvalidOrder, match=r"^confirm_code: is missing.*\(specification 3.2\)"):
            confirm_members(oid_partner=OID, no_order="A-1", confirm_code="", notify_url=URL)

    def test_confirm_code_does_not_show(self):
        """A bad one is refused without being repeated."""
        with pytest.raises(InvalidOrder) as refused:
            confirm_members(oid_partner=OID, no_order="A-1", confirm_code="54231x2", notify_url=URL)
        assert "54231x2" not in str(refused.value)

    @pytest.mark.parametrize(
        "numbers", [{"no_order": "A-1"}, {"oid_paybill": "2016"}, {"no_order": "A-1", "oid_paybill": "2016"}]
    )
    def test_query(self, numbers: dict[str, str]):
        """Either number suffices; the version stays 1.0."""
        fixed = {"oid_partner": OID, "api_version": "1.0", "sign_type": "RSA"}
        assert query_members(oid_partner=OID, **numbers) == {**fixed, **numbers}

    def test_query_for_nothing(self):
        """One number is needed."""
        with pytest.raises(InvalidOrder, match=r"no_order: is missing, and so is oid_paybill.*\(specification 3.3\)"):
            query_members(oid_partner=OID)


class TestContentHash:
    def test_known_value(self):
        """It is SHA-256 over compact JSON in UTF-8 with sorted names; the value never changes."""
        known = "5ed7cda3c7aa0103e9b8c2deccd027e701392dc523be7964b423ec4ae145f3d7"
        assert content_hash({"b": "李", "a": "1"}) == content_hash({"a": "1", "b": "李"}) == known

    @given(st.dictionaries(st.text("abc", max_size=3), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)))
    def test_any_difference_shows(self, content: dict[str, str]):
        """Another value, member or name gives another hash; another order does not."""
        reordered = dict(sorted(content.items(), reverse=True))
        assert content_hash(reordered) == content_hash(content)
        assert content_hash({**content, "new": ""}) != content_hash(content)
