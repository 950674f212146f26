"""Exhaustive where other tests draw lots: every row of the tables in every rule's situation, and in every order with another.

That no order of *any* number of pieces matters follows from pairs: `view_of` sorts by a key and drops repetitions, so it
is enough that no two different pieces have the same place. (`test_order_and_repetition` tries the orders themselves.)
"""

from __future__ import annotations

import itertools

import pytest
from resolver_news import BILL, moment
from test_totality import EVERYTHING, EXAMPLES, can_happen, consistent

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.decide import RULES, breaker_reason, decide
from lianlian_async.resolver.evidence import ROWS, Attempt, Evidence, Outcome, row_of
from lianlian_async.resolver.states import State, _by_time, view_of


def _one_of_each() -> dict[tuple[Source, str], Evidence]:
    """One piece of news for every row of the tables."""
    found: dict[tuple[Source, str], Evidence] = {}
    for piece in EVERYTHING:
        if can_happen(piece.source, piece.outcome, piece.result_pay):
            row = row_of(piece)
            found.setdefault((row.source, row.key), piece)
    return found


NEWS = _one_of_each()


def told(piece: Evidence, at: float, asked: float, attempt: int | None, *, billed: bool = False) -> Evidence:
    bill = BILL if billed else None
    return Evidence(
        piece.source, piece.outcome, moment(at), moment(asked), attempt, ret_code=piece.ret_code,
        result_pay=piece.result_pay, oid_paybill=bill, confirm_code=piece.confirm_code, by="somebody",
    )  # fmt: skip


def test_there_is_news_for_every_row() -> None:
    """Otherwise "every row" below would mean less."""
    assert set(NEWS) == set(ROWS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_row_in_every_situation_has_one_state_and_one_rule(name: str) -> None:
    """Each row heard in the situation of each rule: just now, or as the late answer to an old question, with a bill or not."""
    story, now = EXAMPLES[name]
    attempts = story.attempts
    before = view_of(attempts, story.evidence)
    for piece in NEWS.values():
        call = next((a.number for a in attempts if a.source is piece.source), None)
        for asked, billed, paused in itertools.product((now, 0), (False, True), (False, True)):
            news = told(piece, now + 1, asked, call, billed=billed)
            view = view_of(attempts, [*story.evidence, news])
            decision = decide(view, moment(0), moment(now + 2), paused=paused)
            assert view.state in State
            assert RULES[decision.rule.name] is decision.rule
            consistent(decision)
            breaker_reason(view, news)
            if before.state in (State.PAID, State.REFUNDED, State.CONFLICT):
                assert view.state in (before.state, State.REFUNDED, State.CONFLICT)
                assert before.state is not State.CONFLICT or view.state is State.CONFLICT


ATTEMPTS: dict[Source, Attempt] = {
    source: Attempt(number, source, moment(start), moment(start + 60), "hash", "worker-1")
    for number, (source, start) in enumerate(((Source.PAY, 0), (Source.CONFIRM, 5)), start=1)
}


def _at_once(piece: Evidence, *, billed: bool = False) -> Evidence:
    """Everything is told in the same moment: nothing but its words can give it a place."""
    call = ATTEMPTS.get(piece.source)
    return told(piece, 9, 8, call.number if call else None, billed=billed)


def test_no_two_rows_told_at_once_have_the_same_place() -> None:
    """Every pair of rows: a total order, and both ways of hearing the two give one view."""
    pieces = [_at_once(piece) for piece in NEWS.values()]
    assert len({_by_time(piece) for piece in pieces}) == len(pieces)
    for one, other in itertools.combinations(pieces, 2):
        assert view_of(ATTEMPTS.values(), (one, other)) == view_of(ATTEMPTS.values(), (other, one, other))


def test_every_order_of_three_kinds_told_at_once_gives_one_view() -> None:
    """One row of each (source, what it proves, what follows), and a bill with it: all orders of all triples."""
    kinds: dict[tuple[object, ...], Evidence] = {}
    for key, piece in NEWS.items():
        effect = ROWS[key].effect
        kinds.setdefault((key[0], effect.proves, effect.then), _at_once(piece, billed=True))
    assert len(kinds) > 30
    for choice in itertools.combinations(kinds.values(), 3):
        expected = view_of(ATTEMPTS.values(), choice)
        for order in itertools.permutations(choice):
            assert view_of(ATTEMPTS.values(), order) == expected


def test_the_place_of_a_piece_is_made_of_every_member() -> None:
    """A member that was left out of the order would let two different pieces change places."""
    piece = Evidence(Source.PAY, Outcome.ANSWERED, moment(9), moment(8))
    other = {"source": Source.QUERY, "outcome": Outcome.UNSIGNED, "at": moment(10), "asked_at": moment(7), "attempt": 3}
    for member in Evidence.__attrs_attrs__:
        changed = {
            **{a.name: getattr(piece, a.name) for a in Evidence.__attrs_attrs__},
            member.name: other.get(member.name, "x"),
        }
        assert _by_time(Evidence(**changed)) != _by_time(piece), member.name
