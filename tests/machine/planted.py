"""Bugs of one journal or of the front door, beside those of `simulation.traps`: the machine must notice each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from attrs import evolve

from lianlian_async import CommandRefused, State
from lianlian_async.client import LianLianClient
from lianlian_async.journal import sqlite_payouts


@contextmanager
def file_keeps_leases() -> Iterator[None]:
    """The SQLite journal does not let go of a payout that a worker has finished with."""
    with patch.object(sqlite_payouts, "release", lambda db, no_order, owner: None):
        yield


@contextmanager
def review_told_as_unknown() -> Iterator[None]:
    """`get` tells of a payout under review as if nothing had been heard of it."""
    own = LianLianClient.get

    async def get(self: LianLianClient, no_order: str) -> Any:
        payout = await own(self, no_order)
        return evolve(payout, state=State.UNKNOWN) if payout.state is State.REVIEW else payout

    with patch.object(LianLianClient, "get", get):
        yield


@contextmanager
def refused_decline_is_a_key_error() -> Iterator[None]:
    """What the documentation does not name comes out of the front door."""
    own = LianLianClient.decline

    async def decline(self: LianLianClient, no_order: str, **more: Any) -> Any:
        try:
            return await own(self, no_order, **more)
        except CommandRefused as error:
            raise KeyError(no_order) from error

    with patch.object(LianLianClient, "decline", decline):
        yield
