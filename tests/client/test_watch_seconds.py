"""How long one process must still wait for an unanswered attempt, to the second (R2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import evolve

from lianlian_async.resolver import Source, State, View
from lianlian_async.resolver.evidence import Attempt
from lianlian_async.watch import Watch

START = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


class Steady:
    """A clock of which only the steady half is asked."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def steady(self) -> float:
        return self.seconds


def attempt(number: int, lasts_s: float = 60.0) -> Attempt:
    return Attempt(number, Source.PAY, START, START + timedelta(seconds=lasts_s), "hash", "worker-1")


def unanswered(*numbers: int, lasts_s: float = 60.0) -> View:
    return View(State.UNKNOWN, tuple(attempt(number, lasts_s) for number in numbers), open=numbers)


def test_the_grace_runs_from_when_the_attempt_was_first_seen() -> None:
    """Its own time and 300 s; asking again does not start it anew, and it never falls below zero."""
    clock = Steady()
    watch = Watch(clock)  # type: ignore[arg-type]
    assert watch.left_s("n", unanswered(1)) == 360.0
    clock.seconds += 100
    assert watch.left_s("n", unanswered(1)) == 260.0
    clock.seconds += 260
    assert watch.left_s("n", unanswered(1)) == 0.0
    clock.seconds += 1_000
    assert watch.left_s("n", unanswered(1)) == 0.0


def test_a_newer_attempt_is_watched_from_its_own_beginning() -> None:
    """It was seen later, and it lasts otherwise; another number has a watch of its own."""
    clock = Steady()
    watch = Watch(clock)  # type: ignore[arg-type]
    watch.left_s("n", unanswered(1))
    clock.seconds += 350
    assert watch.left_s("n", unanswered(1, 2, lasts_s=20.0)) == 320.0
    assert watch.left_s("other", unanswered(1)) == 360.0
    clock.seconds += 20
    assert watch.left_s("n", unanswered(1, 2, lasts_s=20.0)) == 300.0


def test_another_attempt_of_the_same_number_is_watched_from_its_own_beginning() -> None:
    """This process began a second attempt and could not write it down; somebody else's second one came later."""
    clock = Steady()
    watch = Watch(clock)  # type: ignore[arg-type]
    watch.left_s("n", unanswered(1, 2))
    clock.seconds += 350
    [first, second] = unanswered(1, 2).attempts
    theirs = evolve(
        second, owner="worker-2", started_at=START + timedelta(seconds=350), deadline_at=START + timedelta(seconds=410)
    )
    assert watch.left_s("n", View(State.UNKNOWN, (first, theirs), open=(1, 2))) == 360.0
    clock.seconds += 10
    again = evolve(second, started_at=START + timedelta(seconds=1), deadline_at=START + timedelta(seconds=61))
    assert watch.left_s("n", View(State.UNKNOWN, (first, again), open=(1, 2))) == 360.0


def test_without_an_unanswered_attempt_there_is_nothing_to_wait_for() -> None:
    """Answered, ended, or not even in the journal."""
    watch = Watch(Steady())  # type: ignore[arg-type]
    assert watch.left_s("n", evolve(unanswered(1), open=())) == 0.0
    assert watch.left_s("n", evolve(unanswered(1), state=State.PAID)) == 0.0
    assert watch.left_s("n", View(State.UNKNOWN, open=(1,))) == 0.0


def test_what_was_answered_is_forgotten() -> None:
    """Should the attempt count as unanswered after all, it is waited for in full: forgetting never shortens."""
    clock = Steady()
    watch = Watch(clock)  # type: ignore[arg-type]
    watch.left_s("n", unanswered(1))
    clock.seconds += 350
    watch.left_s("n", evolve(unanswered(1), open=()))
    assert watch.left_s("n", unanswered(1)) == 360.0
