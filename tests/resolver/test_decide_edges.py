"""The decision table at its edges: the last moment on this side, the first on that, and who is told what."""

from __future__ import annotations

import pytest
from resolver_news import BILL, DAY_S, Said, Story, moment

from lianlian_async.protocol.ret_codes import Actor, Source
from lianlian_async.resolver.decide import Step
from lianlian_async.resolver.evidence import ROWS
from lianlian_async.resolver.rules import RULES

HELD = Said(ret_code="4002", confirm_code="542312")
LATE = 25 * 60


def lost() -> Story:
    """Sent at 0 s, and no answer by 60 s."""
    return Story().sent(0).answer("(no answer)", 60)


def advice_of(source: Source, key: str) -> str:
    return ROWS[source, key].effect.advice


# ---------------------------------------------------------------------- pause


def test_a_pause_stops_sends_only() -> None:
    """What is only asked about goes on; a first send waits for a person; an old word is not asked about to send."""
    assert lost().decide(100, paused=True).rule.name == "ask first"
    first = Story().decide(1, paused=True)
    assert (first.rule.name, first.action, first.who) == ("paused", None, RULES["paused"].who)
    free = Story().sent(0).answer("9104", 1).resumed(5).query("8901", 10)
    assert free.decide(1_000).rule.name == "ask again"
    assert free.decide(1_000, paused=True).rule.name == "paused"


def test_the_first_send_is_the_librarys_own() -> None:
    """At once, and nobody else has to do anything."""
    first = Story().decide(1)
    assert (first.rule.name, first.who, first.action, first.due_at) == (
        "first send",
        Actor.LIBRARY,
        Step.SUBMIT,
        moment(1),
    )


# ---------------------------------------------------------------------- under review


def test_what_is_told_of_a_confirm_on_its_way() -> None:
    """Its answer's own advice, or the rule's when none came."""
    life = Story().sent(0).answer(HELD, 1)
    silent = life.confirmed(10, None).decide(20)
    assert (silent.rule.name, silent.advice) == ("confirming", RULES["confirming"].advice)
    unclear = Story().sent(0).answer(HELD, 1).confirmed(10, "9999").decide(20)
    assert (unclear.rule.name, unclear.advice) == ("confirming", advice_of(Source.CONFIRM, "9999"))


def test_what_is_told_of_a_review() -> None:
    """The advice of the code that held it, when there is one; an unclear confirm that a query has settled is past."""
    settled = Story().sent(0).answer(HELD, 1).confirmed(10, "9999").query("=CHECK", 500).decide(501)
    assert (settled.rule.name, settled.advice) == ("review", advice_of(Source.PAY, "4002"))
    unknown = lost().query("=CHECK", 100).decide(101)
    assert (unknown.rule.name, unknown.advice) == ("review", RULES["review"].advice)
    orphan = Story().query("=CHECK", 100).decide(101)
    assert (orphan.rule.name, orphan.advice) == ("review", RULES["review"].advice)


def test_the_last_moment_to_confirm() -> None:
    """25 minutes after the call, and not a second later."""
    life = Story().sent(0).answer(HELD, 1).query("=CHECK", 3)
    assert life.decide(LATE).rule.name == "review"
    assert life.decide(LATE + 1).rule.name == "review, too late"


# ---------------------------------------------------------------------- in progress


@pytest.mark.parametrize(("bill", "name"), [(None, "denied by the gateway"), (BILL, "denied, with a bill")])
def test_denied_for_half_an_hour(bill: str | None, name: str) -> None:
    """To the second; it makes a difference whether a bill was named."""
    shown = Said(ret_code="0000", result_pay="PROCESSING", oid_paybill=bill)
    assert lost().query(shown, 100).query("8901", 1_900).decide(1_902).rule.name == "in progress"
    assert lost().query(shown, 100).query("8901", 1_901).decide(1_902).rule.name == name


def test_accepted_and_not_yet_at_the_bank() -> None:
    """More than ten minutes after the send; without one of ours there is nothing to count from."""
    life = Story().sent(0).answer("0000", 1).query("=APPLY", 10)
    assert life.decide(600).rule.name == "in progress"
    assert life.decide(601).rule.name == "stuck at the gateway"
    assert Story().query("=APPLY", 10).decide(1_000).rule.name == "in progress"


# ---------------------------------------------------------------------- ended


def test_a_paid_order_is_watched_for_a_week() -> None:
    """On the first, third and seventh day after it was learned; then no more."""
    life = Story().sent(0).answer("0000", 1).query("=SUCCESS+", 99, 100)
    day = life.decide(200)
    assert (day.rule.name, day.action, day.due_at) == ("paid, watched", Step.QUERY, moment(100 + DAY_S))
    last = life.query("=SUCCESS+", 100 + 7 * DAY_S).decide(100 + 7 * DAY_S)
    assert (last.rule.name, last.action, last.due_at) == ("paid", None, None)


def test_what_is_told_when_nobody_asks_any_more() -> None:
    """After seven days what waits for somebody still waits for the same one, with the same words."""
    conflict = lost().query("=SUCCESS+", 100).query("=CLOSED", 200).query("(no answer)", 8 * DAY_S).decide(8 * DAY_S)
    assert (conflict.rule.name, conflict.advice, conflict.who) == (
        "conflict",
        RULES["conflict"].advice,
        RULES["conflict"].who,
    )
    refused = Story().sent(0).answer("1004", 1).query("8901", 10).query("(no answer)", 8 * DAY_S).decide(8 * DAY_S)
    assert (refused.rule.name, refused.action) == ("fix", None)
    assert (refused.advice, refused.who) == (advice_of(Source.PAY, "1004"), ROWS[Source.PAY, "1004"].effect.who)
    assert refused.who is not RULES["fix"].who
    unknown = lost().query("(no answer)", 8 * DAY_S).decide(8 * DAY_S)
    assert (unknown.rule.name, unknown.action) == ("given up", None)


# ---------------------------------------------------------------------- when it is asked


def test_a_set_up_that_was_mended() -> None:
    """A query was turned away for our own set-up: that counts until somebody says, even in that moment, that it is mended."""
    life = lost().query("1001", 100, 101)
    assert life.decide(102).rule.name == "fix"
    assert life.resumed(101).decide(102).rule.name == "ask first"


def test_a_set_up_to_mend_does_not_hide_that_a_person_must_decide() -> None:
    """The conflict stays the word of the day."""
    life = lost().query("=SUCCESS+", 100).query("=CLOSED", 200).query("1001", 300)
    assert life.decide(302).rule.name == "conflict"


def test_a_busy_gateway_is_asked_half_as_often() -> None:
    """Also when the question was asked in the very moment of the send."""
    assert Story().sent(10).query("(busy)", 10, 11).decide(11).due_at == moment(14)


@pytest.mark.parametrize("asked", [360, 400])
def test_after_the_grace_the_schedule_goes_on(asked: float) -> None:
    """Asked at its end or later: the next question is the schedule's, not at once."""
    assert lost().query("(no answer)", asked).decide(asked + 1).due_at == moment(600)
    assert lost().query("(no answer)", 359).decide(359.5).due_at == moment(360)


@pytest.mark.parametrize("asked", [370, 400])
def test_after_the_grace_of_a_confirm_the_schedule_goes_on(asked: float) -> None:
    """The same where a confirm was lost at 10 s: its grace ends at 370 s."""
    life = Story().sent(0).answer(HELD, 1).confirmed(10, "(no answer)", 70)
    assert life.query("(no answer)", asked).decide(asked + 1).due_at == moment(610)


def test_a_confirm_that_was_refused_has_no_grace() -> None:
    """There is nothing to wait for: the schedule alone says when."""
    assert Story().sent(0).answer(HELD, 1).confirmed(100, "4010").decide(101).due_at == moment(102)


def test_an_attempt_that_did_not_leave_has_no_grace() -> None:
    """Only what is unanswered is waited for."""
    life = Story().sent(0).answer("(not sent)", 1).query("=FAILURE", 300)
    decision = life.decide(301)
    assert (decision.rule.name, decision.due_at) == ("failed, no reason", moment(600))


# ---------------------------------------------------------------------- released, or not


def test_how_long_a_release_holds() -> None:
    """From the moment it was said, for a day; a moment that is still to come releases nothing."""
    life = lost().query("=FAILURE", 100).resumed(200)
    held = [life.decide(now).rule.name for now in (190, 200, 200 + DAY_S, 201 + DAY_S)]
    assert held == ["failed, no reason", "ask first", "ask first", "failed, no reason"]


def test_a_release_in_the_moment_of_the_last_news() -> None:
    """It counts for what was known then."""
    assert lost().resumed(60).query("=FAILURE", 70).decide(80).rule.name != "failed, no reason"
    refused = Story().sent(0).answer("1004", 50).resumed(50).query("8901", 60)
    assert refused.decide(62).rule.name == "resend"


def test_a_release_without_an_attempt() -> None:
    """Somebody else's failure under our number is released as well: then it is asked about."""
    life = Story().query("=FAILURE", 5)
    assert life.decide(10).rule.name == "failed, no reason"
    assert life.resumed(10).decide(20).rule.name == "ask first"


def test_what_must_be_mended_goes_before_a_failure_without_a_reason() -> None:
    """The answer to the send named something to mend, though no number: the failure is not without a reason."""
    decision = Story().sent(0).answer("9910?", 1).query("=FAILURE", 500).decide(502)
    assert (decision.rule.name, decision.advice) == ("ask first", advice_of(Source.PAY, "9910 without no_order"))


# ---------------------------------------------------------------------- what is told, and the resend


def test_why_it_is_asked_about() -> None:
    """The newest answer's words; or that there was none; or that it comes first."""
    assert lost().decide(61).advice == advice_of(Source.PAY, "no answer")
    assert "no answer was written down" in Story().sent(0).decide(1).advice
    assert "before it is sent" in Story().decide(1_000).advice


def test_an_order_that_could_not_be_created_waits_and_no_other() -> None:
    """4014 is sent again after a minute, from then on at once; any other refused order at once."""
    life = Story().sent(0).answer("4014", 1).query("8901", 10)
    early, due = life.decide(12), life.decide(61)
    assert (early.rule.name, early.due_at) == ("resend later", moment(61))
    assert (due.rule.name, due.due_at) == ("resend", moment(61))
    other = Story().sent(0).answer("9104", 1).resumed(5).query("8901", 10).decide(12)
    assert (other.rule.name, other.due_at) == ("resend", moment(12))


def test_an_old_word_is_asked_about_ever_more_slowly() -> None:
    """2 s after the first question that was not answered, 5 s after the second; those before the word do not count."""
    life = Story().sent(0).answer("9104", 1).resumed(5).queries("8901", 10, 20)
    assert life.decide(1_000).due_at == moment(1_000)
    once = life.query("(no answer)", 1_000).decide(1_001)
    assert (once.rule.name, once.action, once.due_at) == ("ask again", Step.QUERY, moment(1_002))
    assert life.query("(no answer)", 1_002).decide(1_003).due_at == moment(1_007)
