"""Real processes over real sockets, a simulated gateway, and its ledger as the judge."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from lianlian_async.journal import Breaker
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.testing.clocks import ScaledClock
from lianlian_async.testing.simulator import Ledger, Simulator

ROOT = Path(__file__).parents[2]
OID_PARTNER = "201606020000150062"
NOTIFY_URL = "https://a.example.com/n"
TIME_SCALE = 240
OUTCOME_COLUMNS = [
    "key", "no_order", "state", "step", "money_order", "oid_paybill", "ret_code", "settle_date", "advice",
]  # fmt: skip

# Nothing of the tester's own shell may decide a test.
_OURS = re.compile(
    "LIANLIAN_|COLUMNS$|LINES$|TERM$|NO_COLOR$|FORCE_COLOR$|CLICOLOR|LC_|LANG|PYTHONIOENCODING$|PYTHONDONTWRITEBYTECODE$"
)
_COLUMNS = ("key", "money_order", "card_no", "acct_name", "info_order")


@frozen
class Keys:
    """Key files of the merchant, the gateway and a stranger."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()


@frozen
class Ran:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def said(self) -> str:
        """What stands on stderr, as one line: how it is wrapped does not matter."""
        return " ".join(self.err.split())


class Running:
    """A process on its way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ends = asyncio.create_task(process.communicate())

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when it was over already."""
        if self.ended:
            return False
        self.process.send_signal(number)
        return True

    async def end(self, timeout_s: float = 90) -> Ran:
        """Wait for the end; whatever it said must not be a traceback."""
        out, err = await asyncio.wait_for(asyncio.shield(self._ends), timeout_s)
        said = [(stream or b"").decode("utf-8", "replace") for stream in (out, err)]
        ran = Ran(self.process.returncode or 0, *said)
        assert "Traceback" not in ran.text, ran.text[:200] + ran.text[-300:]
        return ran

    async def kill(self) -> None:
        """End it by force, if it has not ended, and let go of its pipes."""
        self.signal(signal.SIGKILL)
        await self._ends


@define
class Shell:
    """A user's shell: a folder, an environment, and commands that are run in it."""

    folder: Path
    keys: Keys
    base_url: str = "http://127.0.0.1:9/paymentapi/"
    running: list[Running] = field(factory=list)
    changes: dict[str, str | None] = field(factory=dict)

    @property
    def journal(self) -> Path:
        return self.folder / "payouts.db"

    @property
    def outcomes_path(self) -> Path:
        return self.folder / "outcomes.csv"

    def environment(self, **changes: str | None) -> dict[str, str]:
        """The variables of a well-configured merchant; a change to None leaves one out."""
        python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        said: dict[str, str | None] = {
            **{name: value for name, value in os.environ.items() if not _OURS.match(name)},
            "PYTHONPATH": python_path,
            "PYTHONPYCACHEPREFIX": str(self.keys.folder / "pycache"),
            "LANG": "C.UTF-8",
            "LIANLIAN_OID_PARTNER": OID_PARTNER,
            "LIANLIAN_PRIVATE_KEY_FILE": str(self.keys.path("merchant-private")),
            "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": str(self.keys.path("gateway-public")),
            "LIANLIAN_BASE_URL": self.base_url,
            "LIANLIAN_NOTIFY_URL": NOTIFY_URL,
            "LIANLIAN_JOURNAL": f"sqlite:///{self.journal}",
            **self.changes,
            **changes,
        }
        return {name: value for name, value in said.items() if value is not None}

    async def start(
        self, *arguments: object, env: Mapping[str, str | None] | None = None, prefix: Sequence[str] = (), **more: Any
    ) -> Running:
        """Start a command; `more` goes to the process as it is."""
        more.setdefault("stdin", asyncio.subprocess.DEVNULL)
        more.setdefault("stdout", asyncio.subprocess.PIPE)
        more.setdefault("stderr", asyncio.subprocess.PIPE)
        process = await asyncio.create_subprocess_exec(
            *prefix, sys.executable, "-m", "lianlian_async", *map(str, arguments), cwd=self.folder,
            env=self.environment(**(env or {})), **more,
        )  # fmt: skip
        self.running.append(Running(process))
        return self.running[-1]

    async def run(self, *arguments: object, stdin: bytes | None = None, timeout_s: float = 90, **more: Any) -> Ran:
        """Run a command to its end; without `stdin` there is nobody to answer a question."""
        if stdin is None:
            return await (await self.start(*arguments, **more)).end(timeout_s)
        read, write = os.pipe()
        os.write(write, stdin)
        os.close(write)
        try:
            started = await self.start(*arguments, stdin=read, **more)
        finally:
            os.close(read)
        return await started.end(timeout_s)

    def pay_line(self, file: Path, *more: object, scale: float = TIME_SCALE) -> list[object]:
        line = ["pay", file, "--outcomes", self.outcomes_path, *more]
        return line if scale == 1 else [*line, "--time-scale", scale]

    async def pay(self, file: Path, *more: object, scale: float = TIME_SCALE, **others: Any) -> Ran:
        """`pay FILE --yes`, on the fast clock."""
        return await self.run(*self.pay_line(file, "--yes", *more, scale=scale), **others)

    async def status(self, *more: object, **others: Any) -> list[dict[str, Any]]:
        """`status --json`, read; a journal that is not there holds nothing."""
        if "env" not in others and not self.journal.exists():
            return []
        ran = await self.run("status", *more, "--json", **others)
        assert ran.code == 0, ran.text
        return [json.loads(line) for line in ran.out.splitlines()]

    def outcomes(self, path: Path | None = None) -> dict[str, dict[str, str]]:
        """The outcomes file by key; every key must stand there once."""
        with (path or self.outcomes_path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        assert reader.fieldnames == OUTCOME_COLUMNS
        by_key = {row["key"]: row for row in rows}
        assert len(by_key) == len(rows), "a key stands in the outcomes twice"
        return by_key

    async def close(self) -> None:
        for running in self.running:
            await running.kill()


async def make_journal(journal: Path) -> None:
    """An empty journal, as `pay` makes one."""
    opened = SqliteJournal(journal)
    await opened.open()
    await opened.close()


async def pause_in_journal(journal: Path, reason: str) -> None:
    """New money is paused, without a command: as another process would find it."""
    opened = SqliteJournal(journal)
    await opened.open()
    await opened.trip(Breaker(OID_PARTNER, reason, datetime.now(UTC), "chen"))
    await opened.close()


# ---------------------------------------------------------------------- files of payments


def a_row(number: int, **changes: str | None) -> dict[str, str]:
    """A payment of its own for every number; a change to None leaves the column out."""
    row: dict[str, str | None] = {
        "key": f"salary-2026-11/{number:05d}",
        "money_order": f"{number}.{number % 100:02d}",
        "card_no": f"622848022312{number:06d}{number % 9 + 1}",
        "acct_name": "李三",
        "info_order": f"工资{number}",
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


def rows(count: int, start: int = 1, **changes: str | None) -> list[dict[str, str]]:
    return [a_row(number, **changes) for number in range(start, start + count)]


def write_csv(
    path: Path, lines: Sequence[Mapping[str, str]], *, encoding: str = "utf-8", headers: Mapping[str, str] | None = None
) -> Path:
    """A CSV file of payments; `headers` gives columns other names."""
    names = list(dict.fromkeys(name for line in lines for name in line)) or list(_COLUMNS)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow([(headers or {}).get(name, name) for name in names])
        writer.writerows([line.get(name, "") for name in names] for line in lines)
    return path


# ---------------------------------------------------------------------- the gateway


@frozen
class Gateway:
    """A simulated gateway that serves from the test's own process."""

    simulator: Simulator
    base_url: str

    @property
    def ledger(self) -> Ledger:
        return self.simulator.ledger

    def asked(self, endpoint: str) -> int:
        """How many requests of this kind have arrived."""
        return sum(request.endpoint == endpoint for request in self.simulator.requests)

    def require_untouched(self) -> None:
        """Nothing that could move money has come here."""
        assert self.ledger.entries == []
        assert self.asked("pay") == self.asked("confirm") == 0


async def until(condition: Callable[[], object], *, within_s: float = 30.0) -> None:
    """Wait for something that another process brings about."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def a_gateway(keys: Keys, *, scale: float = TIME_SCALE, **settings: Any) -> AsyncIterator[Gateway]:
    simulator = Simulator(
        oid_partner=OID_PARTNER, merchant_public_key=keys.read("merchant-public"),
        gateway_private_key=keys.read("gateway-private"), clock=ScaledClock(scale), **settings,
    )  # fmt: skip
    async with simulator.serve() as server:
        yield Gateway(simulator, server.base_url)


# ---------------------------------------------------------------------- the judge


def histories(ledger: Ledger) -> dict[str, list[tuple[str, str]]]:
    """Every number's events, oldest first, each with the bill that was known then."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for entry in ledger.entries:
        found[entry.no_order].append((entry.event, entry.oid_paybill))
    return found


# What may have happened last to a number that is reported so. A bank may return money, and a review may
# close, after the report. Written down here once more on purpose: the demo's own audit must not judge itself.
_LAST = {
    "PAID": {"paid", "refunded"},
    "REFUNDED": {"refunded"},
    "FAILED": {"failed"},
    "CLOSED": {"closed"},
    "REVIEW": {"review", "closed"},
    "IN_PROGRESS": {"booked", "paid", "failed", "refunded"},
    "REFUSED": {None, "failed"},
    "UNSENT": {None},
    "UNKNOWN": {None, "booked", "review", "paid", "failed", "refunded", "closed"},
    "CONFLICT": {None, "booked", "review", "paid", "failed", "refunded", "closed"},
}


def disagreement(state: str, events: Sequence[tuple[str, str]]) -> str | None:
    """Why a reported state is not what the ledger says; None when it is."""
    last, bill = events[-1] if events else (None, "")
    if sum(event == "paid" for event, _ in events) > 1:
        return "paid more than once"
    if last not in _LAST[state]:
        return f"reported {state}, and the ledger's last word is {last}"
    if state == "FAILED" and not bill:
        return "reported FAILED, and there never was a bill"
    if state == "REFUSED" and bill:
        return "reported REFUSED, and there is a bill"
    return None


def audit(outcomes: Mapping[str, Mapping[str, str]], keys: Iterable[str], ledger: Ledger) -> None:
    """Every payment of the file is in the outcomes, was paid at most once, and is told as the ledger has it."""
    assert set(outcomes) == set(keys), "rows are lost, or there are more than were asked for"
    numbers = [row["no_order"] for row in outcomes.values() if row["no_order"]]
    assert len(set(numbers)) == len(numbers), "two rows share a number"
    assert ledger.paid_twice() == (), ledger.paid_twice()
    events = histories(ledger)
    wrong = {
        key: why for key, row in outcomes.items()
        if (why := disagreement(row["state"], events.get(row["no_order"], ()))) is not None
    }  # fmt: skip
    assert wrong == {}, f"{len(wrong)} rows are told wrongly, such as {list(wrong.items())[:3]}"
