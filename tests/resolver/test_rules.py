"""The rows of the decision table as the law has them (docs/rules.md): what each asks for, and of whom."""

from __future__ import annotations

import pytest

from lianlian_async.protocol.ret_codes import Actor
from lianlian_async.resolver.rules import RULES, Step

# Name: what must happen next, who must act, and whether the row has words of its own for it ("" in the table means
# that the evidence's own row gives them).
LAW = {
    "conflict": ("DECIDE", "PERSON", True),
    "paid": ("NOTHING", "LIBRARY", True),
    "paid, watched": ("NOTHING", "LIBRARY", True),
    "ended": ("NOTHING", "CALLER", False),
    "ended, unconfirmed": ("QUERY", "LIBRARY", True),
    "review": ("DECIDE", "PERSON", True),
    "review, second person": ("DECIDE", "PERSON", True),
    "review, too late": ("DECIDE", "PERSON", True),
    "declined": ("QUERY", "LIBRARY", True),
    "confirming": ("QUERY", "LIBRARY", True),
    "in progress": ("QUERY", "LIBRARY", True),
    "stuck at the gateway": ("QUERY", "OPERATOR", True),
    "denied by the gateway": ("DECIDE", "PERSON", True),
    "denied, with a bill": ("QUERY", "OPERATOR", True),
    "failed without a bill": ("DECIDE", "PERSON", True),
    "given up": ("DECIDE", "PERSON", True),
    "first send": ("SUBMIT", "LIBRARY", True),
    "ask first": ("QUERY", "LIBRARY", False),
    "ask again": ("QUERY", "LIBRARY", True),
    "fix": ("FIX", "OPERATOR", False),
    "fix, tried twice": ("FIX", "OPERATOR", False),
    "strange code twice": ("DECIDE", "PERSON", True),
    "known, and no record": ("DECIDE", "PERSON", True),
    "failed, no reason": ("DECIDE", "PERSON", True),
    "too old to resend": ("DECIDE", "PERSON", True),
    "too many sends": ("DECIDE", "PERSON", True),
    "resend later": ("SUBMIT", "LIBRARY", True),
    "resend": ("SUBMIT", "LIBRARY", True),
    "replaced, revived": ("DECIDE", "PERSON", True),
    "paused": ("FIX", "OPERATOR", True),
}


def test_there_is_no_other_row() -> None:
    """In the order in which people read them."""
    assert list(RULES) == list(LAW)
    assert all(rule.name == name for name, rule in RULES.items())


@pytest.mark.parametrize("name", LAW)
def test_what_a_row_asks_for(name: str) -> None:
    """The step, whose turn it is, and words for a person where the evidence has none."""
    rule, (step, who, words) = RULES[name], LAW[name]
    assert (rule.step, rule.who) == (Step[step], Actor[who])
    assert rule.advice.endswith(".") if words else rule.advice == ""


def test_only_three_rows_let_money_leave() -> None:
    """The first send, and the same number again when it is free: every other row asks, waits, or stops."""
    assert {name for name, rule in RULES.items() if rule.step is Step.SUBMIT} == {
        "first send",
        "resend",
        "resend later",
    }
