"""One cell of a batch file: from what a person or a spreadsheet wrote to the text that would travel.

Little is forgiven here: what surrounds a value (blanks, Excel's apostrophe) goes, and an amount may be written
the way an accountant writes it, as long as it can mean one thing only. Everything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NoReturn

from ..errors import InvalidOrder
from ..protocol.fields import looks_rounded, parse_money

__all__ = ["read_cell"]

AS_TEXT: Final = "format the column as text and paste the values again from their source"
AS_VALUES: Final = "copy the column and paste it over itself as values"

_DIGITS_KEPT: Final = 15
"""A spreadsheet stores numbers with this many digits; the rest becomes zeros."""


def read_cell(name: str, raw: object) -> str:
    """The text of a cell in column `name`, "" when it is empty. Raises InvalidOrder, which never quotes it."""
    if not isinstance(raw, str):
        return "" if raw is None else _from_value(name, raw)
    text = raw.strip(" \t")
    vouched = False
    if text[:1] in ("'", "="):
        text, vouched = _unwrapped(text)
    if not text:
        return ""
    _refuse_debris(name, text)
    special = _SPECIAL.get(name)
    return text if special is None else special(text, vouched)


def _unwrapped(text: str) -> tuple[str, bool]:
    """`text` without what makes a spreadsheet take it for text, and whether that was there."""
    if text[0] == "'":
        return text[1:].strip(" \t"), True
    wrapped = re.fullmatch('="([^"]*)"', text)
    return (wrapped[1].strip(" \t"), True) if wrapped else (text, False)


_DEBRIS = re.compile(
    r"#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NULL!|NUM!|SPILL!|CALC!|FIELD!|GETTING_DATA|#+)|#|nan|none|nat|<na>",
    re.IGNORECASE,
)
# Private characters mean what two programs agreed on, and LianLian agreed on none: most are bytes that were once read
# in the wrong encoding and saved again in the right one.
_LOST = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]|_x[0-9A-Fa-f]{4}_")


def _refuse_debris(name: str, text: str) -> None:
    """What programs leave in a cell that holds nothing: paid out, '#N/A' would be the payee's name."""
    if text[0] == "=":
        raise InvalidOrder(name, "is a formula, whose result may be out of date", AS_VALUES)
    if text[0] in "#nN<" and _DEBRIS.fullmatch(text):
        raise InvalidOrder(name, "is what a program writes into a cell without a value", "give the value, or nothing")
    if lost := _LOST.search(text):
        raise InvalidOrder(
            name,
            f"holds what an earlier conversion left in place of a character, at position {lost.start() + 1}",
            "write the cell again; if there are many, export the file again as CSV UTF-8",
        )


# ---------------------------------------------------------------------- amounts

_GROUPED = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+\.[0-9]{2}")
_PLAIN = "write it like 1234.50"

# What an amount that cannot be read is, most telling first.
_NOT_AMOUNTS: Final = tuple(
    (re.compile(pattern, re.DOTALL), problem, remedy)
    for pattern, problem, remedy in (
        (r"[-−－(（].*|.*[-−－]", "is negative", "take the row out; money cannot be fetched back this way"),
        (r"0+([.,]0*)?", "is zero", "take the row out, or give at least 0.01"),
        (r".*[\uff10-\uff19\uff0c\uff0e].*", "holds full-width characters", f"{_PLAIN}, half-width"),
        (r"[0-9.,]+[eE][+-]?[0-9]+", "is in scientific notation", f"{_PLAIN}; {AS_TEXT}"),
        (
            r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]?)?",
            "has a comma that may separate thousands or decimals",
            "leave the comma out, or write both: 1,234.50",
        ),
        (r"[0-9]+[.]?[0-9]*[,，][0-9]*", "has a comma where the decimal point belongs", _PLAIN),
        (r"[0-9,]*\.[0-9]{3,}", "has more than two decimals", "round it to 0.01"),
        (r".*(元|圆|万|RMB|CNY|yuan).*", "has a unit", "write the number of yuan alone, like 1234.50"),
    )
)


def _money(text: str, _vouched: bool) -> str:
    number = text[1:].lstrip(" ") if text[0] in "¥￥" else text
    if _GROUPED.fullmatch(number):
        number = number.replace(",", "")
    try:
        parse_money(number)
    except InvalidOrder as fault:
        for pattern, problem, remedy in _NOT_AMOUNTS:
            if pattern.fullmatch(number):
                raise InvalidOrder("money_order", problem, remedy) from None
        # The field's own remedy is meant for programmers.
        raise InvalidOrder("money_order", fault.problem, "write it like 25.78") from None
    return number


# ---------------------------------------------------------------------- accounts and names


def _card_no(text: str, vouched: bool) -> str:
    if text.isascii() and text.isdecimal():
        pass
    elif gap := re.search(r"(?<=[0-9])[\s\u200b]+(?=[0-9])", text):
        raise InvalidOrder(
            "card_no",
            f"holds a blank at position {gap.start() + 1}",
            "replace blanks with nothing in the whole column",
        )
    elif re.search("[\uff10-\uff19]", text):
        raise InvalidOrder("card_no", "holds full-width digits", "write it with half-width digits")
    if not vouched and _is_rounded(text):
        raise InvalidOrder(
            "card_no",
            "ends in zeros from its 16th digit on: a spreadsheet seems to have rounded it",
            "enter it again from its source; if it truly ends so, put an apostrophe before it (in a sheet two)",
        )
    return text


def _is_rounded(card_no: str) -> bool:
    """Whether to refuse a number that ends in zeros after the digits a spreadsheet keeps.

    One genuine 16-digit card in ten ends in a zero. Its check digit tells most of them from rounded ones:
    of those, one in ten is right by chance. From 17 digits on genuine ones are too rare to be believed.
    """
    return looks_rounded(card_no) and not (len(card_no) == _DIGITS_KEPT + 1 and _has_check_digit(card_no))


def _has_check_digit(card_no: str) -> bool:
    """True when the last digit is the one of ISO/IEC 7812 (Luhn), as on bank cards."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in card_no[-2::-2])
    return (sum(doubled) + sum(map(int, card_no[::-2]))) % 10 == 0


def _acct_name(text: str, _vouched: bool) -> str:
    if "?" in text:
        raise InvalidOrder(
            "acct_name",
            f"holds a question mark at position {text.index('?') + 1}: a spreadsheet could not save what stood there",
            "export the file again as CSV UTF-8",
        )
    return text


_KINDS: Final = MappingProxyType({"对私": "0", "0-对私": "0", "对公": "1", "1-对公": "1"})


def _flag_card(text: str, _vouched: bool) -> str:
    flag = _KINDS.get(text, text)
    if flag not in ("0", "1"):
        raise InvalidOrder("flag_card", "is neither a personal nor a corporate account", "give 0 or 对私, 1 or 对公")
    return flag


_SPECIAL: Final[Mapping[str, Callable[[str, bool], str]]] = MappingProxyType(
    {"money_order": _money, "card_no": _card_no, "acct_name": _acct_name, "flag_card": _flag_card}
)


# ---------------------------------------------------------------------- cells that are not text

_MAY_BE_NUMBERS: Final = frozenset({"money_order", "flag_card", "city_code"})


def _from_value(name: str, value: object) -> str:
    """The text of a spreadsheet's cell that holds something else than text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidOrder(name, f"is a {_kind(value)} to the spreadsheet, not text", AS_TEXT)
    # repr() gives the shortest decimal that stands for the number, which is what the sheet's author typed.
    written = repr(value).removesuffix(".0")
    if name not in _MAY_BE_NUMBERS:
        _refuse_number(name, written)
    if name != "money_order":
        return read_cell(name, written)
    if re.fullmatch(r"-?[0-9]+(\.[0-9]{3,}|(\.[0-9]+)?e-?[0-9]+)", written) and abs(Decimal(written)) < 10**8:
        raise InvalidOrder(name, "has more than two decimals", "round it in the sheet with ROUND(…,2); " + AS_VALUES)
    return read_cell(name, written)


def _kind(value: object) -> str:
    if "Formula" in type(value).__name__:
        return "formula"
    return {"bool": "truth value", "datetime": "date", "time": "time"}.get(type(value).__name__, "special value")


def _refuse_number(name: str, written: str) -> NoReturn:
    digits = len(written.split("e")[0].replace(".", ""))
    if name == "card_no" and ("e" in written or digits > _DIGITS_KEPT):
        raise InvalidOrder(
            name, f"is a number to the spreadsheet, which keeps {_DIGITS_KEPT} digits: the others are lost", AS_TEXT
        )
    raise InvalidOrder(name, "is a number to the spreadsheet, which drops leading zeros", AS_TEXT)
