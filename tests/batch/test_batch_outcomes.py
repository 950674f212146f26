"""The outcome file: its columns, its safety in a spreadsheet, and that it is whole or not there."""

from __future__ import annotations

import csv
import errno
import os
import pickle
import stat
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batch_files import ROW, csv_text, saved

from lianlian_async.batch import (
    COLUMNS,
    Outcome,
    OutcomesUnwritable,
    check_outcomes_path,
    outcomes,
    read_batch,
    write_outcomes,
)
from lianlian_async.errors import LianLianError, NothingSent
from lianlian_async.payout import Payout
from lianlian_async.resolver import State, Step

OUTCOME = Outcome(
    key="salary/1",
    no_order="N1",
    state="PAID",
    step="NOTHING",
    money_order=Decimal("25.78"),
    oid_paybill="2016081847411984",
    ret_code="0000",
    settle_date="20261101",
    advice="到账",
)
OPEN = Outcome(key="k2", state="UNKNOWN", step="QUERY", money_order=Decimal("1.00"), advice="ask, then wait")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_columns_and_values(path: Path) -> None:
    """The columns of the contract, in order; what is not known is empty."""
    write_outcomes(path, [OUTCOME, OPEN])
    assert path.read_bytes().startswith(b"\xef\xbb\xbfkey,no_order,state,step,money_order,oid_paybill,ret_code,")
    assert list(rows_of(path)[0]) == list(COLUMNS)
    assert rows_of(path)[0]["oid_paybill"] == "2016081847411984"
    assert rows_of(path)[1] == {
        "key": "k2", "no_order": "", "state": "UNKNOWN", "step": "QUERY", "money_order": "1.00", "oid_paybill": "",
        "ret_code": "", "settle_date": "", "advice": "ask, then wait",
    }  # fmt: skip


def test_an_outcome_of_a_payout(path: Path) -> None:
    """State and step are their plain words; account and name do not come along."""
    payout = object.__new__(Payout)
    values: dict[str, Any] = {
        "no_order": "N1", "state": State.PAID, "step": Step.NOTHING, "money_order": Decimal("25.78"),
        "oid_paybill": "B1", "ret_code": "0000", "settle_date": None, "advice": "done", "created_at": datetime.now(UTC),
    }  # fmt: skip
    for name, value in values.items():
        object.__setattr__(payout, name, value)
    write_outcomes(path, [Outcome.of("k1", payout)])
    [row] = rows_of(path)
    assert (row["key"], row["state"], row["step"], row["settle_date"]) == ("k1", "PAID", "NOTHING", "")


def test_it_belongs_to_its_owner_alone(path: Path) -> None:
    """Mode 0600, also over a file that was open to others."""
    write_outcomes(path, [OUTCOME])
    path.chmod(0o644)
    write_outcomes(path, [OUTCOME])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["out.csv"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_run(path: Path, start: str) -> None:
    """It is shown as text."""
    text = start + "cmd|' /C calc'!A0"
    write_outcomes(path, [Outcome(key=text, state="s", step="s", money_order=Decimal("1.00"), advice=text)])
    [row] = rows_of(path)
    assert row["key"] == row["advice"] == "'" + text


def test_a_key_survives_the_way_out_and_in(tmp_path: Path, path: Path) -> None:
    """The apostrophe that was put before it goes when the key is read from a file of payments."""
    write_outcomes(path, [Outcome(key="-k", state="s", step="s", money_order=Decimal("1.00"))])
    key = rows_of(path)[0]["key"]
    batch = read_batch(
        saved(tmp_path / "in.csv", csv_text((key, *ROW), header=("key", "money_order", "card_no", "acct_name", "memo")))
    )
    assert batch.rows[0].key == "-k"


def test_half_characters(path: Path) -> None:
    """What cannot be encoded is escaped rather than losing the file."""
    write_outcomes(path, [Outcome(key="k", state="s", step="s", money_order=Decimal("1.00"), advice="\ud800")])
    assert rows_of(path)[0]["advice"] == "\\ud800"


@pytest.mark.parametrize("step", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, step: str, before: bool) -> None:
    """Whatever fails: the old file is as it was, nothing is left beside it, and the error says what to do."""
    if before:
        write_outcomes(path, [OUTCOME])
    old = path.read_bytes() if before else None

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(outcomes.os, step, full)
    with pytest.raises(OutcomesUnwritable, match="No space left on device; what was paid is in the journal"):
        write_outcomes(path, [OPEN])
    monkeypatch.undo()
    assert (path.read_bytes() if path.exists() else None) == old
    assert os.listdir(path.parent) == (["out.csv"] if before else [])


def test_an_interrupt_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of it is passed on, and leaves nothing behind."""
    write_outcomes(path, [OUTCOME])
    old = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outcomes.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_outcomes(path, [OPEN])
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["out.csv"]


def test_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then name, then directory: in this order, so that a power cut shows the old file or the new one."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        outcomes.os, "fsync", lambda handle: (done.append(stat.S_ISDIR(os.fstat(handle).st_mode)), fsync(handle))
    )
    monkeypatch.setattr(outcomes.os, "replace", lambda old, new: (done.append("replace"), replace(old, new)))
    write_outcomes(path, [OUTCOME])
    assert done == [False, "replace", True]


def test_the_error_is_no_promise_that_nothing_was_sent() -> None:
    """Outcomes are written after money has left."""
    assert issubclass(OutcomesUnwritable, LianLianError)
    assert not issubclass(OutcomesUnwritable, NothingSent)
    assert str(pickle.loads(pickle.dumps(OutcomesUnwritable("x")))) == "x"


@pytest.mark.parametrize("write", [check_outcomes_path, lambda path: write_outcomes(path, [OUTCOME])])
def test_places_that_are_not_for_outcomes(tmp_path: Path, write: Any) -> None:
    """A missing directory, a directory, a device, and above all the file of payments itself."""
    payments = saved(tmp_path / "in.csv", csv_text(ROW))
    content = payments.read_bytes()
    (tmp_path / "link.csv").symlink_to(payments)
    for place, words in {
        tmp_path / "absent" / "out.csv": "No such file or directory",
        tmp_path: "not an ordinary file",
        Path("/dev/null"): "not an ordinary file",
        payments: "not an outcome file",
        tmp_path / "link.csv": "not an outcome file",
        tmp_path / "a\0b": "cannot be the name",
    }.items():
        with pytest.raises(OutcomesUnwritable, match=words):
            write(place)
    assert payments.read_bytes() == content
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "link.csv"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_places_that_are(tmp_path: Path, delimiter: str) -> None:
    """A new file, an empty one, an outcome file (also as a spreadsheet saved it), and a link to one."""
    check_outcomes_path(tmp_path / "new.csv")
    assert os.listdir(tmp_path) == []
    empty = saved(tmp_path / "empty.csv", b"")
    ours = saved(tmp_path / "ours.csv", delimiter.join(f'"{name}"' for name in COLUMNS) + "\r\n", "utf-8-sig")
    (tmp_path / "link.csv").symlink_to(ours)
    for place in (empty, ours, tmp_path / "link.csv"):
        check_outcomes_path(place)
        write_outcomes(place, [OUTCOME])
        assert rows_of(place)[0]["key"] == "salary/1"
    assert (tmp_path / "link.csv").is_symlink()
