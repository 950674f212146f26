"""`python3 dev.py mutate`: plant every small fault, and see that a test notices. The rules are in docs/mutation.md."""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from command_numbers import how_many

from .mutants import Mutant
from .reviewed import read_list, verdicts
from .running import Result, run_target
from .targets import ROOT, TARGETS

PAGE: Final = ROOT / "docs" / "mutation.md"
Counts = tuple[int, int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 dev.py mutate", description=__doc__)
    parser.add_argument("--module", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--sample", type=how_many, metavar="N", help="only so many of each module's mutants")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--write", action="store_true", help="write the counts into docs/mutation.md")
    options = parser.parse_args(arguments)
    if options.write and options.sample is not None:
        parser.error("a sample is not written down")
    entries, wrong = read_list(), []
    for name in options.module or TARGETS:
        target, start = TARGETS[name], time.monotonic()
        results = run_target(target, lambda every: _chosen(every, options.sample, options.seed), _progress)
        found = verdicts(target, results, entries)
        counts = (len(results), sum(r.killer is not None for r in results), sum(r.killer is None for r in results))
        print(
            f"\n{name}: {counts[0]} mutants, {counts[1]} killed, {counts[2]} survived, {time.monotonic() - start:.0f} s"
        )
        print("".join(f"  {line}\n" for line in found), end="", flush=True)
        wrong += found
        if options.write and not found:
            write_counts(PAGE, name, counts)
    return 1 if wrong else 0


def _chosen(every: Sequence[Mutant], count: int | None, seed: int) -> Sequence[Mutant]:
    if count is None or count >= len(every):
        return every
    return random.Random(seed).sample(list(every), count)


def _progress(result: Result) -> None:
    print("." if result.killer else "S", end="", flush=True)


def write_counts(page: Path, module: str, counts: Counts) -> None:
    """Renew the module's row of the table in the page."""
    row = f"| `{module}` | {counts[0]} | {counts[1]} | {counts[2]} |"
    text, count = re.subn(rf"^\| `{re.escape(module)}` \|.*$", row, page.read_text("utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise SystemExit(f"{page.name} has no row for {module}")
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
