"""What must hold in every life, judged by `resolver_law`, which was written from safety.md and knows no view."""

from __future__ import annotations

import random
from datetime import timedelta

import resolver_law as law
from hypothesis import event, given, settings
from hypothesis import strategies as st
from resolver_lives import GRID, HYPOTHESIS, LATE, lives, many_lives
from resolver_news import BILL, Said, Story, attempt, moment, news, seconds

from lianlian_async.protocol.ret_codes import RET_CODES, Source
from lianlian_async.resolver.decide import Decision, Step, decide
from lianlian_async.resolver.states import view_of

MANY = settings(HYPOTHESIS, max_examples=250)
NOW = st.one_of(st.sampled_from([*GRID, *LATE]), st.integers(0, 3 * 86_400))


def sends_at(decision: Decision, now: float) -> bool:
    """Would the library send at this moment?"""
    return decision.action is Step.SUBMIT and decision.due_at is not None and decision.due_at <= moment(now)


def check(story: Story, now: float, paused: bool) -> bool:
    """Judge one life at one moment; true when it is about to send."""
    everything = set(story.evidence)
    assert story.view.state == law.state_of(story.attempts, everything)
    assert story.view.replaceable == (not law.replace_breaks(everything))
    decision = story.decide(now, paused=paused)
    if paused:
        assert decision.action is not Step.SUBMIT
        assert decision.step is not Step.SUBMIT
    if not sends_at(decision, now):
        return False
    broken = law.submit_breaks(story.attempts, everything, moment(story.created), moment(now), paused=paused)
    assert not broken, broken
    return True


@MANY
@given(story=lives(), now=NOW, paused=st.booleans())
def test_state_send_and_new_number_agree_with_the_law(story: Story, now: int, paused: bool) -> None:
    """The state is the law's; SUBMIT only where R1, R2, R3, the breaker and 3.2 permit it; `replaceable` only by R4."""
    event(f"sends: {check(story, now, paused)}")


def test_many_lives_agree_with_the_law() -> None:
    """The same for 2,500 lives of the seeded dice; enough of them send, and enough open a new number."""
    dice = random.Random(23)
    sends = opened = 0
    for story in many_lives(2500, 29):
        newest = max((seconds(e.at) or 0 for e in story.evidence), default=0)
        for now in (newest + 1, newest + dice.choice((60, 299, 301, 900)), dice.choice(GRID)):
            sends += check(story, now, dice.random() < 0.1)
        opened += story.view.replaceable
    assert sends > 150
    assert opened > 60


RECORDS = ["=SUCCESS+", "=FAILURE+", "=CLOSED", "=CANCEL", "=CHECK", "=APPLY", "=PROCESSING", "=NEW", "(mismatched)"]


@MANY
@given(story=lives(), record=st.sampled_from(RECORDS), asked=NOW, now=NOW)
def test_after_a_record_nothing_is_ever_sent_again(story: Story, record: str, asked: int, now: int) -> None:
    """Whatever else is known, earlier or later: one record fact, and no send."""
    story.query(record, asked)
    assert story.decide(now).action is not Step.SUBMIT
    assert story.decide(now).step is not Step.SUBMIT


@MANY
@given(
    story=lives(),
    code=st.sampled_from([*RET_CODES, "4103"]),
    asked=st.booleans(),
    start=st.sampled_from(GRID),
    now=NOW,
)
def test_after_a_bill_nothing_is_ever_sent_again(story: Story, code: str, asked: bool, start: int, now: int) -> None:
    """Whatever code a bound answer has: the bill comes with the order's creation, so the gateway has it."""
    named = Said(ret_code=code, oid_paybill=BILL)
    if asked:
        story.query(named, start)
    else:
        story.sent(start).answer(named, start + 1)
    assert story.decide(now).action is not Step.SUBMIT
    assert story.decide(now).step is not Step.SUBMIT


@MANY
@given(story=lives(), start=st.sampled_from(GRID), now=NOW)
def test_a_new_unanswered_attempt_needs_three_later_answers_and_the_grace(story: Story, start: int, now: int) -> None:
    """R2 from the outside: start one more attempt, and count what was asked after it."""
    call = attempt(50, start)
    counted = [e for e in story.evidence if e.source is Source.QUERY and e.asked_at >= call.started_at]
    decision = decide(view_of([*story.attempts, call], story.evidence), moment(0), moment(now))
    if sends_at(decision, now):
        assert len(counted) >= 3
        assert max(e.asked_at for e in counted) >= call.deadline_at + law.GRACE


@MANY
@given(story=lives(), now=NOW, later=st.sampled_from([1, 60, 400]))
def test_questions_older_than_the_last_fact_never_count(story: Story, now: int, later: int) -> None:
    """A "no record" that was asked before a refusal was written down permits nothing, however late it arrives."""
    newest = max((seconds(e.at) or 0 for e in story.evidence), default=0)
    refusal_at = newest + later
    story.sent(refusal_at - 1).answer("4014", refusal_at)
    before = story.decide(refusal_at + now)
    story.query("8901", refusal_at - 2, refusal_at + 5)
    assert before.action is not Step.SUBMIT
    assert story.decide(refusal_at + now).action is not Step.SUBMIT


@MANY
@given(story=lives(), now=NOW)
def test_beyond_a_day_or_five_sends_only_a_person_releases(story: Story, now: int) -> None:
    """R3: without a `resume` there is no send after 24 hours, nor after five that may have left."""
    sent = law.sent_of(story.attempts, set(story.evidence))
    released = any(e.source is Source.PERSON for e in story.evidence)
    if not released and (now > 86_400 or len(sent) >= 5):
        assert not sends_at(story.decide(now), now)


@MANY
@given(story=lives(), now=NOW)
def test_one_resume_releases_one_send(story: Story, now: int) -> None:
    """R3: once an attempt was started after it, a `resume` is spent."""
    released = [e.at for e in story.evidence if e.source is Source.PERSON]
    starts = [a.started_at for a in law.sent_of(story.attempts, set(story.evidence))]
    if released and starts and max(starts) > max(released) and (now > 86_400 or len(starts) >= 5):
        assert not sends_at(story.decide(now), now)


@MANY
@given(story=lives(), now=NOW)
def test_news_that_proves_nothing_neither_opens_nor_sends(story: Story, now: int) -> None:
    """5.3: an unsigned answer or a failed query may slow us down, and nothing else."""
    before = story.decide(now)
    opened = story.view.replaceable
    at = max(now, *(int(seconds(e.at) or 0) for e in story.evidence)) if story.evidence else now
    for fault in ("(unsigned)", "(bad signature)", "(unreadable)", "(http status)", "(no answer)"):
        story.evidence.append(news(Source.QUERY, fault, at, at + 1))
    assert story.view.replaceable == opened
    if not sends_at(before, now):
        assert not sends_at(story.decide(now), now)


@MANY
@given(story=lives(), now=NOW)
def test_a_query_is_never_due_twice_in_the_same_moment(story: Story, now: int) -> None:
    """3.4: "Q with backoff". A query that brings nothing is asked again later, never at once and for ever."""
    newest = max((seconds(e.at) or 0 for e in story.evidence), default=0)
    at = max(float(now), newest) + 1
    story.query("(no answer)", at, at)
    decision = story.decide(at)
    if decision.action is Step.QUERY and decision.due_at is not None:
        assert decision.due_at - moment(at) >= timedelta(seconds=1)


@MANY
@given(story=lives())
def test_a_failure_that_names_no_bill_never_opens_a_new_number(story: Story) -> None:
    """R4 at its strictest; 3.4's "or in an earlier bound answer" is what `test_walks` breaks."""
    everything = [e for e in story.evidence if not (e.source is Source.QUERY and e.oid_paybill)]
    story.evidence = everything
    if story.view.state == "FAILED":
        assert not story.view.replaceable
