"""A file of payouts in, a file of outcomes out. Reading and writing them sends nothing and prints nothing."""

from __future__ import annotations

from .outcomes import COLUMNS, Outcome, OutcomesUnwritable, check_outcomes_path, write_outcomes
from .reading import FILE_BYTES_MAX, PROBLEMS_KEPT_MAX, ROWS_MAX, Batch, BatchRow, Problem, read_batch

__all__ = [
    "COLUMNS",
    "FILE_BYTES_MAX",
    "PROBLEMS_KEPT_MAX",
    "ROWS_MAX",
    "Batch",
    "BatchRow",
    "Outcome",
    "OutcomesUnwritable",
    "Problem",
    "check_outcomes_path",
    "read_batch",
    "write_outcomes",
]
