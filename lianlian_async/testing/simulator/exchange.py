"""Bytes in, a delivery out: opens and checks a request, lets the engine decide, and spoils the answer if need be.

Still pure: a `Delivery` says what is to happen on the connection, and whoever owns one (the HTTP server, or
a simulated network) lets it happen.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from attrs import evolve, field, frozen

from .codes import FAILED_UNBILLED, INTERCEPTED, Endpoint
from .engine import Engine, Reply
from .faults import Does, Fault, Faults, Shows
from .notices import Notice
from .script import Step
from .spoil import NOISE_BYTES, garbage, html_page, oversized
from .wire import GatewayKeys, Members, NotSealed, NotSigned, Unreadable, content_hash, encode, parse

__all__ = ["Delivery", "Exchange", "Received", "Way"]

_REMEMBERED_ANSWERS = 64


class Way(StrEnum):
    """What happens on the connection."""

    ANSWER = "answer"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"
    SLOW = "slow"
    TRUNCATE = "truncate"


@frozen
class Delivery:
    """What the caller gets; `fault` and `ret_code` are for the record only."""

    way: Way = Way.ANSWER
    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json;charset=utf-8"
    over_s: float = 0.0
    ret_code: str | None = None
    fault: str | None = None


@frozen
class Received:
    """A request as it arrived, whatever was made of it afterwards.

    `content` and `content_hash` are None where the request could not be opened or its signature was wrong.
    `does` is what became of it: now, never, late, twice; `ret_code` the code in the genuine answer.
    """

    endpoint: Endpoint
    time: datetime
    body_bytes: int
    no_order: str | None
    content_hash: str | None
    content: Mapping[str, str | None] | None = field(repr=False)
    ret_code: str | None = None
    fault: str | None = None
    does: str = "now"


class _Refused(Exception):
    """Carries an answer out of the checks; not an error of ours."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.ret_code)


class Exchange:
    """One merchant's three addresses as a function of time."""

    def __init__(self, *, engine: Engine, keys: GatewayKeys, faults: Faults, requests_max: int) -> None:
        self.engine = engine
        self.keys = keys
        self.faults = faults
        self.address_allowed = True
        self.outage: frozenset[Endpoint] = frozenset()
        self.requests: deque[Received] = deque(maxlen=requests_max)
        self._calls: Counter[tuple[Endpoint, str]] = Counter()
        self._answers: dict[Endpoint, deque[tuple[str, bool, bytes]]] = {
            endpoint: deque(maxlen=_REMEMBERED_ANSWERS) for endpoint in Endpoint
        }

    # --- one request -------------------------------------------------------------------------------

    def receive(self, endpoint: Endpoint, body: bytes, now: datetime) -> Delivery:
        """Let one whole request arrive at `now`."""
        self.engine.advance(now)
        try:
            content = self._opened(endpoint, body)
        except _Refused as refused:
            self._record(endpoint, now, body, None, Delivery(ret_code=refused.reply.ret_code), Does.NEVER)
            return self._signed(refused.reply)
        if endpoint in self.outage:
            delivery = _page(503)
            self._record(endpoint, now, body, content, delivery, Does.NEVER)
            return delivery
        step, fault_name = self._treatment(endpoint, content)
        does = step.row.does if step.row is not None else Does.NOW
        reply = self._carried_out(endpoint, content, step, now)
        delivery = evolve(self._shown(endpoint, content, reply, step), fault=fault_name)
        self._record(endpoint, now, body, content, delivery, does)
        return delivery

    def notice_body(self, notice: Notice) -> bytes:
        """The signed bytes of a notification."""
        members = self.keys.signed(notice.members)
        if notice.fault == "unsigned":
            members.pop("sign")
        elif notice.fault == "bad_sign":
            members["sign"] = _other_sign(members["sign"] or "")
        return encode(members)

    # --- opening -----------------------------------------------------------------------------------

    def _opened(self, endpoint: Endpoint, body: bytes) -> Members:
        """The verified members of a request, or the refusal it gets; nothing is stored before this."""
        outer = self._parsed(body)
        self._known_partner(outer)
        if not self.address_allowed:
            raise _Refused(self.engine.answer("1008", {}))
        content = outer if endpoint is Endpoint.QUERY else self._unsealed(outer)
        try:
            self.keys.verify(content)
        except NotSigned:
            raise _Refused(self.engine.answer("1001", {})) from None
        self._known_partner(content)
        return content

    def _parsed(self, body: bytes) -> Members:
        try:
            return parse(body)
        except Unreadable:
            raise _Refused(self.engine.answer("1004", {}, name="报文")) from None

    def _known_partner(self, members: Members) -> None:
        if not members.get("oid_partner"):
            raise _Refused(self.engine.answer("1004", {}, name="oid_partner"))
        if members["oid_partner"] != self.engine.oid_partner:
            raise _Refused(self.engine.answer("3001", {}))

    def _unsealed(self, outer: Members) -> Members:
        pay_load = outer.get("pay_load")
        if not pay_load:
            raise _Refused(self.engine.answer("1004", {}, name="pay_load"))
        try:
            return parse(self.keys.open(pay_load))
        except (NotSealed, Unreadable):
            raise _Refused(self.engine.answer("4007", {})) from None

    # --- carrying out ------------------------------------------------------------------------------

    def _treatment(self, endpoint: Endpoint, content: Members) -> tuple[Step, str | None]:
        """The step a script lays down for this call, or else the fault that the profile draws for it."""
        if endpoint is Endpoint.PAY:
            self.engine.scripts.bind(content)
        number = content.get("no_order") or self.engine.book.number_of(content.get("oid_paybill") or "")
        key = number or content.get("oid_paybill") or ""
        index = self._calls[endpoint, key]
        self._calls[endpoint, key] += 1
        if (script := self.engine.scripts.of(number)) is not None:
            step = script.step(endpoint, index)
            return step, step.fault
        name = self.faults.draw(self.engine.draw, endpoint, key, index)
        draw, where = self.engine.draw, (endpoint, key, index)
        return Step(
            fault=name,
            late_s=draw.between(self.faults.late_s, "late", *where),
            lag_s=draw.between(self.faults.lag_s, "lag", *where) if name == "lag" else None,
        ), name

    def _carried_out(self, endpoint: Endpoint, content: Members, step: Step, now: datetime) -> Reply | None:
        """The genuine answer, or None where the gateway never gets to make one."""
        fault = step.row
        does = fault.does if fault is not None else Does.NOW
        if does in (Does.LATE, Does.TWICE):
            at = now + timedelta(seconds=step.late_s if step.late_s is not None else self.faults.late_s[0])
            self.engine.agenda.put(at, lambda moment: self._copy(endpoint, content, moment))
        code = step.ret_code or (fault.ret_code if fault is not None else None)
        if does in (Does.LATE, Does.NEVER) or step.booked is False:
            return self.engine.answer(code, content) if code is not None else None
        own_meaning = step.ret_code is not None or code in INTERCEPTED | FAILED_UNBILLED
        forced = code if own_meaning and step.booked is None else None
        reply = self.engine.carry_out(endpoint, content, now, forced=forced, lag_s=self._lag_s(endpoint, step, content))
        return reply if forced or code is None else self.engine.answer(code, content)

    def _copy(self, endpoint: Endpoint, content: Members, moment: datetime) -> None:
        """A copy of an earlier request is carried out; nobody is there to read the answer."""
        self.engine.carry_out(endpoint, content, moment)

    def _lag_s(self, endpoint: Endpoint, step: Step, content: Members) -> float:
        if endpoint is not Endpoint.QUERY:
            return 0.0
        if step.lag_s is not None:
            return step.lag_s
        if step.row is not None and step.row.lagging:
            return self.faults.lag_s[1]
        most = self.engine.behaviour.replica_lag_s
        key = content.get("no_order") or content.get("oid_paybill") or ""
        return self.engine.draw.between((0.0, most), "replica", key, self._calls[endpoint, key]) if most > 0 else 0.0

    # --- showing -----------------------------------------------------------------------------------

    def _shown(self, endpoint: Endpoint, content: Members, reply: Reply | None, step: Step) -> Delivery:
        if reply is None:
            shows = step.row.shows if step.row is not None else Shows.CLOSE
            return Delivery(way=_WAYS[shows]) if shows in _WAYS else _page(step.row.status if step.row else 503)
        if step.members:
            merged = {**reply.members, **step.members}
            reply = Reply(reply.ret_code, {name: value for name, value in merged.items() if value is not None})
        genuine = self._signed(reply)
        number = content.get("no_order") or ""
        shown = self._spoiled(endpoint, content, genuine, step.row) if step.row is not None else genuine
        self._answers[endpoint].append((number, reply.ret_code == "0000", genuine.body))
        return shown

    def _spoiled(self, endpoint: Endpoint, content: Members, genuine: Delivery, fault: Fault) -> Delivery:
        shows, number = fault.shows, content.get("no_order") or ""
        if shows in _WAYS:
            return evolve(genuine, way=_WAYS[shows], over_s=self.engine.behaviour.slow_s)
        if shows is Shows.HTML:
            return evolve(_page(fault.status), ret_code=genuine.ret_code)
        if shows is Shows.GARBAGE:
            return evolve(genuine, body=garbage(self.engine.draw, number, NOISE_BYTES))
        if shows is Shows.OTHER:
            return evolve(genuine, body=self._other_answer(endpoint, number))
        members = parse(genuine.body)
        if shows is Shows.OVERSIZED:
            return evolve(genuine, body=encode(self.keys.signed(oversized(members))))
        if shows is Shows.UNSIGNED:
            members.pop("sign", None)  # a refusal may have come without one already
        elif shows is Shows.BAD_SIGN:
            members["sign"] = _other_sign(members.get("sign") or "")
        elif shows is Shows.FORGED_REFUSAL:
            members = dict(self.engine.answer("1004", content, name="card_no").members)
        else:
            return genuine
        return evolve(genuine, body=encode(members))

    def _other_answer(self, endpoint: Endpoint, number: str) -> bytes:
        """The genuine answer of another order, good or bad news by the seed; where there is none yet, one made up."""
        # Which order it is depends on what has happened to arrive, but what a believer does next must not.
        good = self.engine.draw.fraction("good news", endpoint, number) < 0.5
        others = [body for other, good_news, body in self._answers[endpoint] if other != number and good_news == good]
        if others:
            return others[self.engine.draw.whole(len(others), "other", number)]
        nobody = {"no_order": "nobodys-payment"}
        if good:
            return self._signed(self.engine.answer("0000", nobody, oid_paybill="2026010100000000")).body
        return self._signed(self.engine.answer("9999", nobody)).body

    def _signed(self, reply: Reply) -> Delivery:
        refusal = reply.ret_code in INTERCEPTED | FAILED_UNBILLED | {"4007"}
        bare = refusal and self.engine.behaviour.unsigned_refusals
        members = dict(reply.members) if bare else self.keys.signed(reply.members)
        return Delivery(body=encode(members), ret_code=reply.ret_code)

    def _record(
        self, endpoint: Endpoint, now: datetime, body: bytes, content: Members | None, made: Delivery, does: Does
    ) -> None:
        self.requests.append(
            Received(
                endpoint=endpoint,
                time=now,
                body_bytes=len(body),
                no_order=content.get("no_order") if content is not None else None,
                content_hash=content_hash(content) if content is not None else None,
                content=content,
                ret_code=made.ret_code,
                fault=made.fault,
                does=does,
            )
        )


_WAYS = {
    Shows.CLOSE: Way.CLOSE,
    Shows.RESET: Way.RESET,
    Shows.HANG: Way.HANG,
    Shows.SLOW: Way.SLOW,
    Shows.TRUNCATED: Way.TRUNCATE,
}


def _page(status: int) -> Delivery:
    return Delivery(status=status, body=html_page(status), content_type="text/html;charset=utf-8")


def _other_sign(sign: str) -> str:
    """Base64 of the right shape that signs nothing: every letter turned about."""
    return sign.swapcase()
