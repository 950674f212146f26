"""A merchant's side of the wire written for these tests alone: it knows neither the client nor the simulator.

Three parties that were written apart and understand each other are better evidence than two.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

OID_PARTNER = "201408071000001541"
PATHS = {"pay": "payment.htm", "confirm": "confirmPayment.htm", "query": "queryPayment.htm"}


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def joined(members: dict[str, Any]) -> bytes:
    kept = {k: v for k, v in members.items() if k != "sign" and v not in (None, "")}
    return "&".join(f"{k}={kept[k]}" for k in sorted(kept, key=lambda name: name.encode())).encode()


def sun_base64(data: bytes, newline: str, *, trailing: bool = False) -> str:
    """Base64 as the old JVM encoder writes it: broken after 76 characters, perhaps once more at the end."""
    flat = base64.b64encode(data).decode()
    lines = [flat[i : i + 76] for i in range(0, len(flat), 76)]
    return newline.join(lines) + (newline if trailing else "")


def seal(
    plaintext: bytes,
    key: rsa.RSAPublicKey,
    *,
    newline: str = "",
    trailing: bool = False,
    counter: int = 1,
    spoil_hmac: bool = False,
    spoil_cipher: bool = False,
) -> str:
    hmac_key, aes_key, nonce = (os.urandom(count).hex().encode() for count in (16, 16, 4))
    encryptor = Cipher(algorithms.AES(aes_key), modes.CTR(nonce + counter.to_bytes(8, "big"))).encryptor()
    cipher = encryptor.update(plaintext) + encryptor.finalize()
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    text = [sun_base64(part, newline, trailing=trailing) for part in (nonce, cipher)]
    tag = hmac.new(hmac_key, "$".join(text).encode(), hashlib.sha256).digest()
    if spoil_hmac:
        tag = bytes([tag[0] ^ 1]) + tag[1:]
    if spoil_cipher:
        text[1] = sun_base64(bytes([cipher[0] ^ 1]) + cipher[1:], newline, trailing=trailing)
    wrapped = [sun_base64(key.encrypt(k, oaep), newline, trailing=trailing) for k in (hmac_key, aes_key)]
    return "$".join(["lianpay1_0_1", *wrapped, *text, sun_base64(tag, newline, trailing=trailing)])


class Merchant:
    """Signs, seals, posts, and checks the signature of what comes back."""

    def __init__(self, key: rsa.RSAPrivateKey, gateway_key: rsa.RSAPrivateKey) -> None:
        self.key = key
        self.gateway_key = gateway_key.public_key()
        self.base_url = ""
        self.session: aiohttp.ClientSession = None  # type: ignore[assignment]

    def content(self, no_order: str = "no1", **changes: str | None) -> dict[str, str]:
        content: dict[str, str | None] = {
            "oid_partner": OID_PARTNER,
            "api_version": "1.0",
            "sign_type": "RSA",
            "no_order": no_order,
            "dt_order": "20261123100000",
            "money_order": "25.78",
            "card_no": "6216261000000000018",
            "acct_name": "全渠道",
            "flag_card": "0",
            "notify_url": "http://127.0.0.1:9/notify",
            "info_order": "测试",
            **changes,
        }
        return {k: v for k, v in content.items() if v is not None}

    def sign(self, members: dict[str, Any]) -> dict[str, Any]:
        sign = self.key.sign(joined(members), padding.PKCS1v15(), hashes.MD5())
        return {**members, "sign": base64.b64encode(sign).decode()}

    def sealed(self, members: dict[str, Any], **how: Any) -> bytes:
        plain = json.dumps(self.sign(members), ensure_ascii=False, separators=(",", ":")).encode()
        pay_load = seal(plain, self.gateway_key, **how)
        return json.dumps({"oid_partner": members["oid_partner"], "pay_load": pay_load}).encode()

    def checked(self, body: bytes) -> dict[str, str]:
        """The members of an answer; fails the test when the gateway's signature is not right."""
        members: dict[str, str] = json.loads(body)
        self.gateway_key.verify(base64.b64decode(members["sign"]), joined(members), padding.PKCS1v15(), hashes.MD5())
        return members

    async def post(self, endpoint: str, body: bytes, **headers: str) -> tuple[int, bytes, Any]:
        headers.setdefault("Content-Type", "application/json;charset=utf-8")
        timeout = aiohttp.ClientTimeout(total=20)
        async with self.session.post(
            self.base_url + PATHS[endpoint], data=io.BytesIO(body), headers=headers, timeout=timeout
        ) as response:
            return response.status, await response.read(), response.headers

    async def pay(self, no_order: str = "no1", **changes: str | None) -> dict[str, str]:
        _, body, _ = await self.post("pay", self.sealed(self.content(no_order, **changes)))
        return self.checked(body)

    async def confirm(self, no_order: str, confirm_code: str) -> dict[str, str]:
        members = {
            "oid_partner": OID_PARTNER,
            "api_version": "1.0",
            "sign_type": "RSA",
            "no_order": no_order,
            "confirm_code": confirm_code,
            "notify_url": "http://127.0.0.1:9/notify",
        }
        _, body, _ = await self.post("confirm", self.sealed(members))
        return self.checked(body)

    def query_body(self, **wanted: str) -> bytes:
        members = {"oid_partner": OID_PARTNER, "api_version": "1.0", "sign_type": "RSA", **wanted}
        return json.dumps(self.sign(members)).encode()

    async def query(self, no_order: str = "no1") -> dict[str, str]:
        _, body, _ = await self.post("query", self.query_body(no_order=no_order))
        return self.checked(body)


def other_code(code: str) -> str:
    """Six digits that are not these."""
    return format((int(code) + 1) % 10**6, "06d")
