"""Whom requests go to: certificates, host names, TLS versions, addresses. In doubt, 0 bytes of the request leave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import httpx2
import pytest
import trustme
from wire_server import Peer, WireServer

from lianlian_async.errors import ConfigError
from lianlian_async.transport import FaultKind, Transport, WireAnswer, WireFault, check_address, default_transport
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport
from lianlian_async.transport.pair import money_and_queries
from lianlian_async.transport.trust import check_context, default_context, gateway_context

Make = Callable[..., Transport]
DEADLINE_S = 10.0


def server_context(authority: trustme.CA, *names: str, **options: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)  # type: ignore[arg-type]
    return context


async def refused(transport: Transport, context: ssl.SSLContext, host: str = "127.0.0.1") -> FaultKind:
    async with WireServer(context=context, host=host) as server:
        fault = await transport.post(server.url, b'{"pay_load":"canary"}', deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault), fault
        assert not fault.sent
        assert server.bytes_received == 0
        assert "canary" not in repr(fault)
        return fault.kind


async def test_trusted(make: Make, serving: ssl.SSLContext) -> None:
    """A certificate of the extra authority, for this host, in its time: answered, over TLS 1.2 or newer."""
    for host in ("127.0.0.1", "localhost"):
        async with WireServer(context=serving, host=host) as server:
            assert isinstance(await make().post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)


async def test_a_callers_session_trusts_the_extra_authority(
    authority: trustme.CA, serving: ssl.SSLContext, tmp_path: Path
) -> None:
    """`ca_file` counts for a session that was handed in, alone or as a pair, as it does for connections of our own."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with aiohttp.ClientSession() as session, WireServer(context=serving) as server:
        for given in (session, (session, session)):
            pair = money_and_queries(given, in_flight=1, queries_in_flight=1, ca_file=tmp_path / "ca.pem")
            for transport in pair:
                assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
            for transport in pair:
                await transport.aclose()


async def test_untrusted_authority(make: Make) -> None:
    """A certificate by somebody else: refused as a certificate, even where the caller's session checks nothing."""
    assert await refused(make(), server_context(trustme.CA(), "127.0.0.1")) is FaultKind.CERTIFICATE


async def test_self_signed(make: Make, tmp_path: Path) -> None:
    """A self-signed certificate: refused."""
    stranger = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.private_key_pem.write_to_path(str(tmp_path / "key"))
    stranger.cert_pem.write_to_path(str(tmp_path / "cert"))
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    assert await refused(make(), context) is FaultKind.CERTIFICATE


async def test_wrong_host(make: Make, authority: trustme.CA) -> None:
    """A good certificate for another host: refused."""
    assert await refused(make(), server_context(authority, "other.example")) is FaultKind.CERTIFICATE
    assert await refused(make(), server_context(authority, "other.example"), "localhost") is FaultKind.CERTIFICATE


async def test_expired(make: Make, authority: trustme.CA) -> None:
    """A certificate whose time is over: refused."""
    then = datetime.now(UTC)
    context = server_context(
        authority, "127.0.0.1", not_before=then - timedelta(days=9), not_after=then - timedelta(days=1)
    )
    assert await refused(make(), context) is FaultKind.CERTIFICATE


async def test_not_yet_valid(make: Make, authority: trustme.CA) -> None:
    """A certificate of the future: refused."""
    then = datetime.now(UTC) + timedelta(days=5)
    context = server_context(authority, "127.0.0.1", not_before=then, not_after=then + timedelta(days=5))
    assert await refused(make(), context) is FaultKind.CERTIFICATE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_downgrade(make: Make, authority: trustme.CA) -> None:
    """A server that speaks nothing newer than TLS 1.1: refused."""
    context = server_context(authority, "127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert await refused(make(), context) is FaultKind.TLS


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_handshake_cut(reset: bool, make: Make) -> None:
    """A connection cut within the handshake: proven unsent, and the next request works."""

    async def cut(peer: Peer) -> None:
        await peer.recv()
        hello.append(bytes(peer.received))
        peer.reset() if reset else peer.close()

    hello: list[bytes] = []
    async with WireServer(cut) as server:
        transport = make()
        fault = await transport.post(server.url.replace("http:", "https:"), b"canary", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.TLS, False)
        assert len(hello) == 1
        assert b"canary" not in hello[0]
        assert b"POST" not in hello[0]
        assert isinstance(await transport.post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)


async def test_https_to_a_plain_server(make: Make) -> None:
    """Something that answers a TLS greeting in plain text: proven unsent."""

    async def plain(peer: Peer) -> None:
        await peer.recv()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.close()

    async with WireServer(plain) as server:
        fault = await make().post(server.url.replace("http:", "https:"), b"{}", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.TLS, False)


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example/paymentapi/payment.htm",
        "http://10.0.0.1/",
        "http://127.0.0.1.example/",
        "http://127.0.0.1@gateway.example/",
        "https://user:secret@gateway.example/",
        "http://localhost\\@gateway.example/",
        "http://localhost.example/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://0x7f.1/",
        "https:///path",
        "https://gateway.example:port/",
        "https://gateway.example:0/",
        "https://[::1/",
        "https://gateway.example/#part",
        "https://gateway.example/a b",
        "https://gateway.example/\r\nX: y",
        "https://连连.example/",
        "ftp://gateway.example/",
        "file:///etc/passwd",
        "gateway.example/paymentapi",
        "",
    ],
)
async def test_address_refused(url: str, make: Make) -> None:
    """Not https to a plain host name, nor http to this machine: an error before anything is opened."""
    with pytest.raises(ConfigError) as refusal:
        await make().post(url, b"{}", deadline_s=DEADLINE_S)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://instantpay.lianlianpay.com/paymentapi/payment.htm",
        "https://gateway.example:8443/x?y=z",
        "https://10.0.0.1/",
        "http://127.0.0.1:8080/paymentapi/payment.htm",
        "http://127.8.9.10/",
        "http://[::1]:8080/",
        "http://localhost:8080/",
    ],
)
def test_address_accepted(url: str) -> None:
    """https to anywhere, http to loopback."""
    assert check_address(url) == url


def test_context_checks_everything() -> None:
    """TLS 1.2 or newer, certificate and host name, HTTP/1.1 only, no key log; and it is built once."""
    context = gateway_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert default_context() is default_context()


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA) -> None:
    """Neither authorities nor a key log come from the environment."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = gateway_context()
    ours = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    assert ours not in context.get_ca_certs(binary_form=True)
    assert getattr(context, "keylog_filename", None) is None


async def test_proxy_variables_are_ignored(kind: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment sees nothing."""
    async with WireServer() as proxy, WireServer() as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert isinstance(await make().post(server.url, b"{}", deadline_s=DEADLINE_S), WireAnswer)
        assert not proxy.peers


def weak_contexts() -> list[ssl.SSLContext]:
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    return [unchecked, unverified]


@pytest.mark.parametrize("number", [0, 1])
async def test_weak_context_refused(number: int) -> None:
    """No context without checks gets in, whoever brings it."""
    weak = weak_contexts()[number]
    with pytest.raises(ConfigError):
        check_context(weak)
    with pytest.raises(ConfigError):
        default_transport(context=weak)
    with pytest.raises(ConfigError):
        AiohttpTransport(context=weak)
    async with httpx2.AsyncClient(verify=weak) as client:
        with pytest.raises(ConfigError):
            HttpxTransport(client=client)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_refused() -> None:
    """Nor one that would speak TLS 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ConfigError, match=r"TLS 1\.2"):
        check_context(context)


def test_unreadable_authorities(tmp_path: Path) -> None:
    """A missing file and one that is no PEM are both named in the error."""
    (tmp_path / "no.pem").write_text("no certificate")
    for name in ("missing.pem", "no.pem"):
        with pytest.raises(ConfigError, match=name):
            gateway_context(tmp_path / name)


async def test_a_session_that_checks_nothing_is_overruled(trusting: ssl.SSLContext) -> None:
    """`ssl=False` on a caller's connector does not reach a payment."""
    async with (
        WireServer(context=server_context(trustme.CA(), "127.0.0.1")) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        async with session.post(server.url, data=b"theirs") as theirs:
            assert theirs.status == 200
        transport = AiohttpTransport(session, context=trusting)
        fault = await transport.post(server.url, b"ours", deadline_s=DEADLINE_S)
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.CERTIFICATE, False)
        assert len(server.requests) == 1
        await transport.aclose()
    await asyncio.sleep(0)
