"""How the simulated gateway is set up: what the merchant is allowed, and where documents disagree, who is right."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attrs import field, frozen

__all__ = ["Behaviour", "Dedupe", "Limits"]

Seconds = tuple[float, float]


class Dedupe(StrEnum):
    """How well the gateway recognises a number it has seen."""

    PERFECT = "perfect"
    RACY = "racy"  # blind to a number for the first `racy_s` seconds after it was stored
    FORGETFUL = "forgetful"  # has forgotten a number `forget_after_s` seconds after it was stored


@frozen
class Limits:
    """The merchant's limits in CNY, each None for no limit (specification 7: 9911, 9912, 9913)."""

    single: Decimal | None = None
    day: Decimal | None = None
    month: Decimal | None = None


@frozen
class Behaviour:
    """What the gateway does where it has a choice; durations in seconds of the simulator's clock.

    The defaults are the specification's. `later_docs()` gives those of the vendor's later documents.
    """

    # Reviews (specification 1.4, 3.2, 7: 4002 to 4004, 4008 to 4011).
    check_duplicates: bool | None = None  # None: as the fault profile says
    duplicate_window: str = "day"  # "day": LianLian's calendar day; "24h": the day before this moment
    check_names: bool = True
    known_names: Mapping[str, str] = field(factory=dict, repr=False)
    name_mismatch_share: float | None = None  # share of cards known under another name; None: the profile's
    review_window_s: float = 1800.0
    confirm_tries: int = 6
    repeat_in_review: str = "2005"

    # The bank.
    settle_s: Seconds = (2.0, 60.0)
    failure_share: float | None = None  # None: the profile's
    cancel_share: float | None = None
    cancel_after_s: Seconds = (60.0, 3600.0)

    # Recognising numbers, reading back.
    dedupe: Dedupe = field(default=Dedupe.PERFECT, converter=Dedupe)
    racy_s: float = 1.0
    forget_after_s: float = 86400.0
    dedupe_first: bool = True  # False: limits and balance are looked at before the number is
    replica_lag_s: float = 0.0  # every query reads a copy that is up to this much behind

    # Answers.
    unsigned_refusals: bool = False
    refusals_without_no_order: bool = False
    query_memo: bool = True  # the later documents' `memo` with the reason of a failure
    clock_offset_s: float = 0.0  # how far the Date header is off

    # Notifications (specification 3.4).
    notify_times: int = 6
    notify_every_s: float = 360.0
    notify_delay_s: float = 0.5
    notify_deadline_s: float = 5.0
    notify_any_host: bool = False  # False: only addresses on this machine are ever posted to

    # Checks of the request.
    notify_url_max: int = 64
    slow_s: float = 90.0  # how long a dripping answer takes

    @classmethod
    def later_docs(cls, **changes: Any) -> Behaviour:
        """The windows and limits of the vendor's documents of 2019 to 2021."""
        later: dict[str, Any] = {
            "duplicate_window": "24h",
            "review_window_s": 86400.0,
            "notify_times": 30,
            "notify_every_s": 120.0,
            "notify_url_max": 255,
        }
        return cls(**{**later, **changes})
