"""Sealing and opening `pay_load` (specification 4.3)."""

from __future__ import annotations

import base64
import itertools
import os
from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lianlian_async.crypto import KeyRing, envelope, open_envelope, seal
from lianlian_async.crypto.keys import SEAL_PADDING
from lianlian_async.errors import MessageRejected, Rejection


@settings(max_examples=60, deadline=None)
@given(plaintext=st.binary(max_size=2000))
def test_round_trip(ring: KeyRing, gateway: RSAPrivateKey, plaintext: bytes):
    """What is sealed opens as it was."""
    assert open_envelope(seal(plaintext, ring), gateway) == plaintext


def test_layout(ring: KeyRing):
    """Six parts; the last five are strict base64 of the right sizes, without line breaks."""
    version, *parts = seal(b"x" * 385, ring).split("$")
    assert version == "lianpay1_0_1"
    assert [len(base64.b64decode(part, validate=True)) for part in parts] == [128, 128, 8, 385, 32]


def test_keys_are_fresh_each_time(ring: KeyRing):
    """No two of many envelopes share a nonce or a ciphertext."""
    nonces, ciphertexts = zip(*(seal(b"same", ring).split("$")[3:5] for _ in range(300)), strict=True)
    assert len(set(nonces)) == len(set(ciphertexts)) == 300


def test_random_characters_are_even():
    """Each of the 36 stands for seven bytes, and the four bytes that would tip the scale are thrown away."""
    source = bytes(range(256))
    counts = Counter(envelope._characters(252, lambda count: source))
    assert set(counts.values()) == {7}
    assert "".join(map(chr, sorted(counts))) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_random_source_with_many_unusable_bytes():
    """More is drawn until there is enough."""
    drawn = itertools.chain([b"\xff" * 96], itertools.repeat(b"\x00" * 96))
    assert envelope._characters(72, lambda count: next(drawn)) == b"0" * 72


def test_default_randomness_is_the_operating_systems():
    """Nothing else makes keys."""
    assert seal.__defaults__ == (os.urandom,)


def test_wrong_key(ring: KeyRing):
    """Another private key opens nothing."""
    with pytest.raises(MessageRejected, match="the envelope does not open"):
        open_envelope(seal(b"x", ring), rsa.generate_private_key(65537, 1024))


@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize(
    "damage", ["empty", "not base64", "bit flipped", "dropped", "doubled", "not ASCII", "break added"]
)
def test_damaged_envelope(ring: KeyRing, gateway: RSAPrivateKey, part: int, damage: str):
    """Every damage to every part has the same answer."""
    parts = seal(b"some plaintext", ring).split("$")
    text = parts[part]
    parts[part] = {
        "empty": "",
        "not base64": "*" * len(text),
        "bit flipped": ("B" if text[0] == "A" else "A") + text[1:],
        "dropped": None,
        "doubled": f"{text}${text}",
        "not ASCII": f"包{text[1:]}",
        "break added": f"{text[:4]}\n{text[4:]}",
    }[damage]
    damaged = "$".join(text for text in parts if text is not None)
    if damage == "break added" and part in {1, 2, 5}:  # outside the authenticated text a break does no harm
        assert open_envelope(damaged, gateway) == b"some plaintext"
        return
    with pytest.raises(MessageRejected) as rejected:
        open_envelope(damaged, gateway)
    assert (rejected.value.reason, rejected.value.detail) == (Rejection.UNREADABLE, "the envelope does not open")


@pytest.mark.parametrize(
    ("hmac_chars", "aes_chars", "nonce_chars"), [(16, 32, 8), (32, 16, 8), (32, 32, 7), (32, 32, 9)]
)
def test_parts_of_the_wrong_length(
    ring: KeyRing, gateway: RSAPrivateKey, hmac_chars: int, aes_chars: int, nonce_chars: int
):
    """A well-made envelope around keys or a nonce of other sizes does not open either."""
    hmac_key, aes_key, nonce = (b"A" * count for count in (hmac_chars, aes_chars, nonce_chars))
    text = f"{envelope._b64(nonce)}${envelope._b64(b'data')}"
    tag = envelope.hmac.digest(hmac_key, text.encode(), "sha256")
    keys = "$".join(envelope._b64(gateway.public_key().encrypt(key, SEAL_PADDING)) for key in (hmac_key, aes_key))
    with pytest.raises(MessageRejected, match="the envelope does not open"):
        open_envelope(f"lianpay1_0_1${keys}${text}${envelope._b64(tag)}", gateway)


def test_bytes_under_a_broken_tag_are_never_decrypted(ring: KeyRing, gateway: RSAPrivateKey, monkeypatch):
    """The tag is checked first."""
    parts = seal(b"x", ring).split("$")
    parts[5] = envelope._b64(bytes(32))
    monkeypatch.setattr(envelope, "_aes_ctr", lambda *_: pytest.fail("decrypted before the tag was checked"))
    with pytest.raises(MessageRejected):
        open_envelope("$".join(parts), gateway)
