"""CPU per POST of the two transports, and whether many requests in flight make either collapse.

A loopback server in a second process answers 1 kB of JSON; each process keeps to a core of its own where
there are two. Rounds are interleaved, medians are shown. The machine may be shared: read the ratios.

    python benchmarks/transport_bench.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from lianlian_async.transport import Transport, WireAnswer
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport

BODY = b'{"pay_load":"' + b"x" * 1000 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
# (requests in flight, requests in a round)
LOADS = ((1, 200), (10, 500), (100, 600), (500, 1000), (2000, 2000))
ROUNDS = 3
MAKERS: dict[str, Callable[[], Transport]] = {"httpx2": HttpxTransport, "aiohttp": AiohttpTransport}


class Answering(asyncio.Protocol):
    """Answers every complete request, without looking into it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        _, mark, body = self.seen.partition(b"\r\n\r\n")
        if mark and len(body) >= len(BODY):
            self.seen = b""
            self.transport.write(ANSWER)


def keep_to(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def serve(port: Connection) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port.send(listener.getsockname()[1])
        server = await asyncio.get_running_loop().create_server(Answering, sock=listener)
        await server.serve_forever()

    keep_to(1)
    asyncio.run(main())


async def round_of(transport: Transport, url: str, in_flight: int, requests: int) -> tuple[float, float]:
    """CPU and wall microseconds per POST; every answer is counted."""
    left = requests

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            answer = await transport.post(url, BODY, deadline_s=60)
            assert isinstance(answer, WireAnswer), answer
            assert answer.body == BODY

    await asyncio.gather(*(caller() for _ in range(min(in_flight, 50))))  # connections are made here
    left = requests
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return (time.process_time() - cpu) / requests * 1e6, (time.perf_counter() - wall) / requests * 1e6


async def measure(url: str) -> None:
    print(f"{'in flight':>9} | {'httpx2 µs CPU · req/s':>24} | {'aiohttp µs CPU · req/s':>24} | CPU ratio")
    for in_flight, requests in LOADS:
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in MAKERS}
        for _ in range(ROUNDS):
            for name, make in MAKERS.items():
                transport = make()
                results[name].append(await round_of(transport, url, in_flight, requests))
                await transport.aclose()
        medians = {
            name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()
        }
        cells = [f"{cpu:>10,.0f} · {1e6 / wall:>8,.0f}/s" for cpu, wall in medians.values()]
        ratio = medians["httpx2"][0] / medians["aiohttp"][0]
        print(f"{in_flight:>9,} | {cells[0]:>24} | {cells[1]:>24} | {ratio:.1f}")


def main() -> None:
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    keep_to(0)
    try:
        asyncio.run(measure(f"http://127.0.0.1:{mine.recv()}/paymentapi/payment.htm"))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
