"""One signature, several messages: nothing in `k=v&k=v` is escaped, so a signed string can be cut in other ways.

    info_order=x&no_order=N1     is   {"info_order": "x", "no_order": "N1"}     two members, as it was meant
                                 or   {"info_order": "x&no_order=N1"}           the second swallowed by the first
                                 or   {"info_order=x&no_order": "N1"}           the first swallowed by a name

An attacker who may choose a text of a payout of his own can so have LianLian sign a message about another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from fuzz.pen import joined

Members = dict[str, str]


def readings(text: str, *, odd_names: bool = True) -> Iterator[Members]:
    """Every JSON object of which `text` is the string to sign: each `&` a border between members or a part of one,
    each `=` of a member the border between name and value; the one it was made of among them.

    A text of n plain members has F(2n) of them, F being Fibonacci's numbers: 2,584 for the nine of a notification,
    46,368 for the twelve of a query's answer. Without `odd_names`, names hold neither sign, and 2^(n-1) are left.
    """
    pieces = tuple(text.split("&"))
    for members in _from(pieces, odd_names):
        found = dict(members)
        # What is not in the order of its names, or names something twice, is signed as another string.
        if len(found) == len(members) and joined(found) == text:
            yield found


@lru_cache(maxsize=64)
def _cuts(part: str, odd_names: bool) -> tuple[tuple[str, str], ...]:
    """All (name, value) that are written as `part`; an empty value is never written."""
    places = [place for place, char in enumerate(part) if char == "="]
    if not odd_names:
        places = [place for place in places[:1] if "&" not in part[:place]]
    return tuple((part[:place], part[place + 1 :]) for place in places if part[place + 1 :])


def _from(pieces: tuple[str, ...], odd_names: bool) -> Iterator[list[tuple[str, str]]]:
    if not pieces:
        yield []
    for count in range(1, len(pieces) + 1):
        cuts = _cuts("&".join(pieces[:count]), odd_names)
        if cuts:
            for rest in _from(pieces[count:], odd_names):
                for cut in cuts:
                    yield [cut, *rest]
