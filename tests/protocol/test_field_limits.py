"""How long a field may be, in the specification's unit, and which amounts are amounts: judged by rules written down anew.

`test_fields.py` tries samples; here Hypothesis walks along the borders. The limits are read from the type that the
specification prints (`String(32)`), not from what the code enforces.
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lianlian_async.errors import InvalidOrder
from lianlian_async.protocol import FIELDS, Order, mask_card, mask_name, parse_money, wire_money
from lianlian_async.protocol.fields import field_fault

# Names and texts for which the specification prints no length: this library's own bound, in bytes.
OWN_BYTES_MAX = {"acct_name": 255, "bank_name": 255, "brabank_name": 255}
# `String(24)` of memo is the one that is counted in characters (docs/fields.md).
IN_CHARACTERS = {"memo"}
FREE_TEXT = ("platform", "info_order", "memo", "acct_name", "bank_name", "brabank_name")
# Of one to four bytes, visible, in NFC, and no part of `k=v&k=v`.
LETTERS = "aZ0é工资𠮷"
# What the fields that are no free text are made of.
ALPHABETS = {
    "oid_partner": "0123456789",
    "no_order": "azAZ09_-",
    "card_no": "0123456789",
    "confirm_code": "azAZ09",
    "oid_paybill": "azAZ09",
}
# Lengths that are exactly one.
EXACT = {"dt_order": 14, "prcptcd": 12, "bank_code": 8, "city_code": 6, "api_version": 3, "flag_card": 1}
CHOSEN = {"sign_type", "money_order", "risk_item", "notify_url"}


def printed(name: str) -> int | None:
    """The length in the type that the specification prints."""
    found = re.fullmatch(r"String\((\d+)\)", FIELDS[name].printed_type)
    return int(found[1]) if found else None


def length(name: str, value: str) -> int:
    """In the specification's unit: bytes of UTF-8, or characters as Java counts them."""
    return sum(2 if ord(char) > 0xFFFF else 1 for char in value) if name in IN_CHARACTERS else len(value.encode())


def test_every_field_has_its_border_here() -> None:
    """A new field must say where its border is."""
    assert {*FREE_TEXT, *ALPHABETS, *EXACT, *CHOSEN} == set(FIELDS)
    assert all(printed(name) or name in OWN_BYTES_MAX for name in (*FREE_TEXT, *ALPHABETS))


@given(name=st.sampled_from(FREE_TEXT), short_of=st.integers(-3, 6), data=st.data())
def test_free_text_is_taken_up_to_its_limit_and_no_further(name: str, short_of: int, data: st.DataObject) -> None:
    """Whatever the letters are: as many as fit are taken, and one unit more is refused, by its length."""
    limit = printed(name) or OWN_BYTES_MAX[name]
    text = data.draw(st.text(LETTERS, max_size=limit))
    while length(name, text) > limit - short_of:
        text = text[:-1]
    text += "x" * (limit - short_of - length(name, text))
    fault = field_fault(name, text)
    assert (fault is None) == (length(name, text) <= limit)
    if fault is not None:
        assert f"has {length(name, text)} " in fault[0]
        assert fault[1] == f"shorten it to {limit}"


@given(name=st.sampled_from(sorted(ALPHABETS)), data=st.data())
def test_numbers_and_codes_are_taken_up_to_their_limit(name: str, data: st.DataObject) -> None:
    """As long as printed and no longer, of their own letters only."""
    limit = printed(name)
    assert limit is not None
    least = 5 if name == "card_no" else 1
    text = data.draw(st.text(ALPHABETS[name], min_size=1, max_size=limit + 3))
    assert (field_fault(name, text) is None) == (least <= len(text) <= limit)
    place = data.draw(st.integers(0, min(len(text), limit) - 1))
    stranger = data.draw(st.sampled_from("&= /.'\"é工０ａ𠮷\u202e"))
    spoilt = text[:place] + stranger + text[place + 1 :]
    assert field_fault(name, spoilt) is not None


@given(name=st.sampled_from(sorted(EXACT)), digits=st.text("0123456789", min_size=1, max_size=20))
def test_fields_of_one_length_take_no_other(name: str, digits: str) -> None:
    """Twelve digits are twelve digits."""
    if len(digits) != EXACT[name]:
        assert field_fault(name, digits) is not None


@given(more=st.integers(-20, 20))
def test_notify_url_is_taken_up_to_its_limit(more: int) -> None:
    """64 characters, which are ASCII."""
    limit = printed("notify_url")
    assert limit is not None
    url = "https://pay.example.com/".ljust(limit + more, "n")
    assert (field_fault("notify_url", url) is None) == (more <= 0)


@given(
    name=st.sampled_from(("platform", "info_order", "memo", "bank_name", "brabank_name")),
    text=st.text(LETTERS + "&=", min_size=1, max_size=12),
    times=st.integers(1, 30),
)
def test_order_refuses_what_its_field_refuses(name: str, text: str, times: int) -> None:
    """The border of a field is the border of an order, and what separates members is refused on either side of it."""
    value = text * times
    told = field_fault(name, value)
    assert told is not None or not set(value) & set("&=")
    fields = {"money_order": "1.00", "card_no": "6228480223312311474", "acct_name": "李三", name: value}
    if told is None:
        assert Order(**fields).members()[name] == value
        return
    with pytest.raises(InvalidOrder) as refused:
        Order(**fields)
    assert refused.value.field == name


# --- money

# Written down anew: one to eight digits without a needless zero, then up to two decimals; not zero.
_PLAIN = re.compile(r"(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?", re.ASCII)
_MONEYISH = st.text("0019..,+-eE ０٣_NaNxInf", max_size=13) | st.from_regex(
    r"-?[0-9]{1,10}(\.[0-9]{0,4})?", fullmatch=True
)


def is_amount(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and Decimal("0.01") <= Decimal(text) <= Decimal("99999999.99")


@given(_MONEYISH)
def test_text_is_an_amount_exactly_when_it_is_plain(text: str) -> None:
    """No sign, no exponent, no blank, no other digits, no third decimal, nothing beyond the range; and all the rest."""
    try:
        amount = parse_money(text)
    except InvalidOrder:
        assert not is_amount(text)
    else:
        assert is_amount(text)
        assert amount == Decimal(text)
        assert wire_money(amount) == f"{Decimal(text):.2f}"


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.decimals("-1", "100000001", places=3))
def test_decimal_is_an_amount_exactly_when_its_text_is(value: Decimal) -> None:
    """A Decimal is read as it is written: what has a third decimal, an exponent or a sign is refused, and never rounded."""
    try:
        amount = parse_money(value)
    except InvalidOrder:
        assert not is_amount(str(value))
    else:
        assert is_amount(str(value))
        assert amount == value


# --- masks


@given(st.text("0123456789-", max_size=40) | st.text(max_size=40))
def test_mask_of_an_account_shows_six_and_four_of_a_long_one_and_nothing_of_a_short_one(card_no: str) -> None:
    """No other characters than the first six and the last four ever show, and of what is shorter than 14 none does."""
    shown = mask_card(card_no)
    if len(card_no) < 14 or set(shown) <= {"*"}:
        assert set(shown) <= {"*"}
        return
    assert len(shown) == len(card_no)
    assert shown == card_no[:6] + "*" * (len(card_no) - 10) + card_no[-4:]


@given(
    first=st.text("李A", min_size=1, max_size=1),
    rest=st.lists(st.text("张三B", min_size=1, max_size=20), min_size=2, max_size=2),
)
def test_mask_of_a_name_tells_nothing_but_its_first_character(first: str, rest: list[str]) -> None:
    """Two names that begin alike, and are as long or both long, look alike."""
    shown = [mask_name(first + more) for more in rest]
    assert all(mask[:1] == first and set(mask[1:]) == {"*"} for mask in shown)
    assert len(shown[0]) == min(1 + len(rest[0]), 9)


@pytest.mark.parametrize("name", ["card_no", "acct_name"])
@given(digits=st.text("0123456789", min_size=8, max_size=32), person=st.text("张三李四BC", min_size=2, max_size=40))
def test_order_never_shows_what_its_masks_hide(name: str, digits: str, person: str) -> None:
    """Neither the whole number nor the whole name is in an order's repr, however short they are."""
    order = Order(money_order="1.00", card_no=digits, acct_name=person)
    assert {"card_no": digits, "acct_name": person}[name] not in repr(order)
