"""An encrypted journal from the command line: made, used, rotated, checked, and refused."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_world import Gateway, Ran, Shell, rows, write_csv

Here = Callable[..., Ran]


async def test_a_journal_is_encrypted_from_the_first_payout_on(gateway: Gateway, shell: Shell) -> None:
    """Key made, batch paid, journal read by every command; nothing in the file names anybody; then a new key."""
    made = await shell.run("keys", "journal", "--out", "journal.keys")
    assert made.code == 0
    assert "keep a copy elsewhere" in made.out
    assert stat.S_IMODE((shell.folder / "journal.keys").stat().st_mode) == 0o600
    shell.changes["LIANLIAN_JOURNAL_KEY_FILE"] = "journal.keys"
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    assert (await shell.pay(file)).code == 0
    held = shell.journal.read_bytes()
    assert not any(text in held for text in (b"62284802231", "李三".encode(), b"\\u674e", b"salary-2026-11"))
    before = await shell.status()
    assert [line["state"] for line in before] == ["PAID"] * 3
    assert (await shell.pay(file)).code == 0
    assert gateway.asked("pay") == 3

    second = await shell.run("keys", "journal", "--out", "second.keys", "--with-old", "journal.keys")
    assert second.code == 0
    assert "rotate-journal" in second.out
    shell.changes["LIANLIAN_JOURNAL_KEY_FILE"] = "second.keys"
    rotated = await shell.run("keys", "rotate-journal")
    assert rotated.code == 0
    assert rotated.out.startswith("3 payouts and notifications were encrypted anew")
    assert await shell.status() == before
    old = await shell.run("status", env={"LIANLIAN_JOURNAL_KEY_FILE": "journal.keys"})
    assert (old.code, "the key file holds only" in old.said) == (2, True)
    checked = await shell.run("keys", "verify-journal")
    assert (checked.code, checked.out) == (0, "3 payouts are as they were written\n")


async def test_a_journal_that_had_no_key(gateway: Gateway, shell: Shell) -> None:
    """It is refused with a key until it is rotated, and without one afterwards; the chain can be checked either way."""
    file = write_csv(shell.folder / "salaries.csv", rows(2))
    assert (await shell.pay(file)).code == 0
    assert (await shell.run("keys", "journal", "--out", "journal.keys")).code == 0
    key = {"LIANLIAN_JOURNAL_KEY_FILE": "journal.keys"}
    for line in (("status",), shell.pay_line(file, "--yes")):
        ran = await shell.run(*line, env=key)
        assert (ran.code, "keys rotate-journal" in ran.said) == (2, True)
    assert (await shell.run("keys", "rotate-journal", env=key)).code == 0
    ran = await shell.pay(file)
    assert (ran.code, "set LIANLIAN_JOURNAL_KEY_FILE" in ran.said) == (2, True)
    assert (await shell.pay(file, env=key)).code == 0
    assert gateway.asked("pay") == 2
    ran = await shell.run("keys", "verify-journal", "--without-key")
    assert (ran.code, ran.out.startswith("2 payouts agree with their chains")) == (0, True)
    assert (await shell.run("keys", "verify-journal")).code == 2


def test_a_key_file_is_never_written_over(here: Here, tmp_path: Path) -> None:
    """Status 2, and the file is as it was: without it the journal could not be read any more."""
    assert here("keys", "journal", "--out", "journal.keys").code == 0
    held = (tmp_path / "journal.keys").read_bytes()
    ran = here("keys", "journal", "--out", "journal.keys")
    assert (ran.code, "exists already" in ran.said) == (2, True)
    assert (tmp_path / "journal.keys").read_bytes() == held
    ran = here("keys", "journal", "--out", "next.keys", "--with-old", "nowhere.keys")
    assert (ran.code, "cannot be opened" in ran.said) == (2, True)
    assert not (tmp_path / "next.keys").exists()


@pytest.mark.parametrize("command", [("status",), ("keys", "rotate-journal"), ("keys", "verify-journal")])
def test_a_key_file_that_others_may_read(here: Here, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Status 2 with the command that puts it right, before the journal is touched."""
    here("keys", "journal", "--out", "journal.keys")
    (tmp_path / "journal.keys").chmod(0o644)
    ran = here(*command, LIANLIAN_JOURNAL_KEY_FILE="journal.keys")
    assert (ran.code, "chmod 600" in ran.said) == (2, True)
    assert not (tmp_path / "payouts.db").exists()


def test_nothing_to_rotate(here: Here) -> None:
    """No key, no journal, or a journal in memory: each is said, with status 2."""
    ran = here("keys", "rotate-journal")
    assert (ran.code, "no journal key is configured" in ran.said) == (2, True)
    here("keys", "journal", "--out", "journal.keys")
    for journal, sentence in ((None, "no journal is configured"), ("memory:", "nothing on disk")):
        ran = here("keys", "rotate-journal", LIANLIAN_JOURNAL_KEY_FILE="journal.keys", LIANLIAN_JOURNAL=journal)
        assert (ran.code, sentence in ran.said) == (2, True)
    ran = here("keys", "rotate-journal", LIANLIAN_JOURNAL_KEY_FILE="journal.keys")
    assert (ran.code, "there is no journal at" in ran.said) == (2, True)
    assert here("keys", "verify-journal", "--without-key").code == 2
