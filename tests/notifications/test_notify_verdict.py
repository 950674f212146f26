"""What the benchmark of a burst says of its own figures: which promise is broken, and when nothing can be said."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "notify_verdict.py"
OFFERED = {"forged": 2000, "genuine": 200}
pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not FILE.exists(), reason="only in a checkout, not beside a wheel"),
]


@pytest.fixture(scope="module")
def judged() -> ModuleType:
    """The benchmark's judge, which lies beside the package."""
    spec = importlib.util.spec_from_file_location("notify_verdict", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["notify_verdict"] = module
    spec.loader.exec_module(module)
    return module


def a_report(**changes: Any) -> dict[str, Any]:
    """The figures of thirty good seconds, with some of them changed."""
    genuine = {"count": 6000, "p99_ms": 420.0, **changes.pop("genuine", {})}
    return {
        "forged sent a second": 1998, "genuine sent a second": 200, "genuine": genuine, "wrong answers": {},
        "planned": 6000, "committed": 6000, "generator: p99_late_ms": 20.0, "server: memory_mb": 76.0,
        "server: memory_drift_mb": 1.0, "server: share of time without a core": 0.05, **changes,
    }  # fmt: skip


BROKEN = {
    "one is not acknowledged": {"genuine": {"count": 5999}, "unanswered": 1},
    "one is refused": {"wrong answers": {"genuine": 1}},
    "a forged one is acknowledged": {"wrong answers": {"forged": 1}},
    "one is acknowledged and not committed": {"committed": 5999},
    "one in a hundred takes a second": {"genuine": {"p99_ms": 1000.0}},
    "memory grows": {"server: memory_drift_mb": 8.4},
}
SLOW = {
    "half the forged ones are sent": {"forged sent a second": 1000},
    "a few genuine ones too little": {"genuine sent a second": 195},
    "sent late": {"generator: p99_late_ms": 250.0},
    "the server gets no core": {"server: share of time without a core": 0.25},
}


def test_all_is_kept(judged: ModuleType) -> None:
    """Good figures end with status 0, and every line says so."""
    verdicts = judged.judge(a_report(), OFFERED)
    assert judged.status(verdicts) == 0
    assert len(verdicts) == 5
    assert all(str(verdict).startswith("kept: ") for verdict in verdicts)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise(judged: ModuleType, what: str) -> None:
    """Exactly one line says what is broken, and the status is 1."""
    verdicts = judged.judge(a_report(**BROKEN[what]), OFFERED)
    assert judged.status(verdicts) == 1
    assert sum(str(verdict).startswith("BROKEN: ") for verdict in verdicts) == 1


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("what", BROKEN)
def test_a_machine_that_is_too_slow(judged: ModuleType, what: str, how: str) -> None:
    """It excuses what is late, and never what was acknowledged wrongly."""
    verdicts = judged.judge(a_report(**{**BROKEN[what], **SLOW[how]}), OFFERED)
    assert judged.status(verdicts) == (1 if "acknowledged and" in what or "forged" in what else 2)
    assert "machine too slow to judge" in str(verdicts[0])


@pytest.mark.parametrize("how", SLOW)
def test_nothing_is_praised_on_a_slow_machine(judged: ModuleType, how: str) -> None:
    """Good times of a load that was not offered are worth nothing: status 2."""
    assert judged.status(judged.judge(a_report(**SLOW[how]), OFFERED)) == 2


@pytest.mark.parametrize(("grew", "start"), [(8.3, 76.0), (19.0, 1000.0)])
def test_small_growth_is_flat(judged: ModuleType, grew: float, start: float) -> None:
    """Less than 8 MiB, or less than two in a hundred, is no leak."""
    verdicts = judged.judge(a_report(**{"server: memory_drift_mb": grew, "server: memory_mb": start}), OFFERED)
    assert judged.status(verdicts) == 0
