"""What is pure needs to be computed once: the fold from evidence to view, the checks of fields, and derived numbers.

Evidence is known by its identity and never by equality, so nothing but time is saved. Whatever function stands in a
module at the moment is called, so that a mutated one is simulated as it is; a fault that was found is found anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lianlian_async import breaker, client, engine, intake, moves, receiving, records, reviewing, scribe
from lianlian_async.protocol import messages
from lianlian_async.resolver import states

_USERS: Final = (breaker, client, engine, moves, receiving, records, reviewing, scribe)
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


@contextmanager
def remembered_checks() -> Iterator[None]:
    """As long as this lasts, an order that is asked for again is not checked field by field again."""
    own_check, own_derive, own_reachable = messages.check_field, intake.derive, intake.require_reachable
    sound: dict[Any, Any] = {}

    def once(function: Any, key: Any, *given: Any) -> Any:
        if key in sound:
            return sound[key][0]
        result = function(*given)
        if len(sound) >= _REMEMBERED_MAX:
            sound.clear()
        # A merchant's settings are known by their identity: they are kept alive beside it.
        sound[key] = result, given
        return result

    def check_field(name: str, value: Any, section: str = "3.1") -> None:
        once(own_check, (name, type(value), value), name, value, section)

    def derive(oid_partner: str, key: str, generation: int = 0) -> Any:
        return once(own_derive, (oid_partner, key, generation), oid_partner, key, generation)

    def require_reachable(merchant: Any, content: Any) -> None:
        once(own_reachable, (id(merchant), content["notify_url"]), merchant, content)

    messages.check_field, intake.derive, intake.require_reachable = check_field, derive, require_reachable
    try:
        yield
    finally:
        messages.check_field, intake.derive, intake.require_reachable = own_check, own_derive, own_reachable
