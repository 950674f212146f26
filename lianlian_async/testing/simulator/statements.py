"""The gateway's statements, from its own ledger: what the merchant may fetch at nine on the next day (specification 6).

As the vendor's samples are: UTF-8 without a mark, LF, 17 columns, one row a movement by settle date, a refund with a
negative amount and the payout's number in the fifth column; no row for a failure. Written by code of its own, so that a
mistake of the reader cannot hide here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from lianlian_async.clock import SHANGHAI, Clock

from .ledger import Entry, Ledger

__all__ = ["hand_out_statements", "next_ready", "ready_days", "statement_text", "summary_text", "write_statements"]

_HEADER: Final = (
    "商户订单号,商户号,商户订单时间,商户业务编号,银通订单号,银通账务日期,订单金额,"
    "商户收付款标志(0收款 1付款),交易状态(0-成功 5-退款),"
    "更新时间,手续费,支付产品,支付方式,订单信息,收款方银行,收款方账号,收款方名称"
)
_READY_AT: Final = time(9, 0)
_FEE, _LARGE_FEE, _LARGE = Decimal("0.60"), Decimal("2.00"), Decimal("50000")


def ready_days(ledger: Ledger, now: datetime) -> list[str]:
    """The settle dates whose statements are ready at `now`, from the ledger's first day on, as YYYYMMDD."""
    if not ledger.entries:
        return []
    local = now.astimezone(SHANGHAI)
    last = local.date() - timedelta(days=1 if local.time() >= _READY_AT else 2)
    day, days = ledger.entries[0].time.astimezone(SHANGHAI).date(), []
    while day <= last:
        days.append(_day(day))
        day += timedelta(days=1)
    return days


def next_ready(now: datetime) -> datetime:
    """When the next statements are ready, after `now`."""
    ready = datetime.combine(now.astimezone(SHANGHAI).date(), _READY_AT, tzinfo=SHANGHAI)
    return ready + timedelta(days=1 if now >= ready else 0)


def statement_text(ledger: Ledger, oid_partner: str, period: str) -> str:
    """FKMX of a day (YYYYMMDD) or a month (YYYYMM)."""
    ordered = _ordered_at(ledger.entries)
    rows = [_row(entry, oid_partner, ordered[entry.no_order]) for entry in _moved(ledger, period)]
    return "".join(f"{line}\n" for line in (_HEADER, *rows))


def summary_text(ledger: Ledger, period: str) -> str:
    """FKMXSUM: how many, how many were paid and how much, and the same of refunds."""
    moved = _moved(ledger, period)
    paid = [entry.money_order for entry in moved if entry.event == "paid"]
    back = [entry.money_order for entry in moved if entry.event == "refunded"]
    sums = (_amount(sum(amounts, Decimal(0))) for amounts in (paid, back))
    return f"{len(moved)}|{len(paid)}|{next(sums)}|{len(back)}|{next(sums)}|0|0\n"


def write_statements(ledger: Ledger, oid_partner: str, folder: Path, days: Iterable[str]) -> list[Path]:
    """Write FKMX and FKMXSUM of these days into `folder`, and return the paths of all; raises OSError."""
    paths = []
    for day in days:
        texts = {"FKMX": statement_text(ledger, oid_partner, day), "FKMXSUM": summary_text(ledger, day)}
        for kind, text in texts.items():
            path = folder / f"{kind}_{oid_partner}_{day}.txt"
            path.write_text(text, "utf-8", newline="\n")
            paths.append(path)
    return paths


async def hand_out_statements(ledger: Ledger, oid_partner: str, folder: Path, clock: Clock) -> None:
    """Put each day's files into `folder`, which is there, at nine on the next, until cancelled; raises OSError."""
    handed: set[str] = set()
    while True:
        days = [day for day in ready_days(ledger, clock.now()) if day not in handed]
        write_statements(ledger, oid_partner, folder, days)
        handed.update(days)
        now = clock.now()
        await clock.sleep((next_ready(now) - now).total_seconds())


def _moved(ledger: Ledger, period: str) -> Sequence[Entry]:
    moves = (entry for entry in ledger.entries if entry.event in ("paid", "refunded"))
    return [entry for entry in moves if _day(entry.time.astimezone(SHANGHAI)).startswith(period)]


def _ordered_at(entries: Iterable[Entry]) -> dict[str, datetime]:
    """When each number was first heard of, which is as good as its dt_order here."""
    ordered: dict[str, datetime] = {}
    for entry in entries:
        ordered.setdefault(entry.no_order, entry.time)
    return ordered


def _row(entry: Entry, oid_partner: str, ordered_at: datetime) -> str:
    refund = entry.event == "refunded"
    sign = -1 if refund else 1
    fee = _LARGE_FEE if entry.money_order >= _LARGE else _FEE
    cells = (
        f"R{entry.oid_paybill}" if refund else entry.no_order, oid_partner, _time(ordered_at), "202000",
        entry.no_order if refund else entry.oid_paybill, _day(entry.time.astimezone(SHANGHAI)),
        _amount(sign * entry.money_order), "1", "5" if refund else "0", _time(entry.time), _amount(sign * fee),
        "实时付款渠道", "余额支付", "付款", "中国农业银行", entry.card_no[-4:], "",
    )  # fmt: skip
    return ",".join(cells)


def _day(moment: date) -> str:
    return f"{moment:%Y%m%d}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%Y%m%d %H:%M:%S}"


def _amount(amount: Decimal) -> str:
    """`9087.6`, `5000`, `.6`, `-.6`: the vendor writes no zero that says nothing."""
    text = format(amount, ".2f").rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
