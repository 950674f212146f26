"""Whom the transports trust: one TLS context, built once, with the checks always on.

The environment has no say: SSL_CERT_FILE and SSL_CERT_DIR could widen the trust, SSLKEYLOGFILE would
write the session keys to a file. Nothing here turns a check off.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Collection
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate

from ..errors import ConfigError

__all__ = ["check_context", "default_context", "gateway_context", "parse_pins", "pins_of"]

_PIN: Final = re.compile(r"sha256//([A-Za-z0-9+/]{43}=)")


def parse_pins(text: str) -> frozenset[bytes]:
    """Pins as curl's `--pinnedpubkey` writes them, `sha256//BASE64;sha256//BASE64`; raises ConfigError.

    Each is the SHA-256 of the SubjectPublicKeyInfo of a server's certificate.
    """
    found = [_PIN.fullmatch(part.strip()) for part in text.split(";")]
    pins = frozenset(base64.b64decode(pin[1]) for pin in found if pin)
    if not all(found) or any(len(pin) != 32 for pin in pins):
        raise ConfigError("gateway_pins must read sha256//BASE64, several with ; between them (docs/cli.md shows how)")
    return pins


def pins_of(context: ssl.SSLContext | None) -> frozenset[bytes]:
    """The pins that a context was built with; none for a context that does not pin."""
    pins: frozenset[bytes] = getattr(getattr(context, "sslobject_class", None), "pins", frozenset())
    return pins


def _pinning(wanted: frozenset[bytes]) -> type[ssl.SSLObject]:
    """What a context makes of each connection: one whose handshake fails unless the server's own key is pinned.

    asyncio, uvloop and anyio all do their handshakes through this class, and nothing is written before the handshake
    is over: not a byte of a request goes to another key, whoever has signed its certificate.
    """

    class PinnedObject(ssl.SSLObject):
        pins = wanted

        def do_handshake(self) -> None:
            super().do_handshake()
            if _key_digest(self.getpeercert(binary_form=True)) not in self.pins:
                fault = ssl.SSLCertVerificationError(1, "the server's key is none of the pinned ones")
                fault.verify_message = "the server's key is none of gateway_pins"
                raise fault

    return PinnedObject


def _key_digest(certificate: bytes | None) -> bytes:
    try:
        key = load_der_x509_certificate(certificate or b"").public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    except (ValueError, UnsupportedAlgorithm):
        return b""  # which is nobody's digest


def gateway_context(ca_file: str | Path | None = None, pins: Collection[bytes] = ()) -> ssl.SSLContext:
    """A client context: TLS 1.2 or newer, certificate and host name checked; costs about 50 ms, so build it once.

    `ca_file` adds certificate authorities to the system's, for a private test gateway. `pins` (from `parse_pins`)
    come on top of all other checks: the server's own key must be one of them. Raises ConfigError when the file
    cannot be read.
    """
    context = httpx2.create_ssl_context(trust_env=False)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the file of certificate authorities {ca_file} cannot be read as PEM ({type(error).__name__})"
            ) from error
    if pins:
        context.sslobject_class = _pinning(frozenset(pins))
    return check_context(context)


@lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """The one context that every transport without a context of its own shares."""
    return gateway_context()


def check_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """`context` if it checks certificates and host names and speaks nothing older than TLS 1.2, else ConfigError."""
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigError("the TLS context does not check certificate and host name; money does not go through it")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ConfigError("the TLS context allows versions older than TLS 1.2; set its minimum_version to TLSv1_2")
    return context
