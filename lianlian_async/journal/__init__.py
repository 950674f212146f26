"""The journal: what was intended, what was begun, and every piece of news; written before, not after.

One contract for every store. A payout is a `Record`: its frozen content, its attempts and its evidence,
of which the last two only ever grow. `add` writes an intent down, `save` adds attempts and evidence under
a version check. Both return only after the store says that the data is durable; when it cannot say so they
raise `JournalUnavailable`, and the caller sends nothing.

    add ──► save(attempt n) ──► bytes leave ──► save(evidence) ──► ...
            rule R6: durable before the first byte

Beside the payouts a journal keeps what several processes on it have to agree about: who is at which payout
(leases), when the next query may be asked (turns), and which changes the application has been told of.
None of these decides anything about money: what makes a send unique is the version check of its attempt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, Protocol, TypeVar

from attrs import field, frozen

from ..errors import LianLianError
from ..resolver import FINAL, Attempt, Evidence, State, Step

__all__ = [
    "Amendment",
    "Breaker",
    "Change",
    "Journal",
    "Lease",
    "Leased",
    "Moved",
    "Orphan",
    "Record",
    "StaleVersion",
    "Tally",
    "TwinsFound",
    "may_move",
    "proven_dead",
]

T = TypeVar("T")
_UNPAID: Final = frozenset({State.FAILED, State.CLOSED, State.REFUNDED})


def may_move(state: str, step: str) -> bool:
    """Whether a payout that stands so may still move money: it has not ended, or no query agrees that it has (R8)."""
    return step != Step.NOTHING or state not in FINAL


def proven_dead(state: str, step: str) -> bool:
    """Whether no money of a payout that stands so moved, or it came back, and a query agrees (R8): then the step that
    the decision table gives it is NOTHING. Where only a notification says so, it may have been paid."""
    return step == Step.NOTHING and state in _UNPAID


class StaleVersion(LianLianError):
    """Somebody else changed this payout meanwhile: load it again and decide anew. Nothing was written."""


class Leased(StaleVersion):
    """Somebody else is at this payout just now: load it again later. Nothing was written."""


class TwinsFound(LianLianError):
    """Payouts have twins: the same merchant, card and amount under another name; see `Journal.add`.

    `twins` maps the `no_order` of each payout that would be written to the numbers of its twins. Nothing was written.
    """

    def __init__(self, twins: Mapping[str, Sequence[str]]) -> None:
        self.twins = dict(twins)
        super().__init__(f"{len(self.twins)} payouts have twins")


@frozen
class Lease:
    """Who advances a payout (or tells an application of changes), from when until when.

    It keeps two from doing the same work. `owner` is different for every process and worker.
    """

    owner: str
    since: datetime
    until: datetime


@frozen
class Amendment:
    """Corrected content of a payout under its old number (rule R5), by whom and when."""

    content: Mapping[str, str] = field(repr=False)
    content_hash: str
    at: datetime
    by: str


@frozen
class Record:
    """One payout as it stands in the journal. `content` is the signed plaintext of the pay request, as amended.

    `former_hashes` are those of earlier contents, oldest first. `lease` is in force until its `until`, unless it was
    released. `replaced_by` is the number of the next generation, if there is one.
    """

    no_order: str
    key: str | None
    oid_partner: str
    content: Mapping[str, str] = field(repr=False)
    content_hash: str
    created_at: datetime
    generation: int = 0
    version: int = 0
    state: State = State.UNSENT
    step: Step = Step.SUBMIT
    due_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    former_hashes: tuple[str, ...] = ()
    lease: Lease | None = None
    replaced_by: str | None = None

    def stands_for(self, content_hash: str) -> bool:
        """True when this payout has, or once had, the content of this hash."""
        return content_hash == self.content_hash or content_hash in self.former_hashes

    @property
    def dead(self) -> bool:
        """True when it is proven, by a query, that this payout has paid nobody and never will."""
        return proven_dead(self.state, self.step)


@frozen
class Change:
    """What one `save` adds, and how the payout stands afterwards.

    `lease` is taken, or made longer, by the same transaction; `release` names the owner whose lease ends with it.
    """

    state: State
    step: Step
    due_at: datetime | None
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    amendment: Amendment | None = None
    lease: Lease | None = None
    release: str | None = None


@frozen
class Moved:
    """A payout came to another state or step by the save that made it `version`. `seq` rises with every change."""

    seq: int
    no_order: str
    version: int
    state: State
    step: Step
    tries: int = 0  # how often telling the application has failed


@frozen
class Orphan:
    """A genuine notification about a number that this journal does not know; `said` holds its members."""

    oid_partner: str
    no_order: str
    at: datetime  # when it first came
    said: Mapping[str, str] = field(repr=False)


@frozen
class Breaker:
    """New money of one merchant is paused, since when, why and by whom (`gateway` or a person's name)."""

    oid_partner: str
    reason: str
    at: datetime
    by: str


@frozen
class Tally:
    """How many payouts stand in one state, and the sum of their `money_order`."""

    count: int
    money: Decimal


class Journal(Protocol):
    """What every store must do. All methods raise `JournalUnavailable` when the store fails."""

    async def open(self) -> None:
        """Open the store and check that it is durable; raises ConfigError when its set-up is unsafe."""

    async def close(self) -> None:
        """Finish what was accepted and let go of the store."""

    async def add(
        self, records: Sequence[Record], *, twins_since: datetime | None = None, meant: Collection[str] = ()
    ) -> list[Record]:
        """Write intents down, all or none, and return what the journal holds for each, in order.

        Where the (`oid_partner`, `key`) of a record with a key exists already, or its `no_order` does (also further
        up in `records`), the existing record is returned; of several generations of one key the newest. If one of
        those does not stand for the `content_hash` that was asked for, *nothing at all* is written: the caller looks.

        With `twins_since`, raises TwinsFound, and writes nothing, when a record that would be new has a twin: another
        payout (in the journal, or further up in `records`) of the same merchant, card_no (without dashes) and
        money_order that is not `dead`, and either is not PAID, whatever its age (it may still pay), or was created or
        last sent at that moment or later. Those whose numbers are in `meant` are no twins: somebody was asked about
        them and said that both are meant.
        """

    async def twins(self, record: Record, since: datetime) -> list[Record]:
        """The payouts in the journal to the same card and amount as `record`, itself left out: those that may still
        move, and those in whatever state that were created or last sent at `since` or later. The newest first."""

    async def replace(
        self,
        no_order: str,
        version: int,
        record: Record,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> Record:
        """Write the next generation of a payout down, if the old one still has `version` (rule R4).

        A payout is replaced once: when it has been already, the present replacement is returned. Whether the
        old number is proven dead is the caller's to know. Raises StaleVersion, ValueError when `record` is not
        the same merchant and key, one generation further. With `twins_since`, raises TwinsFound as `add` does;
        the payout that is replaced is no twin.
        """

    async def revived(self, no_order: str) -> list[str]:
        """The numbers that were replaced so that this one came in their place, one after the other, and that are not
        proven dead (any more): their payment may have been made after all. The latest first."""

    async def verify(self) -> int:
        """Check every payout ever written against tampering; returns how many there are."""

    async def load(self, no_order: str) -> Record | None:
        """The payout of this number, with all attempts and evidence in the order of writing."""

    async def find(self, oid_partner: str, key: str) -> Record | None:
        """The payout of this caller's key; of several generations the newest."""

    async def save(
        self,
        no_order: str,
        version: int,
        change: Change,
        *,
        twins_since: datetime | None = None,
        meant: Collection[str] = (),
    ) -> int:
        """Add attempts, evidence, an amendment and set the state, if the payout still has `version`; returns the new.

        Raises StaleVersion when it has not, also when `change` begins an attempt and a number that this payout replaced
        is `revived` (rule R4); TwinsFound, with `twins_since`, when the amended payout would have a twin as in `add`;
        and Leased when `change` takes a lease while another owner's is in force
        (at `lease.since`); then nothing of `change` is written. Where state or step change, a `Moved` is written by
        the same transaction (by `add` and `replace`, where a payout does not begin as UNSENT and SUBMIT). An amendment
        replaces `content` and `content_hash`; the earlier ones stay on record.
        """

    async def due(self, oid_partner: str, now: datetime, limit: int, *, sends: bool | None = None) -> list[str]:
        """Numbers of this merchant whose `due_at` has come and that are under nobody's lease at `now`. A look: nothing
        is taken.

        With `sends` only those whose step is SUBMIT, without (False) only the others, to ask about; None is both. What
        is UNKNOWN and to be asked about comes first, the newest before the rest; then whatever is due earliest.
        """

    async def claim(self, oid_partner: str, lease: Lease, limit: int, *, sends: bool | None = None) -> list[Record]:
        """Put up to `limit` payouts that are due at `lease.since` under `lease`, and return them in the order of `due`.

        A payout that is under anybody's lease then, also of the same owner, is passed over. The version stays.
        """

    async def release(self, no_order: str, owner: str) -> None:
        """End `owner`'s lease on this payout, if it has it; the version stays."""

    async def turn(self, oid_partner: str, now: datetime, gap: timedelta, count: int) -> datetime:
        """Reserve `count` turns to query for one merchant, `gap` apart, and return the first: `now` or later.

        No two calls, of whichever process, get the same turn. Turns that passed unused are not made up for. A
        reservation that would begin more than an hour ahead (a clock was set back) begins at `now` instead.
        """

    async def moved(self, subscriber: str, lease: Lease, limit: int) -> list[Moved]:
        """Changes that `subscriber` has not been told of, oldest first, those whose second chance has come before them.

        Takes the subscriber's lease, or returns nothing while another owner has it. A subscriber that is new starts
        with the first change in the journal.
        """

    async def told(self, subscriber: str, moved: Moved, *, again_at: datetime | None = None) -> None:
        """Remember that `subscriber` has been told of `moved` and all before it; with `again_at`, that this one failed
        and is to be told again from then on (`tries` rises), without holding up those after it."""

    async def note_orphan(self, orphan: Orphan) -> bool:
        """Write an orphan down, once for each different `said` of a number; False when it was known already."""

    async def orphans(self, oid_partner: str, no_orders: Collection[str] | None = None) -> list[Orphan]:
        """The orphans of these numbers, or all of this merchant (then at most 1,000, the newest first)."""

    async def page(
        self, after: str | None, limit: int, states: Collection[State] = (), *, oid_partner: str | None = None
    ) -> list[Record]:
        """Payouts in the order of `no_order`, starting after one, of these `states` and this merchant, if given."""

    async def tally(self, oid_partner: str | None = None) -> dict[State, Tally]:
        """Count and money by state, of one merchant if it is given."""

    async def beside(self, scratch: Path, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, in a thread of its own, on a connection to the SQLite file `scratch`, which is made where it is
        not. `work` sees all payouts there, as of one moment and only to be read: `dated`, `numbered` and `undated` (see
        the module `beside`). What it raises is passed on, `sqlite3.Error` as JournalUnavailable."""

    async def newest(self) -> datetime | None:
        """The latest moment ever written (intent, amendment, attempt, evidence), whoever the merchant is; the machine's
        clock must not be behind it."""

    async def trip(self, breaker: Breaker) -> Breaker:
        """Pause new money of a merchant; an earlier pause stays as it is. Returns the one in force."""

    async def tripped(self, oid_partner: str) -> Breaker | None:
        """The pause in force for this merchant, if any."""

    async def reset(self, oid_partner: str, by: str, at: datetime) -> Breaker | None:
        """Lift the pause; returns what was lifted. Pauses and their lifting stay on record."""
