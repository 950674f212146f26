"""The data that outlives every process: the journal in memory, watched, and restored from the past if need be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from lianlian_async.journal import Change, Record
from lianlian_async.journal.memory import MemoryJournal

__all__ = ["Store"]

Saved = Callable[[Record | None, Record, Change | None], None]


class Store(MemoryJournal):
    """A `MemoryJournal` that shows every write to `saved` at the moment it is durable."""

    def __init__(self, saved: Saved, *, keeps_tail: bool = False) -> None:
        super().__init__()
        self._keeps_tail = keeps_tail
        self._tails: deque[dict[str, Any]] = deque(maxlen=3)
        self._open = True
        self._saved = saved
        self.writes = 0

    async def add(
        self, records: Sequence[Record], *, twins_since: datetime | None = None, meant: Collection[str] = ()
    ) -> list[Record]:
        before = set(self._records)
        stored = await super().add(records, twins_since=twins_since, meant=meant)
        for record in stored:
            if record.no_order not in before and record.no_order in self._records:
                self._show(None, record, None)
        return stored

    async def replace(
        self,
        no_order: str,
        version: int,
        record: Record,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> Record:
        known = record.no_order in self._records
        stored = await super().replace(no_order, version, record, twins_since=twins_since, meant=meant)
        if not known and stored.no_order == record.no_order:
            self._show(None, stored, None)
        return stored

    async def save(
        self,
        no_order: str,
        version: int,
        change: Change,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> int:
        old = self._records.get(no_order)
        new = await super().save(no_order, version, change, twins_since=twins_since, meant=meant)
        self._show(old, self._records[no_order], change)
        return new

    def _show(self, old: Record | None, new: Record, change: Change | None) -> None:
        self.writes += 1
        if self._keeps_tail:
            self._tails.append(self.snapshot())
        self._saved(old, new, change)

    # --- backups

    @property
    def tail(self) -> dict[str, Any] | None:
        """What the disk held a few writes ago."""
        return self._tails[0] if self._tails else None

    @property
    def records(self) -> dict[str, Record]:
        """Everything, by number."""
        return self._records

    def snapshot(self) -> dict[str, Any]:
        """What a backup made now would hold. Records never change, so their containers are copied and they are not."""
        return {name: _copied(value) for name, value in self.__dict__.items() if name not in _KEPT}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Put a backup in the place of what is there."""
        self.__dict__.update({name: _copied(value) for name, value in snapshot.items()})


_KEPT = ("_saved", "writes", "_open", "_tails", "_keeps_tail")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, (list, set)):
        return type(value)(value)
    if type(value).__module__.endswith("journal.memory_shared"):
        twin = object.__new__(type(value))
        twin.__dict__.update({name: _copied(inner) for name, inner in value.__dict__.items()})
        return twin
    return value
