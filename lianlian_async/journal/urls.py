"""Which journal a URL means: `memory:` or `sqlite:///path`."""

from __future__ import annotations

from ..crypto.journal_keys import JournalKeys
from ..errors import ConfigError
from ..protocol.fields import is_text
from . import Journal

__all__ = ["open_journal"]

_FORMS = (
    'a journal is "sqlite:///payouts.db" (in the present directory), "sqlite:////var/lib/pay/payouts.db" (absolute), '
    'or "memory:" (forgets everything; for trials)'
)


def open_journal(url: str, *, keys: JournalKeys | None = None) -> Journal:
    """The journal of this URL, not yet opened; raises ConfigError for every other form.

    `keys` encrypt what lies on disk; of `memory:` nothing does, so that it has no use for them. The message
    never repeats the URL, because the URL of a database server has a password in it.
    """
    if not is_text(url):
        raise ConfigError("a journal's URL holds bytes that are no text: write it in UTF-8")
    scheme, colon, rest = url.partition(":")
    if scheme == "memory" and colon:
        return _memory(rest)
    if scheme == "sqlite" and colon:
        return _sqlite(rest, keys)
    if colon and scheme.isascii() and scheme.replace("+", "").isalnum() and rest.startswith("//"):
        raise ConfigError(f"there is no journal for {scheme}: {_FORMS}")
    raise ConfigError(f"this is not a journal's URL: {_FORMS}")


def _memory(rest: str) -> Journal:
    if rest:
        raise ConfigError(f"nothing follows memory: {_FORMS}")
    from .memory import MemoryJournal

    return MemoryJournal()


def _sqlite(rest: str, keys: JournalKeys | None) -> Journal:
    path = rest.removeprefix("///")
    if path == rest:
        raise ConfigError(f"three slashes come before the path: {_FORMS}")
    if not path or path.endswith("/"):
        raise ConfigError(f"the path of the file is missing: {_FORMS}")
    if path == ":memory:":
        raise ConfigError("a journal in memory is asked for as memory: and nothing else")
    if "?" in path or "#" in path or "\0" in path:
        raise ConfigError(f"a journal's URL has no options, and its path no question mark: {_FORMS}")
    from .sqlite import SqliteJournal

    return SqliteJournal(path, keys=keys)
