"""5.2 by enumeration: of all messages that one genuine signature is good for, the one that LianLian meant is accepted.

Exhaustive for messages of realistic size: every kind with all of its members, 9 to 12 of them, in up to 46,368
readings; the attack itself, 16 pieces long, with names as they may be (32,768 readings); and, whatever a message
is, every string of up to seven signs out of a border, an equals sign, a letter and a Chinese character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from fuzz.doors import BILL, CONTENT, GENUINE, NO_ORDER, OID_PARTNER, PEN, READERS, RING
from fuzz.pen import encoded, joined
from fuzz.resplit import readings
from lianlian_async import NotificationRefused, codec
from lianlian_async.crypto import signing
from lianlian_async.crypto.signing import string_to_sign, verify_members
from lianlian_async.errors import MessageRejected
from lianlian_async.protocol import answers

READINGS = {"notification": 2_584, "pay": 377, "confirm": 144, "query": 46_368}
# What may stand in a text of ours or of the bank's, and what it makes of one member: more signs to cut at.
ODD_TEXTS = ["a=b", "a&b", "a& b=c", "k=v=w", "测试&", "测&试=", "=", "&", "&&", "&=", "a&=b", "&中=文"]


def read(kind: str, body: bytes) -> Any:
    """What the real code makes of it; None when it is refused with the one declared error."""
    try:
        return READERS[kind](body)
    except (MessageRejected, NotificationRefused):
        return None


def accepted(kind: str, honest: Mapping[str, str], *, odd_names: bool = True) -> list[dict[str, str]]:
    """All readings of the string that LianLian signed for `honest` that the real code takes for a message of hers."""
    sign = PEN.sign(joined(honest))
    return [
        members
        for members in readings(joined(honest), odd_names=odd_names)
        if read(kind, encoded({**members, "sign": sign})) is not None
    ]


def attack(kind: str) -> dict[str, str]:
    """An honest message about a small payout of the attacker's own, whose text carries the victim's refund."""
    text = (
        f"x&money_order={CONTENT['money_order']}&no_order={NO_ORDER}&oid_partner={OID_PARTNER}"
        f"&oid_paybill={BILL}&result_pay=CANCEL&s="
    )
    small = {"no_order": "attacker1", "money_order": "0.01", "oid_paybill": "2026112300000009", "info_order": text}
    return {name: value for name, value in {**GENUINE[kind], **small}.items() if name != "memo"}


@pytest.mark.parametrize("kind", GENUINE)
def test_of_all_readings_of_a_genuine_message_only_the_one_that_was_meant_is_accepted(kind: str) -> None:
    """Every border moved, every member swallowed by a value or by a name, and all of it together."""
    honest = GENUINE[kind]
    assert sum(1 for _ in readings(joined(honest))) == READINGS[kind]
    assert accepted(kind, honest) == [honest]


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("kind", ["notification", "query"])
def test_odd_texts_open_no_other_reading(kind: str, text: str) -> None:
    """A text may hold borders and equals signs, as long as it cannot be taken for members."""
    honest = {name: value for name, value in GENUINE[kind].items() if name not in ("memo", "settle_date", "ret_msg")}
    honest["info_order"] = text
    looks_like_members = re.search(r"&\w+=", text) is not None  # never sent by us, so it is refused as a whole
    assert accepted(kind, honest) == ([] if looks_like_members else [honest])


@pytest.mark.parametrize("kind", ["notification", "query"])
def test_the_attack(kind: str) -> None:
    """Not one of the 32,768 is accepted: not the victim's refund, and not the honest message that it was made from."""
    honest = attack(kind)
    others = [m for m in readings(joined(honest), odd_names=False) if m.get("no_order") == NO_ORDER]
    assert any(m.get("result_pay") == "CANCEL" and m["money_order"] == CONTENT["money_order"] for m in others)
    sign = PEN.sign(joined(honest))
    RING.verify(string_to_sign(others[0]), sign)  # to the letter of 4.2 each of them is signed
    assert accepted(kind, honest, odd_names=False) == []


@pytest.mark.parametrize("value", [None, "", "x", 0, False, [], {}])
@pytest.mark.parametrize("kind", GENUINE)
def test_added_members(kind: str, value: object) -> None:
    """What is signed for cannot be added to; an empty member is not signed, and says nothing."""
    names = sorted({name for message in GENUINE.values() for name in message} - GENUINE[kind].keys())
    honest = {**GENUINE[kind], "sign": PEN.sign(joined(GENUINE[kind]))}
    meant = read(kind, encoded(honest))
    assert meant is not None
    for name in [*names, "s", "Sign", "SIGN", "sign ", "", "&", "a=b", "&result_pay", "result_pay=FAILURE&s"]:
        found = read(kind, encoded({**honest, name: value}))
        plain = re.fullmatch(r"\w+", name)
        assert found == (meant if value in (None, "") and value is not False and plain else None), name


@pytest.mark.parametrize("kind", GENUINE)
def test_a_member_that_is_written_twice(kind: str) -> None:
    """The first, the last, or both: whoever reads one of them may read another than the one that was signed."""
    body = encoded({**GENUINE[kind], "sign": PEN.sign(joined(GENUINE[kind]))})
    for name in (*GENUINE[kind], "sign"):
        for value in (b'"x"', b"null", b'""'):
            again = b'"%s":%s' % (name.encode(), value)
            assert read(kind, b"{" + again + b"," + body[1:]) is None
            assert read(kind, body[:-1] + b"," + again + b"}") is None


class Believing:
    """A key that finds every signature good."""

    def verify(self, text: bytes, sign: str) -> None:
        pass


def plain(members: Mapping[str, str]) -> bool:
    try:
        verify_members({**members, "sign_type": "RSA", "sign": "x"}, Believing())  # type: ignore[arg-type]
    except MessageRejected:
        return False
    return True


def strings(length: int) -> Iterator[str]:
    return ("".join(signs) for signs in product("a=&中", repeat=length))


def test_no_string_has_two_plain_readings() -> None:
    """All strings of up to seven signs (21,844): not even LianLian herself could sign two messages at once."""
    total = alive = 0
    for length in range(1, 8):
        for text in strings(length):
            found = [members for members in readings(text) if plain(members)]
            assert len(found) <= 1, (text, found)
            total += 1
            alive += len(found)
    assert total == 21_844
    assert alive > 1_000


# ---------------------------------------------------------------------- each defence is what keeps it out

_NEVER = re.compile("(?!)")
_ALWAYS = re.compile("(?s).*")


def test_without_the_plainness_of_names_and_values_the_attack_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then an unknown member swallows the rest, and the victim's refund is signed."""
    monkeypatch.setattr(signing, "_is_plain", lambda name, value: True)
    forged = accepted("notification", attack("notification"), odd_names=False)
    assert any(m["no_order"] == NO_ORDER and m["result_pay"] == "CANCEL" and "s" in m for m in forged)


def test_without_the_plainness_of_names_a_text_can_be_made_to_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    """`info_order=a` as a name is nobody's member: the text that was bound to the order is gone."""
    monkeypatch.setattr(signing, "_NAME", _ALWAYS)
    forged = accepted("query", {**GENUINE["query"], "info_order": "a=b"})
    assert any("info_order" not in members for members in forged)


def test_without_the_plainness_of_values_a_text_swallows_the_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known members are looked at once more where they are given a type; with both looks gone, amounts vanish."""
    honest = GENUINE["query"]
    monkeypatch.setattr(signing, "_BEGINS_A_MEMBER", _NEVER)
    monkeypatch.setattr(signing, "_is_plain", lambda name, value: signing._NAME.fullmatch(name) is not None)
    assert accepted("query", honest) == [honest]
    monkeypatch.setattr(answers, "_LOOKS_LIKE_A_MEMBER", _NEVER)
    forged = accepted("query", honest)
    assert any("money_order" not in members for members in forged)


def test_without_the_refusal_of_repeated_members_there_are_two_words_for_one_thing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unsigned word before the signed one: whoever reads the first of two would take it for LianLian's."""
    body = encoded({**GENUINE["query"], "sign": PEN.sign(joined(GENUINE["query"]))})
    twice = b'{"result_pay":"FAILURE",' + body[1:]
    assert read("query", twice) is None
    lenient = json.JSONDecoder(parse_float=codec._Lexeme, parse_int=codec._Lexeme)
    monkeypatch.setattr(codec, "_decode_json", lenient.decode)
    assert read("query", twice) is not None
