"""Every outcome of a query, against safety.md 3.4, in four situations.

    lost     attempt 1 got no answer             (UNKNOWN before)
    live     attempt 1 was accepted with 0000    (IN_PROGRESS)
    9104     attempt 1 was refused: balance      (REFUSED; a person must top up)
    4014     attempt 1 was refused: not created  (REFUSED; the library itself may go on)

The query is asked at 3 s and answered at 4 s. A cell holds the state and the step after it. `+`: with oid_paybill.
"""

from __future__ import annotations

import pytest
from resolver_news import Story, table

from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.resolver.decide import Step, breaker_reason

SITUATIONS = {"lost": "(no answer)", "live": "0000", "9104": "9104", "4014": "4014"}

WORDS = table("""
    news        | lost                | live                | 9104                | 4014                | replace | B   | alarm
    =SUCCESS+   | PAID NOTHING        | PAID NOTHING        | PAID NOTHING        | PAID NOTHING        | no      | no  | no
    =SUCCESS    | PAID NOTHING        | PAID NOTHING        | PAID NOTHING        | PAID NOTHING        | no      | no  | no
    =FAILURE+   | FAILED NOTHING      | FAILED NOTHING      | FAILED NOTHING      | FAILED NOTHING      | yes     | no  | no
    # without a bill: not final; by the attempt's code, and without one a person
    =FAILURE    | REFUSED DECIDE      | IN_PROGRESS DECIDE  | REFUSED FIX         | REFUSED SUBMIT      | no      | no  | no
    =CLOSED     | CLOSED NOTHING      | CLOSED NOTHING      | CLOSED NOTHING      | CLOSED NOTHING      | yes     | no  | no
    =CANCEL+    | REFUNDED NOTHING    | REFUNDED NOTHING    | REFUNDED NOTHING    | REFUNDED NOTHING    | yes     | no  | no
    =CANCEL     | REFUNDED NOTHING    | REFUNDED NOTHING    | REFUNDED NOTHING    | REFUNDED NOTHING    | yes     | no  | no
    =APPLY      | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | no
    =PROCESSING | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | no
    =WAITING    | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | no
    =CHECK      | REVIEW DECIDE       | REVIEW DECIDE       | REVIEW DECIDE       | REVIEW DECIDE       | no      | no  | no
    # any unknown word: the gateway has it; small letters and blanks make another word
    =NEWWORD    | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | any
    =success    | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | any
    =failure    | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | any
    =CLOSED_    | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | IN_PROGRESS QUERY   | no      | no  | any
    # 0000 and no result_pay: nothing
    =           | UNKNOWN QUERY       | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
""")

CODES = table("""
    news        | lost                | live                | 9104                | 4014                | replace | B   | alarm
    # no record *now*; after a record a contradiction, which test_table_of_pay has
    8901        | UNKNOWN QUERY       | IN_PROGRESS QUERY   | REFUSED FIX         | REFUSED SUBMIT      | no      | no  | any
    # our own set-up is wrong: somebody must mend it, whatever state the order is in
    1001        | UNKNOWN FIX         | IN_PROGRESS FIX     | REFUSED FIX         | REFUSED FIX         | no      | yes | any
    1004        | UNKNOWN FIX         | IN_PROGRESS FIX     | REFUSED FIX         | REFUSED FIX         | no      | yes | any
    1008        | UNKNOWN FIX         | IN_PROGRESS FIX     | REFUSED FIX         | REFUSED FIX         | no      | yes | any
    3001        | UNKNOWN FIX         | IN_PROGRESS FIX     | REFUSED FIX         | REFUSED FIX         | no      | yes | any
""")
NOTHING_CODES = [*sorted(set(RET_CODES) - {"0000", "8901", "1001", "1004", "1008", "3001"}), "9904", "other"]

FAULTS = table("""
    news            | lost            | live                | 9104                | 4014                | replace | B   | alarm
    (unsigned)      | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (bad signature) | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (unreadable)    | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (http status)   | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (busy)          | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (no answer)     | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (not sent)      | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    (untrusted)     | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | any | any
    (numberless)    | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | no
    # the lead's choice (1): once proves nothing
    (foreign)       | UNKNOWN QUERY   | IN_PROGRESS QUERY   | REFUSED QUERY       | REFUSED QUERY       | no      | no  | yes
    (mismatched)    | CONFLICT DECIDE | CONFLICT DECIDE     | CONFLICT DECIDE     | CONFLICT DECIDE     | no      | no  | yes
""")

NOTHING = [
    {"news": code, "lost": "UNKNOWN QUERY", "live": "IN_PROGRESS QUERY", "9104": "REFUSED QUERY"}
    | {"4014": "REFUSED QUERY", "replace": "no", "B": "no", "alarm": "no"}
    for code in NOTHING_CODES
]
EVERY_ROW = [*WORDS, *CODES, *NOTHING, *FAULTS]


def before(situation: str) -> Story:
    return Story().sent(0).answer(SITUATIONS[situation], 1)


def each(rows: list[dict[str, str]] = EVERY_ROW) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row["news"] for row in rows])


@pytest.mark.parametrize("situation", SITUATIONS)
@each()
def test_state_and_step(row: dict[str, str], situation: str) -> None:
    """What the query's answer proves beside what was known, and the step it leads to."""
    life = before(situation).query(row["news"], 3)
    assert f"{life.view.state} {life.decide(4).step}" == row[situation]


@pytest.mark.parametrize("situation", SITUATIONS)
@each()
def test_whether_a_new_number_may_be_opened(row: dict[str, str], situation: str) -> None:
    """R4: only a bound FAILURE with a bill, CLOSED or CANCEL."""
    assert before(situation).query(row["news"], 3).view.replaceable == (row["replace"] == "yes")


@each([row for row in EVERY_ROW if row["B"] != "any"])
def test_breaker(row: dict[str, str]) -> None:
    """New money stops when the query itself is turned away, and never for what it says of one order."""
    life = before("lost").query(row["news"], 3)
    assert (breaker_reason(life.view, life.evidence[-1]) is not None) == (row["B"] == "yes")


@each([row for row in EVERY_ROW if row["alarm"] != "any"])
def test_alarm(row: dict[str, str]) -> None:
    """An operator hears exactly of what the row calls an alarm."""
    assert bool(before("lost").query(row["news"], 3).view.alarms) == (row["alarm"] == "yes")


@each()
def test_one_answer_never_frees_an_unanswered_attempt(row: dict[str, str]) -> None:
    """R2: whatever a single query says, the lost attempt is not sent again."""
    life = before("lost").query(row["news"], 3)
    for now in (4, 100, 361, 500):
        assert life.decide(now).action is not Step.SUBMIT


@each([row for row in EVERY_ROW if "FIX" in row["lost"]])
def test_a_wrong_set_up_is_queried_more_slowly(row: dict[str, str]) -> None:
    """3.4: after 1001, 1004, 1008, 3001 the next query comes later than after an ordinary one."""
    usual = before("lost").query("8901", 30).decide(31)
    slower = before("lost").query(row["news"], 30).decide(31)
    assert usual.due_at is not None
    assert slower.due_at is not None
    assert slower.due_at > usual.due_at


def test_a_busy_gateway_is_queried_more_slowly() -> None:
    """3.5: 429 and 503 also slow down."""
    usual = before("lost").query("8901", 30).decide(31)
    slower = before("lost").query("(busy)", 30).decide(31)
    assert usual.due_at is not None
    assert slower.due_at is not None
    assert slower.due_at > usual.due_at


def test_three_answers_of_another_order_are_a_conflict() -> None:
    """The lead's choice (1): "the connection was mixed up" explains two, not three."""
    life = before("lost").queries("(foreign)", 3, 6)
    assert life.view.state == "UNKNOWN"
    life.query("(foreign)", 9)
    assert (life.view.state, life.decide(10).step) == ("CONFLICT", "DECIDE")


def test_an_answer_of_another_order_takes_earlier_no_records_back() -> None:
    """The lead's choice (1): after it, "no record" must be said three times anew."""
    life = before("lost").queries("8901", 3, 120, 361).query("(foreign)", 362)
    assert life.decide(364).action is Step.QUERY
    assert life.queries("8901", 370, 380).decide(382).action is Step.QUERY
    assert life.query("8901", 390).decide(392).action is Step.SUBMIT


@pytest.mark.parametrize("situation", SITUATIONS)
def test_apply_for_more_than_ten_minutes_calls_an_operator(situation: str) -> None:
    """3.4: APPLY for over 10 minutes "should not happen, call us"; the query goes on."""
    early = before(situation).query("=APPLY", 3).query("=APPLY", 590)
    late = before(situation).query("=APPLY", 3).query("=APPLY", 700)
    assert early.decide(591).who == "library"
    assert (late.decide(701).who, late.decide(701).step) == ("operator", "QUERY")


def test_apply_stays_an_alarm_when_the_next_query_fails() -> None:
    """A query that brings nothing does not make a stuck order move."""
    life = before("lost").query("=APPLY", 3).query("=APPLY", 700).query("9999", 1300)
    assert life.decide(1301).who == "operator"


def test_an_order_at_the_bank_is_not_stuck_for_a_lagging_apply() -> None:
    """PROCESSING was seen: an APPLY after it is an older copy of the gateway's records."""
    life = before("lost").query("=PROCESSING", 3).query("=APPLY", 700)
    assert life.decide(701).who == "library"


@pytest.mark.parametrize("start", ["(no answer)", "0000", "9104", "4002"])
def test_nobody_reachable_for_seven_days_means_a_person(start: str) -> None:
    """3.4: "query unusable past its budget": the state stays, a person asks LianLian."""
    day = 86_400
    life = Story().sent(0).answer(start, 1)
    before_it = life.view.state
    life.query("(no answer)", 7 * day)
    decision = life.decide(7 * day + 31)
    assert life.view.state == before_it
    assert decision.step in (Step.DECIDE, Step.FIX) if start == "9104" else decision.step is Step.DECIDE
    assert decision.action is None
