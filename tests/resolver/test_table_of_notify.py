"""Every notification in every situation, against safety.md 3.6, R7 and R8.

A cell holds state, step, and `N` where a new number may be opened. The situations are made by queries; the
notification comes at 100 s. A notification alone never opens `replace`, and an older one never changes anything.
"""

from __future__ import annotations

import pytest
from resolver_news import BILL, SITUATIONS, Said, Story, cell, table

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.decide import Step, breaker_reason
from lianlian_async.resolver.evidence import Outcome, row_of

TABLE = table("""
    before    | =SUCCESS+           | =FAILURE+           | =CANCEL+            | (mismatched)
    nothing   | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    lost      | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    no record | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    9104      | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    live      | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    review    | PAID NOTHING        | FAILED QUERY        | REFUNDED QUERY      | CONFLICT DECIDE
    paid      | PAID NOTHING        | CONFLICT DECIDE     | REFUNDED QUERY      | CONFLICT DECIDE
    failed    | CONFLICT DECIDE     | FAILED NOTHING N    | CONFLICT DECIDE     | CONFLICT DECIDE
    closed    | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE
    refunded  | REFUNDED NOTHING N  | CONFLICT DECIDE     | REFUNDED NOTHING N  | CONFLICT DECIDE
    conflict  | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE
""")
NEWS = ["=SUCCESS+", "=FAILURE+", "=CANCEL+", "(mismatched)"]


def words_of(what: str) -> Said:
    return Said(Outcome.MISMATCHED) if what.startswith("(") else Said(result_pay=what[1:-1], oid_paybill=BILL)


def notified(situation: str, what: str) -> Story:
    return SITUATIONS[situation]().notified(words_of(what), 100)


@pytest.mark.parametrize("what", NEWS)
@pytest.mark.parametrize("row", TABLE, ids=[row["before"] for row in TABLE])
def test_state_and_step(row: dict[str, str], what: str) -> None:
    """Forward news is shown at once, older news changes nothing, contradicting news is a conflict."""
    life = notified(row["before"], what)
    assert cell(life, 101) == row[what]


@pytest.mark.parametrize("what", NEWS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_library_asks_after_it_and_never_sends(situation: str, what: str) -> None:
    """A contradiction or an unconfirmed bad end is queried (3.6); a repeat changes nothing."""
    life = notified(situation, what)
    decision = life.decide(101)
    assert decision.action is not Step.SUBMIT
    if decision.step is not Step.NOTHING:
        assert decision.action is Step.QUERY
    once = life.view
    assert life.notified(words_of(what), 100).view == once


@pytest.mark.parametrize(("word", "state"), [("FAILURE+", "FAILED"), ("CANCEL+", "REFUNDED")])
def test_a_new_number_opens_when_a_query_agrees(word: str, state: str) -> None:
    """R8: shown after the notification, agreed only after the query."""
    life = notified("lost", f"={word}")
    assert not life.view.replaceable
    life.query(f"={word}", 103)
    assert (life.view.state, life.view.replaceable, life.decide(105).step) == (state, True, "NOTHING")


@pytest.mark.parametrize("other", ["=PROCESSING", "8901", "9999", "(foreign)", "="])
def test_a_bad_end_stays_unconfirmed_while_no_query_agrees(other: str) -> None:
    """R8: a notified CANCEL opens nothing until a query says CANCEL."""
    life = notified("lost", "=CANCEL+").query(other, 103)
    assert not life.view.replaceable
    assert life.decide(105).step is Step.QUERY


def test_a_notified_failure_is_agreed_only_by_a_query_that_names_the_bill_itself() -> None:
    """R8, R4: a notification may be forged (5.2), and a FAILURE without a bill is what a living number may show too."""
    life = notified("lost", "=FAILURE+").query("=FAILURE", 103)
    assert not life.view.replaceable
    assert life.query("=FAILURE+", 110).view.replaceable


def test_notifications_never_trip_the_breaker() -> None:
    """3.2 to 3.6 know no B for a notification."""
    for what in NEWS:
        life = notified("lost", what)
        assert breaker_reason(life.view, life.evidence[-1]) is None


@pytest.mark.parametrize("word", ["CLOSED", "CHECK", "APPLY", "PROCESSING", "success", "", "NEWWORD"])
def test_a_notification_of_an_unknown_state_is_no_evidence(word: str) -> None:
    """3.6: "unknown state": a counter only. The resolver has no row for it, so it cannot be written down."""
    life = Story().sent(0).notified(Said(result_pay=word, oid_paybill=BILL), 100)
    assert life.evidence[-1].source is Source.NOTIFY
    with pytest.raises(KeyError):
        row_of(life.evidence[-1])
