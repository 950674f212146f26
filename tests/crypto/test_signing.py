"""The signed string and what a signature cannot vouch for (specification 4.2, re-split messages)."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lianlian_async.crypto import KeyRing, sign_members, string_to_sign, verify_members
from lianlian_async.errors import InvalidOrder, MessageRejected, Rejection

SETTLED = {
    "oid_partner": "201304121000001004",
    "no_order": "attacker-1",
    "dt_order": "20261101093000",
    "money_order": "5.00",
    "oid_paybill": "2026110100000001",
    "result_pay": "SUCCESS",
    "settle_date": "20261101",
    "sign_type": "RSA",
}


def test_specification_example():
    """The specification's own sample of section 4.2."""
    members = {
        "sign_type": "RSA",
        "oid_partner": "201606020000150062",
        "no_order": "2016081914229",
        "api_version": "1.0",
        "sign": "anything",
        "platform": "",
        "memo": None,
    }
    expected = b"api_version=1.0&no_order=2016081914229&oid_partner=201606020000150062&sign_type=RSA"
    assert string_to_sign(members) == expected


NAMES = st.from_regex("[a-z_]{1,12}", fullmatch=True)
VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, VALUES), st.randoms(use_true_random=False))
def test_order_of_members_does_not_matter(members: dict[str, str | None], random):
    """Any order of the same members signs the same bytes; `sign` and empty members add nothing."""
    shuffled = list(members.items())
    random.shuffle(shuffled)
    assert string_to_sign({**dict(shuffled), "sign": "x"}) == string_to_sign(members)
    full = {name: value for name, value in members.items() if value}
    assert string_to_sign(full) == string_to_sign(members)


@given(st.dictionaries(NAMES.filter(lambda name: name != "sign"), st.text("ab中 ", min_size=1), min_size=1))
def test_canonical_string_is_sorted_and_complete(members: dict[str, str]):
    """Every member is there once, in the order of the bytes of its whole name."""
    pairs = [pair.split("=", 1) for pair in string_to_sign(members).decode().split("&")]
    assert dict(pairs) == members
    assert [name for name, _ in pairs] == sorted(members, key=lambda name: name.encode())


def test_signature_survives_the_way(ring: KeyRing, gateway_ring: KeyRing):
    """What one side signs the other side accepts."""
    verify_members(sign_members(SETTLED, gateway_ring), ring)
    verify_members(sign_members({"acct_name": "李三", "sign_type": "RSA"}, ring), gateway_ring)


def test_number_among_the_members(ring: KeyRing):
    """It is refused: it could be signed as 0.3 and travel as 0.30000000000000004."""
    with pytest.raises(InvalidOrder, match=r"^money_order: is of type float, not text; .*\(specification 4\.2\)$"):
        sign_members({"sign_type": "RSA", "money_order": 0.1 + 0.2}, ring)  # type: ignore[dict-item]


@pytest.mark.parametrize("members", [{}, {"sign_type": "MD5"}])
def test_signing_as_another_type(ring: KeyRing, members: dict[str, str]):
    """Only RSA is signed."""
    with pytest.raises(InvalidOrder, match=r"^sign_type: is not RSA; use RSA \(specification 4\.2\)$"):
        sign_members(members, ring)


@pytest.mark.parametrize("change", [{"sign": None}, {"sign": ""}, {"sign_type": None}, {"sign_type": "MD5"}])
def test_unsigned_message(ring: KeyRing, gateway_ring: KeyRing, change: dict[str, str | None]):
    """Without `sign`, or under another `sign_type`, nothing is verified at all."""
    with pytest.raises(MessageRejected) as rejected:
        verify_members({**sign_members(SETTLED, gateway_ring), **change}, ring)
    assert rejected.value.reason is Rejection.UNSIGNED


@pytest.mark.parametrize("name", sorted(SETTLED.keys() - {"sign_type"}))
def test_any_member_changed_dropped_or_added(ring: KeyRing, gateway_ring: KeyRing, name: str):
    """Every member is covered."""
    genuine = sign_members(SETTLED, gateway_ring)
    changed = {**genuine, name: f"{genuine[name]}0"}
    dropped = {other: value for other, value in genuine.items() if other != name}
    for forged in (changed, dropped, {**dropped, f"{name}_": genuine[name]}):
        with pytest.raises(MessageRejected) as rejected:
            verify_members(forged, ring)
        assert rejected.value.reason is Rejection.BAD_SIGNATURE


@pytest.mark.parametrize(
    "forged",
    [
        {"info_order": "rent&no_order=victim"},
        {"info_order": "&a="},
        {"info_order&x": "1"},
        {"ret msg": "1"},
        {"信息": "1"},
        {"info_order": "line\nbreak"},
        {"info_order": "\x93\x10binary\x00"},
        {"info_order": "\x85"},
    ],
)
def test_signed_but_ambiguous(ring: KeyRing, gateway_ring: KeyRing, forged: dict[str, str]):
    """A genuine signature does not help text that could be cut otherwise, or that is not text."""
    with pytest.raises(MessageRejected) as rejected:
        verify_members(sign_members({**SETTLED, **forged}, gateway_ring), ring)
    assert rejected.value.reason is Rejection.UNREADABLE


def test_half_a_character_is_no_text(ring: KeyRing):
    """What cannot even be written as UTF-8 is unreadable, whatever its signature: no other error gets out."""
    with pytest.raises(MessageRejected) as rejected:
        verify_members({**SETTLED, "info_order": "rent \ud800", "sign": "eA=="}, ring)
    assert rejected.value.reason is Rejection.UNREADABLE


@pytest.mark.parametrize("text", ["A&B Ltd", "a=b", "工资 十一月", "tab-less & plain", "x&", "&", "=&"])
def test_signed_and_plain(ring: KeyRing, gateway_ring: KeyRing, text: str):
    """Single signs that cannot begin a member are let through; other rules decide about them."""
    verify_members(sign_members({**SETTLED, "info_order": text}, gateway_ring), ring)


def resplits(text: str) -> list[dict[str, str]]:
    """Every set of members whose signed string is `text`: at each "&", either a new member begins or not."""
    pieces = text.split("&")
    found = []
    for cuts in itertools.product((True, False), repeat=len(pieces) - 1):
        parts = [pieces[0]]
        for cut, piece in zip(cuts, pieces[1:], strict=True):
            if cut:
                parts.append(piece)
            else:
                parts[-1] += f"&{piece}"
        found += [dict(pairs) for pairs in itertools.product(*map(pairings, parts))]
    return [members for members in found if string_to_sign(members) == text.encode()]


def pairings(part: str) -> list[tuple[str, str]]:
    """Each "=" of a part may be the one between name and value."""
    return [(part[: at.start()], part[at.end() :]) for at in re.finditer("=", part)]


INJECTIONS = [
    "x&money_order=1.00&no_order=victim&oid_partner=1&oid_paybill=2&result_pay=CANCEL&s=",
    "x&no_order=victim",
    "x&no_order=victim&s",
    "x&s=y",
    "x&zz=1&zz=2",
]


@pytest.mark.parametrize("info_order", INJECTIONS)
def test_signature_of_a_message_that_holds_members(ring: KeyRing, gateway_ring: KeyRing, info_order: str):
    """An attacker who chose the text of his own order gets no reading accepted, his own included."""
    genuine = sign_members({**SETTLED, "info_order": info_order}, gateway_ring)
    readings = resplits(string_to_sign(genuine).decode())
    assert len(readings) > 100
    assert {name: value for name, value in genuine.items() if name != "sign"} in readings
    for reading in readings:
        with pytest.raises(MessageRejected):
            verify_members({**reading, "sign": genuine["sign"]}, ring)


@settings(max_examples=40, deadline=None)
@given(text=st.text("ab&= 中", min_size=1, max_size=8))
def test_only_one_reading_of_a_signed_string_is_accepted(ring: KeyRing, gateway_ring: KeyRing, text: str):
    """Whatever the text, at most one set of members is accepted under one signature."""
    genuine = sign_members({"dt_order": "1", "info_order": text, "sign_type": "RSA"}, gateway_ring)
    accepted = []
    for reading in resplits(string_to_sign(genuine).decode()):
        try:
            verify_members({**reading, "sign": genuine["sign"]}, ring)
        except MessageRejected:
            continue
        accepted.append(reading)
    assert len(accepted) <= 1
