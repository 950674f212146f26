"""Which keys seal an SQLite journal: the file says so itself, in its table `keys`.

The newest key in that table seals whatever is written, in every process at once: it is asked for inside each
transaction. A rotation adds one, seals everything with it, and removes those before it. So a process that lacks
the newest key is refused from that moment on instead of writing what nobody else could read, and one that was
given a key file with a further key goes on as before until somebody rotates.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..crypto.journal_keys import JournalKeys
from ..errors import ConfigError, JournalUnavailable
from .rows import Row
from .sealing import Bare, Sealer
from .statements import load_statements

__all__ = ["Vault"]

_SQL: Final = load_statements("sqlite")
_SALT_BYTES: Final = 16
_GIVE: Final = "set LIANLIAN_JOURNAL_KEY_FILE (in Python: SqliteJournal(path, keys=JournalKeys.load(FILE)))"


class Vault:
    """The sealers of one file. `keys` is None for a journal without a key."""

    def __init__(self, path: Path, keys: JournalKeys | None, entropy: Callable[[int], bytes]) -> None:
        self._path = path
        self._keys = keys
        self._entropy = entropy
        # What was read last, and the sealers that came of it, as one value: two threads look at it.
        self._known: tuple[Sequence[Row], Sequence[Bare]] = ((), ())
        # What the transaction that a connection is in has found. Each has a snapshot of its own.
        self._found: dict[sqlite3.Connection, Sequence[Bare]] = {}

    def begun(self, db: sqlite3.Connection) -> None:
        """A transaction begins: what was found in the last one may have changed."""
        self._found.pop(db, None)

    def meet(self, db: sqlite3.Connection) -> None:
        """At the start, inside a transaction: give a new journal its key.

        Raises ConfigError for any but the right keys.
        """
        rows = _rows(db)
        if self._keys is not None and [seq for seq, *_ in rows] == [0]:
            if db.execute(_SQL["anything_written"]).fetchone()[0]:
                raise ConfigError(
                    f"the journal {self._path} was written without a key, and now a key is given: encrypt it with "
                    "`lianlian-async keys rotate-journal`, or leave LIANLIAN_JOURNAL_KEY_FILE out; nothing was written"
                )
            self.advance(db)
            self.retire(db)
        self.unlock(db)

    def unlock(self, db: sqlite3.Connection) -> None:
        """As `meet`, for a rotation: also for a journal that has no key yet."""
        rows = _rows(db)
        found = self._unlocked(rows)
        if isinstance(found, str):
            raise ConfigError(f"{found}; nothing was written")
        self._known = rows, found
        self._found.clear()

    def in_use(self, db: sqlite3.Connection) -> Sequence[Bare]:
        """The sealers that rows may be sealed by at this moment, the one that seals what is written first.

        Raises JournalUnavailable when a key is in use meanwhile that was not given.
        """
        if (seen := self._found.get(db)) is not None:
            return seen
        rows, sealers = self._known
        present = _rows(db)
        if present != rows:
            found = self._unlocked(present)
            if isinstance(found, str):
                raise JournalUnavailable(f"{found}, then start again")
            sealers = found
            self._known = present, found
        self._found[db] = sealers
        return sealers

    def sealer(self, db: sqlite3.Connection, seq: int) -> Bare:
        """The sealer of this number; raises JournalUnavailable where there is none."""
        # A number stands for one key for ever, so that what was known before needs no further look.
        known = _of(self._known[1], seq) or _of(self.in_use(db), seq)
        if known is None:
            raise JournalUnavailable(
                f"the journal {self._path} holds what a key sealed that is not in its own table of keys: it was "
                "changed behind the journal's back, find out by whom, and restore a backup"
            )
        return known

    def advance(self, db: sqlite3.Connection) -> bool:
        """Let the newest of the given keys seal from here on; False when it does already."""
        keys, rows = self._keys, _rows(db)
        assert keys is not None
        if rows[-1][0] and rows[-1][1] == keys.newest:
            return False
        salt = self._entropy(_SALT_BYTES)
        row = (rows[-1][0] + 1, keys.newest, salt)
        db.execute(_SQL["add_key"], (*row, _proof(keys, (*rows, row))))
        self.begun(db)
        return True

    def retire(self, db: sqlite3.Connection) -> None:
        """Remove every key but the newest; an IntegrityError while one of them seals anything."""
        newest = _rows(db)[-1]
        assert self._keys is not None
        db.execute(_SQL["retire_keys"], (newest[0],))
        db.execute(_SQL["set_proof"], (_proof(self._keys, (newest,)), newest[0]))

    def _unlocked(self, rows: Sequence[Row]) -> Sequence[Bare] | str:
        """The sealers of these keys, the newest first, or what is wrong."""
        if not rows:
            return f"the journal {self._path} has lost its table of keys: find out how, and restore a backup"
        sealers: list[Bare] = []
        for place, (seq, key_id, salt, proof) in enumerate(rows, start=1):
            if seq == 0:
                sealers.insert(0, Bare())
                continue
            if self._keys is None:
                return f"the journal {self._path} is encrypted with the key {key_id!r}, and no key is given: {_GIVE}"
            if key_id not in self._keys.ids:
                return (
                    f"the journal {self._path} is encrypted with the key {key_id!r}, and the key file holds only "
                    f"{', '.join(map(repr, self._keys.ids))}: put the line of {key_id!r} back"
                )
            if not hmac.compare_digest(proof, _proof(self._keys, rows[:place])):
                return (
                    f"the key {key_id!r} that is given is not the one that encrypts the journal {self._path} (or that "
                    "file's table of keys was changed): give the key file that belongs to it"
                )
            sealers.insert(0, Sealer(seq, key_id, salt, self._keys, self._entropy))
        return sealers


def _rows(db: sqlite3.Connection) -> Sequence[Row]:
    return db.execute(_SQL["keys"]).fetchall()


def _of(sealers: Sequence[Bare], seq: int) -> Bare | None:
    return next((one for one in sealers if one.seq == seq), None)


def _proof(keys: JournalKeys, rows: Sequence[Row]) -> bytes:
    """What only the key of the last of these rows can say of all of them.

    It covers the earlier rows so that nobody without the key can say that rows may stand in the open.
    """
    _, key_id, salt, *_ = rows[-1]
    said = json.dumps([[row[0], row[1], row[2].hex()] for row in rows])
    return hmac.digest(keys.derived(key_id, salt, "proof"), said.encode("ascii"), "sha256")
