"""The gateway's checks of a request's members (specification 3.1 to 3.3), in its own words.

Each function returns the name of the first member that is not right, or None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

__all__ = ["amount_of", "branch_missing", "is_number", "wrong_in_confirm", "wrong_in_pay", "wrong_in_query"]

Content = Mapping[str, str | None]

_NUMBER = re.compile(r"[!-~]{1,32}")
_MONEY = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")
_CARD = re.compile(r"[0-9A-Za-z-]{1,32}")
_TIME = re.compile(r"[0-9]{14}")
_BILL = re.compile(r"[0-9]{1,18}")
_NOTE_FROM = Decimal("50000")

# Specification 9, the corporate list: the first ten at any amount, the others up to five million.
_ANY_AMOUNT = frozenset(
    ("01040000", "01030000", "01020000", "01050000", "03080000",
     "03030000", "03100000", "03090000", "01000000", "03070000")
)  # fmt: skip
_UP_TO_FIVE_MILLION = frozenset(
    ("03020000", "03040000", "03050000", "03060000",
     "03010000", "04791920", "04256020", "05083000",
     "04031000", "04012900", "04233310", "04083320",
     "64135810", "04375850", "64895910", "03160000")
)  # fmt: skip
_FIVE_MILLION = Decimal("5000000")


def amount_of(content: Content) -> Decimal:
    """The amount in CNY; call it only for checked content."""
    return Decimal(content.get("money_order") or "0").quantize(Decimal("0.01"))


def wrong_in_pay(content: Content, *, notify_url_max: int) -> str | None:
    """The first member of a pay request that breaks section 3.1."""
    for name, right in (
        ("api_version", (content.get("api_version") or "") in ("1.0", "1.1")),
        ("no_order", _whole(_NUMBER, content.get("no_order"))),
        ("dt_order", _is_time(content.get("dt_order") or "")),
        ("money_order", _is_money(content.get("money_order") or "")),
        ("card_no", _whole(_CARD, content.get("card_no"))),
        ("acct_name", bool((content.get("acct_name") or "").strip())),
        ("flag_card", content.get("flag_card") in ("0", "1")),
        ("notify_url", _is_address(content.get("notify_url") or "", notify_url_max)),
        ("platform", len(content.get("platform") or "") <= 32),
        ("info_order", len(content.get("info_order") or "") <= 255),
        ("memo", len(content.get("memo") or "") <= 24),
        ("prcptcd", not content.get("prcptcd") or _whole(re.compile("[0-9]{1,12}"), content.get("prcptcd"))),
    ):
        if not right:
            return name
    return _wrong_together(content)


def _wrong_together(content: Content) -> str | None:
    if amount_of(content) >= _NOTE_FROM:
        for name in ("info_order", "memo"):
            if not content.get(name):
                return name
    if content["flag_card"] == "1" and not content.get("bank_code"):
        return "bank_code"
    return None


def is_number(no_order: str | None) -> bool:
    """True for what can be a merchant's number: 1 to 32 printable ASCII characters."""
    return _whole(_NUMBER, no_order)


def branch_missing(content: Content) -> bool:
    """True when a corporate payment says too little to find the branch (answered with 4015)."""
    if content["flag_card"] != "1" or content.get("prcptcd"):
        return False
    if content.get("city_code") and content.get("brabank_name"):
        return False
    bank = content.get("bank_code")
    return not (bank in _ANY_AMOUNT or (bank in _UP_TO_FIVE_MILLION and amount_of(content) <= _FIVE_MILLION))


def wrong_in_confirm(content: Content, *, notify_url_max: int) -> str | None:
    """The first member of a confirm request that breaks section 3.2."""
    for name, right in (
        ("api_version", (content.get("api_version") or "") in ("1.0", "1.1")),
        ("no_order", _whole(_NUMBER, content.get("no_order"))),
        ("confirm_code", bool(content.get("confirm_code"))),
        ("notify_url", _is_address(content.get("notify_url") or "", notify_url_max)),
    ):
        if not right:
            return name
    return None


def wrong_in_query(content: Content) -> str | None:
    """The first member of a query that breaks section 3.3; one of number and bill is enough."""
    no_order, oid_paybill = content.get("no_order"), content.get("oid_paybill")
    if (no_order or not oid_paybill) and not _whole(_NUMBER, no_order):
        return "no_order"
    if oid_paybill and not _whole(_BILL, oid_paybill):
        return "oid_paybill"
    return None


def _whole(pattern: re.Pattern[str], text: str | None) -> bool:
    return pattern.fullmatch(text or "") is not None


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007 - only its shape is asked for
    except ValueError:
        return False
    return True


def _is_money(text: str) -> bool:
    return _MONEY.fullmatch(text) is not None and Decimal(text) > 0


def _is_address(text: str, longest: int) -> bool:
    if not 0 < len(text) <= longest:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
