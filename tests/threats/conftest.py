"""The worlds of the client's tests, and two pens: the gateway's and a stranger's."""

import pytest
from client_fixtures import *  # noqa: F403
from client_world import Keys
from fuzz.pen import Pen


@pytest.fixture(scope="session")
def pen(keys: Keys) -> Pen:
    """The gateway's hand."""
    return Pen(keys.read("gateway-private"))


@pytest.fixture(scope="session")
def stranger(keys: Keys) -> Pen:
    """Somebody else's."""
    return Pen(keys.read("stranger-private"))
