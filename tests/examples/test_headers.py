"""The two commands that stand at the top of every example, as a reader's shell runs them."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from cli_world import ROOT, Shell
from examples_world import EXAMPLES, free_port

pytestmark = pytest.mark.checkout

NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))
# What each says when it is ready, and how it ends on SIGTERM (uvicorn passes the signal on when all is closed).
READY = {
    "aiohttp_bot.py": "INFO bot: ready",
    "fastapi_service.py": "Application startup complete",
    "payout_worker.py": "INFO payouts: ready",
}
ENDS = {"aiohttp_bot.py": 0, "fastapi_service.py": -15, "payout_worker.py": 0}


def commands(name: str) -> tuple[str, str]:
    """The gateway's command, and the program's."""
    text = (EXAMPLES / name).read_text("utf-8").split('"""')[1]
    lines = text.replace("\\\n", "").splitlines()
    simulate, run = (
        line.strip() for line in lines if re.match(r" +(lianlian-async simulate|\. \./gateway\.env)", line)
    )
    return simulate, run


async def test_the_commands_at_the_top(shell: Shell) -> None:
    """A shell reads what the gateway prints, and the programs start with nothing else, all three on one journal."""
    env = {name: value for name, value in shell.environment().items() if not name.startswith("LIANLIAN_")}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    printed, running = shell.folder / "gateway.env", list[asyncio.subprocess.Process]()

    async def start(command: str) -> None:
        running.append(await asyncio.create_subprocess_exec("sh", "-c", command, cwd=shell.folder, env=env))

    async def there(path: Path, text: str) -> None:
        """Wait until a file holds this, as long as everything runs."""
        async with asyncio.timeout(60):
            while not (path.exists() and text in path.read_text("utf-8", "replace")):
                assert [process.returncode for process in running] == [None] * len(running)
                await asyncio.sleep(0.1)

    try:
        [simulate] = {commands(name)[0] for name in NAMES}
        # `exec` lets a signal reach the program, and not the shell around it.
        await start("exec " + simulate.replace("simulate", f"simulate --port {free_port()}").removesuffix(" &"))
        await there(printed, "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE")
        for name in NAMES:
            run = commands(name)[1].replace("gateway.env; ", "gateway.env; exec env ")
            run = run.replace("python ", f"PORT={free_port()} {sys.executable} ").replace(name, str(EXAMPLES / name))
            await start(f"{run} 2> {name}.log")
            await there(shell.folder / f"{name}.log", READY[name])
    finally:
        for process in reversed(running):
            process.terminate()
    assert dict(zip(NAMES, [await process.wait() for process in running[1:]], strict=True)) == ENDS
    assert await running[0].wait() == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_read_in_one_go(name: str) -> None:
    """An example that grows is a library; the README names each."""
    assert len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 200
    assert name in (ROOT / "examples" / "README.md").read_text("utf-8")
