"""What every change has to survive; `python3 dev.py machine --examples 20000 --steps 100` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Journal, examples, first seed: 300 examples of 50 moves. A file costs six times what the memory costs.
LOTS = [("memory", 240, 1), ("sqlite", 40, 2), ("encrypted", 20, 3)]
# Where a bug shows, and the law (or the error) by which it does. All within the examples of its journal above.
PLANTED = [
    ("memory", "simulation.traps:accepted_is_paid", "I2"),
    ("memory", "simulation.traps:new_time_on_each_send", "I2"),
    ("memory", "simulation.traps:confirms_by_itself", "I8"),
    ("memory", "simulation.traps:replace_on_8901", "I3"),
    ("memory", "simulation.traps:no_grace", "I9"),
    ("sqlite", "machine.planted:file_keeps_leases", "Disagreement"),
    ("memory", "machine.planted:review_told_as_unknown", "AssertionError"),
    ("memory", "machine.planted:refused_decline_is_a_key_error", "KeyError"),
]


def machine(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What `dev.py machine` prints, in a process of its own: not slowed down by what measures coverage."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_"))}
    environ["PYTHONPATH"] = str(TESTS)
    command = [sys.executable, "-W", "ignore", "-m", "machine", *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("journal", "examples", "seed"), LOTS, ids=[lot[0] for lot in LOTS])
def test_any_sequence_of_moves_keeps_every_law(journal: str, examples: int, seed: int) -> None:
    """No law is broken, no public answer contradicts another, and everything comes to rest."""
    done = machine("--journal", journal, "--examples", examples, "--steps", 50, "--seed", seed)
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    assert f"{examples} examples" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("journal", "bug", "law"), PLANTED, ids=[bug.partition(":")[2] for _, bug, _ in PLANTED])
def test_planted_bug_is_found(journal: str, bug: str, law: str) -> None:
    """The machine can fail, and prints the command that fails again."""
    [(examples, seed)] = [(examples, seed) for kind, examples, seed in LOTS if kind == journal]
    done = machine("--first", "--journal", journal, "--examples", examples, "--seed", seed, "--patch", bug)
    assert done.returncode == 1, done.stdout
    broken, again = [line for line in done.stderr.splitlines() if line][-2:]
    assert law in broken
    assert again.startswith("again: python3 dev.py machine")
    assert again.endswith(f"--patch {bug}")


def test_same_seed_makes_the_same_moves() -> None:
    """Nothing but the seed decides what happens, on a file as in memory: what is found is found again."""
    told = {
        machine("--journal", "encrypted", "--examples", 3, "--steps", 15, "--seed", 7, "--digest").stdout for _ in "12"
    }
    assert len(told) == 1
    assert "digest" in next(iter(told))
