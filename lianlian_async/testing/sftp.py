"""LianLian's statement server as a double: SFTP on loopback, with a host key of its own, and faults on request.

    async with serve_statements(folder, oid_partner) as server:
        access = SftpAccess(host=server.host, port=server.port, user=server.user, host_key=server.host_key, ...)

What lies in `folder` is shown as `/<oid_partner>`, for reading only. Needs the extra `sftp`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import asyncssh
from attrs import define, field

__all__ = ["StatementServer", "serve_statements"]

_USER: Final = "merchant"


@define(eq=False)
class StatementServer:
    """A running server: where it is, who may come in, what it has seen, and what shall go wrong.

    `host_key` is its public key line, `fingerprint` the same as `SHA256:...`. `users` are the names that asked to come
    in (only after the key exchange), `passwords` how many were offered, `logins` how many came in, `connections` how
    many are there now, `opened` the names of opened files, and `sent` how many bytes of files were handed out. Faults:
    `cut_after` drops the connection once so many bytes have left in all, and is None again afterwards; `silent` answers
    no request for bytes; `ends_at` is where every file seems to end, whatever its size; `extra_names` are listed
    besides; `on_read` is called with name and offset before each read.
    """

    folder: Path
    oid_partner: str
    user: str
    password: str = field(repr=False)
    client_key: Path | None
    key: asyncssh.SSHKey = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    users: list[str] = field(factory=list)
    passwords: int = 0
    logins: int = 0
    connections: int = 0
    opened: list[str] = field(factory=list)
    sent: int = 0
    cut_after: int | None = None
    silent: bool = False
    ends_at: int | None = None
    extra_names: list[bytes] = field(factory=list)
    on_read: Callable[[str, int], None] | None = None

    @property
    def host_key(self) -> str:
        """The public key line that a client pins."""
        return self.key.export_public_key("openssh").decode("ascii").strip()

    @property
    def fingerprint(self) -> str:
        """The host key in short: SHA256:..."""
        return self.key.get_fingerprint("sha256")


class _Door(asyncssh.SSHServer):
    """Who may come in."""

    def __init__(self, server: StatementServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        del conn
        self._server.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections -= 1

    def begin_auth(self, username: str) -> bool:
        self._server.users.append(username)
        return True

    def auth_completed(self) -> None:
        self._server.logins += 1

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._server.passwords += 1
        return username == self._server.user and password == self._server.password

    def public_key_auth_supported(self) -> bool:
        return self._server.client_key is not None

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = self._server.client_key
        return username == self._server.user and known is not None and key == asyncssh.read_public_key(known)


class _Shelf(asyncssh.SFTPServer):
    """The folder, for reading only."""

    def __init__(self, server: StatementServer, channel: asyncssh.SSHServerChannel) -> None:  # type: ignore[type-arg]
        super().__init__(channel)
        self._server = server
        self._names: dict[int, str] = {}

    def map_path(self, path: bytes) -> bytes:
        """The file behind a path; nothing but the merchant's own folder is there."""
        home = f"/{self._server.oid_partner}".encode()
        whole = posixpath.normpath(posixpath.join(b"/", path))
        if whole == home:
            return os.fsencode(self._server.folder)
        if posixpath.dirname(whole) != home:
            raise asyncssh.SFTPNoSuchFile("No such file")
        return os.path.join(os.fsencode(self._server.folder), posixpath.basename(whole))

    def realpath(self, path: bytes) -> bytes:
        return posixpath.normpath(posixpath.join(b"/", path))

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & ~asyncssh.FXF_READ:
            raise asyncssh.SFTPPermissionDenied("read only")
        file: Any = super().open(path, pflags, attrs)
        self._names[id(file)] = posixpath.basename(path).decode()
        self._server.opened.append(self._names[id(file)])
        return file

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        server = self._server
        if server.on_read is not None:
            server.on_read(self._names[id(file_obj)], offset)
        if server.silent:
            await self.channel.wait_closed()
        data = super().read(file_obj, offset, size)
        assert isinstance(data, bytes)
        if server.ends_at is not None:
            data = data[: max(server.ends_at - offset, 0)]
        if server.cut_after is not None and server.sent + len(data) > server.cut_after:
            server.cut_after = None
            self.connection.abort()
            raise asyncssh.SFTPConnectionLost("cut")
        server.sent += len(data)
        return data

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        for extra in [*os.listdir(self.map_path(path)), *self._server.extra_names]:
            yield asyncssh.SFTPName(extra, attrs=asyncssh.SFTPAttrs())


def _read_only(*_: object) -> NoReturn:
    raise asyncssh.SFTPPermissionDenied("read only")


for _name in (
    "fsetstat", "link", "lsetstat", "mkdir", "posix_rename", "readlink", "remove", "rename", "rmdir", "setstat",
    "symlink", "write",
):  # fmt: skip
    setattr(_Shelf, _name, _read_only)


@asynccontextmanager
async def serve_statements(
    folder: Path, oid_partner: str, *, host: str = "127.0.0.1", port: int = 0, user: str = _USER,
    password: str = "", client_key: Path | None = None,
) -> AsyncIterator[StatementServer]:  # fmt: skip
    """Serve `folder` as `/<oid_partner>` until the block is left, under a new ed25519 host key.

    `user` comes in with `password` (left out: none fits) or with the key whose public half is the file `client_key`.
    Raises OSError.
    """
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = StatementServer(folder, oid_partner, user, password or os.urandom(16).hex(), client_key, key, host)
    listener = await asyncssh.listen(
        host, port, server_host_keys=[key], server_factory=lambda: _Door(server),
        sftp_factory=lambda channel: _Shelf(server, channel), allow_scp=False, config=None,
        public_key_auth=client_key is not None, kbdint_auth=False, gss_host=None, gss_kex=False, gss_auth=False,
    )  # fmt: skip
    try:
        server.port = listener.get_port()
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
