from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client_world import Keys
from reconcile_world import Book, a_book

from lianlian_async.testing.keys import make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Key files of merchant and gateway."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("merchant", "gateway"):
        make_keys(folder, name)
    return Keys(folder)


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
async def book(request: pytest.FixtureRequest, keys: Keys, tmp_path: Path) -> AsyncIterator[Book]:
    """A journal of each kind with a client that cannot reach anybody, and a folder for statements."""
    async with a_book(keys, tmp_path, request.param) as made:
        yield made
