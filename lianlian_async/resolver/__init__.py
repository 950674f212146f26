"""The heart: evidence in, state and next step out. Pure: no clock, no I/O, no keys (specification 2.2, 5, 7)."""

from ..protocol.ret_codes import Actor, Effect, Proof, Source, Then
from .decide import Decision, breaker_reason, decide
from .evidence import ROWS, Attempt, Evidence, Outcome, Row, row_of
from .rules import RULES, Rule, Step
from .states import FINAL, State, View, view_of

__all__ = [
    "FINAL",
    "ROWS",
    "RULES",
    "Actor",
    "Attempt",
    "Decision",
    "Effect",
    "Evidence",
    "Outcome",
    "Proof",
    "Row",
    "Rule",
    "Source",
    "State",
    "Step",
    "Then",
    "View",
    "breaker_reason",
    "decide",
    "row_of",
    "view_of",
]
