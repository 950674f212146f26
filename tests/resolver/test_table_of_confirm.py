"""Every way in which a confirm can end, against safety.md 3.3 and 3.5.

The payout came under review (4002, with its code) at 1 s, a query said CHECK at 3 s, a person approved, and the
confirm started at 100 s; its outcome is written down at 101 s.

    state       what everything together proves; a review stays one until something later is known (R7)
    at once     the step right after the news: most of it proves nothing, so the *query* decides, not a person
    then CHECK  the step after a query that was asked later and still says CHECK
    B           the breaker; "any" where the table allows "B or X"
    alarm       does an operator hear of it?
"""

from __future__ import annotations

import pytest
from resolver_news import Story, table

from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.resolver.decide import Step, breaker_reason

CODES = table("""
    news  | state       | at once | then CHECK | B   | alarm
    0000  | IN_PROGRESS | QUERY   | QUERY      | no  | no
    # often our own earlier confirm already worked
    4001  | REVIEW      | QUERY   | DECIDE     | no  | no
    # closing: queried until CLOSED, a person sees it
    4008  | REVIEW      | DECIDE  | DECIDE     | no  | no
    4010  | REVIEW      | DECIDE  | DECIDE     | no  | no
    4009  | REVIEW      | QUERY   | DECIDE     | no  | no
    4011  | REVIEW      | DECIDE  | DECIDE     | no  | yes
    4006  | REVIEW      | QUERY   | DECIDE     | no  | no
    4007  | REVIEW      | QUERY   | DECIDE     | no  | no
    9999  | REVIEW      | QUERY   | DECIDE     | no  | no
    1002  | REVIEW      | QUERY   | DECIDE     | no  | no
    2005  | REVIEW      | QUERY   | DECIDE     | no  | no
    # "not confirmed by this call; B or X"
    1001  | REVIEW      | any     | any        | yes | no
    1004  | REVIEW      | any     | any        | any | no
    1008  | REVIEW      | any     | any        | yes | no
    3001  | REVIEW      | any     | any        | yes | no
    4005  | REVIEW      | any     | any        | any | no
    # not paid by this call
    9104  | REVIEW      | QUERY   | DECIDE     | no  | no
    9910  | REVIEW      | QUERY   | DECIDE     | no  | no
    9911  | REVIEW      | QUERY   | DECIDE     | no  | no
    9912  | REVIEW      | QUERY   | DECIDE     | no  | no
    9913  | REVIEW      | QUERY   | DECIDE     | no  | no
    4012  | REVIEW      | QUERY   | DECIDE     | no  | no
    4013  | REVIEW      | QUERY   | DECIDE     | no  | no
    4014  | REVIEW      | QUERY   | DECIDE     | no  | no
    4015  | REVIEW      | QUERY   | DECIDE     | no  | no
    # does not belong here
    1005  | REVIEW      | QUERY   | DECIDE     | no  | yes
    4002  | REVIEW      | QUERY   | DECIDE     | no  | yes
    4003  | REVIEW      | QUERY   | DECIDE     | no  | yes
    4004  | REVIEW      | QUERY   | DECIDE     | no  | yes
    8901  | REVIEW      | QUERY   | DECIDE     | no  | yes
    4103  | REVIEW      | QUERY   | DECIDE     | no  | yes
    9904  | REVIEW      | QUERY   | DECIDE     | no  | yes
    other | REVIEW      | QUERY   | DECIDE     | no  | yes
    # signed, names no order: proves nothing
    0000? | REVIEW      | QUERY   | DECIDE     | no  | no
    4001? | REVIEW      | QUERY   | DECIDE     | no  | no
    4008? | REVIEW      | QUERY   | DECIDE     | no  | no
    4010? | REVIEW      | QUERY   | DECIDE     | no  | no
    4011? | REVIEW      | QUERY   | DECIDE     | no  | yes
    4005? | REVIEW      | any     | any        | any | no
    9999? | REVIEW      | QUERY   | DECIDE     | no  | no
""")

# "Any transport ambiguity": only a CHECK that was asked after the grace brings a person back (60 s + 300 s).
FAULTS = table("""
    news            | state  | at once | then CHECK | B   | alarm
    (nothing)       | REVIEW | QUERY   | QUERY      | no  | no
    (no answer)     | REVIEW | QUERY   | QUERY      | no  | no
    (unsigned)      | REVIEW | QUERY   | QUERY      | no  | no
    (bad signature) | REVIEW | QUERY   | QUERY      | no  | no
    (unreadable)    | REVIEW | QUERY   | QUERY      | no  | no
    (http status)   | REVIEW | QUERY   | QUERY      | no  | no
    (busy)          | REVIEW | QUERY   | QUERY      | no  | no
    (foreign)       | REVIEW | QUERY   | QUERY      | no  | yes
    (mismatched)    | REVIEW | QUERY   | QUERY      | no  | yes
    # the approval was not spent: a person or the same approval may go on at once
    (not sent)      | REVIEW | DECIDE  | DECIDE     | no  | no
    (untrusted)     | REVIEW | DECIDE  | DECIDE     | yes | yes
""")

EVERY_ROW = [*CODES, *FAULTS]


def reviewed() -> Story:
    return Story().sent(0).answer("4002", 1).query("=CHECK", 3)


def after(row: dict[str, str]) -> Story:
    return reviewed().confirmed(100, None if row["news"] == "(nothing)" else row["news"])


def each(rows: list[dict[str, str]] = EVERY_ROW) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row["news"] for row in rows])


def test_the_table_has_every_code_of_the_specification() -> None:
    """Every code has its row."""
    assert {row["news"] for row in CODES} >= set(RET_CODES)


@each()
def test_state(row: dict[str, str]) -> None:
    """A confirm's answer never makes a review fail, and only 0000 ends the review."""
    assert after(row).view.state == row["state"]


@each([row for row in EVERY_ROW if row["at once"] != "any"])
def test_step_at_once(row: dict[str, str]) -> None:
    """After a confirm whose effect is unknown the query decides; nobody is asked to approve or decline anew."""
    assert after(row).decide(101).step == row["at once"]


@each()
def test_it_is_queried_whatever_came(row: dict[str, str]) -> None:
    """The library's own next move is a query."""
    decision = after(row).decide(101)
    assert decision.action is Step.QUERY
    assert decision.due_at is not None


@each([row for row in EVERY_ROW if row["then CHECK"] != "any"])
def test_step_when_a_later_query_still_says_check(row: dict[str, str]) -> None:
    """CHECK after the confirm: a person again; after an accepted confirm it is the lagging copy, and is asked again."""
    assert after(row).query("=CHECK", 110).decide(111).step == row["then CHECK"]


@each(FAULTS)
def test_step_when_a_query_after_the_grace_still_says_check(row: dict[str, str]) -> None:
    """3.3, last row: still CHECK after the grace: a person (or the same approval once more)."""
    assert after(row).query("=CHECK", 461).decide(462).step is Step.DECIDE


@each()
def test_the_query_decides(row: dict[str, str]) -> None:
    """Whatever the confirm said, PROCESSING, SUCCESS and CLOSED from a query are followed."""
    assert after(row).query("=PROCESSING", 110).view.state == "IN_PROGRESS"
    assert after(row).query("=SUCCESS+", 110).view.state == "PAID"
    closed = after(row).query("=CLOSED", 110).view
    assert (closed.state, closed.replaceable) == ("CLOSED", True)


@each()
def test_nothing_that_a_confirm_brings_opens_a_new_number_or_a_resend(row: dict[str, str]) -> None:
    """R4, R10: neither `replace` nor SUBMIT, not even after three times 8901 and the grace."""
    life = after(row).queries("8901", 200, 300, 900)
    assert not life.view.replaceable
    assert life.decide(901).action is not Step.SUBMIT
    assert life.decide(901).step is not Step.SUBMIT


@each([row for row in EVERY_ROW if row["B"] != "any"])
def test_breaker(row: dict[str, str]) -> None:
    """New money stops exactly where the row says B."""
    life = after(row)
    news = life.evidence[-1]
    reason = breaker_reason(life.view, news) if news.source == "confirm" else None
    assert (reason is not None) == (row["B"] == "yes")


@pytest.mark.parametrize("code", ["1001", "1004", "1008", "3001", "4005"])
def test_a_wrong_set_up_trips_the_breaker_or_names_who_must_fix_it(code: str) -> None:
    """3.3: "B or X", the caller sees NEEDS_FIX."""
    life = reviewed().confirmed(100, code)
    reason = breaker_reason(life.view, life.evidence[-1])
    assert reason is not None or life.decide(101).step is Step.FIX


@each()
def test_alarm(row: dict[str, str]) -> None:
    """An operator hears exactly of what the row calls an alarm."""
    assert bool(after(row).view.alarms) == (row["alarm"] == "yes")


@pytest.mark.parametrize("code", ["4008", "4010", "4011"])
def test_the_advice_after_a_spent_code_is_the_confirms_own(code: str) -> None:
    """3.3: the code is used up, expired or wrong: whoever decides must not be told to approve as if nothing were."""
    before = reviewed().decide(50).advice
    assert reviewed().confirmed(100, code).decide(101).advice != before
