"""The simulator as its users see it: one object with a ledger, scripts, an operator's desk and a server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING

from lianlian_async.clock import Clock

from .codes import Endpoint
from .engine import Engine
from .exchange import Delivery, Exchange, Received
from .faults import PROFILES, Faults
from .ledger import Ledger
from .orders import Order
from .script import StepLike
from .settings import Behaviour, Limits
from .wire import GatewayKeys

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Operator", "Simulator"]


class Operator:
    """What people at LianLian and at the merchant portal can do."""

    def __init__(self, exchange: Exchange, clock: Clock, poke: Callable[[], None]) -> None:
        self._exchange = exchange
        self._engine = exchange.engine
        self._clock = clock
        self._poke = poke

    @property
    def balance(self) -> Decimal:
        """The merchant's account in CNY."""
        return self._engine.bank.balance

    def top_up(self, amount: Decimal | str | int) -> None:
        """Add CNY to the merchant's account (a negative amount takes some out)."""
        self._engine.bank.balance += Decimal(amount)

    def set_limits(self, limits: Limits) -> None:
        """Replace the merchant's limits (9911, 9912, 9913)."""
        self._engine.bank.limits = limits

    def confirm_in_portal(self, no_order: str) -> str:
        """Confirm an order under review by hand; returns its `oid_paybill`, raises LookupError if there is none."""
        now = self._now()
        bill = self._engine.bank.accept(self._find(no_order, "CHECK"), now)
        self._poke()
        return bill

    def close(self, no_order: str) -> None:
        """Close an order under review by hand; raises LookupError if there is none."""
        now = self._now()
        self._engine.bank.close(self._find(no_order, "CHECK"), "expiry", now)

    def cancel(self, no_order: str) -> None:
        """The payee's bank returns the money of a paid order: SUCCESS becomes CANCEL; raises LookupError."""
        now = self._now()
        self._engine.bank.cancel(self._find(no_order, "SUCCESS"), now)
        self._poke()

    def set_permission(self, allowed: bool) -> None:
        """Give or take the permission to pay (4005)."""
        self._engine.permitted = allowed

    def set_ip_allowed(self, allowed: bool) -> None:
        """Put the caller's address on or off the white list (1008, on all three endpoints)."""
        self._exchange.address_allowed = allowed

    def set_outage(self, *endpoints: str) -> None:
        """These endpoints ("pay", "confirm", "query") answer 503 and do nothing; none named: all work again."""
        self._exchange.outage = frozenset(Endpoint(name) for name in endpoints)

    def rotate_gateway_key(self, gateway_private_key: bytes, *, open_old: bool = False) -> None:
        """Sign with another key from now on; `open_old` says whether envelopes for the old one still open."""
        self._exchange.keys.rotate(gateway_private_key, open_old=open_old)

    def know_card(self, card_no: str, acct_name: str) -> None:
        """Let LianLian know this card under this name (4003)."""
        self._engine.bank.names[card_no] = acct_name

    def _now(self) -> datetime:
        now = self._clock.now()
        self._engine.advance(now)
        return now

    def _find(self, no_order: str, result_pay: str) -> Order:
        for order in reversed(self._engine.book.of(no_order)):
            if order.result_pay == result_pay:
                return order
        raise LookupError(f"no order {no_order} in state {result_pay}")


class Simulator:
    """LianLian's instant payment gateway for one merchant, with its own signing, envelope opening and ledger.

    `oid_partner` and `merchant_public_key` are the merchant's, `gateway_private_key` LianLian's (PEM or bare
    base64). `faults` is a profile's name or an own `Faults`; the same `seed` gives the same faults whatever the
    concurrency. `ledger_path` is a JSON lines file, `balance` the merchant's account and `limits` its limits, in
    CNY; `requests_max` is how many received requests are remembered.
    Raises ValueError for keys that do not load or an unknown profile.
    """

    def __init__(
        self,
        *,
        oid_partner: str,
        merchant_public_key: bytes,
        gateway_private_key: bytes,
        clock: Clock,
        faults: str | Faults = "calm",
        seed: int = 0,
        ledger_path: Path | None = None,
        balance: Decimal = Decimal("1000000000"),
        limits: Limits | None = None,
        behaviour: Behaviour | None = None,
        requests_max: int = 100_000,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.faults = _profile(faults)
        self.behaviour = behaviour if behaviour is not None else Behaviour()
        self.ledger = Ledger(ledger_path)
        self._engine = Engine(
            oid_partner=oid_partner,
            balance=balance,
            limits=limits if limits is not None else Limits(),
            behaviour=self.behaviour,
            faults=self.faults,
            seed=seed,
            ledger=self.ledger,
        )
        keys = GatewayKeys(gateway_private_key=gateway_private_key, merchant_public_key=merchant_public_key)
        self.exchange = Exchange(engine=self._engine, keys=keys, faults=self.faults, requests_max=requests_max)
        self._servers: list[Server] = []
        self.operator = Operator(self.exchange, clock, self._wake)

    # --- driving it --------------------------------------------------------------------------------

    @asynccontextmanager
    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        *,
        notify_ssl_context: ssl.SSLContext | None = None,
    ) -> AsyncIterator[Server]:
        """Answer at `host:port` until the block is left; `server.base_url` is what a client needs.

        `notify_ssl_context` is what https notifications are sent with. Needs the extra `aiohttp`.
        """
        from .server import serve  # aiohttp is an extra, and the rest of the simulator does without it

        async with serve(
            self.exchange,
            self.clock,
            host=host,
            port=port,
            ssl_context=ssl_context,
            notify_ssl_context=notify_ssl_context,
        ) as server:
            self._servers.append(server)
            try:
                yield server
            finally:
                self._servers.remove(server)
                self.ledger.close()

    def receive(self, endpoint: str, body: bytes) -> Delivery:
        """Let one request arrive now, without a socket ("pay", "confirm" or "query")."""
        return self.exchange.receive(Endpoint(endpoint), body, self.clock.now())

    def catch_up(self) -> None:
        """Let everything happen that is due by the clock's present moment."""
        self._engine.advance(self.clock.now())
        self._wake()

    def run_out(self) -> None:
        """Let everything that is still to come happen at once, each event with its own planned time."""
        while (at := self._engine.agenda.next_at) is not None:
            self._engine.advance(at)
        self._wake()
        if not self._servers:
            self.ledger.close()

    # --- laying down what happens ------------------------------------------------------------------

    def script(
        self,
        which: str | Mapping[str, str],
        *,
        pay: Sequence[StepLike] = (),
        confirm: Sequence[StepLike] = (),
        query: Sequence[StepLike] = (),
        notify: Sequence[str | EllipsisType | None] = (),
        final: str | None = None,
        after_s: float | None = None,
        cancel_after_s: float | None = None,
        timeline: Sequence[tuple[str, float]] | None = None,
        reason: str | None = None,
    ) -> None:
        """Lay down what happens to one number, or to the numbers whose pay request has these members.

        `pay`, `confirm`, `query`: one step a call (a ret_code, a fault's name, a `Step`, None for as usual; `...` last
        repeats the step before it for ever). `notify`: one fault of `NOTICE_FAULTS` or None a notification. `final` is
        the last `result_pay` (CANCEL comes after SUCCESS), reached `after_s` seconds after the acceptance, a CANCEL
        `cancel_after_s` later; `timeline` says the same at length: (result_pay, seconds after the acceptance) pairs,
        any word allowed. `reason` is a FAILURE's. Raises ValueError for an unknown fault.
        """
        self._engine.scripts.add(
            which,
            pay=pay,
            confirm=confirm,
            query=query,
            notify=notify,
            final=final,
            after_s=after_s,
            cancel_after_s=cancel_after_s,
            timeline=timeline,
            reason=reason,
        )

    # --- looking at it -----------------------------------------------------------------------------

    @property
    def requests(self) -> list[Received]:
        """Every request that arrived whole, oldest first."""
        return list(self.exchange.requests)

    def result_pay(self, no_order: str) -> str | None:
        """The state of a number as a query without lag would show it, or None."""
        self._engine.advance(self.clock.now())
        found = self._engine.book.seen(no_order, None, self.clock.now())
        return found[1].result_pay if found is not None else None

    def received_by(self, card_no: str) -> Decimal:
        """What a card has been paid and kept, in CNY."""
        return self._engine.bank.payees.get(card_no, Decimal("0.00"))

    @property
    def notifying(self) -> int:
        """How many notifications are on their way at this moment."""
        return sum(server.notifying for server in self._servers)

    @property
    def quiet(self) -> bool:
        """True when nothing more will happen by itself."""
        return len(self._engine.agenda) == 0

    def _wake(self) -> None:
        for server in self._servers:
            server.wake()


def _profile(faults: str | Faults) -> Faults:
    if isinstance(faults, Faults):
        return faults
    if faults not in PROFILES:
        raise ValueError(f"no such profile: {faults}; there are {', '.join(PROFILES)}")
    return PROFILES[faults]
