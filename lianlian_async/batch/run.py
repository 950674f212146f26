"""A batch on its way: every row journalled, every row followed until it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from attrs import frozen

from ..client import LianLianClient
from ..errors import LianLianError
from ..numbers import derive
from ..payout import Payout
from ..protocol.messages import Order
from ..resolver import State, Step
from .reading import BatchRow

__all__ = ["BatchResult", "collect", "named", "run_batch"]

_CHUNK = 200
_FOLLOW_S = 3600.0


@frozen
class BatchResult:
    """How each row stands, and the first fault that kept rows from going on, if there was one."""

    payouts: tuple[tuple[BatchRow, Payout], ...]
    unlisted: tuple[BatchRow, ...]  # never written down, therefore never sent
    fault: LianLianError | None


def named(row: BatchRow) -> tuple[Order, str | None]:
    """The row's order and the key it is paid under: a row that gives only its number is known by that alone."""
    return row.order, None if row.key == row.order.no_order else row.key


async def run_batch(
    client: LianLianClient,
    rows: Sequence[BatchRow],
    *,
    stop: asyncio.Event,
    wait_s: float | None = None,
    meant: Collection[str] = (),
) -> LianLianError | None:
    """Pay all rows and wait until each is final or waits for a person, `stop` is set, or `wait_s` is over.

    `wait_s` is in the clock's seconds. Rows that the journal knows are attached to, not paid again. Whoever calls this
    has asked about twins among the rows (`Batch.twins`), and about those that the journal knew
    (`LianLianClient.twins`), whose numbers are `meant`: what came into the journal since is a suspected duplicate.
    Returns what kept rows from going on, if anything did; `collect` tells how each row stands.
    """
    own = [row.order.no_order or derive(client.merchant.oid_partner, row.key) for row in rows]
    numbers, fault = await _enlist(client, rows, stop, {*meant, *own})
    waits = [asyncio.create_task(_follow(client, number)) for number in numbers]
    trouble = await _until_rest(client, waits, stop, wait_s) if waits else None
    return fault or trouble


async def collect(client: LianLianClient, rows: Sequence[BatchRow], fault: LianLianError | None = None) -> BatchResult:
    """How each row stands now. Raises JournalUnavailable when the journal cannot be read."""
    known = await client.known([named(row) for row in rows])
    payouts = [(row, payout) for row, payout in zip(rows, known, strict=True) if isinstance(payout, Payout)]
    listed = {row.line for row, _ in payouts}
    return BatchResult(tuple(payouts), tuple(row for row in rows if row.line not in listed), fault)


async def _enlist(
    client: LianLianClient, rows: Sequence[BatchRow], stop: asyncio.Event, meant: Collection[str]
) -> tuple[list[str], LianLianError | None]:
    """Write the rows down, a few hundred at a time, and start them; the numbers of those written."""
    numbers: list[str] = []
    fault: LianLianError | None = None
    for start in range(0, len(rows), _CHUNK):
        if stop.is_set():
            break
        chunk = [named(row) for row in rows[start : start + _CHUNK]]
        try:
            numbers += [payout.no_order for payout in await client.enlist(chunk, duplicate_ok=meant)]
        except LianLianError as error:
            # New money cannot leave now; what was written down before is followed all the same.
            fault = fault or error
            numbers += [payout.no_order for payout in await client.known(chunk) if isinstance(payout, Payout)]
    return numbers, fault


async def _follow(client: LianLianClient, no_order: str) -> None:
    payout = await client.get(no_order)
    if payout.step in (Step.DECIDE, Step.FIX) and payout.state is not State.CONFLICT and _is_due(client, payout):
        # Held since an earlier run: somebody may have decided it in the portal meanwhile.
        await client.query(no_order)
    while not (await client.wait(no_order, timeout_s=_FOLLOW_S)).at_rest:
        pass


def _is_due(client: LianLianClient, payout: Payout) -> bool:
    return payout.due_at is not None and payout.due_at <= client.clock.now()


async def _until_rest(
    client: LianLianClient, waits: Sequence[asyncio.Task[None]], stop: asyncio.Event, wait_s: float | None
) -> LianLianError | None:
    stopped = asyncio.create_task(stop.wait())
    everything = asyncio.create_task(_all(waits))
    seconds = None if wait_s is None else client.clock.loop_seconds(wait_s)
    await asyncio.wait((everything, stopped), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *waits):
        task.cancel()
    failed = [e for e in await everything if e is not None and not isinstance(e, asyncio.CancelledError)]
    for error in failed:
        if not isinstance(error, LianLianError):
            raise error
    return next((error for error in failed if isinstance(error, LianLianError)), None)


async def _all(waits: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
    return await asyncio.gather(*waits, return_exceptions=True)
