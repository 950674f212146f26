"""`doctor`: is this set-up right, step by step? It asks one query about a number that nobody uses; no money can move.

    settings, openssl, keys, merchant, notify_url ──► gateway: reachable, certificate, answers, merchant, address,
                                                       signature, clock
    sftp, where it is configured: reachable, host key, login, folder
    journal: place, mode, durability, chains, clock, pause, people, work, orphans

A step that cannot be looked at because an earlier one is wrong says so, and is never told as right.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from ..config import Limits, Settings
from ..errors import ConfigError
from .common import clock_of, config_option, json_option, run_async, say_path, scale_option
from .doctor_gateway import GATEWAY_STEPS, ask_gateway
from .doctor_journal import look_at_journal
from .doctor_setup import look_at_setup
from .doctor_sftp import look_at_sftp
from .findings import Finding, exit_status, skipped, wrong
from .pay import fast_transports

__all__ = ["doctor"]


@click.command()
@config_option
@json_option
@scale_option
@run_async
async def doctor(config: Path | None, as_json_: bool, time_scale: float) -> int:
    """Is this set-up right, step by step? No money moves by it, and no journal is made by it.

    Every step is one line: ok, warning, wrong or skipped, and what to do.
    """
    report = _Report(as_json_)
    clock = clock_of(time_scale)
    try:
        settings = Settings.load(config)
    except ConfigError as error:
        report.add([wrong("settings", str(error)), skipped("all else", "the settings cannot be read")])
        return exit_status(report.findings)
    findings, merchant = look_at_setup(settings)
    report.add(findings)
    if merchant is None:
        report.add(skipped(step, "not asked: mend the above first") for step in GATEWAY_STEPS)
    else:
        try:
            report.add(await ask_gateway(merchant, fast_transports(Limits(), merchant), clock))
        except ConfigError as error:
            report.add([wrong("ca_file", str(error)), *(skipped(step, "not asked") for step in GATEWAY_STEPS)])
    report.add(await look_at_sftp(settings, clock))
    async for finding in look_at_journal(settings, clock):
        report.add([finding])
    return exit_status(report.findings)


class _Report:
    """Says every finding as soon as it is there, and keeps it."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.findings.append(finding)
            click.echo(finding.as_json()) if self._as_json else say_path(finding.line())
