"""Keys: a pair as the merchant portal wants it (specification 4.2), and those that encrypt the journal."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..clock import SystemClock
from ..config import Settings
from ..crypto import JournalKeys, make_journal_key
from ..errors import ConfigError
from ..journal.sqlite import SqliteJournal
from ..journal.sqlite_rotate import rotate, verify_chains
from ..journal.urls import open_journal
from .common import config_option, journal_address, opened_journal, run_async, say_path

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """The key pair of the merchant portal, and the keys that encrypt the journal."""


@keys.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), show_default="this folder", help="Folder for the files."
)
@click.option("--bits", type=click.Choice(["2048", "4096"]), default="2048", show_default=True)
def generate(out: Path, bits: str) -> None:
    """Make merchant-private.pem (mode 0600) and merchant-public.txt (to be pasted into the portal)."""
    for name in ("merchant-private.pem", "merchant-public.txt"):
        if (out / name).exists():
            raise ConfigError(f"{out / name} exists already and is not written over: move it away, or use --out")
    key = rsa.generate_private_key(public_exponent=65537, key_size=int(bits))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bare = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    _write_new(out / "merchant-private.pem", private, 0o600)
    try:
        _write_new(out / "merchant-public.txt", bare + b"\n", 0o644)
    except ConfigError:
        # Half a pair would keep the next try from making a whole one.
        (out / "merchant-private.pem").unlink(missing_ok=True)
        raise
    click.echo(f"private key: {out / 'merchant-private.pem'} (keep it; set LIANLIAN_PRIVATE_KEY_FILE to it)")
    click.echo(f"public key:  {out / 'merchant-public.txt'}")
    click.echo("Paste this into the portal: 安全中心 -> 安全信息 -> 商户秘钥维护\n")
    click.echo(bare.decode("ascii"))


@keys.command()
@config_option
def check(config: Path | None) -> None:
    """Load the configured keys, sign and verify once, and show what the portal should show."""
    merchant = Settings.load(config).merchant()
    ring = merchant.keys
    click.echo(f"oid_partner:              {merchant.oid_partner}")
    click.echo(f"merchant key fingerprint: {ring.fingerprint}")
    click.echo(f"public key for the portal:\n{ring.merchant_public_key_base64}")
    for warning in ring.warnings:
        click.echo(f"warning: {warning}", err=True)


@keys.command("journal")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The key file to be made (mode 0600).")
@click.option("--with-old", type=click.Path(path_type=Path), help="A key file whose keys go behind the new one.")
def new_journal_key(out: Path, with_old: Path | None) -> None:
    """Make a key file that encrypts a journal; with --with-old, the one to rotate with.

    Without the file nobody can read the journal again: keep a copy elsewhere, and never beside the journal's backup.
    """
    old = b"" if with_old is None else _old_keys(with_old)
    name = f"{SystemClock().now():%Y-%m-%d}-{secrets.token_hex(3)}"
    _write_new(out, make_journal_key(name, os.urandom) + old, 0o600)
    say_path(f"journal key {name}: {out} (keep a copy elsewhere; set LIANLIAN_JOURNAL_KEY_FILE to it)")
    if with_old is not None:
        say_path("First give the new file to every process on the journal, then: lianlian-async keys rotate-journal")


@keys.command("rotate-journal")
@config_option
def rotate_journal(config: Path | None) -> None:
    """Encrypt the whole journal with the first key of LIANLIAN_JOURNAL_KEY_FILE.

    It may be killed and run again, and others may use the journal meanwhile, except while the file is compacted in
    the end; a process that was not given the new key is refused. A journal without a key is encrypted for good.
    """
    settings = Settings.load(config)
    key_ring = settings.journal_keys()
    if key_ring is None:
        raise ConfigError(
            "no journal key is configured: make one with `lianlian-async keys journal --out FILE`, and set "
            "LIANLIAN_JOURNAL_KEY_FILE to it"
        )
    done = rotate(_path_of(settings), key_ring)
    say_path(f"{done} payouts and notifications were encrypted anew; key {key_ring.newest} encrypts the whole journal")


@keys.command("verify-journal")
@click.option("--without-key", is_flag=True, help="Check the chain of what is stored only; needs no key.")
@config_option
@run_async
async def verify_journal(without_key: bool, config: Path | None) -> None:
    """Check every payout in the journal against tampering."""
    settings = Settings.load(config)
    if without_key:
        count = verify_chains(_path_of(settings))
        say_path(f"{count} payouts agree with their chains (without the key, whoever forges those is not found)")
        return
    async with opened_journal(settings) as journal:
        say_path(f"{await journal.verify()} payouts are as they were written")


def _path_of(settings: Settings) -> Path:
    journal = open_journal(journal_address(settings))
    if not isinstance(journal, SqliteJournal):
        raise ConfigError("a journal in memory has nothing on disk: give the journal of a file (LIANLIAN_JOURNAL)")
    return journal.path


def _old_keys(path: Path) -> bytes:
    JournalKeys.load(path)
    return path.read_bytes()


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that does not exist yet, whole or not at all; a key is never written over another."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already and is not written over: move it away, or use --out") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
