"""Output that does not get out: a full disk, a reader who has gone. It never decides what becomes of a payout."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_world import Gateway, Ran, Shell, rows, write_csv

from lianlian_async.cli import pay as pay_module

Here = Callable[..., Ran]
LOOKING = (("status",), ("status", "--json"), ("due",), ("explain", "9999"), ("--help",), ("keys", "check"))


@contextmanager
def a_full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def a_closed_pipe() -> Iterator[int]:
    """A pipe whose reader has gone, as after `| true`."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


async def run_into(shell: Shell, place: Any, *arguments: object, **more: Any) -> Ran:
    with place() as stdout:
        return await shell.run(*arguments, stdout=stdout, **more)


async def test_looking_on_a_full_disk(gateway: Gateway, shell: Shell) -> None:
    """What was asked for was not shown: one sentence, status 3."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(2)))).code == 0
    for command in LOOKING:
        ran = await run_into(shell, a_full_disk, *command)
        assert ran.code == 3, f"{command}: {ran.text}"
        assert ran.said.count("Error:") == 1
        assert "No space left" in ran.said


async def test_looking_when_nobody_reads(gateway: Gateway, shell: Shell) -> None:
    """`| head`, `| true`: that is no fault, and nothing is said of it."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(2)))).code == 0
    for command in LOOKING:
        ran = await run_into(shell, a_closed_pipe, *command)
        assert ran.code == 0, f"{command}: {ran.text}"
        assert "Error" not in ran.err


@pytest.mark.parametrize("place", [a_full_disk, a_closed_pipe])
async def test_pay_whose_output_is_lost(gateway: Gateway, shell: Shell, place: Any) -> None:
    """Everything is paid, the outcomes file says so, and so does the status; a review is told as such, too."""
    gateway.simulator.script({"acct_name": "欧阳修文"}, pay=["4003"])
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    ran = await run_into(shell, place, *shell.pay_line(file, "--yes"))
    assert ran.code == 0, ran.text
    assert {row["state"] for row in shell.outcomes().values()} == {"PAID"}
    more = write_csv(shell.folder / "more.csv", rows(1, 100, acct_name="欧阳修文"))
    ran = await run_into(shell, place, *shell.pay_line(more, "--yes"))
    assert ran.code == 1, ran.text
    assert {row["state"] for row in shell.outcomes().values()} == {"REVIEW"}
    assert ("No space left" in ran.said) == (place is a_full_disk)


@pytest.mark.parametrize("place", [a_full_disk, a_closed_pipe])
async def test_pay_whose_question_nobody_can_read(gateway: Gateway, shell: Shell, place: Any) -> None:
    """A yes to a question that was never shown pays nobody: status 2, as nothing was written down."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    ran = await run_into(shell, place, *shell.pay_line(file), stdin=b"y\n")
    assert ran.code == 2, ran.text
    assert "nothing was sent" in ran.said
    gateway.require_untouched()
    assert await shell.status() == []


async def test_errors_that_nobody_reads(shell: Shell) -> None:
    """With stderr lost as well, the status is still the right one."""
    with a_full_disk() as full:
        ran = await shell.run("status", stdout=full, stderr=full)
    assert ran.code == 2


async def test_standard_output_that_is_closed(gateway: Gateway, shell: Shell) -> None:
    """`>&-`: it pays, and writes the outcomes."""
    file = write_csv(shell.folder / "salaries.csv", rows(2))
    ran = await shell.run(*shell.pay_line(file, "--yes"), prefix=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert ran.code == 0, ran.text
    assert {row["state"] for row in shell.outcomes().values()} == {"PAID"}


def test_a_batch_that_breaks_off(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something nobody foresaw, in the midst of paying: the outcomes file is written, and the status is not 0."""

    async def nothing_wrong(_client: object) -> None:
        await asyncio.sleep(0)

    async def broken(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("6222000000000000000")

    monkeypatch.setattr(pay_module, "preflight", nothing_wrong)
    monkeypatch.setattr(pay_module, "run_batch", broken)
    file = write_csv(tmp_path / "salaries.csv", rows(2))
    ran = here("pay", file, "--yes", "--outcomes", "o.csv")
    assert ran.code == 1, ran.text
    assert "ZeroDivisionError" in ran.said
    assert "6222000000000000000" not in ran.text
    told = (tmp_path / "o.csv").read_text("utf-8-sig")
    assert all(row["key"] in told for row in rows(2))
    assert told.count("UNSENT") == 2
