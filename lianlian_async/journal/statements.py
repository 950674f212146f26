"""SQL as files: named statements, each with one line of purpose, and migrations in their order."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType

__all__ = ["load_migrations", "load_statements", "split"]

_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_MIGRATION = re.compile(r"\d{4}_\w+\.sql")


@cache
def load_statements(dialect: str) -> Mapping[str, str]:
    """The statements of `sql/<dialect>/statements.sql` by name."""
    text = files(__package__).joinpath("sql", dialect, "statements.sql").read_text("utf-8")
    parts = _NAMED.split(text)[1:]
    return MappingProxyType({name: _bare(body) for name, body in zip(parts[::2], parts[1::2], strict=True)})


def load_migrations(dialect: str) -> Sequence[str]:
    """The scripts `0001_...sql`, `0002_...sql` ... of a dialect; the schema's version is how many were run."""
    folder = files(__package__).joinpath("sql", dialect)
    found = sorted((item for item in folder.iterdir() if _MIGRATION.fullmatch(item.name)), key=lambda item: item.name)
    return tuple(item.read_text("utf-8") for item in found)


def split(script: str) -> Sequence[str]:
    """The single statements of an SQLite script (a trigger's inner semicolons do not end it)."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(_bare(pending))
            pending = ""
    return tuple(statements)


def _bare(sql: str) -> str:
    """Without comment lines and the last semicolon."""
    lines = (line for line in sql.splitlines() if line.strip() and not line.startswith("--"))
    return "\n".join(lines).removesuffix(";")
