"""Running the tests against one mutant after the other, in forked copies of an interpreter that has all of them loaded.

Most mutants are inside a function: its code is exchanged in a fork of a collected test session, where the tests that
execute the changed lines run, the quickest first, up to the first that fails. What a module does when it is imported
(its tables) is mutated by importing the mutant, in a fork that has imported only what is not ours.
"""

from __future__ import annotations

import ast
import gc
import importlib.machinery
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

import pytest
from attrs import frozen

from .mutants import Mutant, compiled, enums_of, mutants_of
from .targets import Target

__all__ = ["Result", "run_target"]

# A test that takes longer is not asked: what only minutes of search can notice deserves a small test of its own.
TEST_S_MAX: Final = 0.5
# The same for the import-time mutants, each of which must load its tests anew.
LOADED_TEST_S_MAX: Final = 0.25
MEMORY_MAX: Final = 4 * 2**30
_QUIET: Final = ("-q", "--tb=no", "--no-header", "--assert=plain", "-p", "no:cacheprovider", "-o", "timeout=0")


@frozen
class Result:
    """What became of one mutant: `killer` is the test that failed, "time" or "import"; None when all passed."""

    mutant: Mutant
    killer: str | None
    tests: int
    seconds: float


@frozen
class Cover:
    """What a test costs in CPU seconds, and which lines of the module it executes."""

    nodeid: str
    seconds: float
    lines: frozenset[int]


def run_target(
    target: Target, chosen: Callable[[Sequence[Mutant]], Sequence[Mutant]], told: Callable[[Result], None]
) -> list[Result]:
    """Run the chosen mutants of a module, and tell of each as soon as it is known."""
    _warm_up()
    source = target.path.read_text("utf-8")
    tree, every = mutants_of(source, enums_of(target.folder), target.only)
    wanted = list(chosen(every))
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        told(result)

    covers: list[Cover] = []
    later: list[int] = []
    for kind, news in _forked(lambda tell: _session(target, tree, wanted, tell)):
        if kind == "covers":
            covers = news
        elif kind == "later":
            later.append(news)
        elif kind == "failed":
            raise SystemExit(f"{target.module}: a test fails without a mutant: {news}")
        else:
            take(Result(wanted[kind], *news))
    if not covers:
        raise SystemExit(f"{target.module}: its tests cannot be loaded")
    files = _files(covers)
    for number in later:
        result = _loaded(target, tree, wanted[number], files, covers)
        if result.killer is not None and "::" in result.killer:
            killer = result.killer.split("::")[0]
            files = [killer, *(file for file in files if file != killer)]
        take(result)
    return results


def _files(covers: Sequence[Cover]) -> list[str]:
    """The files that touch the module at all, those first that are done first."""
    spent: dict[str, float] = {}
    for cover in covers:
        if cover.seconds <= LOADED_TEST_S_MAX:
            file = cover.nodeid.split("::")[0]
            spent[file] = spent.get(file, 0.0) + cover.seconds
    return sorted(spent, key=spent.__getitem__)


def _warm_up() -> None:
    """Load what the tests need and is not ours: it is the same for all mutants."""
    import anyio
    import cryptography.hazmat.primitives.asymmetric.rsa
    import httpx2
    import hypothesis
    import pytest_asyncio
    import tenacity

    settings = hypothesis.settings
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, phases=phases,
        suppress_health_check=tuple(hypothesis.HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutation")
    assert all((anyio, cryptography, httpx2, pytest_asyncio, tenacity))
    assert "lianlian_async" not in sys.modules


# ---------------------------------------------------------------------- forks


def _forked(work: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """What `work` tells, done in a fork; how it ends is the caller's to find out."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb", buffering=0) as pipe:
                work(lambda news: _write(pipe, news))
        except BaseException as fault:  # noqa: BLE001 - a fork must not live on in its parent's place
            sys.stderr.write(f"{type(fault).__name__}: {fault}\n")
            os._exit(1)
        os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            while True:
                try:
                    yield pickle.load(pipe)
                except EOFError:
                    return
    finally:
        os.waitpid(child, 0)


def _write(pipe: Any, news: Any) -> None:
    data = pickle.dumps(news)
    while data:
        data = data[pipe.write(data) :]


def _silence() -> None:
    empty = os.open(os.devnull, os.O_RDWR)
    os.dup2(empty, 1)
    os.dup2(empty, 2)


def _tested(items: Sequence[pytest.Item], seconds: Mapping[str, float], tell: Callable[[Any], None]) -> None:
    """Run the items up to the first that fails, and tell which that was; a test that hangs is ended by the system."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    config = items[0].config

    class Judge:
        def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
            if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
                tell(item.nodeid)
                os._exit(1)

    config.pluginmanager.register(Judge())
    for item, following in zip(items, [*items[1:], None], strict=True):
        cost = seconds.get(item.nodeid, 0.2)
        tell(("began", item.nodeid))
        signal.setitimer(signal.ITIMER_PROF, 2 + 10 * cost)
        signal.setitimer(signal.ITIMER_REAL, 30 + 30 * cost)
        config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    tell(None)


def _verdict(mutant: Mutant, told: Iterator[Any]) -> Result:
    """A fork that does not say that all tests passed has been killed."""
    start, count, killer = time.monotonic(), 0, "import"
    for news in told:
        if isinstance(news, tuple):
            count, killer = count + 1, f"{news[1]} (did not end)"
        else:
            killer = news
    return Result(mutant, killer, count, time.monotonic() - start)


# ---------------------------------------------------------------------- a session that all tests are loaded in


def _session(target: Target, tree: ast.Module, mutants: Sequence[Mutant], tell: Callable[[Any], None]) -> None:
    _silence()

    class Session:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            _run_session(target, tree, mutants, session.items, tell)
            return True

    pytest.main([*_QUIET, f"--rootdir={target.root}", *target.tests], plugins=[Session()])


def _run_session(
    target: Target,
    tree: ast.Module,
    mutants: Sequence[Mutant],
    items: Sequence[pytest.Item],
    tell: Callable[[Any], None],
) -> None:
    covers = list(_forked(lambda say: _measure(target, items, say)))
    if covers and isinstance(covers[-1], str):
        tell(("failed", covers[-1]))
        return
    tell(("covers", covers))
    seconds = {cover.nodeid: cover.seconds for cover in covers}
    live = _Live(target, tree)
    favourites: list[str] = []
    gc.collect()
    gc.freeze()
    for number, mutant in enumerate(mutants):
        exchange = live.exchange(mutant) if mutant.in_function else None
        if exchange is None:
            tell(("later", number))
            continue
        reached = {c.nodeid for c in covers if c.seconds <= TEST_S_MAX and not c.lines.isdisjoint(mutant.lines)}
        rank = {nodeid: place for place, nodeid in enumerate(favourites[:20])}
        asked = [item for item in items if item.nodeid in reached]
        asked.sort(key=lambda item: (rank.get(item.nodeid, len(rank)), seconds[item.nodeid]))
        if not asked:
            # What no test calls may have been called when the module was imported, as what builds a table is.
            tell(("later", number))
            continue

        def work(
            say: Callable[[Any], None], exchange: Callable[[], None] = exchange, asked: Sequence[pytest.Item] = asked
        ) -> None:
            exchange()
            _tested(asked, seconds, say)

        result = _verdict(mutant, _forked(work))
        if result.killer in seconds:
            favourites = [result.killer, *(f for f in favourites if f != result.killer)]
        tell((number, (result.killer, result.tests, result.seconds)))


def _measure(target: Target, items: Sequence[pytest.Item], tell: Callable[[Any], None]) -> None:
    """Run every test as it is: what it costs and which lines of the module it executes. Tells which one fails, and stops."""
    path = str(target.path)
    lines: set[int] = set()

    def local(frame: FrameType, event: str, arg: object) -> Any:
        lines.add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != path:
            return None
        lines.add(frame.f_lineno)
        return local

    failed: list[str] = []

    class Judge:
        def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
            if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
                failed.append(f"{item.nodeid}: {call.excinfo.exconly()}")

    items[0].config.pluginmanager.register(Judge())
    threading.settrace(trace)
    for item, following in zip(items, [*items[1:], None], strict=True):
        lines.clear()
        start = time.process_time()
        sys.settrace(trace)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        if failed:
            tell(failed[0])
            return
        tell(Cover(item.nodeid, time.process_time() - start, frozenset(lines)))


class _Live:
    """The functions of an imported module, and what to put into them."""

    def __init__(self, target: Target, tree: ast.Module) -> None:
        self._path, self._tree = str(target.path), tree
        self._plain = list(_functions(compiled(tree, self._path)))
        live = [f for f in gc.get_objects() if isinstance(f, FunctionType) and f.__code__.co_filename == self._path]
        self._live = [[f for f in live if _same(f.__code__, code)] for code in self._plain]

    def exchange(self, mutant: Mutant) -> Callable[[], None] | None:
        """What puts the mutant in place; None when that takes an import."""
        changed = list(_functions(compiled(self._tree, self._path, mutant)))
        if len(changed) != len(self._plain):
            return None
        for functions, plain, new in zip(self._live, self._plain, changed, strict=True):
            if not _same(plain, new):
                if not functions or new.co_freevars != plain.co_freevars:
                    return None
                return lambda functions=functions, new=new: [setattr(f, "__code__", new) for f in functions] and None
        return lambda: None  # the compiler makes the same of it


def _same(one: CodeType, other: CodeType) -> bool:
    return one == other and list(one.co_positions()) == list(other.co_positions())


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The code of every function that is made when a module is imported, in order."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & 2:  # CO_NEWLOCALS: a function, and not the body of a class
                yield const
            else:
                yield from _functions(const)


# ---------------------------------------------------------------------- imports of a mutant


def _loaded(target: Target, tree: ast.Module, mutant: Mutant, files: Sequence[str], covers: Sequence[Cover]) -> Result:
    """Import the mutant and the tests of one file after the other, until one of them fails."""
    code = compiled(tree, str(target.path), mutant)
    seconds = {cover.nodeid: cover.seconds for cover in covers}
    count, spent = 0, 0.0
    for file in files:

        def work(say: Callable[[Any], None], file: str = file) -> None:
            _silence()
            _import_instead(target, code)
            _load_and_test(target, file, seconds, say)

        result = _verdict(mutant, _forked(work))
        count, spent = count + result.tests, spent + result.seconds
        if result.killer is not None:
            return Result(mutant, result.killer, count, spent)
    return Result(mutant, None, count, spent)


def _load_and_test(target: Target, file: str, seconds: Mapping[str, float], say: Callable[[Any], None]) -> None:
    class Session:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            if session.testsfailed or not session.items:
                os._exit(1)
            quick = [item for item in session.items if seconds.get(item.nodeid, 0.0) <= LOADED_TEST_S_MAX]
            quick.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
            if quick:
                _tested(quick, seconds, say)
            else:
                say(None)
            os._exit(0)

    pytest.main([*_QUIET, f"--rootdir={target.root}", file], plugins=[Session()])


def _import_instead(target: Target, code: CodeType) -> None:
    """From here on, importing the module imports the mutant."""
    own = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> Any:
        return code if fullname == target.import_name else own(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
