"""T13: 2,000 forged and 200 genuine a second, from another process, on whatever cores this machine has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "notify_bench.py"
SECONDS = 10
pytestmark = [
    pytest.mark.slow,
    pytest.mark.checkout,
    pytest.mark.skipif(not BENCH.exists(), reason="only in a checkout, not beside a wheel"),
]


def burst(shell: str) -> dict[str, Any]:
    """One measurement, after which everything must be right but for how long it took."""
    command = [sys.executable, str(BENCH), "--seconds", str(SECONDS), "--shell", shell, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["forged"]["count"] == 2000 * SECONDS
    assert report["genuine"]["count"] == 200 * SECONDS
    assert report["committed"] == report["planned"] == 200 * SECONDS, report
    assert "acknowledged (" in done.stderr, "the verdicts"
    assert done.returncode in (0, 1, 2)
    assert report["wrong answers"] == {}, report
    assert report["unanswered"] == 0, report
    assert report["server: memory_drift_mb"] < 4, report
    return report


@pytest.mark.parametrize("shell", ["aiohttp", "asgi"])
def test_genuine_ones_are_acknowledged_in_a_flood_of_forgeries(shell: str) -> None:
    """All genuine ones acknowledged and committed, no forged one, memory flat. How fast is the benchmark's to say:
    tests run beside others on the same cores."""
    burst(shell)
