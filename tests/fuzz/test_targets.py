"""CI's own share of the fuzzing, without a fuzzer: the whole stored corpus of every target, and 1,500 mutations of it
that are the same ones every time. The rest is `python3 dev.py fuzz`."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from fuzz import targets
from fuzz.mutate import CORPUS, dictionary, mutations, stored
from fuzz.run import NAMES, TooSlow, watched
from fuzz.targets import TARGETS
from lianlian_async import codec, gateway

MUTATIONS = dict.fromkeys(TARGETS, 1500) | {"sheet": 500}
# What may be accepted of the seeds is what acceptance is tried on; the rest is refused at the door.
MEMORY_PER_UNIT = 16 * 1024**2
UNIT = 65536


def test_every_target_has_a_corpus_a_dictionary_and_a_name() -> None:
    """And every corpus belongs to a target."""
    assert tuple(TARGETS) == NAMES
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(dictionary(name)) > 5 for name in TARGETS)
    assert max(len(content) for name in TARGETS for content in stored(name).values()) < 4096


def tried(name: str) -> set[bool]:
    """Whether the seeds of a target are accepted."""
    return {TARGETS[name](content) for content in stored(name).values()}


@pytest.mark.parametrize("name", TARGETS)
def test_stored_corpus(name: str) -> None:
    """No seed brings anything but a result or the declared error, and there are seeds for both."""
    assert tried(name) == {True, False}


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    """Nor does what becomes of the seeds by chance; some of it is still accepted, or the chance would be too wild."""
    found = {TARGETS[name](data) for data in mutations(name, MUTATIONS[name])}
    assert found == {True, False}


def test_mutations_are_the_same_every_time() -> None:
    """So that what fails in one place fails in the other."""
    assert list(mutations("answers", 50)) == list(mutations("answers", 50))
    assert list(mutations("answers", 50)) != list(mutations("answers", 50, seed=1))


LARGE = {
    "members": b"{" + b",".join(b'"x%d":1' % n for n in range(6000)) + b"}",
    "a list": b'{"x":[' + b"1," * 32000 + b"1]}",
    "deep": b'{"x":' + b"[" * 32000 + b"]" * 32000 + b"}",
    "a text": b'{"sign_type":"RSA","sign":"' + b"A" * 65000 + b'"}',
    "borders": b'{"sign_type":"RSA","sign":"eA==","x":"' + b"&a" * 32000 + b'"}',
    "parts": b"lianpay1_0_1" + b"$" * 65000,
    "base64": b"lianpay1_0_1$QUJD$" + b"QUJD" * 16000,
    "a key": b"-----BEGIN PUBLIC KEY-----\n" + b"QUJD" * 16000 + b"\n-----END PUBLIC KEY-----\n",
    "keys": b"".join(b"k%d:QUJD\n" % n for n in range(6000)),
    "cells": b"money_order,card_no,acct_name\n" + b"," * 65000,
    "lines": b"money_order,card_no,acct_name\n" + b"1,1,1\n" * 10000,
    "a cell": b"money_order,card_no,acct_name\n\"" + "测".encode() * 21000,
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_memory_is_bounded_by_the_input(name: str) -> None:
    """Not more than 16 MiB for each 64 KiB, with everything that is made of it, whatever is long or many about it."""
    cases = [*LARGE.values(), *stored(name).values(), *(data for data in mutations(name, 50, seed=2))]
    TARGETS[name](cases[0])  # what is made once is not the input's
    tracemalloc.start()
    try:
        for data in cases:
            tracemalloc.clear_traces()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            TARGETS[name](data)
            assert tracemalloc.get_traced_memory()[1] - before <= MEMORY_PER_UNIT * (1 + len(data) // UNIT)
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------- what would be found


def broken(*_: Any, **__: Any) -> Any:
    raise LookupError


@pytest.mark.parametrize(
    ("name", "place", "attribute"),
    [
        ("notification", targets.receiving, "verify_members"),
        ("answers", targets.Gateway, "_bound"),
        ("envelope", targets, "open_envelope"),
        ("keys", targets, "load_public_key"),
        ("batch", targets, "read_batch"),
        ("sheet", targets, "read_batch"),
    ],
)
def test_an_undeclared_error_is_a_finding(
    name: str, place: Any, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything but the one declared error gets out of the target, for at least one seed."""
    monkeypatch.setattr(place, attribute, broken)
    with pytest.raises(LookupError):
        tried(name)


def test_a_number_that_is_read_as_a_number_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that rounds before it is verified finds a message that was never signed; another reader does not."""
    lenient = json.JSONDecoder(parse_float=lambda text: codec._Lexeme(f"{float(text):g}"), parse_int=codec._Lexeme)
    monkeypatch.setattr(codec, "_decode_json", lenient.decode)
    body = stored("notification")["a-number"].replace(b"25.78", b"25.780")
    with pytest.raises(AssertionError):
        TARGETS["notification"](body)


def test_text_that_moves_the_cursor_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the payee's card number in what is shown (T9, T10)."""
    monkeypatch.setattr(gateway, "as_told", lambda text, content: text)
    with pytest.raises(AssertionError):
        TARGETS["answers"](stored("answers")["names-the-payee"])


def test_what_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times in a row; a machine that was busy once is none."""
    seconds = iter([9.0, 0.1, 9.0, 9.0, 9.0])
    monkeypatch.setattr("fuzz.run._seconds", lambda target, data: next(seconds))
    watched(TARGETS["answers"])(b"")
    with pytest.raises(TooSlow):
        watched(TARGETS["answers"])(b"")
