"""Before a batch: is the set-up right? Asked with queries only, so that every answer is free of money."""

from __future__ import annotations

from typing import Final

from ..client import LianLianClient
from ..clock import Clock
from ..errors import ConfigError, NothingSent
from ..gateway import Gateway
from ..protocol.ret_codes import lookup
from ..resolver import Evidence, Outcome, Then

__all__ = ["CLOCK_OFF_S", "preflight", "probed", "turned_away"]

_TRIES: Final = 5
CLOCK_OFF_S: Final = 300


async def preflight(client: LianLianClient) -> None:
    """Return when the gateway answers as it should.

    Raises NothingSent when it cannot be reached, ConfigError when it turns our set-up down or its answers
    are not signed by the configured key, or when the two clocks are more than five minutes apart.
    """
    _judge(client, await probed(client.gateway, client.clock))
    ahead_s = client.gateway.clock_ahead_s
    if ahead_s is not None and abs(ahead_s) > CLOCK_OFF_S and not client.clock.accelerated:
        side = "ahead of" if ahead_s > 0 else "behind"
        raise ConfigError(
            f"this machine's clock is {abs(ahead_s):.0f} seconds {side} the gateway's: set it right "
            "(order times and days follow it), then start again; nothing was sent"
        )


async def probed(gateway: Gateway, clock: Clock) -> Evidence:
    """What the gateway says of a number that nobody uses: of a few tries, the answer that tells most."""
    news = await gateway.probe()
    for _ in range(_TRIES - 1):
        if news.outcome is Outcome.ANSWERED:
            break
        await clock.sleep(1.0)
        news = max(news, await gateway.probe(), key=_telling)
    return news


def _telling(news: Evidence) -> int:
    """How much an answer says about our set-up: noise never outweighs it."""
    if news.outcome is Outcome.ANSWERED:
        return 3
    if turned_away(news):
        return 2
    return 1 if news.outcome in (Outcome.BAD_SIGNATURE, Outcome.UNTRUSTED) else 0


def turned_away(news: Evidence) -> bool:
    """Signed, and its code says that our set-up is wrong; such an answer may name no order, or another merchant."""
    signed = news.outcome in (Outcome.ANSWERED, Outcome.NUMBERLESS, Outcome.FOREIGN)
    return signed and lookup(news.ret_code or "").query.then is Then.FIX


def _judge(client: LianLianClient, news: Evidence) -> None:
    url = client.merchant.base_url
    if turned_away(news):
        advice = lookup(news.ret_code or "").query.advice
        raise ConfigError(f"the gateway answers {news.ret_code} ({news.ret_msg}): {advice} Nothing was sent.")
    match news.outcome:
        case Outcome.ANSWERED:
            return
        case Outcome.NOT_SENT:
            raise NothingSent(
                f"the gateway at {url} cannot be reached ({news.detail}); nothing was sent, try again later"
            )
        case Outcome.UNTRUSTED:
            raise NothingSent(f"the certificate of {url} is not trusted ({news.detail}); nothing was sent")
        case Outcome.BAD_SIGNATURE | Outcome.UNSIGNED:
            raise ConfigError(
                f"the answers of {url} are not signed by the configured gateway key ({news.outcome}): check "
                "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE; nothing was sent"
            )
        case _:
            raise NothingSent(
                f"the gateway at {url} gives no usable answer ({news.outcome}: {news.detail}); nothing was sent"
            )
