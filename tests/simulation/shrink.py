"""From a failing world to the smallest one that fails: fewer payouts, fewer kinds of fault."""

from __future__ import annotations

from attrs import evolve

from .plan import KINDS, Plan
from .runs import simulate
from .world import Result


def shrink(plan: Plan, *, patch: str | None = None, tries: int = 80) -> tuple[Plan, Result]:
    """The smallest failing configuration found, and what comes of it; `plan` itself must fail."""
    best, result = plan, simulate(plan, patch=patch)
    if result.broken is None:
        raise ValueError("this world keeps the laws")
    law = result.broken.partition(":")[0]

    def still_fails(smaller: Plan) -> bool:
        nonlocal best, result, tries
        tries -= 1
        found = simulate(smaller, patch=patch)
        if found.broken is None or found.broken.partition(":")[0] != law:
            return False
        best, result = smaller, found
        return True

    going = True
    while going and tries > 0:
        going = False
        for fewer in sorted({1, 2, best.payouts // 4, best.payouts // 2, best.payouts - 1}):
            if 0 < fewer < best.payouts and tries > 0 and still_fails(evolve(best, payouts=fewer)):
                going = True
                break
        for kind in KINDS:
            if best.has(kind) and tries > 0 and still_fails(evolve(best, without=best.without | {kind})):
                going = True
    return best, result
