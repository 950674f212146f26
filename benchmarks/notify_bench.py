"""A burst of notifications on one small machine: 2,000 forged and 200 genuine a second, over real sockets.

The server (a client with an SQLite journal behind one of the shells) is this process, the load generator a second one.
Every genuine notification is about another payout, is to be acknowledged, and is then looked up in the journal.
Latencies count from the moment at which a notification was *planned* to leave, so a stalled server cannot hide.

    python benchmarks/notify_bench.py [--seconds 30] [--shell aiohttp|asgi] [--forged 2000] [--genuine 200] [--json]

Ends with status 0 when every promise of notify_verdict.py is kept, 1 when one is broken, 2 when the machine was too
slow to judge; one line for each stands on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import random
import resource
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import frozen
from notify_verdict import judge, status

from lianlian_async import KeyRing, LianLianClient, Merchant, Order, State, Step
from lianlian_async.crypto.signing import sign_members
from lianlian_async.journal import Record
from lianlian_async.notifications import ACK, REFUSAL
from lianlian_async.notifications.aiohttp import notification_handler
from lianlian_async.notifications.asgi import notification_app
from lianlian_async.protocol.messages import content_hash, freeze
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source
from lianlian_async.testing.keys import make_keys

PARTNER = "201606020000150062"
TICK_S = 0.01
CONNECTIONS_MAX = 256
BILL = "2026112300000001"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run on uvloop where it is there, as a service would."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


# ---------------------------------------------------------------------- what is sent


@frozen
class Plan:
    """The load: ready-made requests, and how many of each leave in a second."""

    port: int
    seconds: float
    forged_per_s: int
    genuine_per_s: int
    forged: list[bytes]
    genuine: list[bytes]


def request(members: dict[str, Any]) -> bytes:
    body = json.dumps(members, ensure_ascii=False).encode()
    head = (
        "POST /n HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/json;charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def told(record: Record) -> dict[str, str]:
    content = record.content
    return {
        "oid_partner": PARTNER, "sign_type": "RSA", "no_order": record.no_order, "dt_order": content["dt_order"],
        "money_order": content["money_order"], "oid_paybill": BILL, "result_pay": "SUCCESS",
        "settle_date": "20261123", "info_order": content["info_order"],
    }  # fmt: skip


def forgeries(record: Record, pen: KeyRing, stranger: KeyRing) -> list[bytes]:
    """Four of five cost the most that a forgery can: everything is right but the signature."""
    genuine = sign_members(told(record), pen)
    costly = [sign_members({**told(record), "memo": str(n)}, stranger) for n in range(40)]
    cheap = [
        {**genuine, "money_order": "0.01"}, {**genuine, "sign_type": "MD5"}, {**genuine, "sign": ""},
        {**genuine, "oid_partner": "1"}, {**genuine, "deep": [[[[[[1]]]]]]}, {**genuine, "info_order": "a&b=c"},
    ]  # fmt: skip
    return [request(members) for members in (*costly, *cheap, *cheap[:4])]


# ---------------------------------------------------------------------- the generator's process


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request at a time, its answer, and back into the pool."""

    def __init__(self, pool: Generator) -> None:
        self._pool = pool
        self._heard = b""
        self._job: tuple[bool, float] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._pool.free(self)

    def send(self, data: bytes, *, genuine: bool, planned: float) -> None:
        self._job = genuine, planned
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard.endswith(b"}"):
            heard, self._heard = self._heard, b""
            assert self._job is not None
            (genuine, planned), self._job = self._job, None
            self._pool.answered(heard, genuine=genuine, planned=planned)
            self._pool.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._pool.gone(self, busy=self._job is not None)


class Generator:
    """Sends what is planned when it is planned, on whichever connection is free."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._free: list[Connection] = []
        self._waiting: deque[tuple[bytes, bool, float]] = deque()
        self.latencies: dict[bool, list[float]] = {True: [], False: []}
        self.wrong: Counter[str] = Counter()
        self.lost = 0
        self.late: list[float] = []

    def free(self, connection: Connection) -> None:
        if self._waiting:
            data, genuine, planned = self._waiting.popleft()
            connection.send(data, genuine=genuine, planned=planned)
        else:
            self._free.append(connection)

    def gone(self, connection: Connection, *, busy: bool) -> None:
        if busy:
            self.lost += 1
        else:
            self._free.remove(connection)

    def answered(self, heard: bytes, *, genuine: bool, planned: float) -> None:
        self.latencies[genuine].append(time.perf_counter() - planned)
        if not heard.endswith(ACK if genuine else REFUSAL):
            self.wrong["genuine" if genuine else "forged"] += 1

    def _post(self, data: bytes, *, genuine: bool, planned: float) -> None:
        if self._free:
            self._free.pop().send(data, genuine=genuine, planned=planned)
        else:
            self._waiting.append((data, genuine, planned))

    async def run(self) -> dict[str, Any]:
        plan, loop = self._plan, asyncio.get_running_loop()
        for _ in range(CONNECTIONS_MAX):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", plan.port)
        start, sent = time.perf_counter(), [0, 0]
        total = [int(plan.forged_per_s * plan.seconds), int(plan.genuine_per_s * plan.seconds)]
        while sent != total:
            now = time.perf_counter() - start
            for kind, rate, bodies in ((0, plan.forged_per_s, plan.forged), (1, plan.genuine_per_s, plan.genuine)):
                while sent[kind] < total[kind] and (planned := sent[kind] / rate) <= now:
                    self.late.append(now - planned)
                    self._post(bodies[sent[kind] % len(bodies)], genuine=bool(kind), planned=start + planned)
                    sent[kind] += 1
            await asyncio.sleep(TICK_S)
        took = time.perf_counter() - start
        patience = time.perf_counter() + 60
        while sum(map(len, self.latencies.values())) + self.lost < sum(total) and time.perf_counter() < patience:
            await asyncio.sleep(TICK_S)
        return self._report(took, total)

    def _report(self, took: float, total: list[int]) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "forged sent a second": round(total[0] / took),
            "genuine sent a second": round(total[1] / took),
            "forged": shares(self.latencies[False]),
            "genuine": shares(self.latencies[True]),
            "unanswered": sum(total) - sum(map(len, self.latencies.values())),
            "wrong answers": dict(self.wrong),
            "generator: cores": round((usage.ru_utime + usage.ru_stime) / took, 2),
            "generator: p99_late_ms": shares(self.late)["p99_ms"],
            "generator: latest_ms": shares(self.late)["max_ms"],
        }


def shares(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 1)

    return {"count": len(latencies), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": round(ordered[-1] * 1000, 1)}


# ---------------------------------------------------------------------- the server's process


def ring(folder: Path, name: str) -> KeyRing:
    """What `name` signs with, and what it checks the other side's words with."""
    other = "merchant" if name == "gateway" else "gateway"
    return KeyRing.load(
        merchant_private_key=folder / f"{name}-private.pem", gateway_public_key=folder / f"{other}-public.pem"
    )


def payout(number: int, now: datetime) -> Record:
    """A payout as the gateway's acceptance leaves it."""
    order = Order(money_order="25.78", card_no=f"62284802223{number:08d}", acct_name="李三", info_order="工资")
    content = freeze(
        order, oid_partner=PARTNER, no_order=f"burst{number:09d}", dt_order="20261123100000",
        notify_url="https://a.example.com/n",
    )  # fmt: skip
    digest = content_hash(content)
    attempt = Attempt(1, Source.PAY, now, now + timedelta(seconds=30), digest, "bench")
    accepted = Evidence(
        Source.PAY, Outcome.ANSWERED, at=now + timedelta(seconds=1), asked_at=now, attempt=1, ret_code="0000",
        oid_paybill=BILL,
    )  # fmt: skip
    return Record(
        content["no_order"], None, PARTNER, content, digest, now, state=State.IN_PROGRESS, step=Step.QUERY,
        due_at=now + timedelta(days=1), attempts=(attempt,), evidence=(accepted,),
    )  # fmt: skip


@asynccontextmanager
async def serving(shell: str, client: LianLianClient) -> AsyncIterator[int]:
    """The port of one shell around `client`."""
    if shell == "aiohttp":
        app = web.Application()
        app.router.add_post("/n", notification_handler(client))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield runner.addresses[0][1]
        await runner.cleanup()
        return
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # No connection ends for want of work: a request that meets its end would be lost, and says nothing about us.
    config = uvicorn.Config(
        notification_app(client), log_config=None, access_log=False, http="httptools", timeout_keep_alive=300
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(TICK_S)
    yield listening.getsockname()[1]
    server.should_exit = True
    await task


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def waited_s() -> float:
    """How long the event loop's thread has stood ready and got no core, because others had them all."""
    try:
        return int(Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


async def watch_memory(samples: list[float]) -> None:
    while True:
        samples.append(rss_mb())
        await asyncio.sleep(1)


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One burst: set-up, load from the second process, and what journal and memory say afterwards."""
    for name in ("merchant", "gateway", "stranger"):
        make_keys(folder, name, 2048)
    now = datetime.now(UTC) - timedelta(minutes=1)
    records = [payout(n, now) for n in range(int(options.genuine * options.seconds))]
    merchant = Merchant(oid_partner=PARTNER, keys=ring(folder, "merchant"), base_url="http://127.0.0.1:9/")
    async with LianLianClient(merchant, f"sqlite:///{folder / 'bench.db'}") as client:
        for at in range(0, len(records), 500):
            await client.journal.add(records[at : at + 500])
        pen = ring(folder, "gateway")
        genuine = [request(sign_members(told(record), pen)) for record in records]
        forged = forgeries(records[0], pen, ring(folder, "stranger"))
        random.Random(1).shuffle(forged)
        del records
        async with serving(options.shell, client) as port:
            plan = Plan(port, options.seconds, options.forged, options.genuine, forged, genuine)
            return await loaded(plan, folder, client)


async def loaded(plan: Plan, folder: Path, client: LianLianClient) -> dict[str, Any]:
    (folder / "plan").write_bytes(pickle.dumps(plan))
    count, memory = len(plan.genuine), list[float]()
    plan.genuine.clear()
    watching = asyncio.create_task(watch_memory(memory))
    before, ready_s = resource.getrusage(resource.RUSAGE_SELF), waited_s()
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--generate", str(folder / "plan"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    after, ready_s = resource.getrusage(resource.RUSAGE_SELF), waited_s() - ready_s
    watching.cancel()
    report: dict[str, Any] = json.loads(output)
    tally = (await client.journal.tally()).get(State.PAID)
    settled = memory[len(memory) // 3 :]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        **report,
        "planned": count,
        "committed": tally.count if tally else 0,
        "server: cores": round(cpu_s / plan.seconds, 2),
        "server: share of time without a core": round(ready_s / plan.seconds, 2),
        "server: memory_mb": round(settled[0], 1),
        "server: memory_drift_mb": round(max(settled) - settled[0], 1),
        "refused": {str(reason): times for reason, times in client.receiver.counts.refused.items()},
    }


def generate(path: Path) -> None:
    plan = pickle.loads(path.read_bytes())
    print(json.dumps(run(Generator(plan).run())))


def main() -> None:
    """Measure, print, judge, and end with the judgement's status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--forged", type=int, default=2000, help="a second")
    parser.add_argument("--genuine", type=int, default=200, help="a second")
    parser.add_argument("--shell", choices=["aiohttp", "asgi"], default="aiohttp")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        generate(options.generate)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = run(measure(options, Path(folder)))
    write: Callable[[dict[str, Any]], None] = show_json if options.json else show
    write(report)
    verdicts = judge(report, {"forged": options.forged, "genuine": options.genuine})
    print(*verdicts, sep="\n", file=sys.stderr)
    sys.exit(status(verdicts))


def show(report: dict[str, Any]) -> None:
    for name, value in report.items():
        print(f"{name:38} {value}")


def show_json(report: dict[str, Any]) -> None:
    print(json.dumps(report))


if __name__ == "__main__":
    main()
