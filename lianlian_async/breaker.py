"""The breaker of one merchant: what stops new money, and the pause that a failing journal cannot take yet."""

from __future__ import annotations

import logging
from typing import Final

from .clock import Clock
from .errors import JournalUnavailable
from .journal import Breaker, Journal, Record
from .resolver import Evidence, Outcome, Source, breaker_reason, view_of

__all__ = ["Guard"]

logger = logging.getLogger("lianlian_async.breaker")

# "3 in a row" (docs/rules.md): that many answers to pay or confirm that nobody signed stop new money.
UNSIGNED_IN_A_ROW_MAX: Final = 3


class Guard:
    """Watches the news of one merchant's payouts and pauses new money when they say so."""

    def __init__(self, journal: Journal, clock: Clock, oid_partner: str, *, asks_only: bool = False) -> None:
        self._journal = journal
        self._clock = clock
        self._oid_partner = oid_partner
        self._unsigned = 0
        self._to_write: Breaker | None = None
        self._was_paused = False
        self._own = (
            Breaker(oid_partner, "this client was opened to ask only: it sends nothing", clock.now(), by="its user")
            if asks_only
            else None
        )

    async def paused(self) -> Breaker | None:
        """The pause in force: one that the journal could not take yet counts as well."""
        pause = self._own or self._to_write or await self._journal.tripped(self._oid_partner)
        self._was_paused = self._was_paused or pause is not None
        return pause

    async def lifted(self) -> bool:
        """True once after a pause that this process has met was lifted, by whomever: what it parked may go on."""
        if not self._was_paused or await self.paused() is not None:
            return False
        self._was_paused = False
        return True

    async def unpause(self, by: str) -> Breaker | None:
        """Lift the pause; returns what was lifted."""
        await self.write_down()
        waiting, self._to_write = self._to_write, None
        return await self._journal.reset(self._oid_partner, by, self._clock.now()) or waiting

    async def heard(self, record: Record, evidence: Evidence) -> None:
        """Pause new money if this news, which `record` holds already, says so."""
        reason = breaker_reason(view_of(record.attempts, record.evidence), evidence) or self._unsigned_reason(evidence)
        if reason is not None:
            # In force at once, whether or not the journal can take it now.
            self._to_write = Breaker(self._oid_partner, reason, self._clock.now(), by="gateway")
            await self.write_down()

    def _unsigned_reason(self, evidence: Evidence) -> str | None:
        if evidence.source not in (Source.PAY, Source.CONFIRM):
            return None
        unsigned = evidence.outcome in (Outcome.UNSIGNED, Outcome.BAD_SIGNATURE)
        self._unsigned = self._unsigned + 1 if unsigned else 0
        if self._unsigned < UNSIGNED_IN_A_ROW_MAX:
            return None
        self._unsigned = 0
        return (
            f"{UNSIGNED_IN_A_ROW_MAX} answers in a row are not signed by the gateway's key: check "
            "gateway_public_key_file and the network, then `unpause`."
        )

    async def write_down(self) -> None:
        """Bring a pause that waits for it into the journal, if the journal takes it now."""
        pause = self._to_write
        if pause is None:
            return
        try:
            await self._journal.trip(pause)
        except JournalUnavailable as error:
            logger.warning("the pause of new money holds, and could not be written down yet: %s", error)
            return
        self._to_write = None
        logger.error("new money of %s is paused: %s", pause.oid_partner, pause.reason)
