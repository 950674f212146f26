"""The fields of the specification: what each may hold, checked before anything is written or sent.

A check names positions, lengths and code points, never the value: orders hold card numbers and names,
and what is said about an order ends up in logs and terminals.

Lengths. The specification prints `String(n)` without saying n of what. The stricter reading that
is still usable is taken: n bytes of UTF-8, the charset that signatures prove. One field differs:
`memo`, String(24), would hold eight Chinese characters, while the vendor's own filter for it works by
the character; it is counted in characters as the vendor's Java counts them (UTF-16 units).
Where no length is printed, the specification's largest text, 255, is the bound.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from attrs import frozen

from lianlian_async.errors import InvalidOrder
from lianlian_async.protocol.notify_url import notify_url_fault

__all__ = [
    "FIELDS",
    "MONEY_MAX",
    "MONEY_MIN",
    "Fault",
    "Field",
    "check_field",
    "field_fault",
    "is_date",
    "is_date_time",
    "is_text",
    "looks_rounded",
    "mask_card",
    "mask_name",
    "parse_money",
    "safe_text",
    "wire_money",
]

Fault = tuple[str, str]
"""What is wrong with a value, and the way out."""

Check = Callable[[str], Fault | None]

# Characters that show nothing although Unicode does not file them under control or format.
_BLANK_LETTERS: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)


def _is_invisible(char: str) -> bool:
    """True for control, bidi, zero-width and separator characters, and for halves of a surrogate pair."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or char in _BLANK_LETTERS


def is_text(value: str) -> bool:
    """True unless `value` holds halves of surrogate pairs, in which Python carries bytes that are no text."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


# ---------------------------------------------------------------------- showing without telling


def mask_card(card_no: str) -> str:
    """`card_no` with its first six and last four characters; short or odd ones show nothing."""
    if len(card_no) < 14 or not re.fullmatch("[0-9-]+", card_no):
        return "*" * min(len(card_no), 32)
    return f"{card_no[:6]}{'*' * (len(card_no) - 10)}{card_no[-4:]}"


def mask_name(name: str) -> str:
    """The first character of `name` and a star for each further one, at most eight."""
    return safe_text(name[:1]) + "*" * min(len(name) - 1, 8)


def safe_text(text: str, limit: int = 200) -> str:
    """`text` for logs and terminals: what cannot be seen is escaped, what exceeds `limit` characters is cut."""
    shown = "".join(char if _shows(char) else char.encode("unicode_escape").decode() for char in text[:limit])
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 1] + "…"


def _shows(char: str) -> bool:
    return char.isprintable() and char not in _BLANK_LETTERS


# ---------------------------------------------------------------------- money

MONEY_MIN: Final = Decimal("0.01")
MONEY_MAX: Final = Decimal("99999999.99")

_MONEY = re.compile(r"(?P<whole>0|[1-9][0-9]{0,7})(?:\.(?P<cents>[0-9]{1,2}))?")
_MONEY_REMEDY = "give a Decimal or text from 0.01 to 99999999.99 with at most two decimals, such as Decimal('25.78')"


def parse_money(value: object, field: str = "money_order") -> Decimal:
    """The amount in yuan as a `Decimal` with exactly two places.

    Takes `Decimal` and text only. A float cannot hold cents, and a bare integer may be meant in fen.
    Raises `InvalidOrder` for anything else, zero, and more than two decimals (specification 3.1).
    """
    if isinstance(value, bool) or not isinstance(value, (str, Decimal)):
        raise InvalidOrder(field, f"is {_kind(value)}, not a decimal amount", _MONEY_REMEDY)
    match = _MONEY.fullmatch(str(value))
    if match is None:
        raise InvalidOrder(field, "is not a plain amount of 0.01 to 99999999.99 yuan", _MONEY_REMEDY)
    # Built from its digits: unlike quantize(), this does not depend on the caller's decimal context.
    amount = Decimal(f"{match['whole']}.{(match['cents'] or ''):0<2}")
    if amount < MONEY_MIN:
        raise InvalidOrder(field, "is zero", _MONEY_REMEDY)
    return amount


def wire_money(amount: Decimal) -> str:
    """`amount` as it travels, always with two places: "25.78" (specification 3.1)."""
    return str(parse_money(amount))


def _kind(value: object) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


# ---------------------------------------------------------------------- what a value may look like


def _general_fault(value: str) -> Fault | None:
    """What no field may hold, whatever its own rules."""
    if not value:
        return "is empty", "give a value"
    if value.lower() == "null":
        # Some of the vendor's own code signs this word as an empty value and some does not.
        return "is the word null, which has no agreed signature", "give the real value, or leave the field out"
    if value != value.strip():
        return "begins or ends with a blank", "remove the blank; it would be signed and sent"
    if value.isascii() and value.isprintable():
        return None
    for position, char in enumerate(value, start=1):
        if _is_invisible(char):
            return f"holds the invisible character U+{ord(char):04X} at position {position}", "remove it"
    if not unicodedata.is_normalized("NFC", value):
        return "is not in Unicode's normal form NFC", "convert it with unicodedata.normalize('NFC', ...)"
    return None


def _like(pattern: str, remedy: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: str) -> Fault | None:
        return None if compiled.fullmatch(value) else ("does not have the right form", f"give {remedy}")

    return check


def _bytes(value: str) -> int:
    return len(value.encode("utf-8"))


def _characters(value: str) -> int:
    return len(value.encode("utf-16-le")) // 2


def _text(limit: int, forbidden: str = "&=", unit: Callable[[str], int] = _bytes) -> Check:
    """Free text. The signed string is `k=v&k=v` with nothing escaped, so text must not hold what separates."""
    unit_name = "bytes of UTF-8" if unit is _bytes else "characters"

    def check(value: str) -> Fault | None:
        for char in forbidden:
            if char in value:
                return (
                    f"holds {char!r} at position {value.index(char) + 1}, which the signature cannot tell apart",
                    "write it another way, for example full-width",
                )
        if (length := unit(value)) > limit:
            return f"has {length} {unit_name}", f"shorten it to {limit}"
        return None

    return check


def _acct_name_fault(value: str) -> Fault | None:
    """The payee's name: the bank compares it character by character, so a look-alike blank fails the payment."""
    for position, char in enumerate(value, start=1):
        if char != " " and char.isspace():
            return f"holds the unusual blank U+{ord(char):04X} at position {position}", "use an ordinary space, or none"
    # Company names do hold '&'. Without '=' it cannot begin another member of the signed string.
    return _text(255, forbidden="=")(value)


_RISK_BYTES_MAX = 2048  # no document prints a bound; the largest published member list stays far below


def _risk_item_fault(value: str) -> Fault | None:
    """`risk_item` is JSON text inside a string (api_version 1.1)."""
    if fault := _text(_RISK_BYTES_MAX)(value):
        return fault
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        content = None
    return None if isinstance(content, dict) else ("is not a JSON object", 'give text such as {"goods_name":"..."}')


_AS_TEXT = "format the column as text and enter the number again from its source"
_CARD_NO = re.compile("[0-9][0-9-]{3,30}[0-9]")


def _card_no_fault(value: str) -> Fault | None:
    """What both kinds of account share; `flag_card` decides the rest, together with the order."""
    if re.fullmatch(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+", value):
        return "is in scientific notation: a spreadsheet has thrown its last digits away", _AS_TEXT
    if re.fullmatch(r"[0-9]+\.[0-9]*", value):
        return "has a decimal point: a spreadsheet or program took it for a quantity", _AS_TEXT
    if not _CARD_NO.fullmatch(value):
        return "is not an account number", "give 5 to 32 digits, without blanks (a corporate account may hold '-')"
    return None


def looks_rounded(card_no: str) -> bool:
    """True when a spreadsheet may have rounded `card_no`: it keeps 15 digits and fills the rest with zeros.

    A hint for readers of files, not a verdict: one genuine 16-digit number in ten ends in a zero.
    """
    return len(card_no) > 15 and card_no.isdecimal() and not card_no[15:].strip("0")


_PARTS: Final = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))


def is_date_time(text: str) -> bool:
    """True when `text` is a real moment written YYYYMMDDHH24MISS."""
    return bool(re.fullmatch("[0-9]{14}", text)) and _exists(text)


def is_date(text: str) -> bool:
    """True when `text` is a real day written YYYYMMDD."""
    return bool(re.fullmatch("[0-9]{8}", text)) and _exists(text)


def _exists(digits: str) -> bool:
    year, month, day, hour, minute, second = (int(digits[at:to] or "0") for at, to in _PARTS)
    try:
        datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return True


def _date_time_fault(value: str) -> Fault | None:
    return None if is_date_time(value) else ("is not a real moment", "give YYYYMMDDHH24MISS, 14 digits, +08:00")


def _money_fault(value: str) -> Fault | None:
    try:
        amount = parse_money(value)
    except InvalidOrder as fault:
        return fault.problem, fault.remedy
    return None if value == str(amount) else ("is not written with two decimals", f"write {amount}")


# ---------------------------------------------------------------------- the table


@frozen
class Field:
    """One request field: the wire's name, the type as the specification prints it, and its check."""

    name: str
    printed_type: str
    check: Check


_TABLE: Final = (
    Field("oid_partner", "String(18)", _like("[0-9]{1,18}", "the merchant number, at most 18 digits")),
    Field("platform", "String(32)", _text(32)),
    Field("api_version", "String(3)", _like(r"1\.[01]", "1.0, or 1.1 with risk_item")),
    Field("sign_type", "String", _like("RSA", "RSA")),
    Field("no_order", "String(32)", _like("[A-Za-z0-9_-]{1,32}", "1 to 32 of A-Z a-z 0-9 - _")),
    Field("dt_order", "String(14)", _date_time_fault),
    Field("money_order", "Number(10,2)", _money_fault),
    Field("card_no", "String(32)", _card_no_fault),
    Field("acct_name", "String", _acct_name_fault),
    Field("bank_name", "String", _text(255)),
    Field("info_order", "String(255)", _text(255)),
    Field("flag_card", "String(1)", _like("[01]", "0 for a personal or 1 for a corporate account")),
    Field("notify_url", "String(64)", notify_url_fault),
    Field("memo", "String(24)", _text(24, unit=_characters)),
    Field("prcptcd", "String(12)", _like("[0-9]{12}", "the bank's 12-digit settlement number")),
    Field("bank_code", "String", _like("[0-9]{8}", "the 8 digits of the bank list")),
    Field("city_code", "String", _like("[0-9]{6}", "the 6 digits of the city, such as 330100")),
    Field("brabank_name", "String", _text(255)),
    Field("risk_item", "String", _risk_item_fault),
    Field("confirm_code", "String(6)", _like("[0-9A-Za-z]{1,6}", "the code that came with 4002, 4003 or 4004")),
    Field("oid_paybill", "String(18)", _like("[0-9A-Za-z]{1,18}", "LianLian's number of the payment")),
)

FIELDS: Final[Mapping[str, Field]] = MappingProxyType({row.name: row for row in _TABLE})
"""Every request field, in the specification's order."""


def field_fault(name: str, value: object) -> Fault | None:
    """What is wrong with `value` as the field `name`, or None."""
    if not isinstance(value, str):
        return f"is {_kind(value)}, not text", "give a str"
    return _general_fault(value) or FIELDS[name].check(value)


def check_field(name: str, value: object, section: str = "3.1") -> None:
    """Raise `InvalidOrder` when `value` may not travel as the field `name`."""
    if fault := field_fault(name, value):
        raise InvalidOrder(name, *fault, section)
