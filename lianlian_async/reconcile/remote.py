"""LianLian's SFTP server, through asyncssh: the only module that knows that library.

The host key is compared before anything is said: until it fits, the server has seen a version line and a key exchange,
neither a user nor a password. Every wait has an end, in the clock's seconds.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncssh
from attrs import frozen

from ..clock import Clock
from ..errors import ConfigError
from ..protocol.fields import safe_text
from .access import Patience, SftpAccess
from .fetch_errors import (
    FetchError,
    HostKeyRefused,
    LoginRefused,
    ServerLost,
    StatementMissing,
    StatementUnusable,
)
from .inbox import Look

__all__ = ["Remote", "RemoteFile", "connected"]

_GOODBYE_S: Final = 5.0
# Every SFTP server hands out as much at once.
_PIECE: Final = 32 * 1024
_NAMES_MAX: Final = 100_000


class _Client(asyncssh.SSHClient):
    """Compares the host key with the pin, and keeps what was shown for the error."""

    def __init__(self, access: SftpAccess) -> None:
        self._access = access
        self.shown: str | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port  # what counts is the key
        self.shown = f"{key.get_algorithm()} {key.get_fingerprint('sha256')}"
        return self._access.host_key.fits(key.public_data)


@frozen(eq=False)
class RemoteFile:
    """A file of the server, open."""

    remote: Remote
    name: str
    handle: Any

    async def look(self) -> Look:
        """Size and time of what is open. Raises FetchError."""
        with self.remote.told(self.name):
            async with self.remote.answer():
                return self.remote.seen(await self.handle.stat(), self.name)

    async def read(self, offset: int, size: int) -> bytes:
        """So many bytes from `offset`; fewer only where the file ends. Raises FetchError."""
        data = b""
        with self.remote.told(self.name):
            # All of it within one answer's time: a server that hands out a byte a minute is none.
            async with self.remote.answer():
                while len(data) < size:
                    more = await self._some(offset + len(data), size - len(data))
                    if not more:
                        break
                    data += more
        return data

    async def _some(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`, asked for in pieces at once, up to the first piece that comes short.

        asyncssh's own way of doing so leaves tasks behind when the connection is lost.
        """
        places = range(offset, offset + size, _PIECE)
        pieces = await asyncio.gather(
            *(self.handle.read(min(_PIECE, offset + size - place), place) for place in places), return_exceptions=True
        )
        data = b""
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise piece
            data += piece
            if len(piece) < min(_PIECE, size):
                break
        return data


@frozen(eq=False)
class Remote:
    """A connection to the merchant's folder."""

    access: SftpAccess
    root: str
    clock: Clock
    patience: Patience
    sftp: asyncssh.SFTPClient

    async def open(self, name: str) -> RemoteFile:
        """Open a file of the folder for reading. Raises FetchError."""
        with self.told(name):
            async with self.answer():
                return RemoteFile(self, name, await self._opened(name))

    async def _opened(self, name: str) -> object:
        return await self.sftp.open(self._path(name), "rb", encoding=None, block_size=0)

    async def look(self, name: str) -> Look:
        """Size and time of what has this name *now*, which may be another file than what is open. Raises FetchError."""
        with self.told(name):
            async with self.answer():
                return self.seen(await self.sftp.stat(self._path(name)), name)

    async def names(self) -> list[str]:
        """Every name in the folder, as it is: nothing is checked. Raises FetchError."""
        found: list[str] = []
        with self.told(""):
            async with self.answer():
                async for entry in self.sftp.scandir(self.root.encode()):
                    name = entry.filename
                    found.append(name if isinstance(name, str) else name.decode("utf-8", "replace"))
                    if len(found) >= _NAMES_MAX:
                        break
        return found

    def seen(self, attributes: asyncssh.SFTPAttrs, name: str) -> Look:
        """The attributes as a `Look`. Raises StatementUnusable for what is no plain file."""
        mode = attributes.permissions
        plain = attributes.type in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN)
        if not plain or (mode is not None and stat.S_IFMT(mode) not in (0, stat.S_IFREG)) or attributes.size is None:
            raise StatementUnusable(self.access.address, name, "is no plain file", "tell LianLian")
        return Look(attributes.size, attributes.mtime or 0)

    def answer(self) -> asyncio.Timeout:
        """The time that one answer may take."""
        return asyncio.timeout(self.clock.loop_seconds(self.patience.answer_s))

    @contextmanager
    def told(self, name: str) -> Iterator[None]:
        """What goes wrong within, as a FetchError that names host and file."""
        try:
            yield
        except (asyncssh.Error, OSError, ValueError) as error:
            raise _translated(self.access, name, error, self.patience.answer_s) from error

    def _path(self, name: str) -> bytes:
        return f"{self.root.rstrip('/')}/{name}".encode()


@asynccontextmanager
async def connected(access: SftpAccess, root: str, clock: Clock, patience: Patience) -> AsyncIterator[Remote]:
    """Connect, compare the host key, log in. Raises FetchError, ConfigError."""
    options = _options(access)
    seen = _Client(access)
    connection: asyncssh.SSHClientConnection | None = None
    try:
        try:
            async with asyncio.timeout(clock.loop_seconds(patience.connect_s)):
                connection = await asyncssh.connect(
                    access.host, access.port, config=None, options=options, client_factory=lambda: seen
                )
                sftp = await connection.start_sftp_client(path_encoding=None)
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyRefused(
                access.address, "",
                f"shows the host key {seen.shown or '(unreadable)'}, and {access.host_key} is pinned",
                "nothing was sent to it. Ask LianLian whether its key has changed before you change sftp_host_key (if "
                "it has several keys, pin the whole line of one)",
            ) from error  # fmt: skip
        except asyncssh.KeyExchangeFailed as error:
            raise HostKeyRefused(
                access.address, "",
                f"has no host key of the pinned kind, or no encryption in common ({safe_text(str(error)[:120])})",
                "nothing was sent to it. Compare sftp_host_key with what `ssh-keyscan` shows, and ask LianLian",
            ) from error  # fmt: skip
        except (asyncssh.Error, OSError, ValueError) as error:
            raise _translated(access, "", error, patience.connect_s) from error
        yield Remote(access, root, clock, patience, sftp)
    finally:
        if connection is not None:
            await _leave(connection)


async def _leave(connection: asyncssh.SSHClientConnection) -> None:
    """Say goodbye, and go even if nobody answers or somebody cancels."""
    connection.close()
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await connection.wait_closed()
    except TimeoutError:
        pass
    finally:
        connection.abort()


def _options(access: SftpAccess) -> asyncssh.SSHClientConnectionOptions:
    """Everything said, nothing left to the machine's own SSH set-up."""
    key, password = _credentials(access)
    return asyncssh.SSHClientConnectionOptions(
        config=None, username=access.user, client_keys=[key] if key is not None else None, password=password,
        known_hosts=_nobody_else, server_host_key_algs=_host_key_algorithms(access), x509_trusted_certs=None,
        agent_path=None, agent_forwarding=False, gss_host=None, gss_kex=False, gss_auth=False, host_based_auth=False,
        public_key_auth=key is not None, password_auth=password is not None, kbdint_auth=password is not None,
        preferred_auth="publickey" if key is not None else "password,keyboard-interactive",
    )  # fmt: skip


def _nobody_else(host: str, addr: str, port: int | None) -> tuple[list[str], list[str], list[str]]:
    """No key is trusted but the pinned one, which `_Client` compares."""
    del host, addr, port
    return [], [], []


def _host_key_algorithms(access: SftpAccess) -> list[str]:
    """The pinned key's algorithms, so that a server with several keys shows that one; never a certificate."""
    pinned = access.host_key.algorithm
    if pinned == "ssh-rsa":
        return ["rsa-sha2-512", "rsa-sha2-256"]
    others = ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"]
    return [pinned] if pinned else ["ssh-ed25519", *others]


def _credentials(access: SftpAccess) -> tuple[asyncssh.SSHKey | None, str | None]:
    """The key or the password. Raises ConfigError."""
    if access.key_file is None:
        return None, access.secret().decode("utf-8")
    try:
        return asyncssh.import_private_key(access.secret()), None
    except ValueError as error:
        problem = "is no SSH private key; make one with: ssh-keygen -t ed25519 -N '' -f FILE"
        if "passphrase" in str(error).lower():
            problem = "is encrypted, and nobody is there to type its password; decrypt it: ssh-keygen -p -N '' -f FILE"
    raise ConfigError(f"sftp_key_file ({access.key_file}) {problem}")


def _translated(access: SftpAccess, name: str, error: Exception, limit_s: float) -> FetchError:
    host = access.address
    said = safe_text(str(error)[:200])
    if isinstance(error, asyncssh.PermissionDenied):
        which = "key" if access.key_file is not None else "password"
        remedy = f"check sftp_user and the {which}, and that LianLian has this machine's address on its list"
        return LoginRefused(host, name, f"does not let {access.user} in with this {which}", remedy)
    if isinstance(error, (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)):
        return StatementMissing(
            host, name, "is not there" if name else "the folder (sftp_root) is not there",
            "statements are ready at 09:00 (+08:00) on the next day; ask LianLian if it does not come",
        )  # fmt: skip
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPEOFError)
    if isinstance(error, asyncssh.SFTPError) and not isinstance(error, lost):
        return StatementUnusable(host, name, f"the server does not hand it out ({said})", "ask LianLian")
    if isinstance(error, TimeoutError):
        said = f"no answer within {limit_s:g} seconds"
    return ServerLost(host, name, f"the connection failed ({said})", "what came so far is kept: run it again later")
