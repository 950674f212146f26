"""The command line: every command, one place for what ends up as an exit status (docs/cli.md).

0  done
1  some payouts need a person, or are still open
2  wrong usage or configuration
3  gateway or journal unusable
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ..errors import BreakerOpen, ConfigError, JournalUnavailable, LianLianError, NothingSent, OutcomeUnknown
from ..protocol.fields import is_text
from ..reconcile.fetch_errors import FetchError
from . import demo, doctor, keys, look, operate, pay, people, reconcile, review, simulate, worker
from .output import protect_output, status_after_output, tell_on_stderr

__all__ = ["main", "run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lianlian-async", prog_name="lianlian-async")
def main() -> None:
    """Pay out through LianLian Pay (实时付款), and never twice.

    Settings come from the environment (LIANLIAN_OID_PARTNER, LIANLIAN_PRIVATE_KEY_FILE,
    LIANLIAN_GATEWAY_PUBLIC_KEY_FILE, LIANLIAN_NOTIFY_URL, LIANLIAN_JOURNAL, LIANLIAN_BASE_URL) or from a TOML
    file with the same names in lower case without the prefix (--config FILE).

    \b
    Exit status: 0 done / 1 some payouts need a person / 2 wrong usage or configuration /
                 3 gateway or journal unusable
    """


for command in (
    demo.demo, simulate.simulate, pay.pay, worker.worker, reconcile.reconcile, look.status, look.query, look.due,
    look.explain, review.review, operate.resume, people.amend, people.replace, operate.pause, operate.unpause,
    keys.keys, doctor.doctor,
):  # fmt: skip
    main.add_command(command)


def _status(error: LianLianError) -> int:
    if isinstance(error, BreakerOpen):
        return 1
    if isinstance(error, FetchError):
        return 3 if error.later else 2
    if isinstance(error, JournalUnavailable | OutcomeUnknown) or type(error) is NothingSent:
        return 3
    return 2


def run() -> None:
    """Run a command; every foreseeable fault ends as one sentence and a status."""
    # A terminal that cannot show a character, or a pipe that nobody reads, must not stop a payout's report.
    protect_output()
    tell_on_stderr("lianlian_async.alarms")
    sys.exit(status_after_output(_ran()))


def _ran() -> int:
    """The command's own status."""
    try:
        _refuse_undecodable(sys.argv[1:])
        return main(standalone_mode=False) or 0
    except click.exceptions.Abort:
        click.echo("stopped; nothing that was journalled is lost, run the same command again to go on", err=True)
        return 1
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except LianLianError as error:
        click.echo(f"Error: {error}", err=True)
        return _status(error)


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    """Bytes that are no text would be refused by the journal, the wire or a terminal: each in its own way, too late."""
    for place, argument in enumerate(arguments, start=1):
        if not is_text(argument):
            raise ConfigError(f"argument {place} holds bytes that are no text: write it in UTF-8; nothing was done")
