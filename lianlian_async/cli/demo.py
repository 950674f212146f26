"""`demo`: a batch over real sockets while everything goes wrong, and the gateway's own ledger as the judge."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import click
from attrs import frozen
from rich.table import Table

from ..batch import Batch, read_batch
from ..batch.run import BatchResult, collect, run_batch
from ..client import LianLianClient
from ..clock import Clock
from ..config import Limits, Merchant, Settings, Timeouts
from ..errors import CommandRefused, ConfigError
from ..payout import Payout
from ..resolver import State, Step
from ..scribe import alarms
from ..testing.keys import make_keys
from .audit import Verdict, audit
from .board import Board
from .common import Finite, clock_of, complain, console, run_async, say_path, stop_event, until_stopped
from .demo_rows import write_demo_batch
from .pay import fast_transports, show_result
from .simulate import DEMO_PARTNER

__all__ = ["LIMITS", "TIMEOUTS", "Stage", "ask_until_heard", "demo", "operate"]

_TIME_SCALE = 240.0
# The clock runs faster and this machine does not: the deadline is set so that it is half a second here.
TIMEOUTS = Timeouts(pay_s=120.0, query_s=120.0)
LIMITS = Limits(in_flight=16, queries_in_flight=16, queries_per_s=10.0)
_AN_HOUR_S = 3900.0
_ROUNDS = 4
# What keys, journal and ledgers take; a disk that fills up half-way would leave the demo without a verdict.
_BYTES_NEEDED = 16 * 1024**2
_BYTES_A_PAYOUT = 16 * 1024


@frozen
class Stage:
    """Where the demo's files lie, and what both runs share."""

    folder: Path
    seed: int
    faults: str
    scale: float

    def file(self, name: str) -> Path:
        return self.folder / name

    def merchant(self, base_url: str) -> Merchant:
        """The demo's merchant, at the gateway that answers there."""
        return Settings(
            oid_partner=DEMO_PARTNER, private_key_file=str(self.file("merchant-private.pem")),
            gateway_public_key_file=str(self.file("gateway-public.pem")), base_url=base_url,
            notify_url="https://payouts.example.com/lianlian",
        ).merchant()  # fmt: skip


@click.command()
@click.option("--payouts", type=click.IntRange(1, 100_000), default=300, show_default=True)
@click.option("--seed", type=int, default=20161018, show_default=True, help="Same seed, same faults.")
@click.option("--faults", type=click.Choice(["calm", "rough", "storm"]), default="storm", show_default=True)
@click.option("--time-scale", type=Finite(1, 1000), default=_TIME_SCALE, show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep journal, ledger and batch here [a temporary folder]."
)
@click.option(
    "--days", type=click.IntRange(1, 31), help="Pay over so many days, and reconcile with the gateway's statements."
)
@run_async
async def demo(payouts: int, seed: int, faults: str, time_scale: float, folder: Path | None, days: int | None) -> int:
    """Pay a batch against the simulated gateway while faults are injected, and count what the ledger says.

    Nothing leaves this machine: the gateway is a second process on loopback (with --days, this one).
    """
    place = _made_ready(folder, payouts, seed)
    with _alarms_unheard():
        stage = Stage(place, seed, faults, time_scale)
        if days is None:
            return await _played(stage)
        from .demo_days import play_days

        return await play_days(stage, days)


@contextmanager
def _alarms_unheard() -> Iterator[None]:
    """A storm rings alarms by the dozen, and nobody has to be called: the lists show them."""
    before = alarms.level
    alarms.setLevel(logging.ERROR)
    try:
        yield
    finally:
        alarms.setLevel(before)


async def _played(stage: Stage) -> int:
    """Both runs and the verdict; the exit status."""
    batch = read_batch(stage.file("payouts.csv"))
    if batch.problems:
        raise ConfigError(f"the demo's own batch has a bad row: {batch.problems[0]}")
    total = f"{batch.count} payouts, {batch.total:,.2f} yuan"
    say_path(f"{total}, profile {stage.faults}, seed {stage.seed}; files in {stage.folder}")
    console.print(f"The clock runs {stage.scale:g} times faster, on both sides alike; every rule holds as it is.\n")
    stop = stop_event()
    careless = asyncio.create_task(_careless(stage, batch))
    result = await _pay(stage, batch, stop)
    if stop.is_set():
        careless.cancel()
        await asyncio.gather(careless, return_exceptions=True)
        complain("stopped: the demo has no verdict")
        return 1
    verdict = _judge(stage, batch, [payout for _, payout in result.payouts])
    _show_verdict(verdict, await careless)
    return 0 if verdict.clean and not result.unlisted else 1


def _made_ready(folder: Path | None, payouts: int, seed: int) -> Path:
    """The demo's own folder, with keys and a batch in it; raises ConfigError where it cannot be used."""
    try:
        place = folder or Path(tempfile.mkdtemp(prefix="lianlian-demo-"))
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise ConfigError(f"{place} is not empty: give the demo a folder of its own")
        if shutil.disk_usage(place).free < _BYTES_NEEDED + payouts * _BYTES_A_PAYOUT:
            raise ConfigError(f"{place} has too little room on its disk: make room, or give another --folder")
        for name in ("merchant", "gateway"):
            make_keys(place, name)
        write_demo_batch(place / "payouts.csv", payouts, seed)
    except OSError as error:
        where = folder or "a temporary folder"
        raise ConfigError(f"the demo cannot use {where} ({error.strerror}): give another --folder") from error
    return place


@asynccontextmanager
async def _gateway(stage: Stage, ledger: str) -> AsyncIterator[str]:
    """A simulator in a process of its own; yields its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lianlian_async", "simulate", "--port", "0", "--json", "--faults", stage.faults,
        "--seed", str(stage.seed), "--ledger", str(stage.file(ledger)), "--time-scale", str(stage.scale),
        "--oid-partner", DEMO_PARTNER, "--merchant-public-key", str(stage.file("merchant-public.pem")),
        "--gateway-private-key", str(stage.file("gateway-private.pem")), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise ConfigError("the simulator did not start; see its message above")
        yield str(json.loads(line)["base_url"])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _pay(stage: Stage, batch: Batch, stop: asyncio.Event) -> BatchResult:
    """The batch through the library: pay, let an operator resume what needed a fix, look again after an hour."""
    clock = clock_of(stage.scale)
    async with _gateway(stage, "ledger.jsonl") as base_url:
        merchant = stage.merchant(base_url)
        board = Board(console, batch.count, batch.total)
        async with LianLianClient(
            merchant, f"sqlite:///{stage.file('journal.db')}", transport=fast_transports(LIMITS, merchant),
            limits=LIMITS, timeouts=TIMEOUTS, clock=clock, observer=board.observe,
        ) as client:  # fmt: skip
            with board:
                result = await operate(client, batch, stop)
            show_result(result)
            return await _an_hour_later(client, clock, batch, result, stop)


async def _run(client: LianLianClient, batch: Batch, stop: asyncio.Event) -> BatchResult:
    fault = await run_batch(client, batch.rows, stop=stop)
    return await collect(client, batch.rows, fault)


async def operate(client: LianLianClient, batch: Batch, stop: asyncio.Event) -> BatchResult:
    """The demo's operator: whatever waits for a fix is taken as fixed, and resumed."""
    result = await _run(client, batch, stop)
    alive = (State.UNSENT, State.UNKNOWN, State.REFUSED)
    for _ in range(_ROUNDS):
        stuck = [p for _, p in result.payouts if p.step in (Step.FIX, Step.DECIDE) and p.state in alive]
        if not stuck or stop.is_set():
            break
        if await client.paused() is not None:
            await client.unpause(by="demo operator")
        for payout in stuck:
            # It may have moved on by itself meanwhile.
            with suppress(CommandRefused):
                await client.resume(payout.no_order, by="demo operator")
        result = await _run(client, batch, stop)
    return result


async def _an_hour_later(
    client: LianLianClient, clock: Clock, batch: Batch, result: BatchResult, stop: asyncio.Event
) -> BatchResult:
    """Nobody approves what is under review, so the gateway closes it; and banks return some payments."""
    wanted = [p for _, p in result.payouts if p.state in (State.REVIEW, State.PAID)]
    console.print(f"\nAn hour later: {len(wanted)} payouts that are paid or under review are asked about once more.")
    if await until_stopped(clock.sleep(_AN_HOUR_S), stop):
        await asyncio.gather(*(ask_until_heard(client, payout) for payout in wanted))
        result = await _run(client, batch, stop)
    show_result(result)
    return result


async def ask_until_heard(client: LianLianClient, payout: Payout) -> None:
    """`query` asks three times at most, and the storm is worse than that for some."""
    for _ in range(_ROUNDS):
        now = client.clock.now()
        heard_at = (await client.query(payout.no_order)).heard_at
        if heard_at is not None and heard_at > now:
            return


def _judge(stage: Stage, batch: Batch, payouts: Sequence[Payout]) -> Verdict:
    from ..testing.simulator import Ledger

    return audit([row.key for row in batch.rows], payouts, Ledger.read(stage.file("ledger.jsonl")))


async def _careless(stage: Stage, batch: Batch) -> tuple[int, str]:
    """The same batch and seed through a plain retry loop: how many payees it paid twice, and how much too much."""
    from ..testing.careless import intent_of, pay_carelessly
    from ..testing.simulator import Ledger

    async with _gateway(stage, "careless-ledger.jsonl") as base_url:
        await pay_carelessly(
            base_url, [row.order.members() for row in batch.rows], oid_partner=DEMO_PARTNER,
            merchant_private_key=stage.file("merchant-private.pem").read_bytes(),
            gateway_public_key=stage.file("gateway-public.pem").read_bytes(), clock=clock_of(stage.scale),
            concurrency=LIMITS.in_flight, intent_tag="C",
            timeout_s=TIMEOUTS.pay_s,
        )  # fmt: skip
        await clock_of(stage.scale).sleep(_AN_HOUR_S)
    ledger = Ledger.read(stage.file("careless-ledger.jsonl"))
    twice = ledger.paid_twice(lambda entry: intent_of(entry.no_order))
    paid = ledger.paid(lambda entry: intent_of(entry.no_order))
    return len(twice), f"{sum(paid.values()) - len(paid)} payments too many"


def _show_verdict(verdict: Verdict, careless: tuple[int, str]) -> None:
    table = Table(title="\nWhat the gateway's own ledger says", title_justify="left", header_style="bold")
    for name in ("", "paid twice", "lost", "misreported"):
        table.add_column(name, justify="left" if not name else "right")
    ours = (len(verdict.paid_twice), len(verdict.lost), len(verdict.misreported))
    table.add_row("lianlian_async", *(f"[{'green' if n == 0 else 'bold red'}]{n}[/]" for n in ours))
    table.add_row("a plain retry loop, same batch and seed", f"[red]{careless[0]}[/]", "", careless[1])
    console.print(table)
    console.print(f"paid twice {ours[0]}, lost {ours[1]}, misreported {ours[2]}")
    for name, numbers in (
        ("paid twice", verdict.paid_twice),
        ("lost", verdict.lost),
        ("misreported", verdict.misreported),
    ):
        if numbers:
            console.print(f"{name}: {', '.join(numbers[:20])}")
