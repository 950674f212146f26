"""The requests a merchant makes (specification 3.1 to 3.3), checked as a whole before anything is sent.

`Order` is what a caller asks for; `freeze` turns it into the signed members of a pay request, which
never change again for their `no_order`. Answers and notifications are read in `answers.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import attrs
from attrs import field, frozen

from lianlian_async.errors import InvalidOrder
from lianlian_async.protocol.answers import ConfirmAnswer, Notification, PayAnswer, QueryAnswer
from lianlian_async.protocol.banks import load_banks
from lianlian_async.protocol.fields import (
    FIELDS,
    check_field,
    mask_card,
    mask_name,
    parse_money,
    wire_money,
)
from lianlian_async.protocol.notify_url import notify_url_fault

__all__ = [
    "PURPOSE_NEEDED_FROM",
    "ConfirmAnswer",
    "Notification",
    "Order",
    "PayAnswer",
    "QueryAnswer",
    "confirm_members",
    "content_hash",
    "freeze",
    "query_members",
]

PURPOSE_NEEDED_FROM: Final = Decimal("50000.00")
"""From this amount up, itself included, `info_order` and `memo` are required (specification 3.1)."""

_PAY_REQUIRED: Final = (
    "oid_partner",
    "api_version",
    "sign_type",
    "no_order",
    "dt_order",
    "money_order",
    "card_no",
    "acct_name",
    "flag_card",
    "notify_url",
)
_CONFIRM_REQUIRED: Final = ("oid_partner", "api_version", "sign_type", "no_order", "confirm_code", "notify_url")
_QUERY_REQUIRED: Final = ("oid_partner", "api_version", "sign_type")


def _absent(value: Any) -> Any:
    """An empty text is an absent one: neither is signed nor sent (specification 4.2)."""
    return None if value == "" else value


def _optional() -> Any:
    return field(default=None, converter=_absent, repr=False)


@frozen(kw_only=True)
class Order:
    """One payment to one account, as the caller wants it (specification 3.1).

    `money_order` in yuan, as `Decimal` or text with at most two decimals. `flag_card` "0" for a personal,
    "1" for a corporate account. `no_order`, `dt_order`, `notify_url` and `platform` win over what the
    client would fill in. Raises `InvalidOrder` when a field, or fields together, break the specification.
    """

    money_order: Decimal = field(converter=parse_money)
    card_no: str = field(repr=mask_card)
    acct_name: str = field(repr=mask_name)
    flag_card: str = "0"
    info_order: str | None = _optional()
    memo: str | None = _optional()
    bank_name: str | None = _optional()
    prcptcd: str | None = _optional()
    bank_code: str | None = _optional()
    city_code: str | None = _optional()
    brabank_name: str | None = _optional()
    platform: str | None = _optional()
    notify_url: str | None = _optional()
    risk_item: str | None = _optional()
    no_order: str | None = field(default=None, converter=_absent)
    dt_order: str | None = field(default=None, converter=_absent)

    def __attrs_post_init__(self) -> None:
        members = self.members()
        _refuse_missing(members, ("card_no", "acct_name", "flag_card"), "3.1")
        for name, value in members.items():
            check_field(name, value)
        _check_together(members)

    def members(self) -> dict[str, str]:
        """The wire members this order sets, in the specification's order; absent ones are left out."""
        values = attrs.asdict(self, recurse=False)
        values["money_order"] = wire_money(self.money_order)
        return {name: values[name] for name in FIELDS if values.get(name) is not None}


def freeze(
    order: Order,
    *,
    oid_partner: str,
    no_order: str | None,
    dt_order: str | None,
    notify_url: str | None,
    platform: str | None = None,
    api_version: str | None = None,
    allow_http: bool = False,
) -> dict[str, str]:
    """The plaintext members of the pay request for `order`, without `sign` (specification 3.1).

    What `order` says itself wins over the arguments. `api_version` is 1.0, or 1.1 when `risk_item` is
    given. `allow_http` lets a `notify_url` argument be plain http. Raises `InvalidOrder`.
    """
    content = {
        "oid_partner": oid_partner,
        "platform": platform,
        "api_version": api_version or ("1.1" if order.risk_item else "1.0"),
        "sign_type": "RSA",
        "no_order": no_order,
        "dt_order": dt_order,
        "notify_url": notify_url,
        **order.members(),
    }
    members = _checked(content, _PAY_REQUIRED, "3.1", allow_http=allow_http)
    _check_together(members)
    return members


def confirm_members(
    *,
    oid_partner: str,
    no_order: str,
    confirm_code: str,
    notify_url: str,
    platform: str | None = None,
    allow_http: bool = False,
) -> dict[str, str]:
    """The plaintext members of a confirm request, without `sign` (specification 3.2). Raises `InvalidOrder`."""
    content = {
        "oid_partner": oid_partner,
        "platform": platform,
        "api_version": "1.0",
        "sign_type": "RSA",
        "no_order": no_order,
        "notify_url": notify_url,
        "confirm_code": confirm_code,
    }
    return _checked(content, _CONFIRM_REQUIRED, "3.2", allow_http=allow_http)


def query_members(
    *, oid_partner: str, no_order: str | None = None, oid_paybill: str | None = None, platform: str | None = None
) -> dict[str, str]:
    """The members of a query, without `sign`; at least one number is needed (specification 3.3)."""
    if not (no_order or oid_paybill):
        raise InvalidOrder("no_order", "is missing, and so is oid_paybill", "give at least one of them", "3.3")
    content = {
        "oid_partner": oid_partner,
        "platform": platform,
        "api_version": "1.0",
        "sign_type": "RSA",
        "no_order": no_order,
        "oid_paybill": oid_paybill,
    }
    return _checked(content, _QUERY_REQUIRED, "3.3")


def content_hash(content: Mapping[str, str]) -> str:
    """SHA-256, in hex, of the order content as compact JSON with sorted names.

    It covers the plaintext: an envelope differs on each encryption and must never be compared.
    """
    canonical = json.dumps(dict(content), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _checked(
    content: Mapping[str, str | None], required: tuple[str, ...], section: str, *, allow_http: bool = False
) -> dict[str, str]:
    """`content` without its absent members, in the specification's order, every field checked."""
    _refuse_missing(content, required, section)
    members = {name: value for name in FIELDS if (value := content.get(name)) is not None and value != ""}
    for name, value in members.items():
        if not (name == "notify_url" and allow_http and _is_fine_with_http(value)):
            check_field(name, value, section)
    return members


def _refuse_missing(content: Mapping[str, str | None], required: tuple[str, ...], section: str) -> None:
    for name in required:
        # Anything else, such as the number 0, is not missing: its field's own check says what is wrong with it.
        if content.get(name) in (None, ""):
            raise InvalidOrder(name, "is missing", "give a value", section)


def _is_fine_with_http(url: object) -> bool:
    return isinstance(url, str) and notify_url_fault(url, allow_http=True) is None


def _check_together(members: Mapping[str, str]) -> None:
    """What the fields of a pay request owe to each other (specification 3.1 and 9)."""
    money_order = Decimal(members["money_order"])
    if money_order >= PURPOSE_NEEDED_FROM:
        for name in ("info_order", "memo"):
            if name not in members:
                raise InvalidOrder(name, f"is missing from an order of {PURPOSE_NEEDED_FROM} or more", "give a purpose")
    if "risk_item" in members and members.get("api_version", "1.1") != "1.1":
        raise InvalidOrder("api_version", "is 1.0, which has no risk_item", "use 1.1")
    if members["flag_card"] == "1":
        _check_corporate(members, money_order)
    elif not (members["card_no"].isdigit() and len(members["card_no"]) >= 8):
        raise InvalidOrder(
            "card_no",
            "is not the number of a personal account",
            "give 8 to 32 digits; for a corporate account set flag_card to 1",
        )


def _check_corporate(members: Mapping[str, str], money_order: Decimal) -> None:
    bank_code = members.get("bank_code")
    if bank_code is None:
        raise InvalidOrder("bank_code", "is missing from a corporate payment", "give the bank's 8 digits", "3.1, 9")
    has_branch = "prcptcd" in members or ("city_code" in members and "brabank_name" in members)
    if not has_branch and not load_banks().is_branch_free(bank_code, money_order):
        raise InvalidOrder(
            "prcptcd",
            "is missing, and this bank needs it for a corporate payment of this amount",
            "give prcptcd, or city_code and brabank_name",
            "3.1, 9",
        )
