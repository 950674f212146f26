"""docs/proof.md from a run's figures: what was run, what was seen, what follows from it, and what is assumed."""

from __future__ import annotations

from typing import Final

from lianlian_async.resolver.evidence import ROWS
from lianlian_async.resolver.rules import RULES

from .careless import STRATEGIES
from .plan import KINDS, Plan
from .runs import CARELESS_EVERY, TWICE_EVERY, Sum
from .sightings import SOMETIMES

_YEAR_S: Final = 365.25 * 86400
CARELESS_MIN: Final = 300.0
# A run of at least so many payouts has to meet every row and every rule, and to punish every baseline hard; the whole
# million has to meet each of them often.
FULL: Final = 500_000
WHOLE: Final = 1_000_000
OFTEN: Final = 100
# The table is total: it has a row for what cannot come, too. tests/resolver/test_money_safety.py says why it cannot.
UNREACHABLE: Final = {"row pay: mismatched": "a number of which any answer has named a bill is never sent again"}

_HEAD: Final = """# What the simulation shows

Made by `python3 dev.py proof --write`; do not edit. The real client, resolver, codec, notification receiver, worker
and journal contract run against the simulated gateway in one process, on virtual time. Every world comes from one
seed: it draws which faults exist and how strong they are, lives through them, and then has eight calm days in which
everything must end or wait for a person. `tests/simulation` is the code, `docs/rules.md` has the rules.
"""

_ASSUMED: Final = """## What is assumed

Under these the figures hold; none of them can be proven from this side of the wire.

- A1: the gateway remembers a number at least as long as it may be sent again (24 hours). Where it forgets, even these
  rules can pay twice; `tests/simulation` shows that, too.
- A2: one number never gets two bills. Where the gateway is blind to a number for a second, copies that the *network*
  makes of one request are kept two seconds apart: no client can prevent what becomes of those.
- A3: FAILURE with a bill, CLOSED and CANCEL never turn back into a payment.
- A4: nobody else uses the merchant's numbers.
- A5: the gateway's key is the gateway's.

And one that is the user's: the journal is one database. A restored backup is survived (it was restored here, again and
again); two journals for one merchant are not.
"""


def faults_of(total: Sum) -> list[str]:
    """Why this run proves less than it should: broken laws, situations that never happened, soft baselines."""
    found = [f"{f['broken']}\n    {f['repro']}" for f in total.failures]
    found += [f"never happened: {name}" for name in SOMETIMES if not total.sightings[name]]
    if total.payouts >= FULL:
        found += [f"never met: {name}" for name, times in _met(total).items() if not times]
    if total.payouts >= WHOLE:
        found += [f"met only {times} times: {name}" for name, times in _met(total).items() if 0 < times < OFTEN]
    return found


def _met(total: Sum) -> dict[str, int]:
    """How often each row of the table spoke about news, and each rule decided; without what cannot be met."""
    met = {f"row {row.name}": total.rows[row.name] for row in ROWS.values()}
    met |= {f"rule {name}": total.rules[name] for name in RULES}
    return {name: times for name, times in met.items() if times or name not in UNREACHABLE}


def soft_baselines(total: Sum) -> list[str]:
    """Strategies that were not punished as they must be."""
    least = CARELESS_MIN if total.payouts >= FULL else 1e-9
    rates = _rates(total).items()
    return [f"{name}: only {rate:.0f} double payments per 100,000" for name, rate in rates if rate < least]


def _rates(total: Sum) -> dict[str, float]:
    return {name: total.careless[name] / max(1, total.careless_payouts) * 100_000 for name in STRATEGIES}


def _of_the_tables(total: Sum) -> str:
    """How much of the tables was met."""
    met = _met(total)
    seldom = sorted((times, name) for name, times in met.items() if times < OFTEN)
    said = "## The tables\n\n" + (
        f"{len(ROWS)} rows of evidence and {len(RULES)} rules of docs/rules.md: {len(met) - len(seldom)} of "
        f"{len(met)} were met {OFTEN} times or more."
    )
    said += "".join(f" Not met, because {why}: {name}." for name, why in UNREACHABLE.items() if name not in met)
    if not seldom:
        return said
    return f"{said} The others:\n\n" + "\n".join(f"- {name}: {times}" for times, name in seldom)


def page(total: Sum, template: Plan, command: str, jobs: int) -> str:
    """The whole page."""
    double = sum(f["broken"].startswith("I1") for f in total.failures)
    bound = 3.0 / total.payouts * 1e6
    parts = [
        _HEAD,
        "## What was run\n",
        f"`{command}`: {total.payouts:,} payouts in {total.worlds:,} worlds (seeds {template.seed} to "
        f"{template.seed + total.worlds - 1}), {total.virtual_s / _YEAR_S:,.1f} virtual years, "
        f"{total.cpu_s / 3600:.1f} hours of processor time on {jobs} cores "
        f"({total.payouts / max(total.cpu_s, 1e-9):.0f} payouts a second and core). {total.repeated:,} worlds, one in "
        f"{TWICE_EVERY}, were run twice: the traces were the same to the last event.\n",
        "## What came of it\n",
        f"Laws broken: **{len(total.failures)}**. Double payments: **{double}**. By the rule of three, none in "
        f"{total.payouts:,} bounds the rate *under these faults and assumptions* to less than {bound:.2g} per million "
        "at 95 % confidence. That is what it shows, and no more: it is not a proof that nothing can happen.\n"
        if not total.failures
        else f"Laws broken: **{len(total.failures)}**: this run does not pass.\n",
        "| strategy, on the same seeds | double payments per 100,000 |\n| --- | ---: |",
        *(f"| {name} | {rate:,.0f} |" for name, rate in _rates(total).items()),
        f"| **this library** | **{double / total.payouts * 100_000:.0f}** |",
        f"\nThe careless were run in every {CARELESS_EVERY}th world ({total.careless_payouts:,} payouts each).\n",
        "## How the payouts stood in the end\n",
        "| state and step | payouts |\n| --- | ---: |",
        *(f"| {name} | {count:,} |" for name, count in total.states.most_common()),
        "\n## Faults\n",
        "| kind | share of worlds drawn | worlds |\n| --- | ---: | ---: |",
        *(f"| {kind} | {share:.0%} | {total.kinds[kind]:,} |" for kind, share in KINDS.items()),
        "\n## Situations\n\nA run of the standard size in which one of these never happens fails.\n",
        "| situation | times |\n| --- | ---: |",
        *(f"| {name} | {total.sightings[name]:,} |" for name in SOMETIMES),
        f"\n{_of_the_tables(total)}\n",
        _ASSUMED,
    ]
    return "\n".join(parts)
