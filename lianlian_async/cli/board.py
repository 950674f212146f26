"""The progress display of a batch: how many rest, how many are under way, in which state, how much money moved."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from ..journal import Record
from ..payout import AT_REST
from ..resolver import State, Step

__all__ = ["Board"]


class Board:
    """A live progress bar fed by the client's observer; on a pipe it prints nothing but the end."""

    def __init__(self, console: Console, total: int, money: Decimal = Decimal("99999999.99")) -> None:
        width = len(f"paid {money:,.2f}")
        self._last: dict[str, tuple[State, Step]] = {}
        self._states: Counter[State] = Counter()
        self._resting = 0
        self._moved = Decimal("0.00")
        roomy = (BarColumn(bar_width=10), TimeElapsedColumn()) if console.width >= 80 else ()
        self._progress = Progress(
            TextColumn("paying"), *roomy, MofNCompleteColumn(),
            TextColumn("{task.fields[moved]}", table_column=Column(no_wrap=True, min_width=width)),
            # As wide as the longest state with its count: states are never broken up.
            TextColumn("{task.fields[states]}", table_column=Column(overflow="fold", min_width=17)),
            console=console, refresh_per_second=5, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("paying", total=total, moved="", states="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def observe(self, record: Record) -> None:
        """Count one payout's change; called by the client after each save."""
        before = self._last.get(record.no_order)
        after = (record.state, record.step)
        if before == after:
            return
        self._last[record.no_order] = after
        if before is not None:
            self._states[before[0]] -= 1
            self._resting -= before[1] in AT_REST
        self._states[record.state] += 1
        self._resting += record.step in AT_REST
        was_paid, is_paid = before is not None and before[0] is State.PAID, record.state is State.PAID
        self._moved += Decimal(record.content["money_order"]) * (is_paid - was_paid)
        states = "  ".join(f"{state} {count}" for state, count in sorted(self._states.items()) if count)
        self._progress.update(self._task, completed=self._resting, moved=f"paid {self._moved:,.2f}", states=states)
