"""The keys of an encrypted journal: a file with one `id:base64(32 bytes)` a line, loaded and checked once.

The first key is the newest: a new journal begins with it, and a rotation ends with it. The others still open
what they sealed. No key is ever used itself: what a journal works with is derived from one for that journal and
one purpose (HKDF), so that two journals under one file have nothing in common.

As in `keys`, problems come back as sentences until no frame holds key bytes any more.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn, SupportsIndex

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lianlian_async.crypto.keys import read_key_file
from lianlian_async.errors import ConfigError

__all__ = ["JournalKeys", "make_journal_key"]

KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class JournalKeys:
    """The keys of an encrypted journal, the newest first; it shows and exports none of them.

    Safe to share between tasks, threads and journals. It cannot be copied or pickled.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(not _NAME.fullmatch(name) or len(key) != KEY_BYTES for name, key in keys.items()):
            del keys
            raise ConfigError(f"journal keys are one or more, each with an id and {KEY_BYTES} bytes")
        self._keys = dict(keys)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> JournalKeys:
        """Load a key file, which nobody else may read or own. Raises `ConfigError`, which names a line, never a key."""
        found = _parsed(Path(path))
        if isinstance(found, str):
            raise ConfigError(f"journal_key_file: {os.fspath(path)} {found}")
        return found

    @property
    def newest(self) -> str:
        """The id of the first key."""
        return next(iter(self._keys))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the newest first."""
        return tuple(self._keys)

    def derived(self, key_id: str, salt: bytes, purpose: str) -> bytes:
        """32 bytes for one purpose of one journal, whose `salt` it is; raises KeyError for an unknown id."""
        return HKDF(SHA256(), KEY_BYTES, salt, f"lianlian-async journal 1 {purpose}".encode()).derive(
            self._keys[key_id]
        )

    def __repr__(self) -> str:
        return f"<JournalKeys {', '.join(self._keys)}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("JournalKeys cannot be copied or pickled: load the file where it is needed")


def make_journal_key(key_id: str, entropy: Callable[[int], bytes]) -> bytes:
    """One line of a key file, with a new key."""
    return f"{key_id}:{base64.b64encode(entropy(KEY_BYTES)).decode('ascii')}\n".encode("ascii")


def _parsed(path: Path) -> JournalKeys | str:
    """The keys in a file, or what is wrong with it."""
    try:
        text = read_key_file(path, "journal_key_file", is_private=True).decode("ascii")
    except UnicodeDecodeError:
        return f"is not a journal's key file; {_REMEDY}"
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, encoded = line.strip().partition(":")
        if not _NAME.fullmatch(name) or (key := _decoded(encoded)) is None:
            return f"is cut short or no journal's key file: line {number} is not an id, a colon and a key; {_REMEDY}"
        if name in keys:
            return f"has two keys of one id: the second is on line {number}; give each an id of its own"
        keys[name] = key
    return JournalKeys(keys) if keys else f"holds no key; {_REMEDY}"


_REMEDY: Final = (
    "restore it from where it is kept, or make one for a new journal with: lianlian-async keys journal --out FILE"
)


def _decoded(encoded: str) -> bytes | None:
    """The key, or None for what a standard encoder would not have written of 32 bytes."""
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES and base64.b64encode(key).decode("ascii") == encoded else None
