"""A small mutator with a seed, so that a fixed number of cases can be run anywhere, the same ones every time."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
_TOKEN = re.compile(r'^[^#"]*("(?:[^"\\]|\\.)*")\s*$')


def stored(target: str) -> dict[str, bytes]:
    """The stored corpus of a target, by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def dictionary_file(target: str) -> Path:
    """Tokens that mean something behind this door, as libFuzzer reads them."""
    return HERE / "dictionaries" / f"{target}.dict"


def dictionary(target: str) -> list[bytes]:
    """The same tokens."""
    found = [_TOKEN.match(line) for line in dictionary_file(target).read_text("ascii").splitlines()]
    return [ast.literal_eval(f"b{token[1]}") for token in found if token]


def mutations(target: str, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """`count` cases that a seed of the corpus became by one to five changes."""
    random = Random(f"{seed} {target}")
    seeds, tokens = list(stored(target).values()), dictionary(target)
    for _ in range(count):
        data = random.choice(seeds)
        for _ in range(random.randint(1, 5)):
            data = _changed(data, random, seeds, tokens)
        yield data


def _changed(data: bytes, random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    a, b = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    match random.randrange(8):
        case 0:
            return data[:a] + bytes([random.randrange(256)]) + data[a + 1 :]
        case 1:
            return data[:a] + bytes([data[a] ^ (1 << random.randrange(8))]) + data[a + 1 :] if a < len(data) else data
        case 2:
            return data[:a] + data[min(b, a + random.randint(1, 40)) :]
        case 3:
            return data[:b] + data[a:b] * random.choice((1, 1, 2, 50)) + data[b:]
        case 4:
            return data[:a] + random.choice(tokens) + data[a if random.random() < 0.5 else b :]
        case 5:
            other = random.choice(seeds)
            return data[:a] + other[random.randint(0, len(other)) :]
        case 6:
            return data[:a]
        case _:
            return _other_members(data, random, tokens)


def _other_members(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A change of a JSON object that leaves it one; anything else stays as it is."""
    try:
        members: Any = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(members, dict) or not members:
        return data
    name, other = random.choice([*members]), random.choice([*members])
    token = random.choice(tokens).decode("utf-8", "replace")
    value = members.pop(name)
    values = (token, members.get(other), f"{value}{token}", None, "", 0, True, [value], {token: value})
    match random.randrange(4):
        case 0 | 1:
            members[name] = random.choice(values)
        case 2:
            members[token] = value
    return json.dumps(members, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
