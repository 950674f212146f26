"""Every row of a statement in every situation: believed where it says that money moved, and it opens nothing.

A cell holds state, step, and `N` where a new number may be opened. The situations are made by queries; the statement
comes at 100 s. A statement is not signed and comes from the merchant's own account (specification 6).
"""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from resolver_lives import HYPOTHESIS, lives
from resolver_news import BILL, DAY_S, SITUATIONS, Said, Story, cell, moment, table

from lianlian_async.resolver.decide import Step, breaker_reason
from lianlian_async.resolver.evidence import Outcome, row_of

TABLE = table("""
    before    | =SUCCESS+           | =CANCEL             | (mismatched)
    nothing   | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    lost      | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    no record | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    9104      | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    live      | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    review    | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    paid      | PAID NOTHING        | REFUNDED QUERY      | CONFLICT DECIDE
    failed    | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE
    closed    | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE
    refunded  | REFUNDED NOTHING N  | REFUNDED NOTHING N  | CONFLICT DECIDE
    conflict  | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE
""")
ROWS = ["=SUCCESS+", "=CANCEL", "(mismatched)"]


def words_of(what: str) -> Said:
    if what.startswith("("):
        return Said(Outcome.MISMATCHED, result_pay="SUCCESS", oid_paybill=BILL)
    return Said(result_pay=what[1:].rstrip("+"), oid_paybill=BILL if what.endswith("+") else None)


def listed(situation: str, what: str) -> Story:
    return SITUATIONS[situation]().listed(words_of(what), 100)


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("row", TABLE, ids=[row["before"] for row in TABLE])
def test_state_and_step(row: dict[str, str], what: str) -> None:
    """Money that moved is believed; against a proven end without payment it is a matter for people."""
    life = listed(row["before"], what)
    assert cell(life, 101) == row[what]


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_is_sent_after_a_listing_and_repeating_it_changes_nothing(situation: str, what: str) -> None:
    life = listed(situation, what)
    for later in (101, 400, 2 * DAY_S, 8 * DAY_S):
        assert life.decide(later).action is not Step.SUBMIT
    once = life.view
    assert life.listed(words_of(what), 100).view == once
    assert breaker_reason(once, life.evidence[-1]) is None


@HYPOTHESIS
@given(
    story=lives(), what=st.sampled_from(ROWS), at=st.sampled_from([0, 100, 400, DAY_S]), now=st.integers(0, 9 * DAY_S)
)
def test_a_listing_never_opens_a_send_or_a_new_number(story: Story, what: str, at: int, now: int) -> None:
    """Whatever is known: with a listing on top there is no send, and no new number that was not open before."""
    before = story.view.replaceable
    after = story.listed(words_of(what), at)
    assert after.decide(now).action is not Step.SUBMIT
    assert before or not after.view.replaceable


@pytest.mark.parametrize("situation", ["nothing", "lost", "no record", "9104", "live", "review"])
def test_what_only_a_statement_tells_is_asked_about_at_once(situation: str) -> None:
    """PAID is shown, and a signed answer is asked for; if it says FAILURE with a bill, people must look."""
    life = listed(situation, "=SUCCESS+")
    assert life.view.listed_only
    assert life.decide(101).due_at == moment(102)
    assert life.query("=FAILURE+", 103).view.state == "CONFLICT"


def test_a_payment_that_the_gateway_has_told_itself_is_not_asked_about_again_for_a_listing() -> None:
    life = listed("paid", "=SUCCESS+")
    assert not life.view.listed_only
    assert life.decide(101).due_at == moment(4 + DAY_S)


def test_a_refund_opens_a_new_number_when_a_query_agrees() -> None:
    """R8, as with a notification."""
    life = listed("paid", "=CANCEL")
    assert (life.view.state, life.view.replaceable, life.decide(101).action) == ("REFUNDED", False, Step.QUERY)
    assert life.query("=CANCEL+", 103).view.replaceable


def test_another_bill_than_the_gateways_is_a_conflict() -> None:
    """One number never has two bills (A2): if it has, it was paid twice, or not as it was said."""
    life = SITUATIONS["paid"]().listed(Said(result_pay="SUCCESS", oid_paybill="2026112099999999"), 100)
    assert life.view.state == "CONFLICT"


def test_the_gateways_own_word_on_the_settle_date_comes_first() -> None:
    life = Story().sent(0)
    life.query("=SUCCESS+", 3, settle_date="20261120")
    life.listed(words_of("=SUCCESS+"), 100)
    life.evidence[-1] = evolve(life.evidence[-1], settle_date="20261121")
    assert life.view.settle_date == "20261120"
    assert Story().listed(Said(result_pay="SUCCESS"), 1).view.settle_date is None


@pytest.mark.parametrize("word", ["FAILURE", "CLOSED", "CHECK", "APPLY", "PROCESSING", "success", "", "NEWWORD"])
def test_a_statement_cannot_say_anything_else(word: str) -> None:
    """Failures are not listed. The resolver has no row for them, so they cannot be written down."""
    life = Story().sent(0).listed(Said(result_pay=word, oid_paybill=BILL), 100)
    with pytest.raises(KeyError):
        row_of(life.evidence[-1])
