"""What may a person do to this payout now? Each question is answered with the reason why not, or None.

Pure, as the rest of the resolver. A review (specification 3.2, 8) is approved or declined, refused content is
amended under the same number (rule R5), a dead number is replaced (rule R4).

The gateway gives six tries within 30 minutes. Ours are counted and timed more strictly, and both only ever
forbid *us* to confirm: a review that is too old for us can still be confirmed in the merchant portal, so
neither proves that it is closed.

    approve ──► query says CHECK ──► journal: approved by, confirm begun ──► confirmPayment ──► query
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from ..protocol.ret_codes import Proof, Then
from .evidence import Evidence, Outcome, row_of
from .states import State, View

__all__ = [
    "CONFIRM_TRIES_MAX",
    "approvals",
    "confirm_until",
    "declined",
    "refusal_to_amend",
    "refusal_to_approve",
    "refusal_to_confirm",
    "refusal_to_decline",
    "refusal_to_replace",
    "same_person",
    "shows_nothing",
]

CONFIRM_TRIES_MAX: Final = 6
# Five minutes less than the specification's 30: clocks differ, and a confirm takes its time.
_CONFIRM_WITHIN: Final = timedelta(minutes=25)


def confirm_until(view: View) -> datetime | None:
    """The last moment at which we may confirm; None when there is no code to confirm with.

    It counts from when the call was made whose answer brought the code: the code cannot be older than that.
    """
    return None if view.code_at is None or view.confirm_code is None else view.code_at + _CONFIRM_WITHIN


def declined(view: View) -> Evidence | None:
    """Who declined it, if anybody did: that stays."""
    return next((word for word in view.words if word.outcome is Outcome.DECLINED), None)


def approvals(view: View) -> tuple[Evidence, ...]:
    """Approvals that no confirm has used up yet: the word that was the last one needed names its confirm."""
    used = max((i for i, word in enumerate(view.words, start=1) if word.attempt is not None), default=0)
    return tuple(word for word in view.words[used:] if word.outcome is Outcome.APPROVED)


def refusal_to_decline(view: View) -> str | None:
    """Why it cannot be declined now, or None."""
    if view.state is not State.REVIEW:
        return f"it is {view.state}, and not under review"
    if view.confirming:
        return "it has been confirmed, and what became of that is not known yet: it is being queried"
    word = declined(view)
    return f"{word.by} has declined it already" if word else None


def refusal_to_approve(view: View, now: datetime, by: str | None = None) -> str | None:
    """Why `by` (left out: anybody) cannot approve it now, or None."""
    refusal = refusal_to_decline(view)
    if refusal is not None:
        return refusal
    if view.confirm is not None and view.confirm.effect.proves is Proof.REVIEW:
        return view.confirm.effect.advice
    until = confirm_until(view)
    if until is None:
        return "its confirm_code was lost with an answer: decide it in the merchant portal, or wait until it closes"
    if now > until:
        return "it is too late to confirm it here: decide it in the merchant portal, or wait until it closes"
    if view.confirms >= CONFIRM_TRIES_MAX:
        return "all six tries to confirm it are used up: it will be closed"
    if by is not None and any(same_person(word.by or "", by) for word in approvals(view)):
        return f"{by} has approved it already: another person must be the second"
    return None


def refusal_to_confirm(view: View, queries: Sequence[Evidence], *, since: datetime, two_person: bool) -> str | None:
    """Why an approval that was given at `since`, and may be given, does not lead to a confirm now, or None.

    `queries` are the payout's, oldest first. CHECK must have been said to a question that was asked after the approval
    was given (an older one says nothing about now), and with two people one of them must have approved before.
    """
    asked = [e for e in queries if e.outcome is Outcome.ANSWERED and e.asked_at >= since]
    if not asked or row_of(asked[-1]).effect.proves is not Proof.REVIEW:
        return "the gateway did not say just now that it is still under review"
    if two_person and not approvals(view):
        return "no other person's approval is left: a confirm has used it up"
    return None


# Marks and letters that show nothing, beside the controls and formats that Unicode has a category for.
_SHOWS_NOTHING: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810),
              *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)  # fmt: skip


def shows_nothing(char: str) -> bool:
    """Whether a character of a name cannot be seen (a blank can)."""
    return char in _SHOWS_NOTHING or unicodedata.category(char) in ("Cc", "Cf", "Cs")


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: "chen" does not become a second person by signing as "Chen", in full width
    letters, with two blanks or with something that cannot be seen."""
    return _bare(one) == _bare(other)


def _bare(name: str) -> str:
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    blanks = "".join(char if char.isspace() or not shows_nothing(char) else "" for char in plain)
    return unicodedata.normalize("NFKC", " ".join(blanks.split()))


def refusal_to_amend(view: View) -> str | None:
    """Why its content cannot be corrected now, or None (rule R5).

    Only where nobody can still hold the old content: a single attempt, turned away for its content by a bound
    answer, and a query that says "no record".
    """
    if view.state is not State.REFUSED:
        return f"it is {view.state}: only what was refused for its content can be corrected"
    if len(view.attempts) != 1:
        return f"it was sent {len(view.attempts)} times: which content the gateway holds is not certain any more"
    if view.hint is None or view.hint.effect.then is not Then.AMEND or view.hint.effect.proves is not Proof.REFUSED:
        return "it was not refused for its content"
    if view.unbilled or not any(word.ret_code == "8901" for word in view.absent):
        return "no query has said yet that the gateway has no record of it"
    return None


def refusal_to_replace(view: View) -> str | None:
    """Why it cannot get a new number now, or None (rules R4 and R8)."""
    if view.replaceable:
        return None
    if view.state in (State.FAILED, State.CLOSED, State.REFUNDED):
        return f"that it is {view.state} was only notified: a query must agree first"
    return f"it is {view.state}, and its number may still pay: only a number that is proven dead is replaced"
