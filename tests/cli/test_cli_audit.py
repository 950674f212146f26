"""The demo's verdict: it finds every kind of lie in a ledger, and its exit status says so."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_world import a_row

from lianlian_async import Order, Payout, State
from lianlian_async.batch import BatchRow
from lianlian_async.batch.run import BatchResult
from lianlian_async.cli import audit as audit_module
from lianlian_async.cli import demo as demo_module
from lianlian_async.cli import main
from lianlian_async.cli.audit import Verdict, audit
from lianlian_async.resolver import Actor, Step
from lianlian_async.testing.simulator import Ledger
from lianlian_async.testing.simulator.ledger import Entry

NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)


def a_payout(number: str, state: State, step: Step = Step.NOTHING, key: str | None = None) -> Payout:
    return Payout(
        no_order=number, key=key or f"key-{number}", state=state, step=step, advice="", who=Actor.LIBRARY, rule="paid",
        money_order=Decimal("1.00"), dt_order="20261123120000", card_no="622848*********0011", acct_name="李*",
        oid_paybill=None, ret_code=None, settle_date=None, sends=1, due_at=None, heard_at=None, created_at=NOON,
        alarms=(), replaceable=False,
    )  # fmt: skip


def a_ledger(*events: tuple[str, str, str]) -> Ledger:
    """Events as (number, event, bill), a second apart."""
    return Ledger(
        entries=[
            Entry(NOON + timedelta(seconds=n), number, event, Decimal("1.00"), "622848*********0011", bill)
            for n, (number, event, bill) in enumerate(events)
        ]
    )


def judged(payouts: Sequence[Payout], *events: tuple[str, str, str], wanted: Sequence[str] | None = None) -> Verdict:
    keys = [payout.key or "" for payout in payouts] if wanted is None else wanted
    return audit(keys, payouts, a_ledger(*events))


PAID = (("A", "booked", "1"), ("A", "paid", "1"))


def test_all_is_well() -> None:
    """Paid and told so, refused and told so: clean."""
    payouts = [a_payout("A", State.PAID), a_payout("B", State.REFUSED, Step.FIX), a_payout("C", State.UNSENT, Step.FIX)]
    assert judged(payouts, *PAID, ("B", "failed", "")).clean


def test_paid_twice_under_one_number() -> None:
    """Two bills of one number that both reached the payee."""
    verdict = judged([a_payout("A", State.PAID)], *PAID, ("A", "booked", "2"), ("A", "paid", "2"))
    assert verdict.paid_twice == ("key-A",)
    assert not verdict.clean


def test_paid_twice_under_two_numbers() -> None:
    """Two numbers of one key that both reached the payee."""
    payouts = [a_payout("A", State.PAID, key="k"), a_payout("B", State.PAID, key="k")]
    verdict = judged(payouts, *PAID, ("B", "booked", "2"), ("B", "paid", "2"))
    assert verdict.paid_twice == ("k",)


def test_paid_under_a_number_that_nobody_knows() -> None:
    """Money that left under a number which the journal does not have: the worst of all, and never clean."""
    verdict = judged([a_payout("A", State.PAID)], *PAID, ("X", "booked", "2"), ("X", "paid", "2"))
    assert not verdict.clean


def test_paid_again_after_a_refund_is_not_twice() -> None:
    """What the bank returned is not with the payee."""
    payouts = [a_payout("A", State.REFUNDED, key="k"), a_payout("B", State.PAID, key="k")]
    verdict = judged(payouts, *PAID, ("A", "refunded", "1"), ("B", "booked", "2"), ("B", "paid", "2"))
    assert verdict.clean


@pytest.mark.parametrize(
    ("state", "events"),
    [
        (State.PAID, ()),
        (State.PAID, (("A", "booked", "1"),)),
        (State.PAID, (*PAID, ("A", "refunded", "1"))),
        (State.FAILED, PAID),
        (State.FAILED, ()),
        (State.CLOSED, (("A", "review", ""),)),
        (State.CLOSED, PAID),
        (State.REFUNDED, PAID),
        (State.REFUSED, PAID),
        (State.REFUSED, (("A", "booked", "1"),)),
        (State.UNSENT, PAID),
        (State.UNSENT, (("A", "failed", ""),)),
        (State.REVIEW, PAID),
    ],
)
def test_misreported(state: State, events: tuple[tuple[str, str, str], ...]) -> None:
    """A reported state that the ledger contradicts."""
    verdict = judged([a_payout("A", state)], *events)
    assert verdict.misreported == ("A",)
    assert not verdict.clean


@pytest.mark.parametrize(
    ("state", "events"),
    [
        (State.FAILED, (("A", "failed", ""),)),
        (State.REFUSED, (("A", "booked", "1"), ("A", "failed", "1"))),
    ],
)
def test_misreported_by_the_bill(state: State, events: tuple[tuple[str, str, str], ...]) -> None:
    """FAILED opens the way to a new number, REFUSED keeps the old one: which is right depends on a bill."""
    assert not judged([a_payout("A", state)], *events).clean


def test_every_state_has_a_truth() -> None:
    """No state can be reported that the audit has no opinion on."""
    assert set(audit_module._TRUE) == set(State)


def test_lost() -> None:
    """A key without a payout, and payouts that nobody follows any more without their being at rest."""
    payouts = [a_payout("A", State.PAID), a_payout("B", State.UNKNOWN, Step.QUERY)]
    verdict = judged(payouts, *PAID, wanted=["key-A", "key-B", "key-C"])
    assert set(verdict.lost) == {"key-B", "key-C"}
    assert not verdict.clean


@pytest.mark.parametrize(
    ("doctored", "code"),
    [
        ((("A", "booked", "1"), ("A", "paid", "1")), 0),
        ((("A", "booked", "1"), ("A", "paid", "1"), ("A", "booked", "2"), ("A", "paid", "2")), 1),
        ((("A", "booked", "1"),), 1),
        ((("A", "failed", "1"),), 1),
    ],
)
def test_exit_status_of_the_demo_tells_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctored: tuple[tuple[str, str, str], ...], code: int
) -> None:
    """Whatever the ledger says about one paid row is what the demo's status says."""

    async def pay(stage: Any, batch: Any, stop: Any) -> BatchResult:
        lines = [entry.as_line() for entry in a_ledger(*doctored).entries]
        stage.file("ledger.jsonl").write_text("\n".join([*lines, ""]))
        [row] = batch.rows
        return BatchResult(((row, a_payout("A", State.PAID, key=row.key)),), (), None)

    async def careless(stage: Any, batch: Any) -> tuple[int, str]:
        return 7, "7 payments too many"

    monkeypatch.setattr(demo_module, "_pay", pay)
    monkeypatch.setattr(demo_module, "_careless", careless)
    line = ["demo", "--payouts", "1", "--folder", str(tmp_path / "demo")]
    assert main(line, standalone_mode=False) == code
    # A program that has run the demo still hears its own alarms.
    assert logging.getLogger("lianlian_async.alarms").isEnabledFor(logging.WARNING)


def test_exit_status_of_the_demo_when_a_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that was never written down is lost, whatever the others say."""

    async def pay(stage: Any, batch: Any, stop: Any) -> BatchResult:
        stage.file("ledger.jsonl").write_text("")
        order = Order(**{name: value for name, value in a_row(1).items() if name != "key"})
        return BatchResult((), (BatchRow(2, "key", order),), None)

    async def careless(stage: Any, batch: Any) -> tuple[int, str]:
        return 7, "7 payments too many"

    monkeypatch.setattr(demo_module, "_pay", pay)
    monkeypatch.setattr(demo_module, "_careless", careless)
    assert main(["demo", "--payouts", "1", "--folder", str(tmp_path / "demo")], standalone_mode=False) == 1
