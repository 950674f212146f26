"""A payout bot on aiohttp: the chat message `pay 25.78 6228480223123114741 李三` pays once, however often it comes.

Against the simulator, in two commands (`pip install 'lianlian-async[cli]'` comes before them):

    lianlian-async simulate > gateway.env &
    . ./gateway.env; BOT_TOKEN=secret LIANLIAN_JOURNAL=sqlite:///payouts.db \
        LIANLIAN_NOTIFY_URL=http://127.0.0.1:8001/lianlian python aiohttp_bot.py

    curl -H 'X-Bot-Token: secret' http://127.0.0.1:8001/messages -d \
        '{"id": "1001", "chat": "finance", "text": "pay 25.78 6228480223123114741 李三 工资"}'

The answer says that it was taken; how it ended is posted to BOT_REPLY_URL (or logged, where there is none). In
production only the LIANLIAN_* variables differ: your keys, no LIANLIAN_BASE_URL, and a public https notify_url.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from aiohttp import web

from lianlian_async import Changed, Clock, LianLianClient, Order, Settings, Step, errors
from lianlian_async.notifications.aiohttp import notification_handler
from lianlian_async.testing import ScaledClock
from lianlian_async.worker import Worker

logger = logging.getLogger("bot")

CLIENT: Final = web.AppKey("client", LianLianClient)
HELP: Final = "pay AMOUNT CARD NAME [PURPOSE] pays; pay! is for a payment that looks like another and is meant"
# Ids become part of the payment's key, which holds for ever: a platform's ids are plain, anything else is refused.
ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# A payout at one of these steps has ended, or waits for a person. In between there is nothing to say.
WORTH_SAYING: Final = (Step.NOTHING, Step.DECIDE, Step.FIX)
REMEMBERED_MAX: Final = 10_000


async def answer(client: LianLianClient, key: str, text: str) -> str:
    """What to say at once to a message. Raises JournalUnavailable and OutcomeUnknown: have it delivered again."""
    command, *words = text.split(maxsplit=4)
    if command not in ("pay", "pay!") or len(words) < 3:
        return HELP
    try:
        order = Order(money_order=words[0], card_no=words[1], acct_name=words[2], info_order=" ".join(words[3:]))
        # The message's id is the key. A message that is delivered again, by a platform that missed our answer or after
        # a crash of ours, finds the payout that exists. wait_s=0: it is written down and on its way, which is enough.
        payout = await client.pay(order, key=key, wait_s=0, duplicate_ok=command == "pay!")
    except errors.InvalidOrder as error:
        return f"not paid: {error.field} {error.problem}; {error.remedy}"
    except errors.DuplicateSuspected as error:
        twins = ", ".join(number for numbers in error.twins.values() for number in numbers)
        return f"not paid: same card and amount as {twins} within 24 hours. If both are meant, say pay! instead of pay"
    except (errors.OrderConflict, errors.BreakerOpen) as error:
        return f"not paid: {error}"
    outcome = payout.state if payout.at_rest else "how it ends will be told"
    return f"{payout.money_order} to {payout.card_no} is taken as {payout.no_order}: {outcome}"


async def messages(request: web.Request) -> web.Response:
    """Where the chat platform delivers messages: as JSON, at least once."""
    # Whoever may talk to this bot may spend money. Check the signature of your platform here.
    token = request.headers.get("X-Bot-Token", "").encode(errors="replace")
    if not secrets.compare_digest(token, os.environ["BOT_TOKEN"].encode()):
        raise web.HTTPUnauthorized
    try:
        message: Any = json.loads(await request.text())
        number, chat, text = str(message["id"]), str(message["chat"]), str(message["text"]).strip()
    except (ValueError, LookupError, TypeError, RecursionError):  # the last: nested too deeply
        raise web.HTTPBadRequest(text="a message has an id, a chat and a text") from None
    if not (ID.fullmatch(number) and ID.fullmatch(chat)):
        raise web.HTTPBadRequest(text="id and chat are letters, digits and _.:-")
    try:
        # The chat is in the key, too: whoever tells the end, in whatever process, knows where to.
        return web.json_response({"text": await answer(request.app[CLIENT], f"bot/{chat}/{number}", text or "?")})
    except (errors.JournalUnavailable, errors.OutcomeUnknown) as error:
        logger.error("message %s: %s", number, error)
        raise web.HTTPServiceUnavailable(text="deliver this message again", headers={"Retry-After": "5"}) from error


class Teller:
    """Says in the chat how a payout ended. It is called from the journal: a bot that was down tells it later."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        # The newest version that was said of each payout: a change that is told again comes after newer ones.
        self.said: dict[str, int] = {}

    async def __call__(self, changed: Changed) -> None:
        """If this raises, as when the platform is down, the same change is told again later."""
        payout = changed.payout
        sender, *place = (payout.key or "").split("/")
        # `payout` is how it stands now. Where that is another state, the change that led to it is told by itself.
        old = changed.version < self.said.get(changed.no_order, 0) or changed.state is not payout.state
        if sender != "bot" or len(place) != 2 or changed.step not in WORTH_SAYING or old:
            return
        chat, number = place
        await self._say({
            # The same id comes with a repetition, so that the platform can tell it from a second answer.
            "id": changed.id, "chat": chat, "in_reply_to": number, "state": payout.state,
            "text": f"{payout.money_order} to {payout.card_no}: {payout.state}. {payout.advice}",
        })  # fmt: skip
        while len(self.said) >= REMEMBERED_MAX:
            del self.said[next(iter(self.said))]
        self.said[changed.no_order] = changed.version

    async def _say(self, reply: dict[str, str]) -> None:
        if not (url := os.environ.get("BOT_REPLY_URL")):
            logger.info("%s", json.dumps(reply, ensure_ascii=False))
            return
        async with self.session.post(url, json=reply, timeout=aiohttp.ClientTimeout(total=5)) as response:
            response.raise_for_status()


def trial_clock() -> Clock | None:
    """A fast clock for trials; the client refuses it unless the gateway is a simulator on this machine."""
    scale = os.environ.get("LIANLIAN_TIME_SCALE")
    return ScaledClock(float(scale)) if scale else None


async def life(app: web.Application) -> AsyncIterator[None]:
    """One session for everything the bot does. The client borrows its connections, and nothing else of it."""
    settings, stop = Settings.load(), asyncio.Event()
    async with (
        aiohttp.ClientSession() as session,
        LianLianClient(
            settings.merchant(), settings.configured_journal(), transport=session, clock=trial_clock(),
            on_change=Teller(session), subscriber="bot",
        ) as client,
    ):  # fmt: skip
        app[CLIENT] = client
        # What an earlier process left open goes on at once; the worker sees to what comes later, such as a refund.
        await client.recover()
        worker = asyncio.create_task(Worker(client).run(stop))
        logger.info("ready")
        try:
            yield
        finally:
            stop.set()
            await worker


def bot() -> web.Application:
    """The bot's two doors: messages, and LianLian's notifications."""
    app = web.Application(client_max_size=64 * 1024)
    app.cleanup_ctx.append(life)
    app.router.add_post("/messages", messages)
    app.router.add_post("/lianlian", notification_handler(lambda: app[CLIENT]))
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if not os.environ.get("BOT_TOKEN"):
        sys.exit("set BOT_TOKEN: whoever may talk to this bot may spend money")
    try:
        web.run_app(bot(), host="127.0.0.1", port=int(os.environ.get("PORT", "8001")), shutdown_timeout=15, print=None)
    except errors.ConfigError as error:
        sys.exit(str(error))
