"""The `no_order` that follows from merchant, key and generation (specification 3.1)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lianlian_async.errors import InvalidOrder
from lianlian_async.numbers import KEY_CHARACTERS_MAX, check_key, derive
from lianlian_async.protocol.fields import field_fault

PARTNERS = st.text("0123456789", min_size=1, max_size=18)


def is_key(text: str) -> bool:
    """What the documentation says of a key, written down anew."""
    visible = all(unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in text)
    plain = unicodedata.normalize("NFC", text) == text if visible else False
    return 1 <= len(text) <= KEY_CHARACTERS_MAX and text.strip() == text and visible and plain


# Of few letters, digits and the frame's own sign, so that parts of different lengths could run into each other.
KEYS = st.text("01:ab工", min_size=1, max_size=6) | st.text(min_size=1, max_size=12).filter(is_key)
TRIPLES = st.tuples(PARTNERS, KEYS, st.integers(0, 40))


def framed(partner: str, key: str, generation: int) -> str:
    """The frame that the number is a digest of: it can be read back, so no two triples share one."""
    return "".join(f"{len(part)}:{part}" for part in (partner, key, str(generation)))


def read_back(text: str) -> list[str]:
    parts = []
    while text:
        size, _, rest = text.partition(":")
        parts.append(rest[: int(size)])
        text = rest[int(size) :]
    return parts


@given(TRIPLES)
def test_number_has_32_letters_of_base32_and_is_the_same_for_ever(triple: tuple[str, str, int]) -> None:
    """It may travel as `no_order`, and is made of nothing but its three parts."""
    number = derive(*triple)
    assert len(number) == 32
    assert set(number) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert field_fault("no_order", number) is None
    assert derive(*triple) == number


@given(TRIPLES, TRIPLES)
@example(("1", "11", 1), ("11", "1", 1))
@example(("1", "1", 11), ("1", "11", 1))
@example(("1", "a1:0", 0), ("1", "a", 0))
@example(("12", "1:0", 0), ("1", "21:0", 0))
def test_different_triples_have_different_numbers(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    """However their parts could run together."""
    assert (derive(*one) == derive(*other)) == (one == other)


@given(TRIPLES)
def test_frame_can_be_read_back(triple: tuple[str, str, int]) -> None:
    """That is why no two triples share a digest's input."""
    assert read_back(framed(*triple)) == [*map(str, triple)]


def test_numbers_of_the_first_release() -> None:
    """A journal that was lost is found again only if these never change."""
    assert derive("201606020000150062", "salary-2026-11/emp-1042") == "EK3HLRQD7LB726PG3GQVAQOF3B6BFJ5Z"
    assert derive("201606020000150062", "工资/李三", 3) == "OKCYCAR2RWJ2FSJJQ63RL36W7VLM6RQT"


@given(st.text(max_size=KEY_CHARACTERS_MAX + 5) | st.text("a \n\u200be\u0301", max_size=8) | KEYS)
def test_key_is_taken_exactly_when_it_is_plain(text: str) -> None:
    """And what is no key has no number."""
    if is_key(text):
        assert check_key(text) == text
        return
    for use in (check_key, lambda key: derive("1", key)):
        with pytest.raises(InvalidOrder) as refused:
            use(text)
        assert refused.value.field == "key"
        assert len(text) < 8 or text not in str(refused.value)
