"""A client that holds payouts and keeps the contract of `lianlian_async.review.Desk`; nothing is sent anywhere."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import define, evolve, field, frozen

from lianlian_async.clock import Clock, wire_time
from lianlian_async.errors import CommandRefused
from lianlian_async.payout import Confirmation, Payout
from lianlian_async.resolver import Actor, State, Step
from lianlian_async.testing.clocks import ManualClock

WINDOW = timedelta(minutes=25)


@frozen(kw_only=True)
class FakeWord:
    by: str
    at: datetime
    note: str
    approves: bool
    seen: str | None = None


@frozen(kw_only=True)
class FakeReview:
    payout: Payout
    code: str | None
    why: str
    held_at: datetime
    confirm_until: datetime | None
    minutes_left: int
    tries_left: int
    siblings: tuple[Payout, ...] = ()
    words: tuple[FakeWord, ...] = ()
    refusal: str | None = None
    unanswered: tuple[str, ...] = ()
    more_siblings: int = 0

    @property
    def approvals(self) -> tuple[str, ...]:
        return tuple(word.by for word in self.words if word.approves)


def a_payout(no_order: str, at: datetime, **changes: Any) -> Payout:
    """A payout as a client shows it; held unless told otherwise."""
    values: dict[str, Any] = {
        "no_order": no_order, "key": f"salary-2026-11/{no_order}", "state": State.REVIEW, "step": Step.DECIDE,
        "advice": "A person must decide.", "who": Actor.PERSON, "rule": "review", "money_order": Decimal("12345.60"),
        "dt_order": wire_time(at), "card_no": "622848*********4741", "acct_name": "李*", "oid_paybill": None,
        "ret_code": "4002", "settle_date": None, "sends": 1, "due_at": None, "heard_at": at, "created_at": at,
        "alarms": (), "replaceable": False, **changes,
    }  # fmt: skip
    return Payout(**values)


@define
class FakeDesk:
    """Held payouts in memory. `calls` is what people's words led to; `fails` raises instead, for one number."""

    clock: Clock = field(factory=ManualClock)
    two_person: bool = False
    held: dict[str, FakeReview] = field(factory=dict)
    known: dict[str, Payout] = field(factory=dict)
    calls: list[tuple[str, str, str, str]] = field(factory=list)
    confirmed: list[str] = field(factory=list)
    fails: dict[str, Exception] = field(factory=dict)
    takes_s: float = 0.0
    confirmation: Confirmation = Confirmation.SENT  # what becomes of every confirm

    def hold(self, no_order: str, *, minutes: float = 25, code: str | None = "4002", **changes: Any) -> FakeReview:
        """A payout that LianLian holds, with so many minutes left; keywords of FakeReview or of the payout."""
        now = self.clock.now()
        held_at = now + timedelta(minutes=minutes) - WINDOW
        of_review = {
            name: changes.pop(name)
            for name in (
                "why", "confirm_until", "tries_left", "siblings", "more_siblings", "words", "refusal", "unanswered"
            )
            if name in changes
        }  # fmt: skip
        values: dict[str, Any] = {
            "payout": a_payout(no_order, held_at, ret_code=code, **changes), "code": code,
            "why": "Same card and amount as another payout of the day.", "held_at": held_at,
            "confirm_until": held_at + WINDOW, "minutes_left": 0, "tries_left": 6, **of_review,
        }  # fmt: skip
        self.held[no_order] = FakeReview(**values)
        for sibling in self.held[no_order].siblings:
            self.known.setdefault(sibling.no_order, sibling)
        return self.held[no_order]

    def end(self, no_order: str, state: State = State.PAID, **changes: Any) -> Payout:
        """It is not held any more."""
        review = self.held.pop(no_order)
        payout = evolve(
            review.payout, state=state, step=Step.NOTHING, rule="ended", advice=f"It is {state}.", **changes
        )
        self.known[no_order] = payout
        return payout

    # ------------------------------------------------------------------ the contract

    async def reviews(self) -> list[FakeReview]:
        far = datetime.max.replace(tzinfo=self.clock.now().tzinfo)
        return sorted(map(self._now, self.held.values()), key=lambda review: review.confirm_until or far)

    async def review(self, no_order: str) -> FakeReview:
        await asyncio.sleep(0)
        return self._held(no_order)

    async def get(self, no_order: str) -> Payout:
        if no_order in self.held:
            return self.held[no_order].payout
        if no_order not in self.known:
            raise CommandRefused(f"{no_order} is not in this journal")
        return self.known[no_order]

    async def approve(self, no_order: str, *, by: str, note: str) -> Payout:
        self.calls.append(("approve", no_order, by, note))
        if no_order in self.fails:
            raise self.fails[no_order]
        review = self._held(no_order)
        if (refusal := review.refusal or self._refusal(review, by)) is not None:
            raise CommandRefused(refusal)
        self._say(review, by, note, approves=True)
        if self.two_person and not any(word.approves for word in review.words):
            return review.payout
        if self.confirmation is Confirmation.NOT_SENT:
            return evolve(review.payout, confirmation=self.confirmation)
        self.confirmed.append(no_order)
        payout = self.end(no_order, State.IN_PROGRESS, confirmation=self.confirmation)
        await asyncio.sleep(self.takes_s)
        return payout

    async def decline(self, no_order: str, *, by: str, note: str) -> Payout:
        self.calls.append(("decline", no_order, by, note))
        if no_order in self.fails:
            raise self.fails[no_order]
        review = self._held(no_order)
        self._say(review, by, note, approves=False)
        self.held[no_order] = evolve(self.held[no_order], refusal=f"{by} has declined it.")
        return review.payout

    # ------------------------------------------------------------------ inside

    def _held(self, no_order: str) -> FakeReview:
        if no_order not in self.held:
            raise CommandRefused(f"{no_order} is not held any more")
        return self._now(self.held[no_order])

    def _now(self, review: FakeReview) -> FakeReview:
        """With the minutes counted, and the siblings as they are now."""
        siblings = tuple(self.known.get(s.no_order, s) for s in review.siblings)
        left = review.confirm_until - self.clock.now() if review.confirm_until else timedelta(0)
        return evolve(review, siblings=siblings, minutes_left=max(0, int(left.total_seconds() // 60)))

    def _refusal(self, review: FakeReview, by: str) -> str | None:
        if review.confirm_until is None:
            return "the confirm_code was lost"
        if self.clock.now() >= review.confirm_until:
            return "the time to confirm is over"
        if self.two_person and any(word.approves and word.by == by for word in review.words):
            return f"{by} has approved it already: the second approval must be another person's"
        return None

    def _say(self, review: FakeReview, by: str, note: str, *, approves: bool) -> None:
        word = FakeWord(by=by, at=self.clock.now(), note=note, approves=approves)
        self.held[review.payout.no_order] = evolve(review, words=(*review.words, word))
