"""`review serve` and `review user`: the page on which people decide on held payouts, and who may sign in there."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from ..client import LianLianClient
from ..config import Settings
from ..errors import ConfigError
from ..review.people import PASSWORD_CHARACTERS_MIN, UsersFile, add_person, name_fault
from ..transport import is_loopback
from .common import clock_of, config_option, existing_journal, run_async, say_path, scale_option, stop_event
from .reviewing import review

__all__ = ["review"]

_SECRET = "LIANLIAN_REVIEW_SECRET"  # noqa: S105 - the variable's name, not its value
_SECRET_CHARACTERS_MIN = 32

_users_option = click.option(
    "--users", type=click.Path(path_type=Path), envvar="LIANLIAN_REVIEW_USERS_FILE", show_envvar=True,
    help="The file of people who may sign in.",
)  # fmt: skip


@review.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other than this machine needs --behind-tls.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes any free one.")
@click.option("--behind-tls", is_flag=True, help="A proxy in front of the page speaks TLS: cookies are for TLS only.")
@_users_option
@click.option(
    "--two-person",
    is_flag=True,
    help="An approval takes two different people.  [always, where the settings say two_person]",
)
@config_option
@scale_option
@run_async
async def serve(
    host: str, port: int, behind_tls: bool, users: Path | None, two_person: bool, config: Path | None,
    time_scale: float,
) -> None:  # fmt: skip
    """Serve the page on which held payouts are approved or declined, until stopped.

    It needs people (`review user NAME`), a secret in LIANLIAN_REVIEW_SECRET, and a journal that is there.
    """
    from ..review import serve_reviews, signed_in_app

    _check_host(host, behind_tls)
    secret, people = _secret(), UsersFile(_users_file(users))
    people.people()
    settings = Settings.load(config)
    stop = stop_event()
    logging.getLogger("lianlian_async").addHandler(logging.StreamHandler())
    async with LianLianClient(
        settings.merchant(), existing_journal(settings), clock=clock_of(time_scale), two_person=two_person
    ) as client:
        app = signed_in_app(client, users=people, secret=secret, behind_tls=behind_tls)
        await serve_reviews(app, host=host, port=port, stop=stop, ready=_say_address)


@review.command()
@click.argument("name")
@_users_option
def user(name: str, users: Path | None) -> None:
    """Add the person NAME to the users file, or give NAME a new password; asks for it twice."""
    path = _users_file(users)
    if fault := name_fault(name):
        raise ConfigError(f"the name {name!r} {fault}")
    password = click.prompt(
        f"Password for {name} (at least {PASSWORD_CHARACTERS_MIN} characters)", hide_input=True,
        confirmation_prompt="The same again",
    )  # fmt: skip
    known = add_person(path, name, password)
    say_path(f"{name} has a new password in {path}" if known else f"{name} is added to {path}")


def _say_address(url: str) -> None:
    click.echo(f"The review page is at {url} ; stop it with Ctrl-C.")


def _check_host(host: str, behind_tls: bool) -> None:
    if not is_loopback(host) and not behind_tls:
        raise ConfigError(
            f"--host {host} is open to the network, where passwords and approvals would travel readable: "
            "put a TLS proxy in front of it, and say so with --behind-tls"
        )


def _users_file(path: Path | None) -> Path:
    if path is None:
        raise ConfigError(
            "no users file is given: set LIANLIAN_REVIEW_USERS_FILE (or --users FILE), "
            "and `lianlian-async review user NAME` makes it"
        )
    return path


def _secret() -> str:
    secret = os.environ.get(_SECRET, "")
    if len(secret) < _SECRET_CHARACTERS_MIN:
        problem = "is too short" if secret else "is missing"
        raise ConfigError(
            f"{_SECRET} {problem}: it signs sessions and forms and must have at least {_SECRET_CHARACTERS_MIN} "
            "characters; make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return secret
