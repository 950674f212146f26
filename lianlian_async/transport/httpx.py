"""The transport on httpx2, with bounded pools of its own or over a caller's AsyncClient.

Own pools: httpx2's transport layer is used below its client, so redirects, cookies, proxies, netrc,
authentication and decoding are not switched off but absent. The pool scans all its connections for every
request, so there are several small pools (shards), and a semaphore in front keeps every shard within its
bounds: httpx2's own queue stays empty, whatever is in flight.

A caller's client: headers, cookies, redirects and authentication are ours for each request, and a second
sending of one request is refused at the wire. What cannot be seen or overruled are its trust store,
`trust_env` (httpx turns it on by default: proxies from the environment), HTTP/2, hooks and limits: build
the client with `trust_env=False`. When its transport is not httpx's own, nothing it reports counts as
proof (httpx-aiohttp reports ConnectTimeout after the server read the whole POST), so every fault then
means "may have been sent".
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, ClassVar

import httpx2
from attrs import define

from ..errors import ConfigError
from . import (
    ANSWER_BYTES_MAX,
    FaultKind,
    Row,
    WireAnswer,
    WireFault,
    encoded,
    request_headers,
    shown_date,
)
from .base import ExchangeTransport, Watermark
from .trust import check_context, default_context

__all__ = ["TABLE", "HttpxTransport"]

# What each exception means. ConnectError, ConnectTimeout and PoolTimeout are raised before the request is
# written; everything else, and everything not listed, may come after it.
TABLE = (
    Row("ConnectError", FaultKind.CERTIFICATE, unsent=True, because="SSLCertVerificationError"),
    Row("ConnectError", FaultKind.TLS, unsent=True, because="SSLError"),
    Row("ConnectError", FaultKind.TLS, unsent=True, because="EndOfStream"),
    Row("ConnectError", FaultKind.TLS, unsent=True, because="BrokenResourceError"),
    Row("ConnectError", FaultKind.DNS, unsent=True, because="gaierror"),
    Row("ConnectError", FaultKind.CONNECT, unsent=True),
    Row("ConnectTimeout", FaultKind.CONNECT, unsent=True),
    Row("PoolTimeout", FaultKind.POOL, unsent=True),
    Row("ProxyError", FaultKind.CONNECT, unsent=True),
    Row("WriteTimeout", FaultKind.WRITE, unsent=False),
    Row("WriteError", FaultKind.WRITE, unsent=False),
    Row("ReadTimeout", FaultKind.READ, unsent=False),
    Row("ReadError", FaultKind.READ, unsent=False),
    Row("CloseError", FaultKind.READ, unsent=False),
    Row("RemoteProtocolError", FaultKind.PROTOCOL, unsent=False, because="h11.RemoteProtocolError"),
    Row("RemoteProtocolError", FaultKind.DISCONNECT, unsent=False),
    Row("LocalProtocolError", FaultKind.PROTOCOL, unsent=False),
    Row("DecodingError", FaultKind.DECODE, unsent=False),
)

# A shard of 16 connections costs the scan nothing; more shards than this would only split the idle ones.
SHARD_CONNECTIONS = 16
SHARDS_MIN = 4
# The semaphore leaves every shard room, so waiting inside one means that a slot of it is stuck.
POOL_WAIT_S = 2.0
POOL_WAITS_MAX = 3

_OWN_TRANSPORTS = frozenset({"httpx2.AsyncHTTPTransport", "httpx.AsyncHTTPTransport"})


_our_exchange: ContextVar[bool] = ContextVar("lianlian_async_exchange", default=False)


class _EventNamesOnly(logging.Filter):
    """httpcore's debug records quote headers and what could not be parsed; of ours only the event's name stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _our_exchange.get():
            record.msg, record.args = str(record.msg).partition(" ")[0], None
        return True


for _library in ("httpcore", "httpcore2"):
    for _part in ("connection", "http11", "http2", "proxy", "socks"):
        # A filter sees only its own logger's records, not those of the loggers below it.
        logging.getLogger(f"{_library}.{_part}").addFilter(_EventNamesOnly())


class _Trace:
    """Hears of httpcore's steps, each before it is taken; crosses the watermark at the request's first byte."""

    def __init__(self, watermark: Watermark) -> None:
        self._watermark = watermark
        self.idle_stream: Any = None  # connected, and not yet carrying a request

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.idle_stream = info.get("return_value")
        elif event.endswith(".send_request_headers.started"):
            self.idle_stream = None
            request = info.get("request")
            # A proxy's CONNECT passes here too; it carries nothing of ours.
            if getattr(request, "method", b"POST") != b"CONNECT":
                self._watermark.cross()


@define(eq=False)
class _Shard:
    """One small pool; retired, it finishes what it carries and closes."""

    pool: httpx2.AsyncHTTPTransport
    busy: int = 0
    waits_failed: int = 0
    retired: bool = False


class HttpxTransport(ExchangeTransport):
    """HTTP/1.1 by httpx2; `connections_max` bounds what is in flight, the rest waits in front.

    `keepalive_s`: how long an idle connection may be used again, well under the server's own limit (0: a
    fresh connection for every request). `context`: from `trust.gateway_context`. `client`: a caller's own
    AsyncClient, which stays the caller's to close. Raises ConfigError for settings money must not go through.
    """

    table: ClassVar[tuple[Row, ...]] = TABLE
    libraries: ClassVar[frozenset[str]] = frozenset({"httpx", "httpx2"})

    def __init__(
        self,
        *,
        client: Any = None,
        connections_max: int = 100,
        keepalive_s: float = 5.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if client is not None and context is not None:
            raise ConfigError("a caller's client brings its own TLS context; give it to the client")
        super().__init__(
            connections_max=connections_max,
            watermark_proves=client is None or _reports_truly(client),
        )
        self._client = client
        self._context = None if client is not None else check_context(context or default_context())
        self._keepalive_s = keepalive_s
        self._shards: list[_Shard] = []
        self._shard_connections = SHARD_CONNECTIONS
        self._headers = list(request_headers(fresh=client is None and keepalive_s <= 0))
        self._request_class: Any = httpx2.Request
        if client is None:
            wanted = max(SHARDS_MIN, -(-connections_max // SHARD_CONNECTIONS))
            self._shard_connections = -(-connections_max // wanted)
            self._shards = [self._new_shard() for _ in range(-(-connections_max // self._shard_connections))]
        else:
            _check_client(client)
            self._request_class = type(client.build_request("POST", "https://localhost/"))

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context of every connection; None over a caller's client, which has its own."""
        return self._context

    def renew(self) -> None:
        """Let no connection opened so far carry another request; over a caller's client this cannot be done."""
        for shard in list(self._shards):
            self._retire(shard)

    async def _exchange(self, url: str, body: bytes, watermark: Watermark) -> WireAnswer | WireFault:
        _our_exchange.set(True)
        trace = _Trace(watermark)
        pool_s = None if self._client is not None else POOL_WAIT_S
        request = self._request_class(
            "POST",
            url,
            headers=self._headers,
            content=body,
            extensions={"trace": trace, "timeout": {"connect": None, "read": None, "write": None, "pool": pool_s}},
        )
        try:
            if self._client is None:
                return await self._exchange_on_shard(request)
            return await self._read(await self._client.send(request, stream=True, auth=None, follow_redirects=False))
        except asyncio.CancelledError:
            if trace.idle_stream is not None:
                # Cut within the TLS handshake: httpcore would leave this stream open.
                await trace.idle_stream.aclose()
            raise

    async def _exchange_on_shard(self, request: Any) -> WireAnswer | WireFault:
        shard = min(self._shards, key=_busy)
        shard.busy += 1
        try:
            response = await shard.pool.handle_async_request(request)
            shard.waits_failed = 0
            return await self._read(response)
        except httpx2.PoolTimeout:
            shard.waits_failed += 1
            if shard.waits_failed >= POOL_WAITS_MAX:
                self._retire(shard)
            raise
        finally:
            shard.busy -= 1
            if shard.retired and not shard.busy:
                self._later(shard.pool.aclose())

    async def _read(self, response: Any) -> WireAnswer | WireFault:
        """The answer within its bounds; whatever is refused is dropped together with its connection."""
        try:
            if encoded(response.headers.get("content-encoding")):
                return WireFault(FaultKind.DECODE, sent=True, detail="the answer is encoded; identity was asked for")
            body = bytearray()
            async for chunk in response.stream:
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    return WireFault(FaultKind.OVERSIZE, sent=True, detail=f"more than {ANSWER_BYTES_MAX} bytes")
            if _left_over(response, unknown=self._client is None):
                await response.extensions["network_stream"].aclose()
            return WireAnswer(response.status_code, bytes(body), shown_date(response.headers.get("date")))
        finally:
            await response.aclose()

    def _new_shard(self) -> _Shard:
        size = self._shard_connections
        return _Shard(
            httpx2.AsyncHTTPTransport(
                verify=self._context if self._context is not None else default_context(),
                trust_env=False,
                http1=True,
                http2=False,
                retries=0,
                limits=httpx2.Limits(
                    max_connections=size,
                    max_keepalive_connections=size if self._keepalive_s > 0 else 0,
                    keepalive_expiry=self._keepalive_s,
                ),
            )
        )

    def _retire(self, shard: _Shard) -> None:
        """Put a fresh pool in the place of `shard`, which closes when its last exchange is over."""
        if shard.retired:
            return
        shard.retired = True
        self._shards[self._shards.index(shard)] = self._new_shard()
        if not shard.busy:
            self._later(shard.pool.aclose())

    async def _close(self) -> None:
        for shard in self._shards:
            await shard.pool.aclose()


def _busy(shard: _Shard) -> int:
    return shard.busy


def _left_over(response: Any, *, unknown: bool) -> bool:
    """True when the connection holds bytes beyond this answer.

    h11 keeps such bytes and would hand them out as the answer to the *next* request. There is no public
    way to ask; where the way in is another one, the answer is `unknown`.
    """
    stream = response.stream
    try:
        stream = getattr(stream, "_stream", stream)  # a client wraps it once more
        rest, _ = stream._httpcore_stream._stream._connection._h11_state.trailing_data
    except AttributeError:
        return unknown
    return bool(rest)


def _pools_of(client: Any) -> list[Any]:
    mounts = getattr(client, "_mounts", None) or {}
    return [getattr(client, "_transport", None), *(pool for pool in mounts.values() if pool is not None)]


def _reports_truly(client: Any) -> bool:
    """True when every transport of this client is httpx's own: only those are known to report what they do."""
    return all(f"{type(pool).__module__}.{type(pool).__qualname__}" in _OWN_TRANSPORTS for pool in _pools_of(client))


def _check_client(client: Any) -> None:
    """Refuse a client whose TLS checks are visibly off, or one that is not asynchronous."""
    if not inspect.iscoroutinefunction(getattr(client, "send", None)):
        raise ConfigError("an asynchronous client is needed: httpx2.AsyncClient or httpx.AsyncClient")
    for pool in _pools_of(client):
        context = getattr(getattr(pool, "_pool", None), "_ssl_context", None)
        if isinstance(context, ssl.SSLContext):
            check_context(context)
