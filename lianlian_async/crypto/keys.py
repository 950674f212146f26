"""The two RSA keys of a merchant's connection, loaded and checked once (specification 4.2 and 4.3).

The merchant's private key signs requests. LianLian's public key verifies answers and seals requests.

Key bytes stay inside `_Source` and `_Material`, whose repr does not show them, and problems come back
as sentences instead of exceptions until no frame holds key bytes any more. A traceback that prints
local variables therefore has none to print.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, SupportsIndex

from attrs import field, frozen
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from lianlian_async.errors import ConfigError, MessageRejected, Rejection

__all__ = [
    "KEY_BITS_ADVISED",
    "KEY_BITS_MAX",
    "KEY_BITS_MIN",
    "SEAL_PADDING",
    "KeyRing",
    "KeySource",
    "Password",
    "load_private_key",
    "load_public_key",
    "read_key_file",
]

KeySource = str | os.PathLike[str] | bytes
"""A path (`str` or `Path`), or the key's content (`bytes`)."""

Password = bytes | Callable[[], bytes]

KEY_BITS_MIN: Final = 1024
KEY_BITS_ADVISED: Final = 2048
KEY_BITS_MAX: Final = 4096

_KEY_FILE_BYTES_MAX: Final = 65536

# MD5 and SHA-1 are what LianLian's protocol prescribes; nothing here chose them.
_SIGNATURE_HASH: Final = hashes.MD5()  # noqa: S303
_SIGNATURE_PADDING: Final = PKCS1v15()
SEAL_PADDING: Final = OAEP(mgf=MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303


class KeyRing:
    """A merchant's private key and LianLian's public key, ready for use; it shows and exports neither.

    Safe to share between tasks and threads. It cannot be copied or pickled.
    """

    __slots__ = ("_gateway", "_merchant", "_merchant_spki", "warnings")

    def __init__(self, merchant: RSAPrivateKey, gateway: RSAPublicKey, warnings: tuple[str, ...] = ()) -> None:
        self._merchant = merchant
        self._gateway = gateway
        self._merchant_spki = _spki(merchant.public_key())
        if self._merchant_spki == _spki(gateway):
            raise ConfigError(
                "gateway_public_key is the merchant's own public key; give LianLian's, from the merchant portal"
            )
        _refuse_crippled_openssl(merchant, gateway)
        self.warnings = (*warnings, *_size_warnings(merchant, gateway))

    @classmethod
    def load(
        cls, *, merchant_private_key: KeySource, gateway_public_key: KeySource, password: Password | None = None
    ) -> KeyRing:
        """Load both keys from files or content: PEM, DER or bare base64, 1024 to 4096 bits.

        `password` opens an encrypted private key; a callable is asked only when it is needed. Raises
        `ConfigError`, also for a private key file that others may read or own.
        """
        private = _Source("merchant_private_key", merchant_private_key, password)
        public = _Source("gateway_public_key", gateway_public_key)
        del merchant_private_key, gateway_public_key, password
        merchant, notes = _private_key(private)
        return cls(merchant, _public_key(public), notes)

    def sign(self, text: bytes) -> str:
        """The merchant's signature of `text`: MD5withRSA, PKCS#1 v1.5, base64 (specification 4.2)."""
        return base64.b64encode(self._merchant.sign(text, _SIGNATURE_PADDING, _SIGNATURE_HASH)).decode("ascii")

    def verify(self, text: bytes, sign: str) -> None:
        """Raise `MessageRejected` unless `sign` is LianLian's signature of `text` (specification 4.2)."""
        try:
            signature = base64.b64decode(sign)
            # Many texts decode to the same bytes (line breaks, stray signs, unused bits); only the one
            # that a standard encoder writes is accepted.
            if base64.b64encode(signature) != sign.encode("ascii"):
                raise ValueError("not canonical")
            self._gateway.verify(signature, text, _SIGNATURE_PADDING, _SIGNATURE_HASH)
        except (ValueError, InvalidSignature):
            raise MessageRejected(Rejection.BAD_SIGNATURE, "the signature is not LianLian's") from None

    def seal_key(self, key: bytes) -> bytes:
        """`key` encrypted for LianLian: RSA, OAEP with SHA-1 (specification 4.3)."""
        return self._gateway.encrypt(key, SEAL_PADDING)

    @property
    def merchant_public_key_pem(self) -> str:
        """The public half of the merchant's key as PEM."""
        return self._merchant.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    @property
    def merchant_public_key_base64(self) -> str:
        """The public half of the merchant's key as the merchant portal wants it: one line of base64."""
        return base64.b64encode(self._merchant_spki).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """The merchant's public key in short, for people to compare: the start of its SHA-256."""
        return _fingerprint(self._merchant_spki)

    @property
    def gateway_fingerprint(self) -> str:
        """LianLian's public key in short, for people to compare: the start of its SHA-256."""
        return _fingerprint(_spki(self._gateway))

    def __repr__(self) -> str:
        return (
            f"<KeyRing merchant {self._merchant.key_size} bit {self.fingerprint}, "
            f"gateway {self._gateway.key_size} bit {self.gateway_fingerprint}>"
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a KeyRing holds a private key: it cannot be copied or pickled; load it where it is needed")


def load_private_key(
    source: KeySource, password: Password | None = None, *, name: str = "private_key"
) -> RSAPrivateKey:
    """One RSA private key, with every check of `KeyRing.load`; `name` is what errors call it."""
    origin = _Source(name, source, password)
    del source, password
    return _private_key(origin)[0]


def load_public_key(source: KeySource, *, name: str = "public_key") -> RSAPublicKey:
    """One RSA public key, with every check of `KeyRing.load`; `name` is what errors call it."""
    origin = _Source(name, source)
    del source
    return _public_key(origin)


# ---------------------------------------------------------------------- from a source to bytes


_LOOKS_LIKE_CONTENT: Final = re.compile(r"\s*MI[A-Za-z0-9+/=\s]{200,}|.*-----BEGIN", re.DOTALL)


@frozen
class _Material:
    """The content of a key; `name` is what errors call it."""

    name: str
    content: bytes = field(repr=False)
    password: Password | None = field(repr=False)


@frozen
class _Source:
    """Where a key comes from, be it a path or the content itself."""

    name: str
    source: KeySource = field(repr=False)
    password: Password | None = field(default=None, repr=False)

    def read(self, *, is_private: bool) -> _Material:
        """The key's content. Raises `ConfigError`."""
        if isinstance(self.source, bytes):
            return _Material(self.name, self.source, self.password)
        if _LOOKS_LIKE_CONTENT.match(os.fspath(self.source)):
            raise ConfigError(f"{self.name} is a key where its path is expected; give the path, or the key as bytes")
        content = read_key_file(Path(self.source), self.name, is_private=is_private)
        return _Material(f"{self.name} ({os.fspath(self.source)})", content, self.password)


def read_key_file(path: Path, name: str, *, is_private: bool) -> bytes:
    """The content of a key file that nobody else can read (private) or change (public)."""
    try:
        real = path.resolve(strict=True)
        # The file that is checked is the file that is read: one descriptor for both. Not blocking,
        # because opening a pipe would otherwise wait for somebody to write into it.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, RuntimeError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "not a usable path"
        raise ConfigError(f"{name}: {path} cannot be opened ({reason}); give a file this user can read") from None
    try:
        if problem := _file_problem(os.fstat(descriptor), real, is_private=is_private):
            raise ConfigError(f"{name}: {problem}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_KEY_FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


def _file_problem(status: os.stat_result, path: Path, *, is_private: bool) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file; give the key file itself"
    if status.st_size >= _KEY_FILE_BYTES_MAX:
        return f"{path} is far too large for a key; give the key file itself"
    if not is_private:
        if status.st_mode & stat.S_IWOTH:
            return f"{path} can be changed by every user of this machine; run: chmod o-w {path}"
        return None
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user; run: chown {os.geteuid()} {path}"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}"
    return None


# ---------------------------------------------------------------------- from bytes to keys

_FORMS = "PEM, DER or bare base64"


def _private_key(source: _Source) -> tuple[RSAPrivateKey, tuple[str, ...]]:
    """The key, and what its owner should know about it."""
    notes: tuple[str, ...] = ()
    material = source.read(is_private=True)
    key = _parse(material)
    if material.password is not None:
        if key == _ENCRYPTED:
            key = _parse(material, with_password=True)
        else:
            notes = (f"{material.name} is not encrypted, though a password was given",)
    if isinstance(key, RSAPublicKey):
        key = "is a public key; the private key belongs here"
    if isinstance(key, RSAPrivateKey):
        key = _size_problem(key) or key
    if isinstance(key, str):
        raise ConfigError(f"{material.name} {key}")
    return key, notes


def _public_key(source: _Source) -> RSAPublicKey:
    material = source.read(is_private=False)
    key = _parse(material)
    if isinstance(key, RSAPrivateKey) or key == _ENCRYPTED:
        key = "is a private key; only a public key belongs here, and that private key should now be replaced"
    if isinstance(key, RSAPublicKey):
        key = _size_problem(key) or key
    if isinstance(key, str):
        raise ConfigError(f"{material.name} {key}")
    return key


_ENCRYPTED: Final = (
    "is encrypted; give its password (from Python), or decrypt it (for the command line) with: "
    "openssl pkey -in FILE -out NEWFILE && chmod 600 NEWFILE"
)


def _parse(material: _Material, *, with_password: bool = False) -> RSAPrivateKey | RSAPublicKey | str:
    """The RSA key in `material`, of whichever kind, or what is wrong with it."""
    password = material.password if with_password else None
    if callable(password):
        password = password()
    content, is_pem = _unwrapped(material.content)
    load_private = load_pem_private_key if is_pem else load_der_private_key
    load_public = load_pem_public_key if is_pem else load_der_public_key
    try:
        key: object = load_private(content, password)
    except TypeError:
        return _ENCRYPTED
    except UnsupportedAlgorithm:
        return "uses an algorithm this machine's OpenSSL does not offer; give an RSA key"
    except ValueError:
        if password is not None:
            return "does not open with this password; give the right one"
        try:
            key = load_public(content)
        except (ValueError, UnsupportedAlgorithm):
            return _unreadable(content)
    if isinstance(key, (RSAPrivateKey, RSAPublicKey)):
        return key
    return "is not an RSA key; LianLian works with RSA only"


def _unwrapped(content: bytes) -> tuple[bytes, bool]:
    """`content` as PEM (True) or DER (False); bare base64, as the portal gives it, becomes DER."""
    text = content.removeprefix(b"\xef\xbb\xbf").strip()
    if b"-----BEGIN" in text:
        return text, True
    try:
        return base64.b64decode(b"".join(text.split()), validate=True), False
    except ValueError:
        return content, False


def _unreadable(content: bytes) -> str:
    if b"CERTIFICATE-----" in content:
        return "is a certificate; take its key out with: openssl x509 -pubkey -noout -in FILE"
    if b"OPENSSH PRIVATE KEY-----" in content:
        return "is an SSH key; make an RSA key with: openssl genrsa -out FILE 2048"
    return f"is not a readable key; give an RSA key as {_FORMS}"


def _size_problem(key: RSAPrivateKey | RSAPublicKey) -> str | None:
    if KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX:
        return None
    return f"has {key.key_size} bits; give a key of {KEY_BITS_MIN} to {KEY_BITS_MAX} bits"


def _size_warnings(merchant: RSAPrivateKey, gateway: RSAPublicKey) -> tuple[str, ...]:
    warnings = []
    if merchant.key_size < KEY_BITS_ADVISED:
        warnings.append(
            f"the merchant's key has only {merchant.key_size} bits: make one of {KEY_BITS_ADVISED} "
            "and register its public half in the merchant portal"
        )
    if gateway.key_size < KEY_BITS_ADVISED:
        warnings.append(
            f"LianLian's key has only {gateway.key_size} bits: ask LianLian for a longer one; "
            "until then bad news from a notification counts only once a query agrees"
        )
    return tuple(warnings)


def _refuse_crippled_openssl(merchant: RSAPrivateKey, gateway: RSAPublicKey) -> None:
    """Find out at start, not at the first payout, that this machine cannot speak the protocol."""
    try:
        probe = merchant.sign(b"probe", _SIGNATURE_PADDING, _SIGNATURE_HASH)
        merchant.public_key().verify(probe, b"probe", _SIGNATURE_PADDING, _SIGNATURE_HASH)
        gateway.encrypt(b"probe", SEAL_PADDING)
    except (UnsupportedAlgorithm, InternalError, InvalidSignature, ValueError):
        raise ConfigError(
            "this machine's OpenSSL refuses MD5 signatures or SHA-1 padding, as it does in FIPS mode; LianLian's "
            "protocol prescribes both, so run on a machine without FIPS mode"
        ) from None


def _spki(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _fingerprint(spki: bytes) -> str:
    return f"sha256:{hashlib.sha256(spki).hexdigest()[:16]}"
