"""`worker`: drives whatever is due in a journal until it is stopped; many may run on one journal."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ..client import LianLianClient
from ..config import Limits, Settings
from ..errors import ConfigError, JournalUnavailable
from ..journal import Journal
from ..worker import Worker
from .common import (
    Finite,
    clock_of,
    complain,
    config_option,
    configured_journal,
    journal_address,
    run_async,
    say_path,
    scale_option,
    stop_event,
)
from .pay import fast_transports

__all__ = ["worker"]

_DEFAULTS = Limits()


@click.command()
@click.option(
    "--in-flight", type=click.IntRange(1, 4096), default=_DEFAULTS.in_flight, show_default=True,
    help="How many payments may be under way at once.",
)  # fmt: skip
@click.option(
    "--queries-per-s", type=Finite(min=0, min_open=True, max=10_000), default=_DEFAULTS.queries_per_s,
    show_default=True, help="How often the gateway is asked at most, by all workers on the journal together.",
)  # fmt: skip
@config_option
@scale_option
@run_async
async def worker(in_flight: int, queries_per_s: float, config: Path | None, time_scale: float) -> int:
    """Drive the payouts of the journal until stopped: what is due is queried, or sent if the rules allow it.

    Any number of workers may run on one journal; none sends what another has begun. SIGTERM and Ctrl-C finish what is
    in flight.
    """
    stop, settings = stop_event(), Settings.load(config)
    merchant, journal = settings.merchant(), configured_journal(settings)
    if journal_address(settings) == "memory:":
        raise ConfigError("a worker needs a journal that others write, too, and memory: is not: see LIANLIAN_JOURNAL")
    _log_to_stderr()
    limits = Limits(in_flight=in_flight, queries_per_s=queries_per_s)
    async with LianLianClient(
        merchant, journal, transport=fast_transports(limits, merchant), limits=limits,
        clock=clock_of(time_scale),
    ) as client:  # fmt: skip
        complain(f"worker: started for merchant {merchant.oid_partner} on the journal {_place(client.journal)}")
        work = Worker(client)
        await work.run(stop)
        return await _say_end(client, work.steps)


async def _say_end(client: LianLianClient, steps: int) -> int:
    try:
        states = [f"{state} {tally.count}" for state, tally in sorted((await client.tally()).items())]
    except JournalUnavailable as error:
        complain(f"Error: {error}")
        say_path(f"worker: stopped after {steps} steps; the journal cannot be read just now")
        return 3
    say_path(f"worker: stopped after {steps} steps; in the journal: {', '.join(states) or 'nothing'}")
    return 0


def _place(journal: Journal) -> str:
    """Where the journal lies; never its address, which may hold a password."""
    return str(getattr(journal, "path", type(journal).__name__))


def _log_to_stderr() -> None:
    """What a service says while it runs, each line with its time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("lianlian_async").addHandler(handler)
