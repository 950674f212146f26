"""T7: a pinned key. Whatever certificate authorities say, not a byte of a request goes to another key."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx2
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from wire_server import WireServer

from lianlian_async import KeyRing, Merchant, Settings
from lianlian_async.errors import ConfigError
from lianlian_async.transport import FaultKind, Transport, WireAnswer, WireFault
from lianlian_async.transport import trust as trust_module
from lianlian_async.transport.aiohttp import AiohttpTransport
from lianlian_async.transport.httpx import HttpxTransport
from lianlian_async.transport.pair import money_and_queries
from lianlian_async.transport.trust import gateway_context, parse_pins, pins_of

DEADLINE_S = 10.0
KINDS: dict[str, Callable[[ssl.SSLContext], Transport]] = {
    "httpx": lambda context: HttpxTransport(context=context),
    "aiohttp": lambda context: AiohttpTransport(context=context),
}
OTHER = "sha256//" + base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """The gateway's."""
    return authority.issue_cert("127.0.0.1")


@pytest.fixture(scope="module")
def pin(certificate: trustme.LeafCert) -> str:
    """Its pin, by the reckoning of docs/cli.md."""
    key = load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return f"sha256//{base64.b64encode(digest).decode()}"


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pins") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@asynccontextmanager
async def pinned(kind: str, ca_file: Path, pins: str) -> AsyncIterator[Transport]:
    transport = KINDS[kind](gateway_context(ca_file, parse_pins(pins)))
    try:
        yield transport
    finally:
        await transport.aclose()
        await asyncio.sleep(0)


async def exchanged(kind: str, ca_file: Path, pins: str, certificate: trustme.LeafCert) -> WireAnswer | WireFault:
    async with WireServer(context=serving(certificate)) as server, pinned(kind, ca_file, pins) as transport:
        result = await transport.post(server.url, b'{"pay_load":"canary"}', deadline_s=DEADLINE_S)
        assert isinstance(result, WireAnswer) or server.bytes_received == 0
        return result


@pytest.mark.parametrize("kind", KINDS)
async def test_the_pinned_key(kind: str, ca_file: Path, pin: str, certificate: trustme.LeafCert) -> None:
    """Alone or as one of several: answered."""
    for pins in (pin, f"{OTHER};{pin}", f" {pin} ; {OTHER} "):
        assert isinstance(await exchanged(kind, ca_file, pins, certificate), WireAnswer)


@pytest.mark.parametrize("kind", KINDS)
async def test_another_key_by_a_trusted_authority(kind: str, authority: trustme.CA, ca_file: Path, pin: str) -> None:
    """As good a certificate as any, and refused as a certificate: 0 bytes of the request leave."""
    fault = await exchanged(kind, ca_file, pin, authority.issue_cert("127.0.0.1"))
    assert isinstance(fault, WireFault)
    assert (fault.kind, fault.sent) == (FaultKind.CERTIFICATE, False)
    assert "gateway_pins" in fault.detail


@pytest.mark.parametrize("kind", KINDS)
async def test_the_pinned_key_by_an_untrusted_authority(
    kind: str, pin: str, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    """A pin comes on top of all other checks, and replaces none."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    fault = await exchanged(kind, tmp_path / "ca.pem", pin, certificate)
    assert isinstance(fault, WireFault)
    assert (fault.kind, fault.sent) == (FaultKind.CERTIFICATE, False)


@pytest.mark.parametrize("kind", KINDS)
async def test_without_the_look_at_the_key_the_request_goes_to_whoever_is_trusted(
    kind: str, authority: trustme.CA, ca_file: Path, pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pin is what keeps it here: with its comparison taken out, the other key is answered."""
    wanted = next(iter(parse_pins(pin)))
    monkeypatch.setattr(trust_module, "_key_digest", lambda certificate: wanted)
    assert isinstance(await exchanged(kind, ca_file, pin, authority.issue_cert("127.0.0.1")), WireAnswer)


@pytest.mark.parametrize("kind", KINDS)
def test_on_uvloop(kind: str, authority: trustme.CA, ca_file: Path, pin: str, certificate: trustme.LeafCert) -> None:
    """uvloop has a TLS of its own, and the same handshake."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.run(exchanged(kind, ca_file, pin, certificate)), WireAnswer)
        fault = runner.run(exchanged(kind, ca_file, pin, authority.issue_cert("127.0.0.1")))
        assert isinstance(fault, WireFault)
        assert (fault.kind, fault.sent) == (FaultKind.CERTIFICATE, False)


async def test_over_what_a_caller_hands_in(
    authority: trustme.CA, ca_file: Path, pin: str, certificate: trustme.LeafCert
) -> None:
    """A session of aiohttp and a transport that pins keep the pin; what cannot is refused, before it is used."""
    pins = parse_pins(pin)
    async with aiohttp.ClientSession() as session, httpx2.AsyncClient(trust_env=False) as client:
        for key, expected in ((certificate, WireAnswer), (authority.issue_cert("127.0.0.1"), WireFault)):
            async with WireServer(context=serving(key)) as server:
                money, _ = money_and_queries(session, in_flight=1, queries_in_flight=1, ca_file=ca_file, pins=pins)
                assert isinstance(await money.post(server.url, b"{}", deadline_s=DEADLINE_S), expected)
                await money.aclose()
        async with pinned("aiohttp", ca_file, pin) as ours, pinned("httpx", ca_file, OTHER) as others:
            pair = money_and_queries((ours, ours), in_flight=1, queries_in_flight=1, ca_file=ca_file, pins=pins)
            assert pair == (ours, ours)
            plain = AiohttpTransport(context=gateway_context(ca_file))
            for given in (client, (session, client), plain, others):
                with pytest.raises(ConfigError, match="gateway_pins"):
                    money_and_queries(given, in_flight=1, queries_in_flight=1, ca_file=ca_file, pins=pins)
            await plain.aclose()
    own = money_and_queries(None, in_flight=1, queries_in_flight=1, ca_file=None, pins=pins)
    assert all(pins_of(transport.context) == pins for transport in own)  # type: ignore[attr-defined]
    for transport in own:
        await transport.aclose()


def test_a_certificate_without_a_readable_key() -> None:
    """Nobody's key, so nobody's pin."""
    assert trust_module._key_digest(None) == b""
    assert trust_module._key_digest(b"0") == b""


@pytest.mark.parametrize(
    "text",
    ["sha256//", "sha256/AAAA", OTHER[:-1], OTHER.replace("sha256", "sha1"), f"{OTHER},{OTHER}", f"{OTHER};", ";", "x",
     OTHER.replace("A", "-", 1), OTHER.replace("=", "==")],
)  # fmt: skip
def test_a_pin_that_is_none(text: str) -> None:
    """A pin that is mistyped must not be no pin."""
    with pytest.raises(ConfigError, match="gateway_pins"):
        parse_pins(text)


def test_pins_in_the_settings(ring: KeyRing) -> None:
    """From the environment, as text; a merchant without any has none."""
    settings = Settings.load(None, environ={"LIANLIAN_GATEWAY_PINS": OTHER})
    assert settings.gateway_pins == OTHER
    merchant = Merchant(oid_partner="1", keys=ring, gateway_pins=OTHER)
    assert merchant.gateway_pins == {bytes(32)}
    assert Merchant(oid_partner="1", keys=ring).gateway_pins == frozenset()
    with pytest.raises(ConfigError, match="gateway_pins"):
        Merchant(oid_partner="1", keys=ring, gateway_pins="x")


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    from cryptography.hazmat.primitives.asymmetric import rsa

    keys = [rsa.generate_private_key(65537, 1024) for _ in range(2)]
    return KeyRing(keys[0], keys[1].public_key())
