"""`reconcile`: statement files against the journal, for a person, a script, a spreadsheet and the files of a month."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from rich.text import Text

from ..client import LianLianClient
from ..config import Settings
from ..errors import ConfigError
from ..reconcile import DayTotals, Kind, Reconciliation
from ..reconcile import reconcile as reconciled
from ..reconcile.page import html_report
from ..reconcile.tables import as_object, check_place, differences_csv, lines_of, write_text
from ..reconcile.texts import TEXTS
from .common import (
    Finite,
    clock_of,
    config_option,
    console,
    existing_journal,
    json_option,
    run_async,
    say_path,
    scale_option,
)
from .fetching import fetched_statements

__all__ = ["deliver", "reconcile", "show_reconciliation"]

_LINES_MAX = 40


class _Yuan(click.ParamType[Decimal]):
    """An amount in yuan, exact."""

    name = "yuan"

    def convert(self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no amount like 1234.50", param, ctx)
        exponent = amount.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -2 or abs(amount) >= 10**13:
            self.fail(f"{value!r} is no amount like 1234.50", param, ctx)
        return amount


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--sftp", is_flag=True, help="Fetch the statements from LianLian's SFTP server [of yesterday].")
@click.option(
    "--day", "days", multiple=True, help="YYYYMMDD: what to fetch, or what files not named by LianLian cover."
)
@click.option("--month", help="YYYYMM: what to fetch, or what files not named by LianLian cover.")
@click.option("--again", is_flag=True, help="Fetch and reconcile once more what was reconciled before.")
@click.option("--wait-s", type=Finite(0), default=7200.0, show_default=True, help="How long to try for a file.")
@click.option("--opening", type=_Yuan(), help="The account's balance before, in yuan.")
@click.option("--closing", type=_Yuan(), help="The account's balance afterwards, in yuan.")
@click.option("--doubtful-ok", is_flag=True, help="Take it in although most rows differ (a restored backup).")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write the differences here.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report for people here.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Of the report.")
@config_option
@json_option
@scale_option
@run_async
async def reconcile(
    files: tuple[Path, ...], sftp: bool, days: tuple[str, ...], month: str | None, again: bool, wait_s: float,
    opening: Decimal | None, closing: Decimal | None, doubtful_ok: bool, csv_path: Path | None,
    html_path: Path | None, language: str, config: Path | None, as_json_: bool, time_scale: float,
) -> int:  # fmt: skip
    """Hold statements (FKMX, and FKMXSUM beside them) against the journal.

    What a statement lists and the journal does not say becomes evidence: states follow it. Exit status 1 when anything
    differs, 2 when a file cannot be read. With --sftp the files are fetched first.
    """
    _check_use(files, sftp=sftp, days=days, month=month, again=again)
    if (opening is None) != (closing is None):
        raise ConfigError("give both --opening and --closing, or neither")
    for path in filter(None, (csv_path, html_path)):
        check_place(path)
    settings = Settings.load(config)
    clock = clock_of(time_scale)
    merchant, journal = settings.merchant(), existing_journal(settings)
    periods, period = [*days, *filter(None, (month,))], None if sftp else next(iter(days), month)
    fetching = fetched_statements(settings, clock, periods, again=again, wait_s=wait_s)
    async with fetching if sftp else nullcontext(list(files)) as paths:
        if not paths:
            return 0
        async with LianLianClient(merchant, journal, clock=clock) as client:
            result = await reconciled(
                client, paths, period=period, opening=opening, closing=closing, doubtful_ok=doubtful_ok
            )
            deliver(result, client, csv_path, html_path, language)
    if as_json_:
        click.echo(json.dumps(as_object(result), ensure_ascii=False))
    else:
        show_reconciliation(result)
        for path in filter(None, (csv_path, html_path)):
            say_path(f"written: {path}")
    return 0 if result.even else 1


def _check_use(
    files: Sequence[Path], *, sftp: bool, days: Sequence[str], month: str | None, again: bool
) -> None:  # fmt: skip
    """Raises ConfigError for options that cannot be meant together."""
    if days and month is not None:
        raise ConfigError("give --day or --month, not both")
    if sftp == bool(files):
        raise ConfigError("give either statement files or --sftp, which fetches them")
    if not sftp and (again or len(days) > 1):
        raise ConfigError("--again and more than one --day are for --sftp")


def deliver(
    result: Reconciliation, client: LianLianClient, csv_path: Path | None, html_path: Path | None, language: str = "en"
) -> None:
    """Write the files that were asked for. Raises ConfigError."""
    if csv_path is not None:
        write_text(csv_path, differences_csv(result))
    if html_path is not None:
        write_text(html_path, html_report(result, client.clock.now(), language))


def show_reconciliation(result: Reconciliation) -> None:
    """What a person reads: files, totals by day, differences, and the verdict last."""
    for file in result.files:
        say_path(f"{file.name}: {file.rows:,} rows, {file.encoding.upper()}")
    for line in _by_day(result):
        console.print(Text(line), soft_wrap=True)
    if result.unexplained is not None:
        console.print(f"opening less closing balance leaves {result.unexplained:,.2f} yuan unexplained")
    for kind in Kind:
        if of_kind := result.of_kind(kind):
            console.print(Text(f"\n{TEXTS[f'kind_{kind}']['en']}: {len(of_kind):,}", style="bold"))
            console.print(Text(TEXTS[f"lead_{kind}"]["en"], style="dim"), soft_wrap=True)
            for line in lines_of(of_kind, _LINES_MAX):
                console.print(Text(f"  {line}"), soft_wrap=True)
            if len(of_kind) > _LINES_MAX:
                console.print(f"  ... and {len(of_kind) - _LINES_MAX:,} more: --csv, --json and --html list them")
    if result.waiting:
        console.print(f"\n{len(result.waiting):,} payments are not listed yet; they may still be tomorrow")
    verdict = "even" if result.even else f"{len(result.differences):,} differences"
    console.print(Text(f"\n{verdict}", style="bold green" if result.even else "bold red"))


def _by_day(result: Reconciliation) -> list[str]:
    """Totals as aligned lines: a table that is fitted to the terminal would cut figures."""
    head = ("day", "listed", "yuan", "fee", "refunds", "yuan", "ours", "yuan", "differ")
    rows = [head, *map(_cells, (*result.days, result.total) if len(result.days) > 1 else result.days)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _cells(day: DayTotals) -> tuple[str, ...]:
    return (
        day.day or "all", f"{day.count:,}", f"{day.amount:,.2f}", f"{day.fee:,.2f}", f"{day.refunds:,}",
        f"{day.refunded:,.2f}", f"{day.our_count:,}", f"{day.our_amount:,.2f}", f"{day.differences:,}",
    )  # fmt: skip
