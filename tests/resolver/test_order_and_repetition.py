"""R7: the view is a fold; neither the order nor the repetition of messages can matter."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resolver_lives import HYPOTHESIS, lives
from resolver_news import BILL, Said, Story, attempt, moment, news

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.evidence import Evidence, Outcome
from lianlian_async.resolver.states import View, view_of

ATTEMPTS = [attempt(1, 0), attempt(2, 100), attempt(3, 105, source=Source.CONFIRM)]

# Two attempts, and news that fights: ties in time, late questions, contradictions, a person.
ALPHABET = [
    news(Source.PAY, "(no answer)", 0, 60, 1),
    news(Source.PAY, "4014", 100, 101, 2),
    news(Source.PAY, "0000+", 100, 101, 2),
    news(Source.QUERY, "8901", 50, 101),
    news(Source.QUERY, "8901", 101, 102),
    news(Source.QUERY, "=FAILURE", 101, 102),
    news(Source.QUERY, "=FAILURE+", 103, 104),
    news(Source.NOTIFY, Said(result_pay="SUCCESS", oid_paybill=BILL), 102),
    news(Source.STATEMENT, Said(result_pay="SUCCESS", oid_paybill=BILL), 102),
    news(Source.STATEMENT, Said(result_pay="CANCEL"), 103),
    Evidence(Source.PERSON, Outcome.RESUMED, moment(101), moment(101), by="an operator"),
]
QUIET = [
    news(Source.PAY, "1008", 0, 1, 1),
    news(Source.PAY, "(not sent)", 100, 101, 2),
    news(Source.QUERY, "8901", 1, 101),
    news(Source.QUERY, "8901", 420, 421),
    news(Source.QUERY, "(foreign)", 2, 3),
    news(Source.QUERY, "=FAILURE", 420, 421),
    news(Source.CONFIRM, "4011", 105, 106, 3),
]
HELD = [
    news(Source.PAY, Said(ret_code="4002", confirm_code="542312"), 0, 1, 1),
    news(Source.CONFIRM, "4009", 105, 106, 3),
    news(Source.QUERY, "=CHECK", 107, 108),
    Evidence(Source.PERSON, Outcome.APPROVED, moment(104), moment(104), by="first"),
    Evidence(Source.PERSON, Outcome.APPROVED, moment(109), moment(109), by="second"),
    Evidence(Source.PERSON, Outcome.DECLINED, moment(109), moment(109), by="third"),
]


@pytest.mark.parametrize("size", range(7))
def test_every_permutation_of_up_to_six_pieces_gives_the_same_view(size: int) -> None:
    """All orders of all choices of up to five of nine pieces, and of six of the last eight: 39,000 lists."""
    for choice in itertools.combinations(ALPHABET if size < 6 else ALPHABET[1:], size):
        expected = view_of(ATTEMPTS, choice)
        for order in itertools.permutations(choice):
            assert view_of(ATTEMPTS, order) == expected


def test_every_permutation_of_the_words_about_a_review_gives_the_same_view() -> None:
    """Approvals and declines are news like any other: 1,957 lists."""
    for size in range(7):
        for choice in itertools.combinations(HELD, size):
            expected = view_of(ATTEMPTS, choice)
            for order in itertools.permutations(choice):
                assert view_of(ATTEMPTS, order) == expected


def test_every_repetition_up_to_six_pieces_gives_the_same_view() -> None:
    """All sequences of four pieces, repeated or not, up to six long, and five long of seven pieces: 24,000 lists."""
    for alphabet, longest in ((QUIET[:4], 6), (QUIET, 5)):
        views: dict[frozenset[Evidence], View] = {}
        for size in range(longest + 1):
            for sequence in itertools.product(alphabet, repeat=size):
                view = view_of(ATTEMPTS, sequence)
                assert views.setdefault(frozenset(sequence), view) == view


@HYPOTHESIS
@given(story=lives(), data=st.data())
def test_any_life_shuffled_and_repeated_gives_the_same_view(story: Story, data: st.DataObject) -> None:
    """As above for random lives, the attempts shuffled and repeated as well."""
    evidence = data.draw(st.permutations(story.evidence))
    attempts = data.draw(st.permutations(story.attempts))
    again = data.draw(st.lists(st.sampled_from(story.evidence))) if story.evidence else []
    assert view_of(attempts * 2, [*again, *evidence, *again]) == story.view


@HYPOTHESIS
@given(story=lives(), cuts=st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_the_fold_of_a_union_does_not_depend_on_how_it_was_gathered(story: Story, cuts: tuple[int, int]) -> None:
    """Associative, commutative, idempotent: parts of the evidence may be joined in any grouping, overlapping or not."""
    low, high = sorted(cuts)
    a, b, c = (set(part) for part in (story.evidence[:high], story.evidence[low:high], story.evidence[low:]))
    whole = view_of(story.attempts, a | b | c)
    assert view_of(story.attempts, (a | b) | c) == view_of(story.attempts, a | (b | c)) == whole
    assert view_of(story.attempts, c | b | a) == view_of(story.attempts, [*a, *a, *b, *c]) == whole


@pytest.mark.parametrize(
    "member", ["ret_msg", "settle_date", "confirm_code", "oid_paybill", "detail", "by", "ret_code", "result_pay"]
)
def test_pieces_that_differ_in_one_member_only_have_one_order(member: str) -> None:
    """Two answers of the same moment that differ in any single member: still one view for every order of arrival."""
    pieces = [
        Evidence(Source.QUERY, Outcome.ANSWERED, moment(9), moment(8), **{"ret_code": "8901"} | {member: f"{n:08}"})
        for n in range(300)
    ]
    dice = random.Random(5)
    expected = view_of([], pieces)
    for _ in range(20):
        dice.shuffle(pieces)
        assert view_of([], pieces) == expected
