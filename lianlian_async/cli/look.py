"""`status`, `query`, `due` and `explain`: looking, and asking; nothing here can send money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import click
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..client import LianLianClient
from ..clock import SHANGHAI
from ..config import Settings
from ..errors import CommandRefused, LianLianError
from ..journal import Journal, Record
from ..payout import Payout
from ..protocol.fields import safe_text, wire_money
from ..protocol.ret_codes import QUERY_CODES_OF_THE_SPECIFICATION, RET_CODES, UNKNOWN_CODE, RetCode, Source
from ..resolver import Decision, Step, decide, row_of, view_of
from .common import (
    as_json,
    clock_of,
    complain,
    config_option,
    console,
    existing_journal,
    journal_now,
    json_option,
    opened_journal,
    run_async,
    scale_option,
)
from .output import reader_has_gone
from .trail import contents_of, notes_of

__all__ = ["due", "explain", "query", "status"]

_PAGE = 500


async def _payout(journal: Journal, record: Record) -> Payout:
    view = view_of(record.attempts, record.evidence)
    return Payout.of(record, view, await _decision(journal, record))


async def _decision(journal: Journal, record: Record) -> Decision:
    now = await journal_now(journal)
    view = view_of(record.attempts, record.evidence)
    paused = await journal.tripped(record.oid_partner) is not None
    revived = bool(record.generation and await journal.revived(record.no_order))
    return decide(view, record.created_at, now, paused=paused, revived=revived)


async def _notes(journal: Journal, *records: Record) -> dict[str, Sequence[str]]:
    now = await journal_now(journal)
    return {record.no_order: notes for record in records if (notes := notes_of(record, now))}


async def _load(journal: Journal, no_order: str) -> Record:
    record = await journal.load(no_order)
    if record is None:
        raise CommandRefused(f"{no_order} is not in this journal")
    return record


Notes = Mapping[str, Sequence[str]]


def show(payouts: list[Payout], title: str, notes: Notes = MappingProxyType({})) -> None:
    """Payouts for a person, a few lines each: numbers stay whole, so that they can be copied. `notes` are further
    lines for a number."""
    console.print(Text(title, style="bold"), soft_wrap=True)
    for p in payouts:
        console.print(Text(f"{p.no_order}  {p.state}  {p.step}  {wire_money(p.money_order)}"))
        payee = "  ".join(filter(None, (p.card_no, p.acct_name, p.key)))
        console.print(Padding(Text(safe_text(payee, limit=400)), (0, 0, 0, 4)))
        for line in (p.advice, *notes.get(p.no_order, ())):
            console.print(Padding(Text(safe_text(line, limit=700), style="dim"), (0, 0, 0, 4)))
        for alarm in p.alarms:
            console.print(Padding(Text(f"alarm: {safe_text(alarm, limit=400)}", style="bold"), (0, 0, 0, 4)))


@click.command()
@click.argument("no_order", required=False)
@config_option
@json_option
@run_async
async def status(no_order: str | None, config: Path | None, as_json_: bool) -> None:
    """What is known: of one payout, or the counts by state (with --json: every payout).

    Where a merchant is configured (LIANLIAN_OID_PARTNER), of that merchant; else of every one in the journal.
    """
    settings = Settings.load(config)
    partner = settings.oid_partner or None
    async with opened_journal(settings) as journal:
        if no_order is not None:
            record = await _load(journal, no_order)
            payout = await _payout(journal, record)
            click.echo(as_json(payout)) if as_json_ else show([payout], "payout", await _notes(journal, record))
        elif as_json_:
            after = None
            while not reader_has_gone() and (records := await journal.page(after, _PAGE, oid_partner=partner)):
                after = records[-1].no_order
                for record in records:
                    click.echo(as_json(await _payout(journal, record)))
        else:
            await _show_tally(journal, partner)
            await _show_pause(journal, partner)


async def _show_tally(journal: Journal, oid_partner: str | None) -> None:
    table = Table(title="payouts by state", title_justify="left", header_style="bold")
    for name in ("state", "count", "money_order"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for state, tally in sorted((await journal.tally(oid_partner)).items()):
        table.add_row(state, str(tally.count), f"{tally.money:,.2f}")
    console.print(table)


async def _show_pause(journal: Journal, oid_partner: str | None) -> None:
    pause = await journal.tripped(oid_partner) if oid_partner else None
    if pause is not None:
        console.print(Text(f"new money is paused since {pause.at:%Y-%m-%d %H:%M:%S%z} by {pause.by}: {pause.reason}"))


@click.command()
@click.argument("no_order")
@config_option
@json_option
@scale_option
@run_async
async def query(no_order: str, config: Path | None, as_json_: bool, time_scale: float) -> int:
    """Ask the gateway about one payout now, and show what is known then.

    It sends nothing, and works also where the journal's newest entry lies ahead of this machine's clock.
    """
    settings = Settings.load(config)
    async with LianLianClient(
        settings.merchant(), existing_journal(settings), clock=clock_of(time_scale), asks_only=True
    ) as client:
        asked_at = client.clock.now()
        payout = await client.query(no_order)
    click.echo(as_json(payout)) if as_json_ else show([payout], "payout")
    if payout.heard_at is None or payout.heard_at < asked_at:
        complain(f"the gateway at {client.merchant.base_url} gave no usable answer: this is what was known before")
        return 3
    return 0


@click.command()
@config_option
@json_option
@run_async
async def due(config: Path | None, as_json_: bool) -> None:
    """What has not ended yet, and what each payout waits for; of the configured merchant, if one is."""
    payouts: list[Payout] = []
    notes: dict[str, Sequence[str]] = {}
    settings = Settings.load(config)
    async with opened_journal(settings) as journal:
        after = None
        while records := await journal.page(after, _PAGE, oid_partner=settings.oid_partner or None):
            after = records[-1].no_order
            found = [await _payout(journal, record) for record in records]
            payouts += [payout for payout in found if payout.step is not Step.NOTHING]
            notes |= await _notes(journal, *records)
    if as_json_:
        for payout in payouts:
            click.echo(as_json(payout))
    else:
        show(payouts, f"{len(payouts)} payouts wait for something", notes)


@click.command()
@click.argument("code_or_no_order")
@config_option
@run_async
async def explain(code_or_no_order: str, config: Path | None) -> None:
    """What a ret_code means and what is done about it, or which evidence led to a payout's state."""
    word, settings = code_or_no_order, Settings.load(config)
    if not (len(word) == 4 and word.isascii() and word.isdigit()):
        await _explain_payout(settings, word)
        return
    _explain_code(RET_CODES.get(word, UNKNOWN_CODE), word)
    # A payout's own number may look like a code; without a journal that can be read, there is none.
    with suppress(LianLianError):
        await _explain_payout(settings, word)


async def _explain_payout(settings: Settings, no_order: str) -> None:
    async with opened_journal(settings) as journal:
        record = await _load(journal, no_order)
        show([await _payout(journal, record)], "payout", await _notes(journal, record))
        _show_evidence(record)
        for line in contents_of(record):
            console.print(Text(f"content {line}"))
        decision = await _decision(journal, record)
        console.print(f"Row that decided: [bold]{decision.rule.name}[/] ({decision.rule.when})")


def _explain_code(row: RetCode, code: str) -> None:
    console.print(f"[bold]{code}[/] {row.meaning} ({row.gloss})\n{row.remark}")
    table = Table(header_style="bold")
    for name in ("after", "proves", "who acts", "what is done"):
        table.add_column(name, overflow="fold")
    for source in (Source.PAY, Source.CONFIRM, Source.QUERY):
        effect = row.at(source)
        breaker = " New money of the merchant is paused." if effect.breaker else ""
        table.add_row(source, effect.proves, effect.who, effect.advice + breaker)
    console.print(table)
    asks = "asks" if code in QUERY_CODES_OF_THE_SPECIFICATION else "does not ask"
    console.print(
        f"The specification (section 5) {asks} for a query after this code; this library queries after everything "
        "that is not proof, and never sends a new number by itself."
    )


def _show_evidence(record: Record) -> None:
    table = Table(title="evidence, in order", title_justify="left", header_style="bold")
    for name in ("when (+08:00)", "what", "attempt", "news", "proves", "detail"):
        table.add_column(name, overflow="fold")
    lines = [
        (a.started_at, (a.source, str(a.number), "attempt begun", "it may have been sent", a.owner))
        for a in record.attempts
    ]
    for news in record.evidence:
        row = row_of(news)
        detail = " ".join(filter(None, (news.ret_msg, news.detail, news.by)))
        lines.append((news.at, (news.source, str(news.attempt or ""), row.key, row.effect.proves, safe_text(detail))))
    for at, cells in sorted(lines):
        table.add_row(f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}", *(Text(cell) for cell in cells))
    console.print(table)
