"""What a person sees: plain text in a pipe, tables that fit, a progress bar in a terminal, and Ctrl-C that works."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from attrs import define
from cli_world import OID_PARTNER, Gateway, Keys, Running, Shell, a_gateway, a_row, rows, until, write_csv
from rich.cells import cell_len
from rich.console import Console

from lianlian_async.cli.board import Board
from lianlian_async.journal import Record
from lianlian_async.resolver import State, Step
from lianlian_async.testing.simulator import Behaviour

ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


async def a_review(gateway: Gateway, shell: Shell) -> str:
    """Two paid payouts and one under review; returns the number of the latter."""
    gateway.simulator.script({"acct_name": "欧阳修文"}, pay=["4003"])
    file = write_csv(shell.folder / "salaries.csv", [*rows(2), a_row(3, acct_name="欧阳修文")])
    ran = await shell.pay(file)
    assert "\x1b" not in ran.text
    return shell.outcomes()[a_row(3)["key"]]["no_order"]


async def test_tables_in_a_pipe(gateway: Gateway, shell: Shell) -> None:
    """No escapes, no line wider than asked for (80 when nobody asks), and the number can be copied as a whole."""
    number = await a_review(gateway, shell)

    async def fits(command: tuple[str, ...], columns: int | None) -> None:
        ran = await shell.run(*command, env={"COLUMNS": columns and str(columns)})
        assert ran.code == 0
        assert "\x1b" not in ran.text
        assert max(map(cell_len, ran.out.splitlines())) <= (columns or 80), ran.out
        assert number in ran.out or command == ("status",), f"{command}: the number is broken up\n{ran.out}"

    commands = (("status",), ("status", number), ("due",), ("explain", number))
    await asyncio.gather(*(fits(command, None) for command in commands))
    await asyncio.gather(fits(("due",), 60), fits(("explain", number), 60))


async def test_pay_in_a_pipe(gateway: Gateway, shell: Shell) -> None:
    """No escapes and no half-drawn bars; the count, the sum and the outcomes' path each stand on a line of their own."""
    file = write_csv(shell.folder / "salaries.csv", rows(30))
    ran = await shell.pay(file)
    assert ran.code == 0
    assert "\x1b" not in ran.text
    assert "\r" not in ran.text
    lines = ran.out.splitlines()
    assert "30 payouts, 469.65 yuan in total" in lines
    assert any(str(shell.outcomes_path) in line for line in lines), "the path is broken up"
    assert len([line for line in lines if "paying" in line]) <= 1
    again = await shell.pay(file)
    assert again.code == 0, again.text
    assert "0/30" not in again.out, "all rows rest, and the bar says that none does"


async def test_no_colour_where_none_is_wanted(gateway: Gateway, shell: Shell) -> None:
    """Bad rows, refusals and warnings are plain text in a pipe, too."""
    file = write_csv(shell.folder / "bad.csv", [a_row(1, money_order="x"), *rows(1, 2)])
    assert "\x1b" not in (await shell.pay(file)).text
    assert "\x1b" not in (await shell.pay(file, "--max-total", "0.01")).text


# ---------------------------------------------------------------------- a terminal


@define
class Terminal:
    """A pseudo-terminal with a command in it."""

    running: Running
    master: int
    seen: bytes = b""

    @property
    def text(self) -> str:
        """What has been shown, without what moves the cursor or paints."""
        return ESCAPE.sub("", self.seen.decode("utf-8", "replace"))

    def read(self) -> None:
        try:
            self.seen += os.read(self.master, 65536)
        except BlockingIOError:
            pass
        except OSError:
            # The other side is closed.
            asyncio.get_running_loop().remove_reader(self.master)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    async def shows(self, words: str | Callable[[str], object], *, within_s: float = 20) -> None:
        wanted = words if callable(words) else lambda text: words in text
        try:
            await until(lambda: wanted(self.text) or self.running.ended, within_s=within_s)
        except TimeoutError:
            raise AssertionError(f"never shown; instead: {self.text[-2000:]}") from None
        await asyncio.sleep(0.05)
        assert wanted(self.text), self.text[-2000:]


@asynccontextmanager
async def a_terminal(shell: Shell, *arguments: object, columns: int = 80, **env: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.set_blocking(master, False)

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    running = await shell.start(
        *arguments, env={"TERM": "xterm-256color", **env}, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True, preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(running, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, terminal.read)
    try:
        yield terminal
    finally:
        await running.kill()
        loop.remove_reader(master)
        os.close(master)


async def test_progress_bar(keys: Keys, shell: Shell) -> None:
    """While it pays: how many rest of how many, the counts by state and the money moved, in one line that fits."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(60.0, 400.0), cancel_share=0.0)) as gateway:
        shell.base_url = gateway.base_url
        gateway.simulator.script({"acct_name": "欧阳修文"}, pay=["4003"])
        lines = [*rows(38), a_row(39, acct_name="欧阳修文"), a_row(40, acct_name="欧阳修文")]
        file = write_csv(shell.folder / "salaries.csv", lines)
        async with a_terminal(shell, *shell.pay_line(file, "--yes"), columns=80) as terminal:
            await terminal.shows(lambda text: re.search(r"\b\d+/40\b.*IN_PROGRESS \d+.*REVIEW 2", text))
            await terminal.shows(lambda text: re.search(r"paid [0-9,]+\.\d\d.*PAID \d+", text))
            ran = await terminal.running.end()
            assert ran.code == 1
            terminal.read()
            bars = [line for line in re.split("[\r\n]+", terminal.text) if "/40" in line]
            assert len(bars) > 3
            assert max(map(cell_len, bars)) <= 80
            assert re.search(r"40/40\b.*paid 748\.41.*PAID 38.*REVIEW 2", bars[-1]), bars[-1]
            assert "Traceback" not in terminal.text


@pytest.mark.parametrize("columns", [60, 80])
def test_progress_bar_of_a_bad_day(columns: int) -> None:
    """With payouts in every state the amount and the counts are still there as a whole: "paid 22…" is no amount."""
    said = io.StringIO()
    console = Console(width=columns, force_terminal=True, file=said, highlight=False, color_system=None)
    states = (State.PAID, State.PAID, State.FAILED, State.UNKNOWN, State.IN_PROGRESS, State.REVIEW, State.REFUSED)
    board = Board(console, 700)
    with board:
        for number in range(700):
            board.observe(a_record(f"A{number}", states[number % 7]))
    shown = " ".join(re.split(r"\s+", ESCAPE.sub("", said.getvalue())))
    shown = shown[shown.rindex("paying") :]
    assert "paid 19,999,998.00" in shown
    for state in states:
        assert f"{state} {states.count(state) * 100}" in shown
    assert "…" not in shown


def a_record(number: str, state: State) -> Record:
    content = {"money_order": "99999.99"}
    return Record(
        number, number, OID_PARTNER, content, "", created_at=datetime.now(UTC), state=state, step=Step.NOTHING
    )


async def test_ctrl_c_at_the_prompt(gateway: Gateway, shell: Shell) -> None:
    """Ctrl-C at "Pay them?" ends it at once; nothing is sent, and it is said so."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    async with a_terminal(shell, *shell.pay_line(file)) as terminal:
        await terminal.shows("Pay them?")
        terminal.type(b"\x03")
        try:
            ran = await terminal.running.end(timeout_s=5)
        except TimeoutError:
            pytest.fail("Ctrl-C at the prompt does nothing")
        terminal.read()
        assert ran.code in (1, 2)
        assert "nothing was sent" in " ".join(terminal.text.split())
        assert "Traceback" not in terminal.text
    gateway.require_untouched()


async def test_sigterm_at_the_prompt(gateway: Gateway, shell: Shell) -> None:
    """A question that nobody answers must not keep a process alive that is told to end."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    async with a_terminal(shell, *shell.pay_line(file)) as terminal:
        await terminal.shows("Pay them?")
        terminal.running.signal(signal.SIGTERM)
        try:
            await terminal.running.end(timeout_s=5)
        except TimeoutError:
            pytest.fail("SIGTERM at the prompt does nothing")
    gateway.require_untouched()


async def test_ctrl_c_while_it_pays(keys: Keys, shell: Shell) -> None:
    """Ctrl-C in the terminal: what is in flight is finished, the outcomes are written, status 1."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(2000.0, 3000.0))) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(20))
        async with a_terminal(shell, *shell.pay_line(file, "--yes")) as terminal:
            await terminal.shows("IN_PROGRESS 20")
            terminal.type(b"\x03")
            ran = await terminal.running.end()
            terminal.read()
            assert ran.code == 1
            assert "run the same command again" in " ".join(terminal.text.split())
            assert "Traceback" not in terminal.text
        assert {row["state"] for row in shell.outcomes().values()} == {"IN_PROGRESS"}


async def test_yes_in_a_terminal(gateway: Gateway, shell: Shell) -> None:
    """The question is asked in a terminal, and a y pays."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    async with a_terminal(shell, *shell.pay_line(file)) as terminal:
        await terminal.shows("Pay them?")
        terminal.type(b"y\n")
        ran = await terminal.running.end()
        assert ran.code == 0
    assert gateway.ledger.summary().paid_once == 3
