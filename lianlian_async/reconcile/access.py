"""Who fetches statements where: the server, its pinned host key, the user, and how the user proves who it is.

Nothing is taken from the machine's own SSH set-up: no agent, no known_hosts, no configuration file, no default key.
What is not said here does not happen. Secrets stay in their files; this module knows the paths only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ..config import Settings
from ..crypto.keys import read_key_file
from ..errors import ConfigError
from ..protocol.fields import safe_text

__all__ = ["HostKeyPin", "Patience", "SftpAccess"]

_ASK: Final = (
    "ask LianLian for its host key, or compare what `ssh-keyscan -p PORT HOST | ssh-keygen -lf -` shows with what "
    "LianLian says"
)
_FINGERPRINT: Final = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?")
# As in a .pub file, or as ssh-keyscan writes it with the host in front; a marker (@revoked) is no pin.
_KEY_LINE: Final = re.compile(
    r"(?:[^@#\s]\S* )?((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) ([A-Za-z0-9+/]{32,}={0,2})(?: .*)?"
)


@frozen
class HostKeyPin:
    """The one host key that is trusted: by its SHA-256, and by its algorithm where the whole key was given."""

    sha256: bytes = field(repr=lambda value: value.hex()[:16])
    algorithm: str = ""

    @classmethod
    def of(cls, text: str) -> HostKeyPin:
        """Read an OpenSSH public key line, or `SHA256:...` as `ssh-keygen -l` shows it. Raises ConfigError."""
        said = text.strip()
        if match := _FINGERPRINT.fullmatch(said):
            # Decoded with its one missing sign of padding; spare bits beyond the hash would hide a slip.
            digest = base64.b64decode(f"{match[1]}=")
            if base64.b64encode(digest).decode().rstrip("=") == match[1]:
                return cls(digest)
        elif match := _KEY_LINE.fullmatch(said):
            name, blob = match[1], _decoded(match[2])
            if blob is not None and blob.startswith(len(name).to_bytes(4, "big") + name.encode()):
                return cls(hashlib.sha256(blob).digest(), name)
        if said.lower().startswith("md5:") or re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){15}[0-9A-Fa-f]{2}", said):
            raise ConfigError(f"sftp_host_key is an MD5 fingerprint, which can be forged: give SHA256:...; {_ASK}")
        raise ConfigError(
            f"sftp_host_key is no OpenSSH public key line and no SHA256:... ({safe_text(said[:40])}); {_ASK}"
        )

    def fits(self, blob: bytes) -> bool:
        """True when this is the key (in its SSH wire form) that was pinned."""
        return hmac.compare_digest(hashlib.sha256(blob).digest(), self.sha256)

    def __str__(self) -> str:
        return f"SHA256:{base64.b64encode(self.sha256).decode().rstrip('=')}"


@frozen
class Patience:
    """How long is waited, in the clock's seconds: for a connection; for one answer or block; between two looks at a
    file that must not have changed; and for a file that is not there yet, from when it should be (or from now)."""

    connect_s: float = 60.0
    answer_s: float = 60.0
    quiet_s: float = 10.0
    missing_s: float = 2 * 3600.0


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}", value):
        raise ConfigError(
            f"sftp_host is no host name or address: {safe_text(value[:60])}; the port goes into sftp_port"
        )
    return value


def _user(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,64}", value):
        raise ConfigError("sftp_user must be 1 to 64 visible characters: give the name that LianLian gave you")
    return value


def _port(value: int | str) -> int:
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"[0-9]{1,5}", value) else 0
    if isinstance(value, bool) or not 0 < value < 65536:
        raise ConfigError("sftp_port must be a number from 1 to 65535")
    return value


def _root(value: str | None) -> str | None:
    if not value:
        return None
    if not re.fullmatch(r"(?:/[A-Za-z0-9_.-]+)+|/", value) or {".", ".."} & set(value.split("/")):
        raise ConfigError(f"sftp_root is no absolute path without dots: {safe_text(value[:60])}; such as /{'0' * 18}")
    return value


def _pin(value: str | HostKeyPin) -> HostKeyPin:
    return value if isinstance(value, HostKeyPin) else HostKeyPin.of(value)


@frozen(kw_only=True)
class SftpAccess:
    """An SFTP account at LianLian. `host_key` (a key line, or SHA256:...) is required: there is no connection without.

    Exactly one of `key_file` (an SSH private key without a password) and `password_file` (its one line) is given; both
    must belong to this user and be open to nobody else (mode 0600). `root` is the folder on the server; left out, it is
    `/<oid_partner>`. Raises ConfigError.
    """

    host: str = field(converter=_host)
    user: str = field(converter=_user)
    host_key: HostKeyPin = field(converter=_pin)
    port: int = field(default=22, converter=_port)
    key_file: Path | None = None
    password_file: Path | None = None
    root: str | None = field(default=None, converter=_root)

    def __attrs_post_init__(self) -> None:
        if (self.key_file is None) == (self.password_file is None):
            raise ConfigError("give either sftp_key_file or sftp_password_file, and not both")

    @classmethod
    def of(cls, settings: Settings) -> SftpAccess:
        """The account that is configured (LIANLIAN_SFTP_*). Raises ConfigError."""
        for name, meaning in _REQUIRED.items():
            if not getattr(settings, name):
                raise ConfigError(
                    f"{name} is missing ({meaning}): set LIANLIAN_{name.upper()}, or give it in --config FILE"
                )
        return cls(
            host=settings.sftp_host or "", user=settings.sftp_user or "", host_key=settings.sftp_host_key or "",
            port=settings.sftp_port or 22, root=settings.sftp_root,
            key_file=Path(settings.sftp_key_file) if settings.sftp_key_file else None,
            password_file=Path(settings.sftp_password_file) if settings.sftp_password_file else None,
        )  # fmt: skip

    @property
    def address(self) -> str:
        """What errors call the server."""
        return f"sftp://[{self.host}]:{self.port}" if ":" in self.host else f"sftp://{self.host}:{self.port}"

    def secret(self) -> bytes:
        """The private key's file, or the password. Raises ConfigError. The caller lets go of it soon."""
        if self.key_file is not None:
            return read_key_file(self.key_file, "sftp_key_file", is_private=True)
        content = read_key_file(self.password_file or Path(), "sftp_password_file", is_private=True)
        password = content.removesuffix(b"\n").removesuffix(b"\r")
        problem = "is empty" if not password else "holds more than one line" if b"\n" in password else None
        try:
            password.decode("utf-8")
        except UnicodeDecodeError:
            problem = "is no text in UTF-8"
        if problem:
            raise ConfigError(
                f"sftp_password_file ({self.password_file}) {problem}; write the password as its one line"
            )
        return password


_REQUIRED: Final = {
    "sftp_host": "LianLian's SFTP server",
    "sftp_user": "your user there",
    "sftp_host_key": "its host key, or SHA256:...; without it there is no telling who answers",
}
