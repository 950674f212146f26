"""examples/aiohttp_bot.py, as a chat platform sees it: messages at least once, answers at a reply URL."""

from __future__ import annotations

import asyncio
import importlib
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from attrs import define, field
from cli_world import Gateway, Shell
from examples_world import AT_REST, TOKEN, Program, judge, payments, until

from lianlian_async import State, Step
from lianlian_async.journal.sqlite import SqliteJournal

pytestmark = pytest.mark.checkout


@define
class Platform:
    """Takes the bot's replies; while it is `down` it answers 503."""

    port: int = 0
    down: bool = False
    turned_away: int = 0
    replies: list[dict[str, Any]] = field(factory=list)

    async def reply(self, request: web.Request) -> web.Response:
        if self.down:
            self.turned_away += 1
            return web.Response(status=503)
        self.replies.append(await request.json())
        return web.Response()

    def last(self) -> dict[str, str]:
        """The newest state that each message's sender was told: a change that could not be told may come after it."""
        in_order = sorted(self.replies, key=lambda reply: int(reply["id"].rpartition("/")[2]))
        return {reply["in_reply_to"]: reply["state"] for reply in in_order}


@asynccontextmanager
async def a_platform() -> AsyncIterator[Platform]:
    platform = Platform()
    app = web.Application()
    app.router.add_post("/replies", platform.reply)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    platform.port = runner.addresses[0][1]
    yield platform
    await runner.cleanup()


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with a_platform() as made:
        yield made


@pytest.fixture
def bot(shell: Shell, session: aiohttp.ClientSession, platform: Platform) -> Program:
    return Program("aiohttp_bot.py", shell, session, env={"BOT_REPLY_URL": f"http://127.0.0.1:{platform.port}/replies"})


async def deliver(bot: Program, message: dict[str, str], token: str = TOKEN) -> tuple[int, str]:
    async with bot.session.post(f"{bot.url}/messages", json=message, headers={"X-Bot-Token": token}) as response:
        body = await response.text()
        return response.status, body


def messages(count: int) -> list[dict[str, str]]:
    return [
        {"id": str(n), "chat": "finance", "text": f"pay {p['money_order']} {p['card_no']} 李三 工资"}
        for n, p in enumerate(payments(count), 1)
    ]


async def require_true(bot: Program, gateway: Gateway, sent: list[dict[str, str]], platform: Platform) -> int:
    """Every sender was told how it ended, as journal and ledger have it; to be asked after the bot has ended."""
    journal = SqliteJournal(bot.shell.journal)
    await journal.open()
    records = {r.key: r for r in await journal.page(None, 500, ())}
    await journal.close()
    told = {
        key: {"no_order": r.no_order, "state": r.state, "step": r.step} for key, r in records.items() if key is not None
    }
    assert platform.last() == {m["id"]: told[f"bot/finance/{m['id']}"]["state"] for m in sent}
    return judge(gateway, [{"key": f"bot/finance/{m['id']}"} for m in sent], told)


async def at_rest(bot: Program, count: int) -> bool:
    journal = SqliteJournal(bot.shell.journal)
    await journal.open()
    records = await journal.page(None, 500, ())
    await journal.close()
    return len(records) == count and all(record.step in AT_REST for record in records)


async def test_a_message_that_is_delivered_again_pays_nothing(
    bot: Program, gateway: Gateway, platform: Platform
) -> None:
    """Eight messages, each three times; each is answered at once, and once more when it has ended."""
    await bot.start()
    sent = messages(8)
    answers = await asyncio.gather(*(deliver(bot, message) for message in sent for _ in range(3)))
    assert {status for status, _ in answers} == {200}
    assert all("is taken as" in text for _, text in answers)
    await until(lambda: at_rest(bot, 8))

    async def all_told() -> bool:
        return len(platform.last()) == 8

    await until(all_told)
    await asyncio.sleep(0.5)
    await bot.end(signal.SIGTERM)
    assert await require_true(bot, gateway, sent, platform) >= 6
    cards = [message["text"].split()[2] for message in sent]
    bot.require_discreet(*cards, "李三")
    assert not any(card in text for card in cards for _, text in answers)
    assert not any(card in reply["text"] for card in cards for reply in platform.replies)


async def test_killed_while_the_platform_is_down(bot: Program, gateway: Gateway, platform: Platform) -> None:
    """kill -9 three times, nobody to tell the end to, every message delivered again: paid once, and told later."""
    platform.down = True
    sent, draw = messages(12), random.Random(20161018)
    for _ in range(3):
        await bot.start()
        calls = [asyncio.create_task(deliver(bot, message)) for message in draw.sample(sent, 8)]
        await asyncio.sleep(draw.uniform(0.05, 0.4))
        await bot.kill()
        await asyncio.gather(*calls, return_exceptions=True)
    await bot.start()
    assert {(await deliver(bot, message))[0] for message in sent} == {200}
    await until(lambda: at_rest(bot, 12))
    assert platform.turned_away
    platform.down = False

    async def all_told() -> bool:
        return len(platform.last()) == 12

    await until(all_told)
    await asyncio.sleep(0.5)
    await bot.end(signal.SIGTERM)
    assert await require_true(bot, gateway, sent, platform) >= 9
    bot.require_discreet(*(message["text"].split()[2] for message in sent), "李三")


async def test_what_the_bot_does_not_do(bot: Program, gateway: Gateway) -> None:
    """Strangers, chatter, wrong cards and twins pay nothing; a twin that is meant does."""
    await bot.start()
    [message] = messages(1)
    assert (await deliver(bot, message, token="哈"))[0] == 401
    assert (await deliver(bot, {**message, "id": "../1"}))[0] == 400
    assert (await deliver(bot, {"id": "1"}))[0] == 400
    headers = {"X-Bot-Token": TOKEN, "Content-Type": "application/json"}
    async with bot.session.post(f"{bot.url}/messages", data="[" * 50_000, headers=headers) as response:
        assert response.status == 400
    assert "pay AMOUNT CARD NAME" in (await deliver(bot, {**message, "text": ""}))[1]
    assert "not paid: card_no" in (await deliver(bot, {**message, "text": "pay 1.00 6228x 李三"}))[1]
    assert gateway.ledger.entries == []
    assert "is taken as" in (await deliver(bot, message))[1]
    assert "not paid" in (await deliver(bot, {**message, "text": "pay 2.00 6228480223123114741 李三"}))[1]
    assert "say pay! instead" in (await deliver(bot, {**message, "id": "2"}))[1]
    meant = {**message, "id": "2", "text": message["text"].replace("pay", "pay!")}
    assert "is taken as" in (await deliver(bot, meant))[1]
    await bot.end(signal.SIGTERM)


async def test_a_change_that_is_told_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform was down for the first change: what is said never mixes an old state with today's advice, and the
    newest word is the last."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    bot, said = importlib.import_module("aiohttp_bot"), []

    async def say(reply: dict[str, str]) -> None:
        said.append((reply["state"], reply["text"]))

    tell = bot.Teller(None)
    tell._say = say

    def change(version: int, then: tuple[State, Step], now: tuple[State, Step]) -> Any:
        state, step = now
        payout = SimpleNamespace(
            key="bot/finance/1", state=state, step=step, advice=f"advice for {state}", money_order=1, card_no="x"
        )
        return SimpleNamespace(
            id=f"N/{version}", no_order="N", version=version, state=then[0], step=then[1], payout=payout
        )

    refused, paid = (State.REFUSED, Step.FIX), (State.PAID, Step.NOTHING)
    await tell(change(3, refused, paid))
    assert said == [], "the change to PAID is told by itself"
    await tell(change(6, paid, paid))
    await tell(change(3, refused, paid))
    assert [state for state, _ in said] == [State.PAID]
    await tell(change(9, refused, refused))
    await tell(change(6, refused, refused))
    assert [state for state, _ in said] == [State.PAID, State.REFUSED]
    assert all(f"advice for {state}" in text for state, text in said)
