"""The gateway's ledger: what really happened to the money, whatever anybody was told.

One JSON object a line, appended and flushed as it happens, so that another process can read it while
this one runs or after it was killed. `booked` is the acceptance (a bill exists and the merchant's
account is debited), `paid` is the money reaching the payee.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import asdict, field, frozen

from lianlian_async.clock import SHANGHAI

__all__ = ["EVENTS", "Entry", "Ledger", "Summary", "masked_card"]

_PROBE_BYTES: Final = 4096
EVENTS = ("booked", "review", "paid", "failed", "refunded", "closed")


def masked_card(card_no: str) -> str:
    """First six and last four characters; everything when there are too few to hide behind."""
    if len(card_no) < 13:
        return "*" * len(card_no)
    return card_no[:6] + "*" * (len(card_no) - 10) + card_no[-4:]


@frozen
class Entry:
    """One line of the ledger; `oid_paybill` is empty where no bill was ever made."""

    time: datetime
    no_order: str
    event: str
    money_order: Decimal
    card_no: str
    oid_paybill: str = ""

    def as_line(self) -> str:
        """This entry as one line of JSON, times on LianLian's wall clock."""
        members = {
            "time": self.time.astimezone(SHANGHAI).isoformat(timespec="microseconds"),
            "no_order": self.no_order,
            "event": self.event,
            "money_order": format(self.money_order, ".2f"),
            "card_no": self.card_no,
            "oid_paybill": self.oid_paybill,
        }
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Entry:
        """The entry a line stands for; raises ValueError or KeyError for anything else."""
        members: Mapping[str, Any] = json.loads(line)
        return cls(
            time=datetime.fromisoformat(members["time"]),
            no_order=members["no_order"],
            event=members["event"],
            money_order=Decimal(members["money_order"]),
            card_no=members["card_no"],
            oid_paybill=members["oid_paybill"],
        )


@frozen
class Summary:
    """The ledger counted: events, then intents by how often money reached their payee and stayed there."""

    booked: int
    review: int
    paid: int
    failed: int
    refunded: int
    closed: int
    paid_amount: Decimal
    paid_once: int
    paid_twice: int

    def as_dict(self) -> dict[str, int | str]:
        """The same as plain values, the amount as text."""
        return {**asdict(self), "paid_amount": format(self.paid_amount, ".2f")}


def _number(entry: Entry) -> Hashable:
    return entry.no_order


@frozen
class Ledger:
    """Every movement of money and change of state, oldest first.

    `path` is the JSON lines file that is appended to (none: memory only).
    """

    path: Path | None = None
    entries: list[Entry] = field(factory=list, repr=False)
    _file: list[io.FileIO] = field(factory=list, repr=False, init=False)

    @classmethod
    def read(cls, path: Path | str) -> Ledger:
        """The ledger another process writes or wrote; a last line cut off in mid-write is left out."""
        *lines, _unfinished = Path(path).read_text("utf-8").split("\n")
        entries = [Entry.from_line(line) for line in lines if line.strip()]
        return cls(entries=entries)

    def open(self) -> None:
        """Open the file and see that it can be written; raises OSError. `append` opens it by itself."""
        if self.path is None or self._file:
            return
        if self.path.exists() and not self.path.is_file():
            raise OSError(errno.EINVAL, "not an ordinary file", str(self.path))
        _drop_unfinished_line(self.path)
        file = io.FileIO(self.path, "a")
        try:
            _write_whole(file, b" " * _PROBE_BYTES, keep=False)
        except OSError:
            file.close()
            raise
        self._file.append(file)

    def append(self, entry: Entry) -> None:
        """Write one entry, to the file first; raises OSError, and holds nothing of it, when that cannot be written."""
        if self.path is not None:
            # Opened once and kept open: one unbuffered write an entry.
            self.open()
            _write_whole(self._file[0], f"{entry.as_line()}\n".encode())
        self.entries.append(entry)

    def close(self) -> None:
        """Close the file; a later entry opens it again."""
        while self._file:
            self._file.pop().close()

    def of(self, no_order: str) -> tuple[Entry, ...]:
        """Everything that happened to one number."""
        return tuple(entry for entry in self.entries if entry.no_order == no_order)

    def payments(self, no_order: str | None = None) -> tuple[Entry, ...]:
        """The `paid` entries, of one number or of all."""
        return tuple(e for e in self.entries if e.event == "paid" and no_order in (None, e.no_order))

    def paid(self, intent: Callable[[Entry], Hashable] = _number) -> dict[Hashable, int]:
        """How many payments reached and stayed with the payee, by intent (the number, unless told otherwise)."""
        holding: defaultdict[Hashable, set[str]] = defaultdict(set)
        for entry in self.entries:
            if entry.event == "paid":
                holding[intent(entry)].add(entry.oid_paybill)
            elif entry.event == "refunded":
                holding[intent(entry)].discard(entry.oid_paybill)
        return {name: len(bills) for name, bills in holding.items() if bills}

    def paid_twice(self, intent: Callable[[Entry], Hashable] = _number) -> tuple[Hashable, ...]:
        """The intents whose payee holds more than one payment; `intent` names the intent an entry belongs to."""
        return tuple(name for name, count in self.paid(intent).items() if count > 1)

    def states(self) -> dict[str, str]:
        """The last event of every number."""
        return {entry.no_order: entry.event for entry in self.entries}

    def summary(self, intent: Callable[[Entry], Hashable] = _number) -> Summary:
        """The counts; `intent` as in `paid_twice`."""
        events = Counter(entry.event for entry in self.entries)
        holding = self.paid(intent).values()
        return Summary(
            **{name: events[name] for name in EVENTS},
            paid_amount=_net(self.entries),
            paid_once=sum(count == 1 for count in holding),
            paid_twice=sum(count > 1 for count in holding),
        )

    def by_number(self) -> dict[str, list[Entry]]:
        """All entries, grouped by number."""
        groups: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            groups[entry.no_order].append(entry)
        return dict(groups)


def _write_whole(file: io.FileIO, data: bytes, *, keep: bool = True) -> None:
    """Append `data` whole, or not at all; without `keep` only to see that there is room."""
    size = os.fstat(file.fileno()).st_size
    whole = False
    try:
        whole = file.write(data) == len(data)
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file.name))
    finally:
        if not (whole and keep):
            os.ftruncate(file.fileno(), size)


def _drop_unfinished_line(path: Path) -> None:
    """Cut off what a killed process left behind after the last line break, so that no two lines run into one."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with path.open("r+b") as file:
                file.truncate(whole)


def _net(entries: Iterable[Entry]) -> Decimal:
    held: dict[str, Decimal] = {}
    for entry in entries:
        if entry.event == "paid":
            held[entry.oid_paybill] = entry.money_order
        elif entry.event == "refunded":
            held.pop(entry.oid_paybill, None)
    return sum(held.values(), Decimal("0.00"))
