"""The canaries themselves: a leak planted in each sink is found, and what may be shown is not taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from canaries import SEALED, Aviary, without_bills

TESTS = Path(__file__).parent
CONFTEST = "pytest_plugins = ['canaries']\n"
HEAD = """
import asyncio, base64, logging, subprocess, sys, warnings
from pathlib import Path
import pytest
from lianlian_async import ConfigError, JournalKeys
from lianlian_async.testing.keys import make_keys
from lianlian_async.testing.simulator.draw import Draw
CARD, NAME = "62284802223" + "00000001", "李" + "三"
"""
LEAKS = {
    "log": ("logging.getLogger('lianlian_async').warning('paying %s', CARD)", "a card number was seen in a log"),
    "debug log of a library": (
        "logging.getLogger('httpcore').setLevel(10); logging.getLogger('httpcore').debug('to %r', NAME.encode().decode())",
        "a name was seen in a log",
    ),
    "stdout": ("print('to', NAME)", "a name was seen in captured stdout"),
    "stderr": ("print(CARD, file=sys.stderr)", "a card number was seen in captured stderr"),
    "stdout that the test took": ("print(CARD); capsys.readouterr()", "a card number was seen in stdout or stderr"),
    "another process": (
        "subprocess.run([sys.executable, '-c', f'print({CARD!r})'], capture_output=True)",
        "a card number was seen in another process's output",
    ),
    "warning": ("warnings.warn(CARD)", "a card number was seen in a warning"),
    "error": ("ConfigError(f'{NAME} is wrong')", "a name was seen in an error"),
    "sign": ("print(base64.b64encode(bytes(range(128))).decode())", "a sign, a key or an envelope was seen"),
    "envelope": ("print('lianpay1_0_1$x')", "an envelope was seen"),
    "private key on one line": (
        "pem = make_keys(tmp_path, 'a', 2048)[0].read_text(); print(''.join(pem.splitlines()[1:-1]))",
        "a sign, a key or an envelope was seen in captured stdout",
    ),
    "private key": (
        "print([l for l in make_keys(tmp_path, 'a', 1024)[0].read_text().splitlines()][3])", "a key was seen",
    ),
    "journal key": (
        "JournalKeys({'a': b'k' * 32}); print('the key is', base64.b64encode(b'k' * 32).decode())", "a key was seen",
    ),
    "confirm code": (
        "code = Draw(1).whole(10**6, 'confirm code', 'n', 1); print(f'code {code:06d}')", "a confirm code was seen",
    ),
    "outcomes file": (
        "(tmp_path / 'x.outcomes.csv').write_text(CARD)", "a card number was seen in an outcomes file",
    ),
}  # fmt: skip


def run(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "test_it.py").write_text(f"{HEAD}\n{body}\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.tells
def test_a_leak_into_each_sink(tmp_path: Path) -> None:
    """Every one of them fails its own test, and says what was seen where; it shows nothing of it."""
    tests = [f"def test_{n}(capsys, tmp_path):\n    {body}\n" for n, (body, _) in enumerate(LEAKS.values())]
    done = run(tmp_path, "\n".join(tests))
    assert done.returncode == 1
    missing = [name for name, (_, sentence) in LEAKS.items() if sentence not in done.stdout]
    # A warning is recorded when its test is over already: it fails the run.
    assert missing == []
    assert "6228480222300000001 was" not in done.stdout
    assert f"{len(LEAKS) - 1} error" in done.stdout or f"{len(LEAKS)} error" in done.stdout


@pytest.mark.tells
def test_a_leak_in_a_process_of_xdist(tmp_path: Path) -> None:
    """Each process looks by itself, and what it found outside of a test comes home."""
    body = "logging.getLogger('x').error(CARD)\ndef test_clean():\n    pass\n"
    done = run(tmp_path, body, "-n", "1")
    assert done.returncode == 1
    assert "a card number was seen in a log" in done.stdout


@pytest.mark.tells
def test_a_journal_that_was_to_be_encrypted(tmp_path: Path) -> None:
    """A name beside the rows of a journal under keys is found when it is closed; without keys it belongs there."""
    body = """
from lianlian_async.journal.sqlite import SqliteJournal
def wrote(path, keys):
    async def go():
        journal = SqliteJournal(path, keys=keys)
        await journal.open()
        await journal.close()
        journal = SqliteJournal(path, keys=keys)
        await journal.open()
        with open(path, "ab") as file:
            file.write(NAME.encode())
        await journal.close()
    asyncio.run(go())
def test_sealed(tmp_path): wrote(tmp_path / "a.db", JournalKeys({"a": bytes(32)}))
def test_plain(tmp_path): wrote(tmp_path / "b.db", None)
"""
    done = run(tmp_path, body)
    assert "a name was seen in a journal's file" in done.stdout
    assert "2 passed, 1 error" in done.stdout


def test_what_may_be_shown(tmp_path: Path) -> None:
    """Masked cards and names, numbers of payouts and bills, hashes, and public keys."""
    body = """
def test_masked(tmp_path):
    print("622848*********0001", "李*", "2026112300000001", "201606020000150062", "a" * 64)
    for bits in (1024, 2048):
        pem = make_keys(tmp_path, f"a{bits}", bits)[1].read_text()
        print(pem, "".join(pem.splitlines()[1:-1]))
    logging.getLogger("x").error("622848 0001 123456 %s", "B" * 32)
@pytest.mark.tells
def test_told_on_purpose():
    print(CARD)
"""
    done = run(tmp_path, body)
    assert done.returncode == 0, done.stdout


def test_a_bill_behind_a_six_is_no_card_number() -> None:
    """The last byte of a seal is random, and the gateway's number stands right behind it; a card beside it is found."""
    bill, card = "2026112600000001", "62284802223" + "00000001"
    stored = b"\x006" + bill.encode() + b"\x00"

    def seen(stored: bytes, bills: list[str]) -> list[str]:
        aviary = Aviary()
        aviary.look("a journal's file", without_bills(stored, bills), SEALED)
        return [one.what for one in aviary.take()]

    assert seen(stored, []) == ["a card number"]
    assert seen(stored, [bill]) == []
    assert seen(stored + card.encode() + b"\x00", [bill]) == ["a card number"]
