"""Names and notes of the people who decide: on record for ever, so they are checked before anything else."""

from __future__ import annotations

import unicodedata
from typing import Final

from .errors import CommandRefused
from .resolver.permits import shows_nothing

__all__ = ["checked_name", "checked_note"]

NAME_CHARACTERS_MAX: Final = 64
NOTE_CHARACTERS_MAX: Final = 500


def checked_name(by: str) -> str:
    """`by` as it is written down: in plain letters (NFKC), one blank between its parts and none around it.

    Raises CommandRefused unless it can stand for a person. Who is the same person is `permits.same_person`'s to say.
    """
    what, plain = "the name of the person who decides", unicodedata.normalize("NFKC", by.strip())
    name = _checked(" ".join(part for part in plain.split(" ") if part), what, NAME_CHARACTERS_MAX)
    if any(map(shows_nothing, name)):
        raise CommandRefused(f"{what} holds invisible characters: nothing was done")
    return name


def checked_note(note: str) -> str:
    """`note` without blanks around it; raises CommandRefused unless it says something."""
    return _checked(note, "a note that says why", NOTE_CHARACTERS_MAX)


def _checked(text: str, what: str, characters_max: int) -> str:
    text = unicodedata.normalize("NFC", text.strip())
    if not text:
        raise CommandRefused(f"{what} is missing: nothing was done")
    if len(text) > characters_max:
        raise CommandRefused(f"{what} is longer than {characters_max} characters: nothing was done")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in text):
        raise CommandRefused(f"{what} holds invisible characters: nothing was done")
    return text
