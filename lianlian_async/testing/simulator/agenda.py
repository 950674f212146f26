"""What is due when: one heap, no clock and no task of its own."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime

__all__ = ["Agenda", "Event"]

Event = Callable[[datetime], None]


class Agenda:
    """Future events in the order of their times; equal times keep the order in which they were put in."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Event]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_at(self) -> datetime | None:
        """When the next event is due, or None."""
        return self._heap[0][0] if self._heap else None

    def put(self, at: datetime, event: Event) -> None:
        """Let `event` happen at `at`; it is called with exactly that moment, however late that is noticed."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, event))

    def run_until(self, now: datetime) -> None:
        """Let everything happen that is due, in order. What raises OSError has not happened, and stays due."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            at, _, event = entry
            try:
                event(at)
            except OSError:
                heapq.heappush(self._heap, entry)
                raise
