"""`reconcile --sftp`: the configured source of statements, and what a person is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from attrs import evolve

from ..clock import SHANGHAI, Clock
from ..config import Settings
from ..errors import ConfigError
from ..reconcile.sftp import Fetch, Patience, SftpAccess, StatementSource, ready_at
from ..reconcile.statement import days_of
from .common import complain
from .output import tell_on_stderr

__all__ = ["fetched_statements", "patient", "source_of"]

# From the end of a day until its statement is ready.
_A_MORNING: Final = timedelta(hours=9)


def source_of(settings: Settings, clock: Clock, missing_s: float = 0.0) -> StatementSource:
    """The configured source; a file is tried for so long after it should be there. Raises ConfigError."""
    access = SftpAccess.of(settings)
    if not settings.sftp_folder:
        raise ConfigError(
            "sftp_folder is missing (where fetched statements and their record are kept): set LIANLIAN_SFTP_FOLDER"
        )
    if not settings.oid_partner:
        raise ConfigError("oid_partner is missing: set LIANLIAN_OID_PARTNER")
    patience = patient(clock, missing_s)
    return StatementSource(access, Path(settings.sftp_folder), settings.oid_partner, clock=clock, patience=patience)


def patient(clock: Clock, missing_s: float) -> Patience:
    """A faster clock makes nights shorter, and no network faster: a socket gets its real time whatever the clock."""
    plain, second = Patience(), 1 / clock.loop_seconds(1.0)
    return evolve(plain, connect_s=plain.connect_s * second, answer_s=plain.answer_s * second, missing_s=missing_s)


@asynccontextmanager
async def fetched_statements(
    settings: Settings, clock: Clock, periods: Sequence[str], *, again: bool, wait_s: float
) -> AsyncIterator[list[Path]]:
    """The statements of these days and months (none: of the last day that is over, +08:00) as files, and what there is
    to say about them on stderr. They count as reconciled when the block ends well. Raises FetchError, ConfigError.
    """
    tell_on_stderr("lianlian_async.sftp")
    yesterday = f"{clock.now().astimezone(SHANGHAI) - timedelta(days=1):%Y%m%d}"
    async with source_of(settings, clock, wait_s) as source:
        fetch = await _fetched(source, periods or [yesterday], clock, again=again)
        yield fetch.paths
        await source.processed(fetch)


async def _fetched(source: StatementSource, periods: Sequence[str], clock: Clock, *, again: bool) -> Fetch:
    for period in periods:
        if days_of(period) and timedelta(0) < ready_at(period) - clock.now() <= _A_MORNING:
            complain(f"the statement of {period} is ready at {ready_at(period):%Y-%m-%d %H:%M} (+08:00): waiting")
    fetch = await source.fetch(periods, again=again)
    for file in fetch.files:
        complain(f"fetched: {file.path} ({file.size:,} bytes, SHA-256 {file.sha256})")
    for file in fetch.already:
        complain(f"{file.name} was reconciled before and has not changed: --again takes it once more")
    return fetch
