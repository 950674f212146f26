"""What a long proof has done so far, on disk: if it is cut off, it goes on from there, as long as nothing has changed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .plan import Plan
from .runs import Sum

ROOT: Final = Path(__file__).parents[2]
_CODE: Final = ("lianlian_async/**/*.py", "lianlian_async/**/*.sql", "tests/simulation/*.py")
_HEAD: Final = "parts of a proof of "


class Kept:
    """One line for each part that is done, by its seeds; without a path nothing is kept.

    The first line names the code, the Python and the worlds: with any of them changed the file is begun anew. Ends the
    program for a file that is something else, or that cannot be written.
    """

    def __init__(self, path: Path | None, template: Plan, patch: str | None) -> None:
        self._path = path
        self._parts: dict[str, Sum] = {}
        if path is None:
            return
        try:
            self._begin(path, _HEAD + _digest(template, patch))
        except (OSError, UnicodeDecodeError) as fault:
            sys.exit(f"--keep {path}: cannot be used ({fault})")

    def _begin(self, path: Path, head: str) -> None:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if lines and not lines[0].startswith(_HEAD):
            sys.exit(f"--keep {path}: is no file of a proof, and is left as it is: name another one")
        whole = [head]
        for line in lines[1:] if lines and lines[0] == head else ():
            seeds, _, text = line.partition(" ")
            try:
                self._parts[seeds] = Sum.from_json(text)
            except ValueError:
                continue  # cut off while it was written
            whole.append(line)
        path.write_text("".join(f"{line}\n" for line in whole), "utf-8")

    def part(self, seeds: Sequence[int]) -> Sum | None:
        """What these worlds came to, if they are done."""
        return self._parts.get(_name(seeds))

    def add(self, seeds: Sequence[int], part: Sum) -> None:
        """These worlds are done; where a law was broken they are run again."""
        if self._path is not None and not part.failures:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{_name(seeds)} {part.as_json()}\n")


def _name(seeds: Sequence[int]) -> str:
    return f"{seeds[0]}-{seeds[-1]}"


def _digest(template: Plan, patch: str | None) -> str:
    told = hashlib.sha256(f"{sys.version} {template} {patch}".encode())
    for path in sorted(path for pattern in _CODE for path in ROOT.glob(pattern)):
        told.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return told.hexdigest()
