"""What the commands share: settings, clocks, consoles, and a payout as a script reads it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ..clock import Clock, SystemClock
from ..config import Settings
from ..errors import ConfigError
from ..journal import Journal
from ..payout import Payout

__all__ = [
    "Finite",
    "as_json",
    "clock_of",
    "complain",
    "config_option",
    "configured_journal",
    "console",
    "errors",
    "existing_journal",
    "journal_address",
    "journal_now",
    "json_option",
    "opened_journal",
    "run_async",
    "say_path",
    "scale_option",
    "stop_event",
    "until_stopped",
]

T = TypeVar("T")


class Finite(click.FloatRange):
    """A finite number within a range: click's own lets `nan` through, which no comparison refuses, and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file with the settings (the environment wins over it)."
)
json_option = click.option("--json", "as_json_", is_flag=True, help="One JSON object a line, for scripts.")
scale_option = click.option(
    "--time-scale", type=Finite(0.01, 10_000), default=1.0, show_default=True,
    help="Run the injected clock this many times faster; refused unless the gateway is on this machine.",
)  # fmt: skip


def run_async(command: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """Let click call a coroutine function; uvloop is used where it is installed."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(command(*args, **kwargs))

    return wrapper


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def clock_of(scale: float) -> Clock:
    """The system's clock, or an accelerated one."""
    if scale == 1.0:
        return SystemClock()
    from ..testing.clocks import ScaledClock

    try:
        return ScaledClock(scale)
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"--time-scale {scale:g} runs out of the calendar: take a smaller one") from error


@asynccontextmanager
async def opened_journal(settings: Settings) -> AsyncIterator[Journal]:
    """The configured journal, open; raises ConfigError when none is configured, or is not there."""
    journal = existing_journal(settings)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def configured_journal(settings: Settings) -> Journal:
    """The configured journal with its keys, not yet opened."""
    return settings.configured_journal()


def existing_journal(settings: Settings) -> Journal:
    """The configured journal, not yet open; raises ConfigError when it is not there, or is nobody else's, too.

    Only who pays, and who works for those who do, makes a journal: an empty one at a mistyped path would read as
    "nothing was paid", and a pause in it would stop nothing.
    """
    journal = configured_journal(settings)
    path = getattr(journal, "path", None)
    if path is None:
        raise ConfigError(
            "this needs the journal that payouts are written in, and memory: is a new and empty one for every process: "
            "see LIANLIAN_JOURNAL"
        )
    if not os.path.exists(path):
        raise ConfigError(f"there is no journal at {path}: check LIANLIAN_JOURNAL (`pay` makes a new one)")
    return journal


def journal_address(settings: Settings) -> str:
    """Where the journal lies; raises ConfigError when nothing says so."""
    return settings.journal_address()


def as_json(payout: Payout) -> str:
    """A payout as one JSON object, with the names of the outcomes file; `alarms` is there when there are any."""
    return json.dumps(payout.as_dict(), ensure_ascii=False)


def say_path(text: str) -> None:
    """Print a line that may hold a path: not wrapped and not read as markup."""
    console.print(Text(text), soft_wrap=True)


def complain(text: str) -> None:
    """One sentence on stderr."""
    errors.print(Text(text), soft_wrap=True)


def stop_event() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set: what is in flight is finished, then the command ends."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    return event


async def journal_now(journal: Journal) -> datetime:
    """Now, for whoever only looks: a journal that an accelerated clock wrote has a time of its own."""
    now = SystemClock().now()
    return max(now, await journal.newest() or now)


async def until_stopped(work: Coroutine[Any, Any, object], stop: asyncio.Event) -> bool:
    """Run `work` unless `stop` is set before it ends; True when it ended by itself. Raises what `work` raises."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    await task
    return True
