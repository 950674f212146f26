"""The steps of `doctor` that ask nobody: settings, OpenSSL, keys, merchant, and where notifications shall go."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from ..config import PRODUCTION_URL, Merchant, Settings
from ..crypto import KeyRing
from ..crypto.keys import load_private_key, load_public_key
from ..errors import ConfigError
from ..protocol.notify_url import notify_url_fault
from ..transport import is_loopback
from .findings import Finding, ok, skipped, warning, wrong

__all__ = ["look_at_setup"]

Key = TypeVar("Key", RSAPrivateKey, RSAPublicKey)

_REQUIRED: Final = ("oid_partner", "private_key_file", "gateway_public_key_file", "journal")
_FIPS: Final = Path("/proc/sys/crypto/fips_enabled")
# Names that only an inner network or this machine knows.
_INNER: Final = (".local", ".localhost", ".internal", ".intranet", ".lan", ".home", ".corp")


def look_at_setup(settings: Settings) -> tuple[list[Finding], Merchant | None]:
    """What is to be said of the set-up, and the merchant if the gateway can be asked with it."""
    findings = [*_settings(settings), _openssl()]
    private_told, private = _key("private key", "private_key_file", settings.private_key_file, load_private_key)
    public_told, public = _key(
        "gateway key", "gateway_public_key_file", settings.gateway_public_key_file, load_public_key
    )
    findings += [private_told, public_told]
    ring = None
    if private is None or public is None:
        findings.append(skipped("key pair", "one of the keys is missing or wrong"))
    else:
        ring_told, ring = _ring(private, public)
        findings += ring_told
    told, merchant = _merchant(settings, ring)
    return [*findings, told, _notify_url(settings)], merchant


def _settings(settings: Settings) -> list[Finding]:
    missing = [name for name in _REQUIRED if not getattr(settings, name)]
    if not missing:
        return [ok("settings", "all that is needed is there")]
    return [
        wrong("settings", f"{name} is missing", f"set LIANLIAN_{name.upper()}, or give it in --config FILE")
        for name in missing
    ]


def _openssl() -> Finding:
    """LianLian's protocol prescribes MD5 signatures and SHA-1 padding; FIPS mode forbids them."""
    version = ssl.OPENSSL_VERSION
    try:
        for algorithm in (hashes.MD5(), hashes.SHA1()):  # noqa: S303 - what the protocol prescribes is tried
            hashes.Hash(algorithm).finalize()
    except (UnsupportedAlgorithm, InternalError, ValueError):
        return wrong("openssl", f"{version} refuses MD5 or SHA-1, as in FIPS mode", "run on a machine without it")
    if _kernel_says_fips():
        return warning(
            "openssl", f"{version} does MD5 and SHA-1, but this machine is in FIPS mode",
            "an update may end that, so run on a machine without it",
        )  # fmt: skip
    return ok("openssl", f"{version}, not in FIPS mode")


def _kernel_says_fips() -> bool:
    try:
        return _FIPS.read_text().strip() == "1"
    except OSError:
        return False


def _key(step: str, name: str, path: str | None, load: Callable[..., Key]) -> tuple[Finding, Key | None]:
    if not path:
        return skipped(step, f"{name} is missing"), None
    try:
        key = load(Path(path), name=name)
    except ConfigError as error:
        return wrong(step, str(error)), None
    return ok(step, f"{path}, RSA of {key.key_size} bits, mode {Path(path).stat().st_mode & 0o777:04o}"), key


def _ring(private: RSAPrivateKey, public: RSAPublicKey) -> tuple[list[Finding], KeyRing | None]:
    """Do the two belong to two parties, and can this machine use them?"""
    try:
        ring = KeyRing(private, public)
    except ConfigError as error:
        return [wrong("key pair", str(error))], None
    told = f"ours {ring.fingerprint}, LianLian's {ring.gateway_fingerprint}; both work on this machine"
    notes = [note.partition(": ") for note in ring.warnings]
    return [ok("key pair", told), *(warning("key pair", what, advice) for what, _, advice in notes)], ring


def _merchant(settings: Settings, ring: KeyRing | None) -> tuple[Finding, Merchant | None]:
    if ring is None or not settings.oid_partner:
        return skipped("merchant", "keys or oid_partner are missing or wrong"), None
    try:
        # Where notifications go is a step of its own, and no query carries it.
        merchant = Merchant(
            oid_partner=settings.oid_partner, keys=ring, base_url=settings.base_url or PRODUCTION_URL,
            platform=settings.platform, ca_file=Path(settings.ca_file) if settings.ca_file else None,
            two_person=settings.two_person,
            gateway_pins=settings.gateway_pins,
        )  # fmt: skip
    except ConfigError as error:
        return wrong("merchant", str(error)), None
    return ok("merchant", f"{merchant.oid_partner} at {merchant.base_url}"), merchant


def _notify_url(settings: Settings) -> Finding:
    url, step = settings.notify_url, "notify_url"
    if not url:
        return warning(step, "none is configured", "set LIANLIAN_NOTIFY_URL, or give every order one of its own")
    if (fault := notify_url_fault(url)) is not None:
        return wrong(step, f"{url} {fault[0]}", fault[1])
    host = (urlsplit(url).hostname or "").rstrip(".")
    for_trial = is_loopback((urlsplit(settings.base_url or PRODUCTION_URL).hostname or "").rstrip("."))
    if is_loopback(host):
        if for_trial:
            return ok(step, f"{url}, on this machine as the gateway is")
        return wrong(step, f"{url} is this machine, which LianLian cannot reach", "give a public host name")
    if not _is_address(host) and ("." not in host or host.endswith(_INNER)):
        return warning(step, f"{url} has a name that only an inner network knows", "give a public host name")
    return ok(step, url)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
