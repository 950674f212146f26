from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from journal_children import Children
from journal_samples import journal_keys

from lianlian_async.journal import Journal
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.journal.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal of this test lies."""
    return tmp_path / "payouts.db"


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
async def journal(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Journal]:
    """An open journal of each kind."""
    keys = journal_keys("a") if request.param == "encrypted" else None
    made: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(path, keys=keys)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SqliteJournal]:
    """An open journal in a file."""
    made = SqliteJournal(path, busy_timeout_s=0.2)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def children() -> Iterator[Children]:
    started = Children()
    yield started
    started.close()


@pytest.fixture
def private_mounts() -> tuple[str, ...]:
    """The prefix of a command that may mount what it likes, seen by nobody else; skips where that is not allowed."""
    prefix = ("unshare", "--mount", "--propagation", "private")
    if os.geteuid() != 0 or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    return prefix
