"""The worlds in which the library's own rules must hold. Each goes far in one direction, so that each stays small."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from .number import MEETS, Bounds
from .search import Found, Search

__all__ = ["WORLDS", "World"]


@frozen
class World:
    """Bounds, and why they are these. `states` is about how many there are."""

    name: str
    about: str
    bounds: Bounds
    states: int
    racy: bool = False

    def run(self) -> Found:
        """Search to the fixpoint, or to the first broken law."""
        return Search(self.bounds, racy=self.racy).run()


WORLDS: Final = (
    World(
        "two-numbers", "two numbers, each sent twice, two copies of each in flight at once",
        Bounds(numbers=2, sends=2, copies=2, confirms=0, welcome=("accepted", "balance", "card")), 330_000,
    ),
    World(
        "three-numbers", "three numbers, each sent once, two copies, and confirmed once",
        Bounds(numbers=3, sends=1, copies=2, confirms=1), 320_000,
    ),
    World(
        "every-answer", "one number, sent twice, and every kind of answer to pay",
        Bounds(numbers=1, sends=2, copies=1, confirms=0, welcome=tuple(MEETS)), 48_000,
    ),
    World(
        "three-sends", "one number, sent three times; where it is free it is accepted, and no send is proven not to have left",
        Bounds(numbers=1, sends=3, copies=1, confirms=0, welcome=("accepted",), unsent=False), 19_000,
    ),
    World(
        "three-confirms", "one number, sent once, held, and confirmed up to three times, two copies",
        Bounds(numbers=1, sends=1, copies=2, confirms=3, welcome=("accepted", "held")), 14_000,
    ),
    World(
        "racy", "one number, sent twice, to a gateway that looks whether it knows a number and stores it a moment later",
        Bounds(numbers=1, sends=2, copies=2, confirms=0, welcome=("accepted", "balance", "card")), 9_500, racy=True,
    ),
)  # fmt: skip
