"""The worlds of the client's tests, and a pen that writes as the gateway does."""

import pytest
from client_fixtures import *  # noqa: F403
from client_world import Keys
from notify_world import Pen


@pytest.fixture(scope="session")
def pen(keys: Keys) -> Pen:
    """The gateway's hand."""
    return Pen(keys.read("gateway-private"))


@pytest.fixture(scope="session")
def stranger(keys: Keys) -> Pen:
    """Somebody else's."""
    return Pen(keys.read("stranger-private"))
