"""Each defence of docs/threats.md is taken out, one at a time, and then the attack that it is there for succeeds.

A test that passes says two things: with the defence the attack fails, and it is this defence that it fails on. What
cannot be taken out in the running process has its reason in the table.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import ssl
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, an_order
from fuzz import targets
from fuzz.doors import CONTENT, GENUINE, MERCHANT_PRIVATE, NO_ORDER, NOW, PEN, RING, read_notification
from fuzz.pen import Pen

from lianlian_async import (
    ConfigError,
    JournalUnavailable,
    Merchant,
    NotificationRefused,
    State,
    codec,
    config,
    gateway,
    receiving,
)
from lianlian_async import payout as payout_module
from lianlian_async.crypto import envelope, keys, open_envelope, seal, signing
from lianlian_async.errors import InvalidOrder, LianLianError, MessageRejected
from lianlian_async.gateway import Gateway
from lianlian_async.journal import Record, sqlite_file, sqlite_payouts
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.protocol import answers, fields
from lianlian_async.resolver import Evidence, Outcome, Source, permits, view_of
from lianlian_async.testing.simulator.settings import Behaviour
from lianlian_async.transport import WireAnswer, WireFault, httpx
from lianlian_async.transport import aiohttp as aiohttp_transport
from lianlian_async.transport.trust import gateway_context

Patch = pytest.MonkeyPatch


def refused(attack: Callable[[], object], *errors: type[BaseException]) -> None:
    with pytest.raises(errors or LianLianError):
        attack()


def told_of(record: Record, pen: Pen, result_pay: str = "SUCCESS") -> bytes:
    """A notification about a payout, in this hand."""
    names = ("oid_partner", "no_order", "dt_order", "money_order")
    bill = next(e.oid_paybill for e in record.evidence if e.oid_paybill)
    members = {name: record.content[name] for name in names} | {"oid_paybill": bill, "result_pay": result_pay}
    return pen.write({**members, "sign_type": "RSA"})


async def a_sent_payout(w: Any, client: Any) -> Record:
    w.simulator.script({"acct_name": "李三"}, timeline=[("PROCESSING", 0)])
    [payout] = await client.enlist([(an_order(), "k")])
    await w.calm()
    record = await client.journal.load(payout.no_order)
    assert record.state is State.IN_PROGRESS
    return record


def state_after(*news: Evidence) -> State:
    return view_of((targets.ATTEMPT,), news).state


def heard(kind: str, body: bytes) -> Evidence:
    """What our gateway makes of a body that came as an answer."""
    line: Any = targets._Canned(body)
    ours = Gateway(targets.doors.MERCHANT, money=line, queries=line, clock=targets.doors.CLOCK)
    if kind == "query":
        return targets._at_once(ours.tell_query(CONTENT, bills=()))
    return targets._at_once(ours.tell_sent(Source(kind), CONTENT, b"", attempt=1, seconds=30, bills=()))


# ---------------------------------------------------------------------- what comes in


async def test_t1_without_verification_a_strangers_word_pays(
    world: MakeWorld, pen: Pen, stranger: Pen, monkeypatch: Patch
) -> None:
    """T1. The forged SUCCESS is refused; with the look at the signature gone the payout counts as paid."""
    async with world() as w:
        client = await w.client()
        record = await a_sent_payout(w, client)
        with pytest.raises(NotificationRefused):
            await client.receive(told_of(record, stranger))
        monkeypatch.setattr(receiving, "verify_members", lambda members, ring: None)
        assert (await client.receive(told_of(record, stranger))).state is State.PAID


def test_t1_the_algorithm_is_not_the_messages_to_choose(monkeypatch: Patch) -> None:
    """T1. `sign_type` MD5 is refused, although the signature over it is LianLian's; it is the fixed type that refuses."""
    body = PEN.write({**GENUINE["notification"], "sign_type": "MD5"})
    refused(lambda: read_notification(body))
    monkeypatch.setattr(signing, "SIGN_TYPE", "MD5")
    assert read_notification(body).no_order == NO_ORDER


def test_t3_without_plain_text_a_field_carries_the_blocks_of_a_collision(monkeypatch: Patch) -> None:
    """T3. Binary text in `info_order`, signed, is refused twice: by the verifier and by the field's own shape."""
    block = bytes(range(1, 32)).decode("latin-1")
    body = PEN.write({**GENUINE["notification"], "info_order": f"测试_{block}"})
    refused(lambda: read_notification(body))
    monkeypatch.setattr(signing, "_is_plain", lambda name, value: True)
    refused(lambda: read_notification(body))
    monkeypatch.setitem(
        answers.__dict__, "_SHAPES", {**answers._SHAPES, "info_order": str}
    )  # the shape, which holds a length and printable signs only
    assert block in read_notification(body).info_order


async def test_t4_without_the_look_for_repeats_every_replay_is_written_down(
    world: MakeWorld, pen: Pen, monkeypatch: Patch
) -> None:
    """T4. A genuine message that is sent again changes nothing; without the look each copy grows the record."""
    async with world() as w:
        client = await w.client()
        record = await a_sent_payout(w, client)
        body = told_of(record, pen)
        await client.receive(body)
        before = await client.journal.load(record.no_order)
        await client.receive(body)
        assert await client.journal.load(record.no_order) == before
        monkeypatch.setattr(receiving, "_place_of", lambda news, record: None)
        w.clock.advance(1)
        await client.receive(body)
        assert (await client.journal.load(record.no_order)).version > before.version


def test_t5_without_the_need_of_a_number_a_replayed_refusal_frees_another_order(monkeypatch: Patch) -> None:
    """T5. A signed 4005 without `no_order` is a hint; taken as bound it makes an order that may be paid "refused"."""
    body = PEN.write({"oid_partner": OID_PARTNER, "sign_type": "RSA", "ret_code": "4005", "ret_msg": "x"})
    assert state_after(heard("pay", body)) is State.UNKNOWN
    monkeypatch.setattr(gateway, "bind_answer", lambda answer, content, bills: Outcome.ANSWERED)
    assert state_after(heard("pay", body)) is State.REFUSED


def test_t6_without_binding_another_orders_payment_counts_as_ours(monkeypatch: Patch) -> None:
    """T6. The genuine answer of another order proves nothing; taken as bound, ours is "paid"."""
    body = PEN.write({**GENUINE["query"], "no_order": "another"})
    assert heard("query", body).outcome is Outcome.FOREIGN
    assert state_after(heard("query", body)) is State.UNKNOWN
    monkeypatch.setattr(gateway, "bind_record", lambda answer, content, bills: Outcome.ANSWERED)
    assert state_after(heard("query", body)) is State.PAID


# ---------------------------------------------------------------------- whom we talk to


@pytest.mark.parametrize("kind", ["httpx", "aiohttp"])
async def test_t7_without_the_checks_of_tls_a_request_goes_to_anybody(
    kind: str, monkeypatch: Patch, tmp_path: Path
) -> None:
    """T7. A server of an unknown authority gets 0 bytes; with a context that checks nothing it gets the request."""
    module: Any = httpx if kind == "httpx" else aiohttp_transport
    make: Any = httpx.HttpxTransport if kind == "httpx" else aiohttp_transport.AiohttpTransport
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(serving)
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    refused(lambda: make(context=unchecked), ConfigError)
    async with listening(serving) as (url, received):
        strict = make(context=gateway_context())
        assert isinstance(await strict.post(url, b"canary", deadline_s=10.0), WireFault)
        await strict.aclose()
        assert received == []
        monkeypatch.setattr(module, "check_context", lambda context: context)
        careless = make(context=unchecked)
        assert isinstance(await careless.post(url, b"canary", deadline_s=10.0), WireAnswer)
        await careless.aclose()
        assert b"canary" in b"".join(received)


# ---------------------------------------------------------------------- secrets


def test_t8_without_the_look_at_the_mode_a_key_that_all_can_read_is_taken(monkeypatch: Patch, tmp_path: Path) -> None:
    """T8. A private key of mode 0644 is refused."""
    file = tmp_path / "key.pem"
    file.write_bytes(targets.doors.key("merchant-private"))
    file.chmod(0o644)
    refused(lambda: keys.load_private_key(file), ConfigError)
    monkeypatch.setattr(keys, "_file_problem", lambda status, path, is_private: None)
    assert keys.load_private_key(file).private_numbers() == MERCHANT_PRIVATE.private_numbers()


def test_t8_a_short_key_is_not_taken_silently() -> None:
    """T8. 1024 bits are taken, because LianLian's own may be that short, and never without a warning."""
    assert len(RING.warnings) == 2


@pytest.mark.parametrize("what", ["card", "name"])
async def test_t9_without_masking_a_payout_shows_its_payee(what: str, world: MakeWorld, monkeypatch: Patch) -> None:
    """T9. What a caller, a log or a page is shown of a payout has first six, last four, and one character."""
    async with world() as w:
        client = await w.client()
        payout = await w.pay(client, an_order())
        secret = an_order().card_no if what == "card" else an_order().acct_name
        assert secret not in repr(payout)
        monkeypatch.setattr(payout_module, f"mask_{what}", str)
        assert secret in repr(await client.get(payout.no_order))


def test_t9_t10_without_the_filter_the_gateways_words_are_shown_raw(monkeypatch: Patch) -> None:
    """T9, T10. A `ret_msg` that repeats the payee and moves the cursor: masked and made visible."""
    words = f"{CONTENT['acct_name']} {CONTENT['card_no']} \u202e\u200b"
    body = PEN.write({**GENUINE["pay"], "ret_msg": words})
    told = heard("pay", body).ret_msg or ""
    assert CONTENT["card_no"] not in told
    assert told.isprintable()
    monkeypatch.setattr(gateway, "safe_text", lambda text, limit=200: text)
    assert "\u202e" in (heard("pay", body).ret_msg or "")
    monkeypatch.setattr(gateway, "as_told", lambda text, content: text)
    assert heard("pay", body).ret_msg == words


# ---------------------------------------------------------------------- too much of everything


def test_t11_without_its_limits_the_parser_takes_anything(monkeypatch: Patch) -> None:
    """T11. A body that is too long or too deep is unreadable."""
    long, deep = b'{"a":"' + b"x" * codec.BODY_BYTES_MAX + b'"}', b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"
    refused(lambda: codec.parse_object(long), MessageRejected)
    refused(lambda: codec.parse_object(deep), MessageRejected)
    monkeypatch.setattr(codec, "BODY_BYTES_MAX", 10**9)
    monkeypatch.setattr(codec, "DEPTH_MAX", 10**3)
    assert len(codec.parse_object(long)["a"] or "") == 65536
    assert codec.parse_object(deep)["a"] == "[" * 99 + "]" * 99


async def test_t11_without_its_limit_a_transport_reads_on(monkeypatch: Patch, tmp_path: Path) -> None:
    """T11. An answer longer than 64 KiB is a fault, and its connection is dropped."""
    async with listening(None, b"x" * 100_000) as (url, _):
        transport = httpx.HttpxTransport()
        assert isinstance(await transport.post(url, b"{}", deadline_s=10.0), WireFault)
        monkeypatch.setattr(httpx, "ANSWER_BYTES_MAX", 10**9)
        answer = await transport.post(url, b"{}", deadline_s=10.0)
        assert isinstance(answer, WireAnswer)
        assert len(answer.body) == 100_000
        await transport.aclose()


@pytest.mark.parametrize("url", ["https://gateway.example/paymentapi/", "https://10.0.0.1/"])
def test_t12_without_its_list_an_order_can_be_sent_anywhere(url: str, monkeypatch: Patch) -> None:
    """T12. The gateway's address is LianLian's or this machine's."""
    refused(lambda: Merchant(oid_partner=OID_PARTNER, keys=RING, base_url=url), ConfigError)
    monkeypatch.setattr(config, "_LIANLIAN_DOMAINS", ("gateway.example", "10.0.0.1"))
    assert Merchant(oid_partner=OID_PARTNER, keys=RING, base_url=url).base_url == url


@pytest.mark.parametrize("url", ["http://a.example.com/n", "https://u:p@a.example.com/n", "https://10.0.0.1/n"])
def test_t12_without_its_check_notifications_are_asked_for_anywhere(url: str, monkeypatch: Patch) -> None:
    """T12. `notify_url` is https to a public name, without credentials."""
    refused(lambda: Merchant(oid_partner=OID_PARTNER, keys=RING, notify_url=url), ConfigError)
    monkeypatch.setattr(config, "notify_url_fault", lambda url: None)
    assert Merchant(oid_partner=OID_PARTNER, keys=RING, notify_url=url).notify_url == url


@pytest.mark.parametrize("what", ["elements", "text", "partner"])
def test_t13_what_is_cheap_to_refuse_costs_no_signature_check(what: str, stranger: Pen, monkeypatch: Patch) -> None:
    """T13. Size, shape and merchant come before the signature; without the look at the size each costs a check."""
    checks: list[object] = []
    monkeypatch.setattr(receiving, "verify_members", lambda *args: checks.append(args))
    more: dict[str, Any] = {
        "elements": {f"x{n}": "1" for n in range(1000)},
        "text": {"x": "x" * 8192},
        "partner": {"oid_partner": "1"},
    }[what]
    body = stranger.write({**GENUINE["notification"], **more})
    refused(lambda: read_notification(body), NotificationRefused)
    assert checks == []
    monkeypatch.setattr(receiving, "_require_small", lambda size, maximum: None)
    if what != "partner":
        read_notification(body)
        assert len(checks) == 1


# ---------------------------------------------------------------------- the envelope


def _opened(pay_load: str) -> str:
    try:
        return open_envelope(pay_load, MERCHANT_PRIVATE).decode("latin-1")
    except MessageRejected as answer:
        return f"refused: {answer}"


def test_t14_every_failure_of_an_envelope_has_one_answer() -> None:
    """T14. Whichever part is wrong, and however: the same sentence, without a cause to read more from."""
    good = seal(b"{}", targets._TO_US).split("$")
    bad = ["", "AAAA", "!", good[3], base64.b64encode(bytes(128)).decode(), "\ud800", good[1][:-4]]
    wrong = [[*good[:place], value, *good[place + 1 :]] for place in range(6) for value in bad if value != good[place]]
    sentences = {_opened("$".join(parts)) for parts in wrong} | {_opened("$".join(good[:n])) for n in range(6)}
    assert sentences == {"refused: unreadable: the envelope does not open"}


def test_t14_without_the_comparison_of_the_tag_an_envelope_can_be_changed(monkeypatch: Patch) -> None:
    """T14. AES-CTR alone is soft: who flips a bit of the ciphertext flips that bit of the message."""
    parts = seal(b'{"money_order":"1.00"}', targets._TO_US).split("$")
    ciphertext = bytearray(base64.b64decode(parts[4]))
    ciphertext[16] ^= ord("1") ^ ord("9")
    changed = "$".join([*parts[:4], base64.b64encode(ciphertext).decode(), parts[5]])
    assert _opened(changed).startswith("refused")
    monkeypatch.setattr(envelope.hmac, "compare_digest", lambda one, other: True)
    assert _opened(changed) == '{"money_order":"9.00"}'


@pytest.mark.parametrize("dedupe", ["perfect", "forgetful"])
async def test_t15_a_captured_envelope_pays_once(dedupe: str, world: MakeWorld) -> None:
    """T15. It has no time, so it can be sent again: it is the number that pays once. With a gateway that forgets
    numbers it pays twice, and so an envelope is a bearer cheque, which is stored and logged nowhere."""
    behaviour = Behaviour(dedupe=dedupe, forget_after_s=60.0, settle_s=(1.0, 1.0))  # type: ignore[arg-type]
    async with world(behaviour=behaviour) as w:
        client = await w.client()
        bodies: list[bytes] = []
        post = w.wires[0].inner.post

        async def capture(url: str, body: bytes, **more: Any) -> Any:
            bodies.append(body)
            return await post(url, body, **more)

        w.wires[0].inner.post = capture  # type: ignore[method-assign]
        payout = await w.pay(client, an_order())
        await w.run_for(3600)
        await post(f"{w.merchant.base_url}payment.htm", bodies[0], deadline_s=10.0)
        await w.run_for(3600)
        paid = w.simulator.ledger.payments(payout.no_order)
        assert len(paid) == (1 if dedupe == "perfect" else 2)
        assert not any(json.loads(bodies[0])["pay_load"] in repr(r) for r in await w.records(client))


def test_t16_the_keys_of_a_million_envelopes_are_distinct() -> None:
    """T16. What one envelope draws is two keys and a nonce. (Two of a million 64-bit hashes agree by chance once in
    37 million runs.)"""
    drawn = (hash(envelope._characters(72, envelope.os.urandom)) & (2**64 - 1) for _ in range(1_000_000))
    assert len(set(array("Q", drawn))) == 1_000_000


def test_t16_nothing_but_what_was_drawn_is_in_an_envelope() -> None:
    """T16. With the source patched to repeat itself, nonce and ciphertext are those of every other envelope."""
    sealed = [seal(b"same", targets._TO_US, lambda count: bytes(range(count))).split("$") for _ in range(20)]
    assert len({(nonce, ciphertext, tag) for *_, nonce, ciphertext, tag in sealed}) == 1
    drawn = [seal(b"same", targets._TO_US).split("$") for _ in range(20)]
    assert len({nonce for *_, nonce, _, _ in drawn}) == 20


# ---------------------------------------------------------------------- people and files


async def _tampered(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.add(
        [
            Record(
                no_order="n1", key="k", oid_partner=OID_PARTNER, content=dict(CONTENT), content_hash="x", created_at=NOW
            )
        ]
    )
    await journal.close()
    db = sqlite3.connect(path, isolation_level=None)
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.execute(r"UPDATE payouts SET content = replace(content, '\u4e09', '\u56db')")
    db.close()


async def test_t17_without_the_chain_a_tampered_row_is_believed(tmp_path: Path, monkeypatch: Patch) -> None:
    """T17. Another name, written into the file by hand: the start is refused. (The card is summed up a second time.)"""
    path = tmp_path / "payouts.db"
    await _tampered(path)
    with pytest.raises(JournalUnavailable, match="changed behind"):
        await SqliteJournal(path).open()
    honest = sqlite_payouts.Payouts.chained
    monkeypatch.setattr(
        sqlite_payouts.Payouts, "chained",
        lambda self, db, rows: ((row, stored, True) for row, stored, _ in honest(self, db, rows)),
    )  # fmt: skip
    journal = SqliteJournal(path)
    await journal.open()
    record = await journal.load("n1")
    await journal.close()
    assert record is not None
    assert record.content["acct_name"] == "李四"


async def test_t17_without_the_second_name_one_person_approves_twice(world: MakeWorld, monkeypatch: Patch) -> None:
    """T17. Where two must approve, the second word of the same person is refused, whatever its capitals."""
    async with world() as w:
        w.simulator.script({"acct_name": "李三"}, pay=["4002"])
        client = await w.client(two_person=True)
        payout = await w.pay(client, an_order())
        await w.done(client.approve(payout.no_order, by="chen", note="asked"))
        with pytest.raises(LianLianError, match="another person"):
            await w.done(client.approve(payout.no_order, by="Chen", note="asked"))
        assert not w.requests("confirm")
        monkeypatch.setattr(permits, "same_person", lambda one, other: False)
        await w.done(client.approve(payout.no_order, by="Chen", note="asked"))
        assert len(w.requests("confirm")) == 1


async def test_t19_without_the_table_of_mounts_a_journal_lies_on_a_share(tmp_path: Path, monkeypatch: Patch) -> None:
    """T19. A network file system is refused, and so is a file that others can read."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - nfs4 somewhere rw\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", mounts)
    with pytest.raises(ConfigError, match="nfs4"):
        await SqliteJournal(tmp_path / "payouts.db").open()
    monkeypatch.setattr(sqlite_file, "is_network", lambda kind: False)
    journal = SqliteJournal(tmp_path / "payouts.db")
    await journal.open()
    await journal.close()
    (tmp_path / "payouts.db").chmod(0o644)
    with pytest.raises(ConfigError, match="can be read or written by others"):
        await SqliteJournal(tmp_path / "payouts.db").open()


@pytest.mark.parametrize("name", ["李\u200b三", "李\u202e三", "李\x00三", "e\u0301", "李三\u3164", "\ud800"])
def test_t20_without_the_general_rule_a_name_carries_what_nobody_sees(name: str, monkeypatch: Patch) -> None:
    """T20. Invisible, reordering, null and decomposed characters, and half ones."""
    refused(lambda: an_order(acct_name=name), InvalidOrder)
    monkeypatch.setattr(fields, "_general_fault", lambda value: None)
    if name != "\ud800":  # which no encoding takes, whatever the rules
        assert an_order(acct_name=name).acct_name == name


@asynccontextmanager
async def listening(context: ssl.SSLContext | None, body: bytes = b"{}") -> AsyncIterator[tuple[str, list[bytes]]]:
    """A small server of its own: its address, and what it received."""
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            received.extend((head, await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{port}/", received
    finally:
        server.close()
        await asyncio.sleep(0)
