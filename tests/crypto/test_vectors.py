"""Every verdict of the project's own vectors, and of the genuine ones where they are present."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from lianlian_async.codec import open_message
from lianlian_async.crypto import KeyRing, load_private_key, load_public_key, open_envelope
from lianlian_async.errors import MessageRejected, Rejection

OWN = Path(__file__).parents[1] / "vectors"
VENDOR = Path(__file__).parents[2] / "../shared/vectors/vendor-signatures.jsonl"


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def signatures(path: Path) -> list[object]:
    found = [pytest.param(row, id=row["id"]) for row in rows(path) if "valid" in row]
    return found or [pytest.param({}, id="absent", marks=pytest.mark.skip(f"{path.name} is not here"))]


def verdict(row: dict[str, str], path: Path, merchant: rsa.RSAPrivateKey) -> str:
    keys = {key["name"]: key["public_key"].encode() for key in rows(path) if "public_key" in key}
    try:
        open_message(row["message"].encode(), KeyRing(merchant, load_public_key(keys[row["key"]])))
    except MessageRejected:
        return "false"
    return "true"


@pytest.mark.parametrize("row", signatures(OWN / "signatures.jsonl"))
def test_own_signature(row: dict[str, str], merchant: rsa.RSAPrivateKey) -> None:
    """The verdict is the one listed."""
    assert verdict(row, OWN / "signatures.jsonl", merchant) == row["valid"]


@pytest.mark.parametrize("row", signatures(VENDOR))
def test_genuine_signature(row: dict[str, str], merchant: rsa.RSAPrivateKey) -> None:
    """The verdict is the one listed."""
    assert verdict(row, VENDOR, merchant) == row["valid"]


ENVELOPES = rows(OWN / "envelopes.jsonl")


@pytest.mark.parametrize("row", ENVELOPES[1:], ids=lambda row: row["id"])
def test_envelope(row: dict[str, str]) -> None:
    """It opens, whichever line breaks its maker writes."""
    key = load_private_key(ENVELOPES[0]["private_key"].encode())
    assert open_envelope(row["pay_load"], key).decode() == row["plaintext"]


@pytest.mark.parametrize("row", ENVELOPES[1:], ids=lambda row: row["id"])
def test_envelope_whose_line_breaks_were_changed(row: dict[str, str]) -> None:
    """Breaks are part of the authenticated text: an envelope that lost or changed them does not open."""
    key = load_private_key(ENVELOPES[0]["private_key"].encode())
    head, nonce, ciphertext, tag = row["pay_load"].rsplit("$", 3)
    changed = ciphertext.replace("\r\n", "\n") if "\r" in ciphertext else f"{ciphertext}\r\n"
    with pytest.raises(MessageRejected) as rejected:
        open_envelope(f"{head}${nonce}${changed}${tag}", key)
    assert rejected.value.reason is Rejection.UNREADABLE


GENUINE_ENVELOPES = [row for row in rows(VENDOR) if "pay_load" in row]


@pytest.mark.skipif(not GENUINE_ENVELOPES, reason="the genuine vectors are not here")
def test_genuine_envelope_has_the_layout_we_write() -> None:
    """Six parts under the same name, and a ciphertext exactly as long as the compact JSON of its request."""
    for row in GENUINE_ENVELOPES:
        version, *parts = row["pay_load"].replace("\r\n", "").split("$")
        assert version == "lianpay1_0_1"
        sizes = [len(base64.b64decode(part, validate=True)) for part in parts]
        assert sizes == [128, 128, 8, len(row["plaintext"].encode()), 32]
