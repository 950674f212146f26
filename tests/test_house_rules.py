"""The shape of the code, kept by a test: sizes, layers, and who may import what (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lianlian_async

PACKAGE = Path(lianlian_async.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_LINES_MAX = 45
MODULE_LINES_MAX = 400
# Tables of the specification are as long as the specification.
TABLES = {"protocol/ret_codes.py"}

# Each layer may import itself and what stands before it. The simulator stands apart: see below.
LAYERS = (
    ("errors", "_version", "clock"),
    ("protocol", "crypto"),
    ("codec", "resolver", "numbers"),
    ("transport",),
    ("config", "retry", "journal", "agenda"),
    ("gateway", "payout", "intake", "crew", "breaker", "records", "people", "watch", "listing"),
    ("scribe",),
    ("engine",),
    ("telling", "moves"),
    ("receiving",),
    ("enlisting", "reviewing"),
    ("lifecycle",),
    ("client",),
    ("worker", "notifications", "batch", "reconcile", "review"),
    ("testing", "cli"),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Who besides the clock's own module may ask the machine for time or chance: test doubles and the demo's data.
MAY_USE_TIME = {"clock.py", "testing", "cli"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of everything `path` imports, lazily or not, with the line."""
    package = ["lianlian_async", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{stem}.{alias.name}", node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_and_functions_stay_short(path: Path) -> None:
    """A module fits into about 400 lines and a function onto a screen; tables of the specification may be longer."""
    text = path.read_text("utf-8")
    if name_of(path) not in TABLES:
        assert len(text.splitlines()) <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_dependencies_point_one_way(path: Path) -> None:
    """A module imports its own layer and lower ones, so that the rules never depend on what performs them."""
    mine = layer_of(path)
    if mine == "__init__":
        return
    for imported, line in imports(path):
        parts = imported.split(".")
        if parts[0] == "lianlian_async" and len(parts) > 1 and parts[1] in RANK:
            assert RANK[parts[1]] <= RANK[mine], f"line {line}: {mine} imports {imported}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "testing" / "simulator").glob("*.py")), ids=name_of)
def test_simulator_shares_nothing_with_the_client(path: Path) -> None:
    """One mistake must not hide on both sides: the simulator takes only the clock and protocol values."""
    own = "lianlian_async.testing."
    allowed = (own, "lianlian_async.clock", "lianlian_async.protocol")
    for imported, line in imports(path):
        assert not imported.startswith("lianlian_async") or imported.startswith(allowed), f"line {line}: {imported}"


def test_resolver_knows_no_keys_no_wire_and_no_clock() -> None:
    """The heart is pure: what it decides depends on its arguments alone."""
    forbidden = (
        "lianlian_async.crypto",
        "lianlian_async.codec",
        "lianlian_async.clock",
        "asyncio",
        "time",
        "random",
        "os",
    )
    for path in (PACKAGE / "resolver").glob("*.py"):
        for imported, line in imports(path):
            assert not any(imported == f or imported.startswith(f"{f}.") for f in forbidden), (
                f"{path.name}:{line}: {imported}"
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_some_libraries_live_in_one_place(path: Path) -> None:
    """tenacity repeats queries only, in retry.py; HTTP libraries stay behind the transport seam, web frameworks in a module each."""
    for imported, line in imports(path):
        library = imported.split(".")[0]
        if library == "tenacity":
            assert name_of(path) == "retry.py", f"line {line}"
        if library == "asyncssh":
            assert name_of(path) == "reconcile/remote.py" or layer_of(path) == "testing", f"line {line}"
        if library in ("httpx", "httpx2", "aiohttp", "requests", "urllib3"):
            own_module = name_of(path) == "notifications/aiohttp.py"
            assert own_module or layer_of(path) in ("transport", "testing"), f"line {line}: {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_time_and_chance_are_arguments(path: Path) -> None:
    """Nobody asks the machine for the time or for a random number behind the caller's back."""
    if layer_of(path) in MAY_USE_TIME or name_of(path) in MAY_USE_TIME:
        return
    for imported, line in imports(path):
        assert imported.split(".")[0] not in ("time", "random", "uuid"), f"line {line}: {imported}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            assert not (isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")), (
                f"line {node.lineno}"
            )
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncio":
            # sleep(0) gives others a turn; any other sleep belongs to a clock.
            assert node.attr != "sleep" or _is_turn(path, node.lineno), f"line {node.lineno}: asyncio.sleep"


def _is_turn(path: Path, line: int) -> bool:
    return "asyncio.sleep(0)" in path.read_text("utf-8").splitlines()[line - 1]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_money_is_never_a_float(path: Path) -> None:
    """`float(...)` appears only where seconds are meant: in clocks, retries and the command line's options."""
    allowed = {"retry.py", "testing", "transport"}
    if layer_of(path) in allowed or name_of(path) in allowed:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "float", f"line {node.lineno}"


def test_import_brings_the_core_packages_only() -> None:
    """`import lianlian_async` works without any extra, and does not load one that happens to be there."""
    code = (
        "import sys, lianlian_async;"
        "print({'aiohttp', 'click', 'rich', 'openpyxl', 'uvloop', 'starlette', 'jinja2',"
        "'uvicorn', 'asyncpg', 'asyncssh'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
