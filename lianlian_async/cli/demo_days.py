"""`demo --days`: the batch over several days, and the gateway's statements against the journal in the end.

Gateway and library share one process and one clock here, so that nights take no time: the clock is put forward to the
next morning on both sides at once. Within a day it runs as fast as ever, and faults are injected as ever.
"""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from ..batch import Batch, read_batch
from ..client import LianLianClient
from ..clock import SHANGHAI
from ..config import Merchant
from ..reconcile import Kind, Reconciliation, reconcile
from ..reconcile.page import html_report
from ..reconcile.tables import write_text
from ..resolver import State
from ..testing.clocks import ScaledClock
from ..testing.simulator import Simulator
from ..testing.simulator.statements import ready_days
from .common import complain, console, say_path, stop_event
from .demo import LIMITS, TIMEOUTS, Stage, ask_until_heard, operate
from .demo_fetch import delivered
from .pay import fast_transports
from .reconcile import show_reconciliation
from .simulate import DEMO_PARTNER

__all__ = ["play_days"]

_MORNING: Final = time(10, 0, tzinfo=SHANGHAI)
_JOURNAL, _COPY = "journal.db", "journal-of-the-planted.db"


async def play_days(stage: Stage, days: int) -> int:
    """Pay over `days` days, reconcile, plant differences and find them; the exit status."""
    batch = read_batch(stage.file("payouts.csv"))
    say_path(f"{batch.count} payouts over {days} days, profile {stage.faults}, seed {stage.seed}; in {stage.folder}")
    clock, stop = ScaledClock(stage.scale), stop_event()
    simulator = Simulator(
        oid_partner=DEMO_PARTNER, merchant_public_key=stage.file("merchant-public.pem").read_bytes(),
        gateway_private_key=stage.file("gateway-private.pem").read_bytes(), clock=clock, faults=stage.faults,
        seed=stage.seed, ledger_path=stage.file("ledger.jsonl"),
    )  # fmt: skip
    async with simulator.serve() as server:
        merchant = stage.merchant(server.base_url)
        async with _client(stage, merchant, clock, _JOURNAL) as client:
            for day in range(days):
                await _to_the_morning(clock, simulator, after=day > 0)
                if day:
                    await _look_again(client)
                await _pay_a_day(client, _part(batch, day, days), day, stop)
                if stop.is_set():
                    complain("stopped: the demo has no verdict")
                    return 1
            # Two mornings on: the last day's statement is ready, and whatever it misses is late.
            for _ in range(2):
                await _to_the_morning(clock, simulator, after=True)
                await _look_again(client)
            days_ready = ready_days(simulator.ledger, clock.now())
            async with delivered(simulator.ledger, DEMO_PARTNER, stage.folder, days_ready, clock) as paths:
                even = await reconcile(client, paths)
                _tell(stage, client, even, "reconciliation.html")
        shutil.copy(stage.file(_JOURNAL), stage.file(_COPY))
        async with _client(stage, merchant, clock, _COPY) as client:
            found_all = await _plant_and_find(stage, client, paths)
    return 0 if even.even and found_all else 1


def _client(stage: Stage, merchant: Merchant, clock: ScaledClock, journal: str) -> LianLianClient:
    return LianLianClient(
        merchant, f"sqlite:///{stage.file(journal)}", transport=fast_transports(LIMITS, merchant), limits=LIMITS,
        timeouts=TIMEOUTS, clock=clock,
    )  # fmt: skip


def _folder(stage: Stage, name: str) -> Path:
    folder = stage.file(name)
    folder.mkdir()
    return folder


def _part(batch: Batch, day: int, days: int) -> Batch:
    return evolve(batch, rows=batch.rows[day::days])


async def _to_the_morning(clock: ScaledClock, simulator: Simulator, *, after: bool) -> None:
    """Put the clock forward to ten o'clock: of the next day, or of this one if it is not yet so late."""
    now = clock.now().astimezone(SHANGHAI)
    morning = datetime.combine(now.date(), _MORNING)
    clock.catch_up(morning + timedelta(days=1 if after or now >= morning else 0))
    simulator.catch_up()


async def _pay_a_day(client: LianLianClient, batch: Batch, day: int, stop: asyncio.Event) -> None:
    await operate(client, batch, stop)
    counts = ", ".join(f"{tally.count} {state}" for state, tally in sorted((await client.tally()).items()))
    console.print(f"day {day + 1}: {batch.count} more payouts; the journal holds {counts}")


async def _look_again(client: LianLianClient) -> None:
    """As the watch for refunds does by itself on the next day: whatever may have moved is asked about."""
    for state in (State.PAID, State.IN_PROGRESS, State.REVIEW, State.UNKNOWN, State.REFUNDED):
        after = None
        while page := await client.payouts((state,), after, 500):
            after = page[-1].no_order
            await asyncio.gather(*(ask_until_heard(client, payout) for payout in page))


def _tell(stage: Stage, client: LianLianClient, result: Reconciliation, name: str) -> None:
    write_text(stage.file(name), html_report(result, client.clock.now()))
    show_reconciliation(result)
    say_path(f"report: {stage.file(name)}")


# ---------------------------------------------------------------------- planted differences

Row = list[str]
_NUMBER, _BILL, _DAY, _MONEY, _STATUS = 0, 4, 5, 6, 8


@frozen
class _Sheets:
    """The statements' rows by day; the first of each is the header."""

    days: dict[str, list[Row]]

    def paid(self, no_order: str) -> Row:
        """The row of a payment."""
        return next(
            row for rows in self.days.values() for row in rows[1:] if row[_NUMBER] == no_order and row[_STATUS] == "0"
        )

    def take_out(self, row: Row) -> None:
        self.days[row[_DAY]].remove(row)

    def put(self, row: Row, **changes: str) -> None:
        places = {"number": _NUMBER, "bill": _BILL, "day": _DAY, "money": _MONEY, "status": _STATUS}
        new = list(row)
        for name, value in changes.items():
            new[places[name]] = value
        self.days[new[_DAY]].append(new)


def _refund(sheets: _Sheets, row: Row) -> None:
    sheets.put(row, number=f"R{row[_BILL]}", bill=row[_NUMBER], money=f"-{row[_MONEY]}", status="5")


def _another(sheets: _Sheets, row: Row, **changes: str) -> None:
    sheets.take_out(row)
    sheets.put(row, **changes)


def _other_day(sheets: _Sheets, row: Row) -> None:
    _another(sheets, row, day=next(day for day in sheets.days if day != row[_DAY]))


# What is done to the row of a payout that is paid, by the kind that must be found.
_PLANTS: Final[dict[Kind, Callable[[_Sheets, Row], None]]] = {
    Kind.MISSING: _Sheets.take_out,
    Kind.TWICE: _Sheets.put,
    Kind.REFUND: _refund,
    Kind.AMOUNT: lambda sheets, row: _another(sheets, row, money=str(Decimal(row[_MONEY]) + 1)),
    Kind.BILL: lambda sheets, row: _another(sheets, row, bill=f"{row[_BILL]}9"),
    Kind.FOREIGN: lambda sheets, row: sheets.put(row, number="NOTOURS", bill=f"{row[_BILL]}8"),
    Kind.DATE: _other_day,
}


async def _plant_and_find(stage: Stage, client: LianLianClient, paths: Sequence[Path]) -> bool:
    """One difference of each kind, on a copy of journal and statements; True when just these are found."""
    statements = [path for path in paths if path.name.startswith("FKMX_")]
    sheets = _Sheets({path.stem[-8:]: _read(path) for path in statements})
    paid = [payout for payout in await client.payouts((State.PAID,), None, 500) if payout.settle_date in sheets.days]
    dead = await client.payouts((State.FAILED, State.CLOSED), None, 1)
    planted: dict[str, Kind] = {}
    kinds = [kind for kind in _PLANTS if kind is not Kind.DATE or len(sheets.days) > 1]
    for kind, payout in zip(kinds, paid, strict=False):
        row = sheets.paid(payout.no_order)
        _PLANTS[kind](sheets, row)
        planted["NOTOURS" if kind is Kind.FOREIGN else payout.no_order] = kind
    for payout in dead if paid else []:
        model = sheets.paid(paid[-1].no_order)
        bill = payout.oid_paybill or f"{model[_BILL]}7"
        sheets.put(model, number=payout.no_order, bill=bill, money=f"{payout.money_order}")
        planted[payout.no_order] = Kind.STATE
    folder = _folder(stage, "planted")
    for path in statements:
        _write(folder / path.name, sheets.days[path.stem[-8:]])
    result = await reconcile(client, [folder / path.name for path in statements])
    _tell(stage, client, result, "planted.html")
    found = {difference.no_order: difference.kind for difference in result.differences}
    console.print(f"planted {len(planted)}, found {sum(found.get(n) is kind for n, kind in planted.items())}, "
                  f"invented {len(set(found) - set(planted))}")  # fmt: skip
    return found == planted


def _read(path: Path) -> list[Row]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8"))))


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
