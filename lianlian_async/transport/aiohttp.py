"""The transport on aiohttp (extra `aiohttp`), with a connector of its own or that of a caller's ClientSession.

A caller's session lends its connector only: its cookies, headers, middlewares, redirect and retry
settings never touch a payment. On top of the connector sits a session of ours, lean and strict.

The watermark is the request object itself: aiohttp hands every connection it has obtained to
`ClientRequest.send`, which writes the first byte. Ours marks that instant. (Trace signals would do as
well, at a price per request; `on_request_headers_sent` would not: it tells too little too late.)
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from attrs import define

from ..errors import ConfigError
from . import ANSWER_BYTES_MAX, FaultKind, Row, WireAnswer, WireFault, encoded, request_headers, shown_date
from .base import ExchangeTransport, SendRefused, Watermark
from .trust import check_context, default_context

try:
    import aiohttp
except ImportError as missing:
    raise ConfigError("this needs the package aiohttp: pip install 'lianlian-async[aiohttp]'") from missing

__all__ = ["TABLE", "AiohttpTransport"]

# What each exception means. The connector's errors are raised before a connection is handed out;
# everything else, and everything not listed, may come after the request was written. aiohttp's plain
# TimeoutError is not here on purpose: it proves nothing.
TABLE = (
    Row("ClientConnectorCertificateError", FaultKind.CERTIFICATE, unsent=True),
    Row("ClientConnectorSSLError", FaultKind.TLS, unsent=True),
    Row("ServerFingerprintMismatch", FaultKind.CERTIFICATE, unsent=True),
    Row("ClientConnectorDNSError", FaultKind.DNS, unsent=True),
    Row("ClientConnectorError", FaultKind.DNS, unsent=True, because="gaierror"),
    Row("ClientConnectorError", FaultKind.TLS, unsent=True, because="ConnectionResetError"),
    Row("ClientConnectorError", FaultKind.CONNECT, unsent=True),
    Row("ConnectionTimeoutError", FaultKind.CONNECT, unsent=True),
    Row("ServerDisconnectedError", FaultKind.DISCONNECT, unsent=False),
    Row("ClientConnectionResetError", FaultKind.WRITE, unsent=False),
    Row("SocketTimeoutError", FaultKind.READ, unsent=False),
    Row("ClientOSError", FaultKind.READ, unsent=False),
    Row("ClientPayloadError", FaultKind.PROTOCOL, unsent=False),
    Row("ClientResponseError", FaultKind.PROTOCOL, unsent=False),
    Row("ClientConnectionError", FaultKind.READ, unsent=False),
)


class _UnfitConnection(Exception):
    """An idle connection got bytes nobody asked for: they would be taken for the next answer."""


@define(eq=False)
class _Passage:
    """One request on its way, and the connection it went over."""

    watermark: Watermark
    protocol: Any = None

    def drop_connection(self) -> None:
        """Close the connection, unless aiohttp, which gives it back as soon as a body is in, lent it out again."""
        if self.protocol is not None and _last_passage.get(self.protocol) is self:
            self.protocol.close()


_passage: ContextVar[_Passage] = ContextVar("lianlian_async_passage")
_last_passage: WeakKeyDictionary[Any, _Passage] = WeakKeyDictionary()


class _Request(aiohttp.ClientRequest):
    """A request that crosses the watermark just before its first byte."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        protocol = conn.protocol
        if protocol is None or protocol.should_close:
            raise _UnfitConnection
        passage = _passage.get()
        passage.watermark.cross()
        passage.protocol = protocol
        _last_passage[protocol] = passage
        return await super().send(conn)


@define(eq=False)
class _Line:
    """One session and how many exchanges it carries; retired, it closes after the last of them."""

    session: aiohttp.ClientSession
    busy: int = 0
    retired: bool = False


class AiohttpTransport(ExchangeTransport):
    """HTTP/1.1 by aiohttp; `connections_max` bounds what is in flight, the rest waits in front.

    `session`: a caller's own ClientSession; its connector is used and stays the caller's to close.
    `keepalive_s`: how long an idle connection may be used again (0: a fresh one for every request; a
    caller's connector keeps its own setting). `context`: from `trust.gateway_context`, used in either case.
    Raises ConfigError for settings money must not go through.
    """

    table: ClassVar[tuple[Row, ...]] = TABLE
    libraries: ClassVar[frozenset[str]] = frozenset({"aiohttp"})

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connections_max: int = 100,
        keepalive_s: float = 5.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        connector = None if session is None else session.connector
        if session is not None and connector is None:
            raise ConfigError("the aiohttp session handed in is closed")
        super().__init__(
            connections_max=connections_max,
            # A connector that gets connections in its own way may also write in its own way.
            watermark_proves=connector is None or type(connector).connect is aiohttp.BaseConnector.connect,
        )
        self._connector = connector
        self._context = check_context(context or default_context())
        self._keepalive_s = keepalive_s
        self._connections_max = connections_max
        self._line: _Line | None = None  # aiohttp wants a running loop to build a session

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context of every connection."""
        return self._context

    def renew(self) -> None:
        """Let no connection opened so far carry another request; a caller's connector keeps its own."""
        line, self._line = self._line, None
        if line is not None:
            line.retired = True
            if not line.busy:
                self._later(line.session.close())

    async def _exchange(self, url: str, body: bytes, watermark: Watermark) -> WireAnswer | WireFault:
        if self._connector is not None and self._connector.closed:
            return WireFault(FaultKind.CLOSED, sent=False, detail="the caller's aiohttp session is closed")
        passage = _Passage(watermark)
        _passage.set(passage)
        line = self._line or self._open_line()
        line.busy += 1
        try:
            # Each turn drops one unfit idle connection before anything was sent; there are no more than these.
            for _ in range(self._connections_max + 1):
                try:
                    response = await line.session.post(url, data=body, ssl=self._context, allow_redirects=False)
                except _UnfitConnection:
                    continue
                result = await self._read(response)
                if isinstance(result, WireFault):
                    passage.drop_connection()
                return result
            raise SendRefused("no fit connection to be had")
        finally:
            line.busy -= 1
            if line.retired and not line.busy:
                self._later(line.session.close())

    async def _read(self, response: aiohttp.ClientResponse) -> WireAnswer | WireFault:
        """The answer within its bounds; whatever is refused is dropped together with its connection."""
        try:
            if any(encoded(value) for value in response.headers.getall("Content-Encoding", ())):
                return WireFault(FaultKind.DECODE, sent=True, detail="the answer is encoded; identity was asked for")
            body = bytearray()
            while chunk := await response.content.readany():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    return WireFault(FaultKind.OVERSIZE, sent=True, detail=f"more than {ANSWER_BYTES_MAX} bytes")
            return WireAnswer(response.status, bytes(body), shown_date(response.headers.get("Date")))
        finally:
            # After a complete body the connection went back to the pool by itself; before that, this closes it.
            response.close()

    def _open_line(self) -> _Line:
        own = self._connector is None
        fresh = self._keepalive_s <= 0
        session = aiohttp.ClientSession(
            connector=self._new_connector() if self._connector is None else self._connector,
            connector_owner=own,
            headers=dict(request_headers(fresh=own and fresh)),
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
        )
        self._line = _Line(session)
        return self._line

    def _new_connector(self) -> aiohttp.TCPConnector:
        # No limit here: the slots in front are the limit, and cost less to wait for.
        if self._keepalive_s <= 0:
            return aiohttp.TCPConnector(limit=0, ssl=self._context, force_close=True)
        return aiohttp.TCPConnector(limit=0, ssl=self._context, keepalive_timeout=self._keepalive_s)

    async def _close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.session.close()
