"""Everything that can go wrong between an answer and its reader, as a table, and profiles that draw from it.

A fault says two things: what the gateway does with the request (now, never, later, or now and once more
later), and what the caller gets to see. At most one fault hits a call. Which one depends only on the
seed, the endpoint, the number and how many calls of that endpoint the number has had.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from attrs import field, frozen

from .draw import Draw

__all__ = ["FAULTS", "NOTICE_FAULTS", "PROFILES", "Does", "Fault", "Faults", "Shows"]


class Does(StrEnum):
    """What becomes of the request."""

    NOW = "now"
    NEVER = "never"
    LATE = "late"  # a copy is carried out 10 s to 600 s later
    TWICE = "twice"  # carried out now, and a copy of it once more later


class Shows(StrEnum):
    """What the caller gets to see."""

    ANSWER = "answer"  # the genuine answer, or the fault's ret_code in its place
    CLOSE = "close"  # the connection ends without an answer
    RESET = "reset"  # the connection is reset
    HANG = "hang"  # nothing, until the caller gives up
    SLOW = "slow"  # the genuine answer, dripping
    TRUNCATED = "truncated"  # half of the genuine answer
    GARBAGE = "garbage"  # status 200 and noise
    HTML = "html"  # a web page, with the fault's status
    OVERSIZED = "oversized"  # a genuine signature over more than 64 KiB
    UNSIGNED = "unsigned"  # the genuine answer without its `sign`
    BAD_SIGN = "bad sign"  # the genuine answer with another `sign`
    FORGED_REFUSAL = "forged refusal"  # an unsigned 1004 in place of the answer
    OTHER = "other"  # the genuine answer of another order


@frozen
class Fault:
    """One way for a call to go wrong."""

    does: Does
    shows: Shows
    ret_code: str | None = None
    status: int = 200
    lagging: bool = False  # queries only: read from a copy that is up to three seconds behind


def _table() -> dict[str, Fault]:
    faults = {
        "late_close": Fault(Does.LATE, Shows.CLOSE),
        "late_hang": Fault(Does.LATE, Shows.HANG),
        "late_502": Fault(Does.LATE, Shows.HTML, status=502),
        "late_9999": Fault(Does.LATE, Shows.ANSWER, "9999"),
        "echo": Fault(Does.TWICE, Shows.ANSWER),
        "echo_close": Fault(Does.TWICE, Shows.CLOSE),
        "lag": Fault(Does.NOW, Shows.ANSWER, lagging=True),
        # These two codes describe themselves: 4012 keeps nothing, 4014 keeps an order that failed.
        "4012": Fault(Does.NEVER, Shows.ANSWER, "4012"),
        "4014": Fault(Does.NOW, Shows.ANSWER, "4014"),
        "slow": Fault(Does.NOW, Shows.SLOW),
        "truncated": Fault(Does.NOW, Shows.TRUNCATED),
        "garbage": Fault(Does.NOW, Shows.GARBAGE),
        "html": Fault(Does.NOW, Shows.HTML),
        "oversized": Fault(Does.NOW, Shows.OVERSIZED),
        "unsigned": Fault(Does.NOW, Shows.UNSIGNED),
        "bad_sign": Fault(Does.NOW, Shows.BAD_SIGN),
        "forged_refusal": Fault(Does.NOW, Shows.FORGED_REFUSAL),
        "other_order": Fault(Does.NOW, Shows.OTHER),
    }
    for name, does in (("before", Does.NEVER), ("after", Does.NOW)):
        for shows in (Shows.CLOSE, Shows.RESET, Shows.HANG):
            faults[f"{shows}_{name}"] = Fault(does, shows)
        for status in (500, 502, 503, 429):
            faults[f"{status}_{name}"] = Fault(does, Shows.HTML, status=status)
        # Codes that leave open whether anything happened come in both kinds.
        for ret_code in ("9999", "4006", "4007", "2005", "1002"):
            faults[f"{ret_code}_{name}"] = Fault(does, Shows.ANSWER, ret_code)
    return faults


FAULTS: Mapping[str, Fault] = MappingProxyType(_table())

# What can happen to a notification on its way. "late" is a minute.
NOTICE_FAULTS = frozenset({"lost", "duplicate", "late", "unsigned", "bad_sign"})


def _probabilities(value: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(value))


@frozen
class Faults:
    """A profile: the probability of every fault, by call.

    `pay`, `confirm` and `query` name rows of `FAULTS`, `notify` names of `NOTICE_FAULTS`; each mapping's
    sum is at most 1. The shares are of orders, not of calls. Raises ValueError for an unknown name.
    """

    name: str = "own"
    pay: Mapping[str, float] = field(factory=dict, converter=_probabilities)
    confirm: Mapping[str, float] = field(factory=dict, converter=_probabilities)
    query: Mapping[str, float] = field(factory=dict, converter=_probabilities)
    notify: Mapping[str, float] = field(factory=dict, converter=_probabilities)
    late_s: tuple[float, float] = (10.0, 600.0)
    lag_s: tuple[float, float] = (0.0, 3.0)
    failure_share: float = 0.0
    cancel_share: float = 0.0
    name_mismatch_share: float = 0.0
    check_duplicates: bool = True

    def __attrs_post_init__(self) -> None:
        for call, known in (("pay", FAULTS), ("confirm", FAULTS), ("query", FAULTS), ("notify", NOTICE_FAULTS)):
            odds = self.of(call)
            if unknown := set(odds) - set(known):
                raise ValueError(f"{call}: no such fault: {', '.join(sorted(unknown))}")
            if sum(odds.values()) > 1 + 1e-9 or min(odds.values(), default=0.0) < 0:
                raise ValueError(f"{call}: probabilities must be between 0 and 1 together")

    def of(self, call: str) -> Mapping[str, float]:
        """The probabilities for one kind of call: pay, confirm, query or notify."""
        odds: Mapping[str, float] = getattr(self, call)
        return odds

    def share(self, call: str) -> float:
        """How many of these calls are hit by anything."""
        return sum(self.of(call).values())

    def draw(self, draw: Draw, call: str, no_order: str, index: int | str) -> str | None:
        """The fault that hits this call, or None."""
        odds = self.of(call)
        point = draw.fraction("fault", call, no_order, index) if odds else 1.0
        for name, probability in odds.items():
            point -= probability
            if point < 0:
                return name
        return None

    def scaled(self, factor: float) -> Faults:
        """The same profile with every probability multiplied, for level 0.1 or 3.0 of the safety tests."""
        return Faults(
            name=f"{self.name} x {factor:g}",
            **{
                call: {k: v * factor for k, v in self.of(call).items()}
                for call in ("pay", "confirm", "query", "notify")
            },
            late_s=self.late_s,
            lag_s=self.lag_s,
            failure_share=self.failure_share,
            cancel_share=self.cancel_share,
            name_mismatch_share=self.name_mismatch_share,
            check_duplicates=self.check_duplicates,
        )


_ROUGH_PAY = {
    "close_before": 0.005, "close_after": 0.010, "reset_after": 0.005, "hang_after": 0.005,
    "late_close": 0.005, "late_hang": 0.003, "echo": 0.005,
    "9999_before": 0.005, "9999_after": 0.005, "4014": 0.005,
    "502_before": 0.003, "502_after": 0.005, "truncated": 0.003, "unsigned": 0.003, "slow": 0.003,
}  # fmt: skip

_STORM_PAY = {
    "close_before": 0.015, "close_after": 0.035, "reset_before": 0.010, "reset_after": 0.020,
    "hang_before": 0.005, "hang_after": 0.015,
    "late_close": 0.020, "late_hang": 0.010, "late_502": 0.010, "late_9999": 0.010,
    "echo": 0.010, "echo_close": 0.005,
    "9999_before": 0.010, "9999_after": 0.015, "4006_before": 0.003, "4006_after": 0.003,
    "4007_before": 0.003, "4007_after": 0.003, "4012": 0.005, "4014": 0.010,
    "2005_after": 0.005, "1002_before": 0.002, "1002_after": 0.003,
    "truncated": 0.010, "garbage": 0.005, "html": 0.005, "oversized": 0.003,
    "unsigned": 0.006, "bad_sign": 0.006, "forged_refusal": 0.005, "other_order": 0.006, "slow": 0.010,
    "500_after": 0.005, "502_after": 0.010, "503_before": 0.005, "503_after": 0.002,
    "429_before": 0.003, "502_before": 0.003,
}  # fmt: skip

_STORM_QUERY = {
    "lag": 0.060, "close_before": 0.020, "reset_before": 0.010, "hang_before": 0.010, "9999_before": 0.015,
    "truncated": 0.005, "garbage": 0.005, "html": 0.003, "oversized": 0.002, "unsigned": 0.005,
    "bad_sign": 0.005, "other_order": 0.005, "slow": 0.005, "500_before": 0.003, "502_before": 0.005,
    "503_before": 0.003, "429_before": 0.003,
}  # fmt: skip

_STORM_CONFIRM = {
    name: _STORM_PAY[name]
    for name in (
        "close_before", "close_after", "reset_after", "hang_after", "late_close", "late_hang", "echo",
        "9999_before", "9999_after", "4006_before", "4007_after", "truncated", "garbage", "unsigned", "bad_sign",
        "other_order", "502_after", "503_before",
    )
}  # fmt: skip

PROFILES: Mapping[str, Faults] = MappingProxyType(
    {
        # Nothing goes wrong and every accepted payment succeeds.
        "calm": Faults("calm"),
        # A bad day: about 7 % of the pay calls are hit.
        "rough": Faults(
            "rough",
            pay=_ROUGH_PAY,
            confirm={"close_after": 0.02, "9999_after": 0.01, "9999_before": 0.01},
            query={"lag": 0.03, "close_before": 0.01, "9999_before": 0.01, "502_before": 0.005, "unsigned": 0.002},
            notify={"lost": 0.05, "duplicate": 0.05, "late": 0.02},
            failure_share=0.02,
            cancel_share=0.005,
            name_mismatch_share=0.005,
        ),
        # The worst day: about 30 % of the pay calls are hit, and the merchant has not had the check for
        # suspected duplicates switched on, so that nothing but the number stands between two payments.
        "storm": Faults(
            "storm",
            pay=_STORM_PAY,
            confirm=_STORM_CONFIRM,
            query=_STORM_QUERY,
            notify={"lost": 0.30, "duplicate": 0.10, "late": 0.05, "unsigned": 0.02, "bad_sign": 0.02},
            failure_share=0.05,
            cancel_share=0.01,
            name_mismatch_share=0.01,
            check_duplicates=False,
        ),
    }
)
