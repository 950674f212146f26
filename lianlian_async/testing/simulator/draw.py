"""Chance that depends on what is asked, never on when.

Every draw is a hash of the seed and the question ("which fault on the second pay of this number?"), so
the same seed gives the same faults whatever the concurrency, the speed of the machine or the order in
which requests happen to arrive.
"""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["Draw"]

_BITS = 53


class Draw:
    """Repeatable chance under one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def whole(self, below: int, *question: str | int) -> int:
        """An integer from 0 up to, not including, `below`."""
        return self._number(*question) % below

    def fraction(self, *question: str | int) -> float:
        """A number from 0 up to, not including, 1."""
        return (self._number(*question) >> (64 - _BITS)) / (1 << _BITS)

    def between(self, bounds: tuple[float, float], *question: str | int) -> float:
        """A number within `bounds`, in whatever unit the bounds have."""
        low, high = bounds
        return low + (high - low) * self.fraction(*question)

    def _number(self, *question: str | int) -> int:
        text = "\x1f".join(str(part) for part in (self.seed, *question))
        return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
