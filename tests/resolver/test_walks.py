"""Every walk of the resolver through a small hostile world (`resolver_model`): two payments must be impossible.

A second payment can only come from a new number, and that is opened only by `View.replaceable`. So it is enough that
`replaceable` is never true while the old number is paid, or may still be. Each relaxation of rule R4 must fail in the
same world; otherwise the world would be too soft to prove anything.
"""

from __future__ import annotations

import pytest
from resolver_law import GRACE, REFUSING_CODES, REVIEW_CODES, is_no_record
from resolver_model import Model, Opens, World, walk

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.states import View

WORLDS = {
    "two sends, two copies, a lagging lookup": Model(sends_max=2, copies_max=2),
    "one send, two copies, a lagging lookup, a query that hangs": Model(sends_max=1, copies_max=2, hanging=True),
}


def with_its_own_bill(world: World, view: View) -> bool:
    """R4 at its strictest: FAILURE counts only when that very query answer names the bill."""
    if view.state != "FAILED":
        return view.replaceable
    return any(e.source is Source.QUERY and e.result_pay == "FAILURE" and e.oid_paybill for e in world.evidence)


@pytest.mark.parametrize("name", WORLDS)
def test_a_new_number_never_opens_while_a_copy_of_the_old_one_may_be_accepted(name: str) -> None:
    """The strict rule holds: all states, no walk to a second payment."""
    walked = walk(WORLDS[name])
    assert walked.double is None, " · ".join(walked.double)
    assert walked.opened > 100
    assert walked.states > 5_000


def on_a_bill_from_an_earlier_answer(world: World, view: View) -> bool:
    """3.4 to the letter: FAILURE is final when a bill was seen in it "or in an earlier bound answer"."""
    last = world.evidence[-1] if world.evidence else None
    if last is None or last.source is not Source.QUERY or last.result_pay != "FAILURE":
        return False
    return any(e.oid_paybill and e.at < last.asked_at for e in world.evidence)


def on_no_record(world: World, _view: View) -> bool:
    return bool(world.evidence) and is_no_record(world.evidence[-1])


def on_three_no_records_after_the_grace(world: World, view: View) -> bool:
    ends = [a.deadline_at for a in world.attempts]
    return len(view.absent) >= 3 and bool(ends) and view.absent[-1].asked_at >= max(ends) + GRACE


def on_a_refusal(world: World, view: View) -> bool:
    return view.ret_code in REFUSING_CODES and not world.waiting


def on_failure_without_a_bill(world: World, _view: View) -> bool:
    return any(e.result_pay == "FAILURE" and not e.oid_paybill for e in world.evidence)


def on_check(world: World, _view: View) -> bool:
    return any(e.result_pay == "CHECK" or e.ret_code in REVIEW_CODES for e in world.evidence)


RELAXATIONS: list[Opens] = [
    on_no_record,
    on_three_no_records_after_the_grace,
    on_a_refusal,
    on_failure_without_a_bill,
    on_a_bill_from_an_earlier_answer,
    on_check,
]


@pytest.mark.parametrize("opens", RELAXATIONS)
def test_each_relaxation_pays_twice(opens: Opens) -> None:
    """4.2: with any of these as proof, a shortest walk leads to two payments."""
    walked = walk(Model(opens))
    assert walked.double is not None
    assert walked.double[-1] == "REPLACE"


def test_a_gateway_that_forgets_numbers_cannot_be_survived() -> None:
    """4.2, A1: without the gateway's memory even the strictest rule breaks; hence R3, and hence the assumption."""
    walked = walk(Model(with_its_own_bill, forgetful=True))
    assert walked.double is not None
