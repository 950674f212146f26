"""How things look, and what a held payout's case is for the person who reads it: plain values for the templates."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from ..clock import SHANGHAI
from ..protocol.fields import is_date_time, safe_text
from ..resolver import Step
from ..resolver.permits import same_person
from .desk import Review

__all__ = ["FILTERS", "Standing", "first_approver", "seen", "standing"]

# Below this many minutes a deadline is shown as urgent.
_URGENT_MINUTES: Final = 5
_TEXT_CHARACTERS_MAX: Final = 500


class Standing(StrEnum):
    """What this person can do about a held payout now; all but OPEN and WAITS say why it cannot be approved."""

    OPEN = "open"
    WAITS = "waits"  # for this person's approval, as the second
    OWN = "own"  # for somebody else's approval
    DECLINED = "declined"
    CONFIRMING = "confirming"  # a confirmation may have left, and what it did is being asked
    EXPIRED = "expired"
    NO_CODE = "no_code"
    NO_TRIES = "no_tries"
    REFUSED = "refused"

    @property
    def may_approve(self) -> bool:
        """Whether the form to approve is shown."""
        return self in (Standing.OPEN, Standing.WAITS)


def first_approver(review: Review) -> str | None:
    """Who has approved it already, where it waits for another person."""
    return next(iter(review.approvals), None)


def standing(review: Review, who: str, now: datetime, *, two_person: bool) -> Standing:
    """What `who` can do about it now. The client has the last word; this decides what is offered."""
    if any(not word.approves for word in review.words):
        return Standing.DECLINED
    if review.payout.step is Step.QUERY:
        return Standing.CONFIRMING
    if review.confirm_until is None:
        return Standing.NO_CODE
    if now >= review.confirm_until:
        return Standing.EXPIRED
    if review.tries_left <= 0:
        return Standing.NO_TRIES
    first = first_approver(review) if two_person else None
    if first is not None and same_person(first, who):
        return Standing.OWN
    if review.refusal is not None:
        return Standing.REFUSED
    return Standing.OPEN if first is None else Standing.WAITS


def seen(review: Review) -> str:
    """A digest of what the decision rests on and may change: the siblings' states, and what people said."""
    facts = [f"{sibling.no_order}={sibling.state}" for sibling in review.siblings]
    facts.append(f"{review.more_siblings} more")
    facts += [f"{word.by}={word.at.isoformat()}={word.approves}" for word in review.words]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def _hour(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%H:%M:%S}"


def _order_time(dt_order: str) -> str:
    """`20261123100000` as a person reads it."""
    if not is_date_time(dt_order):
        return _shown(dt_order)
    day, hour = dt_order[:8], dt_order[8:]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {hour[:2]}:{hour[2:4]}:{hour[4:]}"


def _shown(text: object) -> str:
    """Text from elsewhere: what cannot be seen is made visible (the template escapes the rest)."""
    return safe_text(str(text), limit=_TEXT_CHARACTERS_MAX)


def _urgent(minutes: int) -> bool:
    return minutes < _URGENT_MINUTES


FILTERS: Final = {
    "money": _money,
    "moment": _moment,
    "hour": _hour,
    "order_time": _order_time,
    "shown": _shown,
    "urgent": _urgent,
}
