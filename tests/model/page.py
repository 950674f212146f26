"""docs/model.md, from what the searches found. `rows` and `traces` are text, so that a test can check each for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .number import MEETS
from .relaxed import RELAXATIONS, Relaxation
from .search import Found
from .worlds import WORLDS, World

PAGE: Final = Path(__file__).parents[2] / "docs" / "model.md"

_HEAD: Final = """# The model

<!-- Written by `python3 dev.py model --write`. Do not edit. -->

Every way in which one payment, its numbers, the client, the gateway and everything between them can go on is tried,
breadth first, until nothing new is found. The client in it is the real one as far as money is decided: attempts and
evidence go through the library's own `view_of`, `decide` and `permits`. Only the journal, the wire and the gateway are
modelled. `python3 dev.py model` does it again, on one core in about a minute; the tests do it for every change.

## What happens in it

- **Client**: writes an attempt down and sends; asks whenever it likes; learns from answers, queries and notifications; sends
  the same number again when `decide` says SUBMIT; opens a new number when `permits` allows it, and whenever it does. A crash
  is an answer that nobody reads: what is on record is all that is left.
- **People**: resume what waits for them, approve, decline, confirm in the merchant portal.
- **Gateway**: accepts, holds for review, refuses with or without a trace; intercepts a number that it knows, but may refuse
  a repeated one for the balance before it looks; pays, fails with a bill, closes, returns the money days after it paid.
- **Between them**: each request is lost, arrives once, or is doubled, at any time, and its answer is lost or read. A query is
  answered from the present, or from a lagging copy that shows any *earlier* record, or not at all. Notifications come
  at any time, in any order, again and again, or never.
- **Time**: nothing on the wire has any. For the client, moments pass, and at any point it may be that the grace of R2 and
  the freshness of a word, half an hour (too late to confirm), or a day (R3) are over.

Pasts between which the resolver cannot tell the difference are one state. `tests/model/client.py` has the list of what
makes a difference, and an audit with thousands of long pasts tests it. Which answer stands for which row of
[decisions.md](decisions.md) is in `tests/model/test_model_rows.py`, with a test that they permit the same.

Not in it: news that the gateway did not give (forged, of other orders, contradicting itself; every sequence of four such
events after a first send is tried apart from this, beside the law: `python3 dev.py model --sequences 4`), `amend`, two persons for one review, queries turned away for our own set-up, queries answered
late (a lagging copy says the same, and counts for more), the pause of new money, and the journal's own failures
(the simulation and the proofs with real processes have these).

## What must hold

In every state: at most one number of the payment is accepted, under review or paid (I1). What is reported is true: PAID is
paid, FAILED, CLOSED and REFUNDED are what the gateway has on record, REVIEW and IN_PROGRESS were, UNSENT has left nothing
behind, and CONFLICT never comes from a gateway that tells the truth (I2). A new number opens only over one that is
dead (I3). The reported state never moves down (I4). Each send keeps the law as `tests/resolver/resolver_law.py`
writes it down a second time (R1 to R3). Something is due, somebody is asked, or it has ended. And from every
state some calm way leads to a proven end, unless every send that the bounds allow has been made and the gateway has
nothing (the last column)."""

_LAST: Final = """
What the table does not bound is unbounded: queries, notifications, people's moves, time. `every-answer` and `three-sends`
have one copy in flight at once, the others two; a review comes where there is a confirm, and in `every-answer`.
`classes` are the pasts of one number that the resolver can tell apart. In `racy` the gateway looks whether it knows a
number at one moment and stores it at another, and whatever is in flight arrives before the grace is over.

## What each rule is for

The same search, with one rule taken away in the model only (the library has no such switch). Each must end in two
payments; these are shortest ways there. A test fails when one of them is not found, or when it is longer or shorter."""


def row(world: World, found: Found) -> str:
    """One world's line in the table."""
    counts = (found.states, found.transitions, found.classes, found.spent)
    verdict = found.broken or "all hold"
    return f"| `{world.name}` | {world.about} | {verdict} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def steps(found: Found) -> list[str]:
    """A trace as a numbered list, in which a payment with a single number needs no number's name."""
    several = any(words.startswith("number 2") for words in found.trace)
    lines = [words if several else words.removeprefix("number 1: ") for words in found.trace]
    return [f"{at}. {words}" for at, words in enumerate(lines, start=1)]


def page(rows: Mapping[str, str], traces: Mapping[str, Sequence[str]]) -> str:
    """The whole page."""
    return "\n".join(_lines(rows, traces)) + "\n"


def _lines(rows: Mapping[str, str], traces: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield from (_HEAD, "", "| world | what is in it | laws | states | transitions | classes | out of sends |")
    yield "|---|---|---|---|---|---|---|"
    yield from (rows[world.name] for world in WORLDS)
    yield from ("", f"The answers to pay of `every-answer`: {'; '.join(MEETS)}.", _LAST)
    for relaxed in RELAXATIONS:
        yield from ("", f"### {relaxed.title}", "", *traces[relaxed.name], "", relaxed.lesson)


def rows_in(text: str) -> dict[str, str]:
    """The lines of the worlds in a page."""
    return {found[1]: found[0] for found in re.finditer(r"^\| `([a-z-]+)` \|.*$", text, re.MULTILINE)}


def trace_in(text: str, relaxed: Relaxation) -> list[str]:
    """The trace of one relaxation in a page."""
    _, _, behind = text.partition(f"### {relaxed.title}\n")
    return re.findall(r"^\d+\. .*$", behind.partition("\n### ")[0], re.MULTILINE)
