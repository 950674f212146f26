"""How payouts are lost: a client written the way public SDKs are used, for the demonstration only.

It retries whatever is not `0000` with a new number, takes errors and timeouts for failures, believes every
answer without looking at its signature, and asks the gateway once at the end. Point it at the simulator,
never at anything else, and count in the simulator's ledger what became of the money.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import aiohttp
from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from lianlian_async.clock import SHANGHAI, Clock

from .simulator.codes import Endpoint
from .simulator.notifier import on_this_machine
from .simulator.wire import encode, load_private_key, load_public_key, seal, sign

__all__ = ["ATTEMPTS", "intent_of", "pay_carelessly"]

ATTEMPTS = 5
_TIMEOUT_S = 30.0
_PAUSE_S = 1.0
_NOTIFY_URL = "http://127.0.0.1:9/notify"
_OURS = frozenset({"key", "no_order", "dt_order"})


def intent_of(no_order: str) -> str:
    """The payment a careless client's number was meant for: the number without its attempt."""
    return no_order.rpartition("A")[0] or no_order


async def pay_carelessly(
    base_url: str,
    rows: Sequence[Mapping[str, str]],
    *,
    oid_partner: str,
    merchant_private_key: bytes,
    gateway_public_key: bytes,
    clock: Clock,
    concurrency: int,
    intent_tag: str,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Pay `rows` (wire names) with a plain retry loop against a simulator on this machine.

    Numbers read `<intent_tag><row>A<attempt>`; `intent_of` takes the attempt off again. `concurrency` is how many
    payments are under way at once, `timeout_s` (clock seconds) how long one call may take. Raises ValueError when
    `base_url` leads off this machine.
    """
    if not on_this_machine(base_url):
        raise ValueError("the careless client pays twice by design: it talks to a simulator on this machine only")
    room = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        client = _Careless(
            base_url=base_url.rstrip("/") + "/",
            oid_partner=oid_partner,
            private_key=load_private_key(merchant_private_key),
            gateway_key=load_public_key(gateway_public_key),
            clock=clock,
            session=session,
            timeout_s=timeout_s,
        )

        async def one(index: int, row: Mapping[str, str]) -> None:
            async with room:
                await client.pay(f"{intent_tag}{index:05d}", row)

        await asyncio.gather(*(one(index, row) for index, row in enumerate(rows)))


@frozen
class _Careless:
    base_url: str
    oid_partner: str
    private_key: RSAPrivateKey = field(repr=False)
    gateway_key: RSAPublicKey = field(repr=False)
    clock: Clock
    session: aiohttp.ClientSession = field(repr=False)
    timeout_s: float

    async def pay(self, intent: str, row: Mapping[str, str]) -> None:
        no_order = ""
        for attempt in range(1, ATTEMPTS + 1):
            no_order = f"{intent}A{attempt}"  # the mistake: one payment, a number for every try
            if await self._try(no_order, row):
                return
            await self.clock.sleep(_PAUSE_S)
        await self._ask(no_order)

    async def _try(self, no_order: str, row: Mapping[str, str]) -> bool:
        """True when the gateway said 0000; anything else, and any exception, counts as failed."""
        own = {name: value for name, value in row.items() if name not in _OURS and value}
        content = {
            "notify_url": _NOTIFY_URL,
            "flag_card": "0",
            **own,
            "no_order": no_order,
            "dt_order": _wire_time(self.clock.now()),
            "oid_partner": self.oid_partner,
            "api_version": "1.0",
            "sign_type": "RSA",
        }
        content["sign"] = sign(content, self.private_key)
        sealed = {"oid_partner": self.oid_partner, "pay_load": seal(encode(content), self.gateway_key)}
        return await self._post(Endpoint.PAY, encode(sealed)) == "0000"

    async def _ask(self, no_order: str) -> None:
        """One query, and then the matter is forgotten."""
        content = {
            "no_order": no_order,
            "oid_partner": self.oid_partner,
            "api_version": "1.0",
            "sign_type": "RSA",
        }
        content["sign"] = sign(content, self.private_key)
        await self._post(Endpoint.QUERY, encode(content))

    async def _post(self, endpoint: Endpoint, body: bytes) -> str | None:
        timeout = aiohttp.ClientTimeout(total=self.clock.loop_seconds(self.timeout_s))
        headers = {"Content-Type": "application/json;charset=utf-8"}
        try:
            async with self.session.post(
                self.base_url + endpoint.path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answer = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        code = answer.get("ret_code") if isinstance(answer, dict) else None
        return code if isinstance(code, str) else None


def _wire_time(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S")
