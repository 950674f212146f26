"""Sealing a whole SQLite journal anew: with the newest key, or for the first time; and checking one without a key.

    the newest key seals what is written from here on
        ──► every payout, a stretch to a transaction ──► every orphan ──► compact the file ──► forget the older keys

It may be killed at any point and run again: what is done stays done, and until the last step all keys are needed.
Other processes that have the newest key go on reading and writing meanwhile. One that lacks it is refused by its
journal from the first step on, and sends nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Final

from ..crypto.journal_keys import JournalKeys
from ..errors import ConfigError, JournalUnavailable
from .sqlite_file import JournalFile
from .sqlite_keys import Vault
from .sqlite_lane import Session
from .sqlite_open import open_writer
from .sqlite_payouts import Payouts
from .sqlite_shared import reseal_orphan
from .sqlite_twins import hash_payees
from .statements import load_statements

__all__ = ["rotate", "verify_chains"]

_SQL: Final = load_statements("sqlite")
_STRETCH: Final = 100
# The lock knows no queue: whoever waits for it looks every two milliseconds, and must find it free.
_PAUSE_S: Final = 0.01


def rotate(
    path: str | os.PathLike[str],
    keys: JournalKeys,
    *,
    busy_timeout_s: float = 5.0,
    entropy: Callable[[int], bytes] = os.urandom,
    observe: Callable[[int], None] | None = None,
) -> int:
    """Bring a journal under the first of `keys`, and return how many payouts and orphans were sealed anew.

    `keys` must also hold the key that the journal has now, if it has one. `observe` is told how many are done.
    Blocks; for a thread of its own. Raises ConfigError for keys that do not fit (nothing is written then), and
    JournalUnavailable when the store fails or a payout was changed behind the journal's back.
    """
    place = Path(path).absolute()
    vault = Vault(place, keys, entropy)

    def meet(db: sqlite3.Connection) -> None:
        vault.unlock(db)
        hash_payees(db, vault, Payouts(place, vault).chained)

    session = _session(place, busy_timeout_s, meet)
    session.begun = vault.begun
    try:
        return _Rotation(session, place, vault, observe).run()
    except sqlite3.Error as error:
        raise session.explain(error) from error
    finally:
        session.close()


def verify_chains(path: str | os.PathLike[str], *, busy_timeout_s: float = 5.0) -> int:
    """Check the chain of every payout without any key; returns how many there are.

    It finds rows that were changed, added or removed by somebody who did not make the chain anew. Raises
    ConfigError or JournalUnavailable, which names the first bad payout.
    """
    place = Path(path).absolute()
    session = _session(place, busy_timeout_s, None)
    try:
        with session.transaction() as db:
            return Payouts(place, Vault(place, None, os.urandom)).verify_chains(db)
    except sqlite3.Error as error:
        raise session.explain(error) from error
    finally:
        session.close()


def _session(place: Path, timeout_s: float, meet: Callable[[sqlite3.Connection], None] | None) -> Session:
    if not place.exists():
        raise ConfigError(f"there is no journal at {place}: check LIANLIAN_JOURNAL")
    return open_writer(JournalFile(place), timeout_s, meet)


class _Rotation:
    def __init__(self, session: Session, path: Path, vault: Vault, observe: Callable[[int], None] | None) -> None:
        self._session = session
        self._path = path
        self._vault = vault
        self._observe = observe
        self._done = 0
        self._pause = Event()

    def run(self) -> int:
        with self._session.transaction() as db:
            self._vault.advance(db)
            newest, older = self._vault.in_use(db)[0].seq, len(self._vault.in_use(db)) > 1
        payouts = Payouts(self._path, self._vault)
        self._sweep("payouts_sealed_otherwise", newest, lambda db, payout: payouts.reseal(db, payout))
        self._sweep("orphans_sealed_otherwise", newest, lambda db, orphan: reseal_orphan(db, self._vault, orphan))
        if older:
            self._compact()
            with self._session.transaction() as db:
                self._vault.retire(db)
        return self._done

    def _sweep(self, statement: str, newest: int, reseal: Callable[[sqlite3.Connection, int], object]) -> None:
        """Nothing new can turn up behind the sweep: every transaction that writes uses the newest key by now."""
        last = 0
        # The search holds no lock: a second run may have far to go to what the first one left.
        while found := self._session.db.execute(_SQL[statement], (last, newest, _STRETCH)).fetchall():
            with self._session.transaction() as db:
                # Whoever saved meanwhile has sealed some of them already.
                left = [one for (one,) in db.execute(_SQL[statement], (last, newest, _STRETCH)) if one <= found[-1][0]]
                for one in left:
                    reseal(db, one)
            last = found[-1][0]
            self._done += len(left)
            if self._observe is not None:
                self._observe(self._done)
            self._pause.wait(_PAUSE_S)

    def _compact(self) -> None:
        """Leave nothing of the old rows in free pages, in the slack of used ones, or in the write-ahead log."""
        assert self._session.lock is not None
        with self._session.lock.held():
            self._session.db.execute("VACUUM")
            busy, *_ = self._session.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise JournalUnavailable(
                f"everything in the journal {self._path} is sealed with the newest key, but somebody is reading so "
                "long that the old write-ahead log cannot be emptied: run the rotation once more"
            )
