"""The outcome file of a batch: CSV with one line a payout, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Final, Self

from attrs import fields, frozen

from ..errors import LianLianError
from ..payout import Payout
from ..protocol.fields import safe_text

__all__ = ["COLUMNS", "Outcome", "OutcomesUnwritable", "check_outcomes_path", "write_outcomes"]


class OutcomesUnwritable(LianLianError):
    """The outcome file could not be written; an older one is as it was.

    Not a `NothingSent`: when outcomes are written, money has usually left. The journal knows all of it.
    """


@frozen(kw_only=True)
class Outcome:
    """One line of an outcome file: what is known of one payout, without account or name."""

    key: str
    no_order: str | None = None
    state: str
    step: str
    money_order: Decimal
    oid_paybill: str | None = None
    ret_code: str | None = None
    settle_date: str | None = None
    advice: str = ""

    @classmethod
    def of(cls, key: str, payout: Payout) -> Self:
        """The outcome of the row with this key."""
        return cls(
            key=key,
            no_order=payout.no_order,
            state=payout.state,
            step=payout.step,
            money_order=payout.money_order,
            oid_paybill=payout.oid_paybill,
            ret_code=payout.ret_code,
            settle_date=payout.settle_date,
            advice=payout.advice,
        )


COLUMNS: Final = tuple(column.name for column in fields(Outcome))

# What makes a spreadsheet take a text for a formula. No cell here is ever a negative number.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_outcomes(path: Path, rows: Sequence[Outcome]) -> None:
    """Write an outcome file: CSV in UTF-8, mode 0600; with a mark where Excel would otherwise misread a key.

    The file at `path` is the old one or the whole new one at any moment, also after a power cut. Text that a
    spreadsheet would run as a formula gets a leading apostrophe, which `read_batch` takes off again. Raises
    OutcomesUnwritable.
    """
    with _said_plainly(path):
        target = _target(path)
        handle, name = tempfile.mkstemp(prefix=".outcomes-", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding=_encoding(rows), errors="backslashreplace", newline="") as stream:
                _write(stream, rows)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        _sync_directory(target.parent)


def check_outcomes_path(path: Path) -> None:
    """Raise OutcomesUnwritable when `write_outcomes` would fail there now: to be asked before money leaves."""
    with _said_plainly(path):
        target = _target(path)
        handle, name = tempfile.mkstemp(prefix=".outcomes-", suffix=".tmp", dir=target.parent)
        os.close(handle)
        os.unlink(name)


@contextlib.contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise OutcomesUnwritable(
            f"the outcome file {safe_text(os.fspath(path), limit=500)} cannot be written: {fault.strerror or fault}; "
            "what was paid is in the journal: make room or give another path, and run the same command again"
        ) from None
    except ValueError:
        raise OutcomesUnwritable("the outcome file's path cannot be the name of a file; give another") from None


def _target(path: Path) -> Path:
    """Where `path` leads, links followed. A device, or a file that holds something else, is left alone."""
    target = Path(os.path.realpath(path))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target
    shown = safe_text(os.fspath(path), limit=500)
    if not stat.S_ISREG(mode):
        raise OutcomesUnwritable(f"{shown} is not an ordinary file; give the outcome file another path")
    with open(target, "rb") as stream:
        opening = stream.read(1024)
    if opening and not _is_ours(opening):
        raise OutcomesUnwritable(
            f"{shown} exists and is not an outcome file; move it away or give the outcome file another path"
        )
    return target


def _is_ours(opening: bytes) -> bool:
    """True for a file that begins with our columns, even if a spreadsheet has saved it since."""
    first = opening.decode("utf-8-sig", errors="replace").splitlines()[:1]
    return bool(first) and tuple(re.split("[,;\t]", first[0].replace('"', "")))[: len(COLUMNS)] == COLUMNS


def _write(stream: IO[str], rows: Sequence[Outcome]) -> None:
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in COLUMNS])


def _encoding(rows: Sequence[Outcome]) -> str:
    """Plain ASCII needs no mark, and scripts read the first column's name without one."""
    plain = all(_cell(getattr(row, column)).isascii() for row in rows for column in COLUMNS)
    return "utf-8" if plain else "utf-8-sig"


def _cell(value: str | Decimal | None) -> str:
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
