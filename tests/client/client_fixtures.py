"""Keys for the session, and worlds for the tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from client_world import Keys, World, a_world

from lianlian_async import KeyRing
from lianlian_async.testing.keys import make_keys

MakeWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Files with the keys of the merchant, the gateway and a stranger; 1024 bits, because size is not the point here."""
    folder = tmp_path_factory.mktemp("client-keys")
    for name in ("merchant", "gateway", "stranger"):
        make_keys(folder, name, 1024)
    return Keys(folder)


@pytest.fixture(scope="session")
def ring(keys: Keys) -> KeyRing:
    return keys.ring()


@pytest.fixture
def world(keys: Keys, ring: KeyRing, tmp_path: Path) -> MakeWorld:
    """Makes worlds: `async with world(journal="sqlite", faults=...) as w:`; arguments as the simulator's."""

    def make(**settings: Any) -> AbstractAsyncContextManager[World]:
        return a_world(keys, ring, tmp_path, **settings)

    return make
