"""The journal in a real SQLite file, on virtual time, beside the one in memory: each call is made to both.

`SqliteJournal` has threads of its own and wakes its loop from them, which a loop on virtual time cannot wait for: it would
jump to the next timer meanwhile. So the file's journal lives on an ordinary loop in a thread of its own, and a call
blocks the simulated world until it is over. That keeps the world a function of its moves, and all of the journal
real: its lanes, transactions, chains and seals. What the two journals answer, and how they refuse, must agree.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, Final

from simulation.process import _READS, _WRITES
from simulation.store import Store

from lianlian_async.crypto import JournalKeys
from lianlian_async.journal.sqlite import SqliteJournal

# What is written must reach a file system, not a disk: what a power cut does to it is tested elsewhere.
_FOLDER: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Elsewhere:
    """An ordinary event loop in a thread, whose work is waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="journal of the machine", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Disagreement(AssertionError):
    """The two journals did not answer the same."""


class FileStore:
    """Like a `Store`, whose answers come from a file and are compared with those of the `Store` beside it."""

    def __init__(self, saved: Any, elsewhere: Elsewhere, keys: JournalKeys | None) -> None:
        self._memory = Store(saved)
        self._elsewhere, self._keys = elsewhere, keys
        self._folder = Path(tempfile.mkdtemp(prefix="machine-", dir=_FOLDER))
        self.file = self._opened()

    def __getattr__(self, name: str) -> Any:
        """What the laws and the moves look at."""
        return getattr(self._memory, name)

    def _opened(self) -> SqliteJournal:
        journal = SqliteJournal(self._folder / "payouts.db", keys=self._keys)
        self._elsewhere.do(journal.open())
        return journal

    def reopen(self) -> None:
        """Another process opens the file, which checks every chain, before the one that had it has let go of it."""
        old, self.file = self.file, self._opened()
        self._elsewhere.do(old.close())
        self.compare()

    def compare(self) -> None:
        """Every payout, as the file has it and as the memory has it."""
        found = self._elsewhere.do(self.file.page(None, 1000))
        mine = sorted(self._memory.records.values(), key=lambda record: record.no_order)
        if found != mine:
            raise Disagreement(f"the file holds {found}, the memory {mine}")

    def remove(self) -> None:
        """Close the file and take it away."""
        self._elsewhere.do(self.file.close())
        shutil.rmtree(self._folder)


def _both(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(self: FileStore, *args: Any, **more: Any) -> Any:
        result: Any = None
        refusal: BaseException | None = None
        try:
            result = self._elsewhere.do(getattr(self.file, name)(*args, **more))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other must agree
            refusal = error
        try:
            expected = await getattr(self._memory, name)(*args, **more)
        except Exception as error:
            if type(error) is not type(refusal):
                raise Disagreement(
                    f"{name}: the memory refuses with {error!r}, the file says {refusal or result}"
                ) from error
            raise
        if refusal is not None or result != expected:
            raise Disagreement(f"{name}: the file says {refusal or result}, the memory {expected}")
        return result

    return call


for _name in (*_READS, *_WRITES):
    setattr(FileStore, _name, _both(_name))


class Stores:
    """Makes the store of each example: "memory", "sqlite", or "encrypted" (a file, and a key)."""

    def __init__(self, kind: str) -> None:
        self._elsewhere = None if kind == "memory" else Elsewhere()
        # No other key is needed: what a rotation does is the journal's own tests' to say.
        self._keys = JournalKeys({"m": hashlib.sha256(b"machine").digest()}) if kind == "encrypted" else None

    def make(self, saved: Any) -> Store | FileStore:
        return Store(saved) if self._elsewhere is None else FileStore(saved, self._elsewhere, self._keys)

    def close(self) -> None:
        if self._elsewhere is not None:
            self._elsewhere.close()
