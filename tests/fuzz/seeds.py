"""Writes `corpus/`: `PYTHONPATH=tests python -m fuzz.seeds`. Files that are there already stay as they are, because
sealing is never the same twice; delete what is to be made anew."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator, Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from lianlian_async.codec import encode_sealed
from lianlian_async.crypto import seal
from lianlian_async.protocol.messages import confirm_members

from .doors import CONTENT, GENUINE, MERCHANT_PRIVATE, NO_ORDER, OID_PARTNER, PEN
from .mutate import CORPUS
from .pen import encoded
from .targets import _HMAC_KEY, _TO_US

Files = Iterator[tuple[str, bytes]]


def _without(members: Mapping[str, str], *names: str, **changes: str) -> dict[str, str | None]:
    return {name: value for name, value in {**members, **changes}.items() if name not in names}


def notification() -> Files:
    genuine = GENUINE["notification"]
    yield "paid", PEN.write(genuine)
    yield "failed", PEN.write(_without(genuine, "settle_date", result_pay="FAILURE", info_order="测试_账户异常"))
    yield "refunded", PEN.write(_without(genuine, "info_order", result_pay="CANCEL"))
    yield "other-amount", PEN.write({**genuine, "money_order": "25.77"})
    yield "other-order", PEN.write({**genuine, "no_order": "attacker1"})
    yield "further-members", PEN.write({**genuine, "memo": "x", "acct_name": "李三", "new_member": '{"a":[1,2]}'})
    yield "resplit", PEN.write({**genuine, "info_order": f"x&no_order={NO_ORDER}&result_pay=CANCEL&s="})
    yield "unsigned", encoded(genuine)
    written = json.loads(PEN.write(genuine))
    yield "a-number", encoded(written).replace(b'"25.78"', b"25.78")
    yield "escaped", json.dumps({**written, "empty": "", "nothing": None}, indent=1).encode()


def answers() -> Files:
    signed = {"oid_partner": OID_PARTNER, "sign_type": "RSA"}
    for kind in ("pay", "confirm", "query"):
        yield kind, PEN.write(GENUINE[kind])
    yield "refused", PEN.write({**signed, "ret_code": "4005", "ret_msg": "商户未开通权限"})
    yield "no-record", PEN.write({**signed, "ret_code": "8901", "ret_msg": "没有记录"})
    yield "review", PEN.write({**GENUINE["pay"], "ret_code": "4002", "ret_msg": "疑似重复提交订单"})
    yield "names-the-payee", PEN.write({**GENUINE["pay"], "ret_msg": "李三 6228480222300000001\u202e\u200b不存在"})
    yield "failed", PEN.write(_without(GENUINE["query"], "oid_paybill", "settle_date", result_pay="FAILURE"))
    yield "waiting", PEN.write({**GENUINE["query"], "result_pay": "WAITING"})
    yield "other-bill", PEN.write({**GENUINE["query"], "money_order": "1.00", "dt_order": "20261123100001"})
    yield "unsigned", encoded({**signed, "ret_code": "9999", "ret_msg": "系统异常"})
    yield "web-page", b"<html><body>502 Bad Gateway</body></html>"
    yield "nested", PEN.write({**GENUINE["pay"], "more": '[{"a":{"b":1e400}},-0,null,true]'})


def envelope() -> Files:
    from lianlian_async import KeyRing

    ours = KeyRing(PEN.key, MERCHANT_PRIVATE.public_key())
    pay = json.loads(encode_sealed(CONTENT, ours))["pay_load"]
    yield "pay", pay.encode()
    members = confirm_members(
        oid_partner=OID_PARTNER, no_order=NO_ORDER, confirm_code="542312", notify_url="https://a.example.com/n"
    )
    yield "confirm", json.loads(encode_sealed(members, ours))["pay_load"].encode()
    yield "empty", seal(b"", _TO_US).encode()
    parts = pay.split("$")
    broken = [parts[0], *("\r\n".join(part[n : n + 76] for n in range(0, len(part), 76)) for part in parts[1:])]
    yield "with-line-breaks", "$".join(broken).encode()
    yield "parts", f"{base64.b64encode(b'ABCDEFGH').decode()}${base64.b64encode(b'ciphertext').decode()}".encode()
    yield "short-nonce", b"QUJD$Y2lwaGVydGV4dA=="
    yield "other-version", pay.replace("lianpay1_0_1", "lianpay1_0_2").encode()
    yield "a-key", _HMAC_KEY


def keys() -> Files:
    private, public = MERCHANT_PRIVATE, PEN.key.public_key()
    pkcs8, pkcs1, plain = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    spki = PublicFormat.SubjectPublicKeyInfo
    yield "private-pkcs8", private.private_bytes(Encoding.PEM, pkcs8, plain)
    yield "private-pkcs1", private.private_bytes(Encoding.PEM, pkcs1, plain)
    yield "private-der", private.private_bytes(Encoding.DER, pkcs8, plain)
    yield "private-base64", base64.b64encode(private.private_bytes(Encoding.DER, pkcs8, plain))
    yield "private-encrypted", private.private_bytes(Encoding.PEM, pkcs8, BestAvailableEncryption(b"x"))
    yield "private-short", rsa.generate_private_key(65537, 1024).private_bytes(Encoding.DER, pkcs1, plain)
    yield "private-ec", ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, pkcs8, plain)
    yield "private-ssh", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    yield "public-pem", public.public_bytes(Encoding.PEM, spki)
    yield "public-pkcs1", public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    yield "public-der", public.public_bytes(Encoding.DER, spki)
    yield "public-base64", base64.encodebytes(public.public_bytes(Encoding.DER, spki))
    yield "certificate", _certificate()
    yield "journal-keys", b"2026-11:" + base64.b64encode(bytes(32)) + b"\nold:" + base64.b64encode(b"k" * 32) + b"\n"


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuzz.example")])
    day = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, PEN.key.public_key(), 1, day, day + datetime.timedelta(days=1))
    return made.sign(PEN.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def batch() -> Files:
    rows = "25.78,6228480402564890018,李三,工资,k1\r\n100.00,6217000010012345678,欧阳娜娜,奖金,k2\r\n"
    text = f"money_order,card_no,acct_name,memo,key\r\n{rows}"
    yield "utf8", text.encode()
    yield "utf8-with-a-mark", text.encode("utf-8-sig")
    yield "gb18030", text.encode("gb18030")
    yield "utf16", text.replace(",", "\t").encode("utf-16")
    yield "semicolons", text.replace(",", ";").encode()
    yield "chinese-header", "付款金额,银行账号,收款人姓名\n1.00,6228480402564890018,李三\n".encode()
    yield "quoted", '"money_order",card_no,acct_name\n"1,234.50","\'6228480402564890018","李 ""三"""\n'.encode()
    yield "excel", 'money_order,card_no,acct_name\n1.5,="6228480402564890018",李三\n,6.2E+18,#N/A\n=1+1,,\n'.encode()
    yield "twins", "money_order,card_no,acct_name\n1,6228480402564890018,李三\n1,6228480402564890018,李三\n".encode()
    yield (
        "numbers",
        (
            "no_order,dt_order,money_order,card_no,acct_name,flag_card,bank_code,prcptcd,risk_item\n"
            "N1,20261123100000,0.01,6228480402564890018,某公司,1,01020000,102100099996,\n"
        ).encode(),
    )
    yield "private", "money_order,card_no,acct_name\n1.00,6228480402564890018,\ue7d0公司\n".encode()
    yield "nothing", b"\n\n , \n"


def sheet() -> Files:
    def xml(*rows: str) -> bytes:
        lines = "".join(f'<row r="{n}">{row}</row>' for n, row in enumerate(rows, start=1))
        space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        return f'<?xml version="1.0"?><worksheet xmlns="{space}"><sheetData>{lines}</sheetData></worksheet>'.encode()

    def text(value: str) -> str:
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    header = "".join(map(text, ("money_order", "card_no", "acct_name")))
    good = f"<c><v>25.78</v></c>{text('6228480402564890018')}{text('李三')}"
    yield "one-row", xml(header, good)
    yield "a-formula", xml(header, f"<c><f>1+1</f><v>2</v></c>{text('6228480402564890018')}{text('李三')}")
    yield "a-number-as-card", xml(header, f"<c><v>1</v></c><c><v>6.22848040256489E+18</v></c>{text('李三')}")
    yield "hidden", xml(header, good).replace(b'<row r="2">', b'<row r="2" hidden="1">')
    yield (
        "merged",
        xml(header, good).replace(b"</worksheet>", b'<mergeCells><mergeCell ref="A2:B2"/></mergeCells></worksheet>'),
    )
    yield "far-away", xml(header, good, '<c r="XFD1048576"><v>1</v></c>')
    yield "row-of-no-sheet", xml(header, good).replace(b'<row r="2">', b'<row r="' + b"7" * 128 + b'">')
    yield "cell-of-no-sheet", xml(header, good).replace(b"<c><v>", b'<c r="ZZZZZZZZZ2"><v>')
    yield "an-error", xml(header, f'<c t="e"><v>#N/A</v></c><c t="b"><v>1</v></c><c t="s"><v>0</v></c>{good}')


def main() -> None:
    """Write what is not there yet."""
    for target in (notification, answers, envelope, keys, batch, sheet):
        folder = CORPUS / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in target():
            if not (folder / name).exists():
                (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
