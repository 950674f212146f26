"""The users file of `review serve`: one `name:scrypt$...` a line, for nobody else to read.

Passwords go through scrypt with the parameters that stand in the line. An unknown name takes as long as a wrong
password, and both get the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from ..errors import ConfigError
from ..resolver.permits import same_person, shows_nothing

__all__ = ["PASSWORD_CHARACTERS_MIN", "UsersFile", "Verifier", "add_person", "name_fault"]

PASSWORD_CHARACTERS_MIN: Final = 12
_FILE_BYTES_MAX: Final = 1024 * 1024
_NAME_CHARACTERS_MAX: Final = 64
# 32 MiB and about a quarter of a second: OWASP's recommendation for scrypt.
_COST: Final = (2**15, 8, 3)
_MEMORY_MAX: Final = 256 * 1024 * 1024
_VERIFIER: Final = re.compile(r"scrypt\$([0-9]{1,7})\$([0-9]{1,2})\$([0-9]{1,2})\$([0-9a-f]{32})\$([0-9a-f]{64})")


@frozen
class Verifier:
    """What a password is checked against."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def make(cls, password: str, cost: tuple[int, int, int] = _COST) -> Verifier:
        """For a new password."""
        salt = secrets.token_bytes(16)
        return cls(*cost, salt, _scrypt(password, salt, *cost))

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """From a line of the file; raises ValueError."""
        match = _VERIFIER.fullmatch(text)
        if match is None:
            raise ValueError("not of the form scrypt$N$r$p$salt$key")
        n, r, p = (int(number) for number in match.groups()[:3])
        if n < 2 or n & (n - 1) or not r or not p or 128 * n * r > _MEMORY_MAX:
            raise ValueError("its scrypt parameters are out of range")
        return cls(n, r, p, bytes.fromhex(match[4]), bytes.fromhex(match[5]))

    def __str__(self) -> str:
        return f"scrypt${self.n}${self.r}${self.p}${self.salt.hex()}${self.key.hex()}"

    def decoy(self) -> Verifier:
        """One that no password fits, and that takes as long."""
        return Verifier(self.n, self.r, self.p, secrets.token_bytes(16), secrets.token_bytes(32))

    def fits(self, password: str) -> bool:
        """True for the right password; slow on purpose, so call it in a thread."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p), self.key)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    plain = unicodedata.normalize("NFC", password).encode()
    return hashlib.scrypt(plain, salt=salt, n=n, r=r, p=p, maxmem=2 * _MEMORY_MAX, dklen=32)


def name_fault(name: str) -> str | None:
    """What is wrong with a person's name; it stands in the journal beside every word of theirs."""
    if not 0 < len(name) <= _NAME_CHARACTERS_MAX or name != name.strip():
        return f"must have 1 to {_NAME_CHARACTERS_MAX} characters, and no blanks around it"
    if ":" in name or name.startswith("#") or not name.isprintable() or any(map(shows_nothing, name)):
        return "must be printable, without a colon, and not begin with #"
    if unicodedata.normalize("NFKC", name) != name or "  " in name:
        return "must be in plain letters (Unicode's NFKC, no full width), with single blanks between its parts"
    return None


@define
class UsersFile:
    """The people of a file, read again whenever it changes: who is taken out is out at once."""

    path: Path
    _mark: tuple[int, int, int] | None = None
    _people: Mapping[str, Verifier] = field(factory=dict)
    _decoy: Verifier | None = field(default=None, repr=False)

    def people(self) -> Mapping[str, Verifier]:
        """Everybody, by name; raises ConfigError when the file is missing, open to others, or malformed."""
        with suppress(OSError):
            status = self.path.stat()
            if self._mark == (status.st_mtime_ns, status.st_size, status.st_ino) and not _file_fault(status, self.path):
                return self._people
        text, status = _read(self.path)
        people = _parse(text, self.path)
        if not people:
            raise ConfigError(f"there is nobody in {self.path}; add somebody with `lianlian-async review user NAME`")
        self._decoy = max(people.values(), key=lambda verifier: verifier.n * verifier.r * verifier.p).decoy()
        self._people, self._mark = people, (status.st_mtime_ns, status.st_size, status.st_ino)
        return people

    def verifier(self, name: str) -> Verifier:
        """The person's, or for an unknown name one that nothing fits."""
        found = self.people().get(name) or self._decoy
        assert found is not None, "people() makes a decoy"
        return found


def add_person(path: Path, name: str, password: str) -> bool:
    """Write the person into the file (made with mode 0600); True when the name was there and got a new password.

    Raises ConfigError for a bad name, a short password, or a file that is open to others or malformed.
    """
    if fault := name_fault(name):
        raise ConfigError(f"the name {name!r} {fault}")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise ConfigError(f"a password must have at least {PASSWORD_CHARACTERS_MIN} characters")
    text = _read(path)[0] if path.exists() else ""
    people = _parse(text, path)
    known = name in people
    if other := next((one for one in people if one != name and same_person(one, name)), None):
        raise ConfigError(f"the name {name!r} is {other!r} in another spelling: people need names that differ")
    lines = [line for line in text.splitlines() if line.partition(":")[0] != name]
    _replace(path, "\n".join([*lines, f"{name}:{Verifier.make(password)}", ""]))
    return known


def _parse(text: str, path: Path) -> dict[str, Verifier]:
    people: dict[str, Verifier] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, verifier = line.partition(":")
        try:
            if fault := name_fault(name) or ("stands there twice" if name in people else None):
                raise ValueError(f"the name {fault}")
            people[name] = Verifier.parse(verifier)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
    return people


def _read(path: Path) -> tuple[str, os.stat_result]:
    try:
        # One descriptor for checking and reading; not blocking, because opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(
            f"the users file {path} cannot be read ({error.strerror}); "
            "`lianlian-async review user NAME` makes it and adds a person"
        ) from error
    try:
        status = os.fstat(descriptor)
        if fault := _file_fault(status, path):
            raise ConfigError(f"the users file {fault}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_FILE_BYTES_MAX).decode("utf-8"), status
    except UnicodeDecodeError as error:
        raise ConfigError(f"the users file {path} is not UTF-8") from error
    finally:
        os.close(descriptor)


def _file_fault(status: os.stat_result, path: Path) -> str | None:
    if not stat.S_ISREG(status.st_mode) or status.st_size >= _FILE_BYTES_MAX:
        return f"{path} is not a file of users"
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user; run: chown {os.geteuid()} {path}"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}"
    return None


def _replace(path: Path, text: str) -> None:
    """Write the file as a whole: a reader sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ConfigError(f"the users file {path} cannot be written ({error.strerror})") from error
