"""The gateway's decisions: members of a verified request in, members of an answer out. Pure and synchronous.

No clock, no socket, no key: `now` is an argument, and what is to happen later lies on the agenda until
somebody lets it happen with `advance`. A server, a test or a simulated network can drive it alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from attrs import field, frozen

from lianlian_async.clock import SHANGHAI

from . import checks
from .agenda import Agenda
from .bank import Bank
from .codes import FAILED_UNBILLED, INTERCEPTED, REVIEW, Endpoint, ret_msg
from .draw import Draw
from .faults import Faults
from .ledger import Ledger
from .notices import Notices
from .orders import Order, OrderBook
from .script import Scripts
from .settings import Behaviour, Dedupe, Limits

__all__ = ["Engine", "Reply"]

Content = Mapping[str, str | None]


@frozen
class Reply:
    """An answer before it is signed."""

    ret_code: str
    members: Mapping[str, str | None] = field(repr=False)


class Engine:
    """One merchant's view of the gateway."""

    def __init__(
        self,
        *,
        oid_partner: str,
        balance: Decimal,
        limits: Limits,
        behaviour: Behaviour,
        faults: Faults,
        seed: int,
        ledger: Ledger,
    ) -> None:
        self.oid_partner = oid_partner
        self.behaviour = behaviour
        self.ledger = ledger
        self.permitted = True
        self.book = OrderBook()
        self.scripts = Scripts()
        self.agenda = Agenda()
        self.draw = Draw(seed)
        self._faults = faults
        self.notices = Notices(
            oid_partner=oid_partner,
            behaviour=behaviour,
            faults=faults,
            scripts=self.scripts,
            draw=self.draw,
            agenda=self.agenda,
        )
        self.bank = Bank(
            balance=balance,
            limits=limits,
            behaviour=behaviour,
            faults=faults,
            ledger=ledger,
            scripts=self.scripts,
            draw=self.draw,
            agenda=self.agenda,
            book=self.book,
            notices=self.notices,
        )

    # --- the three calls, and time -----------------------------------------------------------------

    def handle(
        self, endpoint: Endpoint, content: Content, now: datetime, *, forced: str | None = None, lag_s: float = 0.0
    ) -> Reply:
        """Carry out one verified request; `forced` lays the outcome down, `lag_s` makes a query read an older copy."""
        self.advance(now)
        return self.carry_out(endpoint, content, now, forced=forced, lag_s=lag_s)

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due by `now`."""
        self.agenda.run_until(now)

    def carry_out(
        self, endpoint: Endpoint, content: Content, now: datetime, *, forced: str | None = None, lag_s: float = 0.0
    ) -> Reply:
        """`handle` for callers that are themselves on the agenda."""
        if endpoint is Endpoint.PAY:
            return self._pay(content, now, forced)
        if endpoint is Endpoint.CONFIRM:
            return self._confirm(content, now, forced)
        return self._query(content, now, forced, lag_s)

    def answer(self, ret_code: str, content: Content, *, name: str = "", **more: str | None) -> Reply:
        """An answer with the members every answer has; `name` is the parameter a 1004 complains about."""
        # Whatever does not look like a number is not repeated to the sender.
        no_order = content.get("no_order") if checks.is_number(content.get("no_order")) else None
        if self.behaviour.refusals_without_no_order and ret_code in INTERCEPTED | FAILED_UNBILLED:
            no_order = None
        members = {
            "ret_code": ret_code,
            "ret_msg": ret_msg(ret_code, name),
            "oid_partner": self.oid_partner,
            "sign_type": "RSA",
            "no_order": no_order,
            **more,
        }
        return Reply(ret_code, {key: value for key, value in members.items() if value})

    # --- payment (specification 3.1) ---------------------------------------------------------------

    def _pay(self, content: Content, now: datetime, forced: str | None) -> Reply:
        if forced is not None and checks.wrong_in_pay(content, notify_url_max=self.behaviour.notify_url_max):
            forced = None  # nothing can be made of a request that is not one
        if forced not in (None, "0000"):
            return self._forced_pay(content, now, forced or "")
        natural = forced is None
        if natural and (refusal := self._intercepted(content)) is not None:
            return refusal
        amount = checks.amount_of(content)
        if natural and not self.behaviour.dedupe_first and (code := self._unaffordable(amount, now)) is not None:
            return self._refused(code, content, now)
        if (code := self._seen_before(content, now)) is not None:
            return self.answer(code, content)
        if natural and (code := self.bank.over_limit(amount, now)) is not None:
            return self.answer(code, content)
        if natural and (code := self._needs_review(content, now)) is not None:
            return self._put_under_review(code, content, now)
        if natural and self.bank.short_of(amount):
            return self._refused("9104", content, now)
        return self.answer("0000", content, oid_paybill=self.bank.accept(self._new_order(content, now), now))

    def _forced_pay(self, content: Content, now: datetime, ret_code: str) -> Reply:
        """The genuine effect of a code that a script or a fault has laid down."""
        if ret_code in FAILED_UNBILLED:
            return self._refused(ret_code, content, now)
        if ret_code in REVIEW and self._seen_before(content, now) is None:
            return self._put_under_review(ret_code, content, now)
        # A genuine 4005 on payment carries no number, though the specification's table says it must.
        if ret_code == "4005":
            return self.answer(ret_code, content, no_order=None)
        return self.answer(ret_code, content)

    def _intercepted(self, content: Content) -> Reply | None:
        """What is stopped at the door, nothing stored."""
        if not self.permitted:
            return self.answer("4005", content, no_order=None)
        if name := checks.wrong_in_pay(content, notify_url_max=self.behaviour.notify_url_max):
            return self.answer("1004", content, name=name)
        if checks.branch_missing(content):
            return self.answer("4015", content)
        return None

    def _unaffordable(self, amount: Decimal, now: datetime) -> str | None:
        return self.bank.over_limit(amount, now) or ("9104" if self.bank.short_of(amount) else None)

    def _refused(self, ret_code: str, content: Content, now: datetime) -> Reply:
        """A refusal that may leave an order behind, but never over one that lives or has ended under this number."""
        if ret_code in FAILED_UNBILLED and all(order.revivable for order in self._remembered(content, now)):
            self.bank.fail_unbilled(self._new_order(content, now), ret_msg(ret_code), now)
        return self.answer(ret_code, content)

    def _seen_before(self, content: Content, now: datetime) -> str | None:
        """1002 or 2005 when this number must not be carried out again."""
        known = self._remembered(content, now)
        if any(order.content != _kept(content) for order in known):
            return "1002"
        standing = [order for order in known if not order.revivable]
        if not standing:
            return None
        if any(order.result_pay == "CHECK" for order in standing):
            return self.behaviour.repeat_in_review
        return "1002" if all(order.settled for order in standing) else "2005"

    def _remembered(self, content: Content, now: datetime) -> list[Order]:
        """The orders of this number that the check for repeated numbers can see."""
        known = self.book.of(content.get("no_order") or "")
        if self.behaviour.dedupe is Dedupe.RACY:
            blind = timedelta(seconds=self.behaviour.racy_s)
            return [order for order in known if order.created + blind <= now]
        return [order for order in known if not self._forgotten(order, now)]

    def _forgotten(self, order: Order, now: datetime) -> bool:
        if self.behaviour.dedupe is not Dedupe.FORGETFUL:
            return False
        return now - order.created >= timedelta(seconds=self.behaviour.forget_after_s)

    def _new_order(self, content: Content, now: datetime) -> Order:
        kept = _kept(content)
        return Order(kept, now, checks.amount_of(content), kept.get("notify_url", ""))

    # --- reviews -----------------------------------------------------------------------------------

    def _needs_review(self, content: Content, now: datetime) -> str | None:
        repeated, misnamed = self._suspected_duplicate(content, now), self._misnamed(content)
        if repeated and misnamed:
            return "4004"
        return "4002" if repeated else ("4003" if misnamed else None)

    def _suspected_duplicate(self, content: Content, now: datetime) -> bool:
        own = self.behaviour.check_duplicates
        if not (self._faults.check_duplicates if own is None else own):
            return False
        for other in self.book.to_payee(content["card_no"] or "", checks.amount_of(content)):
            if other.no_order != content["no_order"] and not other.dead and self._same_window(other, now):
                return True
        return False

    def _same_window(self, other: Order, now: datetime) -> bool:
        if self.behaviour.duplicate_window == "24h":
            return now - other.created < timedelta(hours=24)
        return other.created.astimezone(SHANGHAI).date() == now.astimezone(SHANGHAI).date()

    def _misnamed(self, content: Content) -> bool:
        if not self.behaviour.check_names:
            return False
        card_no = content["card_no"] or ""
        known = self.bank.names.get(card_no)
        if known is not None:
            return known != content["acct_name"]
        own = self.behaviour.name_mismatch_share
        share = self._faults.name_mismatch_share if own is None else own
        return share > 0 and self.draw.fraction("known under another name", card_no) < share

    def _put_under_review(self, ret_code: str, content: Content, now: datetime) -> Reply:
        order = self._new_order(content, now)
        self.bank.review(order, now)
        return self.answer(ret_code, content, confirm_code=order.confirm_code)

    # --- confirmation (specification 3.2) ----------------------------------------------------------

    def _confirm(self, content: Content, now: datetime, forced: str | None) -> Reply:
        order = self._latest(content.get("no_order"))
        if forced is not None:
            return self._forced_confirm(content, order, now, forced)
        if not self.permitted:
            return self.answer("4005", content)
        if name := checks.wrong_in_confirm(content, notify_url_max=self.behaviour.notify_url_max):
            return self.answer("1004", content, name=name)
        if order is None or order.result_pay != "CHECK":
            closed_by = order.closed_by if order is not None else None
            return self.answer({"tries": "4008", "expiry": "4010"}.get(closed_by or "", "4001"), content)
        code = content["confirm_code"] or ""
        if not (len(code) == 6 and code.isascii() and code.isdigit()):
            return self.answer("4009", content)
        if code != order.confirm_code:
            return self._wrong_code(content, order, now)
        if (refusal := self._unaffordable(order.amount, now)) is not None:
            return self.answer(refusal, content)  # the order stays under review: it may be confirmed after funding
        return self._confirmed(content, order, now)

    def _confirmed(self, content: Content, order: Order, now: datetime) -> Reply:
        before, order.notify_url = order.notify_url, content.get("notify_url") or order.notify_url
        try:
            return self.answer("0000", content, oid_paybill=self.bank.accept(order, now))
        except OSError:
            order.notify_url = before
            raise

    def _wrong_code(self, content: Content, order: Order, now: datetime) -> Reply:
        order.tries += 1
        if order.tries < self.behaviour.confirm_tries:
            return self.answer("4011", content)
        self.bank.close(order, "tries", now)
        return self.answer("4008", content)

    def _forced_confirm(self, content: Content, order: Order | None, now: datetime, ret_code: str) -> Reply:
        if order is not None and order.result_pay == "CHECK":
            if ret_code == "0000":
                return self._confirmed(content, order, now)
            if ret_code in ("4008", "4010"):
                self.bank.close(order, {"4008": "tries", "4010": "expiry"}[ret_code], now)
            elif ret_code == "4011":
                order.tries += 1
        return self.answer(ret_code, content)

    def _latest(self, no_order: str | None) -> Order | None:
        orders = self.book.of(no_order or "")
        under_review = [order for order in orders if order.result_pay == "CHECK"]
        return under_review[-1] if under_review else (orders[-1] if orders else None)

    # --- query (specification 3.3) -----------------------------------------------------------------

    def _query(self, content: Content, now: datetime, forced: str | None, lag_s: float) -> Reply:
        if forced not in (None, "0000"):
            return self.answer(forced or "", content)
        if name := checks.wrong_in_query(content):
            return self.answer("1004", content, name=name)
        moment = now - timedelta(seconds=lag_s)
        found = self.book.seen(content.get("no_order"), content.get("oid_paybill"), moment)
        if found is None or self._forgotten(found[0], now):
            return self.answer("8901", content)
        order, face = found
        return self.answer(
            "0000",
            {"no_order": order.no_order},
            dt_order=order.content["dt_order"],
            money_order=order.content["money_order"],
            oid_paybill=face.oid_paybill,
            result_pay=face.result_pay,
            settle_date=face.settle_date,
            info_order=face.info_order,
            memo=face.memo if self.behaviour.query_memo else None,
        )


def _kept(content: Content) -> dict[str, str]:
    """What an order is compared by: everything the merchant signed, without the signature itself."""
    return {name: value for name, value in content.items() if value and name != "sign"}
