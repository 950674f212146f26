"""examples/payout_worker.py: a queue that is paid once, whoever is killed when."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from contextlib import closing
from typing import Any

import aiohttp
import pytest
from cli_world import Gateway, Shell
from examples_world import AT_REST, Program, judge, payments, read, until

pytestmark = pytest.mark.checkout


def a_copy(shell: Shell, session: aiohttp.ClientSession) -> Program:
    return Program("payout_worker.py", shell, session, arguments=("queue.db",))


def put(shell: Shell, rows: list[dict[str, str]]) -> None:
    with closing(sqlite3.connect(shell.folder / "queue.db", timeout=30)) as database, database:
        database.executemany(
            "INSERT INTO queue (key, money_order, card_no, acct_name, info_order) "
            "VALUES (:key, :money_order, :card_no, :acct_name, :info_order)",
            rows,
        )


def queue(shell: Shell) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in read(shell.folder / "queue.db", "SELECT * FROM queue")}


async def ready(shell: Shell) -> None:
    """Wait until a worker has made its table."""

    async def made() -> bool:
        try:
            return queue(shell) is not None
        except sqlite3.OperationalError:
            return False

    await until(made)


async def test_two_copies_killed_in_turn(shell: Shell, gateway: Gateway, session: aiohttp.ClientSession) -> None:
    """Sixty rows, two copies, each killed twice and started again: all taken, all paid once, all told in the table."""
    copies, draw = [a_copy(shell, session) for _ in range(2)], random.Random(20161018)
    rows = payments(60)
    for copy in copies:
        await copy.start()
    await ready(shell)
    put(shell, rows[:30])
    for turn in range(4):
        await asyncio.sleep(draw.uniform(0.3, 1.2))
        await copies[turn % 2].kill()
        if turn == 1:
            put(shell, rows[30:])
        await copies[turn % 2].start()

    async def done() -> bool:
        return all(row["step"] in AT_REST and row["taken"] for row in queue(shell).values())

    await until(done)
    for copy in copies:
        await copy.end(signal.SIGTERM)
        copy.require_discreet(*(row["card_no"] for row in rows), "李三")
    assert judge(gateway, rows, queue(shell)) >= 50


async def test_rows_that_are_refused(shell: Shell, gateway: Gateway, session: aiohttp.ClientSession) -> None:
    """A wrong card and a twin stay behind with the reason, the rest of their batch is paid; a person's yes helps."""
    copy = a_copy(shell, session)
    await copy.start()
    await ready(shell)
    rows = payments(5)
    wrong = {**rows[0], "key": "wrong", "card_no": "6228x"}
    twin = {**rows[1], "key": "twin"}
    put(shell, [*rows, wrong, twin])

    async def taken() -> bool:
        return all(row["taken"] or row["refusal"] for row in queue(shell).values())

    await until(taken)
    refused = {key: row["refusal"] for key, row in queue(shell).items() if row["refusal"]}
    assert refused.keys() == {"wrong", "twin"}
    assert "card_no" in refused["wrong"]
    assert queue(shell)[rows[1]["key"]]["taken"] == 1
    with closing(sqlite3.connect(shell.folder / "queue.db", timeout=30)) as database, database:
        database.execute("DELETE FROM queue WHERE key = 'wrong'")
        database.execute("UPDATE queue SET duplicate_ok = 1, refusal = NULL WHERE key = 'twin'")

    async def done() -> bool:
        return all(row["step"] in AT_REST and row["taken"] for row in queue(shell).values())

    await until(done)
    await copy.end(signal.SIGTERM)
    # The gateway may hold the twin for a person, who is not part of this test.
    assert gateway.ledger.paid_twice() == ()
    assert queue(shell)["twin"]["state"] in ("REVIEW", "CLOSED", "PAID")
