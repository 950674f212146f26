"""`python3 dev.py model`: every state of the product model, the library's rules and each of them taken away."""

from __future__ import annotations

import argparse
import json
import sys
import time

from attrs import asdict

from .audit import audit
from .number import MEETS, Bounds
from .page import PAGE, page, row, steps
from .relaxed import RELAXATIONS
from .search import Found
from .sequences import try_all
from .worlds import WORLDS

SEARCHES = {each.name: each for each in (*WORLDS, *RELAXATIONS)}
AUDITS = {
    "confirms": Bounds(numbers=1, sends=1, copies=2, confirms=2),
    "sends": Bounds(numbers=1, sends=2, copies=1, confirms=0),
    "answers": Bounds(numbers=1, sends=1, copies=2, confirms=1, welcome=tuple(MEETS)),
}
WALKS, STEPS = 300, 40


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py model", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which searches (left out: all): {', '.join(SEARCHES)}")
    parser.add_argument("--audit", choices=AUDITS, help="test that the folding of pasts is faithful, and nothing else")
    parser.add_argument(
        "--sequences", type=int, metavar="N", help="try every sequence of N events, true or not, and nothing else"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as one line of JSON, judge nothing")
    parser.add_argument("--write", action="store_true", help="write docs/model.md")
    return parser


def main(argv: list[str] | None = None) -> None:
    given = arguments().parse_args(argv)
    if given.audit:
        print(json.dumps(asdict(audit(AUDITS[given.audit], WALKS, STEPS))))
        return
    if given.sequences is not None:
        print(json.dumps(asdict(try_all(given.sequences))))
        return
    if unknown := [name for name in given.names if name not in SEARCHES]:
        sys.exit(f"no such search: {', '.join(unknown)}; there are {', '.join(SEARCHES)}")
    if given.write and given.names:
        sys.exit("--write needs all of them: leave the names out")
    found = {name: _run(name, quiet=given.json) for name in given.names or SEARCHES}
    if given.json:
        print(json.dumps({name: asdict(each) for name, each in found.items()}))
        return
    if given.write:
        rows = {world.name: row(world, found[world.name]) for world in WORLDS}
        PAGE.write_text(page(rows, {each.name: steps(found[each.name]) for each in RELAXATIONS}), "utf-8")
        print(f"written: {PAGE}")
    if troubles := list(_troubles(found)):
        sys.exit("\n".join(["", "FAILED", *troubles]))


def _run(name: str, *, quiet: bool) -> Found:
    began = time.process_time()
    found = SEARCHES[name].run()
    if not quiet:
        spent = time.process_time() - began
        verdict = found.broken or "fixpoint reached, all laws hold"
        print(
            f"{name}: {verdict}; {found.states:,} states, {found.transitions:,} transitions, {spent:.1f} s", flush=True
        )
        print("".join(f"    {line}\n" for line in steps(found)), end="")
    return found


def _troubles(found: dict[str, Found]) -> list[str]:
    troubles = [
        f"{world.name}: {found[world.name].broken}"
        for world in WORLDS
        if world.name in found and found[world.name].broken
    ]
    for each in RELAXATIONS:
        if each.name in found and (
            found[each.name].broken != "two payments" or len(found[each.name].trace) != each.steps
        ):
            troubles.append(
                f"{each.name}: {found[each.name].broken or 'not broken'} in {len(found[each.name].trace)} steps"
            )
    return troubles


if __name__ == "__main__":
    main()
