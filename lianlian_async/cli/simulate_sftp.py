"""`simulate --sftp-port`: the simulated gateway's statements over SFTP, and how a client finds them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..errors import ConfigError

__all__ = ["statements_served"]


@asynccontextmanager
async def statements_served(
    folder: Path | None, host: str, port: int | None, oid_partner: str
) -> AsyncIterator[tuple[Path | None, dict[str, str]]]:
    """Yields where statements are to be put, and what a client must know; with no port, `folder` and nothing.

    Without a folder one is made. Raises ConfigError, OSError.
    """
    if port is None:
        yield folder, {}
        return
    try:
        from ..testing.sftp import serve_statements
    except ImportError as error:
        raise ConfigError("SFTP needs asyncssh: pip install 'lianlian-async[sftp]'") from error
    own = Path(tempfile.mkdtemp(prefix="lianlian-sftp-"))
    place = folder or own / "served"
    place.mkdir(exist_ok=True)
    async with serve_statements(place, oid_partner, host=host, port=port) as server:
        password = own / "sftp-password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{server.password}\n")
        yield place, {
            "sftp_host": server.host, "sftp_port": str(server.port), "sftp_user": server.user,
            "sftp_host_key": server.host_key, "sftp_password_file": str(password), "sftp_folder": str(own / "fetched"),
            "sftp_fingerprint": server.fingerprint,
        }  # fmt: skip
