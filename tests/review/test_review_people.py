"""Names of the users file: one person, one spelling (T17)."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_world import PASSWORD, write_users

from lianlian_async.errors import CommandRefused, ConfigError
from lianlian_async.people import checked_name
from lianlian_async.review.people import add_person, name_fault


@pytest.mark.parametrize(
    "name", ["ｃｈｅｎ", "Wei  Chen", "Wei\u00a0Chen", "Wei\u3000Chen", "chen\ufe0f", "che\u200bn"]
)
def test_a_name_is_written_in_plain_letters(name: str) -> None:
    """What looks like another name, or is longer than it looks, cannot be a name."""
    assert name_fault(name)


@pytest.mark.parametrize("name", ["Chen", "CHEN"])
def test_another_spelling_is_no_other_person(tmp_path: Path, name: str) -> None:
    """Refused, and the file stays as it was."""
    file = write_users(tmp_path / "users", chen=PASSWORD)
    before = file.path.read_bytes()
    with pytest.raises(ConfigError, match="another spelling"):
        add_person(file.path, name, PASSWORD)
    assert file.path.read_bytes() == before
    assert add_person(file.path, "chen", PASSWORD)


def test_names_on_record_are_plain() -> None:
    """What a person types is written down in one form; what shows nothing is refused."""
    assert checked_name(" Ｗei\u3000 Chen ") == "Wei Chen"
    for name in ("\u3164", "che\u200bn", "chen\ufe0f"):
        with pytest.raises(CommandRefused):
            checked_name(name)
