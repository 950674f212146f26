"""`pay` that is killed, stopped, doubled, starved and cut off: nothing is lost, nothing is paid twice, nothing is misreported."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping

import pytest
from cli_world import (
    OID_PARTNER,
    Gateway,
    Keys,
    Shell,
    a_gateway,
    audit,
    disagreement,
    histories,
    pause_in_journal,
    rows,
    until,
    write_csv,
)

from lianlian_async.numbers import derive
from lianlian_async.testing.simulator import Behaviour, Ledger


def keys_of(count: int, start: int = 1) -> list[str]:
    return [row["key"] for row in rows(count, start)]


async def require_told_truly(shell: Shell, outcomes: Mapping[str, Mapping[str, str]], ledger: Ledger) -> None:
    """What the outcomes file says is what the journal holds and what the ledger knows."""
    events = histories(ledger)
    journal = {payout["key"]: payout for payout in await shell.status()}
    for key, row in outcomes.items():
        number = row["no_order"] or (journal[key]["no_order"] if key in journal else "")
        assert disagreement(row["state"], events.get(number, ())) is None, (key, row, events.get(number))
        if key in journal:
            assert (row["no_order"], row["state"]) == (journal[key]["no_order"], journal[key]["state"]), key
        else:
            assert row["state"] == "UNSENT"


# ---------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopped_in_the_middle(keys: Keys, shell: Shell, number: signal.Signals) -> None:
    """What is in flight is finished, the outcomes tell the state *after* that, status 1; a later run ends it."""
    count = 150
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(200.0, 400.0))) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(count))
        running = await shell.start(*shell.pay_line(file, "--yes"))
        await until(lambda: gateway.ledger.entries)
        assert running.signal(number)
        ran = await running.end()
        assert ran.code == 1, ran.text
        assert "run the same command again" in ran.text
        at_the_end = Ledger(entries=list(gateway.ledger.entries))
        outcomes = shell.outcomes()
        assert set(outcomes) == set(keys_of(count))
        await require_told_truly(shell, outcomes, at_the_end)
        ran = await shell.pay(file)
        assert ran.code == 0, ran.text
        audit(shell.outcomes(), keys_of(count), gateway.ledger)
        assert gateway.ledger.summary().paid_once == count


@pytest.mark.slow
async def test_stopped_twice(gateway: Gateway, shell: Shell) -> None:
    """A second signal while the first is being obeyed is no reason to leave the outcomes unwritten."""
    file = write_csv(shell.folder / "salaries.csv", rows(100))
    running = await shell.start(*shell.pay_line(file, "--yes"))
    await until(lambda: gateway.ledger.entries)
    for _ in range(3):
        running.signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
    ran = await running.end()
    assert ran.code in (0, 1), ran.text
    await require_told_truly(shell, shell.outcomes(), gateway.ledger)


async def test_stopped_before_it_looks_again_at_what_is_paid(gateway: Gateway, shell: Shell) -> None:
    """A run over a file that is paid, stopped during the preflight: the outcomes never say UNSENT of what was paid."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    assert (await shell.pay(file)).code == 0
    before = shell.outcomes()
    gateway.simulator.script(derive(OID_PARTNER, "probe"), query=["hang_before"] * 3)
    asked = gateway.asked("query")
    running = await shell.start(*shell.pay_line(file, "--yes"))
    await until(lambda: gateway.asked("query") > asked or running.ended)
    stopped = running.signal(signal.SIGTERM)
    ran = await running.end()
    assert stopped, ran.text
    assert {row["state"] for row in shell.outcomes().values()} == {"PAID"}, ran.text
    assert shell.outcomes() == before


async def test_stopped_during_the_preflight(gateway: Gateway, shell: Shell) -> None:
    """Nothing has been written down yet: it ends soon, says so, and nothing is sent."""
    gateway.simulator.operator.set_outage("query")
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    running = await shell.start(*shell.pay_line(file, "--yes", scale=0.01))
    await until(lambda: gateway.asked("query"))
    running.signal(signal.SIGTERM)
    # The five questions take four seconds by this slow clock, which is minutes; a stop must not wait for them.
    ran = await running.end(timeout_s=60)
    assert ran.code in (1, 3), ran.text
    gateway.require_untouched()


# ---------------------------------------------------------------------- SIGKILL


async def test_killed_while_the_file_is_checked(gateway: Gateway, shell: Shell) -> None:
    """Killed before anything was written down: nothing is there, and the next run starts from the beginning."""
    long = write_csv(shell.folder / "long.csv", rows(20_000))
    running = await shell.start(*shell.pay_line(long, "--yes"))
    await asyncio.sleep(0.7)
    await running.kill()
    gateway.require_untouched()
    assert gateway.asked("query") == 0
    assert not shell.outcomes_path.exists()
    assert await shell.status() == []


async def test_killed_during_the_preflight(gateway: Gateway, shell: Shell) -> None:
    """Killed between the journal's opening and the first payment: the next run pays every row once."""
    gateway.simulator.operator.set_outage("query")
    file = write_csv(shell.folder / "salaries.csv", rows(5))
    running = await shell.start(*shell.pay_line(file, "--yes"))
    await until(lambda: gateway.asked("query"))
    await running.kill()
    gateway.require_untouched()
    gateway.simulator.operator.set_outage()
    assert (await shell.pay(file)).code == 0
    audit(shell.outcomes(), keys_of(5), gateway.ledger)
    assert gateway.ledger.summary().paid_once == 5


@pytest.mark.slow
async def test_killed_the_moment_money_moves(gateway: Gateway, shell: Shell) -> None:
    """Killed at the first booking, and at the first booking of the next run, and so on: each row is paid once."""
    count = 60
    file = write_csv(shell.folder / "salaries.csv", rows(count))
    for _ in range(3):
        booked = len(gateway.ledger.entries)
        running = await shell.start(*shell.pay_line(file, "--yes"))
        await until(lambda booked=booked, running=running: len(gateway.ledger.entries) > booked or running.ended)
        await running.kill()
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    audit(shell.outcomes(), keys_of(count), gateway.ledger)
    assert gateway.ledger.summary().paid_once == count


# ---------------------------------------------------------------------- two at once


async def test_two_at_the_same_time(keys: Keys, shell: Shell) -> None:
    """The same file and journal in two processes: both follow every row to its end, and each row is paid once."""
    count = 60
    async with a_gateway(keys, faults="rough", seed=11) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(count))
        first, second = await asyncio.gather(
            shell.run("pay", file, "--yes", "--time-scale", 240, "--outcomes", shell.folder / "one.csv"),
            shell.run("pay", file, "--yes", "--time-scale", 240, "--outcomes", shell.folder / "two.csv"),
        )
        assert {first.code, second.code} <= {0, 1}, first.text + second.text
        one, two = shell.outcomes(shell.folder / "one.csv"), shell.outcomes(shell.folder / "two.csv")
        audit(one, keys_of(count), gateway.ledger)
        audit(two, keys_of(count), gateway.ledger)
        assert {k: (r["no_order"], r["state"]) for k, r in one.items()} == {
            k: (r["no_order"], r["state"]) for k, r in two.items()
        }
        assert gateway.ledger.summary().paid_twice == 0


@pytest.mark.slow
async def test_two_files_that_name_one_payment(gateway: Gateway, shell: Shell) -> None:
    """Two files at once, with other amounts under the same keys: one order of each key is paid, the other refused."""
    ours = write_csv(shell.folder / "a.csv", rows(20))
    theirs = write_csv(shell.folder / "b.csv", rows(20, money_order="99.00"))
    first, second = await asyncio.gather(
        shell.run("pay", ours, "--yes", "--time-scale", 240, "--outcomes", shell.folder / "one.csv"),
        shell.run("pay", theirs, "--yes", "--time-scale", 240, "--outcomes", shell.folder / "two.csv"),
    )
    assert sorted((first.code, second.code)) == [0, 2], first.text + second.text
    assert len(gateway.ledger.paid()) == 20
    assert len({entry.no_order for entry in gateway.ledger.entries}) == 20


# ---------------------------------------------------------------------- new money is paused


async def test_paused_between_two_runs(gateway: Gateway, shell: Shell) -> None:
    """A row more in the file and new money paused: the new row waits, and the old ones are told as they are."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    assert (await shell.pay(file)).code == 0
    before = shell.outcomes()
    await pause_in_journal(shell.journal, "audit")
    write_csv(file, rows(4))
    ran = await shell.pay(file)
    assert ran.code == 1, ran.text
    assert "paused" in ran.said
    outcomes = shell.outcomes()
    assert {key: outcomes[key] for key in before} == before, "a paid row is told otherwise because of a pause"
    assert outcomes[keys_of(1, 4)[0]]["state"] == "UNSENT"
    assert len(gateway.ledger.paid()) == 3


# ---------------------------------------------------------------------- no room, no reader, no gateway


@pytest.mark.slow
async def test_no_room_in_the_middle(gateway: Gateway, shell: Shell) -> None:
    """The journal cannot grow any more: no further row is sent, the outcomes are true, and with room it goes on."""
    if shutil.which("prlimit") is None:
        pytest.skip("there is no prlimit here")
    count = 400
    file = write_csv(shell.folder / "salaries.csv", rows(count))
    ran = await shell.pay(file, prefix=("prlimit", "--fsize=500000"))
    assert ran.code == 3, ran.text[-2000:]
    assert ran.said.count("Error:") == 1, ran.said[-1000:]
    # However many payouts it stopped, a fault of the one journal is one sentence.
    assert len(ran.err.splitlines()) < 20, f"{len(ran.err.splitlines())} lines, such as {ran.err[:300]}"
    outcomes = shell.outcomes()
    assert set(outcomes) == set(keys_of(count))
    assert any(row["state"] == "UNSENT" for row in outcomes.values()), "the limit was too wide for this test"
    events = histories(gateway.ledger)
    journal = {payout["key"]: payout["no_order"] for payout in await shell.status()}
    for key, row in outcomes.items():
        assert disagreement(row["state"], events.get(journal.get(key, ""), ())) is None, (key, row)
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    audit(shell.outcomes(), keys_of(count), gateway.ledger)
    assert gateway.ledger.summary().paid_once == count


async def test_outcomes_cannot_be_written_in_the_end(gateway: Gateway, shell: Shell) -> None:
    """Money has left and the outcomes' place is taken: the result is still shown, it is no success, nothing is lost."""
    file = write_csv(shell.folder / "salaries.csv", rows(5))
    running = await shell.start(*shell.pay_line(file, "--yes"))
    await until(lambda: gateway.ledger.entries)
    shell.outcomes_path.mkdir()
    ran = await running.end()
    assert ran.code == 3, ran.text
    assert str(shell.outcomes_path) in ran.said.replace(" ", "") or str(shell.outcomes_path) in ran.said
    assert "PAID" in ran.out, "what happened to the money is not shown"
    shell.outcomes_path.rmdir()
    assert (await shell.pay(file)).code == 0
    assert gateway.ledger.summary().paid_once == 5


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_nobody_reads_the_output(gateway: Gateway, shell: Shell, stream: str) -> None:
    """A reader who has gone before anything was said: either nothing is sent, or it is paid and the outcomes say so."""
    file = write_csv(shell.folder / "salaries.csv", rows(5))
    read, write = os.pipe()
    os.close(read)
    running = await shell.start(*shell.pay_line(file, "--yes"), **{stream: write})
    os.close(write)
    ran = await running.end()
    if gateway.ledger.entries:
        audit(shell.outcomes(), keys_of(5), gateway.ledger)
    else:
        assert ran.code != 0, "nothing was paid, and the status says it was"


async def test_reader_goes_away_in_the_middle(gateway: Gateway, shell: Shell) -> None:
    """`pay ... | head -1`: money has left by then, so the outcomes are written, whoever reads the rest."""
    file = write_csv(shell.folder / "salaries.csv", rows(5))
    read, write = os.pipe()
    running = await shell.start(*shell.pay_line(file, "--yes"), stdout=write)
    os.close(write)
    await until(lambda: gateway.ledger.entries)
    os.close(read)
    ran = await running.end()
    assert shell.outcomes_path.exists(), f"money has left and there are no outcomes (status {ran.code}): {ran.err}"
    audit(shell.outcomes(), keys_of(5), gateway.ledger)


@pytest.mark.slow
async def test_gateway_goes_away_in_the_middle(gateway: Gateway, shell: Shell) -> None:
    """An outage after the first bookings: with --wait-s it ends with what is open, and a later run ends the rest."""
    count = 100
    file = write_csv(shell.folder / "salaries.csv", rows(count))
    running = await shell.start(*shell.pay_line(file, "--yes", "--wait-s", 900))
    await until(lambda: gateway.ledger.entries)
    gateway.simulator.operator.set_outage("pay", "query")
    ran = await running.end()
    assert ran.code == 1, ran.text
    await require_told_truly(shell, shell.outcomes(), gateway.ledger)
    gateway.simulator.operator.set_outage()
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    audit(shell.outcomes(), keys_of(count), gateway.ledger)
    assert gateway.ledger.summary().paid_once == count


@pytest.mark.slow
async def test_a_file_with_brackets_in_its_name(gateway: Gateway, shell: Shell) -> None:
    """A name that looks like markup or an emoji is printed as it is; above all it is no crash after money has left."""
    for name in ("工资[bold].csv", "final:x:.csv"):
        file = write_csv(shell.folder / name, rows(1))
        ran = await shell.run("pay", file, "--yes", "--time-scale", 240)
        assert ran.code == 0, ran.text
        assert f"{name}.outcomes.csv" in ran.out.replace("\n", ""), ran.out
    folder = shell.folder / "x[" / "b]"
    folder.mkdir(parents=True)
    file = write_csv(folder / "pay.csv", rows(1))
    ran = await shell.run("pay", file, "--yes", "--time-scale", 240)
    assert ran.code == 0, ran.text
    assert "x[/b]/pay.csv.outcomes.csv" in ran.out.replace("\n", ""), ran.out


async def test_output_that_cannot_show_chinese(gateway: Gateway, shell: Shell) -> None:
    """A terminal of another encoding shows signs in the place of letters; it ends nothing, least of all a payment."""
    narrow = {"PYTHONIOENCODING": "latin-1"}
    file = write_csv(shell.folder / "工资.csv", rows(2))
    ran = await shell.run("pay", file, "--yes", "--time-scale", 240, env=narrow)
    assert ran.code == 0, ran.text
    for line in (("due",), ("status", "--json"), ("explain", "9999")):
        assert (await shell.run(*line, env=narrow)).code == 0


def test_the_judge_can_tell() -> None:
    """The rule that these tests judge by finds each kind of lie."""
    booked, paid = [("booked", "1")], [("booked", "1"), ("paid", "1")]
    assert disagreement("PAID", paid) is None
    assert disagreement("UNSENT", booked)
    assert disagreement("REFUSED", booked)
    assert disagreement("FAILED", paid)
    assert disagreement("FAILED", [("failed", "")])
    assert disagreement("PAID", booked)
    assert disagreement("PAID", [*paid, *paid])
    assert disagreement("CLOSED", [("review", "")])
