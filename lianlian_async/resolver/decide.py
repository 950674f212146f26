"""The decision table: given what is known of a payout, what must happen next.

`decide` is a pure function of the view and the time. It picks exactly one `Rule` of the table in `rules.py`,
and says what the library itself does next and when. The rules it keeps (docs/rules.md has them all):

    R1  a query comes before every resend: only the very first send of a fresh payout goes unasked
    R2  a resend needs "no record" from the gateway; while an attempt is unanswered it needs three such
        answers, and five minutes after that attempt's own deadline
    R3  no resend by itself for a payout older than 24 hours, or after five sends
    R4  a new number only from FAILED, CLOSED or REFUNDED (`View.replaceable`), never from here; and it goes out only
        as long as those that it replaced are still proven dead (`revived`)
    R10 it never confirms (only a person's `approve` does), never splits, never changes number or content

SUBMIT always means: the same number, the same content.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from ..protocol.ret_codes import Actor, Effect, Proof, Source, Then
from . import pacing
from .evidence import Evidence, Outcome, row_of
from .permits import approvals, confirm_until, declined
from .rules import RULES, Rule, Step
from .states import State, View

__all__ = ["Decision", "breaker_reason", "decide"]


# Rules that lead to a send without anybody's further word.
_SENDING: Final = frozenset({"first send", "resend", "resend later", "ask again"})


@frozen
class Decision:
    """What must happen next, by whom, and what the library does by itself (`action` at `due_at`)."""

    rule: Rule
    advice: str
    who: Actor
    action: Step | None = None
    due_at: datetime | None = None

    @property
    def step(self) -> Step:
        """What must happen next."""
        return self.rule.step

    @property
    def sends(self) -> bool:
        """True when this leads to a send without anybody's further word: what a pause has to hold up."""
        return self.rule.name in _SENDING


@frozen
class _Case:
    """One decision's question."""

    view: View
    created_at: datetime
    now: datetime
    unwatched_s: float


def decide(
    view: View,
    created_at: datetime,
    now: datetime,
    *,
    paused: bool = False,
    revived: bool = False,
    unwatched_s: float = 0.0,
) -> Decision:
    """The one decision for `view` at `now`. `created_at` is when the intent was journalled; `paused`
    says that the breaker stops new money (specification 2.2, 5), and `revived` that a number which this one
    replaced is not proven dead any more (rule R4). `unwatched_s` is how much of the grace of an unanswered attempt
    has not passed yet by a clock that nobody can set."""
    case = _Case(view, created_at, now, unwatched_s)
    match view.state:
        case State.CONFLICT:
            return _ask(case, "conflict", since=view.notified_at)
        case State.PAID:
            return _watch(view)
        case State.FAILED | State.CLOSED | State.REFUNDED:
            if view.agreed:
                return Decision(RULES["ended"], _END_ADVICE[view.state], RULES["ended"].who)
            return _ask(case, "ended, unconfirmed", since=view.end_at)
        case State.REVIEW:
            return _review(case)
        case State.IN_PROGRESS:
            return _ask(case, _progress_rule(case))
        case State.UNSENT | State.UNKNOWN | State.REFUSED:  # pragma: no branch - no further state exists
            decision = _towards_a_send(case)
            if revived and (decision.sends or not view.sent):
                return _held_up(case, "replaced, revived")
            return _held_up(case, "paused") if paused and decision.sends else decision


_END_ADVICE: Final = {
    State.FAILED: "Failed at the bank; no money moved. A new number may be opened with `replace`.",
    State.CLOSED: "Closed without payment. A new number may be opened with `replace`.",
    State.REFUNDED: "The bank returned the money. A new number may be opened with `replace`.",
}


def _held_up(case: _Case, rule: str) -> Decision:
    """No new money; but a number that may have left is asked about all the same."""
    if case.view.sent:
        return _ask(case, rule)
    return Decision(RULES[rule], RULES[rule].advice, RULES[rule].who)


def _review(case: _Case) -> Decision:
    view = case.view
    if view.confirming:
        effect = view.confirm.effect if view.confirm else None
        if effect is not None and effect.then is Then.FIX:
            return _ask(case, "fix", effect.advice, effect.who)
        return _ask(case, "confirming", effect.advice if effect else "")
    if declined(view):
        return _ask(case, "declined")
    if view.confirm is not None and view.confirm.effect.proves is Proof.REVIEW:
        return _ask(case, "review", view.confirm.effect.advice)
    if (until := confirm_until(view)) is not None and case.now > until:
        return _ask(case, "review, too late")
    if approvals(view):
        return _ask(case, "review, second person")
    if view.hint is not None and view.hint.effect.proves is Proof.REVIEW:
        return _ask(case, "review", view.hint.effect.advice)
    return _ask(case, "review")


def _progress_rule(case: _Case) -> str:
    view = case.view
    if view.unbilled_last:
        return "failed without a bill"
    if view.denied_for_s >= pacing.DENIED_S:
        return "denied by the gateway" if view.oid_paybill is None else "denied, with a bill"
    if view.applying and view.sent_at and case.now - view.sent_at > timedelta(seconds=pacing.APPLY_ALARM_S):
        return "stuck at the gateway"
    return "in progress"


def _watch(view: View) -> Decision:
    due = _next_look(view, view.end_at) if view.end_at else None
    rule = RULES["paid, watched"] if due else RULES["paid"]
    return Decision(rule, rule.advice, rule.who, Step.QUERY if due else None, due)


def _next_look(view: View, since: datetime) -> datetime | None:
    """When a paid order is looked at next. A look that did not tell how it stands (an outage, a lost answer) is no look: it
    is repeated by the schedule of queries, as long as that lasts; or a refund could be missed for ever."""
    # A statement is not signed: what it alone has told is asked about soon, and watched as long.
    beats = (*pacing.QUERY_OFFSETS_S[:1], *pacing.WATCH_OFFSETS_S) if view.listed_only else pacing.WATCH_OFFSETS_S
    looked = max((at for at in view.looked_at if at > since), default=None)
    asked = max((at for at in view.queried_at if at > since), default=None)
    beat = pacing.next_query(since, looked, beats)
    while beat is not None and asked is not None and asked >= beat:
        again = pacing.next_query(beat, asked)
        if again is not None:
            pause = again - asked
            return max(again + pause if _slow(view, asked) else again, asked + timedelta(seconds=pacing.QUERY_GAP_S))
        beat = pacing.next_query(since, beat, beats)
    return beat


def _anchor(case: _Case, since: datetime | None) -> datetime:
    """Where the query schedule starts anew: the newest send or confirm, a person's word, news to be checked.

    A clock that was set back can have written moments that are still to come; they count as now.
    """
    view = case.view
    started = view.latest.started_at if view.latest else None
    moments = (case.created_at, view.resumed_at, started, view.confirm_at, since)
    return min(max(m for m in moments if m is not None), case.now)


def _ask(
    case: _Case, rule: str, advice: str = "", who: Actor | None = None, *, since: datetime | None = None
) -> Decision:
    """Stay with `rule`, and query by the schedule."""
    view, row = case.view, RULES[rule]
    setup = _setup_to_mend(view) if row.step is Step.QUERY else None
    if setup is not None:
        row, advice, who = RULES["fix"], setup.advice, setup.who
    anchor = _anchor(case, since)
    asked = max((at for at in view.queried_at if at >= anchor), default=None)
    due = pacing.next_query(anchor, asked)
    if due is None:
        row = RULES["given up"] if row.step is Step.QUERY else row
        return Decision(row, advice or row.advice, who or row.who)
    due = min(due, _grace_end(case, asked) or due)
    if _slow(view, asked):
        due += due - (asked or anchor)
    if asked is not None:
        due = max(due, asked + timedelta(seconds=pacing.QUERY_GAP_S))
    return Decision(row, advice or row.advice, who or row.who, Step.QUERY, max(due, case.now))


def _setup_to_mend(view: View) -> Effect | None:
    """The newest query was turned away because of our own set-up: nothing is known, and somebody must mend it."""
    last = view.last_query
    if last is None or (view.resumed_at is not None and view.resumed_at >= last.at):
        return None
    effect = row_of(last).effect
    return effect if effect.then is Then.FIX else None


def _slow(view: View, asked: datetime | None) -> bool:
    """A busy gateway, and one that turns our queries away, is asked half as often."""
    if asked is None or view.last_query is None:
        return view.hint is not None and view.hint.key == Outcome.BUSY
    return view.last_query.outcome is Outcome.BUSY or _setup_to_mend(view) is not None


def _grace_end(case: _Case, asked: datetime | None) -> datetime | None:
    """The moment from which a query says more than before, if it still lies ahead of the queries: a further "no record"
    would permit a resend, or CHECK would bring a lost confirm back to a person."""
    view = case.view
    if view.confirming and view.confirm_counts_at is not None:
        return view.confirm_counts_at if asked is None or asked < view.confirm_counts_at else None
    if view.state is not State.UNKNOWN or not view.open or not view.attempts:
        return None
    end = _sent_deadline(view) + timedelta(seconds=pacing.GRACE_S)
    if case.unwatched_s > 0:
        end = max(end, case.now + timedelta(seconds=case.unwatched_s))
    return end if asked is None or asked < end else None


def _sent_deadline(view: View) -> datetime:
    """The deadline of the newest attempt; an unsent one counts too, it can only make us wait longer."""
    return max(a.deadline_at for a in view.attempts)


def _towards_a_send(case: _Case) -> Decision:
    """UNSENT, UNKNOWN and REFUSED: everything on this path ends in a query, a person, or the same number."""
    view = case.view
    if _is_first(case):
        return Decision(RULES["first send"], RULES["first send"].advice, Actor.LIBRARY, Step.SUBMIT, case.now)
    released = _released(case)
    mend = _to_mend(view)
    if mend is not None and mend.breaker:
        # With a wrong key or address the query would be turned away as well: say so at once.
        return _ask(case, "fix", mend.advice, mend.who)
    if view.unbilled_since_send and not released and mend is None and not _refusal_to_go_by(view):
        return _ask(case, "failed, no reason")
    if not _free(view):
        return _ask(case, "ask first", _asking_advice(view))
    return _stop(case, mend, released=released) or _unwatched(case) or _resend(case)


def _is_first(case: _Case) -> bool:
    """Never attempted, and written down just now. An older intent may stem from a restored backup: ask first."""
    view = case.view
    untouched = not view.attempts and not view.sent and not view.unbilled and not view.queried_at
    return untouched and case.now - case.created_at <= timedelta(seconds=pacing.FRESH_S)


def _released(case: _Case) -> bool:
    """A person has released it since the newest attempt that may have left, within the last day."""
    at = case.view.resumed_at
    if at is None or not timedelta(0) <= case.now - at <= timedelta(seconds=pacing.RESEND_FOR_S):
        return False
    return all(moment is None or at >= moment for moment in (case.view.sent_at, case.view.hint_at))


def _to_mend(view: View) -> Effect | None:
    """What somebody must mend before this number may go again."""
    setup = _setup_to_mend(view)
    if setup is not None:
        return setup
    released = view.resumed_at is not None and view.hint_at is not None and view.resumed_at >= view.hint_at
    if view.hint is None or released or view.hint.effect.then not in (Then.FIX, Then.AMEND):
        return None
    return view.hint.effect


def _refusal_to_go_by(view: View) -> bool:
    return view.hint is not None and view.hint.effect.proves is Proof.REFUSED


def _free(view: View) -> bool:
    """Rule R2: has the gateway said often and late enough that the number has no record?"""
    if not view.absent:
        return False
    if not view.open:
        return True
    if not view.attempts:
        return False
    grace_end = _sent_deadline(view) + timedelta(seconds=pacing.GRACE_S)
    return len(view.absent) >= pacing.GRACE_ANSWERS and view.absent[-1].asked_at >= grace_end


def _asking_advice(view: View) -> str:
    if view.hint is not None:
        return view.hint.effect.advice
    if view.state is State.UNKNOWN:
        return "Sent, and no answer was written down: it is being queried."
    return "It is asked about before it is sent."


def _stop(case: _Case, mend: Effect | None, *, released: bool) -> Decision | None:
    """The number is free, but may not be sent again by itself: who must do what first?"""
    view = case.view
    if mend is not None:
        return _ask(case, "fix", mend.advice, mend.who)
    if released:
        return None
    effect = view.hint.effect if view.hint else None
    if effect is not None and effect.then is Then.RESEND_ONCE and view.hints_alike > 1:
        return _ask(case, "strange code twice") if effect.alarm else _ask(case, "fix, tried twice", effect.advice)
    if effect is not None and effect.then is Then.DECIDE:
        return _ask(case, "known, and no record")
    if case.now - case.created_at > timedelta(seconds=pacing.RESEND_FOR_S):
        return _ask(case, "too old to resend")
    return _ask(case, "too many sends") if view.sent >= pacing.SENDS_MAX else None


def _unwatched(case: _Case) -> Decision | None:
    """By the journal's moments it may go again; by a clock that nobody can set this process must still wait. What
    people have to do first does not change meanwhile."""
    if not case.view.open or case.unwatched_s <= 0:
        return None
    return _ask(case, "ask first", _asking_advice(case.view))


def _resend(case: _Case) -> Decision:
    """The number is free and may go: when? And is the gateway's word still fresh then?"""
    view, now = case.view, case.now
    due = max(_paced(view) or now, now)
    if _fresh(view.absent[-1], due):
        rule = RULES["resend later"] if due > now else RULES["resend"]
        return Decision(rule, rule.advice, rule.who, Step.SUBMIT, due)
    if due > now:
        rule = RULES["resend later"]
        return Decision(rule, rule.advice, rule.who, Step.QUERY, due)
    since = [at for at in view.queried_at if at > view.absent[-1].asked_at]
    if since:
        # Whoever does not answer is not asked in a tight loop.
        due = max(now, max(since) + timedelta(seconds=pacing.wait_s(len(since), pacing.RECONNECT_AFTER_S)))
    rule = RULES["ask again"]
    return Decision(rule, rule.advice, rule.who, Step.QUERY, due)


def _fresh(word: Evidence, at: datetime) -> bool:
    """Asked just before `at`: a machine that slept between question and answer has an old word in hand."""
    return word.at <= at <= word.asked_at + timedelta(seconds=pacing.FRESH_S)


def _paced(view: View) -> datetime | None:
    """When the next send is due: at once, except after an order that could not be created or connected."""
    if view.unsent_run and view.latest is not None:
        return view.latest.started_at + timedelta(seconds=pacing.wait_s(view.unsent_run, pacing.RECONNECT_AFTER_S))
    if view.hint is not None and view.hint.cause == "4014" and view.hint_at is not None:
        return view.hint_at + timedelta(seconds=pacing.wait_s(view.hints_alike, pacing.RECREATE_AFTER_S))
    return None


def breaker_reason(view: View, news: Evidence) -> str | None:
    """Why `news` must stop new money of the merchant, or None. `view` already contains it."""
    row = row_of(news)
    if row.effect.breaker:
        return row.effect.advice
    # A second envelope that cannot be opened: the next order would fare no better.
    if row.source is Source.PAY and row.cause == "envelope" and view.hint == row and view.hints_alike > 1:
        return row.effect.advice
    return None
