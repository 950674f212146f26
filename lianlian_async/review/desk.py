"""What the page asks of a client: the held payouts, and a person's word on one of them.

`LianLianClient` is a Desk. The page knows no rule about money: whether a word is allowed is the client's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..clock import Clock
from ..payout import Payout
from ..reviewing import Review, Word

__all__ = ["Desk", "Review", "Word"]


class Desk(Protocol):
    """Where held payouts lie, and where people's words are written down and acted upon."""

    @property
    def clock(self) -> Clock:
        """The clock that the deadlines are told by."""

    @property
    def two_person(self) -> bool:
        """True when an approval takes two different people."""

    async def reviews(self) -> Sequence[Review]:
        """All held payouts, the soonest deadline first; asks nobody."""

    async def review(self, no_order: str) -> Review:
        """One held payout, its siblings freshly queried (`unanswered` names those without an answer); raises
        CommandRefused when it is not held (any more)."""

    async def get(self, no_order: str) -> Payout:
        """Any payout, as it is known; raises CommandRefused for a number that is not in the journal."""

    async def approve(self, no_order: str, *, by: str, note: str) -> Payout:
        """Write an approval down and act upon it; raises CommandRefused, BreakerOpen, JournalUnavailable, or
        OutcomeUnknown."""

    async def decline(self, no_order: str, *, by: str, note: str) -> Payout:
        """Write down that it shall not be confirmed; raises CommandRefused or JournalUnavailable."""
