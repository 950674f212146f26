"""`resume`, `pause` and `unpause`: a person's moves, each refused unless the decision table allows it."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from ..client import LianLianClient
from ..config import Settings
from ..errors import ConfigError
from ..journal import Breaker
from ..people import checked_name, checked_note
from .common import (
    Finite,
    clock_of,
    config_option,
    existing_journal,
    journal_now,
    opened_journal,
    run_async,
    scale_option,
)
from .look import show

__all__ = ["by_option", "pause", "resume", "unpause"]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


by_option = click.option("--by", default=_user, show_default="the user's name", help="Who decides.")


@click.command()
@click.argument("no_orders", nargs=-1, required=True)
@by_option
@click.option("--wait-s", type=Finite(min=0), default=30.0, show_default=True, help="How long to wait for outcomes.")
@config_option
@scale_option
@run_async
async def resume(no_orders: tuple[str, ...], by: str, wait_s: float, config: Path | None, time_scale: float) -> int:
    """Release payouts after a fix: each is queried, and if there is no record the same number goes again."""
    settings = Settings.load(config)
    async with LianLianClient(settings.merchant(), existing_journal(settings), clock=clock_of(time_scale)) as client:
        for no_order in no_orders:
            await client.check_resumable(no_order)
        for no_order in no_orders:
            await client.resume(no_order, by=by)
        payouts = [await client.wait(no_order, timeout_s=wait_s) for no_order in no_orders]
    show(payouts, "resumed")
    return 0 if all(payout.final for payout in payouts) else 1


@click.command()
@click.option("--reason", required=True, help="Why; it is shown to everybody who is refused.")
@by_option
@config_option
@run_async
async def pause(reason: str, by: str, config: Path | None) -> None:
    """Stop new money of the merchant; what is under way is followed, queries go on."""
    settings, reason, by = Settings.load(config), checked_note(reason), checked_name(by)
    async with opened_journal(settings) as journal:
        breaker = await journal.trip(Breaker(_partner(settings), reason, await journal_now(journal), by))
    click.echo(f"new money of {breaker.oid_partner} is paused by {breaker.by}: {breaker.reason}")


@click.command()
@by_option
@config_option
@run_async
async def unpause(by: str, config: Path | None) -> None:
    """Let new money of the merchant leave again."""
    settings, by = Settings.load(config), checked_name(by)
    async with opened_journal(settings) as journal:
        lifted = await journal.reset(_partner(settings), by, await journal_now(journal))
    if lifted is None:
        click.echo("nothing was paused")
    else:
        click.echo(
            f"lifted: {lifted.reason}\nWhat waited for it goes on where a `worker` runs, or with the next `pay`; "
            "what needs a fix, with `resume`."
        )


def _partner(settings: Settings) -> str:
    """Pausing needs no keys: whoever sees something wrong must be able to stop new money at once."""
    if not settings.oid_partner:
        raise ConfigError("oid_partner is missing: set LIANLIAN_OID_PARTNER, or give it in --config FILE")
    return settings.oid_partner
