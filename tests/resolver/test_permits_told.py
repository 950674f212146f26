"""Each condition of the permits by itself: the view holds all others, and the refusal names the one that is missing."""

from __future__ import annotations

import pytest
from attrs import evolve
from resolver_news import attempt, moment, news

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.evidence import ROWS, Evidence, Outcome
from lianlian_async.resolver.permits import (
    approvals,
    confirm_until,
    refusal_to_amend,
    refusal_to_approve,
    refusal_to_replace,
)
from lianlian_async.resolver.states import State, View

HELD = View(State.REVIEW, code_at=moment(0), confirm_code="542312")
AMENDABLE = View(
    State.REFUSED, (attempt(1, 0),), hint=ROWS[Source.PAY, "1004"], absent=(news(Source.QUERY, "8901", 10),)
)


def word(outcome: Outcome, at: float, by: str | None = "chen", confirm: int | None = None) -> Evidence:
    return Evidence(Source.PERSON, outcome, moment(at), moment(at), confirm, by=by)


def test_a_code_counts_only_with_its_moment() -> None:
    """Both are needed: without either there is no window."""
    assert confirm_until(HELD) == moment(25 * 60)
    assert confirm_until(evolve(HELD, code_at=None)) is None
    assert confirm_until(evolve(HELD, confirm_code=None)) is None


def test_approvals_that_no_confirm_has_used_up() -> None:
    """Those after the newest word that led to a confirm; a decline among them is none."""
    used = [word(Outcome.APPROVED, 1, confirm=2), word(Outcome.APPROVED, 2, confirm=3)]
    fresh = [word(Outcome.APPROVED, 3), word(Outcome.DECLINED, 4), word(Outcome.APPROVED, 5)]
    assert approvals(evolve(HELD, words=(*used, *fresh))) == (fresh[0], fresh[2])
    assert approvals(evolve(HELD, words=tuple(fresh))) == (fresh[0], fresh[2])


def test_nobody_in_particular_and_nobody_known() -> None:
    """Whether anybody may approve is asked without a name; an approval without a name is nobody's second word."""
    once = evolve(HELD, words=(word(Outcome.APPROVED, 1, by=None),))
    assert refusal_to_approve(once, moment(10)) is None
    assert refusal_to_approve(once, moment(10), "xx") is None
    assert refusal_to_approve(evolve(HELD, words=(word(Outcome.APPROVED, 1),)), moment(10)) is None


@pytest.mark.parametrize(
    ("lacks", "why"),
    [
        ({}, None),
        ({"state": State.UNKNOWN}, "it is UNKNOWN"),
        ({"attempts": (attempt(1, 0), attempt(2, 9))}, "sent 2 times"),
        ({"hint": None}, "not refused for its content"),
        ({"hint": ROWS[Source.PAY, "1004 without no_order"]}, "not refused for its content"),
        ({"unbilled": True}, "no query has said"),
        ({"absent": ()}, "no query has said"),
    ],
)
def test_what_an_amendment_needs(lacks: dict[str, object], why: str | None) -> None:
    """R5: refused for its content by a bound answer, one attempt, no record."""
    refusal = refusal_to_amend(evolve(AMENDABLE, **lacks))  # type: ignore[arg-type]
    assert refusal is None if why is None else why in (refusal or "")


@pytest.mark.parametrize("state", State)
def test_what_is_said_of_a_number_that_cannot_be_replaced(state: State) -> None:
    """R4 and R8: an end that was only notified is something else than a number that may still pay."""
    refusal = refusal_to_replace(View(state)) or ""
    if state in (State.FAILED, State.CLOSED, State.REFUNDED):
        assert "only notified" in refusal
        assert refusal_to_replace(View(state, agreed=True)) is None
    else:
        assert "may still pay" in refusal
        assert refusal_to_replace(View(state, agreed=True)) is not None
