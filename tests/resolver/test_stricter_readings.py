"""Where safety.md leaves something open, its own rule is "the stricter reading wins". One test for each such place."""

from __future__ import annotations

import pytest
from resolver_news import Said, Story, news, seconds

from lianlian_async.protocol.ret_codes import Actor, Source
from lianlian_async.resolver.decide import Step
from lianlian_async.resolver.evidence import Evidence
from lianlian_async.resolver.states import State


def test_one_answer_written_down_three_times_is_one_answer() -> None:
    """R2 wants three *answers*; 3.5 retries the write of one. Same question, later entry: still one."""
    life = Story().sent(0).answer("(no answer)", 60)
    for written in (363, 364, 365):
        life.query("8901", 362, written)
    assert life.decide(366).action is Step.QUERY


def test_a_lost_attempt_stays_unanswered_under_a_failure_without_a_bill() -> None:
    """R2 speaks of unanswered attempts, 3.4 lets FAILED0 replace 8901, not the grace: attempt 1 got no answer, the query
    says FAILURE without a bill, a person resumes. Three such answers and the grace are still needed."""
    life = Story().sent(0).answer("(no answer)", 10).query("=FAILURE", 12).resumed(20).query("=FAILURE", 22)
    assert life.decide(24).action is Step.QUERY
    assert life.queries("=FAILURE", 100, 361).decide(363).action is Step.SUBMIT


def test_a_notification_is_not_the_query_that_a_resend_needs() -> None:
    """R1, R2: a *query* fact. A notified FAILURE without its (mandatory) bill permits nothing."""
    life = Story().sent(0).answer("4012", 1).notified(Said(result_pay="FAILURE"), 3)
    assert life.decide(4).action is Step.QUERY


@pytest.mark.parametrize("code", ["9999+", "4014+", "4012+", "1002+"])
def test_a_bound_answer_that_names_a_bill_is_a_record(code: str) -> None:
    """Specification 3.1: the bill comes "when the order was created". Whatever the code says, 8901 contradicts it."""
    life = Story().sent(0).answer(code, 1).queries("8901", 70, 100, 361)
    assert life.decide(363).action is not Step.SUBMIT


def test_an_order_whose_bill_was_named_and_that_is_then_denied() -> None:
    """3.4: a record that is denied for half an hour is told to the operator. With a bill it exists, so it is asked about
    on and on, never sent, and the row says who must call LianLian; a record ends the row."""
    life = Story().sent(0).answer("0000+", 1).queries("8901", 60, 600, 1700)
    assert life.decide(1702).rule.name == "in progress"
    denied = life.query("8901", 1802).decide(1804)
    assert (denied.rule.name, denied.step, denied.action, denied.who) == (
        "denied, with a bill", Step.QUERY, Step.QUERY, Actor.OPERATOR
    )  # fmt: skip
    assert "ask LianLian" in denied.advice
    assert life.query("=PROCESSING+", 2400).decide(2402).rule.name == "in progress"


@pytest.mark.parametrize("what", ["(no answer)", "9999", "9104"])
def test_the_answer_to_an_attempt_that_the_journal_lost_is_not_unsent(what: str) -> None:
    """UNSENT means *proven*: where a call was answered, or not answered, a call was made."""
    life = Story(evidence=[news(Source.PAY, what, 0, 1, 1)])
    assert life.view.state is not State.UNSENT
    assert life.decide(2).action is not Step.SUBMIT


def test_an_attempt_that_the_journal_lost_is_asked_about_and_never_sent_again() -> None:
    """Its deadline is unknown, so no number of "no record" can tell when the grace is over."""
    life = Story(evidence=[news(Source.PAY, "(no answer)", 0, 1, 1)]).queries("8901", 10, 400, 800)
    assert life.decide(802).action is Step.QUERY


def test_a_failure_without_a_bill_does_not_answer_one_of_two_attempts() -> None:
    """One attempt is in the journal, an answer tells of a second: which of them failed is not known."""
    life = Story().sent(0).query("=FAILURE", 5)
    assert life.view.state is State.REFUSED
    life.evidence.append(news(Source.PAY, "(no answer)", 2, 3, 9))
    assert life.view.state is State.UNKNOWN


def test_no_record_after_a_failure_without_a_bill_is_alarmed() -> None:
    """3.4: "8901 after a record was seen: contradiction, ignore, alarm"; FAILED0 is a record."""
    life = Story().sent(0).answer("9104", 1).query("=FAILURE", 3).query("8901", 10)
    assert any("8901" in alarm for alarm in life.view.alarms)


def test_a_word_from_the_future_is_not_fresh() -> None:
    """4.1, clock steps: the clock ran an hour ahead when "no record" came, and was set back: its age is unknown."""
    life = Story().sent(0).answer("4012", 1).query("8901", 3600)
    assert life.decide(30).action is Step.QUERY


def test_a_resume_from_the_future_releases_nothing() -> None:
    """The same for a person's word: it must not stay good for 24 hours and an hour, or cover what comes after it."""
    life = Story().sent(0).answer("9104", 1).resumed(3600).sent(60).answer("9104", 61).query("8901", 70)
    assert life.decide(72).action is not Step.SUBMIT


def test_the_schedule_starts_anew_with_a_confirm() -> None:
    """A confirm is a send (design 2), so 3.4's 2, 5, 15 s follow it; otherwise its fate is asked about minutes later."""
    life = Story().sent(0).answer("4002", 1).query("=CHECK", 1499).confirmed(1500, "(no answer)", 1501)
    due = seconds(life.decide(1501).due_at)
    assert due is not None
    assert due <= 1505


def test_a_confirm_without_any_outcome_is_seen() -> None:
    """Killed after "confirm started" was written: a person must not be asked to decide before a query has spoken."""
    life = Story().sent(0).answer("4002", 1).query("=CHECK", 99).confirmed(100, None)
    assert life.decide(161).step is Step.QUERY


def test_two_bound_answers_with_two_bills_from_a_send_and_a_query() -> None:
    """3.0: bound means that the bill agrees with the journal's; which came first must not matter (R7)."""
    one, other = ("2026112000000001", "2026112000000002")
    evidence: list[Evidence] = [
        news(Source.PAY, Said(ret_code="0000", oid_paybill=one), 0, 9, 1),
        news(Source.QUERY, Said(ret_code="0000", result_pay="PROCESSING", oid_paybill=other), 3, 4),
    ]
    assert Story(evidence=evidence).sent(0).view.state is State.CONFLICT


def test_two_failures_with_two_bills_open_nothing() -> None:
    """As above, where it would open a new number: accepted under one bill, FAILURE under another."""
    other = Said(ret_code="0000", result_pay="FAILURE", oid_paybill="2026112000000002")
    life = Story().sent(0).answer("0000+", 1).query(other, 3)
    assert (life.view.state, life.view.replaceable) == (State.CONFLICT, False)


def test_a_release_does_not_cover_a_set_up_that_a_later_query_found_wrong() -> None:
    """3.4: 1001 to a query is X for us all. Resumed, "no record", and then our signature was refused: not now."""
    life = Story().sent(0).answer("9104", 1).resumed(10).query("8901", 12).query("1001", 15)
    assert life.decide(17).action is not Step.SUBMIT


def test_the_age_of_a_no_record_counts_from_its_question() -> None:
    """Choice (5): asked at 3 s, written down 250 s later (a slow machine), 250 s more: 500 s old."""
    life = Story().sent(0).answer("4012", 1).query("8901", 3, 253)
    assert life.decide(503).action is Step.QUERY
