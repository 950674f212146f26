"""How the statements of `demo --days` come over: by SFTP, as from LianLian, or put there where that is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from ..reconcile.sftp import SftpAccess, StatementSource
from ..testing.clocks import ScaledClock
from ..testing.simulator import Ledger
from ..testing.simulator.statements import write_statements
from .common import console, say_path
from .fetching import patient

__all__ = ["delivered"]

_AN_HOUR_S = 3600.0


@asynccontextmanager
async def delivered(
    ledger: Ledger, oid_partner: str, folder: Path, days: Sequence[str], clock: ScaledClock
) -> AsyncIterator[list[Path]]:
    """The statements of these days as files in `folder`/statements; processed, once the block has ended."""
    if find_spec("asyncssh") is None:
        console.print("asyncssh is not installed (extra sftp): the statements are put into the folder, and not fetched")
        place = folder / "statements"
        place.mkdir()
        yield write_statements(ledger, oid_partner, place, days)
        return
    from ..testing.sftp import serve_statements

    served, password_file = folder / "gateway-sftp", folder / "sftp-password"
    served.mkdir()
    write_statements(ledger, oid_partner, served, days)
    async with serve_statements(served, oid_partner) as server:
        password_file.touch(0o600)
        password_file.write_text(f"{server.password}\n")
        access = SftpAccess(
            host=server.host, port=server.port, user=server.user, host_key=server.host_key, password_file=password_file
        )
        patience = patient(clock, _AN_HOUR_S)
        source = StatementSource(access, folder / "statements", oid_partner, clock=clock, patience=patience)
        async with source:
            fetch = await source.fetch(days)
            say_path(f"{len(fetch.files)} statements fetched from {access.address}, host key {access.host_key}")
            yield fetch.paths
            await source.processed(fetch)
