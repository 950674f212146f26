"""What a long proof has done so far, on disk: if it is cut off, it goes on from there, as long as nothing has changed."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Final

from .plan import Plan
from .runs import Sum

ROOT: Final = Path(__file__).parents[2]
_CODE: Final = ("lianlian_async/**/*.py", "lianlian_async/**/*.sql", "tests/simulation/*.py")


class Kept:
    """One line for each part that is done, by its first seed; without a path nothing is kept.

    The first line names the code, the Python and the worlds: with any of them changed the file is begun anew.
    """

    def __init__(self, path: Path | None, template: Plan, patch: str | None) -> None:
        self._path = path
        self.parts: dict[int, Sum] = {}
        if path is None:
            return
        head = json.dumps({"of": _digest(template, patch)})
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if not lines or lines[0] != head:
            lines = [head]
        whole = [line for line in lines[1:] if line.endswith("}")]  # the last one may have been cut off
        for line in whole:
            first, _, text = line.partition(" ")
            self.parts[int(first)] = Sum.from_json(text)
        path.write_text("".join(f"{line}\n" for line in (head, *whole)), "utf-8")

    def add(self, first: int, part: Sum) -> None:
        """The part that begins with that seed is done; one with a broken law is run again."""
        if self._path is not None and not part.failures:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{first} {part.as_json()}\n")


def _digest(template: Plan, patch: str | None) -> str:
    told = hashlib.sha256(f"{sys.version} {template} {patch}".encode())
    for path in sorted(path for pattern in _CODE for path in ROOT.glob(pattern)):
        told.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return told.hexdigest()
