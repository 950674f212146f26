"""Payouts a second through the SQLite journal, with `synchronous=FULL`: what group commit saves, what a key costs.

One payout is one `add`, one guarded `save` of an attempt and one of an answer; 100 are under way at a time. The
same journal runs with up to 256 calls to a COMMIT, with one, and encrypted, in turns. Read the ratios: absolute
figures depend on the disk.

    python benchmarks/journal_bench.py [--seconds 15] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from attrs import frozen

from lianlian_async.crypto import JournalKeys
from lianlian_async.journal import Change, Record
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source, State, Step

UNDER_WAY = 100
ROUNDS = 3
MOMENT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
HASH = "0" * 64
CONTENT = {
    "acct_name": "张三",
    "api_version": "1.0",
    "card_no": "6222000000000000000",
    "dt_order": "20261123100000",
    "flag_card": "0",
    "info_order": "salary",
    "money_order": "25.78",
    "notify_url": "https://pay.example/notify",
    "oid_partner": "201700000000000001",
    "sign_type": "RSA",
}
NEWS = Evidence(
    Source.PAY, Outcome.ANSWERED, MOMENT, MOMENT, 1, ret_code="0000", ret_msg="交易成功", oid_paybill="2026112300000001"
)


@frozen
class Kind:
    """One way to run the journal."""

    name: str
    batch_max: int = 256
    keys: JournalKeys | None = None


GROUPED = Kind("up to 256 calls to a COMMIT")
ALONE = Kind("one call to a COMMIT", batch_max=1)
ENCRYPTED = Kind("up to 256, encrypted", keys=JournalKeys({"bench": bytes(32)}))
KINDS = (GROUPED, ALONE, ENCRYPTED)


@frozen
class Round:
    """What one stretch of work took."""

    payouts: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.payouts / self.wall_s

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.payouts * 1e6


async def payout(journal: SqliteJournal, number: int) -> None:
    no_order = f"bench{number:09}"
    record = Record(no_order, no_order, CONTENT["oid_partner"], {**CONTENT, "no_order": no_order}, HASH, MOMENT)
    await journal.add([record])
    attempt = Attempt(1, Source.PAY, MOMENT, MOMENT + timedelta(seconds=30), HASH, "bench")
    await journal.save(no_order, 0, Change(State.UNKNOWN, Step.QUERY, MOMENT, (attempt,)))
    await journal.save(no_order, 1, Change(State.IN_PROGRESS, Step.QUERY, MOMENT, evidence=(NEWS,)))


async def stretch(path: Path, kind: Kind, seconds: float) -> Round:
    journal = SqliteJournal(path, batch_max=kind.batch_max, keys=kind.keys)
    await journal.open()
    done = 0
    wall, cpu = time.perf_counter(), time.process_time()

    async def caller(lane: int) -> None:
        nonlocal done
        number = lane
        while time.perf_counter() - wall < seconds:
            await payout(journal, number)
            number += UNDER_WAY
            done += 1

    await asyncio.gather(*(caller(lane) for lane in range(UNDER_WAY)))
    result = Round(done, time.perf_counter() - wall, time.process_time() - cpu)
    await journal.close()
    return result


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long all rounds together last")
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to be measured")
    arguments = parser.parse_args()
    each = arguments.seconds / (len(KINDS) * ROUNDS)
    rounds: dict[str, list[Round]] = {kind.name: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        for turn in range(ROUNDS):
            for number, kind in enumerate(KINDS):
                rounds[kind.name].append(await stretch(Path(directory, f"turn{turn}-{number}.db"), kind, each))
    for name, results in rounds.items():
        per_s, cpu_us = median(r.per_s for r in results), median(r.cpu_us for r in results)
        print(f"{name:27}: {per_s:8.0f} payouts/s, {cpu_us:6.0f} µs CPU a payout")
    grouped, alone, encrypted = (rounds[kind.name] for kind in KINDS)
    ratio = median(g.per_s / s.per_s for g, s in zip(grouped, alone, strict=True))
    print(f"group commit is {ratio:.1f} times as fast (median of {ROUNDS} rounds, {UNDER_WAY} under way)")
    share = median(e.per_s / g.per_s for e, g in zip(encrypted, grouped, strict=True))
    cpu = median(e.cpu_us / g.cpu_us for e, g in zip(encrypted, grouped, strict=True))
    print(f"encrypted it is {share:.2f} times as fast as in the open, at {cpu:.2f} times the CPU a payout")


if __name__ == "__main__":
    asyncio.run(main())
