"""One function for each door that takes other people's bytes. Bytes in; out comes whether anything was accepted.

What may happen is a typed result or the one declared error. Any other exception is a finding, and so is a result
that does not keep what acceptance promises: it reads the same when it is written anew, over the very string that
was signed; and the news that is made of it can be stored, folded and decided upon.
"""

from __future__ import annotations

import atexit
import base64
import csv
import hmac
import io
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lianlian_async import ConfigError, JournalKeys, KeyRing, NotificationRefused, receiving
from lianlian_async.batch import Batch, read_batch
from lianlian_async.batch.sheets import ZIP_MAGIC
from lianlian_async.codec import parse_object
from lianlian_async.crypto import load_private_key, load_public_key, open_envelope, seal
from lianlian_async.crypto.signing import string_to_sign
from lianlian_async.errors import MessageRejected
from lianlian_async.gateway import Gateway
from lianlian_async.journal import Record
from lianlian_async.journal.rows import evidence_row, read_evidence
from lianlian_async.numbers import check_key
from lianlian_async.protocol.answers import Notification
from lianlian_async.protocol.messages import content_hash
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source, decide, view_of
from lianlian_async.testing.simulator import wire
from lianlian_async.transport import WireAnswer

from . import doors
from .doors import CONTENT, MERCHANT_PRIVATE, NO_ORDER, NOW, OID_PARTNER, PEN
from .pen import encoded, joined

ATTEMPT = Attempt(1, Source.PAY, NOW, NOW + timedelta(seconds=30), content_hash(CONTENT), "w")
TAKEN = Evidence(
    source=Source.PAY, outcome=Outcome.ANSWERED, at=NOW + timedelta(seconds=1), asked_at=NOW, attempt=1, ret_code="0000"
)
RECORD = Record(
    no_order=NO_ORDER, key="k", oid_partner=OID_PARTNER, content=CONTENT, content_hash=content_hash(CONTENT),
    created_at=NOW, attempts=(ATTEMPT,), evidence=(TAKEN,),
)  # fmt: skip
LATER = NOW + timedelta(minutes=1)

# ---------------------------------------------------------------------- messages


def notification(body: bytes) -> bool:
    """A notification as it came, and signed anew: parsed, verified, bound to the order, and made news of."""
    return True in [_notified(form) for form in _forms(body)]


def _notified(body: bytes) -> bool:
    try:
        told = doors.read_notification(body)
    except NotificationRefused:
        return False
    _require_genuine(body, told, doors.read_notification)
    if told.no_order != NO_ORDER:
        # It is kept until its number is known, and must then say what it said.
        assert Notification.read(receiving._said(told)) == told
        return True
    news = receiving._news(told, RECORD, at=LATER, asked_at=LATER)
    if news.outcome is Outcome.ANSWERED:
        assert told.dt_order == CONTENT["dt_order"]
        assert told.money_order == Decimal(CONTENT["money_order"])
    _require_usable(news)
    return True


def answers(body: bytes) -> bool:
    """One body as the answer to pay, to confirm and to query: as it came, and signed anew."""
    return True in [_answered(form) for form in _forms(body)]


class _Canned:
    """A wire on which one answer comes, whatever is asked."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def post(self, url: str, body: bytes, **more: Any) -> WireAnswer:
        return WireAnswer(200, self._body)

    def renew(self) -> None:
        pass


def _answered(body: bytes) -> bool:
    line: Any = _Canned(body)
    gateway = Gateway(doors.MERCHANT, money=line, queries=line, clock=doors.CLOCK)
    heard = [
        ("query", _at_once(gateway.tell_query(CONTENT, bills=()))),
        *(
            (kind, _at_once(gateway.tell_sent(kind, CONTENT, b"", attempt=1, seconds=30, bills=())))
            for kind in (Source.PAY, Source.CONFIRM)
        ),
    ]
    for kind, news in heard:
        _require_usable(news)
        if news.outcome in (Outcome.ANSWERED, Outcome.NUMBERLESS, Outcome.FOREIGN, Outcome.MISMATCHED):
            reader = doors.READERS[kind]
            _require_genuine(body, reader(body), reader)
    return any(news.outcome is Outcome.ANSWERED for _, news in heard)


def _at_once(work: Coroutine[Any, Any, Evidence]) -> Evidence:
    """The result of what waits for nothing but its turn."""
    try:
        while True:
            work.send(None)
    except StopIteration as done:
        news: Evidence = done.value
        return news


def _forms(body: bytes) -> list[bytes]:
    """The body itself; and, if it can be read at all, its members signed by LianLian's key."""
    try:
        members = parse_object(body)
    except MessageRejected:
        return [body]
    # The simulator reads with code of its own: two readers of one body must not find two messages.
    assert wire.parse(body) == members
    return [body, encoded({**members, "sign": PEN.sign(joined(members))})]


def _require_genuine(body: bytes, told: Any, read: Callable[[bytes], Any]) -> None:
    """What was accepted is signed over its one canonical string, by any other verifier's reckoning, too."""
    members = parse_object(body)
    text = joined(members)
    assert string_to_sign(members).decode() == text
    sign = base64.b64decode(members["sign"] or "", validate=True)
    PEN.key.public_key().verify(sign, text.encode(), padding.PKCS1v15(), hashes.MD5())
    again = encoded(dict(reversed(members.items())))
    assert string_to_sign(parse_object(again)).decode() == text
    assert read(again) == told


def _require_usable(news: Evidence) -> None:
    """It can be stored, folded and decided upon; and shown: without signs that move a cursor, card or name."""
    assert read_evidence(evidence_row(news)) == news
    decide(view_of(RECORD.attempts, (*RECORD.evidence, news)), NOW, LATER)
    for text in (news.ret_msg, news.detail):
        assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} for char in text or "")
        assert CONTENT["card_no"] not in (text or "")
        assert CONTENT["acct_name"] not in (text or "")


# ---------------------------------------------------------------------- the envelope

_TO_US = KeyRing(PEN.key, MERCHANT_PRIVATE.public_key())
_HMAC_KEY, _AES_KEY = b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"VUTSRQPONMLKJIHGFEDCBA9876543210"
_SEALED = "$".join(base64.b64encode(_TO_US.seal_key(secret)).decode() for secret in (_HMAC_KEY, _AES_KEY))


def envelope(data: bytes) -> bool:
    """The opener: an envelope as it came; its last parts under keys and a tag that fit; and anything sealed by us."""
    text = data.decode("utf-8", "surrogateescape")
    opened = _opened(text)
    parts = text.split("$")
    for inside in (text, "$".join(parts[3:5])):
        signed = inside.encode("utf-8", "surrogateescape")
        tag = base64.b64encode(hmac.digest(_HMAC_KEY, signed, "sha256")).decode()
        opened |= _opened(f"lianpay1_0_1${_SEALED}${inside}${tag}")
    assert open_envelope(seal(data, _TO_US), MERCHANT_PRIVATE) == data
    return opened


def _opened(pay_load: str) -> bool:
    try:
        plaintext = open_envelope(pay_load, MERCHANT_PRIVATE)
    except MessageRejected as refused:
        if str(refused) != "unreadable: the envelope does not open":
            raise AssertionError("there is one answer for every failure (T14)") from refused
        return False
    # The simulator opens with code of its own, and is the more liberal of the two.
    assert wire._open_envelope(pay_load, MERCHANT_PRIVATE) == plaintext
    return True


# ---------------------------------------------------------------------- keys


def keys(content: bytes) -> bool:
    """The loaders of the two RSA keys and of a journal's keys."""
    loaded = False
    with suppress(ConfigError):
        _require_working_private(load_private_key(content))
        loaded = True
    with suppress(ConfigError):
        _require_working_public(load_public_key(content))
        loaded = True
    return _journal_keys(content) or loaded


def _require_working_private(key: RSAPrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert load_private_key(pem).private_numbers() == key.private_numbers()
    with suppress(ConfigError):
        ring = KeyRing(key, PEN.key.public_key())
        key.public_key().verify(base64.b64decode(ring.sign(b"x")), b"x", padding.PKCS1v15(), hashes.MD5())


def _require_working_public(key: RSAPublicKey) -> None:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert load_public_key(pem).public_numbers() == key.public_numbers()
    with suppress(ConfigError):
        ring = KeyRing(MERCHANT_PRIVATE, key)
        with suppress(MessageRejected):
            ring.verify(b"x", base64.b64encode(bytes(key.key_size // 8)).decode())


_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def _file(content: bytes) -> Path:
    path = _FOLDER / "file"
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(content)
    return path


def _journal_keys(content: bytes) -> bool:
    try:
        loaded = JournalKeys.load(_file(content))
    except ConfigError:
        return False
    assert len(loaded.derived(loaded.newest, b"salt", "p")) == 32
    return True


# ---------------------------------------------------------------------- files of payouts


def batch(raw: bytes) -> bool:
    """A file of payouts that is text, however encoded; workbooks have a door of their own."""
    return not raw.startswith(ZIP_MAGIC) and _read(raw)


_PARTS = {
    "[Content_Types].xml": """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>
</Types>""",
    "_rels/.rels": """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/>
</Relationships>""",
    "xl/workbook.xml": """<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"
xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>
<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/>
</Relationships>""",
}


def sheet(xml: bytes) -> bool:
    """A workbook of which this is the one sheet: what a file of payouts in .xlsx holds."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as parts:
        for name, content in {**_PARTS, "xl/worksheets/sheet1.xml": xml}.items():
            parts.writestr(name, content)
    return _read(stream.getvalue())


def _read(raw: bytes) -> bool:
    try:
        found = read_batch(_file(raw), oid_partner="1")
    except ConfigError:
        return False
    _require_consistent(found)
    return bool(found.rows)


def _require_consistent(found: Batch) -> None:
    """Lines in order, keys that name one payment each, a sum that is theirs; and saved again, the same payments."""
    lines = [row.line for row in found.rows]
    assert lines == sorted(set(lines))
    assert len({check_key(row.key) for row in found.rows}) == len(lines)
    assert found.problem_count >= len(found.problems)
    assert found.total == sum(row.order.money_order for row in found.rows)
    if found.rows:
        again = read_batch(_file(_saved(found)), oid_partner="1")
        assert again.problem_count == 0, again.problems
        assert [(row.key, row.order) for row in again.rows] == [(row.key, row.order) for row in found.rows]


def _saved(found: Batch) -> bytes:
    members = [{"key": row.key, **row.order.members()} for row in found.rows]
    names = sorted({name for row in members for name in row})
    stream = io.StringIO(newline="")
    # The apostrophe is Excel's for "this is text": what stands behind it is taken as it is.
    cells = [["'" + row[name] if name in row else "" for name in names] for row in members]
    csv.writer(stream).writerows([names, *cells])
    return stream.getvalue().encode("utf-8-sig")


TARGETS: Mapping[str, Callable[[bytes], bool]] = {
    target.__name__: target for target in (notification, answers, envelope, keys, batch, sheet)
}
