"""What may be seen: no card number, name, key, signature, envelope or confirm code in any log, repr or error."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import traceback
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import Keys, Wire, an_order

from lianlian_async import InvalidOrder, LianLianClient, OrderConflict, State
from lianlian_async.journal import Record
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

CARDS = [f"62220200{n:02d}31415926535" for n in range(6)]
NAME = "欧阳锋墨"
FAULTS = [None, "4003", "9999_before", "close_after", "unsigned", "garbage"]


def secrets_of(keys: Keys, world: Any, records: list[Record]) -> list[str]:
    """Everything that must not be seen: whole, and the part that masking hides."""
    found = [*CARDS, *(card[6:-4] for card in CARDS), NAME, NAME[1:]]
    for name in ("merchant-private", "gateway-private"):
        found += [line for line in keys.read(name).decode().splitlines() if "-----" not in line and len(line) > 20]
    found += [r.content["sign"] for r in world.simulator.requests if r.content]
    found += [e.confirm_code for record in records for e in record.evidence if e.confirm_code]
    assert len(found) > 20
    return found


def assert_clean(texts: list[str], secrets: list[str]) -> None:
    for text in texts:
        for secret in secrets:
            pattern = rf"(?<!\d){secret}(?!\d)" if re.fullmatch(r"\d{6}", secret) else re.escape(secret)
            assert not re.search(pattern, text), f"a secret of {len(secret)} characters is in: {text[:80]!r}"


@pytest.mark.parametrize("transport", [HttpxTransport, AiohttpTransport], ids=["httpx", "aiohttp"])
async def test_no_secret_in_any_log_line_repr_or_error(
    world: MakeWorld, keys: Keys, caplog: pytest.LogCaptureFixture, transport: Any
) -> None:
    """A batch with every kind of trouble, everything logged that any library would log: no canary is found."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # asyncio then logs every step, with the repr of what ran
    for name in ("httpx2", "httpcore2", "httpcore", "httpx", "aiohttp", "asyncio", "lianlian_async"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        async with world(make_transport=transport) as w:
            for card, fault in zip(CARDS, FAULTS, strict=True):
                w.simulator.script({"card_no": card}, pay=[fault, None])
            client = await w.client()
            orders = [an_order(card_no=card, acct_name=NAME) for card in CARDS]
            payouts = [await w.pay(client, order, f"k{n}") for n, order in enumerate(orders)]
            assert {p.state for p in payouts} == {State.PAID, State.REVIEW}
            with pytest.raises(OrderConflict) as conflict:
                await client.pay(an_order("9.99", card_no=CARDS[1], acct_name=NAME), key="k0")
            with pytest.raises(InvalidOrder) as invalid:
                an_order(card_no=CARDS[0] + "x", acct_name=NAME)
            records = await w.records(client)
            shown: list[Any] = [
                *orders, *payouts, *records, *(e for r in records for e in r.evidence), *(a for r in records for a in r.attempts),
                client, client.gateway, client.merchant, client.merchant.keys, client.journal.inner, w.simulator.requests,
                *(wire.inner for wire in w.wires if isinstance(wire, Wire)),
            ]  # fmt: skip
            texts = [repr(thing) for thing in shown] + [str(thing) for thing in shown]
            for error in (conflict.value, invalid.value):
                texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
            secrets = secrets_of(keys, w, records)
            assert_clean(texts, secrets)
    finally:
        loop.set_debug(False)
    heard = {record.name.partition(".")[0] for record in caplog.records}
    assert "asyncio" in heard
    assert transport is not HttpxTransport or "httpcore2" in heard
    formatter = logging.Formatter("%(name)s %(message)s")
    assert_clean([formatter.format(record) for record in caplog.records], secrets)


async def test_what_a_payout_shows(world: MakeWorld) -> None:
    """First six and last four of the card, the first character of the name, and nothing to confirm with."""
    async with world() as w:
        w.simulator.script({"acct_name": NAME}, pay=["4003"])
        client = await w.client()
        payout = await w.pay(client, an_order(card_no=CARDS[0], acct_name=NAME))
        assert (payout.card_no, payout.acct_name) == ("622202***********6535", "欧***")
        assert not hasattr(payout, "confirm_code")
        [record] = await w.records(client)
        assert record.evidence[0].confirm_code
        assert record.evidence[0].confirm_code not in repr(record.evidence)


async def test_no_secret_in_the_files_of_an_encrypted_journal(world: MakeWorld, keys: Keys) -> None:
    """The same trouble, and a person's words on top: not in the file, its log or its
    index, as text or as JSON escapes it."""
    async with world(journal="encrypted") as w:
        for card, fault in zip(CARDS, FAULTS, strict=True):
            w.simulator.script({"card_no": card}, pay=[fault, None])
        client = await w.client()
        for number, card in enumerate(CARDS):
            await w.pay(client, an_order(card_no=card, acct_name=NAME, info_order="涨工资"), f"emp-{number}/{NAME}")
        [review] = await w.done(client.reviews())
        await w.done(client.approve(review.payout.no_order, by="Wang Fang", note="asked the payee herself"))
        await w.at_rest(client, review.payout.no_order)
        records = await w.records(client)
        secrets = [*secrets_of(keys, w, records), "涨工资", "Wang Fang", "asked the payee", "emp-0/"]
        secrets += [record.content_hash for record in records]
        path = client.journal.inner.path
        files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
        contents = [file.read_bytes() for file in files]
        forms = {form for text in secrets if len(text) > 3 for form in (text, json.dumps(text)[1:-1])}
        assert [form for form in forms for content in contents if form.encode() in content] == []
        assert records[0].no_order.encode() in contents[0] + contents[1]


async def test_nothing_is_logged_when_all_is_well(world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """A payment without trouble says nothing above DEBUG."""
    caplog.set_level(logging.INFO)
    async with world() as w:
        client = await w.client()
        await w.pay(client, an_order())
    assert [r.getMessage() for r in caplog.records if r.name.startswith("lianlian")] == []


async def test_an_alarm_is_logged_once(world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """A record that is shown and then denied twice: the operator hears of it when it comes, with the number, once."""
    async with world() as w:
        w.simulator.script({"acct_name": "李三"}, query=["8901", "8901"], after_s=30.0)
        client = await w.client()
        payout = await w.pay(client, an_order())
        assert payout.alarms
    # asyncio warns of slow steps on a busy machine; what is said to an operator is the library's.
    ours = [r for r in caplog.records if r.name.startswith("lianlian_async") and r.levelno >= logging.WARNING]
    assert [r.getMessage() for r in ours] == [f"{payout.no_order}: {payout.alarms[0]}"]


async def test_a_pause_is_logged_once_and_a_stopped_payout_with_its_number(
    world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator hears of it, with the merchant's number and the way out."""
    async with world() as w:
        w.simulator.script({"acct_name": "李三"}, pay=["1001"])
        client = await w.client()
        await w.pay(client, an_order())
        assert isinstance(client, LianLianClient)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(said) == 1
    assert "paused" in said[0]
    assert "unpause" in said[0]
