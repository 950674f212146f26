"""The step of `doctor` that looks at the SFTP account, where one is configured: connects, compares, lists."""

from __future__ import annotations

from ..clock import Clock
from ..config import Settings
from ..errors import ConfigError
from ..reconcile.fetch_errors import FetchError
from .fetching import source_of
from .findings import Finding, ok, wrong

__all__ = ["look_at_sftp"]


async def look_at_sftp(settings: Settings, clock: Clock) -> list[Finding]:
    """Nothing where no account is configured; nothing is fetched."""
    if not settings.sftp_host:
        return []
    try:
        source = source_of(settings, clock)
        names, _ = await source.listed()
    except ConfigError as error:
        return [wrong("sftp", str(error))]
    except FetchError as error:
        return [wrong("sftp", str(error), unusable=error.later)]
    access = source.access
    return [ok("sftp", f"{access.address}, host key {access.host_key}, {len(names):,} statements there")]
