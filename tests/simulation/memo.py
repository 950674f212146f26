"""The fold from evidence to view is pure: what was folded before need not be folded again.

Only the same pieces, not equal ones, are taken for known, so nothing but time is saved. Whatever `states.view_of` is
at the moment is called, so that a mutated one is simulated as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lianlian_async import breaker, client, engine, moves, receiving, reviewing, scribe
from lianlian_async.resolver import states

_USERS: Final = (breaker, client, engine, moves, receiving, reviewing, scribe)
_REMEMBERED_MAX: Final = 4096


@contextmanager
def counted_rules(rules: Counter[str]) -> Iterator[None]:
    """As long as this lasts, every decision of the engine is counted by the rule that made it."""
    own = scribe.decide

    def decide(*known: Any, **more: Any) -> Any:
        decision = own(*known, **more)
        rules[decision.rule.name] += 1
        return decision

    scribe.decide = decide
    try:
        yield
    finally:
        scribe.decide = own


@contextmanager
def remembered_views() -> Iterator[None]:
    """As long as this lasts, the client's modules fold the same evidence once."""
    # What an id stands for is kept alive beside it, so no id is ever given out again.
    known: dict[tuple[int, ...], tuple[Any, Any, Any]] = {}

    def view_of(attempts: Any, evidence: Any) -> Any:
        key = len(attempts), *map(id, attempts), *map(id, evidence)
        found = known.get(key)
        if found is not None:
            return found[2]
        view = states.view_of(attempts, evidence)
        if len(known) >= _REMEMBERED_MAX:
            known.clear()
        known[key] = attempts, evidence, view
        return view

    before = [module.view_of for module in _USERS]
    try:
        for module in _USERS:
            module.view_of = view_of
        yield
    finally:
        for module, own in zip(_USERS, before, strict=True):
            module.view_of = own
