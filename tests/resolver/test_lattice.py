"""I4: what is reported never moves down; more news can only say more.

UNSENT < UNKNOWN, REFUSED < IN_PROGRESS, REVIEW < PAID, FAILED, CLOSED < REFUNDED < CONFLICT. A *new attempt* may turn
UNSENT and REFUSED into UNKNOWN; the answer to an attempt may turn UNKNOWN into REFUSED, the proof that it did not
leave into UNSENT. That is all the movement there is.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resolver_lives import HYPOTHESIS, lives, many_lives
from resolver_news import Story, attempt, news

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.states import FINAL, State, view_of

MANY = settings(HYPOTHESIS, max_examples=200)
LEVEL = {
    State.UNSENT: 0,
    State.UNKNOWN: 1,
    State.REFUSED: 1,
    State.IN_PROGRESS: 2,
    State.REVIEW: 2,
    State.PAID: 3,
    State.FAILED: 3,
    State.CLOSED: 3,
    State.REFUNDED: 4,
    State.CONFLICT: 5,
}


def may_follow(before: State, after: State) -> bool:
    """May one more piece of evidence move `before` to `after`?"""
    if before is after or LEVEL[before] < LEVEL[after]:
        return not (before in (State.FAILED, State.CLOSED) and after is State.REFUNDED)
    open_question = before is State.UNKNOWN and after in (State.REFUSED, State.UNSENT)
    return open_question or {before, after} == {State.IN_PROGRESS, State.REVIEW}


def test_every_state_has_a_level() -> None:
    """The table above is complete, and the final states are those that end a number."""
    assert set(LEVEL) == set(State)
    assert {State.PAID, State.FAILED, State.CLOSED, State.REFUNDED} == FINAL
    assert view_of([], ENDS["PAID"]).final
    assert not view_of([attempt(1, 0)], []).final


@MANY
@given(story=lives())
def test_one_more_piece_of_evidence_never_moves_the_state_down(story: Story) -> None:
    """Any life, any one piece of it taken as the last to arrive."""
    nothing_moves_down(story)


def test_many_lives_never_move_down() -> None:
    """The same for 1,500 lives of the seeded dice."""
    for story in many_lives(1500, 11):
        nothing_moves_down(story)


def nothing_moves_down(story: Story) -> None:
    for last in story.evidence:
        rest = [piece for piece in story.evidence if piece != last]
        before, after = view_of(story.attempts, rest), story.view
        if after.unbilled and not after.sent:
            continue  # somebody else uses our numbers (A4): "not sent" turns a refusal of ours into UNKNOWN
        assert may_follow(before.state, after.state), (before.state, after.state, last)
        if before.replaceable:
            assert after.replaceable or after.state is State.CONFLICT


@MANY
@given(story=lives(), start=st.integers(0, 100_000))
def test_a_new_attempt_only_makes_it_unknown(story: Story, start: int) -> None:
    """Starting an attempt forgets a refusal, and nothing else."""
    after = view_of([*story.attempts, attempt(99, start)], story.evidence)
    expected = State.UNKNOWN if story.view.state in (State.UNSENT, State.REFUSED) else story.view.state
    assert after.state is expected
    assert after.replaceable == story.view.replaceable


@MANY
@given(story=lives(), data=st.data())
def test_more_evidence_never_brings_a_record_back_to_none(story: Story, data: st.DataObject) -> None:
    """Subsets: the state of any part of the evidence lies at or below the whole's."""
    part = [piece for piece in story.evidence if data.draw(st.booleans())]
    before = view_of(story.attempts, part).state
    assert LEVEL[before] <= LEVEL[story.view.state] or (before, story.view.state) == (State.UNKNOWN, State.UNSENT)


ENDS = {
    "PAID": [news(Source.QUERY, "=SUCCESS+", 10)],
    "FAILED": [news(Source.QUERY, "=FAILURE+", 11)],
    "CLOSED": [news(Source.QUERY, "=CLOSED", 12)],
    "REFUNDED": [news(Source.QUERY, "=CANCEL+", 13)],
}


@pytest.mark.parametrize(("one", "other"), list(itertools.product(ENDS, repeat=2)))
def test_two_ends(one: str, other: str) -> None:
    """R7: a refund lies over PAID; any other two ends contradict each other, and nothing may be opened."""
    view = view_of([attempt(1, 0)], [*ENDS[one], *ENDS[other]])
    if one == other:
        assert view.state == one
    elif {one, other} == {"PAID", "REFUNDED"}:
        assert (view.state, view.replaceable) == ("REFUNDED", True)
    else:
        assert (view.state, view.replaceable) == ("CONFLICT", False)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("late", ["=APPLY", "=CHECK", "=PROCESSING", "=NEW", "8901", "9999", "=FAILURE"])
def test_late_progress_never_reopens_an_end(end: str, late: str) -> None:
    """R7, trap 13: an older question, answered after the end, changes nothing."""
    attempts = [attempt(1, 0)]
    before = view_of(attempts, ENDS[end])
    after = view_of(attempts, [*ENDS[end], news(Source.QUERY, late, 5, 50)])
    assert (after.state, after.replaceable) == (before.state, before.replaceable)


def test_an_older_question_answered_late_does_not_take_a_failure_back() -> None:
    """I4: FAILURE is final and a new number may be out already. A query that had been asked before, and hung, now
    brings FAILURE without a bill: the number stays dead."""
    life = Story().sent(0).answer("0000+", 12).query("=FAILURE+", 20, 21)
    assert life.view.replaceable
    assert life.query("=FAILURE", 10, 25).view.replaceable


def test_a_failure_without_its_own_bill_is_not_final_under_an_earlier_bill() -> None:
    """Stricter than 3.4's "or in an earlier bound answer": a doubled request may have failed without a bill before the
    billed order was made, and a lagging lookup shows that failure (the walk that `test_walks` found)."""
    life = Story().sent(0).answer("0000+", 12).query("=FAILURE", 20, 21)
    assert (life.view.replaceable, life.decide(22).step) == (False, "DECIDE")
    assert life.query("=PROCESSING+", 23).view.state is State.IN_PROGRESS


def test_a_review_after_the_bank_and_an_acceptance_after_the_review_change_nothing() -> None:
    """Accepted, then under review, then at the bank: older copies do not lead back."""
    life = Story().sent(0).answer("0000", 1).query("=CHECK", 3)
    assert life.view.state is State.REVIEW
    assert life.query("=APPLY", 5).view.state is State.REVIEW
    assert life.query("=PROCESSING", 7).view.state is State.IN_PROGRESS
    assert life.query("=CHECK", 9).view.state is State.IN_PROGRESS
