"""What an SFTP account may be: every slip is a sentence before anybody is connected to."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from sftp_world import PARTNER, LeapingClock

from lianlian_async.config import Settings
from lianlian_async.errors import ConfigError
from lianlian_async.reconcile.access import HostKeyPin, SftpAccess
from lianlian_async.reconcile.sftp import StatementSource

KEYS = {name: asyncssh.generate_private_key(name) for name in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")}


def line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode().strip()


@pytest.mark.parametrize("name", KEYS)
def test_a_host_key_is_pinned_by_its_line_or_its_fingerprint(name: str) -> None:
    """As in a .pub file, with a comment, as ssh-keyscan writes it, or as ssh-keygen -l shows it; it fits that key only."""
    key = KEYS[name]
    fingerprint = key.get_fingerprint("sha256")
    said = [
        line(key),
        f"{line(key)} root@sftp",
        f"[sftp.example.com]:2122 {line(key)}",
        f"  {line(key)}\n",
        fingerprint,
    ]
    for text in said:
        pin = HostKeyPin.of(text)
        assert str(pin) == fingerprint
        assert pin.algorithm == ("" if text is fingerprint else name)
        assert [other for other in KEYS if pin.fits(KEYS[other].public_data)] == [name]


GOOD = line(KEYS["ssh-ed25519"])


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "any", "SHA256:", "SHA256:abc", f"SHA256:{'A' * 42}B", f"SHA256:{'A' * 44}", "ssh-ed25519", "ssh-ed25519 AAAA",
        f"@revoked * {GOOD}", f"@cert-authority * {GOOD}", f"# {GOOD}", GOOD.replace("ssh-ed25519", "ssh-rsa"),
        f"a b {GOOD}", f"{GOOD}\n{GOOD}", "/etc/ssh/ssh_host_ed25519_key.pub",
    ],
    ids=count(),  # the key is a new one in each process
)  # fmt: skip
def test_what_is_no_host_key_is_refused(text: str) -> None:
    """Nothing half understood becomes a pin."""
    with pytest.raises(ConfigError, match="sftp_host_key"):
        HostKeyPin.of(text)


@pytest.mark.parametrize("text", ["MD5:" + ":".join(["ab"] * 16), ":".join(["0f"] * 16)])
def test_an_md5_fingerprint_is_refused_with_its_reason(text: str) -> None:
    """It can be forged."""
    with pytest.raises(ConfigError, match="MD5"):
        HostKeyPin.of(text)


def access(**changes: Any) -> SftpAccess:
    return SftpAccess(**{"host": "h", "user": "u", "host_key": GOOD, "password_file": Path("/p")} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""}, {"host": "a b"}, {"host": "sftp://h"}, {"host": "u@h"}, {"host": "h/x"}, {"host": "-oProxyCommand=x"},
        {"user": ""}, {"user": "a b"}, {"user": "a\n"}, {"port": 0}, {"port": 65536}, {"port": "22x"}, {"port": "２２"},
        {"root": "relative"}, {"root": "/a/../b"}, {"root": "/a/./b"}, {"root": "/a b"}, {"root": "/a/"},
        {"key_file": Path("/k")}, {"password_file": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any]) -> None:
    """Before anything is connected to."""
    with pytest.raises(ConfigError, match="sftp_"):
        access(**changes)


def test_an_account_from_the_environment() -> None:
    """LIANLIAN_SFTP_* through the one loader; the port is a number, the address readable, and no secret is shown."""
    environ = {
        "LIANLIAN_SFTP_HOST": "sftp.example.com", "LIANLIAN_SFTP_PORT": "2122", "LIANLIAN_SFTP_USER": "m",
        "LIANLIAN_SFTP_HOST_KEY": GOOD, "LIANLIAN_SFTP_KEY_FILE": "/k", "LIANLIAN_SFTP_ROOT": "/data/out",
    }  # fmt: skip
    made = SftpAccess.of(Settings.load(environ=environ))
    assert (made.address, made.key_file, made.root) == ("sftp://sftp.example.com:2122", Path("/k"), "/data/out")


@pytest.mark.parametrize("name", ["sftp_host", "sftp_user", "sftp_host_key"])
def test_what_is_missing_is_named(name: str) -> None:
    """With its variable."""
    said = {"sftp_host": "h", "sftp_user": "u", "sftp_host_key": GOOD, "sftp_key_file": "/k"}
    with pytest.raises(ConfigError, match=f"LIANLIAN_{name.upper()}"):
        SftpAccess.of(Settings(**{**said, name: None}))  # type: ignore[arg-type]


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


async def refused(made: SftpAccess, folder: Path) -> str:
    """What is said when these credentials are to be used; nobody listens, and nobody is asked."""
    source = StatementSource(made, folder, PARTNER, clock=LeapingClock())
    with pytest.raises(ConfigError) as told:
        await source.listed()
    return str(told.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
@pytest.mark.parametrize("which", ["key_file", "password_file"])
async def test_secrets_that_others_may_read_are_refused(tmp_path: Path, which: str, mode: int) -> None:
    """As with the merchant's own key, and before anything is connected to."""
    path = written(tmp_path / "secret", b"hunter2", mode)
    made = access(**{"password_file": None, which: path})
    assert "chmod 600" in await refused(made, tmp_path)


@pytest.mark.parametrize("data", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe"])
async def test_a_password_file_holds_one_line(tmp_path: Path, data: bytes) -> None:
    """Anything else is a slip."""
    assert "sftp_password_file" in await refused(access(password_file=written(tmp_path / "p", data)), tmp_path)


async def test_key_files_that_cannot_be_used(tmp_path: Path) -> None:
    """An encrypted one, a public one, and one that is none: each with its way out, and without its content."""
    key = KEYS["ssh-ed25519"]
    for data, said in (
        (key.export_private_key("pkcs8-pem", passphrase="x"), "ssh-keygen -p"),
        (GOOD.encode(), "no SSH private key"),
        (b"hunter2", "no SSH private key"),
    ):
        told = await refused(access(password_file=None, key_file=written(tmp_path / "k", data)), tmp_path)
        assert said in told
        assert "hunter2" not in told


def test_without_asyncssh_the_way_out_is_named() -> None:
    """The module can be imported, and says what to install once it is used."""
    code = (
        "import sys, asyncio; sys.modules['asyncssh'] = None\n"
        "from lianlian_async.reconcile.sftp import *\n"
        "access = SftpAccess(host='h', user='u', host_key='SHA256:' + 'A' * 43, password_file='p')\n"
        f"try: asyncio.run(StatementSource(access, 'x', '{PARTNER}').listed())\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError SFTP needs asyncssh: pip install 'lianlian-async[sftp]'")
