"""`python3 dev.py machine`: a Hypothesis state machine over the real client, for as long as you like.

Runs in lots of 250 examples, each with a seed of its own, so that the command it prints repeats what it has found.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Final

from command_numbers import how_many
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from simulation.runs import patched

from .file_store import Stores
from .machine import PayoutMachine

JOURNALS: Final = ("memory", "sqlite", "encrypted")
LOT: Final = 250


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py machine", description=__doc__)
    parser.add_argument("--examples", type=how_many, default=300, help="how many in all [%(default)s]")
    parser.add_argument("--steps", type=how_many, default=50, help="moves in an example [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="of the first lot; the next lots count on [%(default)s]")
    parser.add_argument("--journal", choices=JOURNALS, help="one of them only (left out: lots take turns)")
    parser.add_argument("--patch", help="a planted bug, as simulation.traps:no_grace")
    parser.add_argument("--first", action="store_true", help="stop at the first failure, without shrinking it")
    parser.add_argument("--digest", action="store_true", help="print a digest of all that happened, and no time")
    return parser


def main(argv: list[str] | None = None) -> None:
    given = arguments().parse_args(argv)
    seen: Counter[str] = Counter()
    digests: list[str] = []
    began, done, lot = time.process_time(), 0, given.seed
    while done < given.examples:
        kind = given.journal or JOURNALS[(lot - given.seed) % 3]
        count = min(LOT, given.examples - done)
        found = run(
            kind, count, given.steps, lot, patch=given.patch, shrink=not given.first, seen=seen, digests=digests
        )
        if found is not None:
            words = f"python3 dev.py machine --journal {kind} --examples {count} --steps {given.steps} --seed {lot}"
            traceback.print_exception(found)  # with the moves, as Hypothesis notes them
            sys.exit(
                f"\n{type(found).__name__}: {found}\nagain: {words}"
                + (f" --patch {given.patch}" if given.patch else "")
            )
        done, lot = done + count, lot + 1
        spent = "" if given.digest else f", {time.process_time() - began:.0f} s of processor time"
        print(f"{done} examples, {seen['steps']} steps{spent}, {kind}", flush=True)
    if given.digest:
        print(f"digest {hashlib.sha256(repr(digests).encode()).hexdigest()}")
        return
    for name, count in seen.most_common():
        print(f"  {count:8,} {name}")


def run(
    kind: str,
    examples: int,
    steps: int,
    number: int,
    *,
    patch: str | None,
    shrink: bool,
    seen: Counter[str],
    digests: list[str],
) -> BaseException | None:
    """One lot under one seed; what has broken, or None. `seen` counts what happened, `digests` says it in short."""
    stores = Stores(kind)

    class Machine(PayoutMachine):
        def _close(self) -> None:
            super()._close()
            digests.append(self.stage._digest.hexdigest())
            seen["steps"] += self.steps
            seen.update(self.stage.seen.counts)
            seen.update(f"at the end: {payout.state}" for payout in self.stage.final)

    Machine.stores = stores
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    profile = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=shrink,
        report_multiple_bugs=False, phases=phases, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    try:
        with patched(patch), _collected_between():
            run_state_machine_as_test(seed(number)(Machine), settings=profile)
    except Exception as broken:  # noqa: BLE001 - whatever it is, it is what the machine has found
        return broken
    finally:
        stores.close()
    return None


@contextlib.contextmanager
def _collected_between() -> Iterator[None]:
    """A world is short-lived and full of cycles: not looked through while it lives."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 10, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


if __name__ == "__main__":
    main()
