"""Standard output that may fail: a full disk or a reader who has gone away must not decide what becomes of a payout.

Every write of this process goes through an `Outlet`, which takes whatever it is given. The first fault is kept,
what follows is thrown away, and the command goes on to its own end; only then does the fault decide the exit status.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Any, Final, TextIO

__all__ = [
    "output_fault",
    "protect_output",
    "reader_has_gone",
    "status_after_output",
    "tell_on_stderr",
    "told_elsewhere",
]

_STDERR: Final = 2


class Outlet(io.FileIO):
    """A standard stream that never raises. `told_elsewhere` says that what it was to show stands in a file as well."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.fault: OSError | None = None
        self.told_elsewhere = False

    def write(self, data: Any) -> int:
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return memoryview(data).nbytes


def protect_output() -> None:
    """Put an outlet behind stdout and stderr; what a stream cannot show is written as an escape."""
    # The number of a closed stream would go to the next file or socket, and an event loop aborts the process over that.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = _protected(sys.stdout), _protected(sys.stderr)


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Not through a console of ours: a progress bar puts what is written here above itself.
        print(record.getMessage(), file=sys.stderr, flush=True)


_ON_STDERR: Final = _OnStderr(logging.WARNING)


def tell_on_stderr(logger: str) -> None:
    """Show the warnings of this logger, a line each."""
    logging.getLogger(logger).addHandler(_ON_STDERR)


def _protected(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        # Closed before we came, or a stream in memory, which does not fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream
    line_buffering = bool(getattr(stream, "line_buffering", True))
    return io.TextIOWrapper(
        io.BufferedWriter(Outlet(descriptor)), encoding=stream.encoding, errors="backslashreplace",
        line_buffering=line_buffering,
    )  # fmt: skip


def _outlet() -> Outlet | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Outlet) else None


def output_fault() -> OSError | None:
    """Why what was said so far did not get out, or None."""
    outlet = _outlet()
    if outlet is None:
        return None
    sys.stdout.flush()
    return outlet.fault


def reader_has_gone() -> bool:
    """True when nobody reads any more (`| head`): whoever only shows things can stop."""
    return isinstance(output_fault(), ConnectionError)


def told_elsewhere() -> None:
    """What is shown from here on stands in a file: stdout does not decide the exit status any more."""
    outlet = _outlet()
    if outlet is not None:
        outlet.told_elsewhere = True


def status_after_output(status: int) -> int:
    """The exit status, now that everything is said: 3 when a disk did not take it, and nothing else tells it."""
    fault, outlet = output_fault(), _outlet()
    if fault is None or outlet is None or isinstance(fault, ConnectionError):
        return status
    text = f"Error: the output could not be written ({fault.strerror}): what is known is in the journal, see `status`"
    print(text, file=sys.stderr, flush=True)
    return status if outlet.told_elsewhere else status or 3
