"""Statements against journals: what is even costs no word, what differs is found, named and taken as evidence."""

from __future__ import annotations

import logging
import random
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from client_world import Keys, an_order
from reconcile_world import Book, Payout, a_book, day, kinds
from statement_files import PARTNER

from lianlian_async.clock import SHANGHAI
from lianlian_async.errors import ConfigError
from lianlian_async.journal import Change, Record, StaleVersion
from lianlian_async.reconcile import Kind, StatementError, StatementRow, reconcile
from lianlian_async.resolver import Source, State, view_of


async def listings(book: Book, no_order: str) -> int:
    """How many pieces of a payout's evidence come from statements."""
    record = await book.journal.load(no_order)
    assert record is not None
    return sum(news.source is Source.STATEMENT for news in record.evidence)


async def test_paid_and_listed_is_even(book: Book) -> None:
    """Totals on both sides, no difference, and not a word of evidence for what matches."""
    payouts = [Payout(f"n{n}", fen=100 + n) for n in range(5)]
    await book.holds(*payouts, Payout("failed", state=State.FAILED), Payout("new", state=State.UNSENT))
    book.lists(*(payout.row() for payout in payouts))
    result = await book.reconcile(day(0))
    assert (result.even, result.waiting) == (True, ())
    [totals] = result.days
    assert (totals.day, totals.count, totals.amount, totals.fee) == (day(0), 5, Decimal("5.10"), Decimal("3.00"))
    assert (totals.our_count, totals.our_amount, totals.states) == (5, Decimal("5.10"), {"PAID": 5})
    assert [await listings(book, payout.no_order) for payout in payouts] == [0] * 5


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.UNSENT, State.PAID),
        (State.UNKNOWN, State.PAID),
        (State.REFUSED, State.PAID),
        (State.IN_PROGRESS, State.PAID),
        (State.REVIEW, State.PAID),
        (State.FAILED, State.CONFLICT),
        (State.CLOSED, State.CONFLICT),
        (State.CONFLICT, State.CONFLICT),
    ],
)
async def test_listed_and_we_said_otherwise(book: Book, state: State, after: State) -> None:
    """The dangerous one: it becomes evidence, the state follows, the difference is reported, once."""
    payout = Payout("n1", state=state)
    await book.holds(payout)
    book.lists(payout.row())
    result = await book.reconcile(day(0))
    [difference] = result.differences
    assert (difference.kind, difference.before, difference.state) == (Kind.STATE, state, after)
    assert (difference.card_no, difference.acct_name) == ("622848*********0018", "李*")
    assert any("statement" in line for line in difference.evidence)
    assert await book.state("n1") is after
    for _ in range(2):
        await book.reconcile(day(0))
    assert await listings(book, "n1") == 1


async def test_a_listed_refund_turns_paid_into_refunded(book: Book) -> None:
    """And no new number opens before a query agrees (R8)."""
    payout, known = Payout("n1"), Payout("n2", state=State.REFUNDED)
    await book.holds(payout, known)
    book.lists(payout.row(), known.row(), payout.refund(1), known.refund(1))
    result = await book.reconcile(day(0), day(1))
    assert kinds(result) == {"n1": Kind.REFUND}
    assert await book.state("n1") is State.REFUNDED
    record = await book.journal.load("n1")
    assert record is not None
    assert not view_of(record.attempts, record.evidence).replaceable
    first, second = result.days
    assert (first.refunds, second.refunds, second.refunded, second.fee) == (0, 2, Decimal("10000.00"), Decimal("-1.20"))
    assert second.outflow == Decimal("-10001.20")
    assert (await book.reconcile(day(0), day(1))).even


async def test_another_amount_or_bill_is_a_conflict(book: Book) -> None:
    """What was listed is not what was sent: people must look, and nothing more is sent."""
    amount, bill, lost = Payout("n1"), Payout("n2"), Payout("n3", state=State.UNKNOWN)
    await book.holds(amount, bill, lost)
    book.lists(
        amount.row(money_order=Decimal("5000.01")), bill.row(oid_paybill="X1"), lost.row(money_order=Decimal("50.00"))
    )
    result = await book.reconcile(day(0))
    assert kinds(result) == {"n1": Kind.AMOUNT, "n2": Kind.BILL, "n3": Kind.AMOUNT}
    assert {await book.state(number) for number in ("n1", "n2", "n3")} == {State.CONFLICT}
    first = result.of_kind(Kind.AMOUNT)[0]
    assert (first.listed_amount, first.our_amount) == (Decimal("5000.01"), Decimal("5000.00"))
    assert result.of_kind(Kind.BILL)[0].our_bill == "Bn2"
    again = await book.reconcile(day(0))
    assert kinds(again) == kinds(result)
    assert await listings(book, "n1") == 1


async def test_another_day_is_reported_and_changes_nothing(book: Book) -> None:
    """Also when the two days are read in two runs: listed elsewhere is not missing."""
    payout = Payout("n1")
    await book.holds(payout)
    book.lists(payout.row(settle_date=day(1)))
    assert kinds(await book.reconcile(day(0), day(1))) == {"n1": Kind.DATE}
    assert await book.state("n1") is State.PAID
    assert kinds(await book.reconcile(day(0))) == {"n1": Kind.DATE}
    assert kinds(await book.reconcile(day(1))) == {"n1": Kind.DATE}
    assert await listings(book, "n1") == 1


async def test_listed_twice(book: Book) -> None:
    """In one file, on two days, with two bills; refunded twice; but the day's and the month's file list one row."""
    same, days, bills, back = Payout("n1"), Payout("n2"), Payout("n3"), Payout("n4", state=State.REFUNDED)
    await book.holds(same, days, bills, back, Payout("n5"))
    book.lists(same.row(), same.row(), days.row(), days.row(settle_date=day(1)), bills.row(), Payout("n5").row())
    book.lists(bills.row(oid_paybill="X1"), back.row(), back.refund(1, "R1"), back.refund(1, "R2"))
    result = await book.reconcile(day(0), day(1), day(0)[:6])
    assert kinds(result) == dict.fromkeys(["n1", "n2", "n3", "n4"], Kind.TWICE)
    places = {difference.no_order: len(difference.places) for difference in result.differences}
    assert places == {"n1": 2, "n2": 2, "n3": 2, "n4": 2}
    assert await book.state("n3") is State.CONFLICT
    assert (result.total.count, result.total.refunds) == (8, 2)


async def test_what_is_not_ours_is_reported_and_kept(book: Book) -> None:
    """A restored backup: when the number is enlisted again, the listing is part of it before anything is sent."""
    payout = Payout("n1")
    book.lists(payout.row(), payout.refund(0, "R9"), Payout("n2").row())
    result = await book.reconcile(day(0))
    assert kinds(result) == {"n1": Kind.FOREIGN, "n2": Kind.FOREIGN}
    await book.reconcile(day(0))
    kept = await book.journal.orphans(PARTNER)
    assert sorted(orphan.no_order for orphan in kept) == ["n1", "n1", "n2"]


async def test_a_listed_number_that_is_enlisted_later_is_not_sent(book: Book) -> None:
    """The journal was restored from a backup that is older than the payment: what a statement told counts at once."""
    paid, back = Payout("n1"), Payout("n2")
    book.lists(paid.row(), back.row(), back.refund(0))
    await book.reconcile(day(0))
    orders = [(an_order("5000.00", card=n, no_order=f"n{n}"), None) for n in (1, 2)]
    for expected in (State.PAID, State.REFUNDED), (State.PAID, State.REFUNDED):
        payouts = await book.client.enlist(orders)
        assert tuple(payout.state for payout in payouts) == expected
        assert [(payout.sends, payout.replaceable) for payout in payouts] == [(0, False), (0, False)]
    assert await book.client.enlist([(an_order("4.00", card=3, no_order="n3"), None)])
    book.rows.clear()
    book.lists(Payout("n3").row())
    assert kinds(await book.reconcile(day(0)))["n3"] is Kind.AMOUNT


async def test_a_worker_moves_the_payout_at_the_same_moment(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is bound to what the journal holds then, and is written down all the same, once."""
    payout = Payout("n1", state=State.UNKNOWN)
    await book.holds(payout)
    book.lists(payout.row())
    save, tries = book.journal.save, 0

    async def saved(no_order: str, version: int, change: Change, **more: Any) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StaleVersion("somebody else was first")
        return await save(no_order, version, change, **more)

    monkeypatch.setattr(book.journal, "save", saved)
    assert kinds(await book.reconcile(day(0))) == {"n1": Kind.STATE}
    assert (await book.state("n1"), await listings(book, "n1")) == (State.PAID, 1)


async def test_a_scratch_folder_that_is_not_there(book: Book, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set TMPDIR"):
        await reconcile(book.client, [book.file(day(0))], scratch=tmp_path / "none")


async def test_a_refund_of_which_the_gateway_told_another_day(book: Book) -> None:
    """The date in a CANCEL may be the refund's: the payment is not missing on it."""
    payout = Payout("n1", state=State.REFUNDED)
    record = payout.record()
    only_cancel = evolve(record.evidence[2], settle_date=day(3))
    await book.journal.add([evolve(record, evidence=(record.evidence[0], only_cancel))])
    book.lists(payout.row(), payout.refund(3))
    assert (await book.reconcile(*(day(n) for n in range(4)))).even
    assert (await book.reconcile(day(3))).even


async def test_paid_and_not_listed_waits_a_day_then_alarms(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    """A day's file is ready at nine on the next, and may lag one day behind; then somebody is called."""
    await book.holds(Payout("n1"), Payout("n2", state=State.REFUNDED), Payout("n3", state=State.FAILED))
    book.clock._now = datetime(2026, 11, 25, 8, 59, tzinfo=SHANGHAI)  # two days later, before nine
    result = await book.reconcile(day(0))
    assert (result.even, [d.no_order for d in result.waiting]) == (True, ["n1", "n2"])
    book.clock._now += timedelta(minutes=1)
    with caplog.at_level(logging.WARNING, "lianlian_async.alarms"):
        result = await book.reconcile(day(0))
    assert (kinds(result), result.waiting) == ({"n1": Kind.MISSING, "n2": Kind.MISSING}, ())
    assert [record.args[0] for record in caplog.records if record.args] == ["n1", "n2"]  # type: ignore[index]
    assert await listings(book, "n1") == 0


async def test_a_payout_without_a_settle_date(book: Book) -> None:
    """Listed: even. Not listed: missing only if every day on which it can have been paid was read."""
    await book.holds(Payout("n1", day=None), Payout("n2", day=None))
    book.lists(Payout("n1", day=None).row())
    assert kinds(await book.reconcile(day(1))) == {}
    assert kinds(await book.reconcile(day(0))) == {"n2": Kind.MISSING}
    assert await listings(book, "n1") == 0


async def test_balances_and_summaries(book: Book) -> None:
    """Opening less closing is what the rows come to, fees included; a summary has the rows' count and amount."""
    payouts = [Payout("n1"), Payout("n2")]
    await book.holds(*payouts)
    book.lists(*(payout.row() for payout in payouts))
    summary = book.folder / f"FKMXSUM_{PARTNER}_{day(0)}.txt"
    summary.write_text("2|2|10000|0|0|0|0\n")
    files = [book.file(day(0)), summary]
    even = await reconcile(book.client, files, opening=Decimal("20000.00"), closing=Decimal("9998.80"))
    assert (even.even, even.unexplained) == (True, Decimal("0.00"))
    summary.write_text("2|3|10000|0|0|0|0\n")
    uneven = await reconcile(book.client, files, opening=Decimal("20000.00"), closing=Decimal("9998.00"))
    assert [difference.kind for difference in uneven.differences] == [Kind.SUMMARY, Kind.BALANCE]
    assert uneven.unexplained == Decimal("0.80")


async def test_another_merchant_of_the_same_journal(book: Book) -> None:
    """Its payouts are neither missing nor matched."""

    def of_other(record: Record) -> Record:
        other = "201606020000150063"
        return evolve(record, oid_partner=other, content={**record.content, "oid_partner": other})

    await book.journal.add([of_other(Payout("n1").record()), of_other(Payout("n2").record())])
    book.lists(Payout("n2").row())
    assert kinds(await book.reconcile(day(0))) == {"n2": Kind.FOREIGN}


async def test_a_bad_row_leaves_everything_as_it_was(book: Book) -> None:
    """Nothing is taken in from a file that cannot be read whole, nor from one before it."""
    payout = Payout("n1", state=State.UNKNOWN)
    await book.holds(payout)
    good = book.file(day(0), [payout.row()])
    bad = book.file(day(1), [payout.row(settle_date=day(1))])
    bad.write_bytes(bad.read_bytes() + b"x,\n")
    with pytest.raises(StatementError, match="line 3: 2 columns"):
        await reconcile(book.client, [good, bad])
    with pytest.raises(StatementError, match="line 2: a settle date outside"):
        await reconcile(book.client, [book.file(day(1), [payout.row()])])
    assert (await book.state("n1"), await listings(book, "n1")) == (State.UNKNOWN, 0)


async def test_a_statement_that_hardly_fits_the_journal_is_not_believed(keys: Keys, tmp_path: Path) -> None:
    """Evidence is for ever: thousands of payouts are not put into conflict by a file with, say, amounts in fen."""
    payouts = [Payout(f"n{n}", fen=100 + n) for n in range(1001)]
    async with a_book(keys, tmp_path, "memory") as book:
        await book.holds(*payouts)
        path = book.file(day(0), [payout.row(money_order=Decimal(payout.fen)) for payout in payouts])
        with pytest.raises(ConfigError, match="1,001 of 1,001 rows differ"):
            await reconcile(book.client, [path])
        assert (await book.state("n1"), await listings(book, "n1")) == (State.PAID, 0)
        result = await reconcile(book.client, [path], doubtful_ok=True)
        assert (len(result.differences), await book.state("n1")) == (1001, State.CONFLICT)


async def test_what_cannot_be_meant_is_refused(book: Book) -> None:
    with pytest.raises(ConfigError, match="no statement"):
        await reconcile(book.client, [])
    with pytest.raises(ConfigError, match="no day or month"):
        await reconcile(book.client, [book.file(day(0))], period="20261131")
    summary = book.folder / f"FKMXSUM_{PARTNER}_{day(0)}.txt"
    summary.write_text("0|0|0|0|0|0|0\n")
    with pytest.raises(ConfigError, match="only summaries"):
        await reconcile(book.client, [summary])


async def test_a_file_of_another_name_covers_what_it_is_said_to(book: Book) -> None:
    await book.holds(Payout("n1"), Payout("n2", day=1))
    path = book.folder / "download.csv"
    path.write_bytes(book.file(day(0), [Payout("n1").row()]).read_bytes())
    assert (await reconcile(book.client, [path])).even
    assert kinds(await reconcile(book.client, [path], period=day(0)[:6])) == {"n2": Kind.MISSING}


# ---------------------------------------------------------------------- a thousand days

DAYS = 1000
A_RUN = 40
EVEN = ("paid", "refunded", "failed", "unsent", "undated")
PLANTED = ("foreign", "twice", "two days", "amount", "bill", "state", "conflict", "refund", "date", "missing")


class Planter:
    """Draws payouts and rows for a run of days, and remembers what is planted."""

    def __init__(self, dice: random.Random, run: int) -> None:
        self.dice = dice
        self.run = run
        self.count = 0
        self.payouts: list[Payout] = []
        self.rows: list[StatementRow] = []
        self.expected: dict[str, Kind] = {}

    def plant(self, what: str, on: int) -> None:
        self.count += 1
        payout = Payout(f"n{self.run}x{self.count}", on, self.dice.randrange(1, 10**7))
        getattr(self, what.replace(" ", "_"))(payout)

    def put(self, payout: Payout, *rows: StatementRow, kind: Kind | None = None, held: bool = True) -> None:
        self.payouts += [payout] if held else []
        self.rows += rows
        if kind is not None:
            self.expected[payout.no_order] = kind

    def _in(self, payout: Payout, state: State) -> Payout:
        return Payout(payout.no_order, payout.day, payout.fen, state=state)

    def _next(self, payout: Payout) -> str:
        """Another day of the same run."""
        assert payout.day is not None
        return day(payout.day + 1 if payout.day % A_RUN < A_RUN - 1 else payout.day - 1)

    def paid(self, payout: Payout) -> None:
        self.put(payout, payout.row())

    def refunded(self, payout: Payout) -> None:
        back = self._in(payout, State.REFUNDED)
        assert back.day is not None
        self.put(back, back.row(), back.refund(back.day))

    def failed(self, payout: Payout) -> None:
        self.put(self._in(payout, self.dice.choice([State.FAILED, State.CLOSED, State.REFUSED])))

    def unsent(self, payout: Payout) -> None:
        self.put(self._in(payout, self.dice.choice([State.UNSENT, State.UNKNOWN, State.IN_PROGRESS])))

    def undated(self, payout: Payout) -> None:
        self.put(Payout(payout.no_order, None, payout.fen), payout.row())

    def foreign(self, payout: Payout) -> None:
        self.put(payout, payout.row(), kind=Kind.FOREIGN, held=False)

    def twice(self, payout: Payout) -> None:
        self.put(payout, payout.row(), payout.row(), kind=Kind.TWICE)

    def two_days(self, payout: Payout) -> None:
        self.put(payout, payout.row(), payout.row(settle_date=self._next(payout)), kind=Kind.TWICE)

    def amount(self, payout: Payout) -> None:
        self.put(payout, payout.row(money_order=Decimal(payout.fen + 1).scaleb(-2)), kind=Kind.AMOUNT)

    def bill(self, payout: Payout) -> None:
        self.put(payout, payout.row(oid_paybill="X"), kind=Kind.BILL)

    def state(self, payout: Payout) -> None:
        states = [State.UNSENT, State.UNKNOWN, State.REFUSED, State.IN_PROGRESS, State.REVIEW]
        self.put(self._in(payout, self.dice.choice(states)), payout.row(), kind=Kind.STATE)

    def conflict(self, payout: Payout) -> None:
        self.put(self._in(payout, self.dice.choice([State.FAILED, State.CLOSED])), payout.row(), kind=Kind.STATE)

    def refund(self, payout: Payout) -> None:
        assert payout.day is not None
        self.put(payout, payout.row(), payout.refund(payout.day), kind=Kind.REFUND)

    def date(self, payout: Payout) -> None:
        self.put(payout, payout.row(settle_date=self._next(payout)), kind=Kind.DATE)

    def missing(self, payout: Payout) -> None:
        self.put(payout, kind=Kind.MISSING)


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_a_thousand_days_with_planted_differences(journal: str, keys: Keys, tmp_path: Path) -> None:
    """Every planted difference is found under its kind, none is invented; in runs of forty days."""
    dice = random.Random(20261123)
    planted: Counter[Kind] = Counter()
    async with a_book(keys, tmp_path, journal) as book:
        for run in range(DAYS // A_RUN):
            book.clock._now = datetime(2026, 11, 26, 12, tzinfo=SHANGHAI) + timedelta(days=(run + 1) * A_RUN)
            planter = Planter(dice, run)
            for on in range(run * A_RUN, (run + 1) * A_RUN):
                for _ in range(dice.randrange(6)):
                    planter.plant(dice.choice(EVEN), on)
                if dice.random() < 0.6:
                    planter.plant(dice.choice(PLANTED), on)
            dice.shuffle(planter.rows)
            await book.holds(*planter.payouts)
            book.rows.clear()
            book.lists(*planter.rows)
            result = await book.reconcile(*(day(on) for on in range(run * A_RUN, (run + 1) * A_RUN)))
            assert kinds(result) == planter.expected
            assert not result.waiting
            planted.update(planter.expected.values())
            assert sum(totals.differences for totals in result.days) == len(planter.expected)
    assert set(planted) == set(Kind) - {Kind.SUMMARY, Kind.BALANCE}
    assert sum(planted.values()) > DAYS / 2
