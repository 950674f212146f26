"""safety.md 3.2, 3.3 and T17: who may approve a payout under review, until when, and what a decline does.

The payout is sent at 0 s and held (4002, with its code) at 1 s; a query says CHECK at 3 s. Minutes matter here:
our own window ends 25 minutes after the call that brought the code.
"""

from __future__ import annotations

import pytest
from resolver_news import Said, Story, moment

from lianlian_async.protocol.ret_codes import Actor
from lianlian_async.resolver.decide import Step
from lianlian_async.resolver.evidence import Outcome, Source
from lianlian_async.resolver.permits import (
    approvals,
    confirm_until,
    refusal_to_amend,
    refusal_to_approve,
    refusal_to_confirm,
    refusal_to_decline,
    refusal_to_replace,
    same_person,
)

CODE = Said(ret_code="4002", confirm_code="542312")
LATE = 25 * 60


def held() -> Story:
    return Story().sent(0).answer(CODE, 1).query("=CHECK", 3)


def refusal(life: Story, now: float, by: str | None = None) -> str:
    return refusal_to_approve(life.view, moment(now), by) or ""


def test_fresh_from_the_gateway_it_may_be_approved() -> None:
    """CHECK, with its code, in time: a person decides."""
    assert refusal(held(), 60) == ""
    assert held().decide(60).rule.name == "review"
    assert held().view.held_at == moment(1)


def test_the_window_counts_from_the_call_that_brought_the_code() -> None:
    """25 minutes to the second, and then never again by us; the step stays with a person, the queries go on."""
    life = held()
    assert confirm_until(life.view) == moment(LATE)
    assert refusal(life, LATE) == ""
    assert "too late" in refusal(life, LATE + 1)
    decision = life.decide(LATE + 1)
    assert (decision.rule.name, decision.step, decision.action) == ("review, too late", Step.DECIDE, Step.QUERY)
    assert not life.view.replaceable


def test_without_its_code_nobody_can_approve() -> None:
    """The answer to pay was lost and a query says CHECK: portal, or wait until it closes; never a resend."""
    life = Story().sent(0).answer("(no answer)", 1).query("=CHECK", 3)
    assert confirm_until(life.view) is None
    assert "confirm_code was lost" in refusal(life, 60)
    assert life.decide(60).step is Step.DECIDE


@pytest.mark.parametrize("word", ["=PROCESSING", "=SUCCESS+", "=CLOSED", "=CANCEL"])
def test_what_is_not_under_review_any_more_cannot_be_approved_or_declined(word: str) -> None:
    """Somebody decided it in the portal, or it closed."""
    life = held().query(word, 30)
    assert "not under review" in refusal(life, 60)
    assert "not under review" in (refusal_to_decline(life.view) or "")


def test_a_decline_stays() -> None:
    """Nobody approves what was declined; it is queried until the gateway closes it, and is never called failed."""
    life = held().said(Outcome.DECLINED, 40, "anna")
    assert refusal(life, 60) == "anna has declined it already"
    decision = life.decide(60)
    assert (decision.rule.name, decision.step, decision.who) == ("declined", Step.QUERY, Actor.LIBRARY)
    assert life.view.state == "REVIEW"
    assert not life.view.replaceable
    assert life.query("=CLOSED", 1900).view.replaceable


def test_a_declined_payout_that_was_confirmed_in_the_portal_is_followed() -> None:
    """Our decline stops nobody at LianLian."""
    life = held().said(Outcome.DECLINED, 40).query("=SUCCESS+", 90)
    assert (life.view.state, life.decide(91).step) == ("PAID", Step.NOTHING)


def test_one_approval_of_two_waits_for_another_person() -> None:
    """Two persons: the first word is on record, sends nothing, and cannot be said twice by the same person."""
    life = held().said(Outcome.APPROVED, 40, "anna")
    assert [word.by for word in approvals(life.view)] == ["anna"]
    decision = life.decide(60)
    assert (decision.rule.name, decision.step) == ("review, second person", Step.DECIDE)
    assert "another person" in refusal(life, 60, "anna")
    assert refusal(life, 60, "bo") == ""


def test_a_confirm_uses_its_approvals_up() -> None:
    """After a confirm that did not pay, whoever wants it paid says so anew."""
    life = held().said(Outcome.APPROVED, 40, "anna").said(Outcome.APPROVED, 49, "bo", confirm=2)
    life = life.confirmed(50, "9104").query("=CHECK", 60)
    assert approvals(life.view) == ()
    assert refusal(life, 70, "anna") == ""


@pytest.mark.parametrize("news", ["4009", "9999", "(no answer)", "(unsigned)", None])
def test_while_a_confirm_is_not_settled_nobody_approves_or_declines(news: str | None) -> None:
    """It may have paid: the query decides."""
    life = held().confirmed(50, news)
    assert "not known yet" in refusal(life, 60)
    assert "not known yet" in (refusal_to_decline(life.view) or "")


@pytest.mark.parametrize("code", ["4008", "4010", "4011"])
def test_after_a_spent_or_wrong_code_it_is_never_sent_again(code: str) -> None:
    """3.3: 4011 never resends; 4008 and 4010 close. Not even when a later query says CHECK."""
    life = held().confirmed(50, code).query("=CHECK", 60)
    assert refusal(life, 70) != ""
    assert life.decide(70).step is Step.DECIDE


def test_after_4009_and_check_a_person_may_try_again_within_six_tries() -> None:
    """3.3: one try may be gone each time; after six the gateway closes it."""
    life = held()
    for turn in range(6):
        assert refusal(life, 100 * turn + 50) == ""
        life = life.confirmed(100 * turn + 50, "4009").query("=CHECK", 100 * turn + 60)
    assert life.view.confirms == 6
    assert "six tries" in refusal(life, 700)


def test_a_confirm_that_provably_never_left_uses_no_try() -> None:
    """The transport proved that nothing left: the gateway has counted nothing."""
    life = held().confirmed(50, "(not sent)")
    assert (life.view.confirms, refusal(life, 60)) == (0, "")


def test_a_lost_confirm_and_check_after_the_grace_comes_back_to_a_person() -> None:
    """3.3 allows the same approval one more confirm; here a person is asked again: nothing confirms by itself."""
    life = held().said(Outcome.APPROVED, 49, "anna", confirm=2).confirmed(50, "(no answer)").query("=CHECK", 420)
    assert life.decide(421).step is Step.DECIDE
    assert refusal(life, 421) == ""


def test_amended_is_a_release_like_resume() -> None:
    """R5: after a refusal by content and a person's correction it is queried first, then the same number goes."""
    refused = Story().sent(0).answer("1004", 1).query("8901", 2)
    assert refused.decide(10).step is Step.FIX
    amended = refused.said(Outcome.AMENDED, 20)
    assert amended.decide(21).action is Step.QUERY
    assert amended.query("8901", 22).decide(24).action is Step.SUBMIT


@pytest.mark.parametrize("code", ["1004", "1005", "4015"])
def test_content_that_was_refused_once_may_be_corrected(code: str) -> None:
    """R5: one attempt, a bound refusal, and "no record"."""
    life = Story().sent(0).answer(code, 1)
    assert "no record" in (refusal_to_amend(life.view) or "")
    assert refusal_to_amend(life.query("8901", 2).view) is None


def test_content_stays_where_the_old_one_may_still_be_somewhere() -> None:
    """R5: two attempts, no bound answer, another code, a failure without a bill, another state."""
    refused = [
        Story().sent(0).answer("1004", 1).query("8901", 2).said(Outcome.AMENDED, 3).query("8901", 4).sent(5).answer("1004", 6)
        .query("8901", 7),
        Story().sent(0).answer("(no answer)", 1).queries("8901", 70, 100, 400),
        Story().sent(0).answer("1004?", 1).queries("8901", 70, 100, 400),
        Story().sent(0).answer("9104", 1).query("8901", 2),
        Story().sent(0).answer("9911", 1).query("8901", 2),
        Story().sent(0).answer("1004", 1).query("=FAILURE", 2),
        Story().sent(0).answer("1004", 1).query("=PROCESSING", 2),
        Story().sent(0).answer("(not sent)", 1).sent(2).answer("1004", 3).query("8901", 4),
        Story(),
    ]  # fmt: skip
    assert all(refusal_to_amend(life.view) for life in refused)


@pytest.mark.parametrize("word", ["=FAILURE+", "=CLOSED", "=CANCEL"])
def test_a_dead_number_may_be_replaced(word: str) -> None:
    """R4: by a bound query, and by nothing less."""
    assert refusal_to_replace(Story().sent(0).query(word, 3).view) is None


def test_a_number_that_may_still_pay_is_not_replaced() -> None:
    """R4, R8: refusals, silence, "no record", a failure without a bill, a notification alone, a payment."""
    alive = [
        Story(),
        Story().sent(0),
        Story().sent(0).answer("9104", 1).query("8901", 2),
        Story().sent(0).answer("(no answer)", 1).queries("8901", 70, 100, 400, 90_000),
        Story().sent(0).answer("9104", 1).query("=FAILURE", 2),
        Story().sent(0).notified(Said(result_pay="FAILURE", oid_paybill="1"), 3),
        Story().sent(0).query("=SUCCESS+", 3),
        held().said(Outcome.DECLINED, 40),
        held().query("=CHECK", 90_000),
    ]
    assert all(refusal_to_replace(life.view) for life in alive)


def test_a_lost_confirm_is_asked_about_as_soon_as_the_answer_counts() -> None:
    """The window is short: the query comes at the end of the grace (50 + 60 + 300 s), not by the long schedule."""
    life = held().said(Outcome.APPROVED, 49, "anna", confirm=2).confirmed(50, "(no answer)").query("=CHECK", 350)
    assert life.decide(351).due_at == moment(410)
    assert life.query("=CHECK", 410).decide(411).step is Step.DECIDE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("chen", "CHEN"), ("chen", "ｃｈｅｎ"), ("Wei Chen", "Wei  Chen"), ("Wei Chen", "Wei\u00a0Chen"),
        ("Wei Chen", " Wei\u3000Chen "), ("José", "Jose\u0301"), ("chen", "ch\u200ben"), ("chen", "chen\ufe0f"),
        ("chen", "chen\u3164"), ("Straße", "STRASSE"), ("李四", "\u3000李四"),
    ],
)  # fmt: skip
def test_one_person_in_two_spellings(one: str, other: str) -> None:
    """Widths, blanks, cases, accents and what cannot be seen make no second person of the first."""
    assert same_person(one, other)


@pytest.mark.parametrize(("one", "other"), [("chen", "chan"), ("Wei Chen", "Chen Wei"), ("李四", "李五"), ("a", "a2")])
def test_two_people(one: str, other: str) -> None:
    """Names that differ in what can be read are two people's."""
    assert not same_person(one, other)


def confirming(life: Story, since: float, *, two_person: bool = False) -> str:
    queries = [e for e in life.evidence if e.source is Source.QUERY]
    return refusal_to_confirm(life.view, queries, since=moment(since), two_person=two_person) or ""


def test_check_must_be_the_answer_to_a_question_after_the_approval() -> None:
    """Law 3.3: "Q must say CHECK just before": an older CHECK, or no answer at all, says nothing about now."""
    assert "did not say just now" in confirming(held().query("=CHECK", 29), 30)
    assert "did not say just now" in confirming(held().query("(no answer)", 31), 30)
    assert "did not say just now" in confirming(held().query("=CHECK", 31).query("=PROCESSING", 32), 30)
    assert confirming(held().query("=CHECK", 30), 30) == ""
    assert confirming(held().query("=CHECK", 31).query("(no answer)", 32), 30) == ""


def test_two_approvals_are_needed_for_every_confirm() -> None:
    """Words that a confirm has used up count for no other confirm (law 3.3, T17)."""
    life = held().said(Outcome.APPROVED, 10, "A").query("=CHECK", 20)
    assert confirming(life, 15, two_person=True) == ""
    used = life.said(Outcome.APPROVED, 21, "B", confirm=2).confirmed(22, "4009", 23).query("=CHECK", 30)
    assert "another" not in confirming(used, 25)
    assert "no other person's approval" in confirming(used, 25, two_person=True)
