"""Keys of both sides: real RSA, and a stand-in that costs microseconds and goes through the same code.

Only the arithmetic is left out: what is signed, what is sealed, and how an envelope is made and opened is the
library's and the simulator's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lianlian_async import KeyRing
from lianlian_async.errors import MessageRejected, Rejection
from lianlian_async.testing.simulator.wire import GatewayKeys, Members, NotSigned, text_to_sign


def _mark(who: str, text: bytes) -> str:
    return base64.b64encode(hashlib.blake2b(text, digest_size=16, key=who.encode()).digest()).decode()


class CheapRing:
    """What a client holds: a merchant's key and one of the gateway's, as names."""

    warnings: tuple[str, ...] = ()

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    def sign(self, text: bytes) -> str:
        return _mark("merchant", text)

    def verify(self, text: bytes, sign: str) -> None:
        if sign != _mark(self._gateway, text):
            raise MessageRejected(Rejection.BAD_SIGNATURE, "the signature is not LianLian's")

    def seal_key(self, key: bytes) -> bytes:
        return self._gateway.encode() + b":" + key


@frozen
class _CheapPrivate:
    name: str

    def decrypt(self, sealed: bytes, padding: Any) -> bytes:
        name, _, key = sealed.partition(b":")
        if name != self.name.encode():
            raise ValueError("sealed for another key")
        return key


class CheapGatewayKeys(GatewayKeys):
    """What the gateway holds, to match."""

    def __init__(self, name: str) -> None:
        self._private: Any = _CheapPrivate(name)
        self._retired: list[Any] = []

    def rotate(self, gateway_private_key: bytes, *, open_old: bool = False) -> None:
        self._retired = [self._private, *self._retired] if open_old else []
        self._private = _CheapPrivate(gateway_private_key.decode())

    def signed(self, members: Mapping[str, str | None]) -> Members:
        return {**members, "sign": _mark(self._private.name, text_to_sign(members))}

    def verify(self, members: Mapping[str, str | None]) -> None:
        if members.get("sign_type") != "RSA" or members.get("sign") != _mark("merchant", text_to_sign(members)):
            raise NotSigned("the signature does not belong to this message")


@frozen
class KeySet:
    """`ring(n)` is the client's ring with the gateway's key number n; `private(n)` that key, for `rotate`."""

    real: bool

    def ring(self, number: int) -> Any:
        return _real_ring(number) if self.real else CheapRing(f"gateway{number}")

    def gateway(self) -> GatewayKeys:
        if not self.real:
            return CheapGatewayKeys("gateway0")
        merchant = _rsa("merchant").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return GatewayKeys(gateway_private_key=self.private(0), merchant_public_key=merchant)

    def private(self, number: int) -> bytes:
        name = f"gateway{number}"
        if not self.real:
            return name.encode()
        return _rsa(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@lru_cache
def _rsa(name: str) -> rsa.RSAPrivateKey:
    # The specification's own samples are this short; what is shown here does not depend on the length.
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


@lru_cache
def _real_ring(number: int) -> KeyRing:
    return KeyRing(_rsa("merchant"), _rsa(f"gateway{number}").public_key())
