"""docs/threats.md names tests, and they are there: each threat with what holds it, and with what takes the hold away."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "threats.md"
pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not PAGE.exists(), reason="only in a checkout, not beside a wheel"),
]
_NODE = re.compile(r"`(tests/[\w/]+\.py::[\w:]+)`")


def rows() -> dict[str, list[str]]:
    """The cells of each threat's row, by its number."""
    lines = PAGE.read_text("utf-8").splitlines()
    return {
        cells[0]: cells for line in lines if (cells := [c.strip() for c in line.strip("|").split("|")])[0][:1] == "T"
    }


def test_every_threat_has_a_row_a_test_and_a_removal() -> None:
    """T1 to T21; a removal is a test, or the reason why there can be none."""
    found = rows()
    assert list(found) == [f"T{n}" for n in range(1, 22)]
    for number, (_, threat, defence, tests, removal) in found.items():
        assert threat, number
        assert defence, number
        assert _NODE.search(tests), number
        assert _NODE.search(removal) or removal.startswith("not by a patch: "), number


@pytest.mark.tells  # the names of tests have names in them
def test_every_named_test_is_collected() -> None:
    """By its node id, all of them in one run that collects and runs nothing."""
    nodes = sorted(set(_NODE.findall(PAGE.read_text("utf-8"))))
    assert len(nodes) > 70
    done = collected(*nodes)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_name_that_is_none_is_found() -> None:
    """A test that was renamed makes the page wrong."""
    done = collected("tests/threats/test_threat_table.py::test_that_is_not_there")
    assert done.returncode != 0
    assert "not found" in done.stdout + done.stderr


def collected(*nodes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *nodes]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
