"""Rare situations by name, and where they are recognised. One that never happens means that the simulation has rotted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from lianlian_async import ConfigError, OutcomeUnknown, Payout, State, Step
from lianlian_async.errors import Refusal
from lianlian_async.journal import Change, Record
from lianlian_async.resolver import Evidence, Outcome, Source
from lianlian_async.testing.simulator import Endpoint, Entry, Received

if TYPE_CHECKING:
    from .process import Process
    from .world import World

SOMETIMES: Final = (
    # on the wire
    "the gateway could not be reached",
    "a certificate was refused, and new money stopped",
    "no connection came free",
    "a request was lost on the way",
    "it was booked, and the answer was lost",
    "an answer came when nobody waited any more",
    "the deadline passed before the first byte",
    "a process woke too late, and the last check kept it from sending",
    "a copy arrived more than an hour late",
    "a late copy was booked after a query had said 8901",
    "FAILURE without a bill, and then a late copy was booked",
    "a copy was turned away as a repeated number",
    "an answer belonged to another order",
    # what the gateway says
    "9999, and it was booked",
    "9999, and nothing was booked",
    "4014, and the same number was sent again",
    "9104, and it was paid after money came in",
    "a limit was in the way",
    "a refusal was not signed",
    "a refusal named no order",
    "a refusal while another attempt was unanswered",
    "8901 although it was booked",
    "1002 or 2005 after a send of our own",
    "4001 after our own confirm had worked",
    "a word that the specification does not know",
    "the gateway's key was changed",
    "an answer was signed with a key that we did not have",
    "sent three times or more",
    "CANCEL after PAID was reported",
    "too old to be sent again: parked",
    # processes
    "a process died between the intent and its first attempt",
    "a process died between the attempt and its first byte",
    "a process died between the answer and its commit",
    "a process died while its request was under way",
    "a process died in recovery",
    "a process died right after a notification was acknowledged",
    "a process stood still for more than an hour",
    "two processes wanted to begin the same attempt",
    "an attempt of a dead process was finished by another",
    "the same key was paid in two processes at once",
    "a caller gave up, and it was paid all the same",
    "a clock was set forward",
    "a clock was set back",
    "a clock was behind the journal, and the start was refused",
    # the journal
    "the journal refused an attempt, so nothing was sent",
    "the journal did not say whether it had written an attempt",
    "the journal refused the news",
    "a caller was told that the outcome is unknown",
    "the journal was down, and a caller was told that nothing was sent",
    "a restored backup had forgotten an attempt",
    "a restored backup had forgotten a payout that the gateway knew",
    "an orphan was adopted",
    # notifications
    "a notification was lost",
    "no notification came at all, and asking alone told the end",
    "a notification came before the answer to pay",
    "a notification was repeated after it had been acknowledged",
    "SUCCESS was told after CANCEL",
    "a forged notification was refused",
    "a re-split notification was refused",
    "a notification for another merchant was refused",
    "a notification about an unknown number was kept",
    "a bad end was notified first, and a query agreed later",
    # statements
    "a statement told first that it was paid",
    "a statement told first that it came back",
    "a row of a statement was taken in twice",
    "a row with another amount was not believed",
    "a row about a number that is not ours was kept",
    "a row about a number that a restored backup had forgotten was adopted",
    # people
    "a payout that was FAILED was replaced",
    "a payout that was CLOSED was replaced",
    "a payout that was REFUNDED was replaced",
    "replace was refused by the rules",
    "resume was refused by the rules",
    "approve was refused by the rules",
    "decline was refused by the rules",
    "refused content was corrected",
    "amend was refused by the rules",
    "approved by a person, and paid",
    "declined by a person, and closed",
    "two people approved it",
    "confirmed in the merchant portal",
    "an approval came too late and was refused",
    "an approval was refused because the confirm_code was lost",
    "new money was paused, and let go again",
    "new money was paused, and a caller was told so",
    "our own guard took a twin for a duplicate",
    "another order under a key that was taken: refused",
    "the application was told of a change",
)  # fmt: skip
_UNSENT: Final = (Outcome.NOT_SENT, Outcome.UNTRUSTED)


class Sightings:
    """Counts situations in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        self._denied: set[str] = set()
        self._unbilled: set[str] = set()
        self._booked: set[str] = set()
        self._confirmed: set[str] = set()
        self._under_way: dict[str, Any] = {}
        self._begun: dict[str, Any] = {}
        self._forgotten: set[str] = set()

    def saw(self, what: str) -> None:
        self.counts[what] += 1

    # --- the gateway

    def received(self, request: Received, letter: Any) -> None:
        number, code = request.no_order or "", request.ret_code
        if request.endpoint is Endpoint.QUERY:
            if code == "8901":
                self._denied.add(number)
                if number in self._booked:
                    self.saw("8901 although it was booked")
            return
        if letter.process.dead and not letter.copy:
            self.saw("a process died while its request was under way")
        if code in ("1002", "2005"):
            self.saw(
                "a copy was turned away as a repeated number" if letter.copy else "1002 or 2005 after a send of our own"
            )
            if number in self._forgotten and not letter.copy:
                self.saw("a restored backup had forgotten a payout that the gateway knew")
        if code in ("9911", "9912", "9913"):
            self.saw("a limit was in the way")
        if request.endpoint is Endpoint.CONFIRM:
            if code == "4001" and number in self._confirmed:
                self.saw("4001 after our own confirm had worked")
            elif code == "0000":
                self._confirmed.add(number)

    def booked(self, entry: Entry, copy: bool) -> None:
        number = entry.no_order
        if entry.event == "failed" and not entry.oid_paybill:
            self._unbilled.add(number)
        if entry.event not in ("booked", "review"):
            return
        self._booked.add(number)
        if copy and number in self._denied:
            self.saw("a late copy was booked after a query had said 8901")
        if copy and number in self._unbilled:
            self.saw("FAILURE without a bill, and then a late copy was booked")

    # --- the journal

    def saved(self, old: Record | None, new: Record, change: Change | None) -> None:
        if change is None:
            if new.evidence and any(e.source is Source.NOTIFY for e in new.evidence):
                self.saw("an orphan was adopted")
            if new.evidence and any(e.source is Source.STATEMENT for e in new.evidence):
                self.saw("a row about a number that a restored backup had forgotten was adopted")
            return
        for attempt in change.attempts:
            self._begun[new.no_order] = attempt
            if attempt.number == 3:
                self.saw("sent three times or more")
        for news in change.evidence:
            self._news(old, new, news)
        if new.step is Step.DECIDE and old is not None and old.step is not Step.DECIDE and len(new.attempts):
            age = self.world.loop.now() - new.created_at
            if new.state is State.UNKNOWN and age.total_seconds() > 86400:
                self.saw("too old to be sent again: parked")

    def _news(self, old: Record | None, new: Record, news: Evidence) -> None:
        number, saw = new.no_order, self.saw
        if news.attempt is not None:
            attempt = next((a for a in new.attempts if a.number == news.attempt), None)
            if attempt is not None and news.outcome not in _UNSENT:
                self._answered(new, news, number)
        if news.outcome is Outcome.APPROVED and sum(e.outcome is Outcome.APPROVED for e in new.evidence) > 1:
            saw("two people approved it")
        if news.outcome is Outcome.BAD_SIGNATURE and self.world.key_number == 0 and self.world.plan.has("rotation"):
            saw("an answer was signed with a key that we did not have")
        if news.outcome is Outcome.UNSIGNED and self.world.gatehouse.behaviour.unsigned_refusals:
            saw("a refusal was not signed")
        if news.outcome is Outcome.NUMBERLESS:
            saw("a refusal named no order")
        if news.result_pay in ("WAITING", "FROZEN"):
            saw("a word that the specification does not know")
        if news.source is Source.QUERY and old is not None:
            if old.state is not new.state and new.state is State.REFUNDED and old.state is State.PAID:
                saw("CANCEL after PAID was reported")
            ended = new.state in (State.FAILED, State.REFUNDED)
            told = [e for e in old.evidence if e.source is Source.NOTIFY and e.result_pay in ("FAILURE", "CANCEL")]
            asked = any(e.source is Source.QUERY and e.result_pay in ("FAILURE", "CANCEL") for e in old.evidence)
            if ended and told and not asked and news.result_pay in ("FAILURE", "CANCEL"):
                saw("a bad end was notified first, and a query agreed later")
        if news.source is Source.STATEMENT and old is not None:
            self._listed(old, new, news)
        if news.source is Source.QUERY and new.attempts and news.outcome is Outcome.ANSWERED:
            heard = {e.attempt for e in new.evidence if e.attempt is not None}
            last = new.attempts[-1]
            if last.number not in heard and all(p.client._engine.owner != last.owner for p in self.world.alive()):
                saw("an attempt of a dead process was finished by another")

    def _listed(self, old: Record, new: Record, news: Evidence) -> None:
        if news.outcome is Outcome.MISMATCHED:
            self.saw("a row with another amount was not believed")
        elif old.state is not new.state and new.state is State.PAID:
            self.saw("a statement told first that it was paid")
        elif old.state is not new.state and new.state is State.REFUNDED:
            self.saw("a statement told first that it came back")

    def _answered(self, record: Record, news: Evidence, number: str) -> None:
        saw = self.saw
        if news.outcome is Outcome.NO_ANSWER and number in self._booked:
            saw("it was booked, and the answer was lost")
        if news.outcome is not Outcome.ANSWERED:
            return
        heard = {e.attempt for e in record.evidence}
        if news.ret_code == "9999":
            saw("9999, and it was booked" if number in self._booked else "9999, and nothing was booked")
        elif news.ret_code not in ("0000", "1002", "2005") and any(
            a.number < (news.attempt or 0) and a.number not in heard for a in record.attempts
        ):
            saw("a refusal while another attempt was unanswered")

    def restored(self, before: dict[str, Record], after: dict[str, Record]) -> None:
        for number, record in before.items():
            if number not in after:
                self._forgotten.add(number)
            elif len(after[number].attempts) < len(record.attempts):
                self._forgotten.add(number)
                self.saw("a restored backup had forgotten an attempt")

    def journal_failed(self, where: str, args: tuple[Any, ...]) -> None:
        change = args[2] if where.startswith("journal.save") and len(args) > 2 else None
        if change is None:
            return
        unsure = where.endswith("done")
        if change.attempts:
            self.saw(
                "the journal did not say whether it had written an attempt"
                if unsure
                else "the journal refused an attempt, so nothing was sent"
            )
        elif change.evidence and not unsure:
            self.saw("the journal refused the news")

    # --- processes

    def crash(self, process: Process, where: str) -> None:
        if where in ("journal.add done", "journal.load"):
            self.saw("a process died between the intent and its first attempt")
        elif where == "post" or where == "journal.save done":
            self.saw("a process died between the attempt and its first byte")
        elif where == "answer":
            self.saw("a process died between the answer and its commit")

    def died_in_recovery(self, process: Process) -> None:
        if not self.world.calm:
            self.saw("a process died in recovery")

    def start_failed(self, error: Exception) -> None:
        if isinstance(error, ConfigError):
            self.saw("a clock was behind the journal, and the start was refused")

    def stale_attempt(self) -> None:
        self.saw("two processes wanted to begin the same attempt")

    def logged_exception(self, error: BaseException) -> None:
        if isinstance(error, OutcomeUnknown):
            self.saw("an answer could not be written down")

    # --- notifications

    def acknowledged(self, before: Record | None, result_pay: str, *, repeated: bool) -> None:
        if before is None:
            return
        if not any(e.source is Source.PAY for e in before.evidence) and before.attempts:
            self.saw("a notification came before the answer to pay")
        if any(e.source is Source.NOTIFY and e.result_pay == result_pay for e in before.evidence):
            self.saw("a notification was repeated after it had been acknowledged")
        if result_pay == "SUCCESS" and before.state is State.REFUNDED:
            self.saw("SUCCESS was told after CANCEL")

    def refused(self, reason: Refusal) -> None:
        if reason is Refusal.UNKNOWN_ORDER:
            self.saw("a notification about an unknown number was kept")

    # --- the end

    def at_the_end(self, payouts: list[Payout]) -> None:
        records, intents = self.world.store.records, self.world.intents
        for payout in payouts:
            record, paid = records[payout.no_order], payout.state is State.PAID
            codes = [e.ret_code for e in record.evidence if e.source is Source.PAY and e.outcome is Outcome.ANSWERED]
            words = {e.outcome for e in record.evidence}
            if paid and "9104" in codes:
                self.saw("9104, and it was paid after money came in")
            if "4014" in codes[:-1]:
                self.saw("4014, and the same number was sent again")
            if paid and Outcome.APPROVED in words:
                self.saw("approved by a person, and paid")
            if payout.state is State.CLOSED and Outcome.DECLINED in words:
                self.saw("declined by a person, and closed")
            if paid and intents[payout.no_order][0].cancelled:
                self.saw("a caller gave up, and it was paid all the same")
