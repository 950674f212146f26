"""Every sequence of events after a first send, true or not: what the resolver makes of it, beside the law.

The searches only meet what a truthful gateway can cause. Here the news may contradict itself in any way, so this adds what
they cannot see: that the rules hold, and that the two ways in which they are written down agree, whatever is heard.
"""

from __future__ import annotations

from typing import Final

from attrs import define
from resolver_law import replace_breaks, state_of, submit_breaks

from lianlian_async.resolver import RULES, Step

from .client import T0, Event, Knowledge
from .number import RANK

# One of each class: what is told, by whom, and what the client and time do.
ALPHABET: Final[tuple[Event, ...]] = (
    *(("answer", 0, words) for words in ("0000+", "4002", "9104", "4012", "1008", "(no answer)")),
    *(("query", 0, words) for words in ("8901", "=FAILURE", "=FAILURE+", "=SUCCESS+", "=CLOSED", "=CANCEL+", "=CHECK", "=APPLY")),
    *(("query", 0, words) for words in ("(mismatched)", "(foreign)")),
    *(("notify", 0, words) for words in ("=SUCCESS+", "=FAILURE+")),
    ("resumed", 0, ""), ("send", 0, ""), ("minutes", 0, ""), ("day", 0, ""),
)  # fmt: skip


@define
class Tried:
    """How many sequences were tried, and the first that broke a law."""

    sequences: int = 0
    broken: str = ""


def try_all(depth: int) -> Tried:
    """Every sequence of up to `depth` events after a first send."""
    tried = Tried()
    _go_on(Knowledge().after(("send", 1, "")), depth, (), tried)
    return tried


def _go_on(known: Knowledge, left: int, past: tuple[Event, ...], tried: Tried) -> None:
    tried.sequences += 1
    if broken := _breaks(known):
        tried.broken = tried.broken or f"{broken}: {past}"
    if not left or tried.broken:
        return
    for what, _, words in ALPHABET:
        event = (what, known.silent[-1] if what == "answer" and known.silent else 0, words)
        if what == "answer" and not event[1]:
            continue  # one call is answered once
        after = known.after(event)
        if RANK[after.view.state] < RANK[known.view.state]:
            tried.broken = tried.broken or f"I4, it moved down: {(*past, event)}"
        _go_on(after, left - 1, (*past, event), tried)


def _breaks(known: Knowledge) -> str:
    view, decision = known.view, known.decision()
    if state_of(known.attempts, known.evidence) != view.state:
        return f"the law says {state_of(known.attempts, known.evidence)}, the view {view.state}"
    if view.replaceable and (rule := replace_breaks(known.evidence)):
        return f"replaceable against {rule}"
    if decision.rule is not RULES[decision.rule.name] or (decision.action is None) != (decision.due_at is None):
        return "no one rule"
    if decision.action is Step.SUBMIT and decision.due_at is not None:
        return submit_breaks(known.attempts, known.evidence, T0, decision.due_at, paused=False)
    return ""
