"""What the figures of notify_bench.py are worth: one line for each promise, and the status to end with.

A machine on which the load generator cannot keep to its plan, or on which others take the server's core away, says
nothing about how fast the server is: what is not kept is then not called broken. Nothing excuses a notification that
was acknowledged and is not in the journal, or a forgery that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from attrs import frozen

__all__ = ["Verdict", "Word", "judge", "status"]

P99_MS: Final = 1000
# Of what was to be sent, in the time in which it was to be sent; and how late a send may be, because latencies count
# from the plan: what the generator misses by would be the server's fault.
OFFERED_SHARE: Final = 0.98
GENERATOR_LATE_MS: Final = P99_MS / 4
# How much of the time the server may stand ready and get no core, because others have them all.
WITHOUT_CORE_MAX: Final = 0.25
# Memory is flat when over the last two thirds of the time it grew by less than one of these.
GROWTH_SHARE: Final = 0.02
GROWTH_MB: Final = 8 * 1024 * 1024 / 1e6


class Word(Enum):
    """What came of one promise."""

    KEPT = "kept"
    BROKEN = "BROKEN"
    OPEN = "machine too slow to judge"


@frozen
class Verdict:
    """One promise, what came of it, and the figures that say so."""

    promise: str
    word: Word
    why: str

    def __str__(self) -> str:
        return f"{self.word.value}: {self.promise} ({self.why})"


def judge(report: Mapping[str, Any], offered: Mapping[str, float]) -> list[Verdict]:
    """The verdicts on a report of one burst; `offered` is how many of each kind were to be sent a second."""
    rate = _rate(report, offered)

    def held(promise: str, kept: bool, why: str) -> Verdict:
        fast_enough = rate.word is Word.KEPT
        return Verdict(promise, Word.KEPT if kept else Word.BROKEN if fast_enough else Word.OPEN, why)

    wrong, committed, planned = report["wrong answers"], report["committed"], report["planned"]
    acknowledged = report["genuine"]["count"] - wrong.get("genuine", 0)
    p99, grew, from_mb = report["genuine"]["p99_ms"], report["server: memory_drift_mb"], report["server: memory_mb"]
    lies = acknowledged > committed or wrong.get("forged", 0) > 0
    return [
        rate,
        Verdict(
            "only what is in the journal is acknowledged", Word.BROKEN if lies else Word.KEPT,
            f"{acknowledged} genuine ones acknowledged, {committed} committed, {wrong.get('forged', 0)} forged ones",
        ),
        held("every genuine one is acknowledged", acknowledged == planned, f"{acknowledged} of {planned}"),
        held(f"99 of 100 genuine ones within {P99_MS} ms", p99 < P99_MS, f"p99 {p99:g} ms"),
        held(
            "memory is flat", grew < max(GROWTH_SHARE * from_mb, GROWTH_MB),
            f"{grew:+g} MB on {from_mb:g} MB over the last two thirds",
        ),
    ]  # fmt: skip


def _rate(report: Mapping[str, Any], offered: Mapping[str, float]) -> Verdict:
    """Could the generator offer what it was to offer, when it was to offer it, and the server have a core?"""
    late_ms = report["generator: p99_late_ms"]
    sent = {kind: report[f"{kind} sent a second"] for kind in offered}
    reached = all(sent[kind] >= OFFERED_SHARE * rate for kind, rate in offered.items())
    figures = ", ".join(f"{sent[kind]:g} of {rate:g} {kind} a second" for kind, rate in offered.items())
    without_core = report["server: share of time without a core"]
    figures += (
        f", 99 of 100 at most {late_ms:g} ms late; the server had to wait for a core {without_core:.0%} of the time"
    )
    kept = reached and late_ms < GENERATOR_LATE_MS and without_core < WITHOUT_CORE_MAX
    promise = "the load is offered as planned, and there is a core to serve it"
    return Verdict(promise, Word.KEPT if kept else Word.OPEN, figures)


def status(verdicts: Sequence[Verdict]) -> int:
    """0 when all is kept, 1 when a promise is broken, 2 when the machine was too slow to say."""
    words = [verdict.word for verdict in verdicts]
    return 1 if Word.BROKEN in words else 2 if Word.OPEN in words else 0
