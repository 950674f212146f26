"""The mutation testing itself (docs/mutation.md): it finds what is not tested, and its reviewed list is true."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import compiled, mutants_of
from .reviewed import LIST, Entry, read_list, stale, verdicts
from .running import Result
from .targets import ROOT, TARGETS, Target

RULES = """
LIMIT = 10

def fee(amount, *, vip=False):
    if vip:
        return 0
    return 2 if amount > LIMIT else 1

def turns(left):
    while left > 0:
        left -= 1
    return left
"""
TESTS = """
from small.rules import fee, turns

def test_fee():
    assert [fee(10), fee(11)] == [1, 2]

def test_turns():
    assert turns(3) == 0
"""
RUN = """
import sys
from pathlib import Path
from mutation.running import run_target
from mutation.targets import Target
target = Target("rules", ("test_small.py",), root=Path.cwd(), package="small")
for result in run_target(target, lambda every: every, lambda result: None):
    print(f"{result.mutant.where}: {result.mutant.change}|{result.killer}")
"""


def run(*command: str, cwd: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONHASHSEED": "10"}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of the mutants of a module of which one branch is not tested: the killer of each, or `None`."""
    place = tmp_path_factory.mktemp("small")
    (place / "small").mkdir()
    (place / "small" / "__init__.py").write_text("")
    (place / "small" / "rules.py").write_text(RULES)
    (place / "test_small.py").write_text(TESTS)
    return dict(line.rsplit("|", 1) for line in run("-c", RUN, cwd=place).splitlines())


def test_a_branch_that_is_not_tested_is_reported(small: dict[str, str]) -> None:
    """Nobody asks for the fee of a very important person; all else is noticed."""
    survived = {change for change, killer in small.items() if killer == "None"}
    assert survived == {"fee: vip → False", "fee: 0 → 1", "fee: 0 → -1"}


def test_who_notices(small: dict[str, str]) -> None:
    """A test, or the time that ran out; a constant of the module is mutated where it is imported."""
    assert small["fee: amount > LIMIT → amount >= LIMIT"] == "test_small.py::test_fee"
    assert small[": 10 → 11"] == "test_small.py::test_fee"
    assert small["fee: False → True"] == "test_small.py::test_fee"
    assert small["turns: - left -= 1"] == "test_small.py::test_turns (did not end)"


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("def f(a, b): return a <= b", {"a <= b → a < b", "a <= b → a > b", "return a <= b → return None"}),
        ("def f(a, b): g(a and b)", {"a and b → a or b", "a and b → a", "a and b → b", "- g(a and b)"}),
        ("X = {1, 2}", {"- 1 of 2", "- 2 of 2", "1 → 2", "2 → 3"}),
        ("X = {'a': f(), 'b': g()}", {"- 'a' of 2", "- 'b' of 2"}),
        ("X = f(a, key=b)", {"- key= of f"}),
        ("X = State.PAID", {"State.PAID → State.UNSENT"}),
        ("def f(a):\n  match a:\n    case State.PAID: return", {"State.PAID → State.UNSENT"}),
        ("def f(a): return [b for b in a if not b]",
         {"return [b for b in a if not b] → return None", "not b → b", "not b → True"}),
        ("X = 'word'", {"'word' → 'wordXX'"}),
        ("X = 'this is for people'", set()),
        ("def f(a):\n  '''text'''\n  logger.debug('word')", set()),
    ],
)  # fmt: skip
def test_what_becomes_of_it(source: str, changes: set[str]) -> None:
    """Each change is said, and is in the code that is compiled; the tree is as it was afterwards."""
    tree, mutants = mutants_of(source, {"State": ("UNSENT", "PAID")})
    before = ast.dump(tree)
    assert {mutant.change for mutant in mutants} == changes
    plain = compiled(tree, "small")
    assert all(compiled(tree, "small", mutant) != plain for mutant in mutants)
    assert ast.dump(tree) == before


@pytest.mark.checkout
def test_the_list_is_true() -> None:
    """Each entry has its reason and names a mutant that the module still has."""
    entries = read_list()
    assert [entry for target in TARGETS.values() for entry in stale(target, entries)] == []


def test_the_list_must_give_reasons(tmp_path: Path) -> None:
    """An entry without one, or of a module that is not mutated, or told twice, is none."""
    entry = '[[mutant]]\nmodule = "{}"\nwhere = "f"\nline = "x"\nchange = "y"\nreason = "{}"\n'
    for text in (entry.format("codec", " "), entry.format("client", "why"), entry.format("codec", "why") * 2):
        (tmp_path / LIST.name).write_text(text)
        with pytest.raises(ValueError, match=r"reason|twice"):
            read_list(tmp_path / LIST.name)


def test_what_a_run_must_end_with(tmp_path: Path) -> None:
    """A survivor that is not listed, a listed one that is killed, and a listed one that is gone are each an error."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "rules.py").write_text(RULES)
    target = Target("rules", (), root=tmp_path, package="small")
    one, other = mutants_of(RULES, {})[1][:2]
    lives, dies = Result(one, None, 1, 0.1), Result(other, "test_small.py::test_fee", 1, 0.1)
    listed = [Entry("rules", *mutant.key, "why") for mutant in (one, other)]
    gone = Entry("rules", "fee", "return 3", "3 → 4", "why")
    assert verdicts(target, [lives, dies], listed[:1]) == []
    assert [said.split(":")[0] for said in verdicts(target, [lives, dies], [])] == ["survived"]
    assert [said.split(" by")[0] for said in verdicts(target, [lives, dies], listed)] == ["listed, but killed"]
    assert [said.split(":")[0] for said in verdicts(target, [lives, dies], [listed[0], gone])] == ["stale"]


@pytest.mark.checkout
@pytest.mark.slow
@pytest.mark.parametrize("module", ["resolver/permits", "resolver/binding", "crypto/signing", "codec", "watch"])
def test_a_sample_is_killed(module: str) -> None:
    """Twelve of each of these modules' mutants, the same in every run: killed, or reviewed."""
    run("-m", "mutation", "--module", module, "--sample", "12", "--seed", "7", cwd=ROOT)
