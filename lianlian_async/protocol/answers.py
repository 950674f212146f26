"""What LianLian says: the answers to pay, confirm and query, and the notification (specification 3).

`read` takes members whose signature has been verified and gives them types. It is strict about shape,
because whatever is malformed proves nothing, and open about content: codes, states and further members
that this library does not know are for the decision table to judge. Mandatory is only what no genuine
answer was ever seen without; a signed refusal, for one, may come without `no_order`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Self

import attrs
from attrs import field, frozen

from lianlian_async.errors import InvalidOrder, MessageRejected, Rejection
from lianlian_async.protocol.fields import is_date, is_date_time, parse_money

__all__ = ["ConfirmAnswer", "Notification", "PayAnswer", "QueryAnswer"]

Members = Mapping[str, str | None]


class _WrongShape(ValueError):
    pass


def _like(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return _if(lambda value: compiled.fullmatch(value) is not None)


def _if(accepts: Callable[[str], bool]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not accepts(value):
            raise _WrongShape
        return value

    return read


def _money(value: str) -> Decimal:
    try:
        return parse_money(value)
    except InvalidOrder:
        raise _WrongShape from None


# Room for 255 characters of the merchant's and a reason of the bank's behind them. The bound also keeps
# a signed field too small and too plain to carry the binary blocks of an MD5 collision.
_TEXT_MAX: Final = 1024

# The signed string is k=v&k=v, unescaped: text that holds "&name=" may be several members of another
# message, cut differently. We never send such text, so none of ours can come back.
_LOOKS_LIKE_A_MEMBER = re.compile(r"&\w+=")


def _is_text(value: str) -> bool:
    return len(value) <= _TEXT_MAX and not any(unicodedata.category(char) in {"Cc", "Cs"} for char in value)


_SHAPES: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "ret_code": _like("[!-~]{1,10}"),
        "ret_msg": _if(_is_text),
        "oid_partner": _like("[0-9]{1,18}"),
        "no_order": _like("[A-Za-z0-9_-]{1,32}"),
        "dt_order": _if(is_date_time),
        "money_order": _money,
        "oid_paybill": _like("[A-Za-z0-9]{1,32}"),
        "confirm_code": _like("[A-Za-z0-9]{1,6}"),
        "result_pay": _like("[A-Za-z_]{1,32}"),
        "settle_date": _if(is_date),
        "info_order": _if(_is_text),
        "memo": _if(_is_text),
    }
)


def _read(message: type[attrs.AttrsInstance], members: Members) -> dict[str, Any]:
    """The members that `message` knows, each in its shape; an empty one counts as absent."""
    values: dict[str, Any] = {}
    for attribute in attrs.fields(message):
        name, value = attribute.name, members.get(attribute.name)
        if value:
            values[name] = _shaped(name, value)
        elif attribute.default is attrs.NOTHING:
            raise MessageRejected(Rejection.UNREADABLE, f"{name} is missing")
    return values


def _shaped(name: str, value: str) -> Any:
    try:
        if _LOOKS_LIKE_A_MEMBER.search(value):
            raise _WrongShape
        return _SHAPES[name](value)
    except _WrongShape:
        raise MessageRejected(Rejection.UNREADABLE, f"{name} has a wrong shape") from None


@frozen(kw_only=True)
class PayAnswer:
    """The answer to a pay request (specification 3.1)."""

    ret_code: str
    ret_msg: str = ""
    oid_partner: str
    no_order: str | None = None
    oid_paybill: str | None = None
    confirm_code: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, members: Members) -> Self:
        """The typed answer; raises `MessageRejected` when a member is missing or malformed."""
        return cls(**_read(cls, members))


@frozen(kw_only=True)
class ConfirmAnswer:
    """The answer to a confirm request (specification 3.2)."""

    ret_code: str
    ret_msg: str = ""
    oid_partner: str
    no_order: str | None = None
    oid_paybill: str | None = None

    @classmethod
    def read(cls, members: Members) -> Self:
        """The typed answer; raises `MessageRejected` when a member is missing or malformed."""
        return cls(**_read(cls, members))


@frozen(kw_only=True)
class QueryAnswer:
    """The answer to a query (specification 3.3). Without a record (8901) it has no order members."""

    ret_code: str
    ret_msg: str = ""
    oid_partner: str
    no_order: str | None = None
    dt_order: str | None = None
    money_order: Decimal | None = None
    oid_paybill: str | None = None
    result_pay: str | None = None
    settle_date: str | None = None
    info_order: str | None = field(default=None, repr=False)
    memo: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, members: Members) -> Self:
        """The typed answer; raises `MessageRejected` when a member is missing or malformed."""
        return cls(**_read(cls, members))


@frozen(kw_only=True)
class Notification:
    """The news of a payment's result, posted by LianLian (specification 3.4)."""

    oid_partner: str
    no_order: str
    dt_order: str
    money_order: Decimal
    oid_paybill: str
    result_pay: str
    settle_date: str | None = None
    info_order: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, members: Members) -> Self:
        """The typed notification; raises `MessageRejected` when a member is missing or malformed."""
        return cls(**_read(cls, members))
