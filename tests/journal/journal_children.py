"""Real processes for the journal's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHILD = Path(__file__).with_name("journal_child.py")
ROOT = Path(__file__).parents[2]


class Children:
    """Real processes that run `journal_child.py`; whatever is left at the end of a test is killed."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [*prefix, sys.executable, str(CHILD), *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        self._running.append(child)
        return child

    def close(self) -> None:
        for child in self._running:
            if child.poll() is None:
                child.kill()
            child.communicate()
