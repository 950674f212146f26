"""`pay FILE`: a file of payouts in, a file of outcomes out; running it again goes on and never pays twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import click
from attrs import frozen
from rich.table import Table
from rich.text import Text

from ..batch import (
    Batch,
    BatchRow,
    Outcome,
    OutcomesUnwritable,
    Problem,
    check_outcomes_path,
    read_batch,
    write_outcomes,
)
from ..batch.run import BatchResult, collect, named, run_batch
from ..client import LianLianClient
from ..clock import Clock
from ..config import Limits, Merchant, Settings
from ..errors import (
    BreakerOpen,
    CommandRefused,
    ConfigError,
    DuplicateSuspected,
    InvalidOrder,
    LianLianError,
    OrderConflict,
)
from ..payout import Payout
from ..protocol.fields import mask_card, wire_money
from ..resolver import State, Step
from ..transport import Transport
from ..transport.pair import money_and_queries
from .board import Board
from .common import (
    Finite,
    clock_of,
    complain,
    config_option,
    configured_journal,
    console,
    errors,
    journal_address,
    run_async,
    say_path,
    scale_option,
    stop_event,
    until_stopped,
)
from .output import output_fault, told_elsewhere
from .preflight import preflight

__all__ = ["fast_transports", "pay", "show_result"]

_PROBLEMS_SHOWN = 50
_ROWS_SHOWN = 20


class Money(click.ParamType[Decimal]):
    """An amount in yuan."""

    name = "yuan"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value} is not an amount", param, ctx)
        if not amount.is_finite() or amount <= 0:
            self.fail(f"{value} is not an amount above zero", param, ctx)
        return amount


def fast_transports(limits: Limits, merchant: Merchant) -> tuple[Transport, Transport]:
    """aiohttp for money and for queries: the command line comes with it, and it is the fastest that passes the
    wire tests."""
    return money_and_queries(
        "aiohttp",
        in_flight=limits.in_flight,
        queries_in_flight=limits.queries_in_flight,
        ca_file=merchant.ca_file,
        pins=merchant.gateway_pins,
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--outcomes", type=click.Path(path_type=Path), help="Where to write the outcomes [FILE.outcomes.csv].")
@click.option("--yes", is_flag=True, help="Do not ask; every question is answered with yes.")
@click.option("--max-total", type=Money(), help="Refuse the file when its sum is larger, in yuan.")
@click.option("--wait-s", type=Finite(min=0), help="Stop waiting after this; a later run or a `worker` goes on.")
@config_option
@scale_option
def pay(
    file: Path, outcomes: Path | None, yes: bool, max_total: Decimal | None, wait_s: float | None,
    config: Path | None, time_scale: float,
) -> int:  # fmt: skip
    """Pay every row of FILE (CSV, or .xlsx with the extra `xlsx`) once.

    The whole file is checked first, and nothing is sent while a row is bad. The columns are the wire's names
    (money_order, card_no, acct_name, ...) or the specification's Chinese ones; `key` names a payment for ever.
    """
    settings = Settings.load(config)
    merchant = settings.merchant()
    if journal_address(settings) == "memory:":
        raise ConfigError("`pay` needs a journal that survives it: set LIANLIAN_JOURNAL, such as sqlite:///payouts.db")
    target = outcomes or file.with_name(f"{file.name}.outcomes.csv")
    check_outcomes_path(target)
    batch = read_batch(file, oid_partner=merchant.oid_partner)
    _require_notify_url(merchant, batch)
    job = _Job(merchant, settings, batch, target, clock_of(time_scale), wait_s)
    # The questions stand between two runs of the event loop: while somebody thinks, Ctrl-C works as usual.
    suspects = run_async(_suspects)(job) if _acceptable(batch, max_total) else None
    if suspects is None:
        return 2
    _confirm(batch, suspects, yes)
    return run_async(_pay)(job, {twin.no_order for _, twins in suspects for twin in twins})


@frozen
class _Job:
    """What one `pay` is about."""

    merchant: Merchant
    settings: Settings
    batch: Batch
    target: Path
    clock: Clock
    wait_s: float | None

    def client(self, board: Board | None = None) -> LianLianClient:
        transport = fast_transports(Limits(), self.merchant)
        observer = None if board is None else board.observe
        # Each run of the event loop opens the journal anew.
        journal = configured_journal(self.settings)
        return LianLianClient(self.merchant, journal, transport=transport, clock=self.clock, observer=observer)


def _require_notify_url(merchant: Merchant, batch: Batch) -> None:
    """The specification wants one in every order (3.1); whoever set up this machine hears which setting it is."""
    if merchant.notify_url is None and any(row.order.notify_url is None for row in batch.rows):
        raise ConfigError(
            "notify_url is missing (where LianLian shall send notifications): set LIANLIAN_NOTIFY_URL, or give it in "
            "--config FILE; nothing was sent"
        )


class _Crashed(LianLianError):
    """Something that nobody foresaw ended the batch; what was paid must be told all the same."""


async def _pay(job: _Job, meant: Collection[str]) -> int:
    """`meant`: what the rows look like, and somebody said that they are further payments."""
    rows, stop, board = job.batch.rows, stop_event(), Board(console, job.batch.count, job.batch.total)
    async with job.client(board) as client:
        if not await until_stopped(preflight(client), stop):
            complain("stopped before anything was sent")
            return 1
        fault: LianLianError | None
        try:
            with board:
                fault = await run_batch(client, rows, stop=stop, wait_s=job.wait_s, meant=meant)
        except Exception as error:  # noqa: BLE001 - whatever it was, the outcomes are written below
            fault = _Crashed(f"the batch ended early ({type(error).__name__}): please report it, and run it again")
        # What is in flight ends first: the outcomes must not be older than the last thing that was sent.
        await client.finish()
        result = await collect(client, rows, fault)
    return _finish(result, job.target, stopped=stop.is_set())


def _acceptable(batch: Batch, max_total: Decimal | None) -> bool:
    for note in batch.notes:
        say_path(note)
    if batch.problems:
        _show_problems(batch.problems, batch.problem_count)
        return False
    if max_total is not None and batch.total > max_total:
        complain(f"the file's total {batch.total:,.2f} is above --max-total {max_total:,.2f}: nothing was sent")
        return False
    return True


def _show_problems(problems: Sequence[Problem], count: int) -> None:
    table = Table(header_style="bold", title="bad rows; nothing was sent", title_justify="left")
    table.add_column("line", justify="right")
    table.add_column("field")
    table.add_column("reason", overflow="fold")
    for problem in problems[:_PROBLEMS_SHOWN]:
        table.add_row(str(problem.line), Text(problem.field), Text(problem.reason))
    errors.print(table)
    if count > _PROBLEMS_SHOWN:
        errors.print(f"... and {count - _PROBLEMS_SHOWN} more")


Suspects = Sequence[tuple[BatchRow, Sequence[Payout]]]


async def _suspects(job: _Job) -> Suspects | None:
    """Say what the journal knows of these rows already; the new rows that look like payouts of the last 24 hours, with
    those. None when a key stands for another order, which is refused."""
    rows = job.batch.rows
    async with job.client() as client:
        known = await client.known([named(row) for row in rows])
        new = [row for row, k in zip(rows, known, strict=True) if k is None]
        twins = [(row, await client.twins(*named(row))) for row in new]
    conflicts = [(row, k) for row, k in zip(rows, known, strict=True) if isinstance(k, OrderConflict)]
    if conflicts:
        _show_problems([Problem(row.line, "key", str(conflict)) for row, conflict in conflicts], len(conflicts))
        return None
    old = [k for k in known if isinstance(k, Payout)]
    if old:
        since = min(p.created_at for p in old)
        done = sum(p.at_rest for p in old)
        console.print(
            f"{len(old)} of {len(rows)} rows are in the journal already (since {since:%Y-%m-%d %H:%M}; {done} "
            "at rest): they are followed, not paid again. A new payment to the same payee needs a `key` of its own."
        )
    return [(row, payouts) for row, payouts in twins if payouts]


def _confirm(batch: Batch, suspects: Suspects, yes: bool) -> None:
    console.print(f"{batch.count} payouts, {batch.total:,.2f} yuan in total")
    if batch.derived_count:
        console.print(
            f"{batch.derived_count} rows have neither `key` nor `no_order`: what they say is their name. An identical "
            "row is the same payment for ever; a row that is edited after it was paid is a new one."
        )
    for twins in batch.twins:
        _confirm_twins(twins, yes)
    if suspects:
        _confirm_suspects(suspects, yes)
    if not yes:
        _ask("Pay them?")


def _ask(question: str) -> None:
    if output_fault() is not None:
        raise CommandRefused("nobody can read the question: nothing was sent (--yes answers every question with yes)")
    try:
        confirmed = click.confirm(question)
    except click.Abort:
        confirmed = False
    if not confirmed:
        raise CommandRefused("not confirmed: nothing was sent (--yes answers every question with yes)")


def _confirm_twins(twins: Sequence[BatchRow], yes: bool) -> None:
    first = twins[0]
    lines = ", ".join(str(row.line) for row in twins)
    text = (
        f"lines {lines} pay the same amount ({wire_money(first.order.money_order)}) "
        f"to the same account ({mask_card(first.order.card_no)})"
    )
    if yes:
        complain(f"warning: {text}; paid because of --yes")
    else:
        _ask(f"{text[0].upper()}{text[1:]}. Is each of them meant?")


def _confirm_suspects(suspects: Suspects, yes: bool) -> None:
    """The same card and amount under another name within a day: most often the same payment, asked for twice."""
    for row, twins in suspects[:_ROWS_SHOWN]:
        order, twin = row.order, twins[0]
        say_path(
            f"line {row.line} pays the same amount ({wire_money(order.money_order)}) to the same account "
            f"({mask_card(order.card_no)}) as {twin.no_order}, {twin.state} since {twin.created_at:%Y-%m-%d %H:%M}"
        )
    if len(suspects) > _ROWS_SHOWN:
        say_path(f"... and {len(suspects) - _ROWS_SHOWN} more")
    text = f"{len(suspects)} rows look like payouts of the last 24 hours, or not ended yet, to the same account"
    if yes:
        complain(f"warning: {text}; paid because of --yes")
    else:
        _ask(f"{text}. Is each of them meant as a further payment?")


def _finish(result: BatchResult, target: Path, *, stopped: bool) -> int:
    reason = str(result.fault or "stopped before it was written down; run the same command again to go on")
    outcomes = [Outcome.of(row.key, payout) for row, payout in result.payouts]
    outcomes += [
        Outcome(key=row.key, state=State.UNSENT, step=Step.SUBMIT, money_order=row.order.money_order, advice=reason)
        for row in result.unlisted
    ]
    fault = result.fault
    try:
        # First of all: whatever becomes of the terminal, the file says what happened.
        write_outcomes(target, outcomes)
        told_elsewhere()
    except OutcomesUnwritable as error:
        fault = fault or error
    show_result(result)
    say_path(f"outcomes: {target}")
    if stopped:
        console.print("stopped: nothing is lost; run the same command again to go on, or let a `worker` do it")
    if fault is not None:
        complain(f"Error: {fault}")
        return _STATUS.get(type(fault), 3)
    return 0 if not result.unlisted and all(p.final for _, p in result.payouts) else 1


_STATUS: Final = {BreakerOpen: 1, DuplicateSuspected: 1, _Crashed: 1, OrderConflict: 2, ConfigError: 2, InvalidOrder: 2}


def show_result(result: BatchResult) -> None:
    """Counts and money by state, and the rows that need somebody."""
    table = Table(header_style="bold")
    for name in ("state", "step", "count", "money_order"):
        table.add_column(name, justify="right" if name in ("count", "money_order") else "left")
    groups: dict[tuple[State, Step], list[Decimal]] = {}
    for _, payout in result.payouts:
        groups.setdefault((payout.state, payout.step), []).append(payout.money_order)
    for (state, step), amounts in sorted(groups.items()):
        table.add_row(state, step, str(len(amounts)), f"{sum(amounts):,.2f}")
    if result.unlisted:
        table.add_row(
            "not written down",
            "",
            str(len(result.unlisted)),
            f"{sum(r.order.money_order for r in result.unlisted):,.2f}",
        )
    console.print(table)
    waiting = [(row, p) for row, p in result.payouts if not p.final]
    # What has ended may have rung an alarm on its way: somebody should hear of it, after what still waits.
    waiting += [(row, p) for row, p in result.payouts if p.final and p.alarms]
    for row, payout in waiting[:_ROWS_SHOWN]:
        console.print(Text(f"line {row.line}: {payout.no_order} {payout.state}/{payout.step}: {payout.advice}"))
        for alarm in payout.alarms:
            console.print(Text(f"    alarm: {alarm}"))
    if len(waiting) > _ROWS_SHOWN:
        console.print(f"... and {len(waiting) - _ROWS_SHOWN} more; `lianlian-async due` lists what still waits")
