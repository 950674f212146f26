"""The transport seam: post bytes, get status and bounded bytes, and know what a failure proves.

Money depends on one question about every failure: may the gateway have received the request? The
answer is `WireFault.sent`. It is False only with proof, and there are two kinds of proof, both needed:

* the *watermark*: each transport marks the instant before the first byte of a request leaves. No mark,
  no byte. The mark can be withdrawn: once "not sent" was said, a late start is refused, not sent;
* the *table* of the transport: one row an exception class. A class that is not in the table proves nothing.

An HTTP library's own exception proves nothing by itself: the same class covers "the server never read
it" and "the server read it all", and httpcore swallows write errors and surfaces them as read errors.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from attrs import field, frozen

from .._version import __version__
from ..errors import ConfigError
from .trust import pins_of

__all__ = [
    "ANSWER_BYTES_MAX",
    "UNLISTED",
    "UNSENT_KINDS",
    "USER_AGENT",
    "FaultKind",
    "Row",
    "Transport",
    "WireAnswer",
    "WireFault",
    "cancelled_fault",
    "check_address",
    "classify",
    "default_transport",
    "is_loopback",
    "request_headers",
    "transport_over",
]

ANSWER_BYTES_MAX = 64 * 1024
USER_AGENT = f"lianlian-async/{__version__}"


class FaultKind(StrEnum):
    """What went wrong on the wire. Whether the request may have left is `WireFault.sent`, not the kind."""

    CONNECT = "connect"
    DNS = "dns"
    CERTIFICATE = "certificate"  # the other side is not provably the gateway: a reason to stop, not to try on
    TLS = "tls"
    POOL = "pool"
    CLOSED = "closed"  # this transport was closed
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    WRITE = "write"
    READ = "read"
    DISCONNECT = "disconnect"
    PROTOCOL = "protocol"
    DECODE = "decode"
    OVERSIZE = "oversize"
    UNKNOWN = "unknown"


# The only kinds that can ever be proven unsent. All others need bytes on the wire to happen at all.
UNSENT_KINDS = frozenset(
    {
        FaultKind.CONNECT,
        FaultKind.DNS,
        FaultKind.CERTIFICATE,
        FaultKind.TLS,
        FaultKind.POOL,
        FaultKind.CLOSED,
        FaultKind.CANCELLED,
        FaultKind.TIMEOUT,
    }
)


@frozen
class WireAnswer:
    """A complete HTTP answer of at most 64 KiB; `date` is the server's own clock, if it told."""

    status: int
    body: bytes = field(repr=False)
    date: str | None = None


@frozen
class WireFault:
    """A failed exchange; `sent` is False only when it is proven that no byte of the request left."""

    kind: FaultKind
    sent: bool
    detail: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.sent and self.kind not in UNSENT_KINDS:
            raise ValueError(f"a fault of kind {self.kind} cannot be proven unsent")


class Transport(Protocol):
    """What the gateway needs of HTTP."""

    async def post(
        self, url: str, body: bytes, *, deadline_s: float, guard: Callable[[], bool] | None = None
    ) -> WireAnswer | WireFault:
        """POST `body` once; `deadline_s` (event-loop seconds) covers queueing, connecting, writing and reading.

        `guard` is asked right before the first byte: if it says False, nothing leaves. A cancelled call raises
        CancelledError; `cancelled_fault` tells what that proves. Raises ConfigError for an address that money
        must not be sent to.
        """

    def renew(self) -> None:
        """Let no connection opened so far carry another request (an answer belonged to someone else)."""

    async def aclose(self) -> None:
        """End what is in flight and close every connection of this transport's own."""


@frozen
class Row:
    """One row of a failure table: this exception (with this one among its causes) means this.

    Classes are named, not imported, so that one table serves httpx and httpx2 and a class that some
    version of a library lacks simply never matches. `unsent` says that the class cannot occur after the
    first byte; it takes effect only together with the watermark.
    """

    raised: str
    kind: FaultKind
    unsent: bool
    because: str | None = None


UNLISTED = Row("*", FaultKind.UNKNOWN, unsent=False)


def classify(table: tuple[Row, ...], error: BaseException, libraries: frozenset[str]) -> Row:
    """The first row of `table` that fits; an exception that is not in it may mean that bytes left."""
    names = {cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in libraries}
    causes = {name for cause in _causes(error) for cls in type(cause).__mro__ for name in _names(cls)}
    for row in table:
        if row.raised in names and (row.because is None or row.because in causes):
            return row
    return UNLISTED


def _names(cls: type) -> tuple[str, str]:
    """A class may be named plainly or with its library: httpcore and h11 both have a RemoteProtocolError."""
    return cls.__name__, f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    for _ in range(8):
        # httpcore's pool re-raises `from None`, which wipes the cause and leaves only the context.
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        yield cause
        error = cause


def describe(error: BaseException) -> str:
    """Class names and system error names only: exception texts may quote what was on the wire."""
    parts: list[str] = []
    for link in (error, *_causes(error)):
        name = type(link).__qualname__
        # By getattr: aiohttp's errors inherit from those of ssl without their attributes.
        told = getattr(link, "verify_message", None) or getattr(link, "reason", None)
        if isinstance(link, ssl.SSLError) and isinstance(told, str):
            name += f" ({told})"
        elif isinstance(link, OSError) and link.errno in errno.errorcode:
            name += f" ({errno.errorcode[cast(int, link.errno)]})"
        if not parts or parts[-1] != name:
            parts.append(name)
    return " from ".join(parts)


_FAULT_OF_CANCEL = "_lianlian_wire_fault"


def mark_cancelled(cancel: asyncio.CancelledError, fault: WireFault) -> None:
    """Write onto a cancellation what it proves; a subclass would break `asyncio.timeout` of the caller."""
    setattr(cancel, _FAULT_OF_CANCEL, fault)


def cancelled_fault(cancel: BaseException) -> WireFault:
    """What a CancelledError out of `post` proves; one that did not come from there proves nothing."""
    fault = getattr(cancel, _FAULT_OF_CANCEL, None)
    return fault if isinstance(fault, WireFault) else WireFault(FaultKind.CANCELLED, sent=True)


def request_headers(*, fresh: bool) -> tuple[tuple[str, str], ...]:
    """The headers of every request, apart from Host and Content-Length; `fresh` ends the connection after it."""
    headers = (
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json;charset=utf-8"),
        ("Accept", "application/json"),
        # A compressed answer could be a bomb and buys nothing at this size; an encoded one is refused.
        ("Accept-Encoding", "identity"),
    )
    return (*headers, ("Connection", "close")) if fresh else headers


def encoded(content_encoding: str | None) -> bool:
    """True when an answer is encoded although we asked for identity."""
    return content_encoding is not None and content_encoding.strip().lower() not in ("", "identity")


def shown_date(value: str | None) -> str | None:
    """The Date header if it is a short line of printable ASCII, else nothing."""
    return value if value is not None and len(value) <= 64 and value.isascii() and value.isprintable() else None


@lru_cache(maxsize=64)
def check_address(url: str) -> str:
    """`url` if money may be sent there: https with a host, or plain http on loopback; raises ConfigError."""
    if not (url.isascii() and url.isprintable()) or any(sign in url for sign in ' \\"<>'):
        # Characters that two URL parsers may read in two ways have no place in this address.
        raise ConfigError("the gateway address has characters that do not belong into an address; write it plainly")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError("the gateway address cannot be read; expected https://host/path") from error
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise ConfigError("the gateway address must read https://host/path")
    if "@" in parts.netloc or parts.fragment:
        raise ConfigError("the gateway address must not carry credentials or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(f"plain http is for a gateway on this machine only, not for {host}; use https")
    return url


def is_loopback(host: str) -> bool:
    """True for `localhost` and addresses of this machine; a name is no address, whatever it begins with."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_transport(
    *, connections_max: int = 100, keepalive_s: float = 5.0, context: ssl.SSLContext | None = None
) -> Transport:
    """An HTTP transport on httpx2 with connections of its own: build one for money and one for queries.

    `keepalive_s` is how long an idle connection may be used again (0: a fresh one for every request);
    `context` comes from `trust.gateway_context`.
    """
    from .httpx import HttpxTransport

    return HttpxTransport(connections_max=connections_max, keepalive_s=keepalive_s, context=context)


def transport_over(own: Any, *, context: ssl.SSLContext | None = None) -> Transport:
    """A transport over what the caller has: an httpx2 or httpx AsyncClient, an aiohttp ClientSession, a Transport.

    `context` is used where the caller's object lets us choose (aiohttp). Raises ConfigError for anything else, and
    where a `context` that pins the gateway's key would be without effect.
    """
    transport = _transport_over(own, context)
    pins = pins_of(context)
    if pins and pins_of(getattr(transport, "context", None)) != pins:
        raise ConfigError(
            f"gateway_pins cannot be kept over {type(own).__qualname__}, which brings a TLS of its own; let the "
            "library connect by itself, hand in an aiohttp.ClientSession, or give it a context with these pins"
        )
    return transport


def _transport_over(own: Any, context: ssl.SSLContext | None) -> Transport:
    libraries = {cls.__module__.partition(".")[0] for cls in type(own).__mro__}
    if libraries & {"httpx", "httpx2"}:
        from .httpx import HttpxTransport

        return HttpxTransport(client=own)
    if "aiohttp" in libraries:
        from .aiohttp import AiohttpTransport

        return AiohttpTransport(own, context=context)
    if all(callable(getattr(own, name, None)) for name in ("post", "renew", "aclose")):
        return cast(Transport, own)
    raise ConfigError(
        f"{type(own).__qualname__} is no transport; hand in an httpx2.AsyncClient, an httpx.AsyncClient, "
        "an aiohttp.ClientSession, or an object with post, renew and aclose"
    )
