"""The reviewed list: mutants that no test can kill, or need not, each with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from .mutants import Mutant, enums_of, mutants_of
from .running import Result
from .targets import TARGETS, Target

__all__ = ["LIST", "Entry", "read_list", "stale", "verdicts"]

LIST: Final = Path(__file__).with_name("equivalents.toml")


@frozen
class Entry:
    """One survivor that somebody has looked at."""

    module: str
    where: str
    line: str
    change: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.where, self.line, self.change


def read_list(path: Path = LIST) -> list[Entry]:
    """The entries, in the order of the file. Raises ValueError for one without a reason, or told twice."""
    entries = [Entry(**entry) for entry in tomllib.loads(path.read_text("utf-8")).get("mutant", ())]
    for entry in entries:
        if entry.module not in TARGETS or not entry.reason.strip():
            raise ValueError(f"not a module that is mutated, or no reason: {entry}")
    if len({(entry.module, *entry.key) for entry in entries}) != len(entries):
        raise ValueError("a mutant stands in the list twice")
    return entries


def mutants_in(target: Target) -> Sequence[Mutant]:
    """All mutants of a module as it is now."""
    return mutants_of(target.path.read_text("utf-8"), enums_of(target.folder), target.only)[1]


def stale(target: Target, entries: Iterable[Entry]) -> list[Entry]:
    """Entries that name no mutant of the module any more."""
    keys = {mutant.key for mutant in mutants_in(target)}
    return [entry for entry in entries if entry.module == target.module and entry.key not in keys]


def verdicts(target: Target, results: Sequence[Result], entries: Iterable[Entry]) -> list[str]:
    """What is wrong after a run: survivors that nobody has looked at, and entries that are killed or gone."""
    listed = {entry.key for entry in entries if entry.module == target.module}
    wrong = [f"stale: {_shown(entry.key)}" for entry in stale(target, entries)]
    for result in results:
        key = result.mutant.key
        if result.killer is None and key not in listed:
            wrong.append(f"survived: {_shown(key)}")
        elif result.killer is not None and key in listed:
            wrong.append(f"listed, but killed by {result.killer}: {_shown(key)}")
    return wrong


def _shown(key: tuple[str, str, str]) -> str:
    where, line, change = key
    return f"{where or 'the module'}\n    {line}\n    {change}"
