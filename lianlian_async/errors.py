"""The exceptions, and what each one proves about the money.

    LianLianError
    ├── NothingSent              no byte of this call left; the payout is as it was
    │   ├── ConfigError          the set-up is wrong (keys, addresses, clocks, packages)
    │   ├── InvalidOrder         a field breaks the specification; names field and section
    │   ├── OrderConflict        this key or number already stands for other content
    │   ├── DuplicateSuspected   the same card and amount under another key: needs an explicit yes
    │   ├── CommandRefused       the decision table does not allow this move now
    │   ├── BreakerOpen          new money is paused for this merchant
    │   └── JournalUnavailable   could not be written down, so it was not sent
    ├── OutcomeUnknown           bytes may have left, and no proof could be kept: query first
    ├── MessageRejected          a message that is not provably LianLian's; never an outcome
    └── NotificationRefused      a notification that must not be acknowledged

Business outcomes (paid, failed, under review ...) are values, never exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

__all__ = [
    "BreakerOpen",
    "CommandRefused",
    "ConfigError",
    "DuplicateSuspected",
    "InvalidOrder",
    "JournalUnavailable",
    "LianLianError",
    "MessageRejected",
    "NothingSent",
    "NotificationRefused",
    "OrderConflict",
    "OutcomeUnknown",
    "Refusal",
    "Rejection",
]


class LianLianError(Exception):
    """The root: everything this library raises on purpose."""


class NothingSent(LianLianError):
    """No byte of this call left this machine; the payout is as it was before."""


class ConfigError(NothingSent):
    """The set-up is wrong; the message says what and how to put it right."""


class InvalidOrder(NothingSent):
    """A field of the order breaks the specification.

    `field` is the wire's name, `problem` describes the value (masked), `remedy` the way out and
    `section` the place in the specification.
    """

    def __init__(self, field: str, problem: str, remedy: str, section: str = "3.1") -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        self.section = section
        super().__init__(f"{field}: {problem}; {remedy} (specification {section})")

    def __reduce__(self) -> tuple[type[InvalidOrder], tuple[str, str, str, str]]:
        return type(self), (self.field, self.problem, self.remedy, self.section)


class OrderConflict(NothingSent):
    """This key or number already stands for a payout with other content."""


class DuplicateSuspected(NothingSent):
    """The same card and amount was asked for under another key: within 24 hours, or it may still be paid. Nothing was
    written or sent.

    `twins` maps each new `no_order` to the numbers of the payouts that it looks like. If it is meant all the same,
    ask again with `duplicate_ok=True`.
    """

    def __init__(self, twins: Mapping[str, Sequence[str]]) -> None:
        self.twins = dict(twins)
        first, numbers = next(iter(self.twins.items()))
        more = f" (and {len(self.twins) - 1} more like it)" if len(self.twins) > 1 else ""
        super().__init__(
            f"{first} pays the same amount to the same card as {', '.join(numbers[:3])}, asked for or sent within 24 "
            f"hours or not ended yet{more}: "
            "nothing was sent; if both are meant, say so with duplicate_ok"
        )

    def __reduce__(self) -> tuple[type[DuplicateSuspected], tuple[dict[str, Sequence[str]]]]:
        return type(self), (self.twins,)


class CommandRefused(NothingSent):
    """The decision table does not allow this move in the payout's present state."""


class BreakerOpen(NothingSent):
    """New money is paused for this merchant; queries go on."""


class JournalUnavailable(NothingSent):
    """The journal could not be written, therefore nothing was sent."""


class OutcomeUnknown(LianLianError):
    """Bytes may have left and no trustworthy answer came back: query before anything else."""


class Rejection(StrEnum):
    """Why a message is not provably LianLian's. None of them says anything about the order."""

    UNREADABLE = "unreadable"  # not JSON, truncated, duplicate members, too deep, too large, wrong shape
    UNSIGNED = "unsigned"  # no `sign`, or a `sign_type` other than RSA
    BAD_SIGNATURE = "bad signature"


class MessageRejected(LianLianError):
    """A message that is not provably LianLian's: a hint at best, never an outcome."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")

    def __reduce__(self) -> tuple[type[MessageRejected], tuple[Rejection, str]]:
        return type(self), (self.reason, self.detail)


class Refusal(StrEnum):
    """Why a notification is not acknowledged. For counters and our own log: the sender is never told."""

    OVERSIZE = "oversize"
    MALFORMED = "malformed"  # not one plain JSON object, or a field of a wrong shape
    OTHER_MERCHANT = "other merchant"
    UNSIGNED = "unsigned"  # no `sign`, or a `sign_type` other than RSA
    BAD_SIGNATURE = "bad signature"
    UNKNOWN_RESULT = "unknown result"  # a `result_pay` that is never notified
    UNKNOWN_ORDER = "unknown order"  # genuine, and the number is not in the journal: kept as an orphan
    CONTRADICTION = "contradiction"  # genuine, written down, and at odds with what is known of the payout
    JOURNAL_DOWN = "journal down"
    # What only somebody who holds the connection can see:
    LATE = "late"  # the body, or the journal, took longer than the sender waits
    CUT_OFF = "cut off"  # the sender went away in the middle of the body
    NOT_READY = "not ready"  # the client is not open yet, or not any more


class NotificationRefused(LianLianError):
    """A notification that must not be acknowledged; the same for every cause towards the sender.

    `reason` is for counters and our own log, and so is the text: never show either to the sender.
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")

    def __reduce__(self) -> tuple[type[NotificationRefused], tuple[Refusal, str]]:
        return type(self), (self.reason, self.detail)
