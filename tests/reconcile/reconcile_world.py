"""A journal, a statement, and what is planted between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from client_world import JOURNAL_KEYS, NOTIFY_URL, Keys
from statement_files import PARTNER, written

from lianlian_async import LianLianClient, Merchant
from lianlian_async.clock import SHANGHAI
from lianlian_async.journal import Journal, Record
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.reconcile import Kind, Reconciliation, StatementRow, reconcile
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source, State, Step, decide, view_of
from lianlian_async.testing.clocks import ManualClock
from lianlian_async.transport import FaultKind, WireFault

FIRST_DAY = datetime(2026, 11, 23, tzinfo=SHANGHAI)


def day(number: int) -> str:
    """YYYYMMDD, so many days after the first."""
    return f"{FIRST_DAY + timedelta(days=number):%Y%m%d}"


class Nobody:
    """A network on which nobody answers: a reconciliation must not need one."""

    async def post(self, url: str, body: bytes, *, deadline_s: float, **more: Any) -> WireFault:
        return WireFault(FaultKind.CONNECT, "nobody is there", sent=False)

    def renew(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@frozen
class Payout:
    """A payout of the test: its number, settle day (None: the gateway tells none) and amount in fen."""

    no_order: str
    day: int | None = 0
    fen: int = 500_000
    bill: str | None = None
    state: State = State.PAID

    @property
    def own_bill(self) -> str:
        return self.bill or f"B{self.no_order}"

    @property
    def at(self) -> datetime:
        return FIRST_DAY + timedelta(days=self.day or 0, hours=10)

    def row(self, **changes: Any) -> StatementRow:
        """How the statement lists it."""
        plain: dict[str, Any] = {
            "no_order": self.no_order, "oid_partner": PARTNER, "ordered_at": self.at, "business": "202000",
            "oid_paybill": self.own_bill, "settle_date": day(self.day or 0),
            "money_order": Decimal(self.fen).scaleb(-2), "direction": "1", "status": "0", "updated_at": self.at,
            "fee": Decimal("0.60"), "product": "实时付款渠道", "method": "余额支付", "info_order": "付款",
            "bank": "中国农业银行",
        }  # fmt: skip
        return StatementRow(**plain | changes)

    def refund(self, on: int, number: str = "") -> StatementRow:
        return self.row(
            no_order=number or f"R{self.no_order}", oid_paybill=self.no_order, settle_date=day(on), status="5",
            money_order=-Decimal(self.fen).scaleb(-2), fee=Decimal("-0.60"),
        )  # fmt: skip

    def record(self) -> Record:
        """How the journal holds it: what the gateway has told leads to `state`."""
        content = {
            "no_order": self.no_order, "oid_partner": PARTNER, "card_no": "6228480402564890018", "acct_name": "李三",
            "money_order": f"{self.fen // 100}.{self.fen % 100:02d}", "dt_order": f"{self.at:%Y%m%d%H%M%S}",
        }  # fmt: skip
        attempts = () if self.state is State.UNSENT else (self._attempt(),)
        evidence = tuple(self._evidence())
        view = view_of(attempts, evidence)
        assert view.state is self.state, view.state
        decision = decide(view, self.at, self.at)
        return Record(
            self.no_order, None, PARTNER, content, "0" * 64, self.at, state=view.state, step=decision.step,
            due_at=decision.due_at, attempts=attempts, evidence=evidence,
        )  # fmt: skip

    def _attempt(self) -> Attempt:
        return Attempt(1, Source.PAY, self.at, self.at + timedelta(seconds=30), "0" * 64, "test")

    def _evidence(self) -> list[Evidence]:
        told = _TOLD[self.state]
        moments = [self.at + timedelta(seconds=n + 1) for n in range(len(told))]
        settled = None if self.day is None else day(self.day)
        return [
            Evidence(
                source, outcome, at, at, 1 if source is Source.PAY else None, ret_code=code, result_pay=word,
                oid_paybill=self.own_bill if billed else None,
                settle_date=settled if word == "SUCCESS" else None,
            )
            for at, (source, outcome, code, word, billed) in zip(moments, told, strict=True)
        ]  # fmt: skip


def _query(word: str, billed: bool = True) -> tuple[Source, Outcome, str, str | None, bool]:
    return Source.QUERY, Outcome.ANSWERED, "0000", word, billed


_LOST = (Source.PAY, Outcome.NO_ANSWER, None, None, False)
_TOLD: dict[State, list[Any]] = {
    State.UNSENT: [],
    State.UNKNOWN: [_LOST],
    State.REFUSED: [(Source.PAY, Outcome.ANSWERED, "9104", None, False)],
    State.IN_PROGRESS: [_LOST, _query("PROCESSING")],
    State.REVIEW: [_LOST, _query("CHECK", False)],
    State.PAID: [_LOST, _query("SUCCESS")],
    State.FAILED: [_LOST, _query("FAILURE")],
    State.CLOSED: [_LOST, _query("CLOSED", False)],
    State.REFUNDED: [_LOST, _query("SUCCESS"), _query("CANCEL")],
    State.CONFLICT: [_LOST, (Source.QUERY, Outcome.MISMATCHED, "0000", "SUCCESS", False)],
}


@define
class Book:
    """A client over one journal, and the folder that its statements lie in."""

    client: LianLianClient
    journal: Journal
    clock: ManualClock
    folder: Path
    rows: dict[str, list[StatementRow]] = field(factory=dict)

    async def holds(self, *payouts: Payout) -> None:
        await self.journal.add([payout.record() for payout in payouts])

    def lists(self, *rows: StatementRow) -> None:
        for row in rows:
            self.rows.setdefault(row.settle_date, []).append(row)

    def file(self, period: str, rows: Sequence[StatementRow] | None = None) -> Path:
        """A file of this day or month with what is listed in it."""
        if rows is None:
            rows = [row for one in sorted(self.rows) if one.startswith(period) for row in self.rows[one]]
        path = self.folder / f"FKMX_{PARTNER}_{period}.txt"
        path.write_bytes(written(rows))
        return path

    async def reconcile(self, *periods: str, **more: Any) -> Reconciliation:
        return await reconcile(self.client, [self.file(period) for period in periods], **more)

    async def state(self, no_order: str) -> State:
        record = await self.journal.load(no_order)
        assert record is not None
        return record.state


def kinds(result: Reconciliation) -> dict[str, Kind]:
    """The kind of each number's difference; every number is reported once."""
    found = {difference.no_order: difference.kind for difference in result.differences}
    assert len(found) == len(result.differences)
    return found


@asynccontextmanager
async def a_book(keys: Keys, folder: Path, kind: str) -> AsyncIterator[Book]:
    """An empty book; the day of its clock is a week after the first."""
    sealing = JOURNAL_KEYS if kind == "encrypted" else None
    journal: Any = MemoryJournal() if kind == "memory" else SqliteJournal(folder / "payouts.db", keys=sealing)
    clock = ManualClock(FIRST_DAY + timedelta(days=60))
    merchant = Merchant(
        oid_partner=PARTNER, keys=keys.ring(), base_url="http://127.0.0.1:9/paymentapi/", notify_url=NOTIFY_URL
    )
    async with LianLianClient(merchant, journal, clock=clock, transport=(Nobody(), Nobody())) as client:
        yield Book(client, journal, clock, folder)


__all__ = ["Book", "Kind", "Payout", "Step", "a_book", "day", "kinds"]
