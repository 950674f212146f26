"""`worker` as a process: it finishes what others began, shares the work with others, and stops when it is told to."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from cli_world import (
    OID_PARTNER,
    TIME_SCALE,
    Gateway,
    Keys,
    Ran,
    Running,
    Shell,
    a_gateway,
    a_row,
    disagreement,
    histories,
    rows,
    until,
    write_csv,
)
from process_signals import heeds_sigterm

from lianlian_async import Merchant, Order
from lianlian_async.config import Settings
from lianlian_async.intake import intent_of
from lianlian_async.journal import Record
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.payout import AT_REST
from lianlian_async.resolver import Outcome, Source, State, Step
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Behaviour

CANARY_CARD, CANARY_NAME = "6228480223123456789", "欧阳修文"


@asynccontextmanager
async def the_journal(shell: Shell) -> AsyncIterator[SqliteJournal]:
    """The journal that the workers are on, as another process on it."""
    journal = SqliteJournal(shell.journal)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def a_merchant(shell: Shell) -> Merchant:
    return Settings.load(environ=shell.environment()).merchant()


async def write_down(shell: Shell, lines: Sequence[dict[str, str]], *, scale: float = TIME_SCALE) -> list[str]:
    """Write payouts down as an application does whose process then ends: nothing is sent by this."""
    now, merchant = ScaledClock(scale).now(), a_merchant(shell)
    intents = [
        intent_of(Order(**{k: v for k, v in line.items() if k != "key"}), line["key"], merchant, now) for line in lines
    ]
    async with the_journal(shell) as journal:
        return [record.no_order for record in await journal.add(intents)]


async def records(shell: Shell) -> list[Record]:
    async with the_journal(shell) as journal:
        return await journal.page(None, 1000)


async def see(shell: Shell, condition: Callable[[list[Record]], bool], *, within_s: float = 60) -> None:
    """Wait until what stands in the journal is so."""
    end = asyncio.get_running_loop().time() + within_s
    async with the_journal(shell) as journal:
        while not condition(found := await journal.page(None, 1000)):
            assert asyncio.get_running_loop().time() < end, Counter((r.state, r.step) for r in found)
            await asyncio.sleep(0.03)


async def all_in(shell: Shell, count: int, state: State) -> None:
    await see(shell, lambda found: [record.state for record in found] == [state] * count)


async def at_rest(shell: Shell, count: int) -> None:
    """Wait until so many payouts have ended or wait for somebody."""
    await see(shell, lambda found: len(found) == count and all(record.step in AT_REST for record in found))


async def a_worker(shell: Shell, *more: object, scale: float = TIME_SCALE) -> Running:
    return await shell.start("worker", "--time-scale", scale, *more)


async def stopped(worker: Running, number: signal.Signals = signal.SIGTERM) -> Ran:
    """End a worker as a service manager does; it must end well."""
    await until(lambda: heeds_sigterm(worker.process.pid))
    assert worker.signal(number), "it had ended before"
    ran = await worker.end()
    assert ran.code == 0, ran.text
    assert re.fullmatch(r"worker: stopped after \d+ steps; in the journal: [A-Z_0-9, a-z]+\n", ran.out), ran.out
    return ran


async def require_true(shell: Shell, gateway: Gateway) -> None:
    """Every payout is told as the ledger has it, none was paid twice, and no attempt was sent twice."""
    assert gateway.ledger.paid_twice() == ()
    events = histories(gateway.ledger)
    every = await records(shell)
    for record in every:
        assert disagreement(record.state, events.get(record.no_order, ())) is None, record.no_order
    for endpoint, source in (("pay", Source.PAY), ("confirm", Source.CONFIRM)):
        sent = Counter(r.content["no_order"] for r in gateway.simulator.requests if r.endpoint == endpoint)
        begun = {record.no_order: [a for a in record.attempts if a.source is source] for record in every}
        for no_order, times in sent.items():
            assert times <= len(begun[no_order]), f"{no_order}: {times} requests and {len(begun[no_order])} attempts"


# ---------------------------------------------------------------------- one worker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_nothing_to_do(gateway: Gateway, shell: Shell, number: signal.Signals) -> None:
    """It says that it started, for whom and where; it makes a journal that is not there; stopped, it ends with 0."""
    worker = await a_worker(shell)
    await until(lambda: shell.journal.exists() and shell.journal.with_name("payouts.db-wal").exists())
    await asyncio.sleep(0.3)
    ran = await stopped(worker, number)
    assert f"started for merchant {OID_PARTNER} on the journal {shell.journal}" in ran.said
    assert "in the journal: nothing" in ran.out
    gateway.require_untouched()


async def test_what_an_application_wrote_down(gateway: Gateway, shell: Shell) -> None:
    """Payouts that nobody else drives are sent, followed and paid; no card and no name is ever said."""
    line = a_row(1, card_no=CANARY_CARD, acct_name=CANARY_NAME)
    await write_down(shell, [line, *rows(4, start=2)])
    worker = await a_worker(shell, "--in-flight", 2, "--queries-per-s", 20)
    await all_in(shell, 5, State.PAID)
    ran = await stopped(worker)
    assert "PAID 5" in ran.out
    for secret in (CANARY_CARD, CANARY_NAME):
        assert secret not in ran.text
    await require_true(shell, gateway)


async def test_it_picks_up_what_a_killed_pay_left(keys: Keys, shell: Shell) -> None:
    """`pay` killed in the middle: a worker brings every row of it to its true end, and `pay` later only tells that."""
    count = 40
    async with a_gateway(keys, faults="rough", seed=5) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(count))
        running = await shell.start(*shell.pay_line(file, "--yes"))
        await until(lambda: len(gateway.ledger.entries) > 10)
        await running.kill()
        worker = await a_worker(shell)
        await at_rest(shell, count)
        await stopped(worker)
        await require_true(shell, gateway)
        paid = len(gateway.ledger.paid())
        assert (await shell.pay(file)).code in (0, 1)
        assert set(shell.outcomes()) == {row["key"] for row in rows(count)}
        assert len(gateway.ledger.paid()) == paid


async def test_stopped_in_the_middle_of_a_slow_answer(keys: Keys, shell: Shell) -> None:
    """SIGTERM while an answer drips in: it is read to its end and written down, then the worker ends."""
    scale = 10
    async with a_gateway(keys, scale=scale, behaviour=Behaviour(slow_s=20.0)) as gateway:
        shell.base_url = gateway.base_url
        gateway.simulator.script({"acct_name": CANARY_NAME}, pay=["slow"])
        await write_down(shell, [a_row(1, acct_name=CANARY_NAME)], scale=scale)
        worker = await a_worker(shell, scale=scale)
        await until(lambda: gateway.asked("pay"))
        await stopped(worker)
        [record] = await records(shell)
        [answer] = [e for e in record.evidence if e.source is Source.PAY]
        assert (answer.outcome, answer.ret_code) == (Outcome.ANSWERED, "0000")
        assert record.lease is None or record.lease.until <= ScaledClock(scale).now()
        await require_true(shell, gateway)


async def test_killed_while_it_waits_for_an_answer(keys: Keys, shell: Shell) -> None:
    """`due` names the process that was at the payout and until when; another worker asks first, and pays nothing twice."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(1.0, 2.0))) as gateway:
        shell.base_url = gateway.base_url
        gateway.simulator.script({"acct_name": CANARY_NAME}, pay=["hang_after"])
        await write_down(shell, [a_row(1, acct_name=CANARY_NAME)])
        worker = await a_worker(shell)
        await until(lambda: gateway.asked("pay"))
        await worker.kill()
        [record] = await records(shell)
        assert record.attempts, "the attempt was written down before its first byte left"
        due = await shell.run("due")
        if not record.evidence:
            assert f"process {record.attempts[0].owner} is at it, until" in due.out
        another = await a_worker(shell)
        await all_in(shell, 1, State.PAID)
        await stopped(another)
        await require_true(shell, gateway)
        assert gateway.asked("pay") == 1


async def test_paused_and_lifted_again(gateway: Gateway, shell: Shell) -> None:
    """While new money is paused nothing leaves; what waited for it goes on by itself once it is lifted."""
    await write_down(shell, rows(3))
    assert (await shell.run("pause", "--reason", "audit", "--by", "chen")).code == 0
    worker = await a_worker(shell)
    await see(shell, lambda found: {record.step for record in found} == {Step.FIX})
    gateway.require_untouched()
    lifted = await shell.run("unpause", "--by", "chen")
    assert "worker" in lifted.out
    await all_in(shell, 3, State.PAID)
    await stopped(worker)
    await require_true(shell, gateway)


async def test_the_journal_is_away_for_a_while(gateway: Gateway, shell: Shell) -> None:
    """A journal that cannot be used is said so, in lines, and the worker goes on when it is back."""
    await write_down(shell, rows(1))
    worker = await a_worker(shell)
    await all_in(shell, 1, State.PAID)
    away = shell.folder / "away.db"
    os.rename(shell.journal, away)
    await asyncio.sleep(0.3)
    os.rename(away, shell.journal)
    await write_down(shell, rows(1, start=2))
    await all_in(shell, 2, State.PAID)
    ran = await stopped(worker)
    assert "the journal cannot be read" in ran.said
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ WARNING ", ran.err, re.MULTILINE)
    await require_true(shell, gateway)


async def test_the_gateway_is_away_for_a_while(gateway: Gateway, shell: Shell) -> None:
    """An outage: the worker lives through it, and pays once when it is over."""
    gateway.simulator.operator.set_outage("pay", "query")
    await write_down(shell, rows(5))
    worker = await a_worker(shell)
    # Where the worker was slow to start, it asks first.
    await see(shell, lambda found: any(record.attempts or record.evidence for record in found))
    await asyncio.sleep(0.2)
    assert not worker.ended
    assert gateway.ledger.entries == []
    gateway.simulator.operator.set_outage()
    await all_in(shell, 5, State.PAID)
    await stopped(worker)
    await require_true(shell, gateway)


async def test_a_held_payout_is_left_to_people(gateway: Gateway, shell: Shell) -> None:
    """4003: a worker follows it and never confirms."""
    gateway.simulator.script({"acct_name": CANARY_NAME}, pay=["4003"])
    await write_down(shell, [a_row(1, acct_name=CANARY_NAME)])
    worker = await a_worker(shell)
    await all_in(shell, 1, State.REVIEW)
    await asyncio.sleep(0.3)
    ran = await stopped(worker)
    assert CANARY_NAME not in ran.text
    assert gateway.asked("confirm") == 0


# ---------------------------------------------------------------------- several workers


async def test_two_on_one_journal(keys: Keys, shell: Shell) -> None:
    """Two processes are at the work of a rough day; one is killed in between, and no attempt is ever sent twice."""
    count = 60
    async with a_gateway(keys, faults="rough", seed=7) as gateway:
        shell.base_url = gateway.base_url
        await write_down(shell, rows(count))
        one, two = await asyncio.gather(a_worker(shell, "--in-flight", 4), a_worker(shell, "--in-flight", 4))
        await until(lambda: len(gateway.ledger.entries) > 20)
        await one.kill()
        three = await a_worker(shell)
        await at_rest(shell, count)
        await asyncio.gather(stopped(two), stopped(three))
        await require_true(shell, gateway)


async def test_a_worker_beside_pay(keys: Keys, shell: Shell) -> None:
    """The file is paid by `pay` while a worker is at the same journal: each row once, and both tell the truth."""
    count = 30
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(30.0, 90.0))) as gateway:
        shell.base_url = gateway.base_url
        worker = await a_worker(shell)
        file = write_csv(shell.folder / "salaries.csv", rows(count))
        ran = await shell.pay(file)
        assert ran.code == 0, ran.text
        await stopped(worker)
        assert {row["state"] for row in shell.outcomes().values()} == {"PAID"}
        await require_true(shell, gateway)
        assert gateway.ledger.summary().paid_once == count


# ---------------------------------------------------------------------- refused


async def refused(shell: Shell, code: int, *words: str, more: Sequence[object] = (), **env: str | None) -> None:
    ran = await shell.run("worker", *more, env=env)
    assert ran.code == code, ran.text
    for word in words:
        assert word in ran.said, ran.said


async def test_it_does_not_start(shell: Shell) -> None:
    """What is wrong before the first step: one sentence, 2 for the configuration, 3 for the journal."""
    broken = shell.folder / "broken.db"
    await write_down(shell, rows(1))
    broken.write_bytes(shell.journal.read_bytes()[:5000])
    broken.chmod(0o600)
    await asyncio.gather(
        refused(shell, 2, "memory", LIANLIAN_JOURNAL="memory:"),
        refused(shell, 2, "no journal", LIANLIAN_JOURNAL=None),
        refused(shell, 2, "oid_partner", LIANLIAN_OID_PARTNER=None),
        refused(shell, 2, "does not exist", LIANLIAN_JOURNAL=f"sqlite:///{shell.folder}/nowhere/payouts.db"),
        refused(shell, 2, "accelerated", more=("--time-scale", 240), LIANLIAN_BASE_URL=None),
        refused(shell, 2, "--in-flight", more=("--in-flight", 0)),
        refused(shell, 2, "--queries-per-s", more=("--queries-per-s", 0)),
        refused(shell, 3, str(broken), LIANLIAN_JOURNAL=f"sqlite:///{broken}"),
    )
