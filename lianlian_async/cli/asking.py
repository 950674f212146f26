"""What the moves of people share: the yes that they need, an open client, and following a payout afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from ..client import LianLianClient
from ..config import Limits, Settings
from ..errors import CommandRefused
from ..payout import Payout
from ..resolver import Step
from .common import Finite, clock_of, existing_journal, until_stopped

__all__ = ["a_client", "ask", "follow", "status_of", "wait_option", "yes_option"]

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
wait_option = click.option(
    "--wait-s", type=Finite(min=0), default=30.0, show_default=True, help="How long to wait for the outcome."
)


def ask(question: str) -> None:
    """Go on after a yes; raises CommandRefused for everything else, also where nobody is there to answer."""
    try:
        confirmed = click.confirm(question)
    except click.Abort:
        confirmed = False
    if not confirmed:
        raise CommandRefused("not confirmed: nothing was done (--yes confirms without asking)")


@asynccontextmanager
async def a_client(
    config: Path | None, time_scale: float, *, two_person: bool = False
) -> AsyncIterator[LianLianClient]:
    """The configured client on the journal that exists, for one move of a person."""
    settings = Settings.load(config)
    async with LianLianClient(
        settings.merchant(), existing_journal(settings), clock=clock_of(time_scale), two_person=two_person,
        # A person looks at a handful of payouts, and the command ends with its connections.
        limits=Limits(in_flight=4, queries_in_flight=8),
    ) as client:  # fmt: skip
        yield client


async def follow(client: LianLianClient, no_order: str, wait_s: float, stop: asyncio.Event) -> Payout:
    """How the payout stands when it rests, `wait_s` is over, or `stop` is set; what was begun is always finished."""
    if not stop.is_set():
        await until_stopped(client.wait(no_order, timeout_s=wait_s), stop)
    return await client.get(no_order)


def status_of(payout: Payout) -> int:
    """0 when it has ended or goes on by itself, 1 when it needs somebody."""
    return 1 if payout.step in (Step.DECIDE, Step.FIX) else 0
