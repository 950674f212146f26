"""Why a statement could not be fetched: each error names the host, the file and the way out.

    FetchError
    ├── HostKeyRefused       the server showed another key than the pinned one; nothing was sent to it
    ├── LoginRefused         the server does not take this user's key or password
    ├── ServerLost           not reachable, too slow, or gone in the middle (*)
    ├── StatementMissing     the file is not there (*)
    ├── StatementUnfinished  the file is still being written (*)
    ├── StatementUnusable    too large, no plain file, or the server does not hand it out
    ├── StatementChanged     other content than what was processed under this name before
    └── InboxFault           the folder of this machine: in use, in the way, without room

(*) may be otherwise later: these are tried again until the deadline.
"""

from __future__ import annotations

from ..errors import LianLianError

__all__ = [
    "FetchError",
    "HostKeyRefused",
    "InboxFault",
    "LoginRefused",
    "ServerLost",
    "StatementChanged",
    "StatementMissing",
    "StatementUnfinished",
    "StatementUnusable",
]


class FetchError(LianLianError):
    """A statement could not be fetched. `host` is the server (or empty), `file` the file (or empty), `problem` what is
    wrong and `remedy` the way out. `later` says whether it may be otherwise by itself."""

    later = False

    def __init__(self, host: str, file: str, problem: str, remedy: str) -> None:
        self.host = host
        self.file = file
        self.problem = problem
        self.remedy = remedy
        where = ", ".join(part for part in (host, file) if part)
        super().__init__(f"{where}: {problem}; {remedy}")

    def __reduce__(self) -> tuple[type[FetchError], tuple[str, str, str, str]]:
        return type(self), (self.host, self.file, self.problem, self.remedy)


class HostKeyRefused(FetchError):
    """The server's host key is not the pinned one. Neither user nor password nor any request left this machine."""


class LoginRefused(FetchError):
    """The server does not take this user's key or password. It is not tried again: that could lock the user out."""


class ServerLost(FetchError):
    """The server cannot be reached, is too slow, or went away in the middle; what came so far is kept."""

    later = True


class StatementMissing(FetchError):
    """The file is not there."""

    later = True


class StatementUnfinished(FetchError):
    """The file changed while it was looked at, or its last line is not complete."""

    later = True


class StatementUnusable(FetchError):
    """The file is too large, is no plain file, or is not handed out."""


class StatementChanged(FetchError):
    """The file has other content than what was processed under its name before; the new content lies beside it."""


class InboxFault(FetchError):
    """The folder for statements cannot be used: another fetch is at work there, something is in the way, no room."""
