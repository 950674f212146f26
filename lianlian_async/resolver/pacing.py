"""When the next query is due, when a resend is due, and when to give up asking.

The specification says that a payout usually ends within two hours and gives no rhythm; these figures are
the library's own. All of them are seconds of the injected clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

__all__ = [
    "ASK_FOR_S",
    "FRESH_S",
    "GRACE_ANSWERS",
    "GRACE_S",
    "QUERY_OFFSETS_S",
    "WATCH_OFFSETS_S",
    "next_query",
    "wait_s",
]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400

# Rule R2: how long, and how often, "no record" must hold before an unanswered attempt is repeated.
GRACE_S: Final = 300
GRACE_ANSWERS: Final = 3
# A "no record" older than this says nothing about now; it is asked again before anything is sent.
FRESH_S: Final = 300
# Two queries of one payout are never closer than this.
QUERY_GAP_S: Final = 1
# Rule R3: no resend by itself beyond these; how long the gateway remembers numbers is not published.
RESEND_FOR_S: Final = _DAY
SENDS_MAX: Final = 5
# After this, a person takes over.
ASK_FOR_S: Final = 7 * _DAY
# APPLY for longer than this "should not happen, call us" (the vendor).
APPLY_ALARM_S: Final = 10 * _MINUTE
# A record that was shown and then denied for this long is a person's matter.
DENIED_S: Final = 30 * _MINUTE

QUERY_OFFSETS_S: Final[Sequence[int]] = (
    2, 5, 15, 30, 60, 120, 300,
    *range(10 * _MINUTE, 2 * _HOUR + 1, 10 * _MINUTE),
    *range(3 * _HOUR, 24 * _HOUR + 1, _HOUR),
    *range(2 * _DAY, 7 * _DAY + 1, _DAY),
)  # fmt: skip
# A paid order is watched for a later refund (specification 8, question 2).
WATCH_OFFSETS_S: Final[Sequence[int]] = (_DAY, 3 * _DAY, 7 * _DAY)
# 4014 asks for the same number again after these; unsent attempts back off like this.
RECREATE_AFTER_S: Final[Sequence[int]] = (60, 300, 900)
RECONNECT_AFTER_S: Final[Sequence[int]] = (2, 5, 15, 30, 60, 120, 300, 600)


def next_query(anchor: datetime, asked: datetime | None, offsets: Sequence[int] = QUERY_OFFSETS_S) -> datetime | None:
    """The first moment of the schedule after `asked`; None when the schedule is used up.

    A moment that lies in the past means "now": what was missed while nobody ran is not repeated.
    """
    done = timedelta(0) if asked is None else max(asked - anchor, timedelta(0))
    at = bisect_right(offsets, done.total_seconds())
    return anchor + timedelta(seconds=offsets[at]) if at < len(offsets) else None


def wait_s(times: int, waits: Sequence[int]) -> int:
    """How long to wait before the next try after `times` tries (1 and up)."""
    return waits[min(times, len(waits)) - 1]
