"""Public test doubles: a gateway that behaves and misbehaves like LianLian's, and clocks that run ahead.

Nothing here is needed to pay anybody. Names load on first use, so that `import lianlian_async.testing`
costs nothing and needs no optional package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .careless import intent_of, pay_carelessly
    from .clocks import ManualClock, ScaledClock
    from .sftp import StatementServer, serve_statements
    from .simulator import PROFILES, Behaviour, Faults, Ledger, Simulator, Step

__all__ = [
    "PROFILES",
    "Behaviour",
    "Faults",
    "Ledger",
    "ManualClock",
    "ScaledClock",
    "Simulator",
    "StatementServer",
    "Step",
    "intent_of",
    "pay_carelessly",
    "serve_statements",
]

_HOMES = {
    "PROFILES": ".simulator",
    "Behaviour": ".simulator",
    "Faults": ".simulator",
    "Ledger": ".simulator",
    "ManualClock": ".clocks",
    "ScaledClock": ".clocks",
    "Simulator": ".simulator",
    "StatementServer": ".sftp",
    "Step": ".simulator",
    "intent_of": ".careless",
    "pay_carelessly": ".careless",
    "serve_statements": ".sftp",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
