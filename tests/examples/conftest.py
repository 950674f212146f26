"""Keys for the session, and a shell for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cli_world import Gateway, Keys, Shell, a_gateway

from lianlian_async.testing.keys import make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Key files of two parties; 1024 bits, because size is not the point here."""
    folder = tmp_path_factory.mktemp("example-keys")
    for name in ("merchant", "gateway"):
        make_keys(folder, name, 1024)
    return Keys(folder)


@pytest.fixture
async def shell(keys: Keys, tmp_path: Path) -> AsyncIterator[Shell]:
    """A folder and an environment; whatever still runs in it at the end is ended."""
    made = Shell(tmp_path, keys)
    yield made
    await made.close()


@pytest.fixture
async def gateway(keys: Keys, shell: Shell) -> AsyncIterator[Gateway]:
    """A gateway on a bad day, which the shell is configured for."""
    async with a_gateway(keys, faults="rough", seed=7) as made:
        shell.base_url = made.base_url
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The caller's side of HTTP."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as made:
        yield made
