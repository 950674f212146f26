"""Specification section 7: every `ret_code`, what it proves after each call, and who must act.

One row a code, in the specification's order. Read a row like this: the gateway's own words, what they
mean in English, and then one `Effect` for each endpoint that could answer with it. An effect holds only
for an answer that is *signed and bound* to our order; anything less is a hint (see `resolver.evidence`).

The list is open: the vendor's other documents name about forty further codes, so a code that is not
here has a row of its own (`UNKNOWN_CODE`), and that row never says "failed".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from attrs import frozen

__all__ = [
    "QUERY_CODES_OF_THE_SPECIFICATION",
    "RET_CODES",
    "UNKNOWN_CODE",
    "Actor",
    "Effect",
    "Proof",
    "RetCode",
    "Source",
    "Then",
    "lookup",
]


class Source(StrEnum):
    """Where a piece of news comes from: the calls of specification 3.1 to 3.4, a statement (section 6), or a person."""

    PAY = "pay"
    CONFIRM = "confirm"
    QUERY = "query"
    NOTIFY = "notify"
    STATEMENT = "statement"
    PERSON = "person"


class Proof(StrEnum):
    """What one piece of trustworthy news proves about the number it speaks of."""

    NOTHING = "nothing"  # it may have been paid
    UNSENT = "unsent"  # no byte of this attempt left
    REFUSED = "refused"  # this attempt was turned away; others may live
    REFUSED_IF_ABSENT = "refused if absent"  # as REFUSED, once a query agrees that there is no record
    NO_RECORD = "no record now"  # permits the same number, never a new one
    ACCEPTED = "accepted"  # the gateway has it; not paid
    REVIEW = "under review"  # a person must decide; the portal can still confirm it
    PROCESSING = "processing"  # at the bank
    PAID = "paid"
    FAILED = "failed"  # final only together with a bill (`oid_paybill`)
    CLOSED = "closed"
    REFUNDED = "refunded"
    CONFLICT = "conflict"  # the gateway's record is not the order we sent


class Then(StrEnum):
    """What may follow; always after a query has been asked (rule R1)."""

    FOLLOW = "follow"  # ask until it ends
    RESEND = "resend"  # ask; the same number again by itself when the query permits (rule R2)
    RESEND_ONCE = "resend once"  # as RESEND, a single time; then somebody must fix something
    FIX = "fix"  # ask; then wait for `resume()` after a fix, same content
    AMEND = "amend"  # ask; then wait for `amend()`, corrected content
    DECIDE = "decide"  # a person decides
    END = "end"  # nothing more to do


class Actor(StrEnum):
    """Who has to act next."""

    LIBRARY = "library"
    OPERATOR = "operator"
    CALLER = "caller"
    PERSON = "person"


@frozen
class Effect:
    """What an answer proves at one endpoint, and what it leads to."""

    proves: Proof
    then: Then
    who: Actor
    advice: str
    breaker: bool = False  # stop new money of this merchant at once
    alarm: bool = False  # an operator should hear of it


@frozen
class RetCode:
    """One row of specification section 7."""

    code: str
    meaning: str
    gloss: str
    remark: str
    pay: Effect
    confirm: Effect
    query: Effect

    def at(self, endpoint: Source) -> Effect:
        """The effect of this code as an answer of `endpoint`: pay, confirm or query."""
        return {Source.PAY: self.pay, Source.CONFIRM: self.confirm, Source.QUERY: self.query}[endpoint]


def _ask(advice: str = "The outcome is unknown: it is being queried.", *, alarm: bool = False) -> Effect:
    return Effect(Proof.NOTHING, Then.RESEND, Actor.LIBRARY, advice, alarm=alarm)


def _fix(advice: str, who: Actor = Actor.OPERATOR, *, breaker: bool = False) -> Effect:
    return Effect(Proof.REFUSED, Then.FIX, who, advice, breaker=breaker)


def _amend(advice: str) -> Effect:
    return Effect(Proof.REFUSED, Then.AMEND, Actor.CALLER, advice)


def _review(why: str) -> Effect:
    return Effect(
        Proof.REVIEW,
        Then.DECIDE,
        Actor.PERSON,
        f"{why} A person must approve or decline; nothing is confirmed by itself.",
    )


def _setup(what: str) -> Effect:
    """After confirm or query: our set-up is wrong, and the order's own state is untouched by that."""
    return Effect(Proof.NOTHING, Then.FIX, Actor.OPERATOR, what, breaker=True)


_MISPLACED: Final = Effect(
    Proof.NOTHING,
    Then.RESEND_ONCE,
    Actor.LIBRARY,
    "This code does not belong to this call: nothing is concluded, the order is being queried.",
    alarm=True,
)
_STRANGE: Final = Effect(
    Proof.NOTHING,
    Then.RESEND_ONCE,
    Actor.LIBRARY,
    "The specification does not know this code: nothing is concluded, the order is being queried.",
    alarm=True,
)
_ASK_AGAIN: Final = Effect(
    Proof.NOTHING, Then.FOLLOW, Actor.LIBRARY, "The query brought nothing: it will be asked again, more slowly."
)
_CONFIRM_ASK: Final = Effect(
    Proof.NOTHING, Then.FOLLOW, Actor.LIBRARY, "Whether the confirmation counted is unknown: it is being queried."
)
_CONFIRM_MISPLACED: Final = Effect(
    Proof.NOTHING,
    Then.FOLLOW,
    Actor.LIBRARY,
    "This code does not belong to confirmPayment: nothing is concluded, the order is being queried.",
    alarm=True,
)
_CONFIRM_NOT_PAID: Final = Effect(
    Proof.NOTHING,
    Then.FOLLOW,
    Actor.LIBRARY,
    "This confirmation did not pay; what became of the order is being queried.",
)
_CLOSING: Final = Effect(
    Proof.REVIEW,
    Then.DECIDE,
    Actor.PERSON,
    "It can no longer be confirmed here and will be closed: it is queried until it says CLOSED, then `replace` is open.",
)

_ROWS: Final = (
    RetCode(
        "0000", "交易成功", "success", "For pay and confirm: the request is accepted, not yet paid.",
        pay=Effect(Proof.ACCEPTED, Then.FOLLOW, Actor.LIBRARY, "Accepted, not yet paid: it is queried until it ends."),
        confirm=Effect(Proof.PROCESSING, Then.FOLLOW, Actor.LIBRARY, "Confirmed, not yet paid: it is queried until it ends."),
        query=Effect(Proof.NOTHING, Then.FOLLOW, Actor.LIBRARY, "The answer's `result_pay` speaks, not its code."),
    ),
    RetCode(
        "1001", "商户请求签名未通过", "the request's signature was not accepted",
        "Once signed rightly, the same number may go on.",
        pay=_fix("The merchant key does not match the one in the merchant portal: mend the key, `unpause`, then `resume`.", breaker=True),
        confirm=_setup("The merchant key does not match the one in the merchant portal; this call confirmed nothing."),
        query=_setup("The merchant key does not match the one in the merchant portal; nothing is known of the order."),
    ),
    RetCode(
        "1002", "商户付款流水号重复", "order number repeated",
        "The number has a definite result already, or came with other parameters.",
        pay=Effect(
            Proof.NOTHING, Then.DECIDE, Actor.LIBRARY,
            "The number is known to the gateway: its result is being queried and compared.",
        ),
        confirm=_CONFIRM_ASK,
        query=_ASK_AGAIN,
    ),
    RetCode(
        "1004", "商户请求参数校验错误", "a request parameter is not accepted",
        "With the parameter put right, the same number may go on.",
        pay=_amend("A field was not accepted: correct it with `amend`, the number stays."),
        confirm=Effect(Proof.NOTHING, Then.FIX, Actor.OPERATOR, "A field of the confirmation was not accepted; it confirmed nothing."),
        query=_setup("The query itself was not accepted: check oid_partner and the library's version."),
    ),
    RetCode(
        "1005", "不支持该银行账户类型", "this kind of bank account is not supported",
        "With a supported card, the same number may go on.",
        pay=_amend("The payee's account is of a kind that is not supported: give another with `amend` (it changes the payee)."),
        confirm=_CONFIRM_MISPLACED,
        query=_ASK_AGAIN,
    ),
    RetCode(
        "1008", "商户请求 IP 错误", "the request's IP address is not allowed",
        "Only addresses on the merchant's list may pay.",
        pay=Effect(
            Proof.REFUSED_IF_ABSENT, Then.FIX, Actor.OPERATOR,
            "This machine's address is not on LianLian's list: have it added, `unpause`, then `resume`.", breaker=True,
        ),
        confirm=_setup("This machine's address is not on LianLian's list; this call confirmed nothing."),
        query=_setup("This machine's address is not on LianLian's list; nothing is known of the order."),
    ),
    RetCode(
        "2005", "原交易已在进行处理，请勿重复提交", "the original payout is being processed",
        "The order is in process.",
        pay=Effect(Proof.ACCEPTED, Then.FOLLOW, Actor.LIBRARY, "The gateway has it in process: it is queried until it ends."),
        confirm=_CONFIRM_ASK,
        query=_ASK_AGAIN,
    ),
    RetCode(
        "3001", "非法商户", "unknown or illegal merchant", "The same number may go on.",
        pay=_fix("The gateway does not accept this merchant number (oid_partner): check it with LianLian, `unpause`, then `resume`.", breaker=True),
        confirm=_setup("The gateway does not accept this merchant number (oid_partner); this call confirmed nothing."),
        query=_setup("The gateway does not accept this merchant number (oid_partner); nothing is known of the order."),
    ),
    RetCode(
        "4001", "该订单不存在或非复核状态", "no such order, or it is not under review", "An answer of confirmPayment.",
        pay=_MISPLACED,
        confirm=Effect(
            Proof.NOTHING, Then.FOLLOW, Actor.LIBRARY,
            "Often our own earlier confirmation already worked: this is not a failure, the query decides.",
        ),
        query=_ASK_AGAIN,
    ),
    RetCode(
        "4002", "疑似重复提交订单", "suspected duplicate", "A person reviews it, then confirmPayment may be called.",
        pay=_review("Same card and amount as another payout of the day."),
        confirm=_CONFIRM_MISPLACED, query=_ASK_AGAIN,
    ),
    RetCode(
        "4003", "收款银行卡和姓名不一致", "card number and name do not match",
        "A person reviews it, then confirmPayment may be called.",
        pay=_review("The card does not belong to that name."),
        confirm=_CONFIRM_MISPLACED, query=_ASK_AGAIN,
    ),
    RetCode(
        "4004", "疑似重复提交订单且收款银行卡和姓名不一致", "suspected duplicate, and card and name do not match",
        "A person reviews it, then confirmPayment may be called.",
        pay=_review("Same card and amount as another payout of the day, and the card does not belong to that name."),
        confirm=_CONFIRM_MISPLACED, query=_ASK_AGAIN,
    ),
    RetCode(
        "4005", "商户没有实时付款权限", "the merchant may not use instant payment",
        "Once the permission is granted, the same number may go on.",
        pay=_fix("LianLian has not granted this merchant instant payment: have it granted, `unpause`, then `resume`.", breaker=True),
        confirm=_setup("LianLian has not granted this merchant instant payment; this call confirmed nothing."),
        query=_ASK_AGAIN,
    ),
    RetCode(
        "4006", "敏感信息加密异常", "encryption of sensitive data went wrong", "Query the order.",
        pay=Effect(
            Proof.NOTHING, Then.RESEND_ONCE, Actor.LIBRARY,
            "Unknown whether it was booked: it is being queried. If it happens again, check the gateway's public key.",
        ),
        confirm=_CONFIRM_ASK, query=_ASK_AGAIN,
    ),
    RetCode(
        "4007", "敏感信息解密异常", "decryption of sensitive data went wrong", "Query the order.",
        pay=Effect(
            Proof.NOTHING, Then.RESEND_ONCE, Actor.LIBRARY,
            "Unknown whether it was booked: it is being queried. If it happens again, the gateway's public key is wrong.",
        ),
        confirm=_CONFIRM_ASK, query=_ASK_AGAIN,
    ),
    RetCode(
        "4008", "验证码次数超限", "confirm code: attempts used up", "Six tries; the order will be closed, use a new number.",
        pay=_MISPLACED, confirm=_CLOSING, query=_ASK_AGAIN,
    ),
    RetCode(
        "4009", "验证码异常", "confirm code: error", "Query the order.",
        pay=_MISPLACED,
        confirm=Effect(
            Proof.NOTHING, Then.FOLLOW, Actor.LIBRARY,
            "Unknown whether it was confirmed, and one of the six tries may be gone: it is being queried.",
        ),
        query=_ASK_AGAIN,
    ),
    RetCode(
        "4010", "验证码失效", "confirm code: expired", "After 30 minutes the order will be closed, use a new number.",
        pay=_MISPLACED, confirm=_CLOSING, query=_ASK_AGAIN,
    ),
    RetCode(
        "4011", "验证码不匹配", "confirm code: does not match", "Six tries.",
        pay=_MISPLACED,
        confirm=Effect(
            Proof.REVIEW, Then.DECIDE, Actor.PERSON,
            "The stored code should match and does not: one of the six tries is gone, it is never sent again by itself.",
            alarm=True,
        ),
        query=_ASK_AGAIN,
    ),
    RetCode(
        "4012", "银行卡查询异常", "the card could not be looked up", "The same number may go on.",
        pay=Effect(
            Proof.REFUSED, Then.RESEND_ONCE, Actor.CALLER,
            "The card could not be looked up: tried once more by itself; usually the card number does not exist.",
        ),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "4013", "账户异常", "the account is abnormal", "The same number may go on.",
        pay=_fix("The merchant's account is abnormal: settle it with LianLian, then `resume` (identical content)."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "4014", "付款订单创建失败", "the payout order could not be created", "The same number may go on.",
        pay=Effect(
            Proof.REFUSED, Then.RESEND, Actor.LIBRARY,
            "The order could not be created: queried, then sent again with the same number after 1, 5 and 15 minutes.",
        ),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "4015", "大额行号查询失败", "the bank branch number could not be looked up", "Corporate payouts only.",
        pay=_amend("Give `prcptcd`, or correct the branch, with `amend`; the number stays."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "8901", "没有记录", "no record", "An answer of queryPayment.",
        pay=_MISPLACED, confirm=_CONFIRM_MISPLACED,
        query=Effect(
            Proof.NO_RECORD, Then.RESEND, Actor.LIBRARY,
            "No record now. It permits the same number again, never a new one.",
        ),
    ),
    RetCode(
        "9104", "账户余额不足", "the merchant's balance is too low", "After topping up, the same number may go on.",
        pay=_fix("The balance is too low: top it up, then `resume` (identical content)."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "9910", "风险等级过高", "the risk level is too high", "Once it is lower, the same number may go on.",
        pay=_fix("Risk control stopped it: a person settles it with LianLian, then `resume`.", Actor.PERSON),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "9911", "超过单笔限额", "over the limit of a single payment", "Within the limit, the same number may go on.",
        pay=_fix("Over the limit of a single payment: have it raised, then `resume`. It is never split by itself."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "9912", "超过单日限额", "over the limit of the day", "Within the limit, the same number may go on.",
        pay=_fix("Over the limit of the day: `resume` on the next day (+08:00), or have it raised."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "9913", "超过单月限额", "over the limit of the month", "Within the limit, the same number may go on.",
        pay=_fix("Over the limit of the month: `resume` in the next month (+08:00), or have it raised."),
        confirm=_CONFIRM_NOT_PAID, query=_ASK_AGAIN,
    ),
    RetCode(
        "9999", "系统错误", "system error", "Do not submit again: query the order's true state.",
        pay=_ask("The gateway had an error and may have booked it: it is being queried."),
        confirm=_CONFIRM_ASK, query=_ASK_AGAIN,
    ),
)  # fmt: skip

RET_CODES: Final[Mapping[str, RetCode]] = MappingProxyType({row.code: row for row in _ROWS})

UNKNOWN_CODE: Final = RetCode(
    "other",
    "规范未列出的返回码",
    "a code that the specification does not list",
    "Treated as unknown, never as failed.",
    pay=_STRANGE,
    confirm=_CONFIRM_MISPLACED,
    query=_ASK_AGAIN,
)

# Section 5 of the specification asks for a query after these. This library asks after everything
# that is not proof, so the list decides nothing; `explain` shows it beside the library's own rule.
QUERY_CODES_OF_THE_SPECIFICATION: Final = frozenset({"9999", "4006", "4007", "4009", "1002", "2005"})


def lookup(code: str) -> RetCode:
    """The row of `code`, or `UNKNOWN_CODE`: there is no code without a row."""
    return RET_CODES.get(code, UNKNOWN_CODE)
