"""One exchange each with LianLian's gateway: pay, confirm, query. No policy, no retry, no state.

For those who go below the front door, `Gateway.pay` and `Gateway.query` return typed answers and raise
`OutcomeUnknown` for everything that is not proof. The client itself uses `tell_sent` and `tell_query`,
which never raise for what the wire does: they bring the news home as `Evidence`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from attrs import frozen

from .clock import Clock, SystemClock
from .codec import encode_query, encode_sealed, open_message
from .config import Merchant, Timeouts
from .errors import MessageRejected, NothingSent, OutcomeUnknown, Rejection
from .numbers import derive
from .protocol.answers import ConfirmAnswer, PayAnswer, QueryAnswer
from .protocol.fields import mask_card, mask_name, safe_text
from .protocol.messages import confirm_members, query_members
from .resolver import Evidence, Outcome, Source
from .resolver.binding import bind_answer, bind_record
from .transport import FaultKind, Transport, WireAnswer, WireFault

__all__ = ["Gateway", "as_told"]

T = TypeVar("T")

_PATHS: Final = {
    Source.PAY: "payment.htm",
    Source.CONFIRM: "confirmPayment.htm",
    Source.QUERY: "queryPayment.htm",
}
_REJECTED: Final = {
    Rejection.UNREADABLE: Outcome.UNREADABLE,
    Rejection.UNSIGNED: Outcome.UNSIGNED,
    Rejection.BAD_SIGNATURE: Outcome.BAD_SIGNATURE,
}
_BUSY: Final = frozenset({429, 503})


@frozen
class _Heard:
    """What came back: verified members, or the reason why there are none."""

    asked_at: datetime
    members: Mapping[str, str | None] | None = None
    outcome: Outcome = Outcome.ANSWERED
    detail: str | None = None


class Gateway:
    """LianLian's gateway for one merchant. `money` and `queries` are two transports, so that a flood of
    queries can never keep a payout waiting for a connection, nor the other way round."""

    def __init__(
        self,
        merchant: Merchant,
        *,
        money: Transport,
        queries: Transport,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.merchant = merchant
        self.timeouts = timeouts or Timeouts()
        self._transports = {Source.PAY: money, Source.CONFIRM: money, Source.QUERY: queries}
        self._clock = clock or SystemClock()
        self._entropy = entropy
        # A burst of signatures would hold the event loop for tens of milliseconds: one at a time, and a
        # breath between two.
        self._gate = asyncio.Lock()
        self.clock_ahead_s: float | None = None

    async def pay(self, content: Mapping[str, str]) -> PayAnswer:
        """Send one pay request (specification 3.1); `content` comes from `protocol.messages.freeze`.

        Raises NothingSent when no byte left, OutcomeUnknown when one may have and no proof came back.
        """
        heard = await self._exchange(Source.PAY, await self.seal(content), self.timeouts.pay_s)
        answer = _read(PayAnswer.read, heard)
        _require_bound(bind_answer(answer, content, ()))
        return answer

    async def confirm(self, *, no_order: str, confirm_code: str, notify_url: str) -> ConfirmAnswer:
        """Send one confirm request (specification 3.2): only ever after a person's recorded decision.

        Raises NothingSent when no byte left, OutcomeUnknown when one may have and no proof came back.
        """
        members = confirm_members(
            oid_partner=self.merchant.oid_partner, no_order=no_order, confirm_code=confirm_code,
            notify_url=notify_url, platform=self.merchant.platform,
        )  # fmt: skip
        body = await self.seal(members)
        heard = await self._exchange(Source.CONFIRM, body, self.timeouts.pay_s)
        answer = _read(ConfirmAnswer.read, heard)
        _require_bound(bind_answer(answer, members, ()))
        return answer

    async def query(self, *, no_order: str | None = None, oid_paybill: str | None = None) -> QueryAnswer:
        """Ask for one payout by either number (specification 3.3). Raises OutcomeUnknown without a proof."""
        heard = await self._ask(no_order, oid_paybill)
        answer = _read(QueryAnswer.read, heard)
        absent = answer.ret_code == "8901"
        ours = answer.oid_partner == self.merchant.oid_partner
        number = no_order is None or answer.no_order == no_order or (absent and answer.no_order is None)
        bill = oid_paybill is None or answer.oid_paybill in (None, oid_paybill)
        if not (ours and number and bill and (absent or answer.no_order)):
            raise OutcomeUnknown("the answer belongs to another order or merchant")
        return answer

    async def seal(self, content: Mapping[str, str]) -> bytes:
        """The signed and sealed body of a pay or confirm request: done before anything is journalled as begun."""
        async with self._gate:
            await asyncio.sleep(0)
            return encode_sealed(content, self.merchant.keys, self._entropy)

    async def seal_confirm(self, content: Mapping[str, str], confirm_code: str) -> bytes:
        """The signed and sealed body of the confirm request for an order of this content (specification 3.2)."""
        members = confirm_members(
            oid_partner=content["oid_partner"], no_order=content["no_order"], confirm_code=confirm_code,
            notify_url=content["notify_url"], platform=content.get("platform"),
        )  # fmt: skip
        return await self.seal(members)

    async def tell_sent(
        self,
        source: Source,
        content: Mapping[str, str],
        body: bytes,
        *,
        attempt: int,
        seconds: float,
        bills: Collection[str],
        guard: Callable[[], bool] | None = None,
    ) -> Evidence:
        """Send the `body` of a pay or confirm request within `seconds`, and tell what came of it; `guard` is asked
        right before the first byte."""
        heard = await self._exchange(source, body, seconds, guard)
        if heard.members is None:
            return self._fault(source, heard, attempt)
        try:
            answer = (PayAnswer if source is Source.PAY else ConfirmAnswer).read(heard.members)
        except MessageRejected as error:
            return self._rejected(source, heard, error, attempt)
        outcome = self._bound(source, bind_answer(answer, content, bills))
        return Evidence(
            source=source, outcome=outcome, at=self._clock.now(), asked_at=heard.asked_at, attempt=attempt,
            ret_code=answer.ret_code, ret_msg=as_told(answer.ret_msg, content), oid_paybill=answer.oid_paybill,
            confirm_code=answer.confirm_code if isinstance(answer, PayAnswer) else None,
        )  # fmt: skip

    async def tell_query(self, content: Mapping[str, str], *, bills: Collection[str]) -> Evidence:
        """Ask for the payout of `content`, and tell what came of it."""
        heard = await self._ask(content["no_order"], None)
        if heard.members is None:
            return self._fault(Source.QUERY, heard)
        try:
            answer = QueryAnswer.read(heard.members)
        except MessageRejected as error:
            return self._rejected(Source.QUERY, heard, error)
        outcome = self._bound(Source.QUERY, bind_record(answer, content, bills))
        return Evidence(
            source=Source.QUERY, outcome=outcome, at=self._clock.now(), asked_at=heard.asked_at,
            ret_code=answer.ret_code, ret_msg=as_told(answer.ret_msg, content), result_pay=answer.result_pay,
            oid_paybill=answer.oid_paybill, settle_date=answer.settle_date,
            detail=as_told(answer.memo, content) if answer.memo else None,
        )  # fmt: skip

    async def probe(self) -> Evidence:
        """Ask for a number that nobody uses: what comes back tells whether the gateway can be reached, whether
        both keys fit, and whether merchant, address and clock are right. No money can move by it."""
        # No payout has a generation below zero, so no caller's key can ever lead to this number.
        nobody = {
            "oid_partner": self.merchant.oid_partner,
            "no_order": derive(self.merchant.oid_partner, "probe", generation=-1),
            "money_order": "0.01",
            "dt_order": "00000000000000",
        }
        return await self.tell_query(nobody, bills=())

    async def aclose(self) -> None:
        """Close both transports."""
        for transport in {id(t): t for t in self._transports.values()}.values():
            await transport.aclose()

    def _bound(self, source: Source, outcome: Outcome) -> Outcome:
        if outcome is Outcome.FOREIGN:
            # Whoever else's answer this is: no connection that could have brought it is used again.
            self._transports[source].renew()
        return outcome

    async def _ask(self, no_order: str | None, oid_paybill: str | None) -> _Heard:
        members = query_members(
            oid_partner=self.merchant.oid_partner, no_order=no_order, oid_paybill=oid_paybill,
            platform=self.merchant.platform,
        )  # fmt: skip
        async with self._gate:
            await asyncio.sleep(0)
            body = encode_query(members, self.merchant.keys)
        return await self._exchange(Source.QUERY, body, self.timeouts.query_s)

    async def _exchange(
        self, source: Source, body: bytes, seconds: float, guard: Callable[[], bool] | None = None
    ) -> _Heard:
        asked_at = self._clock.now()
        wire = await self._post(source, body, self._clock.loop_seconds(seconds), guard)
        if isinstance(wire, WireFault):
            return _Heard(asked_at, outcome=_outcome_of(wire), detail=f"{wire.kind}: {safe_text(wire.detail)}")
        self._compare_clocks(wire)
        if wire.status != 200:
            busy = wire.status in _BUSY
            return _Heard(asked_at, outcome=Outcome.BUSY if busy else Outcome.HTTP_STATUS, detail=f"HTTP {wire.status}")
        try:
            return _Heard(asked_at, members=open_message(wire.body, self.merchant.keys))
        except MessageRejected as error:
            return _Heard(asked_at, outcome=_REJECTED[error.reason], detail=safe_text(error.detail))

    async def _post(
        self, source: Source, body: bytes, deadline_s: float, guard: Callable[[], bool] | None
    ) -> WireAnswer | WireFault:
        url, transport = f"{self.merchant.base_url}{_PATHS[source]}", self._transports[source]
        try:
            if guard is None:
                return await transport.post(url, body, deadline_s=deadline_s)
            return await transport.post(url, body, deadline_s=deadline_s, guard=guard)
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything, and bytes may have left
            return WireFault(FaultKind.UNKNOWN, sent=True, detail=f"the transport raised {type(error).__name__}")

    def _compare_clocks(self, wire: WireAnswer) -> None:
        """The Date header is outside what is signed: it may say anything, and decides nothing."""
        try:
            theirs = parsedate_to_datetime(wire.date or "")
            if theirs.tzinfo is not None:
                self.clock_ahead_s = (self._clock.now() - theirs).total_seconds()
        except (ValueError, OverflowError, TypeError):
            return

    def _fault(self, source: Source, heard: _Heard, attempt: int | None = None) -> Evidence:
        return Evidence(
            source=source, outcome=heard.outcome, at=self._clock.now(), asked_at=heard.asked_at, attempt=attempt,
            detail=heard.detail,
        )  # fmt: skip

    def _rejected(self, source: Source, heard: _Heard, error: MessageRejected, attempt: int | None = None) -> Evidence:
        return Evidence(
            source=source, outcome=_REJECTED[error.reason], at=self._clock.now(), asked_at=heard.asked_at,
            attempt=attempt, detail=safe_text(error.detail),
        )  # fmt: skip


def as_told(text: str, content: Mapping[str, str]) -> str:
    """What the gateway says in words, safe to show: some gateways repeat card number and name in them."""
    for name, mask in (("card_no", mask_card), ("acct_name", mask_name)):
        if value := content.get(name):
            text = text.replace(value, mask(value))
    return safe_text(text)


def _outcome_of(fault: WireFault) -> Outcome:
    if fault.sent:
        return Outcome.NO_ANSWER
    return Outcome.UNTRUSTED if fault.kind is FaultKind.CERTIFICATE else Outcome.NOT_SENT


def _read(reader: Callable[[Mapping[str, str | None]], T], heard: _Heard) -> T:
    """The typed answer; raises NothingSent or OutcomeUnknown when there is none that could be trusted."""
    if heard.members is not None:
        try:
            return reader(heard.members)
        except MessageRejected as error:
            raise OutcomeUnknown(f"the answer cannot be read ({error.detail}): query before anything else") from error
    if heard.outcome in (Outcome.NOT_SENT, Outcome.UNTRUSTED):
        raise NothingSent(f"nothing was sent ({heard.detail})")
    raise OutcomeUnknown(f"{heard.outcome} ({heard.detail}): query before anything else")


def _require_bound(outcome: Outcome) -> None:
    if outcome is not Outcome.ANSWERED:
        raise OutcomeUnknown(f"the answer is {outcome}: query before anything else")
