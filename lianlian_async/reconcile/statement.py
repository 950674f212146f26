"""What a statement says, as values: its name, its rows and the places in it (specification 6).

LianLian lists by *settle date* what it paid and what came back. The payout statement (FKMX, a day or a month) has 17
columns and one row a movement; its summary (FKMXSUM) has seven figures. Both are files of the merchant's own account
at LianLian, fetched by the merchant; neither is signed.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from attrs import field, frozen

from ..clock import SHANGHAI
from ..errors import LianLianError
from ..protocol.fields import mask_name, safe_text

__all__ = [
    "COLUMNS",
    "PAID",
    "READY_AT",
    "REFUNDED",
    "FileKind",
    "Place",
    "StatementError",
    "StatementName",
    "StatementRow",
    "StatementSummary",
    "days_of",
    "settle_day",
    "yuan",
]

# The header row of FKMX, in the vendor's words.
COLUMNS: Final = (
    "商户订单号", "商户号", "商户订单时间", "商户业务编号", "银通订单号", "银通账务日期", "订单金额",
    "商户收付款标志(0收款 1付款)", "交易状态(0-成功 5-退款)", "更新时间", "手续费", "支付产品", "支付方式", "订单信息",
    "收款方银行", "收款方账号", "收款方名称",
)  # fmt: skip
PAID: Final = "0"
REFUNDED: Final = "5"
# A day's statement is ready at this hour of the next, a month's after its last day.
READY_AT: Final = time(9, 0, tzinfo=SHANGHAI)


class FileKind(StrEnum):
    """The files of an account at LianLian, by the beginning of their names."""

    FKMX = "FKMX"  # payouts, one row each
    FKMXSUM = "FKMXSUM"  # payouts, summed
    JYMX = "JYMX"  # collections
    JYMXSUM = "JYMXSUM"
    RHZZW = "RHZZW"  # account totals of a day
    YHZZW = "YHZZW"  # account totals of a month


@frozen
class Place:
    """Where something stands: a file's name, the line (from 1) and, if it is known, the column's name."""

    file: str
    line: int = 0
    column: str = ""

    def __str__(self) -> str:
        parts = [self.file, f"line {self.line}" if self.line else "", self.column]
        return ", ".join(part for part in parts if part)


class StatementError(LianLianError):
    """A statement that cannot be read, whole; `place` says where and `reason` why. Nothing of it was taken in."""

    def __init__(self, place: Place, reason: str) -> None:
        self.place = place
        self.reason = reason
        super().__init__(f"{place}: {reason}")


@frozen
class StatementName:
    """A file's name, read: `FKMX_<oid_partner>_<YYYYMMDD or YYYYMM>.txt`. `days` are what it covers."""

    kind: FileKind
    oid_partner: str
    period: str

    @property
    def days(self) -> tuple[str, ...]:
        """Every settle date it covers, as YYYYMMDD."""
        return days_of(self.period)

    @classmethod
    def of(cls, path: PurePath | str) -> StatementName | None:
        """The name, or None for a file that is named otherwise (what the portal hands out may be).

        Raises StatementError for a name of this form that cannot be meant, such as a 31st of February.
        """
        name = PurePath(path).name
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        kind, oid_partner, period = match.groups()
        if not days_of(period):
            raise StatementError(Place(safe_text(name)), f"there is no day or month {period}")
        return cls(FileKind(kind.upper()), oid_partner, period)


# A browser that fetched a file twice writes " (1)" behind its name.
_NAME: Final = re.compile(
    r"(FKMXSUM|FKMX|JYMXSUM|JYMX|RHZZW|YHZZW)_([0-9]{18})_([0-9]{8}|[0-9]{6})(?: ?\([0-9]{1,3}\))?\.(?:txt|csv)",
    re.IGNORECASE,
)


def days_of(period: str) -> tuple[str, ...]:
    """The days of YYYYMMDD or YYYYMM; none when there is no such period."""
    if not period.isascii() or not period.isdecimal():
        return ()
    if len(period) == 8:
        return (period,) if settle_day(period) else ()
    if len(period) != 6 or not settle_day(f"{period}01"):
        return ()
    _, last = monthrange(int(period[:4]), int(period[4:]))
    return tuple(f"{period}{day:02d}" for day in range(1, last + 1))


@lru_cache(maxsize=4096)
def settle_day(text: str) -> date | None:
    """The day of YYYYMMDD, or None when there is none such."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if len(text) == 8 and text.isascii() else None
    except ValueError:
        return None


def yuan(fen: int) -> Decimal:
    """Fen as yuan with two places, exact whatever the caller's decimal context is; also below zero."""
    whole, cents = divmod(abs(fen), 100)
    return Decimal(f"{'-' if fen < 0 else ''}{whole}.{cents:02d}")


@frozen(kw_only=True)
class StatementRow:
    """One row of FKMX, every column of it. Money in yuan with two places, times on LianLian's wall clock (+08:00).

    On a refund row (`status` "5") `no_order` is the refund's own number, `oid_paybill` holds the number of the *payout*
    that came back, and both `money_order` and `fee` are negative (or zero).
    """

    no_order: str
    oid_partner: str
    ordered_at: datetime
    business: str
    oid_paybill: str
    settle_date: str
    money_order: Decimal
    direction: str
    status: str
    updated_at: datetime
    fee: Decimal
    product: str = ""
    method: str = ""
    info_order: str = field(default="", repr=False)
    bank: str = ""
    account: str = field(default="", repr=False)
    name: str = field(default="", repr=mask_name)

    @property
    def is_refund(self) -> bool:
        """True when this row takes money back that was paid out before."""
        return self.status == REFUNDED

    @property
    def payout(self) -> str:
        """The number of the payout that this row is about."""
        return self.oid_paybill if self.is_refund else self.no_order


@frozen
class StatementSummary:
    """The seven figures of FKMXSUM, as they stand there. Which is what is not published; in the vendor's sample the
    second is how many payments there are and the third what they come to, and only these two are compared."""

    figures: tuple[Decimal, ...]

    @property
    def count(self) -> int:
        """How many payments the file with the rows must list."""
        return int(self.figures[1])

    @property
    def amount(self) -> Decimal:
        """What they come to, in yuan."""
        return self.figures[2]
