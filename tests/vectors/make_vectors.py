"""Makes `signatures.jsonl` and `envelopes.jsonl`: this project's own vectors, under keys of its own.

Run `python tests/vectors/make_vectors.py` to make them anew, keys included. Nothing here calls the
library: signed texts are written out by hand and envelopes are built from the protocol's description,
so that the vectors and the library cannot share a mistake. The keys are for tests and protect nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = Path(__file__).parent
OID = "201304121000001004"
ACCEPTED, REFUSED = "true", "false"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wrapped(data: bytes, line_break: str) -> str:
    """Base64 as old Java writes it: a break after 76 characters, and at the end of a full last line."""
    text = b64(data)
    lines = [text[start : start + 76] for start in range(0, len(text), 76)]
    return line_break.join(lines) + (line_break if data and len(data) % 57 == 0 else "")


def signer(key: rsa.RSAPrivateKey):
    return lambda text, charset="utf-8": b64(key.sign(text.encode(charset), padding.PKCS1v15(), hashes.MD5()))


def public_base64(key: rsa.RSAPrivateKey) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return b64(key.public_key().public_bytes(serialization.Encoding.DER, spki))


def private_base64(key: rsa.RSAPrivateKey) -> str:
    der, pkcs8 = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return b64(key.private_bytes(der, pkcs8, serialization.NoEncryption()))


def signature_rows(sign, other_sign):
    """(id, JSON text, verdict): each signed text stands beside the message it was made for."""
    refused = f"oid_partner={OID}&ret_code=4005&ret_msg=商户未开通权限&sign_type=RSA"
    base = {"oid_partner": OID, "ret_code": "4005", "ret_msg": "商户未开通权限", "sign_type": "RSA"}
    good = {**base, "sign": sign(refused)}
    yield "refusal-without-order-number", good, ACCEPTED
    yield "members-in-reverse-order", dict(reversed(good.items())), ACCEPTED
    yield "empty-member-added", {**good, "oid_paybill": ""}, ACCEPTED
    yield "null-member-added", {**good, "oid_paybill": None}, ACCEPTED
    yield "unknown-member-added-unsigned", {**good, "extra": "1"}, REFUSED
    yield "unknown-member-signed", {**base, "extra": "1", "sign": sign(f"extra=1&{refused}")}, ACCEPTED
    yield "code-changed", {**good, "ret_code": "0000"}, REFUSED
    yield "trailing-blank-added", {**good, "ret_msg": "商户未开通权限 "}, REFUSED
    yield "member-dropped", {name: value for name, value in good.items() if name != "ret_msg"}, REFUSED
    yield "sign-type-dropped", {name: value for name, value in good.items() if name != "sign_type"}, REFUSED
    yield "sign-dropped", base, REFUSED
    yield "sign-empty", {**base, "sign": ""}, REFUSED
    yield "other-key", {**base, "sign": other_sign(refused)}, REFUSED
    placeholder = b64(hashlib.sha512(b"placeholder").digest() * 2)
    yield "placeholder-signature", {**base, "sign": placeholder}, REFUSED
    blank_name = {**{name: value for name, value in good.items() if name != "sign_type"}, "sign_type ": "RSA"}
    yield "sign-type-with-blank-in-its-name", blank_name, REFUSED
    for sign_type in ("MD5", "rsa", "SHA256withRSA"):
        text = refused.replace("sign_type=RSA", f"sign_type={sign_type}")
        yield f"sign-type-{sign_type}", {**base, "sign_type": sign_type, "sign": sign(text)}, REFUSED

    review = f"confirm_code=646872&no_order=A-1&oid_partner={OID}&ret_code=4002&ret_msg=疑似重复提交订单&sign_type=RSA"
    answer = {"no_order": "A-1", "confirm_code": "646872", "ret_code": "4002", "ret_msg": "疑似重复提交订单"}
    answer = {**answer, "oid_partner": OID, "sign_type": "RSA", "sign": sign(review)}
    yield "review-with-confirm-code", answer, ACCEPTED
    yield "order-number-changed", {**answer, "no_order": "A-2"}, REFUSED

    whole_name = f"no_order=A-1&notify_url=https://pay.example.com/n&oid_partner={OID}&sign_type=RSA"
    request = {"notify_url": "https://pay.example.com/n", "no_order": "A-1", "oid_partner": OID, "sign_type": "RSA"}
    yield "underscore-sorts-before-t", {**request, "sign": sign(whole_name)}, ACCEPTED
    upper = f"notify_url=https://pay.example.com/n&no_order=A-1&oid_partner={OID}&sign_type=RSA"
    yield "sorted-as-upper-case", {**request, "sign": sign(upper)}, REFUSED
    yield "signed-as-gbk", {**base, "sign": sign(refused, "gbk")}, REFUSED

    yield (
        "blank-value-is-signed",
        {**base, "ret_msg": " ", "sign": sign(refused.replace("商户未开通权限", " "))},
        ACCEPTED,
    )
    null_word = refused.replace("商户未开通权限", "null")
    yield "word-null-is-a-value", {**base, "ret_msg": "null", "sign": sign(null_word)}, ACCEPTED
    signature = good["sign"]
    yield "sign-with-line-break", {**good, "sign": f"{signature[:76]}\n{signature[76:]}"}, REFUSED
    yield "sign-without-padding", {**good, "sign": signature.rstrip("=")}, REFUSED
    yield "sign-not-canonical", {**good, "sign": other_spelling(signature)}, REFUSED
    yield "sign-not-ascii", {**good, "sign": "签" + signature[1:]}, REFUSED
    control = refused.replace("商户", "商\x07户")
    yield "control-character-signed", {**base, "ret_msg": "商\x07户未开通权限", "sign": sign(control)}, REFUSED


def other_spelling(signature: str) -> str:
    """Another base64 text for the same bytes: the bits that padding leaves unused are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(signature[-2]) + 1]
    return f"{signature[:-2]}{last}="


def raw_rows(sign):
    """Vectors whose JSON text matters: numbers as written, nesting, duplicates, re-split texts."""
    body = f'"oid_partner":"{OID}","ret_code":"0000","sign_type":"RSA"'
    rest = f"oid_partner={OID}&ret_code=0000&sign_type=RSA"
    lexeme = sign(f"money_order=200.10&{rest}")
    yield "number-as-written", f'{{"money_order":200.10,{body},"sign":"{lexeme}"}}', ACCEPTED
    yield "number-rewritten", f'{{"money_order":200.1,{body},"sign":"{lexeme}"}}', REFUSED
    flag = sign(f"flag=true&{rest}")
    yield "boolean-as-written", f'{{"flag":true,{body},"sign":"{flag}"}}', ACCEPTED
    nested = sign(f'extra={{"a":[1.50,"二"]}}&{rest}')
    yield "nested-as-compact-text", f'{{"extra": {{ "a" : [1.50, "二"] }},{body},"sign":"{nested}"}}', ACCEPTED
    once = sign(rest)
    yield "byte-order-mark", f'\ufeff{{{body},"sign":"{once}"}}', ACCEPTED
    yield "member-twice", f'{{{body},"ret_code":"0000","sign":"{once}"}}', REFUSED
    yield "half-a-character", f'{{{body},"extra":"\\ud800","sign":"{once}"}}', REFUSED
    swallowed = sign(f"info_order=x&no_order=victim&{rest}")
    member = f'"info_order":"x&no_order=victim",{body}'
    yield "text-that-holds-a-member", f'{{{member},"sign":"{swallowed}"}}', REFUSED
    renamed = f'"info_order=x&no_order":"victim",{body}'
    yield "name-that-holds-a-member", f'{{{renamed},"sign":"{swallowed}"}}', REFUSED


def envelope(public: rsa.RSAPublicKey, plaintext: bytes, line_break: str) -> str:
    hmac_key, aes_key, nonce = b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"VUTSRQPONMLKJIHGFEDCBA9876543210", b"A1B2C3D4"
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    counter = nonce + bytes([0, 0, 0, 0, 0, 0, 0, 1])
    cipher = Cipher(algorithms.AES(aes_key), modes.CTR(counter)).encryptor()
    text = f"{wrapped(nonce, line_break)}${wrapped(cipher.update(plaintext) + cipher.finalize(), line_break)}"
    keys = "$".join(wrapped(public.encrypt(key, oaep), line_break) for key in (hmac_key, aes_key))
    tag = hmac.new(hmac_key, text.encode(), hashlib.sha256).digest()
    return f"lianpay1_0_1${keys}${text}${wrapped(tag, line_break)}"


def envelope_rows(public: rsa.RSAPublicKey):
    plaintexts = {"385-bytes": b"x" * 385, "multiple-of-57": b"y" * 114, "chinese": '{"acct_name":"李三"}'.encode()}
    for break_name, line_break in (("none", ""), ("lf", "\n"), ("crlf", "\r\n")):
        for name, plaintext in plaintexts.items():
            yield f"{name}-breaks-{break_name}", plaintext, envelope(public, plaintext, line_break)


def write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    gateway, other = (rsa.generate_private_key(65537, 1024) for _ in range(2))
    vectors = [
        *(
            (name, json.dumps(row, ensure_ascii=False), ok)
            for name, row, ok in signature_rows(signer(gateway), signer(other))
        ),
        *raw_rows(signer(gateway)),
    ]
    signed = [{"id": name, "key": "gateway", "message": text, "valid": ok} for name, text, ok in vectors]
    write(HERE / "signatures.jsonl", [{"name": "gateway", "public_key": public_base64(gateway)}, *signed])
    opened = [
        {"id": name, "plaintext": plaintext.decode(), "pay_load": text}
        for name, plaintext, text in envelope_rows(gateway.public_key())
    ]
    write(HERE / "envelopes.jsonl", [{"name": "gateway", "private_key": private_base64(gateway)}, *opened])


if __name__ == "__main__":
    main()
