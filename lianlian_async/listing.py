"""One row of a payout statement as news about one payout: bound to it, or at odds with it (docs/rules.md).

The rows come from `reconcile`; what they prove is in the tables of `resolver`. A row about a number that the journal
does not know is kept as an orphan, for the day on which that number is enlisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import frozen

from .clock import Clock
from .journal import Orphan, Record
from .records import known_bills
from .resolver import Evidence, Outcome, Source

__all__ = ["Listing", "is_listing", "listed_as", "news_of_listing", "of_said", "orphan_of"]

_SOURCE: Final = "source"


@frozen(kw_only=True)
class Listing:
    """What a statement says of one payout: paid, or (`refund`) come back. `no_order` is the payout's number,
    `money_order` above zero; `oid_paybill` is None on a refund, whose row does not name the bill; `place` is where it
    stands, for people."""

    oid_partner: str
    no_order: str
    money_order: Decimal
    settle_date: str
    oid_paybill: str | None
    refund: bool
    place: str


def listed_as(listing: Listing, record: Record) -> tuple[str, ...]:
    """What `listing`, which is about this very number, names otherwise than the journal does; it is bound when this is
    empty."""
    bills = known_bills(record)
    agrees = {
        "money_order": listing.money_order == Decimal(record.content["money_order"]),
        "oid_paybill": listing.oid_paybill is None or not bills or listing.oid_paybill in bills,
    }
    return tuple(name for name, same in agrees.items() if not same)


def news_of_listing(listing: Listing, record: Record, clock: Clock) -> Evidence | None:
    """What `listing` is to `record`, or None where the record holds the same news already."""
    now, names = clock.now(), listed_as(listing, record)
    told = ", ".join(f"{name} {getattr(listing, name)}" for name in names)
    news = Evidence(
        Source.STATEMENT, Outcome.MISMATCHED if names else Outcome.ANSWERED, at=now, asked_at=now,
        result_pay="CANCEL" if listing.refund else "SUCCESS", oid_paybill=listing.oid_paybill,
        # The day on which money came back is not the day on which it was paid.
        settle_date=None if listing.refund else listing.settle_date,
        detail=f"{f'differs: {told}; ' if told else ''}{listing.settle_date}: {listing.place}",
    )  # fmt: skip
    return None if any(_words(known) == _words(news) for known in record.evidence) else news


def _words(news: Evidence) -> tuple[object, ...]:
    # The same row stands in a day's file and in the month's: where it stood makes no other news of it.
    differs = (news.detail or "").partition("; ")[0] if news.outcome is Outcome.MISMATCHED else ""
    return news.source, news.outcome, news.result_pay, news.oid_paybill, news.settle_date, differs


def orphan_of(listing: Listing, clock: Clock) -> Orphan:
    """`listing`, about a number that the journal does not know, to be kept."""
    said = {
        _SOURCE: Source.STATEMENT.value, "no_order": listing.no_order, "money_order": str(listing.money_order),
        "settle_date": listing.settle_date, "oid_paybill": listing.oid_paybill or "",
        "refund": "1" if listing.refund else "", "place": listing.place,
    }  # fmt: skip
    return Orphan(listing.oid_partner, listing.no_order, clock.now(), {n: v for n, v in said.items() if v})


def is_listing(said: Mapping[str, str]) -> bool:
    """True when an orphan was told by a statement, and not by a notification."""
    return said.get(_SOURCE) == Source.STATEMENT


def of_said(oid_partner: str, said: Mapping[str, str]) -> Listing:
    """The listing that an orphan stands for."""
    return Listing(
        oid_partner=oid_partner, no_order=said["no_order"], money_order=Decimal(said["money_order"]),
        settle_date=said["settle_date"], oid_paybill=said.get("oid_paybill"), refund="refund" in said,
        place=said["place"],
    )  # fmt: skip
