"""A developer's command that is told to do nothing, or no number, says so: it neither passes nor ends in a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = TESTS.parent / "benchmarks" / "reconcile_bench.py"


def refused(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    return done.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("simulation.proof", "--payouts"), ("simulation.proof", "--seeds"), ("simulation.proof", "--jobs"),
        ("simulation.proof", "--each"), ("fuzz.run", "--jobs"), ("fuzz.run", "--seconds"), ("fuzz.run", "--runs"),
        ("machine", "--examples"), ("machine", "--steps"), ("mutation", "--sample"),
    ],
)  # fmt: skip
def test_how_many(command: str, option: str) -> None:
    """None at all; the command is not begun."""
    assert f"argument {option}: '0' is not a whole number above zero" in refused("-m", command, option, "0")


@pytest.mark.parametrize("text", ["-1", "1.5", "abc", "", "١"])
def test_no_number(text: str) -> None:
    """Whatever is no whole number is refused in the same words."""
    assert f"{text!r} is not a whole number above zero" in refused("-m", "simulation.proof", f"--jobs={text}")


@pytest.mark.checkout
@pytest.mark.parametrize("text", ["abc", "500,", "0", "500;600"])
def test_rows_of_the_benchmark(text: str) -> None:
    """A list of sizes with something else in it."""
    assert "not whole numbers above zero, with commas between" in refused(str(ROWS), "--rows", text)
