"""The gateway's side of the wire: reading JSON, signatures, and the `pay_load` envelope.

Everything here is written apart from the client's `codec` and `crypto`, so that one mistake cannot hide
on both sides. It is liberal about form (line breaks, member order, unknown members) and strict about proof.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import secrets
import string
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = [
    "DEPTH_MAX",
    "GatewayKeys",
    "Members",
    "NotSealed",
    "NotSigned",
    "Unreadable",
    "content_hash",
    "encode",
    "load_private_key",
    "load_public_key",
    "parse",
    "seal",
    "sign",
    "text_to_sign",
    "verify",
]

Members = dict[str, str | None]

DEPTH_MAX = 16
_PREFIX = "lianpay1_0_1"
_SYMBOLS = string.digits + string.ascii_uppercase


class Unreadable(ValueError):
    """Not one JSON object; answered with 1004."""


class NotSealed(ValueError):
    """An envelope that does not open; answered with 4007."""


class NotSigned(ValueError):
    """A signature that is missing or wrong; answered with 1001."""


# --- JSON ------------------------------------------------------------------------------------------


def parse(body: bytes) -> Members:
    """The members of one JSON object, numbers as they were written; raises Unreadable."""
    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_Pairs,
            parse_int=_Lexeme,
            parse_float=_Lexeme,
            parse_constant=_Lexeme,
        )
        if not isinstance(value, _Pairs):
            raise Unreadable("not a JSON object")
        names = [name for name, _ in value]
        if len(set(names)) != len(names):
            raise Unreadable("a member is there twice")
        return {name: _text(member) for name, member in value}
    except (ValueError, RecursionError) as problem:
        raise Unreadable(type(problem).__name__) from problem


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as the sender wrote it, order and repetitions included."""


class _Lexeme(str):
    """A JSON number as the sender wrote it."""

    __slots__ = ()


def _text(value: Any, depth: int = 0) -> str | None:
    # The vendor's parser hands every value out as text: numbers as written, nested JSON as its text.
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return _nested(value, depth)


def _nested(value: Any, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise Unreadable("nested too deep")
    if isinstance(value, _Lexeme):
        return str(value)
    if isinstance(value, _Pairs):
        inside = ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_nested(v, depth + 1)}" for k, v in value)
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[" + ",".join(_nested(item, depth + 1) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def encode(members: Mapping[str, str | None]) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(dict(members), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def content_hash(members: Mapping[str, str | None]) -> str:
    """SHA-256 in hex over the compact JSON of everything but `sign`, names sorted, empty members left out."""
    kept = {name: value for name, value in members.items() if name != "sign" and value}
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


# --- signatures (specification 4.2) ----------------------------------------------------------------


def text_to_sign(members: Mapping[str, str | None]) -> bytes:
    """`name=value` joined with `&`, names in ASCII order, without `sign` and whatever is empty."""
    parts = [f"{name}={members[name]}" for name in sorted(members) if name != "sign" and members[name]]
    return "&".join(parts).encode("utf-8", "replace")


def sign(members: Mapping[str, str | None], key: RSAPrivateKey) -> str:
    """The `sign` that belongs to these members: MD5withRSA in base64, on one line."""
    # The algorithm is the interface's, not ours to choose.
    return b64encode(key.sign(text_to_sign(members), padding.PKCS1v15(), hashes.MD5())).decode("ascii")  # noqa: S303


def verify(members: Mapping[str, str | None], key: RSAPublicKey) -> None:
    """Return when `sign` belongs to these members; raises NotSigned otherwise."""
    given = members.get("sign")
    if not given or members.get("sign_type") != "RSA":
        raise NotSigned("no sign, or a sign_type other than RSA")
    try:
        key.verify(_base64(given), text_to_sign(members), padding.PKCS1v15(), hashes.MD5())  # noqa: S303
    except (InvalidSignature, ValueError) as problem:
        raise NotSigned("the signature does not belong to this message") from problem


# --- the envelope (specification 4.3) --------------------------------------------------------------


def seal(plaintext: bytes, gateway_key: RSAPublicKey, *, symbols: Callable[[int], str] | None = None) -> str:
    """The `pay_load` for `plaintext`, without line breaks; `symbols(n)` gives n fresh characters of 0-9A-Z."""
    fresh = symbols if symbols is not None else _fresh
    hmac_key, aes_key, nonce = (fresh(count).encode("ascii") for count in (32, 32, 8))
    ciphertext = _counter_mode(aes_key, nonce, plaintext)
    nonce_text, cipher_text = (b64encode(part).decode("ascii") for part in (nonce, ciphertext))
    tag = hmac.digest(hmac_key, f"{nonce_text}${cipher_text}".encode("ascii"), "sha256")
    wrapped = [b64encode(gateway_key.encrypt(key, _oaep())).decode("ascii") for key in (hmac_key, aes_key)]
    return "$".join((_PREFIX, *wrapped, nonce_text, cipher_text, b64encode(tag).decode("ascii")))


def _fresh(count: int) -> str:
    return "".join(secrets.choice(_SYMBOLS) for _ in range(count))


def _open_envelope(pay_load: str, key: RSAPrivateKey) -> bytes:
    parts = pay_load.split("$")
    if len(parts) != 6 or parts[0].strip() != _PREFIX:
        raise NotSealed("not six parts under the known name")
    try:
        hmac_key, aes_key = (key.decrypt(_base64(part), _oaep()) for part in parts[1:3])
        nonce, ciphertext, tag = (_base64(part) for part in parts[3:6])
        # The sender computed the HMAC over the two parts as text, line breaks included.
        signed = f"{parts[3]}${parts[4]}".encode("ascii")
    except ValueError as problem:
        raise NotSealed("a part does not decode, or the key is not ours") from problem
    if not hmac.compare_digest(hmac.digest(hmac_key, signed, "sha256"), tag):
        raise NotSealed("the HMAC does not belong to this envelope")
    if len(aes_key) != 32 or len(nonce) != 8:
        raise NotSealed("a key or the nonce has the wrong length")
    return _counter_mode(aes_key, nonce, ciphertext)


def _counter_mode(aes_key: bytes, nonce: bytes, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(aes_key), modes.CTR(nonce + (1).to_bytes(8, "big"))).encryptor()
    return cipher.update(data) + cipher.finalize()


def _oaep() -> padding.OAEP:
    sha1 = hashes.SHA1()  # noqa: S303 - the interface's own choice
    return padding.OAEP(mgf=padding.MGF1(sha1), algorithm=sha1, label=None)


def _base64(text: str) -> bytes:
    # JVM senders break their base64 into lines and may end it with one more break.
    bare = text.translate({ord(blank): None for blank in "\r\n"})
    try:
        return binascii.a2b_base64(bare.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as problem:
        raise ValueError("not base64") from problem


# --- keys ------------------------------------------------------------------------------------------


class GatewayKeys:
    """The gateway's private key and the merchant's public one, loaded once; shows neither."""

    def __init__(self, *, gateway_private_key: bytes, merchant_public_key: bytes) -> None:
        self._private = load_private_key(gateway_private_key)
        self._merchant = load_public_key(merchant_public_key)
        self._retired: list[RSAPrivateKey] = []

    def rotate(self, gateway_private_key: bytes, *, open_old: bool = False) -> None:
        """Sign with another key from now on; `open_old` says whether envelopes for the old one still open."""
        self._retired = [self._private, *self._retired] if open_old else []
        self._private = load_private_key(gateway_private_key)

    def signed(self, members: Mapping[str, str | None]) -> Members:
        """The members with the gateway's `sign` added."""
        return {**members, "sign": sign(members, self._private)}

    def verify(self, members: Mapping[str, str | None]) -> None:
        """Return when the merchant signed these members; raises NotSigned."""
        verify(members, self._merchant)

    def open(self, pay_load: str) -> bytes:
        """The plaintext of an envelope; raises NotSealed."""
        for key in self._retired:
            try:
                return _open_envelope(pay_load, key)
            except NotSealed:
                continue
        return _open_envelope(pay_load, self._private)

    def __repr__(self) -> str:
        return "GatewayKeys(...)"


def load_private_key(content: bytes) -> RSAPrivateKey:
    """An RSA private key from PEM or from bare base64 PKCS#8; raises ValueError."""
    if b"-----" in content:
        key = serialization.load_pem_private_key(content, password=None)
    else:
        key = serialization.load_der_private_key(b64decode(content), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA private key")
    return key


def load_public_key(content: bytes) -> RSAPublicKey:
    """An RSA public key from PEM or from bare base64 SubjectPublicKeyInfo; raises ValueError."""
    if b"-----" in content:
        key = serialization.load_pem_public_key(content)
    else:
        key = serialization.load_der_public_key(b64decode(content))
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA public key")
    return key
