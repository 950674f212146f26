"""`resume`, `pause` and `unpause`: a person's moves, from outside; each refused unless it is allowed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from cli_world import Gateway, Keys, Ran, Shell, a_gateway, a_row, make_journal, rows, write_csv

Here = Callable[..., Ran]


def number_of(shell: Shell, row: int) -> str:
    return shell.outcomes()[a_row(row)["key"]]["no_order"]


async def test_resume_after_a_top_up(keys: Keys, shell: Shell) -> None:
    """9104 waits for a fix; resumed too early it comes back to waiting; after the top-up the same number is paid once."""
    async with a_gateway(keys, balance=Decimal("5.00")) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", [*rows(1), a_row(9)])
        ran = await shell.pay(file)
        assert ran.code == 1, ran.text
        waiting = shell.outcomes()[a_row(9)["key"]]
        assert (waiting["step"], waiting["ret_code"]) == ("FIX", "9104")
        number = waiting["no_order"]
        ran = await shell.run("resume", number, "--by", "chen", "--time-scale", 240, "--wait-s", 3600)
        assert ran.code == 1, ran.text
        assert "FIX" in ran.out
        assert gateway.ledger.payments(number) == ()
        gateway.simulator.operator.top_up(100)
        ran = await shell.run("resume", number, "--by", "chen", "--time-scale", 240, "--wait-s", 600)
        assert ran.code == 0, ran.text
        assert "PAID" in ran.out
        assert len(gateway.ledger.payments(number)) == 1
        assert (await shell.pay(file)).code == 0
        assert {row["state"] for row in shell.outcomes().values()} == {"PAID"}
        assert len(gateway.ledger.payments()) == 2
        explained = await shell.run("explain", number, env={"COLUMNS": "200"})
        assert "chen" in explained.out


async def test_resume_where_there_is_nothing_to_resume(gateway: Gateway, shell: Shell) -> None:
    """What is paid or under review is not released, nor what nobody knows: status 2, and no request leaves."""
    gateway.simulator.script({"acct_name": "欧阳修文"}, pay=["4003"])
    file = write_csv(shell.folder / "salaries.csv", [*rows(1), a_row(2, acct_name="欧阳修文")])
    assert (await shell.pay(file)).code == 1
    requests = gateway.asked("pay")
    for number in (number_of(shell, 1), number_of(shell, 2), "NO-SUCH-NUMBER-99"):
        ran = await shell.run("resume", number, "--by", "chen", "--time-scale", 240)
        assert ran.code == 2, ran.text
        assert number in ran.said
    assert (await shell.run("resume", number_of(shell, 2), "--by", " ", "--time-scale", 240)).code == 2
    assert gateway.asked("pay") == requests
    assert gateway.asked("confirm") == 0


async def test_resume_of_several_is_all_or_none(keys: Keys, shell: Shell) -> None:
    """One of the numbers may not be resumed: none is, because status 2 means that nothing was done."""
    async with a_gateway(keys, balance=Decimal("5.00")) as gateway:
        shell.base_url = gateway.base_url
        assert (await shell.pay(write_csv(shell.folder / "salaries.csv", [*rows(1), a_row(9)]))).code == 1
        gateway.simulator.operator.top_up(100)
        requests = gateway.asked("pay")
        ran = await shell.run("resume", number_of(shell, 9), number_of(shell, 1), "--by", "chen", "--time-scale", 240)
        assert ran.code == 2, ran.text
        assert gateway.asked("pay") == requests
        [waiting] = await shell.status(number_of(shell, 9))
        assert waiting["step"] == "FIX"


async def test_pause_and_unpause(gateway: Gateway, shell: Shell) -> None:
    """A pause stops new money until it is lifted; who asks for it twice is told why it is already there."""
    file = write_csv(shell.folder / "salaries.csv", rows(2))
    await make_journal(shell.journal)
    ran = await shell.run("pause", "--reason", "wrong file", "--by", "chen")
    assert ran.code == 0, ran.text
    assert "wrong file" in ran.out
    assert "wrong file" in (await shell.run("pause", "--reason", "another reason", "--by", "li")).out
    ran = await shell.pay(file)
    assert ran.code == 1, ran.text
    assert "wrong file" in ran.said
    assert "chen" in ran.said
    gateway.require_untouched()
    assert {row["state"] for row in shell.outcomes().values()} == {"UNSENT"}
    ran = await shell.run("unpause", "--by", "chen")
    assert ran.code == 0, ran.text
    assert "wrong file" in ran.out
    assert "nothing was paused" in (await shell.run("unpause", "--by", "chen")).out
    assert (await shell.pay(file)).code == 0
    assert gateway.ledger.summary().paid_once == 2


async def test_pause_is_never_refused(gateway: Gateway, shell: Shell, tmp_path: Path) -> None:
    """Stopping money needs the journal and the merchant's number: neither a sound key, nor a gateway, nor a clock."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(1)))).code == 0
    # The fast clock has left the journal ahead of this machine's.
    ran = await shell.run("pause", "--reason", "stop", "--by", "chen")
    assert ran.code == 0, ran.text
    assert (await shell.run("unpause", "--by", "chen")).code == 0
    broken: dict[str, str | None] = {
        "LIANLIAN_PRIVATE_KEY_FILE": str(tmp_path / "gone.pem"), "LIANLIAN_BASE_URL": "http://127.0.0.1:9/",
    }  # fmt: skip
    ran = await shell.run("pause", "--reason", "the key was stolen", "--by", "chen", env=broken)
    assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    "line", [("pause", "--reason", "stop"), ("unpause",), ("query", "N1"), ("resume", "N1"), ("explain", "N1")]
)
def test_a_journal_at_a_mistyped_path(here: Here, tmp_path: Path, line: tuple[str, ...]) -> None:
    """A pause in an empty journal would stop nothing: only `pay` makes one, and it is said where there is none, and how."""
    ran = here(*line, LIANLIAN_BASE_URL="http://127.0.0.1:9/")
    assert ran.code == 2, ran.text
    assert str(tmp_path / "payouts.db") in ran.said
    assert "`pay` makes a new one" in ran.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (("pause", "--reason", "", "--by", "chen"), "says why"), (("pause", "--reason", " \t", "--by", "chen"), "says why"),
        (("pause", "--reason", "stop", "--by", ""), "name"), (("unpause", "--by", " "), "name"),
    ],
)  # fmt: skip
async def test_a_pause_by_nobody_or_for_no_reason(shell: Shell, line: tuple[str, ...], word: str) -> None:
    """Whoever is refused because of a pause must be able to read who to ask and why."""
    await make_journal(shell.journal)
    ran = await shell.run(*line)
    assert ran.code == 2, ran.text
    assert word in ran.said
    assert "paused" not in (await shell.run("status")).out


@pytest.mark.parametrize(
    "line",
    [
        ("pause", "--reason", "x"), ("unpause",), ("status",), ("status", "N"), ("due",), ("review", "list"),
        ("review", "show", "N"), ("query", "N"), ("resume", "N"),
    ],
)  # fmt: skip
def test_a_journal_that_is_new_for_every_process(here: Here, line: tuple[str, ...]) -> None:
    """`memory:` is nobody else's: a pause in it would stop nothing, and nothing would be known. Refused, with 2."""
    ran = here(*line, LIANLIAN_JOURNAL="memory:")
    assert ran.code == 2, ran.text
    assert "memory: is a new and empty one" in ran.said
