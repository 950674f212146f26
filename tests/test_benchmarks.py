"""Benchmarks that lay out a journal by themselves must lay it out as the journal does: each runs once, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.checkout


def ran(name: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_reconciling_a_month(tmp_path: Path) -> None:
    """All rows are read, and the five planted differences are found in a journal that calls itself sound."""
    [told] = json.loads(ran("reconcile_bench.py", "--rows", "500", "--json", "--directory", str(tmp_path)))
    assert told["rows"] == 500


def test_journal(tmp_path: Path) -> None:
    """Group commit, one call to a commit, and an encrypted journal are compared."""
    told = ran("journal_bench.py", "--seconds", "0.6", "--directory", str(tmp_path))
    assert "encrypted" in told
