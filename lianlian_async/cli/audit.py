"""What the journal says held against what the gateway's own ledger says (the demo's verdict)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from ..payout import Payout
from ..resolver import State
from ..testing.simulator import Entry, Ledger

__all__ = ["Verdict", "audit"]

# The ledger's last word that makes a reported state true. None: the ledger knows no such number.
_TRUE: Final[Mapping[State, frozenset[str | None]]] = {
    State.PAID: frozenset({"paid"}),
    State.REFUNDED: frozenset({"refunded"}),
    State.FAILED: frozenset({"failed"}),
    State.CLOSED: frozenset({"closed"}),
    State.REVIEW: frozenset({"review"}),
    State.IN_PROGRESS: frozenset({"booked", "paid", "failed", "refunded"}),
    # A refused order may have left a bill-less failure in the gateway's books; its number is alive.
    State.REFUSED: frozenset({None, "failed, no bill"}),
    State.UNSENT: frozenset({None}),
    # These two claim nothing about the money.
    State.UNKNOWN: frozenset({None, "booked", "review", "paid", "failed", "failed, no bill", "refunded", "closed"}),
    State.CONFLICT: frozenset({None, "booked", "review", "paid", "failed", "failed, no bill", "refunded", "closed"}),
}


@frozen
class Verdict:
    """What must never happen, by number; money under a number that the journal does not know is misreported, too."""

    paid_twice: tuple[str, ...]
    lost: tuple[str, ...]
    misreported: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.paid_twice or self.lost or self.misreported)


def audit(wanted: Sequence[str], payouts: Sequence[Payout], ledger: Ledger) -> Verdict:
    """`wanted` are the keys of the batch. Lost is a key without a payout, or a payout that neither rests nor ended."""
    by_key = {payout.key: payout for payout in payouts}
    key_of = {payout.no_order: payout.key for payout in payouts}
    last = {entry.no_order: _word(entry) for entry in ledger.entries}
    strangers = {entry.no_order for entry in ledger.entries if entry.event == "paid"} - set(key_of)
    lost = [key for key in wanted if key not in by_key or not by_key[key].at_rest]
    wrong = [p.no_order for p in payouts if last.get(p.no_order) not in _TRUE[p.state]]
    twice = ledger.paid_twice(lambda entry: key_of.get(entry.no_order, entry.no_order))
    return Verdict(tuple(str(intent) for intent in twice), tuple(lost), (*wrong, *sorted(strangers)))


def _word(entry: Entry) -> str:
    """The ledger's event; a failure without a bill is another thing than one with."""
    return entry.event if entry.oid_paybill or entry.event != "failed" else "failed, no bill"
