"""Clocks that run ahead, and one that stands."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from lianlian_async.clock import Clock
from lianlian_async.testing import ManualClock, ScaledClock, clocks
from lianlian_async.testing.clocks import agreed

ORIGIN = datetime(2026, 11, 23, tzinfo=UTC)


async def test_a_scaled_clock_runs_ahead():
    """Sleeping an hour at scale 360,000 takes ten milliseconds, and an hour has passed."""
    clock: Clock = ScaledClock(360_000, ORIGIN)
    await clock.sleep(3600)
    assert clock.now() - ORIGIN >= timedelta(seconds=3600)
    assert clock.loop_seconds(3600) == pytest.approx(0.01)
    assert clock.accelerated


def test_a_scaled_clock_at_the_machines_pace_is_not_accelerated():
    """Scale 1 is an ordinary clock, starting at the machine's own time."""
    clock = ScaledClock(1)
    assert not clock.accelerated
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_scaled_clocks_agree_though_one_was_put_to_sleep_while_it_was_made(monkeypatch):
    """A busy machine takes the processor away between two readings: what passed then is not counted a thousandfold."""

    class Napping(datetime):
        naps: ClassVar[list[float]] = [0.3]

        @classmethod
        def now(cls, tz=None):
            read = datetime.now(tz)
            time.sleep(cls.naps.pop() if cls.naps else 0)
            return read

    monkeypatch.setattr(clocks, "datetime", Napping)
    first = ScaledClock(1000)
    assert not Napping.naps
    second = ScaledClock(1000)
    assert abs(first.now() - second.now()) < timedelta(seconds=150)


@pytest.mark.parametrize("year", [1970, 2000, 2026, 2038, 2106, 9000])
@pytest.mark.parametrize("scale", [0.5, 2, 240, 1000])
def test_whatever_date_the_machine_believes(year, scale):
    """A fast clock starts within as many months as its scale says, in a year of four digits; all of them agree."""
    now = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    read = agreed(now, scale)
    assert datetime(year, 12, 1, tzinfo=UTC) <= read <= datetime(year, 12, 1, tzinfo=UTC) + timedelta(31 * scale)
    assert 1970 <= read.year <= 9999
    later = now + timedelta(seconds=1)
    assert agreed(later, scale) - read in (timedelta(seconds=scale), datetime(year + 1, 1, 1, tzinfo=UTC) - read)


def test_within_a_month_a_later_start_reads_later():
    """A process that is killed and started again ten seconds on reads ten seconds times the scale later."""
    now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert agreed(now + timedelta(seconds=10), 240) - agreed(now, 240) == timedelta(seconds=2400)


def test_a_scaled_clock_is_put_forward_and_never_back():
    """`catch_up` makes it go on from a later moment; an earlier one changes nothing."""
    clock = ScaledClock(2, ORIGIN)
    clock.catch_up(ORIGIN + timedelta(days=400))
    assert timedelta(days=400) <= clock.now() - ORIGIN < timedelta(days=401)
    clock.catch_up(ORIGIN)
    assert clock.now() - ORIGIN >= timedelta(days=400)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1])
def test_a_scale_that_is_no_number(scale):
    """Refused, like zero."""
    with pytest.raises(ValueError):
        ScaledClock(scale)


@pytest.mark.parametrize("make", [lambda: ScaledClock(0), lambda: ScaledClock(1, datetime(2026, 1, 1))])  # noqa: DTZ001
def test_a_clock_that_cannot_run_is_refused(make):
    """No scale, or an origin without a zone."""
    with pytest.raises(ValueError):
        make()


async def test_a_manual_clock_wakes_those_whose_time_has_come():
    """`advance` wakes everybody due, in order, and nobody else."""
    clock, woken = ManualClock(ORIGIN), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (30, 10, 20)]
    await asyncio.sleep(0)
    assert clock.sleepers == 3
    clock.advance(20)
    await asyncio.sleep(0)
    assert woken == [10, 20]
    tasks[0].cancel()
    await asyncio.sleep(0)
    assert clock.sleepers == 0
    clock.advance(20)
    assert clock.now() == ORIGIN + timedelta(seconds=40)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_walking_stops_at_each_sleeper():
    """`run_for` shows a task that sleeps again and again each of its moments."""
    clock, seen = ManualClock(ORIGIN), []

    async def ticking() -> None:
        while True:
            await clock.sleep(10)
            seen.append((clock.now() - ORIGIN).total_seconds())

    task = asyncio.create_task(ticking())
    await clock.run_for(35)
    assert seen == [10, 20, 30]
    assert clock.now() == ORIGIN + timedelta(seconds=35)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
