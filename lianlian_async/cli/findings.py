"""What `doctor` finds, one step a finding, and what that means for its exit status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from attrs import frozen

__all__ = ["Finding", "Verdict", "exit_status", "ok", "skipped", "warning", "wrong"]

_STEP_WIDTH: Final = 14


class Verdict(StrEnum):
    """How a step came out."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


@frozen
class Finding:
    """One step: what was looked at, what was found, and what to do. `unusable` is for a gateway or journal that cannot
    be used now, as opposed to a set-up that is wrong."""

    step: str
    verdict: Verdict
    found: str
    advice: str = ""
    unusable: bool = False

    def line(self) -> str:
        """For a person."""
        words = f"{self.found}: {self.advice}" if self.advice else self.found
        return f"{self.verdict:<8} {self.step:<{_STEP_WIDTH}} {words}"

    def as_json(self) -> str:
        """For a script."""
        facts = {"step": self.step, "verdict": self.verdict, "found": self.found, "advice": self.advice}
        return json.dumps(facts, ensure_ascii=False)


def ok(step: str, found: str) -> Finding:
    return Finding(step, Verdict.OK, found)


def warning(step: str, found: str, advice: str) -> Finding:
    return Finding(step, Verdict.WARNING, found, advice)


def wrong(step: str, found: str, advice: str = "", *, unusable: bool = False) -> Finding:
    return Finding(step, Verdict.WRONG, found, advice, unusable)


def skipped(step: str, why: str) -> Finding:
    return Finding(step, Verdict.SKIPPED, why)


def exit_status(findings: Sequence[Finding]) -> int:
    """2 when the configuration is wrong somewhere (mend that first), else 3 when gateway or journal cannot be used."""
    wrongs = [finding for finding in findings if finding.verdict is Verdict.WRONG]
    if any(not finding.unusable for finding in wrongs):
        return 2
    return 3 if wrongs else 0
