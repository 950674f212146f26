"""What one seed draws: which faults exist in its world, and how strong they are.

Every kind of fault draws from a stream of its own, so that one taken away (`without`) leaves the others as they
were. That is what makes a failing seed shrink.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from lianlian_async.testing.simulator import FAULTS, Faults

HOUR, DAY = 3600.0, 86400.0

# Kind of fault -> the share of seeds that have it.
KINDS: Final = {
    "crash": 0.75, "pause": 0.5, "cancel": 0.5, "journal": 0.5, "slow journal": 0.4, "clock": 0.2, "restore": 0.25,
    "wire": 0.9, "late": 0.75, "stale": 0.4, "gateway": 0.85, "drought": 0.35, "limits": 0.12, "outage": 0.35,
    "rotation": 0.12, "unsigned refusals": 0.2, "numberless refusals": 0.2, "later docs": 0.3, "racy": 0.3,
    "lag": 0.5, "4002": 0.5, "failure": 0.6, "refund": 0.4, "scripts": 0.5, "notices": 0.7, "forgeries": 0.4,
    "people": 0.85, "hands off": 0.15, "twins": 0.4, "workers": 0.5, "many": 0.6, "two person": 0.2,
    "telling": 0.04, "amounts first": 0.5, "amounts as numbers": 0.3, "short amounts": 0.3,
    "no notices": 0.15, "statements": 0.4, "rare answers": 0.1,
}  # fmt: skip


@frozen
class Plan:
    """The world of one seed."""

    seed: int
    payouts: int = 50
    without: frozenset[str] = field(default=frozenset(), converter=frozenset)
    real_crypto: bool = False
    lost_tail: bool = False  # the journal forgets acknowledged writes at a crash: only to see it detected
    forgetful: bool = False  # the gateway forgets numbers (against A1): only to see it detected

    def stream(self, name: str) -> random.Random:
        """A source of chance of its own."""
        return random.Random(f"{self.seed}/{name}")

    def has(self, kind: str) -> bool:
        """Whether this seed's world has this kind of fault."""
        return kind not in self.without and _drawn(self.seed, kind) < KINDS[kind]

    def strength(self, kind: str, low: float, high: float) -> float:
        """How strong it is, between `low` and `high` on a logarithmic scale; 0 where it does not exist."""
        return low * (high / low) ** self.stream(f"strength {kind}").random() if self.has(kind) else 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fault that exist."""
        return tuple(kind for kind in KINDS if self.has(kind))

    def repro(self) -> str:
        """The command that runs this world again."""
        words = ["python3 dev.py proof", f"--seed {self.seed}", f"--each {self.payouts}", "--seeds 1"]
        if self.without:
            words.append("--without " + repr(",".join(sorted(self.without))))
        words += [f"--{name}" for name in ("real_crypto", "lost_tail", "forgetful") if getattr(self, name)]
        return " ".join(words).replace("_", "-")

    def faults(self) -> Faults:
        """The gateway's own misbehaviour."""
        chance = self.stream("gateway faults")
        level = self.strength("gateway", 0.02, 0.5)
        pay = _some(chance, [name for name in FAULTS if name not in ("lag",)], level)
        query = _some(
            chance, [name for name in FAULTS if name.endswith(("_before", "hang_after")) or name in _READ], level
        )
        confirm = _some(chance, [name for name in FAULTS if name not in ("lag", "4012", "4014")], level)
        if not self.has("late"):
            pay, confirm = (
                {n: p for n, p in odds.items() if FAULTS[n].does not in ("late", "twice")} for odds in (pay, confirm)
            )
        notices = self.stream("notice faults")
        level = self.strength("notices", 0.05, 0.9)
        return Faults(
            name=f"seed {self.seed}",
            pay=pay,
            confirm=confirm,
            query={name: odds for name, odds in query.items() if FAULTS[name].ret_code not in ("1002", "2005")},
            notify=_some(notices, ["lost", "duplicate", "late", "unsigned", "bad_sign"], level),
            late_s=(10.0, chance.choice((30.0, 120.0, 600.0, HOUR, DAY))),
            failure_share=self.strength("failure", 0.02, 0.4),
            cancel_share=self.strength("refund", 0.01, 0.2),
            name_mismatch_share=self.strength("4002", 0.01, 0.3),
            check_duplicates=self.has("4002"),
        )


@lru_cache(maxsize=1024)
def _drawn(seed: int, kind: str) -> float:
    return random.Random(f"{seed}/has {kind}").random()


_READ: Final = ("lag", "truncated", "garbage", "html", "oversized", "unsigned", "bad_sign", "other_order", "slow")


def _some(chance: random.Random, names: list[str], level: float) -> dict[str, float]:
    """A few of these faults, together as frequent as `level`."""
    chosen = chance.sample(names, chance.randint(1, len(names)))
    weights = [chance.random() for _ in chosen]
    return {name: level * weight / sum(weights) for name, weight in zip(chosen, weights, strict=True)} if level else {}


CALM: Final = Faults("calm")
