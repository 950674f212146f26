"""Canaries: what must be seen nowhere, looked for in everything that a test run says.

    canary             where it comes from                                    how it is known
    ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
    card numbers       every world's orders                                   16 to 19 digits that begin with 62
    names              every world's orders                                   `NAMES`, never two characters of one shown
    private keys       `make_keys`, and every other key                       their own lines; the PEM's first line
    journal keys       every `JournalKeys` that is made                       their base64
    confirm codes      the simulators of this process                         the codes that they gave out in this test
    signs, envelopes   every message                                          long base64, but for public keys; the prefix

    sink                                    what is looked at
    ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
    logs                                    every record that is made, whoever handles it
    warnings, stdout, stderr                what pytest records and captures, and what tests take out of its capture
    other processes                         what they say to `communicate`
    errors                                  the words of every error of this library that is made
    files                                   `*outcomes*.csv` in a test's folder; journals when they are closed: under keys
                                            nothing shows, and without them still no key, sign or envelope

A test in which something is found fails; what is found outside of any test fails the run. Processes of xdist look by
themselves. A test that shows something on purpose says so: `@pytest.mark.tells`.
"""

from __future__ import annotations

import asyncio.subprocess
import base64
import json
import logging
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lianlian_async.crypto import JournalKeys
from lianlian_async.errors import LianLianError
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.testing import keys as key_files
from lianlian_async.testing.simulator import bank

NAMES = ("李三", "张三", "欧阳锋墨", "欧阳娜娜", "王小明")
_PUBLIC = re.compile(
    "MIGfMA0GCSqGSIb3DQEB|MII[BC]IjANBgkqhkiG9w0B"
)  # how a public key's base64 begins, and no private one's
PERSONAL = {
    "a card number": re.compile(r"(?<![0-9A-Za-z.])62[0-9]{14,17}(?![0-9A-Za-z.])"),
    "a name": re.compile("|".join([*NAMES, *(re.escape(json.dumps(name)[1:-1]) for name in NAMES)])),
}
SECRET = {
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an envelope": re.compile(r"lianpay1_0_1\$"),
}
SAID = {
    **PERSONAL,
    **SECRET,
    "a sign, a key or an envelope": re.compile(r"(?=[A-Za-z0-9]*[+/])[A-Za-z0-9+/]{100,}={0,2}"),
}
# In a file, numbers and digests of neighbouring rows stand side by side; a sign is longer than those.
STORED = {**SECRET, "a sign": re.compile(r"(?=[A-Za-z0-9]*[+/])[A-Za-z0-9+/]{160,}={0,2}")}
SEALED = {**PERSONAL, **SECRET}  # and all else is long base64
_SIX_DIGITS = re.compile(r"(?<![0-9A-Za-z.])[0-9]{6}(?![0-9A-Za-z])")


class Found(NamedTuple):
    """One canary in one sink."""

    test: str
    sink: str
    what: str
    around: str

    def __str__(self) -> str:
        return f"{self.what} was seen in {self.sink} (in {self.test or 'no test'}): {self.around}"


class Aviary:
    """What is looked for, and what was found."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self.known: set[str] = set()
        self.codes: set[str] = set()
        self.test = ""
        self.telling = False
        self.lost: list[Found] = []

    def know(self, secret: str) -> None:
        """A secret that was just made."""
        self.known.add(secret)

    def look(self, sink: str, text: str, patterns: Mapping[str, re.Pattern[str]] = SAID) -> None:
        """Look through what was said."""
        if self.telling or not text:
            return
        for match in _SIX_DIGITS.finditer(text) if self.codes and patterns is not STORED else ():
            if match[0] in self.codes:
                self._find(sink, "a confirm code", text, match.start(), match.end())
        for what, pattern in patterns.items():
            for match in pattern.finditer(text):
                if not _PUBLIC.match(match[0]):
                    self._find(sink, what, text, match.start(), match.end())
                    break
        if len(text) > 40:
            for secret in self.known:
                if (start := text.find(secret)) >= 0:
                    self._find(sink, "a key", text, start, start + len(secret))

    def _find(self, sink: str, what: str, text: str, start: int, end: int) -> None:
        around = f"{text[max(0, start - 40) : start]}[{end - start} characters]{text[end : end + 20]}"
        self.found.append(Found(self.test, sink, what, " ".join(around.split())))

    def take(self) -> list[Found]:
        """What was found since the last time."""
        found, self.found = self.found, []
        return found


AVIARY = Aviary()


# ---------------------------------------------------------------------- sinks and sources


def _text(said: object) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said or "")


def _wrapped(patch: pytest.MonkeyPatch, place: Any, name: str, make: Callable[[Any], Any]) -> None:
    patch.setattr(place, name, make(getattr(place, name)))


def _records(factory: Any) -> Any:
    def make(*args: Any, **more: Any) -> logging.LogRecord:
        record: logging.LogRecord = factory(*args, **more)
        try:
            AVIARY.look("a log", record.getMessage())
        except Exception:  # noqa: BLE001 - a record that cannot be shown is its logger's mistake, not ours
            AVIARY.look("a log", f"{record.msg} {record.args}")
        return record

    return make


def _readouterr(original: Any) -> Any:
    def read(self: Any) -> Any:
        said = original(self)
        for stream in said:
            AVIARY.look("stdout or stderr", _text(stream))
        return said

    return read


def _communicate(original: Any) -> Any:
    def communicate(self: Any, *args: Any, **more: Any) -> Any:
        said = original(self, *args, **more)
        for stream in said:
            AVIARY.look("another process's output", _text(stream))
        return said

    return communicate


def _communicate_later(original: Any) -> Any:
    async def communicate(self: Any, *args: Any, **more: Any) -> Any:
        said = await original(self, *args, **more)
        for stream in said:
            AVIARY.look("another process's output", _text(stream))
        return said

    return communicate


def _error(self: LianLianError, *args: object) -> None:
    Exception.__init__(self, *args)
    AVIARY.look("an error", " ".join(map(str, args)))


def without_bills(stored: bytes, bills: Iterable[str]) -> str:
    """A journal's bytes as text, less the gateway's own numbers, which stand in the open right behind a random byte.

    Where that byte is a "6", such a number of 16 digits that begins with a year makes what looks like a card's.
    """
    for bill in bills:
        stored = stored.replace(bill.encode(), b" ")
    return stored.decode("utf-8", "replace")


def _stands(path: Path) -> tuple[Mapping[str, re.Pattern[str]], list[str]]:
    """What must not be in this journal, and the gateway's numbers that may.

    Its first key is number 0, "none", until a rotation has sealed everything.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
            numbers = [number for (number,) in db.execute("SELECT seq FROM keys")]
            bills = [bill for (bill,) in db.execute("SELECT oid_paybill FROM payouts WHERE oid_paybill IS NOT NULL")]
    except sqlite3.Error:
        return SECRET, []  # A test has made something else of it.
    if numbers == [0]:
        return STORED, bills
    return SEALED if numbers and 0 not in numbers else SECRET, bills


def _close(original: Any) -> Any:
    async def close(self: SqliteJournal) -> None:
        was_open = self._lanes is not None
        await original(self)
        if was_open and self.path.is_file():
            patterns, bills = _stands(self.path)
            AVIARY.look("a journal's file", without_bills(self.path.read_bytes(), bills), patterns)

    return close


def _known_keys(original: Any) -> Any:
    def init(self: JournalKeys, keys: Any) -> None:
        original(self, keys)
        for one in keys.values():
            AVIARY.know(base64.b64encode(one).decode())

    return init


def _known_files(original: Any) -> Any:
    def make(*args: Any, **more: Any) -> Any:
        private, public = original(*args, **more)
        for line in private.read_text().splitlines():
            if len(line) == 64 and "-----" not in line:
                AVIARY.know(line)
        return private, public

    return make


def _codes(original: Any) -> Any:
    def whole(self: Any, below: int, *question: Any) -> int:
        drawn: int = original(self, below, *question)
        if question[:1] == ("confirm code",):
            AVIARY.codes.add(f"{drawn:06d}")
        return drawn

    return whole


def install(patch: pytest.MonkeyPatch) -> None:
    """Hear everything."""
    logging.setLogRecordFactory(_records(logging.getLogRecordFactory()))
    _wrapped(patch, pytest.CaptureFixture, "readouterr", _readouterr)
    _wrapped(patch, subprocess.Popen, "communicate", _communicate)
    _wrapped(patch, asyncio.subprocess.Process, "communicate", _communicate_later)
    patch.setattr(LianLianError, "__init__", _error)
    _wrapped(patch, SqliteJournal, "close", _close)
    _wrapped(patch, JournalKeys, "__init__", _known_keys)
    _wrapped(patch, key_files, "make_keys", _known_files)
    _wrapped(patch, bank.Draw, "whole", _codes)


# ---------------------------------------------------------------------- pytest


_STASH = pytest.StashKey[tuple[pytest.MonkeyPatch, Any]]()
_LOST = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "tells: shows a canary on purpose (tests/canaries.py)")
    patch, factory = pytest.MonkeyPatch(), logging.getLogRecordFactory()
    config.stash[_STASH] = patch, factory
    install(patch)


def pytest_unconfigure(config: pytest.Config) -> None:
    patch, factory = config.stash[_STASH]
    patch.undo()
    logging.setLogRecordFactory(factory)


def pytest_warning_recorded(warning_message: Any) -> None:
    AVIARY.look("a warning", str(warning_message.message))


def pytest_runtest_logstart(nodeid: str) -> None:
    AVIARY.lost += AVIARY.take()
    AVIARY.test = nodeid
    AVIARY.codes.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    AVIARY.telling = item.get_closest_marker("tells") is not None
    try:
        return (yield)
    finally:
        AVIARY.telling, AVIARY.test = False, ""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """The last word about a test: it fails when something was found in it."""
    report: Any = yield
    if report.when == "teardown":
        for title, content in report.sections:
            AVIARY.look(title.lower(), content)
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        for path in sorted(folder.rglob("*outcomes*.csv")) if isinstance(folder, Path) else ():
            AVIARY.look("an outcomes file", path.read_text("utf-8", "replace"))
        if found := AVIARY.take():
            report.outcome = "failed"
            report.longrepr = "\n".join(["a canary was seen where none may be", *map(str, found)])
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was found outside of every test."""
    lost = [*session.config.stash.get(_LOST, []), *map(str, (*AVIARY.lost, *AVIARY.take()))]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["canaries"] = lost
    elif lost:
        print("\na canary was seen where none may be", *lost, sep="\n")  # noqa: T201 - pytest has no other place for it
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a process of xdist found outside of every test of its own."""
    lost = getattr(node, "workeroutput", {}).get("canaries")
    if lost:
        node.config.stash[_LOST] = [*node.config.stash.get(_LOST, []), *lost]
