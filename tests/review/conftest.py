"""A desk that holds payouts, the page in front of it, and browsers for two people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from review_desk import FakeDesk
from review_world import PASSWORD, SECRET, Visitor, write_users
from starlette.applications import Starlette

from lianlian_async.review import signed_in_app
from lianlian_async.review.people import UsersFile
from lianlian_async.testing.clocks import ManualClock


@pytest.fixture
def desk() -> FakeDesk:
    """Holds nothing yet; its clock stands."""
    return FakeDesk()


@pytest.fixture
def session_clock() -> ManualClock:
    """The clock that sessions live by."""
    return ManualClock()


@pytest.fixture
def users(tmp_path: Path) -> UsersFile:
    """chen and li, with the same password."""
    return write_users(tmp_path / "users", chen=PASSWORD, li=PASSWORD)


@pytest.fixture
def app(desk: FakeDesk, users: UsersFile, session_clock: ManualClock) -> Starlette:
    """The page with its own sign-in, on this machine."""
    return signed_in_app(desk, users=users, secret=SECRET, clock=session_clock)


@pytest.fixture
async def a_visitor(app: Starlette) -> AsyncIterator[Callable[..., Visitor]]:
    """Makes browsers, each with cookies of its own."""
    made: list[Visitor] = []

    def make(application: object = app, **options: str) -> Visitor:
        made.append(Visitor(application, **options))
        return made[-1]

    yield make
    for visitor in made:
        await visitor.close()


@pytest.fixture
async def chen(a_visitor: Callable[..., Visitor]) -> Visitor:
    """chen's browser, signed in."""
    visitor = a_visitor()
    assert (await visitor.sign_in("chen")).status == 200
    return visitor


@pytest.fixture
async def li(a_visitor: Callable[..., Visitor]) -> Visitor:
    """li's browser, signed in."""
    visitor = a_visitor()
    assert (await visitor.sign_in("li")).status == 200
    return visitor
