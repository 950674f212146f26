"""What a view tells of its evidence: one detail at a time, told in a life in which another reading would show."""

from __future__ import annotations

import attrs
import pytest
from resolver_news import BILL, Said, Story, attempt, moment, news, story

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.evidence import Evidence, Outcome
from lianlian_async.resolver.states import State, View, view_of

HELD = Said(ret_code="4002", confirm_code="542312")
OTHER_BILL = "2026112000000002"


def lost() -> Story:
    """Sent at 0 s, and no answer by 60 s."""
    return Story().sent(0).answer("(no answer)", 60)


def test_a_confirm_is_no_attempt_to_pay() -> None:
    """Neither among the attempts nor among what was sent, nor does its number open anything."""
    view = Story().sent(0).answer(HELD, 1).confirmed(10, "0000").view
    assert [a.number for a in view.attempts] == [1]
    assert (view.sent, view.open, view.sent_at) == (1, (1,), moment(0))


def test_when_it_was_last_sent() -> None:
    """An attempt that did not leave has not sent it; all since the last that did are counted."""
    view = lost().sent(100).answer("(not sent)", 101).view
    assert (view.sent, view.open, view.sent_at, view.unsent_run) == (1, (1,), moment(0), 1)


def test_the_newest_attempt_that_left_is_the_one_with_the_highest_number() -> None:
    """Also when the journal has lost an earlier one, and hears of it only from its answer."""
    pieces = [news(Source.PAY, "1004", 0, 1, 1), news(Source.PAY, "9104", 100, 101, 2)]
    view = view_of([attempt(2, 100)], pieces)
    assert view.hint is not None
    assert (view.sent, view.hint.key, view.unsent_run) == (2, "9104", 0)


def test_a_failure_without_a_bill_since_the_newest_attempt() -> None:
    """Asked for in the same moment counts, before it does not; and without any attempt it always does."""
    assert Story().query("=FAILURE", 5).view.unbilled_since_send
    view = Story().sent(10).query("=FAILURE", 10).view
    assert (view.unbilled, view.unbilled_since_send) == (True, True)
    view = Story().sent(0).query("=FAILURE", 10).sent(20).view
    assert (view.unbilled, view.unbilled_since_send) == (True, False)
    assert not Story().sent(0).query("=FAILURE+", 10).view.unbilled


def test_a_failure_without_a_bill_and_without_an_attempt() -> None:
    """Somebody else uses our numbers: that is not as if nothing had been sent."""
    assert Story().query("=FAILURE", 5).view.state is State.UNKNOWN


def test_a_failure_without_a_bill_answers_the_only_attempt_that_left() -> None:
    """Others did not leave; and it was asked for no earlier than the attempt began."""
    assert lost().sent(100).answer("(not sent)", 101).query("=FAILURE", 200).view.state is State.REFUSED
    assert Story().sent(10).query("=FAILURE", 10).view.state is State.REFUSED
    assert Story().sent(10).query("=FAILURE", 9).view.state is State.UNKNOWN


def test_the_last_word_is_a_failure_without_a_bill() -> None:
    """Asked for at or after the newest progress."""
    shown = lost().query("=PROCESSING", 100)
    assert shown.query("=FAILURE", 101).view.unbilled_last
    assert not shown.query("=PROCESSING", 200).view.unbilled_last


def test_a_failure_without_a_bill_that_was_only_notified_proves_nothing() -> None:
    """It does not even end the row of "no record" answers."""
    view = lost().queries("8901", 400, 500).notified(Said(result_pay="FAILURE"), 600).view
    assert (view.state, len(view.absent)) == (State.UNKNOWN, 2)


def test_no_record_after_a_failure_without_a_bill() -> None:
    """The failure stays the answer that counts."""
    view = lost().query("=FAILURE", 100).query("8901", 200).view
    assert [word.asked_at for word in view.absent] == [moment(100)]


def test_a_no_record_counts_from_the_moment_of_the_attempt() -> None:
    """Asked for in the very moment it counts; any fact that came later takes it away."""
    assert len(Story().sent(10).query("8901", 10).view.absent) == 1
    assert Story().sent(0).query("8901", 10).answer("1004", 50).view.absent == ()
    assert lost().query("8901", 100).query("=PROCESSING", 200).query("8901", 300).view.absent == ()


@pytest.mark.parametrize(
    ("asked", "what", "state"),
    [
        (50, "8901", State.REFUSED),
        (49, "8901", State.UNKNOWN),
        (60, "(no answer)", State.UNKNOWN),
    ],
)
def test_an_unclear_refusal_needs_a_later_no_record(asked: float, what: str, state: State) -> None:
    """1008, answered at 50 s: only "no record", asked for at or after that, makes it a refusal."""
    assert Story().sent(0).answer("1008", 50).query(what, asked).view.state is state


def test_a_bill_says_that_the_gateway_has_it() -> None:
    """In a bound answer; one that names no number may be anybody's."""
    assert Story().sent(0).answer("4012+", 1).view.state is State.IN_PROGRESS
    assert Story().sent(0).answer("1008+", 1).view.state is State.IN_PROGRESS
    assert lost().query("8901+", 100).view.state is State.IN_PROGRESS
    other = Said(Outcome.NUMBERLESS, ret_code="4012", oid_paybill=BILL)
    assert Story().sent(0).answer(other, 1).view.state is State.UNKNOWN
    assert Story().sent(0).answer(Said(Outcome.FOREIGN, oid_paybill=BILL), 1).view.state is State.UNKNOWN


def test_another_bill_in_an_answer_that_is_not_bound() -> None:
    """It is no second bill of this order."""
    other = Said(Outcome.NUMBERLESS, ret_code="4005", oid_paybill=OTHER_BILL)
    view = Story().sent(0).answer("0000+", 1).query(other, 10).view
    assert (view.state, view.oid_paybill) == (State.IN_PROGRESS, BILL)


def test_answers_of_other_orders_count_only_from_queries() -> None:
    """Three queries that bring another order's record are a conflict; a mixed-up answer to a send is none of them."""
    foreign = Said(Outcome.FOREIGN)
    mixed = Story().sent(0).answer(foreign, 1).query(foreign, 10).query(foreign, 20)
    assert mixed.view.state is State.UNKNOWN
    assert mixed.query(foreign, 30).view.state is State.CONFLICT
    sends = Story()
    for start in (0, 100, 200):
        sends.sent(start).answer(foreign, start + 1)
    assert sends.view.state is State.UNKNOWN


def test_for_how_long_it_has_been_denied() -> None:
    """From the last record shown to the newest "no record" asked for after it; never below zero."""
    shown = lost().query("8901", 70).query("=PROCESSING", 100)
    assert shown.view.denied_for_s == 0.0
    assert shown.query("(no answer)", 500).view.denied_for_s == 0.0
    assert shown.query("8901", 201).view.denied_for_s == 100.0


def test_a_later_record_ends_the_denial() -> None:
    """The alarm stays: it was denied after the first record."""
    view = lost().query("=PROCESSING", 100).query("8901", 201).query("=PROCESSING", 300).view
    assert view.denied_for_s == 0.0
    assert any("8901" in alarm for alarm in view.alarms)


@pytest.mark.parametrize(("asked", "alarms"), [(60, 0), (101, 0), (102, 1)])
def test_an_alarm_about_a_record_that_is_denied(asked: float, alarms: int) -> None:
    """Only for a question that came after the record was shown (at 101 s), not for any news before it."""
    view = lost().query("=PROCESSING", 100).query("8901", asked).view
    assert sum("8901" in alarm for alarm in view.alarms) == alarms


def test_an_alarm_about_evidence_that_contradicts_itself() -> None:
    """It is said once, in words for an operator."""
    view = lost().query("=SUCCESS+", 100).query("=CLOSED", 200).view
    assert view.state is State.CONFLICT
    assert [alarm for alarm in view.alarms if "contradicts itself" in alarm] == [view.alarms[-1]]


def test_the_newest_release_counts() -> None:
    """A person's `resume`, of which there may be several."""
    assert lost().resumed(100).resumed(200).view.resumed_at == moment(200)


def test_words_of_a_review_and_when_it_was_held() -> None:
    """From the first sign of the review; other news of it, and a `resume`, are no words."""
    view = lost().query("=CHECK", 100).resumed(150).said(Outcome.APPROVED, 200).query("=CHECK", 300).view
    assert view.held_at == moment(101)
    assert [word.outcome for word in view.words] == [Outcome.APPROVED]


def test_the_newest_confirm_is_the_one_that_is_told_of() -> None:
    """Of two, the first of which was answered and the second not."""
    view = Story().sent(0).answer(HELD, 1).confirmed(10, "4008").confirmed(100, None).view
    assert (view.confirm_at, view.confirm, view.confirming, view.confirms) == (moment(100), None, True, 2)


def test_the_newest_answer_of_a_confirm() -> None:
    """What came last about it, even if something came before."""
    life = Story().sent(0).answer(HELD, 1).confirmed(10, "(no answer)", 70)
    life.evidence.append(news(Source.CONFIRM, "4010", 10, 80, 2))
    assert life.view.confirm is not None
    assert life.view.confirm.key == "4010"


@pytest.mark.parametrize("what", ["(no answer)", "8901", "9999"])
def test_only_a_record_settles_a_confirm(what: str) -> None:
    """A query that shows nothing says nothing of what the confirm did, however late it is asked."""
    life = Story().sent(0).answer(HELD, 1).confirmed(10, "(no answer)", 70)
    assert life.query(what, 1_000).view.confirming
    assert not life.query("=CHECK", 1_100).view.confirming


def test_only_a_query_settles_a_confirm() -> None:
    """What was notified, or answered to the send, is no answer to a question about it."""
    life = Story().sent(0).answer(HELD, 1).confirmed(10, "(no answer)", 70)
    assert life.notified(Said(result_pay="SUCCESS", oid_paybill=BILL), 1_000).view.confirming


def test_a_hint_is_about_the_newest_attempt_that_left() -> None:
    """An earlier one's answer says nothing of it."""
    assert Story().sent(0).answer("9104", 1).sent(100).view.hint is None


def test_attempts_that_ended_alike() -> None:
    """Those that ended as the newest did, and no others; the newest word about it counts."""
    life = Story().sent(0).answer("9104", 1).sent(100).answer("(no answer)", 160)
    assert life.view.hints_alike == 1
    life.evidence.append(news(Source.PAY, "9104", 100, 170, 2))
    assert (life.view.hints_alike, life.view.hint_at) == (2, moment(170))


def test_details_come_from_bound_answers() -> None:
    """Their code is that of the newest answer to a send or confirm that has one."""
    view = Story().sent(0).answer("4005?", 1).view
    assert view.ret_code is None
    life = Story().sent(0).answer(HELD, 1).query("8901", 10)
    assert life.view.ret_code == "4002"
    assert life.confirmed(20, "4010").view.ret_code == "4010"
    assert life.sent(100).answer(Said(), 101).view.ret_code == "4010"


def test_the_newest_settlement_day_that_was_named() -> None:
    """A later answer without one does not take it away."""
    life = lost().query("=SUCCESS+", 100, settle_date="20261120").query("=SUCCESS+", 200)
    assert life.view.settle_date == "20261120"


def test_when_it_was_last_heard_of() -> None:
    """By notification, and by a bound answer to a query."""
    life = lost().query("=PROCESSING", 100).query("=PROCESSING", 200).query("(no answer)", 300)
    assert (life.view.heard_at, life.view.notified_at) == (moment(201), None)
    for at in (400, 500):
        life.notified(Said(result_pay="SUCCESS", oid_paybill=BILL), at)
    assert life.query("=SUCCESS+", 600).view.notified_at == moment(500)


PIECE = Evidence(Source.PERSON, Outcome.APPROVED, moment(20), moment(10))
WORDS = ("ret_code", "ret_msg", "result_pay", "oid_paybill", "settle_date", "confirm_code", "detail", "by")


@pytest.mark.parametrize("name", [*WORDS, "attempt"])
def test_pieces_of_one_moment_have_one_order(name: str) -> None:
    """They are told apart by everything that they say, so that no order of arrival shows."""
    values = (None, 1, 2, 3, 4, 5, 6, 7) if name == "attempt" else (None, "A", "B", "C", "a", "b", "c", "d")
    pieces = tuple(attrs.evolve(PIECE, **{name: value}) for value in values)
    assert view_of((), pieces).words == view_of((), pieces[::-1]).words == pieces


def test_of_one_moment_what_is_about_no_attempt_comes_first() -> None:
    """Whatever else it says."""
    pieces = tuple(attrs.evolve(PIECE, attempt=attempt, detail=words) for attempt in (None, 1) for words in "ab")
    assert view_of((), pieces).words == view_of((), pieces[::-1]).words == pieces


def test_news_is_read_in_the_order_of_time() -> None:
    """However it is handed over, and however often: a part of it in order is not all of it in order."""
    pieces: list[Evidence] = lost().queries("8901", 400, 500, 600).evidence
    jumbled = [pieces[0], pieces[2], pieces[1], pieces[3]]
    attempts = lost().attempts
    assert view_of(attempts, jumbled) == view_of(attempts, pieces)
    assert view_of(attempts, [*pieces, *pieces]) == view_of(attempts, pieces)
    assert view_of(attempts, [pieces[0], pieces[1], pieces[1]]).queried_at == (moment(400),)


def test_nothing_is_known_of_nothing() -> None:
    """No attempt, no news: what a view holds when it is not told otherwise."""
    view = story().view
    assert view == View(State.UNSENT)
    assert (view.sent_at, view.latest, view.hints_alike, view.confirms) == (None, None, 0, 0)


def test_a_confirm_code_is_not_shown() -> None:
    """Whoever reads it in a log could confirm the payout."""
    view = Story().sent(0).answer(HELD, 1).view
    assert view.confirm_code == "542312"
    assert "542312" not in repr(view)
