"""Every state of the product model: with the library's rules all laws hold, with any of them less the money leaves twice.

The searches run in processes of their own, so that measuring coverage does not slow them down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from lianlian_async.protocol.ret_codes import Proof
from lianlian_async.resolver import Decision, State, pacing, permits, states

from .__main__ import AUDITS
from .client import Knowledge
from .number import Bounds
from .page import PAGE, page, row, rows_in, steps, trace_in
from .relaxed import RELAXATIONS, Relaxation
from .search import Found, Search
from .sequences import try_all
from .worlds import WORLDS, World

TESTS = Path(__file__).parents[1]
WRITTEN = PAGE.read_text("utf-8") if PAGE.exists() else ""
checkout = pytest.mark.skipif(not WRITTEN, reason="only in a checkout, not beside a wheel")


def model(*arguments: str) -> Any:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_"))}
    environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS / "resolver")])
    command = [sys.executable, "-W", "ignore", "-m", "model", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def search(name: str) -> Found:
    found = model("--json", name)[name]
    return Found(**{**found, "trace": tuple(found["trace"])})


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_every_law_holds_in_every_state(world: World) -> None:
    """To the fixpoint, and docs/model.md says so: after a change, `python3 dev.py model --write`."""
    found = search(world.name)
    assert not found.broken, "\n".join([found.broken, *found.trace])
    assert found.stuck == 0
    assert world.states / 2 < found.states < world.states * 2
    assert found.transitions > 5 * found.states
    assert (world.bounds.numbers == 1) == (found.replaced == 0)
    assert not WRITTEN or rows_in(WRITTEN)[world.name] == row(world, found)


@pytest.mark.parametrize("relaxed", RELAXATIONS, ids=lambda relaxed: relaxed.name)
def test_with_one_rule_less_the_money_leaves_twice(relaxed: Relaxation) -> None:
    """Found, in so few steps and no fewer, and told in docs/model.md."""
    found = search(relaxed.name)
    assert found.broken == "two payments"
    assert len(found.trace) == relaxed.steps, "\n".join(found.trace)
    assert not WRITTEN or trace_in(WRITTEN, relaxed) == steps(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUDITS)
def test_pasts_that_are_one_state_cannot_be_told_apart(name: str) -> None:
    """Long pasts in the place of the representatives: nothing follows that the search has not worked out."""
    found = model("--audit", name)
    assert not found["astray"]
    assert found["compared"] > 5_000
    assert found["met"] > 1_000


@pytest.mark.slow
def test_every_sequence_of_four_events_keeps_the_law() -> None:
    """After a first send, whatever is told next, in any order and however contradictory: view and law agree."""
    tried = model("--sequences", "4")
    assert not tried["broken"]
    assert tried["sequences"] > 150_000


def test_a_sequence_that_breaks_the_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With R2 cut down to one answer, two events are enough."""
    monkeypatch.setattr("lianlian_async.resolver.pacing.GRACE_ANSWERS", 1)
    assert try_all(1).broken == ""
    assert try_all(2).broken.startswith("R2")


@checkout
def test_page_is_what_the_searches_say() -> None:
    """The rest of docs/model.md; its figures and traces are compared above."""
    traces = {relaxed.name: trace_in(WRITTEN, relaxed) for relaxed in RELAXATIONS}
    assert page(rows_in(WRITTEN), traces) == WRITTEN


def unbilled_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAILURE is final without a bill, too."""
    weight = states._weight
    final = lambda n, news: n.proves if n.proves is Proof.FAILED else weight(n, news)  # noqa: E731
    monkeypatch.setattr(states, "_weight", final)


def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One 8901 frees the number."""
    monkeypatch.setattr(pacing, "GRACE_ANSWERS", 1)
    monkeypatch.setattr(pacing, "GRACE_S", -1_000)


def replaces_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """`permits` takes a review for an end."""
    strict = permits.refusal_to_replace
    loose = lambda view: None if view.state is State.REVIEW else strict(view)  # noqa: E731
    monkeypatch.setattr("model.client.refusal_to_replace", loose)


def review_counts_as_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHECK is taken for CLOSED."""
    monkeypatch.setattr(states, "_ENDS", {**states._ENDS, Proof.REVIEW: State.CLOSED})


def rests_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once accepted, nobody asks any more."""
    monkeypatch.setattr("model.client.Knowledge.decision", _rests(Knowledge.decision))


def _rests(decision: Callable[[Knowledge], Decision]) -> Callable[[Knowledge], Decision]:
    def rests(known: Knowledge) -> Decision:
        found = decision(known)
        return evolve(found, action=None, due_at=None) if known.view.state is State.IN_PROGRESS else found

    return rests


PLANTED = {
    unbilled_counts: "replaceable, and not dead",
    no_grace: "a send that the law forbids: R2",
    replaces_what_is_held: "replaceable, and not dead",
    review_counts_as_closed: "CLOSED, and the gateway's record is",
    rests_for_ever: "nothing is due, and nobody is asked",
}


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_planted_bug_is_found(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the library's rules breaks a law in the smallest world with a doubled copy and a second send."""
    bug(monkeypatch)
    found = Search(Bounds(numbers=2, sends=2, copies=2, confirms=0)).run()
    assert found.broken.startswith(PLANTED[bug]), found.broken
    assert found.trace


def test_search_says_which_law_broke_and_how() -> None:
    """Not only two payments: the first untrue state is found, too, and the shortest way to it."""
    found = Search(Bounds(numbers=2, sends=1, copies=1, confirms=0), lambda known: bool(known.attempts)).run()
    assert found.broken == "replaced before it was proven dead"
    assert len(found.trace) == 2


def test_a_client_that_nobody_moves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liveness can fail: a gateway that never gets on with what it has leaves payments without an end."""
    monkeypatch.setattr("model.number.PROGRESS", {})
    found = Search(Bounds(numbers=1, sends=1, copies=1, confirms=0)).run()
    assert found.broken == "no calm way leads to an end"
    assert found.stuck > 0
