"""Is the folding of pasts faithful? (`Knowledge.key` must hold all that can matter.)

`Client` keeps one past for each class. Here other pasts of the same class are tried: long ones, made by walking through
the classes and taking, at each, the event that has been taken there least often. Whatever follows must fall into the
class that was worked out from the representative, or the search has merged what the resolver can tell apart.
"""

from __future__ import annotations

from collections import defaultdict

from attrs import frozen

from .client import JUMPS, Client, Event, Knowledge
from .number import Bounds
from .search import Search

__all__ = ["Audit", "audit"]


@frozen
class Audit:
    """How many events were compared, how many different ones of how many were met, and the first that went astray."""

    compared: int
    met: int
    events: int
    astray: str = ""


def audit(bounds: Bounds, walks: int, steps: int) -> Audit:
    """Search `bounds` to the fixpoint, then walk `walks` times `steps` events with full pasts."""
    search = Search(bounds)
    search.run()
    client = search.numbers.client
    ways: dict[int, list[Event]] = defaultdict(list)
    for at, event in client.memo:
        ways[at].append(event)
    taken: dict[tuple[int, Event], int] = defaultdict(int)
    compared = 0
    for _ in range(walks):
        known, at = Knowledge(), 0
        for _ in range(steps):
            if not ways[at]:
                break
            event = min(ways[at], key=lambda event, at=at: taken[at, event])
            taken[at, event] += 1
            known, expected = known.after(event), client.memo[at, event]
            compared += 1
            at = _place(client, known, expected)
            if at < 0:
                astray = f"{event}: {client.known[expected].key()} became {known.key()}"
                return Audit(compared, len(taken), len(client.memo), astray)
    return Audit(compared, len(taken), len(client.memo))


def _place(client: Client, known: Knowledge, expected: int) -> int:
    """The class of `known`, if the search knows that it can be met here; otherwise -1.

    On a long walk the minutes add up to half an hour or a day by themselves: that is one jump more, which the search
    tries everywhere.
    """
    count = len(client.known)
    found = client.place(known)
    if found == expected:
        return found
    jumps = [client.memo.get((expected, (jump, 0, ""))) for jump in JUMPS]
    return found if found < count and found in jumps else -1
