"""Which URLs stand for a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from lianlian_async.errors import ConfigError
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.urls import open_journal


def test_memory_is_asked_for() -> None:
    """A journal in memory."""
    assert isinstance(open_journal("memory:"), MemoryJournal)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///payouts.db", "payouts.db"),
        ("sqlite:///a/b 100%20.db", "a/b 100%20.db"),
        ("sqlite:////var/lib/pay.db", "/var/lib/pay.db"),
    ],
)
def test_a_file_is_asked_for(url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the directory of that moment, or absolute; the path is taken as it is."""
    monkeypatch.chdir(tmp_path)
    journal = open_journal(url)
    monkeypatch.chdir("/")
    assert isinstance(journal, SqliteJournal)
    assert journal.path == tmp_path / path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory://",
        "payouts.db",
        "/var/lib/pay.db",
        "sqlite:",
        "sqlite:payouts.db",
        "sqlite://payouts.db",
        "sqlite:///",
        "sqlite:////var/lib/",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a\0.db",
        "sqlite3:///a.db",
        "SQLITE:///a.db",
        "postgresql://pay:secret@db/pay",
        "mysql+aiomysql://pay:secret@db/pay",
        "pay:secret@db",
    ],
)
def test_anything_else_is_asked_for(url: str) -> None:
    """ConfigError shows what is possible and never repeats a password."""
    with pytest.raises(ConfigError, match="journal") as caught:
        open_journal(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_kind_of_journal_is_named() -> None:
    """The sentence says which kind was asked for."""
    with pytest.raises(ConfigError, match="no journal for mysql"):
        open_journal("mysql://u:p@h/d")
