"""The sealed envelope `pay_load` (specification 4.3; its layout is that of the vendor's own code).

    lianpay1_0_1$B64(RSA(hmac_key))$B64(RSA(aes_key))$B64(nonce)$B64(AES)$B64(HMAC)

RSA is OAEP with SHA-1 under LianLian's key. Keys are 32 and the nonce is 8 characters of 0-9A-Z. AES is
AES-256-CTR from nonce and a counter that begins at 1. The HMAC is SHA-256 over the base64 texts of
nonce and ciphertext with the "$" between them, exactly as they are written in the envelope.

Every envelope has fresh keys: two messages under the same keys and nonce would reveal both.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from lianlian_async.crypto.keys import SEAL_PADDING, KeyRing
from lianlian_async.errors import MessageRejected, Rejection

__all__ = ["Entropy", "open_envelope", "seal"]

Entropy = Callable[[int], bytes]
"""Gives that many random bytes; `os.urandom`, except in tests."""

_VERSION: Final = "lianpay1_0_1"
_KEY_CHARS: Final = 32
_NONCE_CHARS: Final = 8
_CHARS: Final = 2 * _KEY_CHARS + _NONCE_CHARS

# Bytes to characters without bias: 252 is 7 times 36, and the four bytes above it are thrown away.
_ALPHABET: Final = bytes(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[byte % 36] for byte in range(256))
_BIASED: Final = bytes(range(252, 256))


def seal(plaintext: bytes, keyring: KeyRing, entropy: Entropy = os.urandom) -> str:
    """The `pay_load` that only LianLian can open (specification 4.3)."""
    text = _characters(_CHARS, entropy)
    hmac_key, aes_key, nonce = text[:_KEY_CHARS], text[_KEY_CHARS : 2 * _KEY_CHARS], text[2 * _KEY_CHARS :]
    authentic = f"{_b64(nonce)}${_b64(_aes_ctr(aes_key, nonce, plaintext))}"
    tag = hmac.digest(hmac_key, authentic.encode("ascii"), "sha256")
    return f"{_VERSION}${_b64(keyring.seal_key(hmac_key))}${_b64(keyring.seal_key(aes_key))}${authentic}${_b64(tag)}"


def open_envelope(pay_load: str, private_key: RSAPrivateKey) -> bytes:
    """The plaintext of `pay_load`; `private_key` is the one it was sealed for (specification 4.3).

    Line breaks after 76 characters are accepted, as the vendor's Java writes them. Raises
    `MessageRejected`, with one answer for every failure.
    """
    parts = pay_load.split("$")
    if len(parts) != 6 or parts[0] != _VERSION:
        _refuse()
    _, sealed_hmac_key, sealed_aes_key, nonce_text, ciphertext_text, tag_text = parts
    try:
        hmac_key = private_key.decrypt(_unb64(sealed_hmac_key), SEAL_PADDING)
        # The breaks belong to the authenticated text, so they stay in until it has been checked.
        expected = hmac.digest(hmac_key, f"{nonce_text}${ciphertext_text}".encode(), "sha256")
        if not hmac.compare_digest(expected, _unb64(tag_text)):
            _refuse()
        aes_key = private_key.decrypt(_unb64(sealed_aes_key), SEAL_PADDING)
        nonce = _unb64(nonce_text)
        if (len(hmac_key), len(aes_key), len(nonce)) != (_KEY_CHARS, _KEY_CHARS, _NONCE_CHARS):
            _refuse()
        return _aes_ctr(aes_key, nonce, _unb64(ciphertext_text))
    except ValueError:
        _refuse()


def _refuse() -> NoReturn:
    raise MessageRejected(Rejection.UNREADABLE, "the envelope does not open") from None


def _characters(count: int, entropy: Entropy) -> bytes:
    """`count` random characters of 0-9A-Z."""
    text = b""
    while len(text) < count:
        text += entropy(count + 24).translate(_ALPHABET, _BIASED)
    return text[:count]


def _aes_ctr(key: bytes, nonce: bytes, data: bytes) -> bytes:
    cipher = Cipher(AES(key), CTR(nonce + (1).to_bytes(8, "big"))).encryptor()
    return cipher.update(data) + cipher.finalize()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    """Strict base64, but for line breaks: LF, or CRLF from Windows."""
    return base64.b64decode(re.sub("\r?\n", "", text), validate=True)
