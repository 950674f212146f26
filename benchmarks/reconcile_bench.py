"""A month's statement against a journal of as many payouts: seconds and peak memory, from 50,000 rows to 5,000,000.

Each size is made once: a journal file of paid payouts (as `SqliteJournal` lays them out, each with an answer and a
query as evidence), and the month's statement that lists them in the order of time, with a handful of planted
differences. Then a process of its own reconciles, through the client, as `lianlian-async reconcile` does. Peak memory
is that process's largest resident set. Making five million payouts takes ten minutes and 12 GB of disk.

    python benchmarks/reconcile_bench.py [--rows 50000,500000,5000000] [--directory DIR] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from base64 import b32encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lianlian_async import KeyRing, LianLianClient, Merchant
from lianlian_async.journal.rows import Stored, payee_of, sealed
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.reconcile import reconcile
from lianlian_async.reconcile.statement import COLUMNS
from lianlian_async.testing.keys import make_keys

PARTNER = "201606020000150062"
MONTH, DAYS = "202610", 31
START_US = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 10**6
PLANTED = 5
CHUNK = 20_000
PAYOUT_COLUMNS = (
    "id, no_order, oid_partner, key, generation, content, content_hash, created_us, money_order, payee, version, "
    "state, step, due_us, chain, seal, sealed_by, replaces, oid_paybill, settle_date, last_us"
)


def number_of(n: int) -> str:
    """As `numbers.derive` makes them: in no order."""
    return b32encode(hashlib.sha256(str(n).encode()).digest())[:32].decode()


def amounts(rows: int) -> Iterator[int]:
    dice = random.Random(7)
    return (dice.randrange(100, 3_000_000) for _ in range(rows))


def day_of(n: int, rows: int) -> str:
    return f"{MONTH}{1 + n * DAYS // rows:02d}"


def bill_of(n: int, day: str) -> str:
    return f"{day}{n:08d}"


def write_statement(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        lines: list[str] = []
        for n, fen in enumerate(amounts(rows)):
            day = day_of(n, rows)
            at = f"{day} {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}"
            # Planted: the first rows list one fen more.
            amount = f"{(fen + (n < PLANTED)) / 100:.2f}".rstrip("0").rstrip(".")
            lines.append(
                f"{number_of(n)},{PARTNER},{at},202000,{bill_of(n, day)},{day},{amount},1,0,{at},.6,"
                "实时付款渠道,余额支付,付款,中国农业银行,,\n"
            )
            if len(lines) == CHUNK:
                file.write("".join(lines))
                lines.clear()
        file.write("".join(lines))


def payout_rows(n: int, fen: int, rows: int) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
    """A paid payout and its two pieces of evidence, as the journal's tables hold them."""
    day, number = day_of(n, rows), number_of(n)
    bill, money, at = bill_of(n, day), f"{fen // 100}.{fen % 100:02d}", START_US + n * 1000
    content = {
            "acct_name": "张三", "api_version": "1.0", "card_no": f"6228480{n:012d}", "dt_order": f"{day}120000",
            "flag_card": "0", "info_order": "salary", "money_order": money, "no_order": number, "oid_partner": PARTNER,
            "notify_url": "https://pay.example/notify", "sign_type": "RSA",
        }  # fmt: skip
    said = {"ret_code": "0000", "ret_msg": "交易成功", "oid_paybill": bill}
    paid = {**said, "result_pay": "SUCCESS", "settle_date": day}
    evidence = [
        (2, 0, "pay", "answered", at + 1, at, 1, json.dumps(said)),
        (3, 0, "query", "answered", at + 3, at + 2, None, json.dumps(paid)),
    ]
    intent = (number, PARTNER, None, 0, json.dumps(content), "0" * 64, at)
    chain = sealed(Stored(intent, (3, "PAID", "NOTHING", None), (None,) * 4, (), (), evidence))
    payee = payee_of(PARTNER, content)
    return (n + 1, *intent, money, payee, 3, "PAID", "NOTHING", None, chain, None, 0, None, bill, day, at), evidence


async def write_journal(path: Path, rows: int) -> None:
    """The schema by the journal itself, the rows in bulk: by `save` it would take an hour."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -500000")
    assert db.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    db.execute("PRAGMA journal_mode = OFF")
    # Triggers and indexes come back at the end, the indexes in order: row by row they would take an hour.
    kept = db.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql NOT NULL"
    ).fetchall()
    for kind, name, _ in kept:
        db.execute(f"DROP {kind} {name}")
    db.execute("BEGIN")
    payouts: list[tuple[Any, ...]] = []
    evidence: list[tuple[Any, ...]] = []
    for n, fen in enumerate(amounts(rows)):
        payout, pieces = payout_rows(n, fen, rows)
        payouts.append(payout)
        evidence += [(n + 1, *piece) for piece in pieces]
        if len(payouts) == CHUNK or n == rows - 1:
            db.executemany(f"INSERT INTO payouts ({PAYOUT_COLUMNS}) VALUES ({', '.join('?' * 21)})", payouts)
            db.executemany(f"INSERT INTO evidence VALUES ({', '.join('?' * 9)})", evidence)
            payouts.clear()
            evidence.clear()
    for *_, sql in kept:
        db.execute(sql)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


class Nobody:
    """No network is needed."""

    async def post(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a reconciliation asks nobody")

    def renew(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def run_once(folder: Path, rows: int) -> dict[str, Any]:
    """One reconciliation in this process."""
    keys = KeyRing.load(
        merchant_private_key=folder / "merchant-private.pem", gateway_public_key=folder / "gateway-public.pem"
    )
    merchant = Merchant(oid_partner=PARTNER, keys=keys, base_url="http://127.0.0.1:9/paymentapi/")
    journal, statement = folder / f"{rows}.db", folder / f"FKMX_{PARTNER}_{MONTH}.txt"
    async with LianLianClient(merchant, f"sqlite:///{journal}", transport=(Nobody(), Nobody())) as client:
        began, worked = time.perf_counter(), time.process_time()
        result = await reconcile(client, [statement], scratch=folder)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - worked
    # A second run must find the same again.
    assert result.total.count == rows, result.total
    assert len(result.differences) == PLANTED, len(result.differences)
    return {"rows": rows, "seconds": round(seconds, 1), "cpu_s": round(cpu_s, 1), "peak_mib": peak_mib()}


def peak_mib() -> int:
    """The largest resident set of this process; Linux' `ru_maxrss` would count the parent's, too."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def sizes(text: str) -> list[int]:
    """Numbers of rows, with commas between."""
    told = text.split(",")
    if not all(one.isascii() and one.isdecimal() and int(one) > 0 for one in told):
        raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers above zero, with commas between")
    return [int(one) for one in told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=sizes, default="50000,500000,5000000", help="with commas between [%(default)s]")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(asyncio.run(run_once(arguments.directory, arguments.once))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        folder, found = Path(name), []
        for side in ("merchant", "gateway"):
            make_keys(folder, side)
        for rows in arguments.rows:
            write_statement(folder / f"FKMX_{PARTNER}_{MONTH}.txt", rows)
            asyncio.run(write_journal(folder / f"{rows}.db", rows))
            command = [sys.executable, __file__, "--once", str(rows), "--directory", name]
            found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
            (folder / f"{rows}.db").unlink()
            if not arguments.json:
                one = found[-1]
                print(
                    f"{rows:>9,} rows: {one['seconds']:>6.1f} s ({one['cpu_s']:.1f} s of processor), "
                    f"{one['peak_mib']:>5} MiB, {one['seconds'] / rows * 10**6:.1f} microseconds a row"
                )
        if arguments.json:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
