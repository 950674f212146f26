"""LianLian's statements against the journal (specification 6, docs/reconciliation.md)."""

from .matching import reconcile
from .results import DayTotals, Difference, Kind, ReadFile, Reconciliation
from .statement import FileKind, Place, StatementError, StatementName, StatementRow, StatementSummary

__all__ = [
    "DayTotals",
    "Difference",
    "FileKind",
    "Kind",
    "Place",
    "ReadFile",
    "Reconciliation",
    "StatementError",
    "StatementName",
    "StatementRow",
    "StatementSummary",
    "reconcile",
]
