"""Where and how a command is started: senseless numbers, bytes that are no text, folders and disks that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_world import ROOT, Ran, Shell, make_journal, rows, write_csv

Here = Callable[..., Ran]

SENSELESS = ("nan", "inf", "-inf")


@pytest.mark.parametrize("number", SENSELESS)
@pytest.mark.parametrize(
    "line",
    [
        "pay salaries.csv --yes --wait-s", "pay salaries.csv --yes --time-scale", "demo --time-scale",
        "resume N1 --wait-s", "resume N1 --time-scale", "query N1 --time-scale", "simulate --port 0 --clock-offset-s",
        "simulate --port 0 --time-scale",
    ],
)  # fmt: skip
def test_a_number_that_is_none(here: Here, tmp_path: Path, line: str, number: str) -> None:
    """NaN compares with nothing, so a range lets it through: refused as wrong usage, and no journal is made."""
    write_csv(tmp_path / "salaries.csv", rows(1))
    ran = here(*line.split(), number)
    assert ran.code == 2, ran.text
    assert number in ran.said
    assert not (tmp_path / "payouts.db").exists()


def test_bytes_that_are_no_text_among_the_arguments(here: Here, tmp_path: Path) -> None:
    """Each command refuses them alike: one sentence, status 2, nothing written."""
    for line in (
        ("pause", "--reason", "\udcff"), ("unpause", "--by", "\udcff"), ("status", "\udcff"), ("explain", "\udcff"),
        ("pay", "\udcff.csv"), ("demo", "--folder", "\udcff"), ("simulate", "--ledger", "\udcff"),
        ("keys", "generate", "--out", "\udcff"),
    ):  # fmt: skip
        ran = here(*line)
        assert ran.code == 2, ran.text
        assert "no text" in ran.said
        assert len(ran.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["JOURNAL", "OID_PARTNER", "NOTIFY_URL", "PLATFORM", "PRIVATE_KEY_FILE"])
def test_bytes_that_are_no_text_in_a_setting(here: Here, tmp_path: Path, name: str) -> None:
    """The setting is named."""
    file = write_csv(tmp_path / "salaries.csv", rows(1))
    ran = here("pay", file, "--yes", **{f"LIANLIAN_{name}": "sqlite:///\udcff"})
    assert ran.code == 2, ran.text
    assert f"LIANLIAN_{name}" in ran.said
    assert "no text" in ran.said


async def test_bytes_that_are_no_text_from_outside(shell: Shell) -> None:
    """The same in a process of its own."""
    await make_journal(shell.journal)
    ran = await shell.run(
        "pause", "--by", "chen", "--reason", prefix=("sh", "-c", 'exec "$@" "$(printf "\\377")"', "sh")
    )
    assert ran.code == 2, ran.text
    assert "no text" in ran.said


def test_a_present_directory_that_is_gone(tmp_path: Path) -> None:
    """A journal with a relative path cannot be found from nowhere."""
    keys = {"PYTHONPATH": str(ROOT), "LIANLIAN_JOURNAL": "sqlite:///payouts.db", "PATH": os.environ["PATH"]}
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && exec {sys.executable} -P -m lianlian_async status"
    done = subprocess.run(["sh", "-c", line], env=keys, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "absolute path" in done.stderr


def test_the_extra_is_missing() -> None:
    """Wrong set-up is status 2, and it is said what to install."""
    for package in ("click", "rich", "aiohttp"):
        code = f"import sys; sys.modules[{package!r}] = None; from lianlian_async.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 2, done.stderr
        assert "lianlian-async[cli]" in done.stderr
        assert package in done.stderr
        assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------- folders and disks


def test_a_demo_where_no_folder_can_be(here: Here, tmp_path: Path) -> None:
    """A file, a place under a file, under /proc, or a folder with something in it: one sentence, status 2."""
    file = tmp_path / "a-file"
    file.write_text("hello")
    for place in (file, file / "below", Path("/proc/nothing"), tmp_path):
        ran = here("demo", "--folder", place)
        assert ran.code == 2, ran.text
        assert str(place) in ran.said
        assert len(ran.err.splitlines()) == 1
    assert file.read_text() == "hello"


def test_without_a_temporary_folder(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the demo nor the simulator can make their keys: one sentence, status 2."""

    def none(*_arguments: object, **_more: object) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", none)
    for line in (("demo",), ("simulate", "--port", 0)):
        ran = here(*line)
        assert ran.code == 2, ran.text
        assert "temporary" in ran.said


def test_a_demo_on_a_disk_without_room(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that would fill up half-way is refused at once."""
    monkeypatch.setattr("shutil.disk_usage", lambda _place: _Usage())
    ran = here("demo", "--folder", tmp_path / "demo")
    assert ran.code == 2, ran.text
    assert "room" in ran.said


class _Usage:
    free = 4096


def test_keys_on_a_full_disk(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an empty private key nor half a pair is left behind, and the next try works."""
    real, calls = os.fsync, []
    for failing in (1, 2):

        def fsync(descriptor: int, failing: int = failing) -> None:
            calls.append(descriptor)
            if len(calls) == failing:
                raise OSError(28, "No space left on device")
            real(descriptor)

        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", fsync)
            ran = here("keys", "generate")
        assert ran.code == 2, ran.text
        assert "No space left" in ran.said
        assert list(tmp_path.iterdir()) == []
    assert here("keys", "generate").code == 0


# ---------------------------------------------------------------------- the simulator's ledger


def test_a_ledger_that_cannot_be_written(here: Here, tmp_path: Path) -> None:
    """A directory, a device that is full, a place under /proc: found out at start, not by the first payment."""
    for place in (tmp_path, Path("/dev/full"), Path("/proc/ledger.jsonl"), tmp_path / "nowhere" / "l.jsonl"):
        ran = here("simulate", "--port", 0, "--ledger", place)
        assert ran.code == 2, ran.text
        assert len(ran.err.splitlines()) == 1


def test_a_simulator_for_nobody(here: Here) -> None:
    """An empty merchant number would turn every client away."""
    for partner in ("", "abc", "1" * 19):
        ran = here("simulate", "--port", 0, "--oid-partner", partner)
        assert ran.code == 2, ran.text
        assert "--oid-partner" in ran.said


def test_an_encrypted_key(here: Here, tmp_path: Path) -> None:
    """There is no setting for a password: it is said what can be done."""
    key = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "genrsa", "-aes256", "-passout", "pass:secret", "-out", str(key), "2048"],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    ran = here("keys", "check", LIANLIAN_PRIVATE_KEY_FILE=str(key))
    assert ran.code == 2, ran.text
    assert "openssl" in ran.said
