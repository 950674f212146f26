"""Rules taken away, one at a time, and in the model only: each must end in two payments, or the model is too soft to
prove anything. What is loosened is when a new number may be opened, when the same number goes again, or what the gateway
remembers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from attrs import frozen

from lianlian_async.protocol.ret_codes import Proof, Source
from lianlian_async.resolver import Evidence, Outcome, State

from .client import GRACE, Knowledge, Opens, strictly
from .number import Bounds
from .search import Found, Search

__all__ = ["RELAXATIONS", "Relaxation"]


def _answers(known: Knowledge) -> Iterable[Evidence]:
    return (e for e in known.evidence if e.source is Source.QUERY and e.outcome is Outcome.ANSWERED)


def on_no_record(known: Knowledge) -> bool:
    """A query says 8901, and nothing that is known speaks against it."""
    return any(e.ret_code == "8901" for e in known.view.absent)


def on_patience(known: Knowledge) -> bool:
    """8901 three times, the last one asked after the grace: what permits the *same* number (R2)."""
    ends = [call.deadline_at for call in known.view.attempts]
    last = known.view.absent[-1] if ends and len(known.view.absent) >= 3 else None
    return last is not None and last.ret_code == "8901" and last.asked_at >= max(ends) + GRACE


def on_refusal(known: Knowledge) -> bool:
    """The newest send was refused by a bound answer."""
    return known.view.hint is not None and known.view.hint.effect.proves is Proof.REFUSED


def on_unbilled(known: Knowledge) -> bool:
    """A query has said FAILURE and named no bill."""
    return any(e.result_pay == "FAILURE" and not e.oid_paybill for e in _answers(known))


def on_bill_from_before(known: Knowledge) -> bool:
    """A query has said FAILURE and named no bill, but an earlier answer had named one."""
    billed = min((e.at for e in known.evidence if e.oid_paybill), default=None)
    failures = [e for e in _answers(known) if e.result_pay == "FAILURE" and not e.oid_paybill]
    return billed is not None and any(e.asked_at >= billed for e in failures)


def on_check(known: Knowledge) -> bool:
    """It is held for review."""
    return known.view.state is State.REVIEW


def on_old_check(known: Knowledge) -> bool:
    """It has been held for review for longer than the specification's 30 minutes."""
    held = known.view.held_at
    return on_check(known) and held is not None and known.now - held > timedelta(minutes=30)


def at_once(known: Knowledge) -> bool:
    """One 8901 is enough to send the same number again, without the grace of R2."""
    return known.view.state is State.UNKNOWN and bool(known.view.absent)


@frozen
class Relaxation:
    """One rule less. `steps` is the length of a shortest way to two payments."""

    name: str
    title: str
    lesson: str
    steps: int
    opens: Opens | None = None  # opens a new number, beside what the library allows
    hurries: Opens | None = None  # sends the same number again, beside what the library decides
    forgetful: bool = False
    racy: bool = False
    bounds: Bounds = Bounds(numbers=2, sends=2, copies=2, confirms=0)

    def run(self) -> Found:
        """Look for two payments."""
        more = self.opens
        opens = strictly if more is None else lambda known: more(known) or strictly(known)
        return Search(
            self.bounds, opens, self.hurries, forgetful=self.forgetful, racy=self.racy, until_paid_twice=True
        ).run()  # fmt: skip


RELAXATIONS: Final = (
    Relaxation(
        "no-record", 'After "no record" (8901), a new number',
        "8901 says what one copy of the gateway's data shows now. It permits the same number, never another.", 8, on_no_record,
    ),
    Relaxation(
        "patience", 'After three times "no record", the last one after the grace, a new number',
        "Patience is no proof: no number of 8901 shows that the order does not exist. Repeating them only permits the same number.",
        11, on_patience,
    ),
    Relaxation(
        "refusal", "After a refusal, a new number",
        "A refusal speaks of one copy of one attempt. What emptied the balance may have been the other copy.", 8, on_refusal,
    ),
    Relaxation(
        "unbilled", "After FAILURE without a bill, a new number",
        "That failure belongs to a copy that never became an order. The number lives on, and the next copy of it may be accepted.",
        9, on_unbilled,
    ),
    Relaxation(
        "earlier-bill", "After FAILURE without a bill, where an earlier answer had named the bill, a new number",
        "The bill and the failure can belong to two copies of one request. FAILURE is final only when that very answer names its bill.",
        9, on_bill_from_before,
    ),
    Relaxation(
        "check", "While it is held for review (CHECK), a new number",
        "Held is not failed: a person can confirm it in the portal at any moment.", 8, on_check,
    ),
    Relaxation(
        "old-check", "After half an hour of review, a new number",
        "A window that has passed forbids us to confirm; that the gateway has closed the order, only CLOSED proves.", 9, on_old_check,
    ),
    Relaxation(
        "hurry", "The same number again without the grace, at a gateway that is slow to store (against R2)",
        "Where the gateway looks first and stores later, two copies that meet there are both paid. The grace keeps a resend away "
        "from an earlier copy; with it, the same gateway is safe (world `racy`), as long as no request lives longer than the grace.",
        7, hurries=at_once, racy=True, bounds=Bounds(numbers=1, sends=2, copies=2, confirms=0),
    ),
    Relaxation(
        "forgetful", "A gateway that forgets a number (against A1)",
        "Every rule holds here, and the money leaves twice all the same: the library cannot do without the gateway's memory. "
        "Hence R3 (nothing by itself after 24 hours or five sends), and hence A1 is written down as an assumption.", 6,
        forgetful=True, bounds=Bounds(numbers=1, sends=2, copies=2, confirms=0),
    ),
)  # fmt: skip
