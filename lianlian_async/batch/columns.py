"""The columns of a batch file: which names they may have, and which a file must have.

Every column must be understood. A column that were silently skipped could be the one that says who is paid.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from ..errors import ConfigError

__all__ = ["CHECKED_ONLY", "KNOWN", "REQUIRED", "known_in", "understand"]

KNOWN: Final = MappingProxyType(
    {
        # Ours: the caller's own name for the payment.
        "key": (),
        # The specification's (3.1), with the Chinese names it prints and those that templates use for them.
        "no_order": ("商户付款流水号", "商户订单号"),
        "dt_order": ("商户时间", "商户订单时间"),
        "money_order": ("付款金额", "付款金额(元)", "金额", "金额(元)"),
        "card_no": ("银行账号", "银行卡号", "收款账号", "收款人账号", "收款人银行账号"),
        "acct_name": ("收款人姓名", "收款人名称", "收款户名"),
        "bank_name": ("收款人银行名称", "收款银行名称"),
        "info_order": ("订单描述", "付款用途"),
        "flag_card": ("对公对私标志", "对公/对私标志", "对公对私标识", "对公对私"),
        "notify_url": ("服务器异步通知地址", "异步通知地址"),
        "memo": ("收款备注", "收款人备注"),
        "prcptcd": ("大额行号",),
        "bank_code": ("银行编码",),
        "city_code": ("开户行所在市编码",),
        "brabank_name": ("开户支行名称",),
        "platform": ("平台来源",),
        "risk_item": ("风险控制参数", "风控参数"),
        "oid_partner": ("商户编号", "商户号"),
        "api_version": ("版本号", "版本"),
        "sign_type": ("签名方式",),
    }
)
"""Each column's wire name, and the Chinese headers that mean it."""

REQUIRED: Final = ("money_order", "card_no", "acct_name")

CHECKED_ONLY: Final = ("oid_partner", "api_version", "sign_type")
"""Columns that set nothing: the client fills these in, so a file may only say the same."""

_SIGN = ("sign", "签名")
_OF_OUTCOMES = frozenset({"state", "step", "oid_paybill", "ret_code", "settle_date", "advice"})


def _plain(header: str) -> str:
    """`header` without letter case, width, blanks, line breaks, a template's star and its apostrophe."""
    return re.sub(r"[\s\u200b\ufeff]", "", unicodedata.normalize("NFKC", header)).casefold().strip("*").lstrip("'")


_BY_HEADER: Final = MappingProxyType(
    {_plain(header): name for name, others in KNOWN.items() for header in (name, *others)}
)


def known_in(cells: Sequence[object]) -> int:
    """How many of a line's cells are names of columns."""
    return sum(isinstance(cell, str) and _plain(cell) in _BY_HEADER for cell in cells)


def understand(cells: Sequence[object]) -> tuple[str | None, ...]:
    """The wire name of each column of a header line; None where there is no name. Raises ConfigError."""
    headers = ["" if cell is None else str(cell) for cell in cells]
    while headers and not _plain(headers[-1]):
        headers.pop()
    names = tuple(_BY_HEADER.get(_plain(header)) for header in headers)
    if not any(names):
        # What stands there instead may be a payee: it is not repeated.
        raise ConfigError(f"has no header line; let its first line name the columns, at least {', '.join(REQUIRED)}")
    strange = [place for place, header in enumerate(headers) if _plain(header) and names[place] is None]
    _require_all(names, strange)
    if strange:
        raise ConfigError(_about(strange, _plain(headers[strange[0]])))
    for place, name in enumerate(names):
        if name is not None and names.index(name) != place:
            raise ConfigError(
                f"names {name} twice, in columns {names.index(name) + 1} and {place + 1}; leave one of them out"
            )
    return names


def _require_all(names: Sequence[str | None], strange: Sequence[int]) -> None:
    missing = [f"{name} ({KNOWN[name][0]})" for name in REQUIRED if name not in names]
    if missing:
        unclear = f"; the name of column {_listed(strange)} was not understood" if strange else ""
        raise ConfigError(f"has no column {' and no column '.join(missing)}{unclear}; name it so in the first line")


def _about(strange: Sequence[int], plain: str) -> str:
    if plain in _SIGN:
        return "has a column sign: a signature belongs to one message and is made anew here; leave the column out"
    if plain in _OF_OUTCOMES:
        return f"has the column {plain} of an outcome file; give the file of payments itself"
    # Where the line break after the header is lost, the first payee stands in it: only places are told.
    return (
        f"has names of columns that are not known (column {_listed(strange)}); rename these or leave them out, "
        f"known are {', '.join(KNOWN)} and the specification's Chinese names"
    )


def _listed(places: Sequence[int]) -> str:
    """Counted from 1, the first ten, with a spreadsheet's letter: "5 (E), 6 (F)"."""
    return ", ".join(f"{place + 1} ({_letter(place)})" for place in places[:10])


def _letter(place: int) -> str:
    before, last = divmod(place, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)
