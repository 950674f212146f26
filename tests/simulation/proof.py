"""`python3 dev.py proof`: many worlds on all cores, their verdict, and docs/proof.md."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from attrs import evolve
from command_numbers import how_many

from .keeping import Kept
from .plan import KINDS, Plan
from .report import faults_of, page, soft_baselines
from .runs import Sum, run_seeds, simulate
from .shrink import shrink

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
CHUNK = 20
TASKS_PER_PROCESS = 50  # and then a new one, however much memory it has kept
TRACE_LINES = 200
# Worlds in which a law was once broken; the tests run each of them for ever.
REGRESSIONS = Path(__file__).with_name("regressions.txt")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py proof", description=__doc__)
    parser.add_argument("--payouts", type=how_many, default=1_000_000, help="how many in all [%(default)s]")
    parser.add_argument("--each", type=how_many, default=60, help="payouts in a world [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="the first seed [%(default)s]")
    parser.add_argument("--seeds", type=how_many, help="how many worlds (left out: as many as the payouts need)")
    parser.add_argument("--jobs", type=how_many, default=2, help="processes [%(default)s]")
    parser.add_argument("--without", default="", help="kinds of fault to leave out, with commas between")
    parser.add_argument("--real-crypto", action="store_true", help="real RSA on both sides")
    parser.add_argument("--lost-tail", action="store_true", help="a journal that forgets: must be detected")
    parser.add_argument("--forgetful", action="store_true", help="a gateway that forgets, against A1: may pay twice")
    parser.add_argument("--patch", help="a planted bug, as simulation.traps:no_grace")
    parser.add_argument("--keep", type=Path, help="a file of what is done: a run that was cut off goes on from there")
    parser.add_argument("--write", action="store_true", help="write docs/proof.md")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON, judge nothing")
    return parser


def plan_of(given: argparse.Namespace) -> Plan:
    """The first world that is asked for; ends the program for a fault that does not exist."""
    without = frozenset(filter(None, given.without.split(",")))
    if unknown := without - set(KINDS):
        sys.exit(f"no such kind of fault: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return Plan(
        given.seed, given.each, without, real_crypto=given.real_crypto, lost_tail=given.lost_tail,
        forgetful=given.forgetful,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    given = arguments().parse_args(argv)
    template = plan_of(given)
    worlds = given.seeds or -(-given.payouts // given.each)
    seeds = list(range(given.seed, given.seed + worlds))
    total = _run(template, seeds, given.jobs, given.patch, quiet=given.json, keep=given.keep)
    if given.json:
        print(total.as_json())
        return
    _tell(total)
    if total.failures:
        _show_smallest(template, total, given.patch)
    troubles = faults_of(total) if worlds * given.each >= 20_000 else [f["broken"] for f in total.failures]
    troubles += soft_baselines(total) if worlds * given.each >= 20_000 else []
    if given.write:
        words = [
            "python3 dev.py proof",
            f"--payouts {worlds * given.each}",
            f"--seed {given.seed}",
            f"--jobs {given.jobs}",
        ]
        words += [f"--each {given.each}"] if given.each != arguments().get_default("each") else []
        PAGE.write_text(page(total, template, " ".join(words), given.jobs), "utf-8")
        print(f"written: {PAGE}")
    if troubles:
        sys.exit("\n".join(["", "FAILED", *troubles]))


def _run(template: Plan, seeds: list[int], jobs: int, patch: str | None, *, quiet: bool, keep: Path | None) -> Sum:
    kept = Kept(keep, template, patch)
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    total, left = Sum(), []
    for chunk in chunks:
        if (done := kept.part(chunk)) is None:
            left.append(chunk)
        else:
            total.add(done)
    one = partial(_part, template, patch)
    began, before = time.monotonic(), total.payouts
    with ExitStack() as stack:
        if jobs == 1 or len(left) <= 1:
            parts = map(one, left)
        else:
            # The executor of concurrent.futures stands still when all its workers reach their last task at once.
            # What a process has loaded is frozen: it need not be looked through after every world.
            pool = get_context("spawn").Pool(jobs, gc.freeze, maxtasksperchild=TASKS_PER_PROCESS)
            parts = stack.enter_context(pool).imap_unordered(one, left)
        for count, (chunk, part) in enumerate(parts, start=1):
            total.add(part)
            kept.add(chunk, part)
            for failure in part.failures:
                print(f"{failure['broken']}\n{failure['repro']}", file=sys.stderr, flush=True)
            if not quiet and jobs > 1 and count % max(1, len(chunks) // 50) == 0:
                pace = (total.payouts - before) / (time.monotonic() - began)
                print(f"{total.payouts:,} payouts, {pace:.0f} a second, {len(total.failures)} laws broken", flush=True)
            if len(total.failures) >= 3:
                break
    return total


def _part(template: Plan, patch: str | None, seeds: list[int]) -> tuple[list[int], Sum]:
    return seeds, run_seeds(template, seeds, patch=patch)


def _tell(total: Sum) -> None:
    print(f"{total.payouts:,} payouts, {total.worlds:,} worlds, {total.cpu_s:.0f} s of processor time")
    for name, count in total.states.most_common():
        print(f"  {count:8,} {name}")
    if total.careless_payouts:
        for name, count in total.careless.items():
            print(f"  {count / total.careless_payouts * 100_000:8,.0f} double payments per 100,000: {name}")


def _show_smallest(template: Plan, total: Sum, patch: str | None) -> None:
    failure = total.failures[0]
    print(f"\nbroken: {failure['broken']}\n{failure['repro']}")
    try:
        small, _ = shrink(evolve(template, seed=failure["seed"]), patch=patch)
    except ValueError:
        print("run again, that world keeps the laws: it depends on more than its seed")
        return
    if patch is None and small.repro() not in REGRESSIONS.read_text("utf-8"):
        with REGRESSIONS.open("a", encoding="utf-8") as file:
            file.write(f"{small.repro()}  # {failure['broken'].partition(' [')[0]}\n")
    result = simulate(small, keep_trace=True, patch=patch)
    print(f"\nsmallest: {result.broken}\n{small.repro()}" + (f" --patch {patch}" if patch else ""))
    print("\n".join(result.trace[-TRACE_LINES:]))


if __name__ == "__main__":
    main()
