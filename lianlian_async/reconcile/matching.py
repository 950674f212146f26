"""Reconciling: statement files against a client's journal (specification 6, docs/reconciliation.md).

    files ─► reader ─► workbench: set against set ─► only what does not match ─┬─► evidence, through the client
                                                                               └─► `Reconciliation`

What matches costs nothing but its row in a set. What does not match is looked at as it stands in the journal *then*, so
whatever a worker did meanwhile counts. A run may be repeated: news that is on record is not written down again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from attrs import evolve, frozen

from ..client import LianLianClient
from ..errors import ConfigError
from ..listing import Listing
from ..protocol.fields import safe_text
from ..resolver import Source, view_of
from ..scribe import alarms
from .judging import (
    MOVED,
    listed_difference,
    our_date_of,
    our_difference,
    possible_days,
    summary_differences,
    totals_by_day,
    verdict,
    with_balance,
    worse,
)
from .reader import open_statement, read_summary, unreadable
from .results import Difference, Kind, ReadFile, Reconciliation
from .statement import READY_AT, FileKind, Place, StatementError, StatementName, days_of, settle_day, yuan
from .workbench import Findings, ListedRow, Workbench

__all__ = ["reconcile"]

# What is not in a day's statement may come a day later.
_WAIT: Final = timedelta(days=2)
_AT_A_TIME: Final = 100
_DOUBTFUL_ROWS: Final = 1000


@frozen
class _Run:
    """One run: what is compared, and the place of every row by the number of its file."""

    client: LianLianClient
    names: Sequence[str]
    covered: frozenset[str]
    now: datetime

    def place(self, row: ListedRow) -> str:
        return str(Place(self.names[row.file], row.line))

    def listing(self, row: ListedRow) -> Listing:
        return Listing(
            oid_partner=self.client.merchant.oid_partner, no_order=row.number, money_order=yuan(row.fen),
            settle_date=row.day, oid_paybill=row.bill, refund=bool(row.refund), place=self.place(row),
        )  # fmt: skip


async def reconcile(
    client: LianLianClient,
    files: Sequence[Path | str],
    *,
    period: str | None = None,
    opening: Decimal | None = None,
    closing: Decimal | None = None,
    scratch: Path | None = None,
    doubtful_ok: bool = False,
) -> Reconciliation:
    """Hold statements (FKMX, and their summaries FKMXSUM) against the journal of `client`, which must be open.

    What a statement lists and the journal does not say becomes evidence, and states follow it; what else differs is
    reported. `period` (YYYYMMDD or YYYYMM) is what files without LianLian's name cover, by default their rows' days;
    `opening` and `closing` are the account's balances in yuan. `scratch` is a folder with room for what the files take.
    Evidence is for ever: where more than a thousand rows, and most of all, differ, this is hardly the journal's
    statement, and ConfigError is raised before anything is taken in, unless `doubtful_ok` says that it is.
    Raises StatementError (nothing was taken in then), ConfigError, JournalUnavailable.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ConfigError("no statement was given: name at least one file")
    if period is not None and not days_of(period):
        raise ConfigError(f"there is no day or month {safe_text(period)}: write it as YYYYMMDD or YYYYMM")
    partner = client.merchant.oid_partner
    summaries = {path: await to_thread.run_sync(read_summary, path, partner) for path in paths if _is_summary(path)}
    rows = [path for path in paths if path not in summaries]
    if not rows:
        raise ConfigError("only summaries were given: name the statement with the rows (FKMX) as well")
    with _scratch(scratch) as folder:
        work = partial(_compared, paths=rows, oid_partner=partner, period=period)
        read, days, findings = await client.journal.beside(Path(folder) / "statement.db", work)
    if not doubtful_ok:
        _require_likely(read, findings)
    run = _Run(client, [file.name for file in read], frozenset(days), client.clock.now())
    found, waiting = await _judged(run, findings)
    found += summary_differences(summaries, findings, run.covered)
    result = Reconciliation(
        oid_partner=partner, files=tuple(read), days=totals_by_day(days, findings, found), differences=tuple(found),
        waiting=tuple(waiting), opening=opening, closing=closing,
    )  # fmt: skip
    return with_balance(result)


def _require_likely(read: Sequence[ReadFile], findings: Findings) -> None:
    rows, differ = sum(file.rows for file in read), len(findings.leftovers)
    if differ > _DOUBTFUL_ROWS and differ * 2 > rows:
        raise ConfigError(
            f"{differ:,} of {rows:,} rows differ from this journal: is it the right one, and are these its statements? "
            "Nothing was taken in; if both are right (a restored backup), say so with --doubtful-ok"
        )


def _scratch(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="lianlian-reconcile-", dir=folder)
    except OSError as error:
        where = "the folder for temporary files" if folder is None else safe_text(str(folder), limit=500)
        raise ConfigError(f"{where} cannot be used ({error.strerror}): set TMPDIR to one with room") from error


def _is_summary(path: Path) -> bool:
    name = StatementName.of(path)
    return name is not None and name.kind is FileKind.FKMXSUM


# ---------------------------------------------------------------------- sets


def _compared(
    db: object, *, paths: Sequence[Path], oid_partner: str, period: str | None
) -> tuple[list[ReadFile], list[str], Findings]:
    bench, read, covered = Workbench(db), [], set[str]()  # type: ignore[arg-type]
    for number, path in enumerate(paths):
        file, days = _put(bench, number, path, oid_partner, period)
        read.append(file)
        covered |= days
    return read, sorted(covered), bench.compare(oid_partner, sorted(covered), overlapping=len(paths) > 1)


def _put(bench: Workbench, number: int, path: Path, oid_partner: str, period: str | None) -> tuple[ReadFile, set[str]]:
    name = StatementName.of(path)
    own = name.period if name is not None else period
    days, count, file = set(days_of(own)) if own else set[str](), 0, safe_text(path.name)
    try:
        with path.open("rb") as stream:
            statement = open_statement(stream, path, oid_partner)
            for chunk in statement.chunks():
                told = set(chunk.days)
                if own and not told <= days:
                    line = next(n for n, day in zip(chunk.lines, chunk.days, strict=True) if day not in days)
                    raise StatementError(Place(file, line), f"a settle date outside {own}, which this file covers")
                days |= told
                count += len(chunk.lines)
                bench.put(number, chunk)
    except OSError as error:
        raise unreadable(path, error) from error
    return ReadFile(file, statement.encoding, count), days


# ---------------------------------------------------------------------- one by one


async def _judged(run: _Run, findings: Findings) -> tuple[list[Difference], list[Difference]]:
    """The differences, in the order of days and numbers, and what may still be listed."""
    found = await _all_listed(run, findings.leftovers)
    for number, rows in findings.twice.items():
        found[number] = await _twice(run, number, rows, found.get(number))
    waiting: list[Difference] = []
    for number, day in [*findings.missing, *((number, "") for number in findings.undated)]:
        if number not in found:
            difference = await _missing(run, number, day)
            if difference is not None:
                if _is_late(run, difference):
                    found[number] = difference
                else:
                    waiting.append(difference)
    return sorted(found.values(), key=lambda d: (d.day, d.no_order)), waiting


async def _all_listed(run: _Run, leftovers: Sequence[ListedRow]) -> dict[str, Difference]:
    """Many payouts at a time, so that one COMMIT carries many; the rows of one payout one after the other."""
    of_number: dict[str, list[ListedRow]] = {}
    for row in leftovers:
        of_number.setdefault(row.number, []).append(row)
    groups, found = list(of_number.values()), {}
    for at in range(0, len(groups), _AT_A_TIME):
        some = await asyncio.gather(*(_listed_rows(run, rows) for rows in groups[at : at + _AT_A_TIME]))
        found.update({one.no_order: one for one in some if one is not None})
    return found


async def _listed_rows(run: _Run, rows: Sequence[ListedRow]) -> Difference | None:
    known: Difference | None = None
    for row in rows:
        difference = await _listed(run, row)
        if difference is not None:
            known = difference if known is None else worse(known, difference)
    return known


async def _listed(run: _Run, row: ListedRow) -> Difference | None:
    """Take one row that does not match as evidence, and say what differs; None if nothing does any more."""
    listing, journal = run.listing(row), run.client.journal
    before = await journal.load(row.number)
    after = await run.client.take_listing(listing)
    if before is None or after is None:
        what = "A refund of a payout" if listing.refund else "A payout"
        return listed_difference(Kind.FOREIGN, row, None, f"{what} that this journal does not know.", run.place(row))
    said = verdict(listing, before)
    if said is None:
        return None
    kind, detail = said
    told = listed_difference(kind, row, after, detail, run.place(row))
    return evolve(
        told, before=before.state, our_date=our_date_of(before), our_bill=view_of((), before.evidence).oid_paybill
    )


async def _twice(run: _Run, number: str, rows: Sequence[ListedRow], known: Difference | None) -> Difference:
    record = await run.client.journal.load(number)
    places = tuple(run.place(row) for row in rows)
    what = "refunds" if all(row.refund for row in rows) else "rows"
    bills = sorted({row.bill for row in rows if row.bill})
    named = f", with bills {' and '.join(bills)}" if len(bills) > 1 else ""
    detail = f"Listed twice: {len(rows)} {what}{named}."
    if known is not None and known.kind is Kind.FOREIGN:
        return evolve(known, detail=f"{known.detail} {detail}", places=places)
    told = listed_difference(Kind.TWICE, rows[0], record, detail, places[0])
    if known is not None:
        told = evolve(told, detail=f"{detail} {known.detail}", before=known.before, our_date=known.our_date)
    return evolve(told, places=places)


async def _missing(run: _Run, number: str, day: str) -> Difference | None:
    """A payout that should be in a file that was read, and is not; None if that cannot be said."""
    record = await run.client.journal.load(number)
    if record is None or record.state not in MOVED:
        return None
    listings = [e for e in record.evidence if e.source is Source.STATEMENT and e.settle_date]
    elsewhere = next((e for e in listings if e.settle_date != day), None)
    if elsewhere is not None and day:
        detail = f"Not listed on {day}, which the gateway told, but on {elsewhere.settle_date}."
        return our_difference(Kind.DATE, record, day, detail)
    if not day:
        # The gateway told no date: it is missing only if each day on which it can have been paid was read.
        spans = possible_days(record)
        if listings or not spans or not run.covered.issuperset(spans):
            return None
        day = spans[-1]
    return our_difference(Kind.MISSING, record, day, "Paid, and not in the statement of its day.")


def _is_late(run: _Run, difference: Difference) -> bool:
    """Is it time to call somebody? A day's file may lag a day behind."""
    day = settle_day(difference.day)
    if difference.kind is not Kind.MISSING or day is None:
        return True
    late = run.now >= datetime.combine(day + _WAIT, READY_AT)
    if late:
        alarms.warning("%s: paid on %s, and in no statement", difference.no_order, difference.day)
    return late
