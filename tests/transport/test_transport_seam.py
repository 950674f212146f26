"""The transport seam without a wire: what an exception is called, what an address may be, what is shown."""

from __future__ import annotations

import asyncio
import inspect
import ssl

import pytest

from lianlian_async import __version__
from lianlian_async.errors import ConfigError
from lianlian_async.transport import (
    ANSWER_BYTES_MAX,
    UNLISTED,
    UNSENT_KINDS,
    USER_AGENT,
    FaultKind,
    Row,
    WireAnswer,
    WireFault,
    cancelled_fault,
    check_address,
    classify,
    default_transport,
    describe,
    encoded,
    is_loopback,
    mark_cancelled,
    request_headers,
    shown_date,
    transport_over,
)

LIBRARIES = frozenset({"lib"})


def error_of(module: str, name: str, *bases: type) -> type[Exception]:
    """A class as some library would have it."""
    return type(name, bases or (Exception,), {"__module__": module, "__qualname__": name})


ReadError = error_of("lib._errors", "ReadError")
SlowRead = error_of("lib._errors", "SlowRead", ReadError)
Namesake = error_of("other._errors", "ReadError")
TABLE = (
    Row("ReadError", FaultKind.DISCONNECT, unsent=False, because="core.Gone"),
    Row("ReadError", FaultKind.PROTOCOL, unsent=False, because="Broken"),
    Row("ReadError", FaultKind.READ, unsent=False),
    Row("ReadError", FaultKind.WRITE, unsent=False),
)


def caused(*chain: BaseException, quietly: bool = False) -> BaseException:
    """The first error, caused by the second, and so on; quietly: as `raise … from None` leaves it."""
    for error, cause in zip(chain, chain[1:], strict=False):
        if quietly:
            error.__context__, error.__suppress_context__ = cause, True
        else:
            error.__cause__ = cause
    return chain[0]


# ---------------------------------------------------------------------- the table


def test_the_first_row_that_fits() -> None:
    """By the class or one that it inherits from, of the library's own; namesakes of others do not count."""
    assert classify(TABLE, ReadError(), LIBRARIES) is TABLE[2]
    assert classify(TABLE, SlowRead(), LIBRARIES) is TABLE[2]
    assert classify(TABLE, Namesake(), LIBRARIES) is UNLISTED
    assert (UNLISTED.raised, UNLISTED.kind, UNLISTED.unsent, UNLISTED.because) == ("*", FaultKind.UNKNOWN, False, None)


@pytest.mark.parametrize("quietly", [False, True])
def test_a_cause_is_named_plainly_or_with_its_library(quietly: bool) -> None:
    """Whether it was raised `from` it or stands in the context only."""
    gone, broken = error_of("core.sync", "Gone"), error_of("any.where", "Broken")
    assert classify(TABLE, caused(ReadError(), gone(), quietly=quietly), LIBRARIES) is TABLE[0]
    assert classify(TABLE, caused(ReadError(), error_of("x", "Gone")(), quietly=quietly), LIBRARIES) is TABLE[2]
    assert classify(TABLE, caused(ReadError(), broken(), quietly=quietly), LIBRARIES) is TABLE[1]


def test_a_cause_goes_before_the_context() -> None:
    """What somebody named as the cause, not what happened to be handled then."""
    error = ReadError()
    error.__cause__, error.__context__ = error_of("core.x", "Gone")(), error_of("x", "Broken")()
    assert classify(TABLE, error, LIBRARIES) is TABLE[0]


@pytest.mark.parametrize(("between", "row"), [(7, 0), (8, 2)])
def test_causes_are_followed_eight_links_deep(between: int, row: int) -> None:
    """A chain may be a ring; one that is longer proves nothing more."""
    chain = [ReadError(), *(ValueError() for _ in range(between)), error_of("core", "Gone")()]
    assert classify(TABLE, caused(*chain), LIBRARIES) is TABLE[row]


# ---------------------------------------------------------------------- what is told of an error


def test_an_error_is_told_by_class_and_system_name() -> None:
    """Never by its text; a name that repeats is told once."""
    refused = ConnectionRefusedError(111, "canary")
    assert describe(caused(ReadError("canary"), refused)) == "ReadError from ConnectionRefusedError (ECONNREFUSED)"
    assert describe(caused(ReadError(), ReadError(), OSError("canary"))) == "ReadError from OSError"
    assert describe(caused(ReadError(), OSError(), OSError("canary"))) == "ReadError from OSError"
    assert describe(OSError(987_654, "canary")) == "OSError"
    odd = error_of("lib", "Odd")("canary")
    odd.errno, odd.reason = 111, "canary"  # type: ignore[attr-defined]
    assert describe(odd) == "Odd"


def test_an_error_of_tls_is_told_by_its_reason() -> None:
    """OpenSSL's own words for it: why a certificate was refused, or else what went wrong."""
    plain = ssl.SSLError(1, "canary")
    plain.reason = "WRONG_VERSION_NUMBER"
    assert describe(plain) == "SSLError (WRONG_VERSION_NUMBER)"
    refused = ssl.SSLCertVerificationError(1, "canary")
    refused.reason, refused.verify_message = "CERTIFICATE_VERIFY_FAILED", "certificate has expired"
    assert describe(refused) == "SSLCertVerificationError (certificate has expired)"
    plain.reason = None  # type: ignore[assignment]
    assert describe(plain) == "SSLError (EPERM)"


# ---------------------------------------------------------------------- values


def test_kinds_of_faults() -> None:
    """As they stand in logs and in the evidence of a journal; and those that can be proven unsent."""
    assert " ".join(FaultKind) == (
        "connect dns certificate tls pool closed cancelled timeout write read disconnect protocol decode oversize unknown"
    )
    assert " ".join(sorted(UNSENT_KINDS)) == "cancelled certificate closed connect dns pool timeout tls"


def test_what_a_cancellation_proves() -> None:
    """What the transport wrote onto it; otherwise nothing, so it may have been sent."""
    fault = WireFault(FaultKind.CANCELLED, sent=False)
    assert fault.detail == ""
    cancel = asyncio.CancelledError()
    assert cancelled_fault(cancel) == WireFault(FaultKind.CANCELLED, sent=True)
    mark_cancelled(cancel, fault)
    assert cancelled_fault(cancel) is fault
    assert vars(cancel) == {"_lianlian_wire_fault": fault}


def test_an_answer_does_not_show_its_body() -> None:
    """It may name a payee."""
    answer = WireAnswer(200, b"canary")
    assert "canary" not in repr(answer)
    assert answer.date is None


def test_limits_and_defaults() -> None:
    """64 KiB; a hundred connections, each used again for five seconds."""
    assert ANSWER_BYTES_MAX == 65_536
    defaults = {name: parameter.default for name, parameter in inspect.signature(default_transport).parameters.items()}
    assert defaults == {"connections_max": 100, "keepalive_s": 5.0, "context": None}


def test_headers_of_a_request() -> None:
    """The same on every connection; a fresh one is ended after it."""
    headers = (
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json;charset=utf-8"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
    )
    assert f"lianlian-async/{__version__}" == USER_AGENT
    assert request_headers(fresh=False) == headers
    assert request_headers(fresh=True) == (*headers, ("Connection", "close"))


@pytest.mark.parametrize(
    ("header", "is_encoded"), [(None, False), ("", False), ("identity", False), (" Identity ", False), ("gzip", True)]
)
def test_encoded_answers(header: str | None, is_encoded: bool) -> None:
    """Anything but identity, in whatever letters."""
    assert encoded(header) is is_encoded


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Fri, 20 Nov 2026 04:00:00 GMT", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("日", False),
        ("a\tb", False),
        (None, False),
    ],
)
def test_date_header(told: str | None, shown: bool) -> None:
    """A short line of printable ASCII, or nothing."""
    assert shown_date(told) == (told if shown else None)


# ---------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://连连.example/", "has characters"),
        ("https://a.example/\x7f", "has characters"),
        ("https://a.example/ b", "has characters"),
        ("https://a.example/\\b", "has characters"),
        ('https://a.example/"b', "has characters"),
        ("https://a.example/<b", "has characters"),
        ("https://a.example/>b", "has characters"),
        ("https://a.example:port/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("ftp://a.example/", "must read https"),
        ("https:///path", "must read https"),
        ("https://a.example:0/", "must read https"),
        ("https://me@a.example/", "credentials or a fragment"),
        ("https://a.example/#part", "credentials or a fragment"),
        ("http://a.example/", r"not for a\.example"),
    ],
)
def test_why_an_address_is_refused(url: str, why: str) -> None:
    """Each reason by itself."""
    with pytest.raises(ConfigError, match=why):
        check_address(url)


@pytest.mark.parametrize("url", ["https://a.example/?mail=me@a.example", "https://a.example:1/X", "http://localhost/"])
def test_an_address_that_may_be_used(url: str) -> None:
    """It comes back as it was."""
    assert check_address(url) == url


@pytest.mark.parametrize(
    ("host", "ours"),
    [("localhost", True), ("127.8.9.10", True), ("::1", True), ("10.0.0.1", False), ("a.example", False)],
)
def test_addresses_of_this_machine(host: str, ours: bool) -> None:
    """By number, and the one name."""
    assert is_loopback(host) is ours


class Made:
    """Stands for a transport's class, and keeps what it was made with."""

    def __init__(self, *own: object, **settings: object) -> None:
        self.made_with = (own, settings)


def test_what_a_transport_is_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that was asked for; httpx and httpx2 clients alike are taken as they are."""
    monkeypatch.setattr("lianlian_async.transport.httpx.HttpxTransport", Made)
    monkeypatch.setattr("lianlian_async.transport.aiohttp.AiohttpTransport", Made)
    context = ssl.create_default_context()
    settings = {"connections_max": 7, "keepalive_s": 0.5, "context": context}
    assert vars(default_transport(**settings)) == {"made_with": ((), settings)}  # type: ignore[arg-type]
    for library in ("httpx", "httpx2"):
        client = error_of(f"{library}._client", "AsyncClient")()
        assert vars(transport_over(client)) == {"made_with": ((), {"client": client})}
    session = error_of("aiohttp.client", "ClientSession")()
    assert vars(transport_over(session, context=context)) == {"made_with": ((session,), {"context": context})}


@pytest.mark.parametrize("lacks", ["post", "renew", "aclose", None])
def test_an_object_as_a_transport(lacks: str | None) -> None:
    """It must be able to do everything that a transport does."""
    names = [name for name in ("post", "renew", "aclose") if name != lacks]
    own = type("Own", (), dict.fromkeys(names, lambda self: None))()
    if lacks is None:
        assert transport_over(own) is own
        return
    with pytest.raises(ConfigError, match=r"^\S*Own is no transport"):
        transport_over(own)
