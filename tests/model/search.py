"""Breadth first through every state of a payment with all its numbers, until nothing new is found."""

from __future__ import annotations

from array import array
from typing import Final

from attrs import define, evolve, field, frozen

from .client import Client, Opens, strictly
from .number import Bounds, Move, Number, Numbers

__all__ = ["Found", "Search"]

# A payment: the state of each of its numbers, the newest last.
Payment = tuple[int, ...]
_LIMIT: Final = 3_000_000


@frozen
class Found:
    """What a search saw. `broken` is the first law that broke, `trace` a shortest way there.

    `stuck` counts the states from which no calm way leads to a proven end; `spent` those where the gateway has nothing
    and every send that the bounds allow has been made, so that the model, not the client, ends there.
    """

    states: int
    transitions: int
    classes: int
    alone: int  # states of a single number
    replaced: int = 0
    broken: str = ""
    trace: tuple[str, ...] = ()
    stuck: int = 0
    spent: int = 0


@define
class Search:
    """`until_paid_twice` passes over every other broken law."""

    bounds: Bounds = Bounds()
    opens: Opens = strictly
    hurries: Opens | None = None
    forgetful: bool = False
    racy: bool = False
    until_paid_twice: bool = False
    numbers: Numbers = field(init=False)
    seen: list[Payment] = field(factory=list)
    places: dict[Payment, int] = field(factory=dict)
    parents: array[int] = field(factory=lambda: array("l"))
    ways: list[tuple[int, Move] | None] = field(factory=list)
    calm_from: array[int] = field(factory=lambda: array("l"))
    calm_to: array[int] = field(factory=lambda: array("l"))
    transitions: int = 0
    replaced: int = 0

    def __attrs_post_init__(self) -> None:
        self.numbers = Numbers(Client(self.opens, self.hurries), self.bounds, self.forgetful, self.racy)

    def run(self) -> Found:
        """Search; ends at the first broken law, or when every state has been seen."""
        self._reach((self.numbers.place(Number()),), 0, None)
        at = 0
        while at < len(self.seen):
            payment = self.seen[at]
            broken = self._broken(payment) or self._expand(at, payment)
            if broken:
                return evolve(self._found(), broken=broken, trace=self.trace(at))
            assert len(self.seen) < _LIMIT, "the state space is not as small as it was meant to be"
            at += 1
        return self._found() if self.until_paid_twice else self._with_liveness(self._found())

    def _expand(self, at: int, payment: Payment) -> str:
        """Every move from here; the law that one of them breaks."""
        for index, number in enumerate(payment):
            before, behind = payment[:index], payment[index + 1 :]
            for move in self.numbers.moves(number):
                there = self._reach((*before, move.after, *behind), at, (index, move))
                self._count(at, there, move)
                if move.falls and not self.until_paid_twice:
                    return f"the reported state moved down: {move.words}"
        newest = self.numbers.states[payment[-1]]
        facts = self.numbers.facts(newest)
        if facts is not None and facts.opens and len(payment) < self.bounds.numbers:
            self.replaced += 1
            fresh = self.numbers.place(Number())
            move = Move("REPLACE: a new number", fresh)
            after = (*payment[:-1], self.numbers.replaced(newest), fresh)
            self._count(at, self._reach(after, at, (len(payment) - 1, move)), move)
        return ""

    def _reach(self, payment: Payment, parent: int, way: tuple[int, Move] | None) -> int:
        there = self.places.setdefault(payment, len(self.seen))
        if there == len(self.seen):
            self.seen.append(payment)
            self.parents.append(parent)
            self.ways.append(way)
        return there

    def _count(self, at: int, there: int, move: Move) -> None:
        self.transitions += 1
        if not move.fault:
            self.calm_from.append(at)
            self.calm_to.append(there)

    def _broken(self, payment: Payment) -> str:
        """The law that this state breaks. Lives are cheap to count, so that is done first."""
        told = self.numbers.told
        if sum(told(number).payments for number in payment) > 1:
            return "two payments"
        if self.until_paid_twice:
            return ""
        if sum(told(number).alive for number in payment) > 1:
            return "two numbers that may be paid"
        return next((lie for number in payment if (lie := told(number).lie)), "")

    def trace(self, at: int) -> tuple[str, ...]:
        """A shortest way to a state, in words."""
        words: list[str] = []
        while (way := self.ways[at]) is not None:
            index, move = way
            words.append(f"number {index + 1}: {move.words}")
            at = self.parents[at]
        return tuple(reversed(words))

    # ------------------------------------------------------------------ liveness

    def _with_liveness(self, found: Found) -> Found:
        """From which states does no calm way lead to a proven end, though a send is left?"""
        told = self.numbers.told
        ends = bytearray(len(self.seen))
        heads, after = self._calm_backwards()
        queue = [at for at, payment in enumerate(self.seen) if told(payment[-1]).ended]
        for at in queue:
            ends[at] = 1
        while queue:
            edge = heads[queue.pop()]
            while edge >= 0:
                before = self.calm_from[edge]
                if not ends[before]:
                    ends[before] = 1
                    queue.append(before)
                edge = after[edge]
        endless = [at for at in range(len(self.seen)) if not ends[at]]
        stuck = [at for at in endless if not told(self.seen[at][-1]).spent]
        if stuck:
            found = evolve(found, broken="no calm way leads to an end", trace=self.trace(stuck[0]))
        return evolve(found, stuck=len(stuck), spent=len(endless) - len(stuck))

    def _calm_backwards(self) -> tuple[array[int], array[int]]:
        """For each state the newest calm move into it, and for each such move the one before."""
        heads = array("l", [-1]) * len(self.seen)
        after = array("l", [-1]) * len(self.calm_to)
        for edge, to in enumerate(self.calm_to):
            after[edge] = heads[to]
            heads[to] = edge
        return heads, after

    def _found(self) -> Found:
        classes, alone = len(self.numbers.client.known), len(self.numbers.states)
        return Found(len(self.seen), self.transitions, classes, alone, self.replaced)
