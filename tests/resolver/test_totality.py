"""No news without a row, no view without a rule, no exception for any combination."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resolver_lives import GARBAGE_CODES, HYPOTHESIS, LATE, life, lives, many_lives
from resolver_news import BY_PERSONS, DAY_S, Said, Story, attempt, moment, news

from lianlian_async.protocol.ret_codes import RET_CODES, UNKNOWN_CODE, Effect, Source, lookup
from lianlian_async.resolver.decide import RULES, Decision, Step, breaker_reason, decide
from lianlian_async.resolver.evidence import ROWS, Attempt, Evidence, Outcome, row_of
from lianlian_async.resolver.states import State, view_of

CODES = (None, *RET_CODES, *GARBAGE_CODES)
RESULT_WORDS = (
    None,
    "",
    "SUCCESS",
    "FAILURE",
    "CANCEL",
    "CLOSED",
    "CHECK",
    "APPLY",
    "PROCESSING",
    "WAITING",
    "NEW",
    "success",
)
CALLS = (Source.PAY, Source.CONFIRM, Source.QUERY)


def can_happen(source: Source, outcome: Outcome, word: str | None) -> bool:
    """What a call, a notification (3.6: three words, or "contradicts"), a statement or a person can bring at all."""
    if source is Source.PERSON:
        return outcome in BY_PERSONS
    if source in (Source.NOTIFY, Source.STATEMENT):
        words = ("SUCCESS", "FAILURE", "CANCEL") if source is Source.NOTIFY else ("SUCCESS", "CANCEL")
        return outcome is Outcome.MISMATCHED or (outcome is Outcome.ANSWERED and word in words)
    return outcome not in BY_PERSONS


EVERYTHING = [
    news(source, Said(outcome, code, word, confirm_code=confirm), 1, 2, 1 if source in CALLS[:2] else None)
    for source, outcome, code, word, confirm in itertools.product(
        Source, Outcome, CODES, RESULT_WORDS, (None, "542312")
    )
]


def test_every_piece_of_news_has_exactly_one_row_and_impossible_news_has_none() -> None:
    """Every source x outcome x code x word: one row of that source, or KeyError where it cannot happen."""
    for piece in EVERYTHING:
        if can_happen(piece.source, piece.outcome, piece.result_pay):
            row = row_of(piece)
            assert row.source is piece.source
            assert ROWS[row.source, row.key] is row
            assert isinstance(row.effect, Effect)
            assert row.effect.advice
            assert row.name == f"{row.source}: {row.key}"
        else:
            with pytest.raises(KeyError):
                row_of(piece)


def test_every_row_speaks_about_some_news() -> None:
    """No dead row: each one is found by at least one piece of news."""
    found = {
        (row.source, row.key)
        for piece in EVERYTHING
        if can_happen(piece.source, piece.outcome, piece.result_pay)
        for row in [row_of(piece)]
    }
    assert found == set(ROWS)


@pytest.mark.parametrize("call", CALLS)
def test_every_code_has_an_effect_at_every_call(call: Source) -> None:
    """`lookup` knows every code, listed or not, for all three calls."""
    for code in RET_CODES:
        assert lookup(code).code == code
        assert lookup(code).at(call).advice
    for code in GARBAGE_CODES:
        assert lookup(code) is UNKNOWN_CODE
        assert lookup(code).at(call).advice


@HYPOTHESIS
@given(source=st.sampled_from(CALLS), code=st.text(max_size=12), word=st.text(max_size=12), confirm=st.text(max_size=6))
def test_garbage_codes_and_words_prove_nothing_bad(source: Source, code: str, word: str, confirm: str) -> None:
    """Whatever text comes as code or word: one row, and never "refused", "failed" or "closed" for an unknown one."""
    row = row_of(news(source, Said(ret_code=code, result_pay=word, confirm_code=confirm or None), 1, 2, 1))
    if code not in RET_CODES:
        assert row.effect.proves == "nothing"
    if source is Source.QUERY and code == "0000" and word not in RESULT_WORDS:
        assert row.effect.proves == "accepted"


@HYPOTHESIS
@given(story=lives(), now=st.integers(-DAY_S, 9 * DAY_S), paused=st.booleans())
def test_every_life_has_one_state_and_one_rule(story: Story, now: int, paused: bool) -> None:
    """Any evidence, any moment (a clock that was set back included): a state, one rule of the table, no exception."""
    decision = story.decide(now, paused=paused)
    assert story.view.state in State
    assert RULES[decision.rule.name] is decision.rule
    assert decision == story.decide(now, paused=paused)
    consistent(decision)
    for piece in story.evidence:
        breaker_reason(story.view, piece)


def consistent(decision: Decision) -> None:
    """What the library does, and when, belong together; only it sends and asks."""
    assert (decision.action is None) == (decision.due_at is None)
    assert decision.action in (None, Step.SUBMIT, Step.QUERY)
    assert decision.advice


MOMENTS = st.datetimes(moment(0).replace(tzinfo=None), moment(9 * DAY_S).replace(tzinfo=None)).map(
    lambda at: at.replace(tzinfo=moment(0).tzinfo)
)


POSSIBLE = [piece for piece in EVERYTHING if can_happen(piece.source, piece.outcome, piece.result_pay)]


@st.composite
def wild_evidence(draw: st.DrawFn) -> Evidence:
    """Any possible news with any two moments, even "asked after it was answered", for any attempt or none."""
    piece = POSSIBLE[draw(st.integers(0, len(POSSIBLE) - 1))]
    bill = draw(st.sampled_from([None, "2026112000000001", "2026112000000002"]))
    return Evidence(
        piece.source, piece.outcome, draw(MOMENTS), draw(MOMENTS), draw(st.sampled_from([None, 1, 2, 3, 9])),
        ret_code=piece.ret_code, result_pay=piece.result_pay, oid_paybill=bill, confirm_code=piece.confirm_code,
    )  # fmt: skip


@st.composite
def wild_attempts(draw: st.DrawFn) -> list[Attempt]:
    numbers = draw(st.lists(st.integers(1, 6), unique=True, max_size=4))
    return [attempt(n, draw(st.integers(0, 90_000)), source=draw(st.sampled_from(CALLS[:2]))) for n in numbers]


@HYPOTHESIS
@given(
    attempts=wild_attempts(),
    evidence=st.lists(wild_evidence(), max_size=9),
    created=MOMENTS,
    now=MOMENTS,
    paused=st.booleans(),
)
def test_no_combination_of_evidence_raises(
    attempts: list[Attempt], evidence: list[Evidence], created: object, now: object, paused: bool
) -> None:
    """Arbitrary evidence with arbitrary moments, attempts missing or surplus: a view and a rule, never an exception."""
    view = view_of(attempts, evidence)
    decision = decide(view, created, now, paused=paused)  # type: ignore[arg-type]
    consistent(decision)
    assert (decision.rule.name in RULES) is True
    for piece in evidence:
        breaker_reason(view, piece)
    if paused:
        assert decision.action is not Step.SUBMIT


EXAMPLES: dict[str, tuple[Story, float]] = {
    "conflict": (Story().sent(0).query("(mismatched)", 3), 4),
    "paid": (Story().sent(0).query("=SUCCESS+", 3).query("=SUCCESS+", 7 * DAY_S + 5), 7 * DAY_S + 7),
    "paid, watched": (Story().sent(0).query("=SUCCESS+", 3), 4),
    "ended": (Story().sent(0).query("=CLOSED", 3), 4),
    "ended, unconfirmed": (Story().sent(0).notified(Said(result_pay="CANCEL", oid_paybill="1"), 3), 4),
    "review": (Story().sent(0).answer("4002", 1), 2),
    "review, too late": (Story().sent(0).answer("4002", 1), 1501),
    "review, second person": (Story().sent(0).answer("4002", 1).said(Outcome.APPROVED, 5), 6),
    "declined": (Story().sent(0).answer("4002", 1).said(Outcome.DECLINED, 5), 6),
    "in progress": (Story().sent(0).answer("0000", 1), 2),
    "stuck at the gateway": (Story().sent(0).query("=APPLY", 700), 702),
    "ask again": (Story().sent(0).answer("4012", 1).query("8901", 3), 400),
    "confirming": (Story().sent(0).answer("4002", 1).confirmed(100, "(no answer)"), 102),
    "known, and no record": (Story().sent(0).answer("1002", 1).queries("8901", 70, 100, 361), 363),
    "denied by the gateway": (Story().sent(0).answer("2005", 1).query("8901", 1801), 1803),
    "denied, with a bill": (Story().sent(0).query("=PROCESSING+", 3).query("8901", 1805), 1807),
    "failed without a bill": (Story().sent(0).answer("0000", 1).query("=FAILURE", 3), 4),
    "given up": (Story().sent(0).query("(no answer)", 7 * DAY_S), 7 * DAY_S + 1),
    "first send": (Story(), 0),
    "ask first": (Story().sent(0), 1),
    "fix": (Story().sent(0).answer("9104", 1).query("8901", 3), 4),
    "fix, tried twice": (Story().sent(0).answer("4012", 1).sent(9).answer("4012", 10).query("8901", 11), 12),
    "strange code twice": (Story().sent(0).answer("7", 1).sent(9).answer("8", 10).queries("8901", 80, 90, 400), 402),
    "failed, no reason": (Story().sent(0).answer("(no answer)", 1).query("=FAILURE", 3), 4),
    "too old to resend": (Story().sent(0).answer("4014", 1).query("8901", DAY_S + 1), DAY_S + 2),
    "too many sends": (
        Story().sent(0).answer("4014", 1).sent(1).answer("4014", 2).sent(2).answer("4014", 3).sent(3).answer("4014", 4)
        .sent(4).answer("4014", 5).query("8901", 9), 11,
    ),
    "resend later": (Story().sent(0).answer("4014", 1).query("8901", 3), 4),
    "resend": (Story().sent(0).answer("4012", 1).query("8901", 3), 4),
}  # fmt: skip


def test_every_rule_has_an_example() -> None:
    """No dead rule: each is decided for the example that its name promises; two need a fact from outside."""
    for name, (story, now) in EXAMPLES.items():
        assert story.decide(now).rule.name == name
    assert Story().decide(0, paused=True).rule.name == "paused"
    assert Story().decide(0, revived=True).rule.name == "replaced, revived"
    assert {*EXAMPLES, "paused", "replaced, revived"} == set(RULES)


def test_the_dice_reach_most_rules() -> None:
    """The random lives used by the other tests are not tame."""
    seen = {s.decide(now).rule.name for s in many_lives(1500, 7) for now in (1, 362, 1101, LATE[-1] + 1)}
    assert len(seen) >= 16
    assert seen <= set(RULES)
    assert life(lambda choices: choices[0]).evidence == []
