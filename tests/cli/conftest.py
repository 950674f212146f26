"""Keys for the session, a shell for each test, and gateways for those that need one."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cli_world import Gateway, Keys, Ran, Shell, a_gateway

from lianlian_async import cli
from lianlian_async.testing.keys import make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Key files of three parties; 1024 bits, because size is not the point here."""
    folder = tmp_path_factory.mktemp("cli-keys")
    for name in ("merchant", "gateway", "stranger"):
        make_keys(folder, name, 1024)
    return Keys(folder)


@pytest.fixture
async def shell(keys: Keys, tmp_path: Path) -> AsyncIterator[Shell]:
    """A shell whose gateway's port is closed, until a test says otherwise."""
    made = Shell(tmp_path, keys)
    yield made
    await made.close()


@pytest.fixture
async def gateway(keys: Keys, shell: Shell) -> AsyncIterator[Gateway]:
    """A calm gateway, which the shell is configured for."""
    async with a_gateway(keys) as made:
        shell.base_url = made.base_url
        yield made


@pytest.fixture
def here(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs a command line in this process: for the many small variants of what a real process has shown once."""

    def run(*arguments: object, **env: str | None) -> Ran:
        with monkeypatch.context() as patch:
            for name in os.environ:
                if name.startswith("LIANLIAN_"):
                    patch.delenv(name)
            for name, value in Shell(tmp_path, keys).environment(**env).items():
                patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["lianlian-async", *map(str, arguments)])
            with pytest.raises(SystemExit) as stop:
                cli.run()
        said = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Ran(stop.value.code, said.out, said.err)

    return run
