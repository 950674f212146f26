"""The steps of `doctor` that ask the gateway: one query about a number that nobody uses, and what its answer tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..clock import Clock
from ..config import Merchant
from ..gateway import Gateway
from ..protocol.ret_codes import lookup
from ..resolver import Evidence, Outcome
from ..transport import Transport
from .findings import Finding, ok, skipped, warning, wrong
from .preflight import CLOCK_OFF_S, probed, turned_away

__all__ = ["GATEWAY_STEPS", "ask_gateway", "judged"]

_REACHED, _TRUSTED, _SIGNED, _KNOWN, _ADDRESS, _SIGNATURE, _CLOCK = (
    "gateway", "certificate", "answers", "merchant no", "our address", "our signature", "clock",
)  # fmt: skip
GATEWAY_STEPS: Final = (_REACHED, _TRUSTED, _SIGNED, _KNOWN, _ADDRESS, _SIGNATURE, _CLOCK)
# Which step a code that turns our query away is about (specification 7).
_ABOUT: Final = {"1001": _SIGNATURE, "1008": _ADDRESS, "3001": _KNOWN}
_SAYS_ALL_IS_WELL: Final = frozenset({"0000", "8901"})
_CLOCK_WARN_S: Final = 60


async def ask_gateway(merchant: Merchant, transports: tuple[Transport, Transport], clock: Clock) -> list[Finding]:
    """One line for each of GATEWAY_STEPS."""
    money, queries = transports
    gateway = Gateway(merchant, money=money, queries=queries, clock=clock)
    try:
        news = await probed(gateway, clock)
        return [*judged(merchant, news), _clock(gateway.clock_ahead_s, accelerated=clock.accelerated)]
    finally:
        await gateway.aclose()


def judged(merchant: Merchant, news: Evidence) -> list[Finding]:
    """What the probe's answer says of each step up to the one that it failed at, and that the rest was not seen."""
    findings = list(_steps(merchant, news))
    seen = {finding.step for finding in findings}
    rest = [step for step in GATEWAY_STEPS if step not in seen and step != _CLOCK]
    return findings + [skipped(step, "the gateway's answer does not tell") for step in rest]


def _steps(merchant: Merchant, news: Evidence) -> Iterator[Finding]:
    url = merchant.base_url
    if news.outcome is Outcome.NOT_SENT:
        yield wrong(_REACHED, f"{url} cannot be reached ({news.detail})", "check address and network", unusable=True)
        return
    if news.outcome not in (*_SIGNED_OUTCOMES, *_UNSIGNED_OUTCOMES, Outcome.UNTRUSTED):
        yield wrong(
            _REACHED, f"{url} gives no usable answer ({news.outcome}: {news.detail})", "try again later",
            unusable=True,
        )  # fmt: skip
        return
    yield ok(_REACHED, f"{url} answers")
    if news.outcome is Outcome.UNTRUSTED:
        told = f"the certificate of {url} is not trusted ({news.detail})"
        yield wrong(_TRUSTED, told, "check the address, the network, ca_file, and gateway_pins", unusable=True)
        return
    yield ok(_TRUSTED, "trusted") if url.startswith("https:") else skipped(_TRUSTED, "plain http, on this machine")
    if news.outcome in _UNSIGNED_OUTCOMES:
        told = f"they are not signed by the configured gateway key ({news.outcome})"
        yield wrong(_SIGNED, told, "check LIANLIAN_GATEWAY_PUBLIC_KEY_FILE")
        return
    yield ok(_SIGNED, "signed by the configured gateway key")
    yield from _accepted(news)


_SIGNED_OUTCOMES: Final = (Outcome.ANSWERED, Outcome.NUMBERLESS, Outcome.FOREIGN, Outcome.MISMATCHED)
_UNSIGNED_OUTCOMES: Final = (Outcome.UNSIGNED, Outcome.BAD_SIGNATURE)


def _accepted(news: Evidence) -> Iterator[Finding]:
    """Merchant, address and signature: an answer that turns our query away speaks of one of them only."""
    said = f"LianLian answers {news.ret_code} ({news.ret_msg})"
    if turned_away(news):
        yield wrong(_ABOUT.get(news.ret_code or "", _KNOWN), said, lookup(news.ret_code or "").query.advice)
    elif news.outcome in (Outcome.NUMBERLESS, Outcome.FOREIGN):
        yield wrong(_KNOWN, f"{said}, and speaks of another order or merchant", "ask LianLian", unusable=True)
    elif news.ret_code not in _SAYS_ALL_IS_WELL:
        yield warning(_KNOWN, said, "that tells nothing of our set-up, so try again later")
    else:
        yield ok(_KNOWN, "accepted")
        yield ok(_ADDRESS, "allowed")
        yield ok(_SIGNATURE, "accepted")


def _clock(ahead_s: float | None, *, accelerated: bool) -> Finding:
    if accelerated:
        return skipped(_CLOCK, "an accelerated clock is compared with nobody's")
    if ahead_s is None:
        return skipped(_CLOCK, "the gateway told no time")
    side = "ahead of" if ahead_s > 0 else "behind"
    told = f"this machine's clock is {abs(ahead_s):.0f} seconds {side} the gateway's"
    if abs(ahead_s) > CLOCK_OFF_S:
        return wrong(_CLOCK, told, "set it right; order times and days follow it")
    if abs(ahead_s) > _CLOCK_WARN_S:
        return warning(_CLOCK, told, "set it right, for example with NTP")
    return ok(_CLOCK, "within a minute of the gateway's")
