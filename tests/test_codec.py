"""Bodies in and out (specification 3 and 4; safety of parsing)."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import assume, given
from hypothesis import strategies as st

from lianlian_async.codec import BODY_BYTES_MAX, encode_query, encode_sealed, open_message, parse_object
from lianlian_async.crypto import KeyRing, open_envelope, sign_members, verify_members
from lianlian_async.errors import InvalidOrder, MessageRejected, Rejection
from lianlian_async.protocol import Order, confirm_members, freeze, query_members

OID = "201304121000001004"
URL = "https://pay.example.com/lianlian"


@pytest.fixture(scope="module")
def gateway() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="module")
def merchant() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="module")
def ring(merchant: rsa.RSAPrivateKey, gateway: rsa.RSAPrivateKey) -> KeyRing:
    return KeyRing(merchant, gateway.public_key())


@pytest.fixture(scope="module")
def gateway_ring(merchant: rsa.RSAPrivateKey, gateway: rsa.RSAPrivateKey) -> KeyRing:
    return KeyRing(gateway, merchant.public_key())


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (b"{}", {}),
        (b'\xef\xbb\xbf{"a":"b"}', {"a": "b"}),
        (b' {"a" : "b"}\r\n', {"a": "b"}),
        (b'{"a":null,"b":""}', {"a": None, "b": ""}),
        (b'{"a":200.10,"b":-0,"c":1e400}', {"a": "200.10", "b": "-0", "c": "1e400"}),
        (b'{"a":123456789012345678901234567890}', {"a": "123456789012345678901234567890"}),
        (b'{"a":true,"b":false}', {"a": "true", "b": "false"}),
        (b'{"a":{ "b" : [1.50, "x", null, true, {}] }}', {"a": '{"b":[1.50,"x",null,true,{}]}'}),
        ('{"名":"李三"}'.encode(), {"名": "李三"}),
        (b'{"a":"\\u674e\\ud83d\\ude00"}', {"a": "李😀"}),
        (b'{"a":{"\\"":"\\n\xe6\x9d\x8e"}}', {"a": '{"\\"":"\\n李"}'}),
        (b'{"a":{"b":{"c":[]}}}', {"a": '{"b":{"c":[]}}'}),
        (b'{"a":{"b":{"c":[1,"x"]}}}', {"a": '{"b":{"c":[1,"x"]}}'}),  # text and numbers do not count as a level
        (b'{"a":{"b":"x","c":2}}', {"a": '{"b":"x","c":2}'}),
    ],
)
def test_readable_body(body: bytes, members: dict[str, str | None]):
    """Text stays text, null is None, and all else is kept as it was written."""
    assert parse_object(body) == members


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        ('{"a":"李"}'.encode("gbk"), "not JSON"),
        (b"<html>502</html>", "not JSON"),
        (b'{"a":"b"', "not JSON"),
        (b'{"a":"b"}{}', "not JSON"),
        (b'{"a":"line\nbreak"}', "not JSON"),
        (b"{'a':'b'}", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":"1","a":"1"}', "appears twice"),
        (b'{"a":{"b":1,"b":2}}', "appears twice"),
        (b'{"a":"1","\\u0061":"2"}', "appears twice"),
        (b'{"a":"\\ud800"}', "half a character"),
        (b'{"\\udc00":"a"}', "half a character"),
        (b'{"a":["\\ud800"]}', "half a character"),
        (b'{"a":{"b":{"c":{"d":{}}}}}', "deeper than 4"),
        (b'{"a":[[[[]]]]}', "deeper than 4"),
        (b'{"a":' + b"[" * 65_000, "not JSON"),
        (b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "deeper than 4|not JSON"),
        (b" " * BODY_BYTES_MAX + b"{}", "longer than 65536"),
    ],
)
def test_unreadable_body(body: bytes, why: str):
    """It is rejected with its reason, and the reason never repeats the body."""
    with pytest.raises(MessageRejected, match=why) as rejected:
        parse_object(body)
    assert rejected.value.reason is Rejection.UNREADABLE
    assert rejected.value.__context__ is None


def test_body_of_exactly_the_limit():
    """The limit itself is allowed."""
    body = b'{"a":"' + b"x" * (BODY_BYTES_MAX - 8) + b'"}'
    assert len(body) == BODY_BYTES_MAX
    assert set(parse_object(body)) == {"a"}


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes):
    """Any bytes give members or the one declared error."""
    try:
        members = parse_object(body)
    except MessageRejected:
        return
    assert all(isinstance(name, str) for name in members)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_nested_values_keep_their_meaning(value: dict[str, object]):
    """The text of a nested value is the JSON it stood for."""
    try:
        members = parse_object(json.dumps(value, ensure_ascii=False).encode())
    except MessageRejected:
        assume(False)  # nested too deep
    for name, member in value.items():
        text = members[name]
        assert text == member if member is None or isinstance(member, str) else json.loads(str(text)) == member


def test_genuine_answer_with_a_number(ring: KeyRing, gateway_ring: KeyRing):
    """The signature is checked over the number as written, and the members come back whole."""
    members = {"money_order": "200.10", "new_member": "1", "sign_type": "RSA"}
    sign = sign_members(members, gateway_ring)["sign"]
    body = f'{{"money_order":200.10,"new_member":1,"gone":null,"sign_type":"RSA","sign":"{sign}"}}'
    assert open_message(body.encode(), ring) == {**members, "gone": None, "sign": sign}


def test_answer_with_another_number(ring: KeyRing, gateway_ring: KeyRing):
    """The same amount in another spelling is not what was signed."""
    sign = sign_members({"money_order": "200.10", "sign_type": "RSA"}, gateway_ring)["sign"]
    with pytest.raises(MessageRejected, match="bad signature"):
        open_message(f'{{"money_order":200.1,"sign_type":"RSA","sign":"{sign}"}}'.encode(), ring)


def order() -> Order:
    return Order(money_order="25.78", card_no="6228480223312311474", acct_name="李三", memo="工资")


def frozen() -> dict[str, str]:
    return freeze(order(), oid_partner=OID, no_order="A-1", dt_order="20261101093000", notify_url=URL)


def test_pay_request(ring: KeyRing, gateway: rsa.RSAPrivateKey, gateway_ring: KeyRing):
    """Two members travel; inside lies the content with its signature, as compact JSON in UTF-8."""
    content = frozen()
    body = json.loads(encode_sealed(content, ring))
    assert set(body) == {"oid_partner", "pay_load"}
    assert body["oid_partner"] == OID
    plaintext = open_envelope(body["pay_load"], gateway)
    inside = parse_object(plaintext)
    verify_members(inside, gateway_ring)
    assert inside == {**content, "sign": inside["sign"]}
    assert plaintext == json.dumps(inside, ensure_ascii=False, separators=(",", ":")).encode()


def test_pay_request_sent_again(ring: KeyRing, gateway: rsa.RSAPrivateKey):
    """The envelope is new, the signed content inside is the same to the byte."""
    first, second = (json.loads(encode_sealed(frozen(), ring))["pay_load"] for _ in range(2))
    assert first != second
    assert open_envelope(first, gateway) == open_envelope(second, gateway)


def test_pay_request_shows_no_plaintext(ring: KeyRing):
    """Neither card number nor name can be seen in the body."""
    body = encode_sealed(frozen(), ring)
    assert b"6228480223312311474" not in body
    assert "李三".encode() not in body


def test_confirm_request(ring: KeyRing, gateway: rsa.RSAPrivateKey):
    """It is signed and sealed like a payment."""
    members = confirm_members(oid_partner=OID, no_order="A-1", confirm_code="542312", notify_url=URL)
    body = json.loads(encode_sealed(members, ring, entropy=lambda count: bytes(count)))
    assert parse_object(open_envelope(body["pay_load"], gateway))["confirm_code"] == "542312"


def test_query_request(ring: KeyRing, gateway_ring: KeyRing):
    """It travels signed, in plain JSON."""
    members = query_members(oid_partner=OID, no_order="A-1")
    parsed = parse_object(encode_query(members, ring))
    verify_members(parsed, gateway_ring)
    assert parsed == {**members, "sign": parsed["sign"]}


def test_content_without_sign_type(ring: KeyRing):
    """Content that was not made by `freeze` is refused before anything is sealed."""
    with pytest.raises(InvalidOrder, match="sign_type"):
        encode_sealed({"oid_partner": OID}, ring)
