"""`simulate`: LianLian's gateway as a local server, for trying things out and for foreign clients."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from ..errors import ConfigError
from ..protocol.fields import field_fault
from ..testing.keys import make_keys
from .common import Finite, clock_of, run_async, scale_option, stop_event, until_stopped
from .output import tell_on_stderr
from .simulate_sftp import statements_served

if TYPE_CHECKING:
    from ..testing.simulator import Simulator

__all__ = ["DEMO_PARTNER", "simulate"]

DEMO_PARTNER = "201606020000150062"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error


async def _until_stopped(simulator: Simulator, oid_partner: str, folder: Path | None, stop: asyncio.Event) -> None:
    """Hand out statements until `stop` is set; raises OSError when they cannot be written."""
    from ..testing.simulator.statements import hand_out_statements

    if folder is None:
        await stop.wait()
    else:
        await until_stopped(hand_out_statements(simulator.ledger, oid_partner, folder, simulator.clock), stop)


def _check(ledger: Path | None, statements: Path | None, oid_partner: str) -> None:
    if statements is not None and not statements.is_dir():
        raise ConfigError(f"there is no folder {statements} for the statements")
    if ledger is not None and not ledger.parent.is_dir():
        raise ConfigError(f"there is no folder {ledger.parent} for the ledger")
    if fault := field_fault("oid_partner", oid_partner):
        raise ConfigError(f"--oid-partner {fault[0]}; {fault[1]}")


@frozen
class _Keys:
    """The two key files that the simulator needs, and what was made for whoever wants to use it."""

    merchant_public: Path
    gateway_private: Path
    said: Mapping[str, str]


def _keys(merchant_public: Path | None, gateway_private: Path | None) -> _Keys:
    """The given key files, and new ones for those that are not given; raises OSError."""
    said: dict[str, str] = {}
    if merchant_public is None or gateway_private is None:
        folder = Path(tempfile.mkdtemp(prefix="lianlian-simulator-"))
    if merchant_public is None:
        private, merchant_public = make_keys(folder, "merchant")
        said["merchant_private_key"] = str(private)
    if gateway_private is None:
        gateway_private, public = make_keys(folder, "gateway")
        said["gateway_public_key"] = str(public)
    return _Keys(merchant_public, gateway_private, said)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free one.")
@click.option("--ledger", type=click.Path(path_type=Path), help="JSON lines file for every movement of money.")
@click.option("--faults", default="calm", show_default=True, help="calm, rough or storm.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--oid-partner", default=DEMO_PARTNER, show_default=True)
@click.option(
    "--merchant-public-key", type=click.Path(path_type=Path), help="Made, with its private key, when not given."
)
@click.option(
    "--gateway-private-key", type=click.Path(path_type=Path), help="Made, with its public key, when not given."
)
@click.option("--clock-offset-s", type=Finite(-1e8, 1e8), default=0.0, help="How far the gateway's Date header is off.")
@click.option(
    "--statements", type=click.Path(path_type=Path), help="Folder for each day's FKMX and FKMXSUM, at nine on the next."
)
@click.option(
    "--sftp-port", type=click.IntRange(0, 65535), help="Serve them over SFTP, too (extra sftp). 0 takes any free port."
)
@click.option("--json", "as_json_", is_flag=True, help="Print the address and key files as one JSON line.")
@scale_option
@run_async
async def simulate(
    host: str, port: int, ledger: Path | None, faults: str, seed: int, oid_partner: str,
    merchant_public_key: Path | None, gateway_private_key: Path | None, clock_offset_s: float, statements: Path | None,
    sftp_port: int | None, as_json_: bool, time_scale: float,
) -> None:  # fmt: skip
    """Run the gateway as a local server until stopped: payment.htm, confirmPayment.htm, queryPayment.htm."""
    from ..testing.simulator import Behaviour, Simulator

    _check(ledger, statements, oid_partner)
    tell_on_stderr("lianlian_async.testing.simulator.http")
    stop = stop_event()
    try:
        keys = _keys(merchant_public_key, gateway_private_key)
        simulator = Simulator(
            oid_partner=oid_partner, merchant_public_key=_read(keys.merchant_public),
            gateway_private_key=_read(keys.gateway_private), clock=clock_of(time_scale), faults=faults,
            seed=seed, ledger_path=ledger, behaviour=Behaviour(clock_offset_s=clock_offset_s),
        )  # fmt: skip
        # Found out now: a gateway that cannot write its ledger could carry nothing out.
        simulator.ledger.open()
        async with (
            simulator.serve(host, port) as server,
            statements_served(statements, host, sftp_port, oid_partner) as (folder, sftp),
        ):
            _say({"base_url": server.base_url, "oid_partner": oid_partner, **keys.said, **sftp}, as_json_)
            await _until_stopped(simulator, oid_partner, folder, stop)
    except (ValueError, OSError) as error:
        raise ConfigError(f"the simulator cannot start: {error}") from error


def _say(facts: dict[str, str], as_json_: bool) -> None:
    if as_json_:
        click.echo(json.dumps(facts))
        return
    names = {
        "base_url": "LIANLIAN_BASE_URL",
        "oid_partner": "LIANLIAN_OID_PARTNER",
        "merchant_private_key": "LIANLIAN_PRIVATE_KEY_FILE",
        "gateway_public_key": "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE",
    }
    # A shell can read all of it: `lianlian-async simulate > gateway.env`, and `. ./gateway.env` elsewhere.
    click.echo("# The gateway is running; stop it with Ctrl-C. To use it:")
    for name, value in facts.items():
        if name.startswith("sftp_"):
            names[name] = f"LIANLIAN_{name.upper()}"
        if name == "sftp_fingerprint":
            click.echo(f"  # the host key's fingerprint is {value}")
        else:
            click.echo(f"  export {names[name]}={shlex.quote(value)}")
