"""What a difference is, and how it is told: plain functions over journal records and rows that were found.

The set operations of `workbench` say which rows need a look; what of them differs is decided here, once, on the payout
as it stands in the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from attrs import evolve

from ..clock import SHANGHAI
from ..journal import Record
from ..listing import Listing, listed_as
from ..protocol.fields import mask_card, mask_name, safe_text
from ..resolver import Evidence, Outcome, Source, State, row_of, view_of
from .results import DayTotals, Difference, Kind, Reconciliation
from .statement import Place, StatementName, StatementSummary, yuan
from .workbench import Findings, ListedRow

__all__ = [
    "MOVED",
    "listed_difference",
    "our_date_of",
    "our_difference",
    "possible_days",
    "summary_differences",
    "totals_by_day",
    "verdict",
    "with_balance",
    "worse",
]

# In these states the journal says that money moved, as a statement does.
MOVED: Final = frozenset({State.PAID, State.REFUNDED})
_EVIDENCE_MAX: Final = 30


def verdict(listing: Listing, record: Record) -> tuple[Kind, str] | None:
    """What of a listed payout differs from the journal, the gravest first."""
    names, state = listed_as(listing, record), record.state
    kinds: list[tuple[Kind, str]] = []
    if "money_order" in names:
        kinds.append((Kind.AMOUNT, f"Listed with {listing.money_order:,.2f}, sent with {_amount(record):,.2f}."))
    if "oid_paybill" in names:
        kinds.append((Kind.BILL, f"Listed with bill {listing.oid_paybill}, which is not the gateway's."))
    if listing.refund and state is not State.REFUNDED:
        kinds.append((Kind.REFUND, f"Listed as refunded, and it was {state}."))
    elif state not in MOVED:
        kinds.append((Kind.STATE, f"Listed as paid, and it was {state}."))
    date = our_date_of(record)
    if not listing.refund and date not in (None, listing.settle_date):
        kinds.append((Kind.DATE, f"Listed on {listing.settle_date}, and the gateway told {date}."))
    if not kinds:
        return None
    return kinds[0][0], " ".join(detail for _, detail in kinds)


def possible_days(record: Record) -> list[str]:
    """The days on which a payout can have been paid: from its writing to the news of its end."""
    first, last = record.created_at.astimezone(SHANGHAI), view_of(record.attempts, record.evidence).end_at
    if last is None:
        return []
    span = (last.astimezone(SHANGHAI).date() - first.date()).days
    return [f"{first + timedelta(days=n):%Y%m%d}" for n in range(span + 1)]


_RANKS: Final = {kind: rank for rank, kind in enumerate(Kind)}


def worse(one: Difference, other: Difference) -> Difference:
    """Two rows about one number: the graver, with the places of both."""
    first, second = sorted((one, other), key=lambda d: _RANKS[d.kind])
    return evolve(
        first, state=other.state, before=one.before, places=(*one.places, *other.places),
        detail=first.detail if first.detail == second.detail else f"{first.detail} {second.detail}",
    )  # fmt: skip


def _amount(record: Record) -> Decimal:
    return Decimal(record.content["money_order"])


def our_date_of(record: Record) -> str | None:
    """The settle date that the gateway itself has told of the payment."""
    told = (e for e in record.evidence if e.outcome is Outcome.ANSWERED and e.settle_date)
    own = [e.settle_date for e in told if e.source is not Source.STATEMENT and e.result_pay != "CANCEL"]
    return own[-1] if own else None


def listed_difference(kind: Kind, row: ListedRow, record: Record | None, detail: str, place: str) -> Difference:
    """What differs of a row, with what the journal holds of its payout, if it holds it."""
    told = Difference(
        kind=kind, day=row.day, no_order=row.number, detail=detail, listed_amount=yuan(row.fen), listed_bill=row.bill,
        places=(place,),
    )  # fmt: skip
    return told if record is None else _with_record(told, record)


def our_difference(kind: Kind, record: Record, day: str, detail: str) -> Difference:
    """What differs of a payout that no row of its day lists."""
    told = Difference(
        kind=kind, day=day, no_order=record.no_order, detail=detail, before=record.state, our_date=our_date_of(record)
    )
    return _with_record(told, record)


def _with_record(told: Difference, record: Record) -> Difference:
    view = view_of(record.attempts, record.evidence)
    return evolve(
        told, our_amount=_amount(record), our_bill=told.our_bill or view.oid_paybill, state=record.state,
        before=told.before or record.state, card_no=mask_card(record.content.get("card_no", "")),
        acct_name=mask_name(record.content.get("acct_name", "")), our_date=told.our_date or our_date_of(record),
        evidence=tuple(_line(news) for news in record.evidence[-_EVIDENCE_MAX:]),
    )  # fmt: skip


def _line(news: Evidence) -> str:
    """One piece of evidence as a line: when, from where, what, and what it proves."""
    said = [news.ret_code, news.result_pay, news.oid_paybill, news.settle_date]
    said += [safe_text(news.detail or "") if news.source is Source.STATEMENT else None]
    words = " ".join(word for word in said if word)
    return (
        f"{news.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} {news.source} {news.outcome}"
        f"{f' {words}' if words else ''}: {row_of(news).effect.proves}"
    )


def totals_by_day(days: Sequence[str], findings: Findings, found: Collection[Difference]) -> tuple[DayTotals, ...]:
    """The sums of each day, and how many differences fall on it."""
    counts: dict[str, int] = {}
    for difference in found:
        counts[difference.day] = counts.get(difference.day, 0) + 1
    return tuple(_day(day, findings, counts.get(day, 0)) for day in days)


def _day(day: str, findings: Findings, differences: int) -> DayTotals:
    count, fen, fee = findings.paid.get(day, (0, 0, 0))
    refunds, refunded, back = findings.refunds.get(day, (0, 0, 0))
    ours = findings.ours.get(day, {})
    moved = [ours[state] for state in ours if State(state) in MOVED]
    return DayTotals(
        day=day, count=count, amount=yuan(fen), fee=yuan(fee + back), refunds=refunds, refunded=yuan(refunded),
        our_count=sum(n for n, _ in moved), our_amount=yuan(sum(money for _, money in moved)),
        states={state: n for state, (n, _) in ours.items()}, differences=differences,
    )  # fmt: skip


def summary_differences(
    summaries: Mapping[Path, StatementSummary], findings: Findings, covered: Collection[str]
) -> list[Difference]:
    """The summaries that do not agree with their rows; those of days that were not read are passed over."""
    found = []
    for path, summary in summaries.items():
        name = StatementName.of(path)
        days = name.days if name else ()
        if not days or not set(days) <= set(covered):
            continue
        paid = [findings.paid.get(day, (0, 0, 0)) for day in days]
        back = sum(findings.refunds.get(day, (0, 0, 0))[1] for day in days)
        count, fen = sum(sums[0] for sums in paid), sum(sums[1] for sums in paid)
        # Whether refunds are taken off in it is not published.
        if summary.count != count or summary.amount not in (yuan(fen), yuan(fen - back)):
            detail = (
                f"The summary has {summary.count} of {summary.amount:,.2f}, the rows are {count} of {yuan(fen):,.2f}."
            )
            place = (str(Place(safe_text(path.name), 1)),)
            found.append(Difference(kind=Kind.SUMMARY, day=days[0], detail=detail, places=place))
    return found


def with_balance(result: Reconciliation) -> Reconciliation:
    """`result`, with one difference more where the balances leave something unexplained."""
    left = result.unexplained
    if not left:
        return result
    more = "more" if left > 0 else "less"
    detail = f"The balances are not what the rows come to: {abs(left):,.2f} yuan {more} went out than is listed."
    last = result.days[-1].day if result.days else ""
    return evolve(result, differences=(*result.differences, Difference(kind=Kind.BALANCE, day=last, detail=detail)))
