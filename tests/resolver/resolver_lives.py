"""Random lives of a payout: attempts and evidence, chosen by hypothesis (shrinkable) or by a seeded dice (many).

Both use `life`, which only knows how to `pick` one of several things. Moments lie on a coarse grid around the
limits of the rules, so that ties and "just before" and "just after" happen often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from resolver_law import ACCEPTED_CODES
from resolver_news import BILL, Said, Story, said

from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.resolver.evidence import Outcome

T = TypeVar("T")
Pick = Callable[[Sequence[T]], T]

# Always the same examples, no directory left behind, and no failure because the machine was busy.
settings.register_profile(
    "resolver", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
HYPOTHESIS = settings(settings.get_profile("resolver"))

DAY = 86_400
GRID = (
    0,
    1,
    2,
    3,
    5,
    59,
    60,
    61,
    100,
    120,
    299,
    300,
    301,
    359,
    360,
    361,
    362,
    420,
    600,
    700,
    720,
    721,
    900,
    1000,
    1100,
)
LATE = (1500, 2400, 7200, DAY - 1, DAY, DAY + 1, DAY + 400, 2 * DAY, 7 * DAY + 5)
LAGS = (0, 1, 1, 1, 30, 400)
FAULTS = ("(no answer)", "(unsigned)", "(bad signature)", "(unreadable)", "(http status)", "(busy)", "(foreign)")
GARBAGE_CODES = ("", " ", "0", "00000", "other", "4103", "9904", "0000 SUCCESS", "without no_order", "①", "no answer")
WORDS = ("SUCCESS", "FAILURE", "FAILURE", "CANCEL", "CLOSED", "CHECK", "APPLY", "PROCESSING", "WAITING", "success", "")


def _code(pick: Pick[str]) -> Said:
    """One of the specification's codes or an unknown one, bound or without a number; sometimes with a bill."""
    code = pick((*RET_CODES, *GARBAGE_CODES))
    words = said(code) if code in RET_CODES else Said(ret_code=code)
    if pick(("bill", *["no bill"] * (1 if code in ACCEPTED_CODES else 9))) == "bill":
        words = evolve(words, oid_paybill=BILL)
    if code.startswith("400") and pick(("code", "no code")) == "no code":
        words = evolve(words, confirm_code=None)
    return (
        evolve(words, outcome=Outcome.NUMBERLESS)
        if pick(("bound", "bound", "bound", "numberless")) == "numberless"
        else words
    )


def _pay(pick: Pick[str]) -> Said:
    kind = pick(("code", "refused", "fault", "fault", "(mismatched)", "(not sent)", "(untrusted)"))
    if kind == "refused":
        return said(pick(("4014", "4012", "9104", "1004", "4005")))
    return _code(pick) if kind == "code" else said(pick(FAULTS) if kind == "fault" else kind)


def _query(pick: Pick[str], calm: bool) -> Said:
    kind = pick(("8901", "8901", "8901", "8901") if calm else ("8901", "8901", "word", "word", "code", "fault", "odd"))
    if kind == "word":
        word = pick(WORDS)
        billed = word not in ("CHECK", "") and pick(("bill", "no bill")) == "bill"
        return Said(ret_code="0000", result_pay=word, oid_paybill=BILL if billed else None)
    if kind == "odd":
        return said(pick(("(mismatched)", "(not sent)", "(untrusted)", "(numberless)", "8901?")))
    if kind == "code":
        return _code(pick)
    return said(pick(FAULTS)) if kind == "fault" else said("8901")


def life(pick: Pick) -> Story:  # type: ignore[type-arg]
    """One life. A "calm" one sees nothing but "no record" from its queries, so that resends happen often."""
    story = Story()
    calm = pick((True, False))
    for start in sorted(pick(GRID) for _ in range(pick((0, 1, 1, 1, 2, 2, 3, 5, 6)))):
        story.sent(start)
        if pick(("answer", "answer", "nothing")) == "answer":
            words = _pay(pick)
            if calm and (words.oid_paybill or words.ret_code in {"0000", "2005", "4002", "4003", "4004"}):
                words = said("9999")
            story.answer(words, start + pick(LAGS))
    for _ in range(pick((0, 1, 2, 3, 4, 5))):
        asked = pick((*GRID, *LATE))
        story.query(_query(pick, calm), asked, asked + pick(LAGS))
    for _ in range(pick((0, 0, 0, 1))):
        story.confirmed(pick(GRID), _code(pick) if not calm else said("9999"))
    for _ in range(pick((0, 0, 0, 1, 2)) if not calm else 0):
        words = pick(("=SUCCESS+", "=FAILURE+", "=CANCEL+", "(mismatched)"))
        story.notified(evolve(said(words), ret_code=None), pick((*GRID, *LATE)))
    for _ in range(pick((0, 0, 0, 1, 2)) if not calm else 0):
        words = pick(("=SUCCESS+", "=SUCCESS+", "=CANCEL", "(mismatched)"))
        story.listed(evolve(said(words), ret_code=None), pick((*GRID, *LATE)))
    for _ in range(pick((0, 0, 1, 2))):
        story.resumed(pick((*GRID, *LATE)))
    return story


@st.composite
def lives(draw: st.DrawFn) -> Story:
    return life(lambda choices: draw(st.sampled_from(choices)))


def many_lives(count: int, seed: int) -> list[Story]:
    dice = random.Random(seed)
    return [life(dice.choice) for _ in range(count)]
