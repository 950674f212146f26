"""A server of raw sockets that does to a request whatever a network can do, and knows what it received."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Tue, 03 Nov 2026 08:00:00 GMT\r\n\r\n{}"


class Gone(Exception):
    """The client closed the connection."""


class Peer:
    """One accepted connection, plain: nothing is read from it unless a script asks."""

    def __init__(self, server: WireServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.received = bytearray()
        self._rest = b""
        self._loop = asyncio.get_running_loop()

    async def recv(self) -> bytes:
        try:
            data = await self._loop.sock_recv(self.sock, 65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.received += data
        return data

    async def read_until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._rest += await self.recv()
        head, _, self._rest = self._rest.partition(mark)
        return head + mark

    async def read_request(self) -> bytes:
        head = await self.read_until(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(self._rest) < length:
            self._rest += await self.recv()
        body, self._rest = self._rest[:length], self._rest[length:]
        self.server.requests.append(head + body)
        self.server.got_request.set()
        return head + body

    async def arrives(self) -> None:
        """Wait until bytes lie in the kernel, without reading them."""
        ready = self._loop.create_future()
        self._loop.add_reader(self.sock, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_reader(self.sock)

    async def send(self, data: bytes) -> None:
        try:
            await self._loop.sock_sendall(self.sock, data)
        except OSError as error:
            raise Gone from error

    async def closed_by_client(self) -> None:
        try:
            while True:
                await self.recv()
        except Gone:
            return

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Send RST instead of FIN."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class TlsPeer(Peer):
    """One accepted connection after its TLS handshake."""

    def __init__(self, server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(server, writer.get_extra_info("socket"))
        self._reader = reader
        self._writer = writer

    async def recv(self) -> bytes:
        try:
            data = await self._reader.read(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.received += data
        return data

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


async def serve(peer: Peer) -> None:
    """A server in order: an answer for every request (while `answering` is set), connections kept."""
    while True:
        await peer.read_request()
        await peer.server.answering.wait()
        await peer.send(OK)


class WireServer:
    """Plays one script a connection; when the scripts have run out, `serve`."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.scripts = deque(scripts)
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.got_request = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()
        self._context = context
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls_server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://{self._host}:{self.port}/paymentapi/payment.htm"

    @property
    def bytes_received(self) -> int:
        return sum(len(peer.received) for peer in self.peers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for requests until `condition` holds."""
        while not condition():
            self.got_request.clear()
            await self.got_request.wait()

    async def __aenter__(self) -> WireServer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        if self._context is None:
            self._start(self._accept())
        else:
            self._tls_server = await asyncio.start_server(self._accepted_tls, sock=self._listener, ssl=self._context)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.reset()
        if self._tls_server is not None:
            self._tls_server.close()
        if self._listener is not None:
            self._listener.close()
        await asyncio.sleep(0)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setblocking(False)
            self._serve(Peer(self, sock))

    def _accepted_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serve(TlsPeer(self, reader, writer))

    def _serve(self, peer: Peer) -> None:
        self.peers.append(peer)
        self._start(self._play(self.scripts.popleft() if self.scripts else serve, peer))

    async def _play(self, script: Script, peer: Peer) -> None:
        try:
            await script(peer)
        except Gone:
            peer.close()

    def _start(self, coro: Any) -> None:
        task = asyncio.ensure_future(coro)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]
