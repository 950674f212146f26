"""The same number once more: rules R1, R2, R3, who must act first, and the breaker, at their exact limits."""

from __future__ import annotations

import pytest
from resolver_news import DAY_S, Story, moment, table

from lianlian_async.resolver.decide import Step, breaker_reason, decide


def lost() -> Story:
    return Story().sent(0).answer("(no answer)", 60)


# Attempt 1 runs from 0 s to its deadline at 60 s; "asked" are the moments of queries that said 8901, one second long.
GRACE = table("""
    asked             | now | action | why
    361               | 362 | QUERY  | one answer
    100 361           | 362 | QUERY  | two answers
    3 100 359         | 360 | QUERY  | a second before the grace ends
    3 100 360         | 361 | SUBMIT | on its end
    3 5 15 30 100     | 361 | QUERY  | five answers, none after the grace
    360 361 362       | 363 | SUBMIT | three after it
    3 100 361         | 661 | SUBMIT | 300 s after the last was asked
    3 100 361         | 662 | QUERY  | 301 s: the word is old
""")


@pytest.mark.parametrize("end", ["(no answer)", "9999", "crash"])
@pytest.mark.parametrize("row", GRACE, ids=[row["why"] for row in GRACE])
def test_r2_three_answers_and_300_s_after_the_deadline(row: dict[str, str], end: str) -> None:
    """An unanswered attempt, whether nothing came, nothing certain came, or the process died."""
    life = Story().sent(0)
    if end != "crash":
        life.answer(end, 1)
    life.queries("8901", *map(float, row["asked"].split()))
    assert life.decide(float(row["now"])).action == row["action"]


@pytest.mark.parametrize(
    ("unwatched", "action", "due"), [(0.0, Step.SUBMIT, 361), (1.0, Step.QUERY, 362), (200.0, Step.QUERY, 561)]
)
def test_r2_the_grace_is_waited_for_by_a_clock_that_nobody_sets(unwatched: float, action: Step, due: float) -> None:
    """By the journal's moments the grace is over; as long as this process has not seen it pass, it asks on."""
    life = Story().sent(0).answer("(no answer)", 1).queries("8901", 3, 100, 360)
    decision = decide(life.view, moment(0), moment(361), unwatched_s=unwatched)
    assert (decision.action, decision.due_at) == (action, moment(due))


def test_r2_what_waits_for_a_person_waits_for_them_in_every_process() -> None:
    """A command that has just started has watched nothing yet: it still says who must act, and takes their word."""
    life = Story().sent(0).answer("(no answer)", 1).queries("8901", 3, 100, 360, DAY_S + 1, DAY_S + 2)
    parked = decide(life.view, moment(0), moment(DAY_S + 3), unwatched_s=330.0)
    assert (parked.rule.name, parked.step) == ("too old to resend", Step.DECIDE)
    life.resumed(DAY_S + 4).queries("8901", DAY_S + 5, DAY_S + 6, DAY_S + 7)
    released = decide(life.view, moment(0), moment(DAY_S + 9), unwatched_s=330.0)
    assert (released.rule.name, released.action) == ("ask first", Step.QUERY)
    assert decide(life.view, moment(0), moment(DAY_S + 9)).action is Step.SUBMIT


def test_r2_a_refused_number_needs_no_watching() -> None:
    """Nothing is unanswered, so there is no grace."""
    life = Story().sent(0).answer("4014", 1).queries("8901", 62)
    assert decide(life.view, moment(0), moment(63), unwatched_s=300.0).action is Step.SUBMIT


def test_r2_the_grace_counts_from_the_latest_attempt() -> None:
    """A second attempt, even a refused one, starts the three answers anew, and its own deadline rules."""
    life = lost().queries("8901", 70, 100, 361).sent(363).answer("9104", 364).resumed(380)
    life.queries("8901", 381, 382, 383)
    assert life.decide(384).action is Step.QUERY
    assert life.query("8901", 363 + 60 + 300).decide(363 + 60 + 302).action is Step.SUBMIT


def test_r2_a_longer_deadline_moves_the_grace() -> None:
    """300 s after start + *total deadline*: a call that may take 600 s is waited for."""
    life = Story().sent(0, deadline=600).queries("8901", 3, 400, 899)
    assert life.decide(901).action is Step.QUERY
    assert life.query("8901", 900).decide(901).action is Step.SUBMIT


def test_r2_answers_from_before_the_attempt_do_not_count() -> None:
    """Three times "no record" before the send say nothing about the send."""
    life = Story().queries("8901", 1, 2, 3).sent(10).query("8901", 400)
    assert life.decide(402).action is Step.QUERY


def test_r2_failed_queries_between_the_answers_do_not_count_and_do_not_reset() -> None:
    """9999, no answer, an unknown code: nothing."""
    life = (
        lost().query("8901", 70).query("9999", 80).query("(no answer)", 90).query("4444", 95).queries("8901", 100, 361)
    )
    assert life.decide(363).action is Step.SUBMIT


def test_r2_a_fact_in_between_resets_the_count() -> None:
    """3.4: "counts are reset by any other fact"; here the answer to a later attempt."""
    life = lost().queries("8901", 70, 361).sent(370).answer("4014", 372).query("8901", 800)
    assert life.decide(802).action is Step.QUERY
    assert life.queries("8901", 810, 820).decide(822).action is Step.SUBMIT


def test_the_first_send_goes_unasked_only_while_the_intent_is_fresh() -> None:
    """Choice (3): up to 300 s after the intent; later, after a restored backup perhaps, a query comes first."""
    assert Story().decide(0).action is Step.SUBMIT
    assert Story().decide(300).action is Step.SUBMIT
    assert Story().decide(301).action is Step.QUERY
    assert Story().query("8901", 302).decide(304).action is Step.SUBMIT
    assert Story().query("8901", 302).decide(604).action is Step.QUERY
    assert Story().query("(no answer)", 2).decide(4).action is Step.QUERY
    assert Story().query("=PROCESSING", 302).decide(304).action is Step.QUERY


def test_r3_24_hours() -> None:
    """At 24 h the library may still send by itself, a second later only a person may."""
    life = Story().sent(0).answer("4012", 1)
    assert life.query("8901", DAY_S - 1).decide(DAY_S).action is Step.SUBMIT
    old = life.query("8901", DAY_S).decide(DAY_S + 1)
    assert (old.step, old.action) == (Step.DECIDE, Step.QUERY)


def test_r3_five_sends() -> None:
    """Five sends that may have left; what is proven not to have left does not count."""
    life = Story()
    for n in range(4):
        life.sent(10.0 * n).answer("4014", 10 * n + 1)
    life.sent(50).answer("(not sent)", 51)
    assert life.query("8901", 2000).decide(2002).action is Step.SUBMIT
    life.sent(2003).answer("4014", 2004)
    stopped = life.query("8901", 4000).decide(4002)
    assert (stopped.step, stopped.rule.name) == (Step.DECIDE, "too many sends")


@pytest.mark.parametrize("stop", ["too old", "too many"])
def test_r3_a_resume_releases_exactly_one_send(stop: str) -> None:
    """After it a query comes first (R1), then one send, then it stops again."""
    life, now = Story(), DAY_S + 10 if stop == "too old" else 5000
    for n in range(1 if stop == "too old" else 5):
        life.sent(10.0 * n).answer("4014", 10 * n + 1)
    life.query("8901", now)
    assert life.decide(now + 1).step is Step.DECIDE
    life.resumed(now + 2)
    assert life.decide(now + 3).action is Step.QUERY
    assert life.query("8901", now + 4).decide(now + 6).action is Step.SUBMIT
    life.sent(now + 7).answer("4014", now + 8).query("8901", now + 1000)
    assert life.decide(now + 1002).step is Step.DECIDE


def test_r3_a_send_that_left_no_trace_has_spent_its_resume() -> None:
    """Released after a day, sent, and the process died: the next send needs a person again."""
    life = Story().sent(0).answer("4012", 1).query("8901", DAY_S + 10).resumed(DAY_S + 20).query("8901", DAY_S + 30)
    assert life.decide(DAY_S + 32).action is Step.SUBMIT
    life.sent(DAY_S + 40).queries("8901", DAY_S + 50, DAY_S + 60, DAY_S + 401)
    assert life.decide(DAY_S + 403).step is Step.DECIDE


def test_r3_a_resume_is_good_for_one_day() -> None:
    """A release from the day before yesterday is no release."""
    life = Story().sent(0).answer("9104", 1).resumed(10).query("8901", 2 * DAY_S)
    assert life.decide(2 * DAY_S + 2).action is Step.QUERY
    assert life.decide(2 * DAY_S + 2).step is Step.DECIDE


@pytest.mark.parametrize("code", ["1001", "1004", "4005", "4013", "9104", "9910", "9912"])
def test_what_must_be_mended_waits_for_a_resume_then_a_query_then_goes(code: str) -> None:
    """X: fix, `resume`, query, the same number. And a new refusal of the same kind stops it again."""
    life = Story().sent(0).answer(code, 1).query("8901", 3)
    assert life.decide(5).step is Step.FIX
    life.resumed(100)
    assert life.decide(101).action is Step.QUERY
    life.query("8901", 102)
    assert life.decide(104).action is Step.SUBMIT
    life.sent(105).answer(code, 106).query("8901", 108)
    assert life.decide(110).step is Step.FIX


def test_failed_without_a_bill_and_the_balance_topped_up() -> None:
    """9104 may show as FAILURE without a bill: the number stays, after `resume` and one more such answer it goes."""
    life = Story().sent(0).answer("9104", 1).query("=FAILURE", 3)
    assert (life.view.state, life.decide(5).step, life.view.replaceable) == ("REFUSED", Step.FIX, False)
    assert life.resumed(100).query("=FAILURE", 102).decide(104).action is Step.SUBMIT


ONCE = table("""
    first           | second | after both        | breaker
    4012            | 4012   | fix, tried twice  | no
    4006            | 4006   | fix, tried twice  | yes
    4007            | 4007   | fix, tried twice  | yes
    # one row of 3.2, one cause (the gateway's key): "S once; again -> B"
    4006            | 4007   | fix, tried twice  | yes
    4007            | 4006   | fix, tried twice  | yes
    4007?           | 4007?  | fix, tried twice  | yes
    # choice (6): unlisted and misplaced codes get one resend between them, then a person
    4444            | 5555   | strange code twice | no
    4001            | 4001   | strange code twice | no
    4001            | 4008   | strange code twice | no
    4444            | 4001   | strange code twice | no
""")


@pytest.mark.parametrize("row", ONCE, ids=[f"{row['first']} {row['second']}" for row in ONCE])
def test_what_may_be_tried_once_more_is_tried_once(row: dict[str, str]) -> None:
    """After the first the library sends again by itself, after the second it does not."""
    life = Story().sent(0).answer(row["first"], 1).queries("8901", 70, 100, 361)
    assert life.decide(363).action is Step.SUBMIT
    life.sent(364).answer(row["second"], 365)
    assert (breaker_reason(life.view, life.evidence[-1]) is not None) == (row["breaker"] == "yes")
    decision = life.queries("8901", 430, 460, 730).decide(732)
    assert decision.action is not Step.SUBMIT
    assert decision.rule.name == row["after both"]


def test_one_bad_envelope_long_ago_does_not_trip_the_breaker() -> None:
    """4006 "again": two envelopes, not one beside two answers of another kind."""
    life = Story().sent(0).answer("4006", 1).sent(400).answer("9999", 401).sent(900).answer("9999", 901)
    assert breaker_reason(life.view, life.evidence[0]) is None


@pytest.mark.parametrize("state", ["fresh", "refused", "lost", "unsent", "resumed"])
def test_paused_sends_nothing(state: str) -> None:
    """B: no new money leaves; whoever looks is not told that it is about to be sent."""
    ready = {
        "fresh": (Story(), 0),
        "refused": (Story().sent(0).answer("4012", 1).query("8901", 3), 5),
        "lost": (lost().queries("8901", 70, 100, 361), 363),
        "unsent": (Story().sent(0).answer("(not sent)", 1).query("8901", 3), 5),
        "resumed": (Story().sent(0).answer("9104", 1).resumed(10).query("8901", 12), 14),
    }
    life, now = ready[state]
    assert life.decide(now).action is Step.SUBMIT
    paused = life.decide(now, paused=True)
    assert paused.action is not Step.SUBMIT
    assert paused.step is Step.FIX


def test_paused_before_a_paced_send_is_not_shown_as_a_send() -> None:
    """Third 4014: the next send is 900 s away, a query comes before it. While paused that is no SUBMIT either."""
    life = Story()
    for n in range(3):
        life.sent(10.0 * n).answer("4014", 10 * n + 1)
    life.query("8901", 30)
    assert life.decide(31).step is Step.SUBMIT
    assert life.decide(31, paused=True).step is not Step.SUBMIT


def test_paused_queries_go_on_for_a_number_that_may_have_left() -> None:
    """B: "no new money leaves, queries go on". A late copy of the lost attempt may still be booked."""
    life = lost().queries("8901", 70, 100, 361)
    paused = life.decide(363, paused=True)
    assert paused.action is Step.QUERY


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("state", ["first", "old", "lost", "unsent", "resumed", "paced"])
def test_nothing_is_sent_in_the_place_of_a_number_that_came_back(state: str, paused: bool) -> None:
    """R4: a number that was replaced is not proven dead any more. A person must settle that, whatever is due; what may
    have left is asked about on and on."""
    paced = Story()
    for n in range(3):
        paced.sent(10.0 * n).answer("4014", 10 * n + 1)
    ready = {
        "first": (Story(), 0),
        "old": (Story(), 4000),
        "lost": (lost().queries("8901", 70, 100, 361), 363),
        "unsent": (Story().sent(0).answer("(not sent)", 1).query("8901", 3), 5),
        "resumed": (Story().sent(0).answer("9104", 1).resumed(10).query("8901", 12), 14),
        "paced": (paced.query("8901", 30), 31),
    }
    life, now = ready[state]
    held = life.decide(now, paused=paused, revived=True)
    assert (held.rule.name, held.step) == ("replaced, revived", Step.DECIDE)
    assert held.action is (Step.QUERY if state in ("lost", "resumed", "paced") else None)


def test_a_number_that_came_back_stops_no_question() -> None:
    """What may have left must be asked about; what has ended has ended."""
    assert lost().decide(70, revived=True).action is Step.QUERY
    paid = Story().sent(0).answer("0000", 1).query("SUCCESS", 3)
    assert paid.decide(5, revived=True) == paid.decide(5)


@pytest.mark.parametrize("outcome", ["(no answer)", "(not sent)", "9999", "1001"])
def test_an_old_word_is_asked_again_with_backoff(outcome: str) -> None:
    """Choice (5) and 3.4: the "no record" has grown old, the gateway is away: the queries are spaced, not one storm."""
    life = Story().sent(0).answer("4012", 1).query("8901", 3)
    assert life.decide(400).action is Step.QUERY
    life.query(outcome, 400, 401)
    again = life.decide(401)
    assert again.action is Step.QUERY
    assert again.due_at is not None
    assert again.due_at > life.evidence[-1].at


def test_a_busy_answer_to_a_send_slows_the_queries_down() -> None:
    """3.5, row "3xx, 4xx, 429, 5xx": "429/503 also slow down"."""
    usual = Story().sent(0).answer("(http status)", 1).decide(1)
    slower = Story().sent(0).answer("(busy)", 1).decide(1)
    assert usual.due_at is not None
    assert slower.due_at is not None
    assert slower.due_at > usual.due_at


def test_two_lost_attempts_and_a_failure_without_a_bill_call_a_person() -> None:
    """3.4: "no code to go by -> H"."""
    life = lost().queries("8901", 70, 100, 361).sent(370).answer("(no answer)", 430).query("=FAILURE", 432)
    assert life.decide(434).step is Step.DECIDE


def test_a_suspended_machine_does_not_make_an_old_answer_fresh() -> None:
    """Choice (5), trap 18: asked at 3 s, the machine slept for two hours, the answer is written down only then."""
    life = Story().sent(0).answer("4012", 1).query("8901", 3, 7200)
    assert life.decide(7201).action is Step.QUERY


@pytest.mark.parametrize("other", ["(no answer)", "9999", "(unreadable)"])
def test_an_attempt_that_is_proven_unsent_and_yet_had_an_outcome_may_have_left(other: str) -> None:
    """UNSENT needs *all* that is known of the attempt to say so."""
    life = Story().sent(0).answer("(not sent)", 1).answer(other, 2)
    assert (life.view.state, life.view.open) == ("UNKNOWN", (1,))
    assert life.query("8901", 3).decide(5).action is Step.QUERY


def test_the_newest_word_about_an_attempt_decides_who_acts() -> None:
    """First given up as lost, then the answer came after all: 9104, to be mended; and it is answered."""
    life = Story().sent(0).answer("(no answer)", 60).answer("9104", 61).query("8901", 62)
    assert (life.view.state, life.decide(64).step) == ("REFUSED", Step.FIX)
