"""Looks at a payout that has ended well: who has told of the end, what counts as a look, and how soon comes the next."""

from __future__ import annotations

from attrs import evolve
from resolver_news import BILL, DAY_S, Said, Story, seconds

from lianlian_async.resolver.decide import Step
from lianlian_async.resolver.pacing import QUERY_OFFSETS_S

PAID = Said(result_pay="SUCCESS", oid_paybill=BILL)


def due(life: Story, now: float) -> float | None:
    decision = life.decide(now)
    assert (decision.rule.name, decision.action) == ("paid, watched", Step.QUERY)
    return seconds(decision.due_at)


def test_what_only_a_statement_tells_is_asked_about_at_once() -> None:
    """A statement is not signed: the gateway is asked within seconds, and from its word on as seldom as ever."""
    life = Story().sent(0).answer("(no answer)", 30).listed(PAID, 100)
    assert due(life, 100) == 102
    assert due(life.query("=SUCCESS+", 102), 103) == 100 + DAY_S


def test_a_notification_is_no_look() -> None:
    """Only a query that was asked counts: a notification that is repeated says nothing about now."""
    life = Story().sent(0).query("=SUCCESS+", 3, 4).notified(PAID, DAY_S + 5)
    assert due(life, DAY_S + 6) == 4 + DAY_S


def test_a_query_from_before_the_end_is_no_look() -> None:
    """Asked while it was still at the bank: the first look is a day after the end."""
    life = Story().sent(0).queries("=PROCESSING", 2, 5).notified(PAID, 600)
    assert due(life, 601) == 600 + DAY_S


def test_a_busy_gateway_is_looked_at_half_as_often() -> None:
    """429 and 503: the pause that would follow is taken twice; any other silence takes it once."""
    look = 4.0 + DAY_S
    silent = Story().sent(0).query("=SUCCESS+", 3, 4).query("9999", look, look)
    busy = Story().sent(0).query("=SUCCESS+", 3, 4).query("(busy)", look, look)
    assert (due(silent, look), due(busy, look)) == (look + 2, look + 4)


def test_two_looks_are_at_least_a_second_apart() -> None:
    """A look just before a beat of the schedule is not repeated at once."""
    look = 4.0 + DAY_S
    life = Story().sent(0).query("=SUCCESS+", 3, 4).query("9999", look + 1.5, look + 1.6)
    assert due(life, look + 1.7) == look + 2.5


def test_a_statement_is_news_that_nobody_asked_for() -> None:
    """Like a notification: where it contradicts, the schedule of queries begins anew with it."""
    life = Story().sent(0).query("=SUCCESS+", 3).query("=SUCCESS+", 7 * DAY_S + 10)
    life.listed(Said(result_pay="SUCCESS", oid_paybill="2026112300000099"), 8 * DAY_S)
    assert life.view.state == "CONFLICT"
    assert seconds(life.view.notified_at) == 8 * DAY_S


def test_a_replacement_that_left_is_followed_though_its_predecessor_came_to_life() -> None:
    """Nothing more is sent, but what was sent is asked about as ever."""
    life = Story().sent(0).answer("0000", 1)
    followed = life.decide(5, revived=True)
    assert (followed.rule.name, followed.action) == ("in progress", Step.QUERY)
    unknown = Story().sent(0).answer("9999", 1)
    assert unknown.decide(5, revived=True) == unknown.decide(5)
    assert unknown.decide(5).action is Step.QUERY


def test_what_a_statement_told_is_asked_about_once_before_the_days_of_watching() -> None:
    """The gateway stays silent for as long as the one early look is repeated: the next look is a day's."""
    look = 100 + QUERY_OFFSETS_S[0]
    last = look + QUERY_OFFSETS_S[-1]
    life = Story().sent(0).answer("(no answer)", 30).listed(PAID, 100).query("9999", last)
    later = due(life, last + 1)
    assert later is not None
    assert later > last + 60


def test_a_day_that_only_a_statement_tells_is_the_day() -> None:
    """It is the last to be heard on that, but it is heard."""
    life = Story().sent(0).answer("(no answer)", 30).listed(PAID, 100)
    life.evidence[-1] = evolve(life.evidence[-1], settle_date="20261124")
    assert life.view.settle_date == "20261124"
