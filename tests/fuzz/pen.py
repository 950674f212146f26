"""A pen that signs as LianLian does (specification 4.2). It shares no code with the library."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class Pen:
    """Signs with one private key."""

    def __init__(self, pem: bytes) -> None:
        key = load_pem_private_key(pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self.key = key

    def sign(self, text: str, algorithm: hashes.HashAlgorithm | None = None) -> str:
        return base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), algorithm or hashes.MD5())).decode()

    def write(self, members: Mapping[str, str | None], **how: Any) -> bytes:
        """A body with these members, signed as they stand."""
        return encoded({**members, "sign": self.sign(joined(members), **how)})


def joined(members: Mapping[str, str | None]) -> str:
    return "&".join(f"{name}={members[name]}" for name in sorted(members) if members[name] and name != "sign")


def encoded(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()
