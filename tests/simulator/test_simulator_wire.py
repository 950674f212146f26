"""What the simulated gateway accepts on the wire, and that nothing else moves money or shows an exception."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
import trustme
from foreign_merchant import OID_PARTNER, Merchant, make_key, seal

from lianlian_async.testing.simulator import Behaviour
from lianlian_async.testing.simulator.wire import Unreadable, parse, text_to_sign


@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
@pytest.mark.parametrize("trailing", [False, True])
async def test_line_breaks_in_the_envelope_are_served(run, newline, trailing):
    """JVM senders break base64 with CRLF or LF, perhaps at the end too; the HMAC covers the text as sent."""
    async with run() as (_, merchant):
        _, body, _ = await merchant.post(
            "pay", merchant.sealed(merchant.content(), newline=newline or "\n" * trailing, trailing=trailing)
        )
        assert merchant.checked(body)["ret_code"] == "0000"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json",
        "text/json;charset=GBK",
        "",
    ],
)
async def test_any_content_type_is_served(run, content_type):
    """The body is UTF-8 JSON whatever the header claims."""
    async with run() as (_, merchant):
        _, body, _ = await merchant.post("pay", merchant.sealed(merchant.content()), **{"Content-Type": content_type})
        assert merchant.checked(body)["ret_code"] == "0000"


async def test_members_may_come_in_any_order_and_in_any_number(run):
    """Reversed, with an unknown signed member, with empty and null ones, with a byte order mark, with escapes."""
    async with run() as (_simulator, merchant):
        content = merchant.sign({**merchant.content(), "risk_item": '{"a":"1"}', "future": "yes"})
        plain = dict(reversed([*content.items(), ("prcptcd", ""), ("city_code", None)]))
        envelope = merchant.sealed(merchant.content("other", money_order="1.00"))
        for number, text in enumerate((json.dumps(plain), json.dumps(plain, ensure_ascii=False, indent=2))):
            pay_load = seal(b"\xef\xbb\xbf" * number + text.encode(), merchant.gateway_key)
            outer = json.dumps({"extra": [1, {"a": None}], "pay_load": pay_load, "oid_partner": OID_PARTNER})
            _, body, _ = await merchant.post("pay", outer.encode())
            assert merchant.checked(body)["ret_code"] == ("0000", "2005")[number]
        _, body, _ = await merchant.post("pay", envelope)
        assert merchant.checked(body)["ret_code"] == "0000"


async def test_numbers_sign_as_they_are_written(run):
    """A JSON number takes part in the signature with the lexeme the sender wrote."""
    async with run() as (_simulator, merchant):
        members = merchant.sign(
            {"oid_partner": OID_PARTNER, "sign_type": "RSA", "no_order": "no1", "n": "1.50", "b": "true"}
        )
        body = json.dumps(members).replace('"1.50"', "1.50").replace('"true"', "true").encode()
        _, answer, _ = await merchant.post("query", body)
        assert merchant.checked(answer)["ret_code"] == "8901"


@pytest.mark.parametrize(
    ("spoiled", "ret_code"),
    [
        ({"spoil_hmac": True}, "4007"),
        ({"spoil_cipher": True}, "4007"),
        ({"counter": 0}, "4007"),
        ({"counter": 2}, "4007"),
    ],
)
async def test_a_spoiled_envelope_books_nothing(run, spoiled, ret_code):
    """Wrong HMAC, altered ciphertext, wrong first counter: 4007, nothing stored."""
    async with run() as (simulator, merchant):
        _, body, _ = await merchant.post("pay", merchant.sealed(merchant.content(), **spoiled))
        answer = merchant.checked(body)
        assert answer["ret_code"] == ret_code
        assert "no_order" not in answer
        assert simulator.ledger.entries == []
        assert (await merchant.query())["ret_code"] == "8901"


async def test_strangers_book_nothing(run, merchant_key, gateway_key):
    """An envelope for another key is 4007, another signature or an altered plaintext 1001, another partner 3001."""
    async with run() as (simulator, merchant):

        async def code(endpoint: str, body: bytes) -> str:
            return merchant.checked((await merchant.post(endpoint, body))[1])["ret_code"]

        assert await code("pay", Merchant(merchant_key, make_key()).sealed(merchant.content())) == "4007"
        assert await code("pay", Merchant(make_key(), gateway_key).sealed(merchant.content())) == "1001"
        altered = merchant.sign(merchant.content()) | {"money_order": "99.00"}
        pay_load = seal(json.dumps(altered).encode(), merchant.gateway_key)
        assert await code("pay", json.dumps({"oid_partner": OID_PARTNER, "pay_load": pay_load}).encode()) == "1001"
        assert await code("pay", merchant.sealed(merchant.content(oid_partner="201408071000009999"))) == "3001"
        inner = json.loads(merchant.sealed(merchant.content(oid_partner="201408071000009999")))
        assert await code("pay", json.dumps(inner | {"oid_partner": OID_PARTNER}).encode()) == "3001"
        assert await code("pay", json.dumps(merchant.sign(merchant.content())).encode()) == "1004"  # not sealed
        md5 = merchant.sign({"oid_partner": OID_PARTNER, "sign_type": "MD5", "no_order": "no1"})
        assert await code("query", json.dumps(md5).encode()) == "1001"
        unsigned = {"oid_partner": OID_PARTNER, "sign_type": "RSA", "no_order": "no1"}
        assert await code("query", json.dumps(unsigned).encode()) == "1001"
        assert simulator.ledger.entries == []
        assert [request.no_order for request in simulator.requests] == [None] * 8


GARBAGE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\x00\xff\xfe",
    b"{" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 100_000,
    b'{"oid_partner":"201408071000001541","oid_partner":"201408071000001541"}',
    b'{"oid_partner":201408071000001541}',
    b'{"oid_partner":"201408071000001541","pay_load":null}',
    b'{"oid_partner":"201408071000001541","pay_load":"$$$$$"}',
    b'{"oid_partner":"201408071000001541","pay_load":"lianpay1_0_1$AA==$AA==$AA==$AA==$AA=="}',
    b'{"oid_partner":"201408071000001541","pay_load":"lianpay1_0_1$\\u4e2d$\\u4e2d$\\u4e2d$\\u4e2d$\\u4e2d"}',
    b'{"oid_partner":"201408071000001541","pay_load":{"a":[1,2,{"b":1e999}]}}',
    b'{"oid_partner":"\\ud800"}',
    b'{"oid_partner":"201408071000001541","no_order":"\\ud800","sign_type":"RSA","sign":"\\ud800"}',
    b'{"a":' + b"9" * 100_000 + b"}",
    b'{"a":NaN,"b":-Infinity}',
    b"x" * (2 << 20),
]


@pytest.mark.parametrize("endpoint", ["pay", "confirm", "query"])
async def test_garbage_is_answered_never_with_an_exception(run, endpoint):
    """Whatever arrives, the answer is status 200 with a signed refusal, and nothing is booked."""
    async with run() as (simulator, merchant):
        for garbage in GARBAGE:
            status, body, _ = await merchant.post(endpoint, garbage)
            assert status == 200
            assert merchant.checked(body)["ret_code"] in ("1001", "1004", "3001", "4007")
        assert simulator.ledger.entries == []
        assert (await merchant.pay())["ret_code"] == "0000"


HEAD = b"POST /paymentapi/payment.htm HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        HEAD + b"Content-Length: nonsense\r\n\r\n",
        HEAD.replace(b"POST", b"GET") + b"\r\n",
        HEAD.replace(b"paymentapi", b"elsewhere") + b"Content-Length: 0\r\n\r\n",
    ],
)
async def test_broken_http_shows_no_traceback(run, head, capfd, caplog):
    """Bytes that are no request get an error status or an ordinary refusal, and nothing is printed or logged."""
    async with run() as (_simulator, merchant):
        port = int(merchant.base_url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.")
        assert b"Traceback" not in answer
        assert b"500" not in answer.split(b"\r\n")[0]
        assert (await merchant.pay())["ret_code"] == "0000"
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


async def test_a_request_cut_short_books_nothing(run):
    """Half a body and then the end of the connection: not received, nothing recorded."""
    async with run() as (simulator, merchant):
        port = int(merchant.base_url.split(":")[2].split("/")[0])
        body = merchant.sealed(merchant.content())
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await merchant.query())["ret_code"] == "8901"
        assert [request.endpoint for request in simulator.requests] == ["query"]


async def test_the_date_header_is_the_gateways_clock(run, clock):
    """Date follows the simulator's clock, and is off by as much as it is told to be."""
    for offset in (0.0, -3600.0):
        async with run(behaviour=Behaviour(clock_offset_s=offset)) as (_, merchant):
            _, _, headers = await merchant.post("query", merchant.query_body(no_order="no1"))
            shown = parsedate_to_datetime(headers["Date"])
            assert abs(shown - clock.now() - timedelta(seconds=offset)) < timedelta(seconds=1)
            assert headers["Content-Type"] == "application/json;charset=utf-8"


async def test_every_request_is_written_down_as_it_arrived(run, clock):
    """Endpoint, time, number, size, and a hash of the content that a fresh envelope does not change."""
    async with run() as (simulator, merchant):
        bodies = [merchant.sealed(merchant.content()) for _ in range(2)]
        for body in bodies:
            await merchant.post("pay", body)
        await merchant.query()
        first, second, query = simulator.requests
        assert (first.endpoint, first.no_order, first.time, first.body_bytes) == (
            "pay",
            "no1",
            clock.now(),
            len(bodies[0]),
        )
        assert first.content_hash == second.content_hash
        assert first.content["card_no"] == "6216261000000000018"
        assert query.endpoint == "query"
        assert "6216261000000000018" not in repr(simulator.requests)
        assert "全渠道" not in repr(simulator.requests)


async def test_it_serves_tls(build, merchant_key, gateway_key):
    """With an SSL context the address is https and the certificate is the one given."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with build().serve(ssl_context=context) as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        merchant = Merchant(merchant_key, gateway_key)
        merchant.base_url = server.base_url
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as merchant.session:
            assert (await merchant.pay())["ret_code"] == "0000"


def test_the_same_bytes_can_be_delivered_without_a_socket(build, merchant_key, gateway_key):
    """`receive` is the whole gateway as a function: bytes in, a delivery out."""
    merchant = Merchant(merchant_key, gateway_key)
    simulator = build()
    delivery = simulator.receive("pay", merchant.sealed(merchant.content()))
    assert (delivery.way, delivery.status) == ("answer", 200)
    assert merchant.checked(delivery.body)["ret_code"] == "0000"


def test_names_are_sorted_as_bytes_and_empty_members_left_out():
    """`no_order` comes before `notify_url`; `sign`, null and "" take no part, blanks do."""
    text = text_to_sign(
        {"notify_url": "u", "no_order": "1", "sign": "x", "a": "", "b": None, "c": " ", "sign_type": "RSA"}
    )
    assert text == b"c= &no_order=1&notify_url=u&sign_type=RSA"


def test_json_values_come_out_as_text():
    """Numbers keep their lexemes, nested values their text; a repeated member is refused."""
    members = parse(b'{"n":1.50,"e":1E2,"t":true,"z":null,"o":{"k":[1.0,"x",null,false]}}')
    assert members == {"n": "1.50", "e": "1E2", "t": "true", "z": None, "o": '{"k":[1.0,"x",null,false]}'}
    with pytest.raises(Unreadable):
        parse(b'{"a":"1","a":"1"}')
