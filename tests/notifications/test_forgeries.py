"""T1 to T5 and 5.2: what a forger can write, and that none of it is acknowledged, changes anything, or even reaches
the journal. All get the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, Keys
from cryptography.hazmat.primitives import hashes
from fuzz.pen import encoded, joined
from fuzz.resplit import readings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notify_world import BILL, Pen, bill_of, load, members_of, sent

from lianlian_async import KeyRing, Merchant, NotificationRefused, State
from lianlian_async.codec import parse_object
from lianlian_async.crypto.signing import string_to_sign
from lianlian_async.journal import Record
from lianlian_async.notifications import NOTIFICATION_BYTES_MAX, REFUSAL, Refusal, answer
from lianlian_async.receiving import Receiver
from lianlian_async.testing.clocks import ManualClock

Forgery = tuple[str, bytes, Refusal]


def forgeries(record: Record, pen: Pen, stranger: Pen) -> Iterator[Forgery]:
    """Name, body, and the reason that our own counters give."""
    members = members_of(record, "CANCEL")
    genuine = json.loads(pen.write(members))
    text = joined(members)
    yield from unsigned(genuine)
    yield from signed_wrongly(genuine, members, text, pen, stranger)
    yield from of_a_wrong_shape(members, pen)
    yield from unreadable(genuine)


def unsigned(genuine: dict[str, Any]) -> Iterator[Forgery]:
    without = {name: value for name, value in genuine.items() if name != "sign"}
    yield "no sign", encoded(without), Refusal.UNSIGNED
    for sign in ("", None):
        yield f"sign is {sign!r}", encoded({**genuine, "sign": sign}), Refusal.UNSIGNED
    yield "the sign has another name", encoded({**without, "SIGN": genuine["sign"]}), Refusal.UNSIGNED
    for kind in ("MD5", "rsa", "RSA ", "RSA2", "NONE", "", None):
        yield f"sign_type is {kind!r}", encoded({**genuine, "sign_type": kind}), Refusal.UNSIGNED
    yield "no sign_type", encoded({k: v for k, v in genuine.items() if k != "sign_type"}), Refusal.UNSIGNED


def signed_wrongly(
    genuine: dict[str, Any], members: Mapping[str, str | None], text: str, pen: Pen, stranger: Pen
) -> Iterator[Forgery]:
    def with_sign(sign: str) -> bytes:
        return encoded({**members, "sign": sign})

    bad = Refusal.BAD_SIGNATURE
    yield "signed by a stranger", stranger.write(members), bad
    yield "SHA-256 by the right key", pen.write(members, algorithm=hashes.SHA256()), bad
    yield "SHA-1 by the right key", pen.write(members, algorithm=hashes.SHA1()), bad
    yield "an MD5 digest as a sign", with_sign(hashlib.md5(text.encode()).hexdigest()), bad
    yield (
        "MD5 with a key of the vendor's samples",
        with_sign(hashlib.md5(f"{text}&key=201103171000000000".encode()).hexdigest()),
        bad,
    )
    yield "the sign of another message", with_sign(pen.sign(f"{text}&x=1")), bad
    yield "a sign over sign, too", with_sign(pen.sign(f"{text}&sign=1")), bad
    yield "a sign in base64url", with_sign(genuine["sign"].replace("+", "-").replace("/", "_") + "-_"), bad
    yield "a sign with a line break", with_sign(f"{genuine['sign'][:76]}\n{genuine['sign'][76:]}"), Refusal.MALFORMED
    yield "a sign that is cut", with_sign(genuine["sign"][:-4]), bad
    yield "a sign of zeros", with_sign("A" * len(genuine["sign"])), bad
    yield "a sign of one", with_sign("AAAA" * ((len(genuine["sign"]) - 4) // 4) + "AAE="), bad
    yield "a sign that is a list", encoded({**members, "sign": [genuine["sign"]]}), bad
    yield "a sign that is true", encoded({**members, "sign": True}), bad
    yield "the signed amount changed", encoded({**genuine, "money_order": "0.01"}), bad
    yield "the signed result changed", encoded({**genuine, "result_pay": "SUCCESS"}), bad
    yield "the signed number changed", encoded({**genuine, "no_order": "another"}), bad
    yield "a member added", encoded({**genuine, "memo": "x"}), bad
    yield "a member taken out", encoded({k: v for k, v in genuine.items() if k != "info_order"}), bad


def of_a_wrong_shape(members: Mapping[str, str | None], pen: Pen) -> Iterator[Forgery]:
    """By the gateway's own key: what it would have to be tricked into."""
    for name in ("no_order", "dt_order", "money_order", "oid_paybill", "result_pay"):
        yield f"no {name}", pen.write({**members, name: None}), Refusal.MALFORMED
    wrong = {
        "no_order": "N1\u200b", "dt_order": "20261332100000", "money_order": "-25.78", "oid_paybill": "A&b",
        "result_pay": "SUCCESS ", "settle_date": "yesterday", "info_order": "x" * 1025,
    }  # fmt: skip
    for name, value in wrong.items():
        yield f"{name} of a wrong shape", pen.write({**members, name: value}), Refusal.MALFORMED
    yield "money with an exponent", pen.write({**members, "money_order": "2578e-2"}), Refusal.MALFORMED
    yield "control characters", pen.write({**members, "info_order": "a\r\nb"}), Refusal.MALFORMED
    collision = "d131dd02c5e6eec4\x00\x01\x80"  # what an MD5 collision's block looks like in a text field (T3)
    yield "binary in info_order", pen.write({**members, "info_order": collision}), Refusal.MALFORMED
    for word in ("CLOSED", "CHECK", "APPLY", "PROCESSING", "WAITING", "success", "PAID"):
        yield f"result_pay {word}", pen.write({**members, "result_pay": word}), Refusal.UNKNOWN_RESULT
    other = {**members, "oid_partner": "201606020000150063"}
    yield "another merchant's", pen.write(other), Refusal.OTHER_MERCHANT
    yield "nobody's", pen.write({**members, "oid_partner": None}), Refusal.OTHER_MERCHANT


def unreadable(genuine: dict[str, Any]) -> Iterator[Forgery]:
    body = encoded(genuine)
    bad = Refusal.MALFORMED
    yield "nothing", b"", bad
    yield "not JSON", b"oid_partner=1&sign=2", bad
    yield "a list", b"[" + body + b"]", bad
    yield "a text", json.dumps(body.decode()).encode(), bad
    yield "two objects", body + body, bad
    yield "cut in the middle", body[: len(body) // 2], bad
    yield "in UTF-16", body.decode().encode("utf-16"), bad
    yield "in GBK", body.decode().encode("gbk"), bad
    yield "in gzip", gzip.compress(body), bad
    twice = body[:-1] + b',"result_pay":"SUCCESS"}'
    yield "a member twice", twice, bad
    yield "deep", b'{"a":' * 20000 + b"1" + b"}" * 20000, Refusal.OVERSIZE
    yield "deep, but short", b'{"a":' * 5000 + b"1" + b"}" * 5000, bad
    yield "thousands of members", body[:-1] + b"".join(b',"x%d":1' % n for n in range(5000)) + b"}", bad
    yield "a list of thousands", body[:-1] + b',"x":[' + b"1," * 30000 + b"1]}", bad
    yield "a long text of borders", body[:-1] + b',"x":"' + b"&a" * 30000 + b'"}', bad
    yield "half a character", body.replace(b'"sign_type"', b'"x":"\\ud800","sign_type"'), bad
    yield "too long by one", body + b" " * (NOTIFICATION_BYTES_MAX - len(body) + 1), Refusal.OVERSIZE
    yield "huge", b"{" + b" " * 10_000_000, Refusal.OVERSIZE


async def test_no_forgery_is_acknowledged_changes_anything_or_reaches_the_journal(
    world: MakeWorld, pen: Pen, stranger: Pen
) -> None:
    """T1: the matrix. Each is refused for its own reason in our counters, and with the same bytes towards the sender."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        calls = w.journals[0].total
        cases = list(forgeries(record, pen, stranger))
        assert len(cases) >= 60
        wrong = []
        for name, body, reason in cases:
            before = client.receiver.counts.refused[reason]
            said = await answer(client, body)
            if said != REFUSAL or client.receiver.counts.refused[reason] != before + 1:
                wrong.append((name, said, client.receiver.counts.refused))
        assert wrong == []
        assert client.receiver.counts.received == len(cases)
        assert w.journals[0].total == calls
        assert await load(client, record.no_order) == record


def test_a_body_that_is_made_to_be_slow_costs_little(ring: KeyRing, stranger: Pen) -> None:
    """T11, T13: as long as is allowed, and of whatever is slowest to read: no more than a few dozen signature checks."""
    merchant = Merchant(oid_partner=OID_PARTNER, keys=ring, base_url="http://127.0.0.1:9/")
    receiver = Receiver(merchant, ManualClock())
    plain = stranger.write({"oid_partner": OID_PARTNER, "sign_type": "RSA", "no_order": "n"})

    def cost(body: bytes) -> float:
        assert len(body) <= NOTIFICATION_BYTES_MAX
        start = time.process_time()
        for _ in range(20):
            with pytest.raises(NotificationRefused):
                receiver.read(body)
        return time.process_time() - start

    start = plain[:-1]
    slow = [
        start + b"".join(b',"x%d":1' % n for n in range(6000)) + b"}",
        start + b',"x":[' + b"1," * 32000 + b"1]}",
        start + b',"x":[' + b'{"a":1},' * 8000 + b"1]}",
        start + b',"x":"' + b"&a" * 32000 + b'"}',
        start + b',"x":"' + "测".encode() * 21000 + b'"}',
        start + b',"x":' + b"[" * 32000 + b"]" * 32000 + b"}",
    ]
    usual = min(cost(plain) for _ in range(5))
    assert all(min(cost(body) for _ in range(3)) < 50 * usual for body in slow)


async def test_the_longest_body_that_is_allowed_is_read(world: MakeWorld, pen: Pen) -> None:
    """Blanks behind a genuine one, up to the limit to the byte."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        payout = await client.receive(body + b" " * (NOTIFICATION_BYTES_MAX - len(body)))
        assert payout.state is State.PAID


async def test_every_single_changed_byte_is_refused(world: MakeWorld, pen: Pen) -> None:
    """Two kinds of change at each byte of a genuine one; what still says exactly the same may pass."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        genuine = pen.notify(record, "CANCEL")
        same = parse_object(genuine)
        for place in range(len(genuine)):
            for change in (0x01, 0x80):
                body = bytearray(genuine)
                body[place] ^= change
                if await answer(client, bytes(body)) != REFUSAL:
                    assert parse_object(bytes(body)) == same
        assert (await load(client, record.no_order)).state is State.IN_PROGRESS


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(st.binary(max_size=2000), st.text(max_size=500).map(str.encode)))
def test_whatever_bytes_come_they_are_refused_and_nothing_else_happens(ring: KeyRing, body: bytes) -> None:
    """No other exception than the one, for no bytes at all."""
    merchant = Merchant(oid_partner=OID_PARTNER, keys=ring, base_url="http://127.0.0.1:9/")
    with pytest.raises(NotificationRefused):
        Receiver(merchant, ManualClock()).read(body)


# ---------------------------------------------------------------------- one signature, several messages (5.2)


def attack(victim: Record) -> dict[str, str]:
    """A small payout of the attacker's own, whose free text carries the victim's refund."""
    content = victim.content
    payload = (
        f"x&money_order={content['money_order']}&no_order={content['no_order']}&oid_partner={OID_PARTNER}"
        f"&oid_paybill={bill_of(victim)}&result_pay=CANCEL&s="
    )
    assert len(payload) <= 160
    return {
        "oid_partner": OID_PARTNER, "sign_type": "RSA", "no_order": "attacker1", "dt_order": content["dt_order"],
        "money_order": "0.01", "oid_paybill": BILL, "result_pay": "SUCCESS", "settle_date": "20261123",
        "info_order": payload,
    }  # fmt: skip


async def test_a_signature_of_one_message_does_not_prove_another(world: MakeWorld, pen: Pen, keys: Keys) -> None:
    """5.2, carried out: the gateway's honest signature is valid for the forged object, and it is refused all the same."""
    async with world() as w:
        client = await w.client()
        victim = await sent(w, client)
        honest = attack(victim)
        sign = pen.sign(joined(honest))
        forged = [
            m
            for m in readings(joined(honest), odd_names=False)
            if m.get("no_order") == victim.no_order and m.get("result_pay") == "CANCEL"
        ]
        assert forged
        assert any(members.get("money_order") == victim.content["money_order"] and "s" in members for members in forged)
        for members in forged:
            # To the letter of 4.2 this *is* a valid signature of the victim's refund.
            client.merchant.keys.verify(string_to_sign(members), sign)
            assert await answer(client, encoded({**members, "sign": sign})) == REFUSAL
        # And the honest one, whose text cannot be told from members, is refused as well.
        assert await answer(client, encoded({**honest, "sign": sign})) == REFUSAL
        assert client.receiver.counts.refused[Refusal.MALFORMED] >= 2
        assert Refusal.BAD_SIGNATURE not in client.receiver.counts.refused
        assert await load(client, victim.no_order) == victim
