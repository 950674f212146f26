"""T18 and T21: what is built from text that others wrote, and from code that others wrote."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lianlian_async

PACKAGE = Path(lianlian_async.__file__).parent
PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"
CORE = {"anyio", "attrs", "cryptography", "httpx2", "tenacity"}
# Everything that an installation without extras brings along, on any Python and platform of ours.
CLOSURE = CORE | {
    "cffi", "h11", "httpcore2", "idna", "lianlian-async", "pycparser", "sniffio", "truststore", "typing-extensions",
}  # fmt: skip
PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}

# Run in a process of its own, before anything is imported: it hears of everything that leaves the interpreter.
IMPORT_ALL = """
import importlib, pkgutil, sys
try:
    import asyncssh  # looks for two optional libraries with ldconfig; only `reconcile --sftp` ever imports it
except ImportError:
    pass
asked = []
OUTSIDE = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto",
           "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "urllib.Request", "ftplib.connect", "smtplib.connect")
sys.addaudithook(lambda event, args: asked.append(event) if event in OUTSIDE else None)
%s
import lianlian_async
for module in pkgutil.walk_packages(lianlian_async.__path__, "lianlian_async."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted(set(asked)), len([name for name in sys.modules if name.startswith("lianlian_async")]) > 100)
"""


def imported(first: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL % first], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_every_module_asks_nobody() -> None:
    """T21. No socket, no name look-up and no process, extras included."""
    assert imported() == "[] True"


def test_whoever_asks_at_import_is_heard() -> None:
    """T21. The same look hears a name looked up and a process started."""
    planted = "import socket, subprocess, sys\nsocket.getaddrinfo('127.0.0.1', 9)\nsubprocess.run([sys.executable, '-V'], stdout=-3)"
    assert imported(planted) == "['socket.getaddrinfo', 'subprocess.Popen'] True"


@pytest.mark.checkout
@pytest.mark.skipif(not (PROJECT.parent / "docs").exists(), reason="only in a checkout, not beside a wheel")
def test_the_core_has_five_dependencies_each_bounded() -> None:
    """T21. No sixth comes in unnoticed, and none without a version that is known to work."""
    wanted = [Requirement(text) for text in tomllib.loads(PROJECT.read_text("utf-8"))["project"]["dependencies"]]
    assert {one.name for one in wanted} == CORE
    assert all(any(bound.operator == ">=" for bound in one.specifier) for one in wanted)
    assert all(one.url is None for one in wanted)


def closure(name: str, extras: tuple[str, ...] = ("",)) -> Iterator[str]:
    """A distribution and everything that it requires."""
    pending, seen = [(name, extras)], set()
    while pending:
        name, extras = pending.pop()
        plain = name.lower().replace("_", "-")
        if plain in seen:
            continue
        seen.add(plain)
        yield plain
        for text in distribution(name).requires or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append((one.name, ("", *one.extras)))


def test_what_a_bare_installation_brings_is_known_and_permissive() -> None:
    """T21. The whole closure, by name; each under a licence that asks for nothing but its text."""
    found = set(closure("lianlian-async"))
    assert found >= CORE
    assert found <= CLOSURE
    for name in found:
        about = distribution(name).metadata
        licence = about.get("License-Expression") or about.get("License") or ""
        assert set(licence.replace("(", "").replace(")", "").split(" OR ")) & PERMISSIVE, f"{name}: {licence}"


MAY_ASSEMBLE = {"sqlite_open.py"}  # PRAGMA takes no parameters; what it is given there are numbers of ours


@pytest.mark.parametrize("path", sorted((PACKAGE / "journal").glob("*.py")), ids=lambda path: path.name)
def test_no_statement_is_put_together_from_text(path: Path) -> None:
    """T18. Every statement is a constant, or one of the files in `sql/`; what others wrote is a parameter."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("execute"):
            [first, *_] = node.args or [None]
            assembled = isinstance(first, ast.JoinedStr | ast.BinOp | ast.Call)
            assert not assembled or path.name in MAY_ASSEMBLE, f"line {node.lineno}"
            if assembled:
                names = {
                    n.id
                    for part in ast.walk(first)
                    if isinstance(part, ast.FormattedValue)
                    for n in ast.walk(part)
                    if isinstance(n, ast.Name)
                }  # type: ignore[arg-type]
                assert names <= {"number", "APPLICATION_ID"}, f"line {node.lineno}"
