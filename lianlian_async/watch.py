"""How long an unanswered attempt has really been waited for: the wall clock can be set, this cannot.

The grace of rule R2 is measured by the moments in the journal. A clock that is put forward makes them older than they
are; so before a number is sent again, the process that would send it must itself have seen the attempt for as long.
"""

from __future__ import annotations

from .clock import Clock
from .resolver import View
from .resolver.evidence import Attempt
from .resolver.pacing import GRACE_S

__all__ = ["Watch"]


class Watch:
    """One process's own measure of how long it has known of each unanswered attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By no_order: its newest attempt, and when that was first seen. The attempt as a whole, not its number: one
        # that could not be written down, or that a restored backup has forgotten, leaves its number to another.
        self._since: dict[str, tuple[Attempt, float]] = {}

    def left_s(self, no_order: str, view: View) -> float:
        """How many seconds this process must still wait before the number may go again; 0 when none."""
        latest = view.latest
        if not view.open or latest is None or view.final:
            self._since.pop(no_order, None)
            return 0.0
        now = self._clock.steady()
        known, since = self._since.get(no_order, (None, now))
        if known != latest:
            since = now
            self._since[no_order] = latest, since
        lasts_s = (latest.deadline_at - latest.started_at).total_seconds()
        return max(0.0, lasts_s + GRACE_S - (now - since))
