"""kill -9, at moments that nobody chose and at every point that has a name: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_world import Keys
from proofs_world import Running, Site, a_site

from lianlian_async import State

# Shown by `--log-cli-level=INFO`.
FIGURES = logging.getLogger("proofs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEED = 20161018
RANDOM_KILLS = 70
KILL_AFTER_S = (0.02, 0.3)


async def test_killed_at_random_moments(keys: Keys, tmp_path: Path) -> None:
    """Two who pay the same list, two workers and whoever takes notifications are killed 70 times, and started again each time."""
    async with a_site(keys.folder, tmp_path, seed=SEED) as site:
        plays = ["pay", "pay", "work", "work", "serve"]
        slots: dict[int, Running] = {}
        while site.kills < RANDOM_KILLS:
            for slot, play in enumerate(plays):
                if slot not in slots or slots[slot].code is not None:
                    # Whoever pays comes back with some more to pay.
                    numbers = site.more(8) if play == "pay" else range(0)
                    slots[slot] = site.start(play, numbers=range(numbers.stop))
            await site.pause(*KILL_AFTER_S)
            await site.kill(slots[site.draw.randrange(len(slots))])
        for running in slots.values():
            await site.kill(running)
        await site.to_the_end()
        states = await site.judge()
        assert states[State.PAID] > 0.8 * site.count, "too few were paid for this to mean anything"
        assert len(site.acked) > 10, "too few were acknowledged for this to mean anything"
        FIGURES.info(f"{site.kills} kills, {site.count} payouts, {len(site.acked)} acknowledged, {states}")


def around(name: str, *times: int) -> Iterator[str]:
    for phase in ("before", "amid", "after"):
        yield from (f"{phase} {name} {count}" for count in times)


def on_the_wire(name: str, *times: int) -> Iterator[str]:
    for phase in ("before", "at the first byte of", "after the first byte of", "after"):
        yield from (f"{phase} {name} {count}" for count in times)


PAY_POINTS = [
    *around("add", 1, 2),
    *around("save attempt", 1, 3),
    *on_the_wire("pay", 1, 3),
    *around("save pay news", 1, 3),
    *around("turn", 1),
    *on_the_wire("query", 1),
    *around("save query news", 1),
    *around("moved", 2),
    "before the application is told 1", "before the application is told 5",
    "after the application was told 1", "after the application was told 5",
    *around("told", 1, 5),
]  # fmt: skip
WORK_POINTS = [
    *around("claim", 1, 2),
    *around("save attempt", 1, 3),
    *on_the_wire("pay", 1, 3),
    *around("save pay news", 1),
    *on_the_wire("query", 1),
    *around("save query news", 1),
    "after the application was told 1",
]
SERVE_POINTS = [*around("save notify news", 1, 3), "before the acknowledgement 1", "before the acknowledgement 3"]
# Workers come first: what the others leave behind would be theirs to do before anything new.
POINTS = {"work": WORK_POINTS, "pay": PAY_POINTS, "serve": SERVE_POINTS}


async def test_killed_at_every_point_with_a_name(keys: Keys, tmp_path: Path) -> None:
    """Before, amid and after everything that is written down or sent, the first time and later ones."""
    async with a_site(keys.folder, tmp_path, seed=SEED + 1, transport="httpx") as site:
        for play, points in POINTS.items():
            for point in site.draw.sample(points, len(points)):
                await die(site, play, point)
        assert site.kills == sum(map(len, POINTS.values()))
        await site.to_the_end()
        states = await site.judge()
        assert states[State.PAID] > 0.8 * site.count, "too few were paid for this to mean anything"
        assert len(site.acked) > 10, "too few were acknowledged for this to mean anything"
        FIGURES.info(f"{site.kills} kills, {site.count} payouts, {len(site.acked)} acknowledged, {states}")


async def die(site: Site, play: str, point: str) -> None:
    """One process comes to the point and dies there; what it leaves behind is for those that come later."""
    numbers = site.more(4)
    if play == "work":
        await site.lay_down(numbers)
    dying = site.start(play, numbers=numbers, dies=point)
    others = [site.start("pay", numbers=numbers)] if play == "serve" else []
    assert await dying.end() == -9, f"{dying} never came to it: it ended with {dying.code}. {dying.words()}"
    site.kills += 1
    for other in others:
        assert await other.end() == 0, other.words()
