"""Every way in which the first send of a payout can end, against safety.md 3.2, 3.5 and 3.7.

The send starts at 0 s and may take until 60 s; its outcome is written down at 1 s.

    state, at once   right after it
    8901             state and step after one query that was asked at 3 s and said "no record"
    3x 8901          step after three such answers, the last asked at 361 s: later than 60 s + 300 s
    who              who has to act then
    B                does the news trip the breaker by itself?
    alarm            does an operator hear of it?

`?` after a code: the signed answer names no order. `-` after a review code: it brought no confirm_code.
"""

from __future__ import annotations

import pytest
from resolver_news import BY_PERSONS, Story, table

from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.resolver.decide import Step, breaker_reason
from lianlian_async.resolver.evidence import Outcome

SPECIFIED = table("""
    news | state       | at once | 8901: state | 8901   | 3x 8901 | who      | B   | alarm
    0000 | IN_PROGRESS | QUERY   | IN_PROGRESS | QUERY  | QUERY   | library  | no  | no
    1001 | REFUSED     | FIX     | REFUSED     | FIX    | FIX     | operator | yes | no
    # 1002 is not among those whom 3.7 lets the library send again by itself; "known" and "no record" contradict
    1002 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | DECIDE  | person   | no  | no
    # R1 beats the row's bare "X": a query is asked before anybody is told to amend
    1004 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | caller   | no  | no
    1005 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | caller   | no  | no
    # "stays MAYBE until it answers"
    1008 | UNKNOWN     | FIX     | REFUSED     | FIX    | FIX     | operator | yes | no
    2005 | IN_PROGRESS | QUERY   | IN_PROGRESS | QUERY  | QUERY   | library  | no  | no
    3001 | REFUSED     | FIX     | REFUSED     | FIX    | FIX     | operator | yes | no
    4002 | REVIEW      | DECIDE  | REVIEW      | DECIDE | DECIDE  | person   | no  | no
    4003 | REVIEW      | DECIDE  | REVIEW      | DECIDE | DECIDE  | person   | no  | no
    4004 | REVIEW      | DECIDE  | REVIEW      | DECIDE | DECIDE  | person   | no  | no
    4005 | REFUSED     | FIX     | REFUSED     | FIX    | FIX     | operator | yes | no
    4006 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4007 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4012 | REFUSED     | QUERY   | REFUSED     | SUBMIT | SUBMIT  | library  | no  | no
    4013 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | operator | no  | no
    4014 | REFUSED     | QUERY   | REFUSED     | SUBMIT | SUBMIT  | library  | no  | no
    4015 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | caller   | no  | no
    9104 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | operator | no  | no
    9910 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | person   | no  | no
    9911 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | operator | no  | no
    9912 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | operator | no  | no
    9913 | REFUSED     | QUERY   | REFUSED     | FIX    | FIX     | operator | no  | no
    9999 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    # codes that do not belong to this call: one resend by itself is the lead's choice (6)
    4001 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4008 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4009 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4010 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4011 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    8901 | UNKNOWN     | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
""")

UNLISTED = table("""
    news  | state   | at once | 8901: state | 8901   | 3x 8901 | who     | B  | alarm
    4103  | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    4104  | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    4105  | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    9904  | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    9983  | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    0     | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    00000 | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    other | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no | yes
    4002- | REVIEW  | DECIDE  | REVIEW      | DECIDE | DECIDE  | person  | no | no
    4003- | REVIEW  | DECIDE  | REVIEW      | DECIDE | DECIDE  | person  | no | no
    4004- | REVIEW  | DECIDE  | REVIEW      | DECIDE | DECIDE  | person  | no | no
""")

# A signed answer that names no order is a hint: it never proves anything, and what it *says* decides who is told.
NUMBERLESS = table("""
    news  | state   | at once | 8901: state | 8901   | 3x 8901 | who      | B   | alarm
    0000? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    1001? | UNKNOWN | FIX     | UNKNOWN     | FIX    | FIX     | operator | yes | no
    1004? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | caller   | no  | no
    1005? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | caller   | no  | no
    1008? | UNKNOWN | FIX     | UNKNOWN     | FIX    | FIX     | operator | yes | no
    2005? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    3001? | UNKNOWN | FIX     | UNKNOWN     | FIX    | FIX     | operator | yes | no
    4002? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4003? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4004? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4005? | UNKNOWN | FIX     | UNKNOWN     | FIX    | FIX     | operator | yes | no
    4006? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4007? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4012? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4013? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | operator | no  | no
    4014? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4015? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | caller   | no  | no
    9104? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | operator | no  | no
    9910? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | person   | no  | no
    9911? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | operator | no  | no
    9912? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | operator | no  | no
    9913? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | FIX     | operator | no  | no
    9999? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
    4001? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4008? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4009? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4010? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    4011? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    8901? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    7777? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | yes
    # 1002 without a number is no more than a lost answer
    1002? | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library  | no  | no
""")

# Safety.md 3.5. `(nothing)`: the process was killed after SENDING was written, no outcome was ever written down.
FAULTS = table("""
    news            | state   | at once | 8901: state | 8901   | 3x 8901 | who     | B   | alarm
    (unsigned)      | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (bad signature) | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (unreadable)    | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (http status)   | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (busy)          | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (no answer)     | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (nothing)       | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | no
    (foreign)       | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | yes
    (mismatched)    | UNKNOWN | QUERY   | UNKNOWN     | QUERY  | SUBMIT  | library | no  | yes
    # the lead's choice (4): also a proven unsent attempt is asked about before the next send
    (not sent)      | UNSENT  | QUERY   | UNSENT      | SUBMIT | SUBMIT  | library | no  | no
    (untrusted)     | UNSENT  | QUERY   | UNSENT      | SUBMIT | SUBMIT  | library | yes | yes
""")

EVERY_ROW = [*SPECIFIED, *UNLISTED, *NUMBERLESS, *FAULTS]


def after(row: dict[str, str]) -> Story:
    life = Story().sent(0)
    return life if row["news"] == "(nothing)" else life.answer(row["news"], 1)


def each(rows: list[dict[str, str]] = EVERY_ROW) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row["news"] for row in rows])


def test_the_table_has_every_code_of_the_specification() -> None:
    """Thirty codes, each in one row with and in one row without a number."""
    assert len(RET_CODES) == 30
    assert len(SPECIFIED) == len({row["news"] for row in SPECIFIED})
    assert {row["news"] for row in SPECIFIED} == set(RET_CODES)
    assert {row["news"].rstrip("?") for row in NUMBERLESS} == {*RET_CODES, "7777"}
    assert {row["news"].strip("()") for row in FAULTS} == {"nothing", *Outcome} - {
        "answered",
        "numberless",
        *BY_PERSONS,
    }


@each()
def test_state_and_step_at_once(row: dict[str, str]) -> None:
    """What the news proves, and the step it leads to before any query."""
    life = after(row)
    assert (life.view.state, life.decide(1).step) == (row["state"], row["at once"])


@each()
def test_a_query_is_what_the_library_does_next(row: dict[str, str]) -> None:
    """R1: whatever came, the library's own next move is a query within seconds; never a send, never silence."""
    decision = after(row).decide(1)
    assert decision.action is Step.QUERY
    assert decision.due_at is not None


@each()
def test_state_and_step_after_one_no_record(row: dict[str, str]) -> None:
    """One fresh 8901 frees a number only when no attempt is unanswered, and never one with a record."""
    life = after(row).query("8901", 3)
    assert (life.view.state, life.decide(4).step) == (row["8901: state"], row["8901"])


@each()
def test_step_after_three_no_records_and_the_grace(row: dict[str, str]) -> None:
    """R2: three answers "no record", the last asked 300 s after the deadline, permit what the row says."""
    life = after(row).queries("8901", 3, 120, 361)
    assert life.decide(362).step == row["3x 8901"]


@each()
def test_who_acts_after_three_no_records(row: dict[str, str]) -> None:
    """The row's "who acts" (3.2, 3.7)."""
    decision = after(row).queries("8901", 3, 120, 361).decide(362)
    assert decision.who == row["who"]


@each()
def test_breaker(row: dict[str, str]) -> None:
    """New money stops exactly where the row says B."""
    life = after(row)
    reason = breaker_reason(life.view, life.evidence[-1]) if life.evidence else None
    assert (reason is not None) == (row["B"] == "yes")


@each()
def test_alarm(row: dict[str, str]) -> None:
    """An operator hears exactly of what the row calls an alarm."""
    assert bool(after(row).view.alarms) == (row["alarm"] == "yes")


@each([row for row in EVERY_ROW if row["state"] in ("IN_PROGRESS", "REVIEW")])
def test_no_record_after_a_record_is_ignored_and_alarmed(row: dict[str, str]) -> None:
    """3.4: "8901 after a record was seen" is a contradiction: state and step stay, an operator hears of it."""
    life = after(row)
    before = life.decide(1).rule
    later = life.queries("8901", 3, 120, 361)
    assert later.decide(362).rule == before
    assert any("8901" in alarm for alarm in later.view.alarms)


@each([row for row in EVERY_ROW if row["state"] == "REFUSED"])
def test_a_refusal_beside_an_unanswered_attempt_proves_nothing(row: dict[str, str]) -> None:
    """3.2, trap 4: attempt 1 got no answer, attempt 2 was refused: UNKNOWN, and one 8901 frees nothing."""
    life = Story().sent(0).answer("(no answer)", 1).sent(400).answer(row["news"], 401)
    assert life.view.state == "UNKNOWN"
    assert life.view.open == (1,)
    assert life.query("8901", 403).decide(404).action is Step.QUERY


@each([row for row in EVERY_ROW if row["state"] == "REFUSED"])
def test_two_refusals_are_a_refusal(row: dict[str, str]) -> None:
    """REFUSED: every attempt was answered by a bound refusal."""
    life = Story().sent(0).answer("9104", 1).sent(400).answer(row["news"], 401)
    assert life.view.state == "REFUSED"
    assert life.view.open == ()


@pytest.mark.parametrize("code", ["4002", "4003", "4004"])
def test_a_review_whose_code_never_came_sends_the_person_to_the_portal(code: str) -> None:
    """3.2: without confirm_code there is no way to confirm by API; with it there is."""
    with_code, without = Story().sent(0).answer(code, 1), Story().sent(0).answer(f"{code}-", 1)
    assert "portal" in without.decide(2).advice
    assert "portal" not in with_code.decide(2).advice
    assert (with_code.view.confirm_code, without.view.confirm_code) == ("542312", None)


def test_a_no_record_that_was_asked_before_the_record_is_no_contradiction() -> None:
    """A question from before the send, answered late, is not alarmed."""
    life = Story().sent(10).answer("0000", 11).query("8901", 5, 12)
    assert life.view.alarms == ()
    assert life.query("8901", 12).view.alarms != ()
