"""The library's own figures, as ratios measured in one run: `python benchmarks/run.py`.

Machines are shared and noisy, so what counts is how two ways of doing the same thing compare within one run:
rounds of both are interleaved, and the median is shown. Everything stays on this machine, and ends by itself
in about a minute.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen

from lianlian_async import KeyRing, LianLianClient, Limits, Merchant, Order
from lianlian_async.codec import encode_sealed, open_message
from lianlian_async.crypto.signing import sign_members
from lianlian_async.protocol.messages import freeze
from lianlian_async.resolver import Attempt, Evidence, Outcome, Source, decide, view_of
from lianlian_async.testing.keys import make_keys
from lianlian_async.transport.aiohttp import AiohttpTransport

PARTNER = "201606020000150062"
ROUNDS = 7
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def cpu_us(work: Callable[[], object], times: int) -> float:
    """CPU microseconds of one call, over `times` calls."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1e6


def compare(title: str, fast: Callable[[], object], slow: Callable[[], object], *, times: int = 40) -> None:
    """Print both figures and their ratio; rounds are interleaved."""
    pairs = [(cpu_us(fast, times), cpu_us(slow, max(times // 20, 1))) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{title:44} {ours:10.0f} us {theirs:12.0f} us {theirs / ours:8.0f} x")


def crypto(folder: Path) -> None:
    """Sign, seal and verify with keys that are loaded once, against keys loaded for every call."""
    print(f"{'crypto, CPU a call (2048 bit)':44} {'loaded once':>13} {'each call':>15} {'ratio':>10}")
    private, gateway = folder / "merchant-private.pem", folder / "gateway-public.pem"

    def load() -> KeyRing:
        return KeyRing.load(merchant_private_key=private, gateway_public_key=gateway)

    ring = load()
    order = Order(money_order="25.78", card_no="6228480223123114741", acct_name="李三", info_order="工资")
    content = freeze(
        order, oid_partner=PARTNER, no_order="N1", dt_order="20261123120000", notify_url="https://a.example.com/n"
    )
    mirror = KeyRing.load(merchant_private_key=folder / "gateway-private.pem", gateway_public_key=gateway_twin(folder))
    answer = sign_members(
        {"oid_partner": PARTNER, "ret_code": "0000", "ret_msg": "交易成功", "sign_type": "RSA"}, mirror
    )
    body = json.dumps(answer, ensure_ascii=False).encode()
    compare("sign", lambda: sign_members(content, ring), lambda: sign_members(content, load()))
    compare("sign and seal a pay request", lambda: encode_sealed(content, ring), lambda: encode_sealed(content, load()))
    compare("read and verify an answer", lambda: open_message(body, ring), lambda: open_message(body, load()))


def gateway_twin(folder: Path) -> Path:
    """The merchant's public key: what the gateway's side of a key ring holds."""
    return folder / "merchant-public.pem"


def resolver() -> None:
    """Steps of the decision core a second: a payout that was lost, asked about, sent again and paid."""
    at = [NOW + timedelta(seconds=s) for s in (0, 30, 60, 200, 340, 341, 345)]
    attempts = (
        Attempt(1, Source.PAY, at[0], at[1], "h", "o"),
        Attempt(2, Source.PAY, at[5], at[5] + timedelta(seconds=30), "h", "o"),
    )
    evidence = (
        Evidence(Source.PAY, Outcome.NO_ANSWER, at=at[1], asked_at=at[0], attempt=1),
        *(Evidence(Source.QUERY, Outcome.ANSWERED, at=a, asked_at=a, ret_code="8901") for a in at[2:5]),
        Evidence(Source.PAY, Outcome.ANSWERED, at=at[6], asked_at=at[5], attempt=2, ret_code="0000", oid_paybill="B1"),
    )
    us = statistics.median(cpu_us(lambda: decide(view_of(attempts, evidence), NOW, at[6]), 500) for _ in range(ROUNDS))
    print(f"\nresolver: {us:.0f} us a step of 5 pieces of evidence, {1e6 / us:,.0f} steps a second on one core")


@contextmanager
def gateway(folder: Path) -> Iterator[str]:
    """The simulator in a process of its own, calm, at the machine's pace."""
    command = [
        sys.executable, "-m", "lianlian_async", "simulate", "--port", "0", "--json", "--oid-partner", PARTNER,
        "--merchant-public-key", str(folder / "merchant-public.pem"),
        "--gateway-private-key", str(folder / "gateway-private.pem"),
    ]  # fmt: skip
    with Popen(command, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


async def accepted(merchant: Merchant, journal: str, transport: object, tag: str, count: int, limits: Limits) -> float:
    """Payouts a second, each from intent to the gateway's written-down acceptance."""
    async with LianLianClient(merchant, journal, transport=transport, limits=limits) as client:
        orders = [
            (
                Order(money_order=f"{n // 100 + 1}.{n % 100:02d}", card_no=f"622848{n:09d}1", acct_name="李三"),
                f"{tag}/{n}",
            )
            for n in range(count)
        ]
        start = time.perf_counter()
        await asyncio.gather(*(client.pay(order, key=key, wait_s=0.0) for order, key in orders))
        while (await client.journal.tally()).keys() & {"UNSENT", "UNKNOWN"}:
            await asyncio.sleep(0.01)
        return count / (time.perf_counter() - start)


async def payouts(folder: Path, base_url: str) -> None:
    """The whole library, end to end, against the gateway in a second process."""
    keys = KeyRing.load(
        merchant_private_key=folder / "merchant-private.pem", gateway_public_key=folder / "gateway-public.pem"
    )
    merchant = Merchant(oid_partner=PARTNER, keys=keys, base_url=base_url, notify_url="https://a.example.com/n")
    ways: dict[str, tuple[Callable[[], object], str]] = {
        "aiohttp, SQLite": (
            lambda: (AiohttpTransport(connections_max=64), AiohttpTransport(connections_max=32)),
            "sqlite",
        ),
        "aiohttp, memory": (
            lambda: (AiohttpTransport(connections_max=64), AiohttpTransport(connections_max=32)),
            "memory",
        ),
        "httpx2, SQLite": (lambda: None, "sqlite"),
        "httpx2, memory": (lambda: None, "memory"),
    }
    results: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(3):
        for name, (transport, kind) in ways.items():
            journal = "memory:" if kind == "memory" else f"sqlite:///{folder / f'{turn}-{name[:5]}.db'}"
            rate = await accepted(merchant, journal, transport(), f"{turn}/{name}", 600, Limits())
            results[name].append(rate)
    print(f"\n{'payouts a second, 600 at once, 64 in flight':44} {'rate':>10} {'ratio':>10}")
    best = statistics.median(results["aiohttp, SQLite"])
    for name, rates in results.items():
        rate = statistics.median(rates)
        print(f"{name:44} {rate:10.0f} {rate / best:9.2f} x")


def main() -> None:
    """Run everything."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_keys(folder, "merchant")
        make_keys(folder, "gateway")
        crypto(folder)
        resolver()
        with gateway(folder) as base_url:
            asyncio.run(payouts(folder, base_url))


if __name__ == "__main__":
    main()
