"""Whether a process has come so far that it obeys SIGTERM, instead of dying of it while it still starts."""

from __future__ import annotations

import signal
from pathlib import Path


def heeds_sigterm(pid: int) -> bool:
    """True once the process has a handler of its own; also for one that is gone, which nobody has to wait for."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = status.partition("SigCgt:")[2].split()
    return not caught or bool(int(caught[0], 16) >> (signal.SIGTERM - 1) & 1)
