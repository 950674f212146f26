"""When the next query, the next send and the last word come: safety.md 3.4 and 3.2."""

from __future__ import annotations

from datetime import timedelta

import pytest
from resolver_news import BILL, DAY_S, T0, Said, Story, moment, seconds, table

from lianlian_async.resolver import pacing
from lianlian_async.resolver.decide import Step

MINUTE, HOUR = 60, 3_600

SCHEDULE = table("""
    asked at | next at
    never    | 2
    0        | 2
    2        | 5
    5        | 15
    15       | 30
    30       | 60
    60       | 120
    120      | 300
    300      | 600
    600      | 1200
    1200     | 1800
    6600     | 7200
    # to 2 h each 10 minutes, to 24 h each hour, to day 7 each day
    7200     | 10800
    10800    | 14400
    82800    | 86400
    86400    | 172800
    172800   | 259200
    518400   | 604800
    604800   | never
    # what was missed is not repeated
    61       | 120
    4000     | 4200
    700000   | never
    # a question from before the anchor (a clock set back) counts as none
    -50      | 2
""")


@pytest.mark.parametrize("row", SCHEDULE, ids=[row["asked at"] for row in SCHEDULE])
def test_the_schedule_of_queries(row: dict[str, str]) -> None:
    """2, 5, 15, 30 s, 1, 2, 5 min, 10 min to 2 h, hourly to 24 h, daily to day 7, then a person."""
    asked = None if row["asked at"] == "never" else moment(float(row["asked at"]))
    due = seconds(pacing.next_query(T0, asked))
    assert due == (None if row["next at"] == "never" else float(row["next at"]))


def test_the_schedule_in_full() -> None:
    """Asked each time it is due, a silent gateway is asked 47 times in seven days."""
    moments, asked = [], None
    while (due := pacing.next_query(T0, asked)) is not None:
        moments.append(seconds(due))
        asked = due
    expected = [2, 5, 15, 30, 60, 120, 300, *range(600, 7201, 600), *(h * HOUR for h in range(3, 25))]
    assert moments == [*expected, *(d * DAY_S for d in range(2, 8))]
    assert len(moments) == 47


def test_the_schedule_seen_through_decide() -> None:
    """A payout in progress follows it to the end and then waits for a person, with nothing more to do by itself."""
    life, now, asked = Story().sent(0).answer("0000", 1), 1.0, []
    for _ in range(60):
        decision = life.decide(now)
        if decision.action is None:
            break
        assert (decision.action, decision.step) == (Step.QUERY, Step.QUERY)
        due = seconds(decision.due_at)
        assert due is not None
        asked.append(due)
        life.query("=PROCESSING", due, due + 0.5)
        now = due + 0.5
    assert asked == [seconds(moment(offset)) for offset in pacing.QUERY_OFFSETS_S]
    assert (decision.rule.name, decision.step, decision.due_at) == ("given up", Step.DECIDE, None)


def test_the_schedule_starts_anew_with_a_send_and_with_a_resume() -> None:
    """The anchor is the newest of intent, send and resume."""
    life = Story().sent(0).answer("9104", 1).query("8901", 5)
    assert seconds(life.decide(7).due_at) == 15
    life.resumed(1000)
    assert seconds(life.decide(1000).due_at) == 1002
    life.sent(1010).answer("(no answer)", 1070)
    assert seconds(life.decide(1012).due_at) == 1012


def test_a_missed_query_is_due_now() -> None:
    """After a long night the query is due at once, not in the past."""
    assert seconds(Story().sent(0).answer("0000", 1).decide(5000).due_at) == 5000


def test_the_end_of_the_grace_is_asked_on_time() -> None:
    """The third "no record" that permits the resend is not left to the ten-minute beat: 60 s + 300 s."""
    life = Story().sent(0).queries("8901", 2, 5, 15, 30, 60, 120, 300)
    assert seconds(life.decide(302).due_at) == 360
    assert life.query("8901", 360).decide(362).action is Step.SUBMIT


@pytest.mark.parametrize(("nth", "wait"), [(1, 60), (2, 300), (3, 900), (4, 900)])
def test_an_order_that_could_not_be_created_waits_1_5_15_minutes(nth: int, wait: int) -> None:
    """4014: counted from its answer; shortly before, the gateway is asked again where its word would be old."""
    life = Story()
    for n in range(nth):
        life.sent(10.0 * n).answer("4014", 10 * n + 1)
    answered = 10 * (nth - 1) + 1
    life.query("8901", answered + 2)
    first = life.decide(answered + 3)
    assert first.step is Step.SUBMIT
    assert seconds(first.due_at) == answered + wait
    assert first.action is (Step.SUBMIT if wait <= 300 else Step.QUERY)
    early = life.decide(answered + wait - 1)
    assert not (early.action is Step.SUBMIT and early.due_at is not None and early.due_at < moment(answered + wait))
    late = life.query("8901", answered + wait).decide(answered + wait + 1)
    assert (late.action, seconds(late.due_at)) == (Step.SUBMIT, answered + wait + 1)


@pytest.mark.parametrize(("tries", "wait"), list(enumerate((2, 5, 15, 30, 60, 120, 300, 600, 600), start=1)))
def test_a_connection_that_fails_is_tried_again_with_backoff(tries: int, wait: int) -> None:
    """3.5: proven unsent, "S with backoff"; counted from the newest try."""
    life = Story()
    for n in range(tries):
        life.sent(n).answer("(not sent)", n + 0.1)
    life.query("8901", tries, tries)
    start = tries - 1
    decision = life.decide(tries)
    assert decision.step is Step.SUBMIT
    assert seconds(decision.due_at) == max(start + wait, tries)


def test_the_backoff_starts_anew_after_an_attempt_that_left() -> None:
    """Only the tries since the newest attempt that may have left are counted."""
    life = Story().sent(0).answer("(not sent)", 0.1).sent(1).answer("4012", 1.5).sent(10).answer("(not sent)", 10.1)
    assert seconds(life.query("8901", 11, 11).decide(11).due_at) == 12


def test_a_paid_order_is_watched_on_days_1_3_and_7() -> None:
    """3.4: watched for CANCEL at +1, +3, +7 d after it was paid, then left alone."""
    life, due = Story().sent(0).query("=SUCCESS+", 3, 4), []
    for _ in range(5):
        decision = life.decide(5)
        assert decision.step is Step.NOTHING
        if decision.action is None:
            break
        at = seconds(decision.due_at)
        assert at is not None
        due.append(at)
        life.query("=SUCCESS+", at)
    assert due == [4 + DAY_S, 4 + 3 * DAY_S, 4 + 7 * DAY_S]
    assert (decision.rule.name, decision.action) == ("paid", None)


@pytest.mark.parametrize("nothing", ["(no answer)", "(busy)", "9999", "8901"])
def test_a_look_that_brought_no_word_of_a_paid_order_is_no_look(nothing: str) -> None:
    """An outage on day 7 must not hide a refund for ever: it is asked again until the gateway has told how it stands."""
    life = Story().sent(0).query("=SUCCESS+", 3, 4).query("=SUCCESS+", 3 * DAY_S + 10)
    last = 4 + 7 * DAY_S
    assert seconds(life.decide(last).due_at) == last
    asked = float(last)
    for _ in range(8):
        life.query(nothing, asked)
        decision = life.decide(asked + 1)
        assert (decision.rule.name, decision.action) == ("paid, watched", Step.QUERY)
        due = seconds(decision.due_at)
        assert due is not None
        assert due >= asked + 1
        asked = due
    assert asked < last + DAY_S
    life.query("=CANCEL+", asked)
    assert life.view.state == "REFUNDED"


def test_looks_at_a_paid_order_end_even_if_none_brings_a_word() -> None:
    """What the gateway does not tell in two weeks it is not asked for ever."""
    life, asked = Story().sent(0).query("=SUCCESS+", 3, 4), 4.0 + DAY_S
    while life.decide(asked).action is Step.QUERY:
        due = seconds(life.decide(asked).due_at)
        assert due is not None
        asked = max(asked, due)
        life.query("9999", asked)
    assert 13 * DAY_S < asked < 15 * DAY_S
    assert life.decide(asked).rule.name == "paid"


def test_a_refund_found_on_a_watch_day_opens_a_new_number() -> None:
    """CANCEL after SUCCESS: REFUNDED, by a query."""
    life = Story().sent(0).query("=SUCCESS+", 3).query("=CANCEL+", 3 * DAY_S)
    assert (life.view.state, life.view.replaceable, life.decide(3 * DAY_S + 2).step) == ("REFUNDED", True, "NOTHING")


def test_a_notification_after_the_schedule_is_used_up_is_still_asked_about() -> None:
    """3.6 and R8: a contradiction is queried, and a bad end needs a query's word, also after day 7."""
    late = 7 * DAY_S + 100
    life = Story().sent(0).query("=PROCESSING", 7 * DAY_S + 1)
    assert life.decide(late).rule.name == "given up"
    life.notified(Said(result_pay="FAILURE", oid_paybill=BILL), late)
    assert life.decide(late + 1).action is Step.QUERY


def test_a_contradiction_after_the_watch_is_asked_about() -> None:
    """3.6: "contradicts: evidence, CONFLICT, Q", also when the watch over a paid order has ended."""
    life = Story().sent(0).query("=SUCCESS+", 3).query("=SUCCESS+", 7 * DAY_S + 10)
    life.notified(Said(result_pay="FAILURE", oid_paybill=BILL), 8 * DAY_S)
    decision = life.decide(8 * DAY_S + 1)
    assert (decision.step, decision.action) == (Step.DECIDE, Step.QUERY)


def test_a_busy_gateway_doubles_the_pause() -> None:
    """429 and 503: the pause that would follow is taken twice."""
    life = Story().sent(0).answer("0000", 1).query("(busy)", 30, 30)
    assert seconds(life.decide(31).due_at) == 60 + 30


def test_a_busy_answer_from_before_the_send_does_not_slow_its_queries() -> None:
    """The pause belongs to the schedule in which the gateway was busy; a new send starts a new one."""
    life = Story().sent(0).answer("4012", 1).query("(busy)", 30, 30).sent(100)
    assert seconds(life.decide(100).due_at) == 102


def test_two_queries_are_at_least_a_second_apart() -> None:
    """A query just before a beat of the schedule is not followed by the next one at once."""
    life = Story().sent(0).query("9999", 1.9, 1.95)
    assert seconds(life.decide(1.96).due_at) == 2.9


def test_a_send_dated_in_the_future_does_not_silence_the_queries() -> None:
    """The clock ran an hour ahead at the send and was set back: it is asked about now, not in an hour."""
    life = Story().sent(3600).answer("(no answer)", 30)
    due = seconds(life.decide(31).due_at)
    assert due is not None
    assert due <= 33


def test_an_order_with_a_bill_is_not_given_up_for_being_denied() -> None:
    """3.4: "8901 after a record was seen: ignore, alarm, Q"; with a bill in hand the denial convinces nobody, however
    long: it is queried on, and the operator hears of it."""
    life = Story().sent(0).answer("0000+", 1).queries("8901", 600, 1900, 4000)
    assert (life.decide(4002).rule.name, life.decide(4002).action) == ("denied, with a bill", Step.QUERY)


def test_the_limits_are_the_laws() -> None:
    """The figures of R2, R3 and 3.4, where the code keeps them."""
    assert (pacing.GRACE_S, pacing.GRACE_ANSWERS, pacing.SENDS_MAX) == (300, 3, 5)
    assert (pacing.RESEND_FOR_S, pacing.ASK_FOR_S, pacing.APPLY_ALARM_S) == (DAY_S, 7 * DAY_S, 10 * MINUTE)
    assert pacing.QUERY_OFFSETS_S[-1] == pacing.ASK_FOR_S
    assert timedelta(seconds=pacing.FRESH_S) == timedelta(minutes=5)
