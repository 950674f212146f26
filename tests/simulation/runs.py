"""Many worlds: run a range of seeds, add up what was seen, and check now and then that a seed repeats itself."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Final

from attrs import asdict, define, evolve, field

from .careless import STRATEGIES, double_payments
from .plan import Plan
from .world import Result, World

# Every so many worlds one is run twice, and the careless have to live in one.
TWICE_EVERY: Final = 50
CARELESS_EVERY: Final = 50


_COUNTERS: Final = ("sightings", "states", "kinds", "rows", "rules", "careless")


@define
class Sum:
    """What many worlds come to."""

    worlds: int = 0
    payouts: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    repeated: int = 0
    sightings: Counter[str] = field(factory=Counter)
    states: Counter[str] = field(factory=Counter)
    kinds: Counter[str] = field(factory=Counter)
    rows: Counter[str] = field(factory=Counter)
    rules: Counter[str] = field(factory=Counter)
    careless_payouts: int = 0
    careless: Counter[str] = field(factory=Counter)
    failures: list[dict[str, Any]] = field(factory=list)

    def add(self, other: Sum) -> None:
        for name in ("worlds", "payouts", "virtual_s", "cpu_s", "repeated", "careless_payouts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in (*_COUNTERS, "failures"):
            mine = getattr(self, name)
            mine.extend(other.failures) if name == "failures" else mine.update(getattr(other, name))

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Sum:
        told = json.loads(text)
        for name in _COUNTERS:
            told[name] = Counter(told[name])
        return cls(**told)


def simulate(plan: Plan, *, keep_trace: bool = False, patch: str | None = None) -> Result:
    """One world; `patch` names a context manager, "module:name", under which it runs (a planted bug)."""
    # A world is short-lived and full of cycles: it is thrown away as a whole, and not looked through while it lives.
    gc.disable()
    try:
        with patched(patch):
            return World(plan, keep_trace=keep_trace).run()
    finally:
        gc.enable()
        gc.collect()


def patched(name: str | None) -> AbstractContextManager[Any]:
    """The context manager of that name: `simulation.traps:no_grace`."""
    if name is None:
        return nullcontext()
    module, _, attribute = name.partition(":")
    found: AbstractContextManager[Any] = getattr(import_module(module), attribute)()
    return found


def run_seeds(
    template: Plan, seeds: Iterable[int], *, patch: str | None = None, careless: bool = True, failures_max: int = 3
) -> Sum:
    """All these worlds, or as many as it takes to see `failures_max` laws broken."""
    total = Sum()
    began = time.process_time()
    for seed in seeds:
        plan = evolve(template, seed=seed)
        result = simulate(plan, patch=patch)
        _count(total, result)
        if result.broken is None and seed % TWICE_EVERY == 1:
            total.repeated += 1
            again = simulate(plan, patch=patch)
            if again.digest != result.digest:
                _fail(total, plan, patch, f"two runs differ: {result.digest} and {again.digest}")
        if careless and seed % CARELESS_EVERY == 1:
            total.careless_payouts += plan.payouts
            for name in STRATEGIES:
                total.careless[name] += double_payments(plan, name)["twice"]
        if result.broken is not None:
            _fail(total, plan, patch, result.broken)
        if len(total.failures) >= failures_max:
            break
    total.cpu_s = time.process_time() - began
    return total


def _count(total: Sum, result: Result) -> None:
    total.worlds += 1
    total.payouts += result.payouts
    total.virtual_s += result.virtual_s
    total.sightings.update(result.sightings)
    total.states.update(result.states)
    total.kinds.update(result.plan.kinds)
    total.rows.update(result.rows)
    total.rules.update(result.rules)


def _fail(total: Sum, plan: Plan, patch: str | None, broken: str) -> None:
    repro = plan.repro() + (f" --patch {patch}" if patch else "")
    total.failures.append({"seed": plan.seed, "broken": broken, "repro": repro})
