"""The bounded part of the proof: what every change has to survive. `python3 dev.py proof` is the long one."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve

from lianlian_async.resolver.evidence import ROWS
from lianlian_async.resolver.rules import RULES
from lianlian_async.testing.simulator import Endpoint

from . import proof as long_proof
from . import traps
from .keeping import Kept
from .loop import Stalled, VirtualLoop, run
from .plan import KINDS, Plan
from .proof import REGRESSIONS, arguments, plan_of
from .report import FULL, OFTEN, UNREACHABLE, WHOLE, faults_of, page
from .runs import Sum, run_seeds, simulate
from .shrink import shrink

TESTS = Path(__file__).parents[1]
# (first seed, worlds, real crypto): a first look. `.ci/run` goes on with `dev.py proof`, which also judges that every rare
# situation has happened and that every careless client paid twice.
EACH = 60
RANGES = [(1, 6, False), (9001, 1, True)]
_REGRESSIONS = [line for line in REGRESSIONS.read_text("utf-8").splitlines() if not line.startswith("#")]
_NAMES = [f"{'real' if real else 'cheap'} {seed}" for seed, _, real in RANGES]


def proof(*arguments: str) -> str:
    """What `dev.py proof` prints, in a process of its own: not slowed down by what measures coverage."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_"))}
    environ["PYTHONPATH"] = str(TESTS)
    command = [sys.executable, "-W", "ignore", "-m", "simulation.proof", "--jobs", "1", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "worlds", "real"), RANGES, ids=_NAMES)
def test_faulted_payouts_keep_every_law(seed: int, worlds: int, real: bool) -> None:
    """No law is broken in any world."""
    crypto = ["--real-crypto"] if real else []
    told = proof("--seed", str(seed), "--seeds", str(worlds), "--each", str(EACH), "--json", *crypto)
    mine = Sum.from_json(told.splitlines()[-1])
    assert not mine.failures, "\n".join(f"{f['broken']}\n{f['repro']}" for f in mine.failures)
    assert mine.payouts == worlds * EACH


@pytest.mark.parametrize("line", _REGRESSIONS)
def test_world_that_once_broke_a_law_keeps_them_all(line: str) -> None:
    """A failing world is never forgotten."""
    words = shlex.split(line, comments=True)[3:]
    result = simulate(plan_of(arguments().parse_args(words)))
    assert result.broken is None


def test_same_seed_gives_the_same_trace_in_another_process() -> None:
    """Nothing depends on where objects lie in memory or how a process hashes its strings."""
    here = simulate(Plan(17, 20)).digest
    environ = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "4711"}
    code = (
        "from simulation.runs import simulate; from simulation.plan import Plan; print(simulate(Plan(17, 20)).digest)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here


@pytest.mark.parametrize("trap", traps.ALL, ids=lambda trap: trap.__name__)
def test_planted_bug_is_found(trap: traps.Trap) -> None:
    """Each trap fallen into, and each rule taken away, breaks a law within 2,000 payouts; the command repeats it."""
    name = f"simulation.traps:{trap.__name__}"  # type: ignore[attr-defined]
    found = run_seeds(Plan(1, 40), traps.seeds_for(trap), patch=name, careless=False, failures_max=1)
    assert found.failures, f"{found.payouts} payouts, and nothing was noticed"
    assert found.failures[0]["repro"].endswith(f"--patch {name}")


def test_every_trap_is_planted() -> None:
    """All 23 that payout clients fall into; the 20th, a journal that forgets, is `test_lost_tail_is_detected`."""
    numbered = {int(name.partition(".")[0]) for name in traps.TRAPS if name[0].isdigit()}
    assert numbered == {*range(1, 24)} - {20}


def test_failing_seed_shrinks_to_a_small_one() -> None:
    """A planted bug is shown in a world of few payouts and few faults, with the command that runs it again."""
    name = "simulation.traps:send_before_writing"
    small, result = shrink(Plan(1, 40), patch=name)
    assert result.broken is not None
    assert small.payouts <= 2
    assert len(small.kinds) < len(Plan(1, 40).kinds)
    assert f"--each {small.payouts}" in small.repro()


def test_lost_tail_is_detected() -> None:
    """A journal that forgets what it called durable is found out: that is why only full durability is offered."""
    found = run_seeds(Plan(1, 40, lost_tail=True), range(1, 51), careless=False, failures_max=1)
    assert found.failures
    assert found.failures[0]["broken"].startswith(("I4", "I5", "I7")), found.failures


def test_forgetful_gateway_breaks_the_promise() -> None:
    """Without assumption A1 even these rules can pay twice, and the simulation shows it."""
    worlds = (run_seeds(Plan(1, 60, forgetful=True), [seed], careless=False) for seed in range(1, 13))
    assert any(failure["broken"].startswith("I1") for world in worlds for failure in world.failures)


def test_world_without_faults_pays_everything_once() -> None:
    """Where nothing goes wrong nothing is parked, and every payout is sent once."""
    result = simulate(Plan(3, 30, without=frozenset(KINDS)))
    assert result.broken is None
    assert set(result.states) == {"PAID NOTHING"}
    assert not result.sightings["sent three times or more"]


def test_answers_too_rare_for_chance_are_met() -> None:
    """A 4005 that names the order, an order without an end in seven days, a confirm whose answer is spoiled or whose
    certificate is refused: a few worlds that are made for it have them all."""
    total = Sum()
    rows = ("pay: 4005", "confirm: 0000 without no_order", "confirm: bad signature", "confirm: untrusted")
    for seed in filter(lambda seed: Plan(seed).has("rare answers"), range(1, 200)):
        total.add(run_seeds(Plan(seed, EACH), [seed], careless=False))
        if all(total.rows[row] for row in rows) and total.rules["given up"]:
            break
    assert not total.failures
    assert [row for row in rows if not total.rows[row]] == []
    assert total.rules["given up"]


def test_replaced_number_that_comes_back_to_life_is_met() -> None:
    """The gateway takes back what it said of a replaced number while the new one waits: nothing more is sent."""
    world = simulate(Plan(59, 40))  # one of the few worlds in which people are that quick
    assert world.broken is None
    assert world.rules["replaced, revived"]


def test_a_full_run_has_to_meet_whatever_can_be_met() -> None:
    """A row or a rule that never spoke fails it; the one row that cannot, by the tables, is told of on the page instead."""
    total = Sum(payouts=FULL, worlds=1, rows=Counter(row.name for row in ROWS.values()), rules=Counter(list(RULES)))
    assert not [fault for fault in faults_of(total) if fault.startswith("never met")]
    [unreachable] = UNREACHABLE
    del total.rows[unreachable.removeprefix("row ")], total.rows["pay: 4005"], total.rules["given up"]
    assert set(faults_of(total)) >= {"never met: row pay: 4005", "never met: rule given up"}
    assert f"never met: {unreachable}" not in faults_of(total)
    assert f"never sent again: {unreachable}." in page(total, Plan(1), "python3 dev.py proof", 2)


def test_the_whole_million_has_to_meet_each_of_them_often() -> None:
    """Otherwise a change of the worlds could make a row as rare as if it were not tried, and nobody would notice."""
    often = dict.fromkeys((row.name for row in ROWS.values()), OFTEN)
    total = Sum(payouts=WHOLE, worlds=1, rows=Counter(often), rules=Counter(dict.fromkeys(RULES, OFTEN)))
    assert not [fault for fault in faults_of(total) if fault.startswith(("never met", "met only"))]
    total.rows["pay: 4005"] = total.rules["given up"] = OFTEN - 1
    assert set(faults_of(total)) >= {"met only 99 times: row pay: 4005", "met only 99 times: rule given up"}
    total.payouts = WHOLE - 1
    assert not [fault for fault in faults_of(total) if fault.startswith("met only")]


def test_page_says_what_was_run_and_never_exactly_once() -> None:
    """The page is made from figures; it names the bound and the assumptions."""
    total = run_seeds(Plan(1, 10), range(1, 3))
    text = page(total, Plan(1, 10), "python3 dev.py proof", 2)
    assert "rule of three" in text
    assert all(assumption in text for assumption in ("A1:", "A2:", "A3:", "A4:", "A5:"))
    assert "exactly once" not in text.lower()


def test_a_proof_that_was_cut_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk whole is not simulated again, and the sum is the same; another plan begins anew."""
    monkeypatch.setattr(long_proof, "CHUNK", 2)
    template, seeds, keep = Plan(1, 1), [2, 3, 4, 5], tmp_path / "kept"
    whole = long_proof._run(template, seeds, 1, None, quiet=True, keep=keep)
    keep.write_text(keep.read_text("utf-8")[:-100], "utf-8")
    began = []
    monkeypatch.setattr(long_proof, "run_seeds", lambda *given, **more: began.append(given[1][0]) or run_seeds(*given, **more))  # fmt: skip
    again = long_proof._run(template, seeds, 1, None, quiet=True, keep=keep)
    assert began == [4]
    assert evolve(again, cpu_s=0.0) == evolve(whole, cpu_s=0.0)
    kept = Kept(keep, template, None)
    assert kept.part([2, 3]) is not None
    assert kept.part([4, 5]) is not None
    assert kept.part([2]) is None  # fewer worlds than those are another part
    assert Kept(keep, Plan(2, 1), None).part([2, 3]) is None


def test_a_proof_keeps_nothing_in_a_file_of_somebody_else(tmp_path: Path) -> None:
    """A file that is none of a proof's is left as it is, and so is a place that does not exist; one sentence says so."""
    mine = tmp_path / "mine.txt"
    mine.write_text("precious\n", "utf-8")
    with pytest.raises(SystemExit, match="no file of a proof"):
        Kept(mine, Plan(1, 1), None)
    assert mine.read_text("utf-8") == "precious\n"
    with pytest.raises(SystemExit, match="cannot be used"):
        Kept(tmp_path / "nowhere" / "kept", Plan(1, 1), None)


def test_virtual_loop_says_when_nothing_can_happen_any_more() -> None:
    """A wait that nobody will end is an error, and not a hang."""

    async def wait_for_ever() -> None:
        await loop.create_future()

    loop = VirtualLoop()
    with pytest.raises(Stalled):
        run(wait_for_ever(), loop)


def test_virtual_loop_says_when_time_stands_still() -> None:
    """A task that wakes itself for ever is an error, and not a hang."""

    async def turn_for_ever() -> None:
        while True:
            await asyncio.sleep(0)

    loop = VirtualLoop()
    with pytest.raises(Stalled, match="time stands still"):
        run(turn_for_ever(), loop)


def test_endpoints_are_those_of_the_wire() -> None:
    """The stand-in network knows every address that a client posts to."""
    from .wire import _ENDPOINTS

    assert set(_ENDPOINTS.values()) == set(Endpoint)
