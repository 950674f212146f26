"""A payout worker: takes payouts from a table of the application, and writes into it how each ended.

Against the simulator, in two commands (`pip install 'lianlian-async[cli]'` comes before them):

    lianlian-async simulate > gateway.env &
    . ./gateway.env; LIANLIAN_JOURNAL=sqlite:///payouts.db LIANLIAN_NOTIFY_URL=http://127.0.0.1:9/ \
        python payout_worker.py queue.db

    sqlite3 queue.db "INSERT INTO queue (key, money_order, card_no, acct_name) VALUES
        ('bonus-11/1042', '99.50', '6228480223123114741', '李三')"

It may be killed at any moment, and several copies may run at once on one queue and one journal. It needs no
notifications: it asks. In production only the LIANLIAN_* variables differ: your keys, no LIANLIAN_BASE_URL, and the
public https notify_url of whatever takes notifications in for this journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from lianlian_async import Changed, Clock, LianLianClient, Order, Settings, errors
from lianlian_async.testing import ScaledClock
from lianlian_async.worker import Worker

logger = logging.getLogger("payouts")

BATCH: Final = 100
LOOK_EVERY_S: Final = 1.0
# `taken` turns 1 once the journal has the payout. `refusal` says why it never got there: put the row right and empty
# it again. `duplicate_ok` is a person's yes to a payment that looks like another.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queue (key TEXT PRIMARY KEY, money_order TEXT NOT NULL, card_no TEXT NOT NULL,
    acct_name TEXT NOT NULL, info_order TEXT, duplicate_ok INTEGER NOT NULL DEFAULT 0,
    taken INTEGER NOT NULL DEFAULT 0, refusal TEXT, no_order TEXT, state TEXT, step TEXT, advice TEXT,
    since TEXT NOT NULL DEFAULT '', version INTEGER NOT NULL DEFAULT 0)
"""
WAITING: Final = """
SELECT key, money_order, card_no, acct_name, info_order, duplicate_ok FROM queue
WHERE taken = 0 AND refusal IS NULL ORDER BY key LIMIT ?
"""
TAKEN: Final = "UPDATE queue SET taken = 1 WHERE key = ?"
REFUSED: Final = "UPDATE queue SET refusal = ? WHERE key = ? AND taken = 0"
# A change may be told twice, and an older one after a newer: only what is newer than the last is written. `since` is
# there because a payout that failed can be replaced by one with a later number, under the same key.
CHANGED: Final = """
UPDATE queue SET no_order = ?, state = ?, step = ?, advice = ?, since = ?, version = ?
WHERE key = ? AND (since, version) < (?, ?)
"""


class Queue:
    """The application's table. It is not the journal: what stands here decides nothing about money."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, statement: str, *values: Sequence[Any]) -> None:
        """Run a statement for each of `values`, in one transaction."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            database.executemany(statement, values)

    def waiting(self) -> list[Any]:
        """The next rows. They are not locked: no killed worker leaves a lock behind, and keys make copies harmless."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database:
            return database.execute(WAITING, (BATCH,)).fetchall()

    async def on_change(self, changed: Changed) -> None:
        """Called after the journal's commit, at least once, in one of the copies; if it raises, again later."""
        now = changed.payout
        newness = (now.created_at.isoformat(timespec="microseconds"), changed.version)
        told = (changed.no_order, changed.state, changed.step, now.advice, *newness, now.key, *newness)
        await asyncio.to_thread(self.run, CHANGED, told)


async def take(client: LianLianClient, queue: Queue, rows: Sequence[Any]) -> None:
    """Hand rows to the journal, all or none, and only then mark them as taken.

    Killed in between, or raced by another copy, the same rows are handed over again; their keys find what exists.
    """
    keys = [row[0] for row in rows]
    try:
        orders = [
            (Order(money_order=money, card_no=card, acct_name=name, info_order=info), key)
            for key, money, card, name, info, _ in rows
        ]
        await client.enlist(orders, duplicate_ok=all(row[5] for row in rows))
    except (errors.InvalidOrder, errors.OrderConflict, errors.DuplicateSuspected) as error:
        # None was taken. One by one, only those stay behind that are to blame.
        if len(rows) > 1:
            for row in rows:
                await take(client, queue, [row])
            return
        logger.warning("%s is refused: %s", keys[0], error)
        await asyncio.to_thread(queue.run, REFUSED, (str(error), keys[0]))
    else:
        await asyncio.to_thread(queue.run, TAKEN, *((key,) for key in keys))


async def feed(client: LianLianClient, queue: Queue, stop: asyncio.Event) -> None:
    """Take what is waiting, again and again, until `stop` is set."""
    while not stop.is_set():
        rows = await asyncio.to_thread(queue.waiting)
        if rows:
            try:
                await take(client, queue, rows)
                continue
            except (errors.BreakerOpen, errors.JournalUnavailable, errors.OutcomeUnknown) as error:
                # Not the rows' fault. They are not marked, so they are handed over again, under the same keys.
                logger.warning("nothing is taken for now: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
        except TimeoutError:
            continue


def trial_clock() -> Clock | None:
    """A fast clock for trials; the client refuses it unless the gateway is a simulator on this machine."""
    scale = os.environ.get("LIANLIAN_TIME_SCALE")
    return ScaledClock(float(scale)) if scale else None


async def main(path: Path) -> None:
    """Work until SIGTERM or SIGINT; then take nothing more, finish what is in flight, and end."""
    settings, queue, stop = Settings.load(), Queue(path), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    queue.run(SCHEMA, ())
    # All copies are one subscriber: a change is told to one of them, and when that one dies, to another.
    async with LianLianClient(
        settings.merchant(), settings.configured_journal(), clock=trial_clock(), on_change=queue.on_change,
        subscriber="queue",
    ) as client, asyncio.TaskGroup() as tasks:  # fmt: skip
        # `recover` is not needed here: the worker claims whatever is due, also what a killed copy has left behind.
        tasks.create_task(Worker(client).run(stop))
        tasks.create_task(feed(client, queue, stop))
        logger.info("ready")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "queue.db")))
    except errors.ConfigError as problem:
        sys.exit(str(problem))
