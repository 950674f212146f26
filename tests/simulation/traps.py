"""The traps that payout clients fall into, each planted as a bug: the simulation must notice every one.

The order is that in which people fall into them; `TRAPS` says them in words. Where a trap is the lack of a rule, the rule
is taken away; where it is something that people write, it is written here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import count, islice
from types import MappingProxyType
from typing import Any, Final
from unittest.mock import patch

from attrs import evolve

from lianlian_async import LianLianClient
from lianlian_async.breaker import Guard
from lianlian_async.engine import Engine
from lianlian_async.errors import JournalUnavailable
from lianlian_async.gateway import Gateway
from lianlian_async.journal.memory import MemoryJournal
from lianlian_async.numbers import derive
from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.receiving import Receiver
from lianlian_async.resolver import Evidence, Outcome, Proof, Source, State, Step, permits, states
from lianlian_async.transport import FaultKind

from .plan import Plan

table = import_module("lianlian_async.resolver.decide")
Trap = Callable[[], AbstractContextManager[None]]


@contextmanager
def _weighs(judge: Callable[[Any], Proof | None]) -> Iterator[None]:
    """News proves what `judge` says; where it says nothing, what the table says."""
    own = states._weight
    with patch.object(states, "_weight", lambda n, news: judge(n) or own(n, news)):
        yield


@contextmanager
def _replaces(when: Callable[[Any], bool]) -> Iterator[None]:
    """A new number is handed out also where `when` says so, and sent although the old one is not dead."""
    own = permits.refusal_to_replace
    with (
        patch("lianlian_async.moves.refusal_to_replace", lambda view: None if when(view) else own(view)),
        patch.object(MemoryJournal, "_revived", lambda self, no_order: []),
    ):
        yield


@contextmanager
def replace_on_8901() -> Iterator[None]:
    with _replaces(lambda view: bool(view.absent)):
        yield


@contextmanager
def accepted_is_paid() -> Iterator[None]:
    with _weighs(lambda n: Proof.PAID if _answer(n, Source.PAY) == "0000" else None):
        yield


@contextmanager
def unlisted_code_is_failed() -> Iterator[None]:
    with _weighs(lambda n: Proof.FAILED if _answer(n, Source.PAY) not in (None, *RET_CODES) else None):
        yield


@contextmanager
def last_refusal_speaks_for_all() -> Iterator[None]:
    own = states._open

    def still_open(sent: Any, news: Any) -> Any:
        left = own(sent, news)
        return left if sent and sent[-1] in left else ()

    with patch.object(states, "_open", still_open):
        yield


@contextmanager
def failure_without_bill_is_final() -> Iterator[None]:
    with _weighs(lambda n: Proof.FAILED if n.proves is Proof.FAILED else None):
        yield


@contextmanager
def new_time_on_each_send() -> Iterator[None]:
    own = Gateway.seal

    async def seal(self: Gateway, content: Mapping[str, str]) -> bytes:
        from lianlian_async.clock import wire_time

        return await own(self, {**content, "dt_order": wire_time(self._clock.now())})

    with patch.object(Gateway, "seal", seal):
        yield


@contextmanager
def new_number_on_each_try() -> Iterator[None]:
    from lianlian_async import enlisting

    own, tries = enlisting.intent_of, Counter[str]()

    def intent_of(order: Any, key: str, merchant: Any, now: Any) -> Any:
        number = derive(merchant.oid_partner, key, min(tries[key], 5))
        tries[key] += 1
        return own(evolve(order, no_order=number), None, merchant, now)

    with patch.object(enlisting, "intent_of", intent_of), patch.object(enlisting, "require_same", lambda *told: None):
        yield


@contextmanager
def confirm_4001_is_failed() -> Iterator[None]:
    with _weighs(lambda n: Proof.CLOSED if _answer(n, Source.CONFIRM) == "4001" else None):
        yield


@contextmanager
def half_an_hour_is_closed() -> Iterator[None]:
    held: dict[int, Any] = {}

    def judge(n: Any) -> Proof | None:
        told = n.evidence
        if n.proves is not Proof.REVIEW or told.source is not Source.QUERY:
            return None
        first = held.setdefault(hash(told.oid_paybill), told.at)
        return Proof.CLOSED if told.at - first > timedelta(minutes=30) else None

    with _weighs(judge):
        yield


@contextmanager
def confirms_by_itself() -> Iterator[None]:
    own = Engine.submit

    async def submit(self: Engine, last: Any) -> Any:
        record = await own(self, last)
        view = states.view_of(record.attempts, record.evidence)
        if record.state is not State.REVIEW or not view.confirm_code or view.confirms:
            return record
        body = await self.gateway.seal_confirm(record.content, view.confirm_code)
        attempt = self._begun(record, Source.CONFIRM)
        last.record = record = await self.write(record, attempt=attempt)
        return await self.learn(record, await self._send(record, attempt, body))

    with patch.object(Engine, "submit", submit):
        yield


@contextmanager
def _faults_prove_unsent(*kinds: FaultKind) -> Iterator[None]:
    from lianlian_async import gateway

    own = gateway._outcome_of
    with patch.object(gateway, "_outcome_of", lambda f: Outcome.NOT_SENT if f.kind in kinds else own(f)):
        yield


@contextmanager
def broken_connection_is_unsent() -> Iterator[None]:
    with _faults_prove_unsent(FaultKind.DISCONNECT, FaultKind.READ):
        yield


@contextmanager
def time_out_is_unsent() -> Iterator[None]:
    with _faults_prove_unsent(FaultKind.TIMEOUT):
        yield


@contextmanager
def success_is_the_last_word() -> Iterator[None]:
    def watch(view: Any) -> Any:
        return table.Decision(table.RULES["paid"], "", table.RULES["paid"].who)

    with patch.object(table, "_watch", watch):
        yield


@contextmanager
def late_success_overwrites_a_refund() -> Iterator[None]:
    own = states._state

    def state(news: Any, *more: Any) -> State:
        ends = [n.proves for n in news if n.proves in (Proof.PAID, Proof.REFUNDED)]
        return State.PAID if ends and ends[-1] is Proof.PAID else own(news, *more)

    with patch.object(states, "_state", state):
        yield


@contextmanager
def acknowledged_before_commit() -> Iterator[None]:
    own = Receiver.take

    async def take(self: Receiver, engine: Engine, told: Any, drive: Any) -> Any:
        record = await engine.journal.load(told.no_order)
        if record is None:
            return await own(self, engine, told, drive)
        later = asyncio.ensure_future(own(self, engine, told, drive))
        later.add_done_callback(lambda done: done.cancelled() or done.exception())
        return engine.snapshot(record)

    with patch.object(Receiver, "take", take):
        yield


@contextmanager
def notified_by_anybody() -> Iterator[None]:
    with patch("lianlian_async.receiving.verify_members", lambda members, keys: None):
        yield


@contextmanager
def signature_over_floats() -> Iterator[None]:
    from lianlian_async import codec

    own = codec.verify_members

    def verify(members: Mapping[str, str | None], keys: Any) -> None:
        amount = members.get("money_order")
        own({**members, "money_order": str(float(amount))} if amount else members, keys)

    with patch.object(codec, "verify_members", verify):
        yield


@contextmanager
def amounts_compared_as_text() -> Iterator[None]:
    from lianlian_async.protocol import answers
    from lianlian_async.resolver import binding

    own = binding.differences

    def differences(answer: Any, content: Any, bills: Any) -> tuple[str, ...]:
        same = answer.money_order is None or str(answer.money_order) == content["money_order"]
        return own(answer, content, bills) if same else ("money_order",)

    with patch.object(binding, "differences", differences), patch.object(answers, "parse_money", Decimal):
        yield


@contextmanager
def any_answer_is_ours() -> Iterator[None]:
    def bound(*told: Any) -> Outcome:
        return Outcome.ANSWERED

    with patch("lianlian_async.gateway.bind_answer", bound), patch("lianlian_async.gateway.bind_record", bound):
        yield


@contextmanager
def wakes_and_sends() -> Iterator[None]:
    async def send(self: Engine, record: Any, attempt: Any, body: bytes, until: Any = None) -> Evidence:
        return await self.gateway.tell_sent(
            attempt.source, record.content, body, attempt=attempt.number, seconds=30.0, bills=()
        )

    with patch.object(Engine, "_send", send):
        yield


@contextmanager
def lost_commit_counts_as_written() -> Iterator[None]:
    own = Engine.write

    async def write(self: Engine, record: Any, **news: Any) -> Any:
        try:
            return await own(self, record, **news)
        except JournalUnavailable:
            if news.get("attempt") is None:
                raise
            return evolve(record, attempts=(*record.attempts, news["attempt"]))

    with patch.object(Engine, "write", write):
        yield


@contextmanager
def time_of_another_zone() -> Iterator[None]:
    from lianlian_async import intake

    with patch.object(intake, "wire_time", lambda now: now.astimezone(UTC).strftime("%Y%m%d%H%M%S")):
        yield


@contextmanager
def backlog_at_once() -> Iterator[None]:
    from lianlian_async.agenda import Pace

    class _Now:
        def pass_on(self) -> None:
            pass

        async def __aenter__(self) -> _Now:
            return self

        async def __aexit__(self, *trouble: object) -> None:
            pass

    with (
        patch.object(Pace, "turn", lambda self, rank: _Now()),
        patch.object(Pace, "spare", lambda self, seconds: 999),
        patch.object(LianLianClient, "_room_to_ask", 999),
    ):
        yield


@contextmanager
def two_keys_unasked() -> Iterator[None]:
    from lianlian_async import enlisting

    own = enlisting._add

    async def add(engine: Engine, intents: Any, now: Any, *, duplicate_ok: bool) -> Any:
        return await own(engine, intents, now, duplicate_ok=True)

    with patch.object(enlisting, "_add", add):
        yield


@contextmanager
def clock_ends_the_grace() -> Iterator[None]:
    from lianlian_async.watch import Watch

    with patch.object(Watch, "left_s", lambda self, no_order, view: 0.0):
        yield


# --- rules taken away


@contextmanager
def no_grace() -> Iterator[None]:
    with patch.object(table, "_free", lambda view: bool(view.absent)):
        yield


@contextmanager
def refused_is_sent_again_unasked() -> Iterator[None]:
    own = table._free

    def resend(case: Any) -> Any:
        if case.view.absent:
            return own_resend(case)
        rule = table.RULES["resend"]
        return table.Decision(rule, rule.advice, rule.who, Step.SUBMIT, case.now)

    own_resend = table._resend
    with (
        patch.object(table, "_free", lambda view: own(view) or (bool(view.attempts) and not view.open)),
        patch.object(table, "_resend", resend),
    ):
        yield


@contextmanager
def sends_for_ever() -> Iterator[None]:
    from lianlian_async.resolver import pacing

    with patch.object(pacing, "SENDS_MAX", 99), patch.object(pacing, "RESEND_FOR_S", 10**9):
        yield


@contextmanager
def replace_on_a_notification() -> Iterator[None]:
    with _replaces(lambda view: view.state in (State.FAILED, State.CLOSED, State.REFUNDED)):
        yield


@contextmanager
def replace_on_a_statement() -> Iterator[None]:
    with _replaces(lambda view: view.state is State.REFUNDED and view.listed_only):
        yield


@contextmanager
def listed_and_not_written() -> Iterator[None]:
    async def forgets(engine: Engine, listing: Any, drive: Any) -> Any:
        record = await engine.journal.load(listing.no_order)
        return record if record is not None and record.oid_partner == listing.oid_partner else None

    with patch("lianlian_async.client.take_listing", forgets):
        yield


@contextmanager
def replace_what_is_under_review() -> Iterator[None]:
    with _replaces(lambda view: view.state is State.REVIEW):
        yield


@contextmanager
def replace_what_was_refused() -> Iterator[None]:
    with _replaces(lambda view: view.state is State.REFUSED):
        yield


@contextmanager
def denial_outweighs_a_record() -> Iterator[None]:
    own = states._weighed

    def weighed(news: Any) -> Any:
        every = own(news)
        last = max((i for i, n in enumerate(every) if n.proves is Proof.NO_RECORD), default=-1)
        return [
            evolve(n, proves=Proof.NOTHING) if i < last and n.proves in _RECORDS else n for i, n in enumerate(every)
        ]

    with patch.object(states, "_weighed", weighed):
        yield


@contextmanager
def send_before_writing() -> Iterator[None]:
    async def submit(self: Engine, last: Any) -> Any:
        record = last.record
        decision = self._decide(record)
        if decision.action is not Step.SUBMIT or (decision.due_at or self.clock.now()) > self.clock.now():
            return record
        body = await self.gateway.seal(record.content)
        attempt = self._begun(record, Source.PAY)
        news = await self._send(record, attempt, body)
        last.record = record = await self.write(record, attempt=attempt)
        return await self.learn(record, news)

    with patch.object(Engine, "submit", submit):
        yield


@contextmanager
def breaker_ignored() -> Iterator[None]:
    async def paused(self: Guard) -> None:
        return None

    with patch.object(Guard, "paused", paused):
        yield


@contextmanager
def unsigned_answers_count() -> Iterator[None]:
    with patch("lianlian_async.codec.verify_members", lambda members, keys: None):
        yield


def _answer(n: Any, source: Source) -> str | None:
    """The code of a bound answer from there."""
    told = n.evidence
    code: str | None = told.ret_code
    return code if told.source is source and told.outcome is Outcome.ANSWERED else None


_RECORDS: Final = (Proof.ACCEPTED, Proof.REVIEW, Proof.PROCESSING)

TRAPS: Final[Mapping[str, tuple[Trap, ...]]] = MappingProxyType(
    {
        "1. 8901 read as unpaid, and a new number": (replace_on_8901,),
        "2. 0000 read as paid": (accepted_is_paid,),
        "3. a code that is not in the list read as failed": (unlisted_code_is_failed,),
        "4. the refusal of a later attempt hides an earlier one that lives": (last_refusal_speaks_for_all,),
        "5. a failure without a bill, and a new number": (failure_without_bill_is_final,),
        "6. a new time on each send": (new_time_on_each_send,),
        "7. a retry around what makes the number": (new_number_on_each_try,),
        "8. 4001 after a confirm read as failed": (confirm_4001_is_failed,),
        "9. under review for half an hour read as closed": (half_an_hour_is_closed, replace_what_is_under_review),
        "10. a confirm in the same code as the payment": (confirms_by_itself,),
        "11. what broke off read as not sent": (broken_connection_is_unsent,),
        "12. a time-out read as not sent": (time_out_is_unsent,),
        "13. SUCCESS taken for the last word": (success_is_the_last_word, late_success_overwrites_a_refund),
        "14. a notification acknowledged before the commit, or from anybody": (
            acknowledged_before_commit,
            notified_by_anybody,
        ),
        "15. a signature over what was read, not over what was written": (signature_over_floats,),
        "16. amounts compared as text": (amounts_compared_as_text,),
        "17. another order's answer taken for ours": (any_answer_is_ours,),
        "18. a process that wakes late and sends": (wakes_and_sends,),
        "19. a commit without an answer taken for written": (lost_commit_counts_as_written,),
        "21. another time zone than the gateway's": (time_of_another_zone,),
        "22. a backlog let go at once": (backlog_at_once,),
        "23. one payment under two keys": (two_keys_unasked,),
        "R1 the same number again without asking": (refused_is_sent_again_unasked,),
        "R2 no grace": (no_grace,),
        "a clock that was put forward ends the grace": (clock_ends_the_grace,),
        "R3 sends without end": (sends_for_ever,),
        "R4 a new number for what was refused": (replace_what_was_refused,),
        "R6 sent before it is written down": (send_before_writing,),
        "R7 a denial outweighs a record": (denial_outweighs_a_record,),
        "R8 a new number on a notification's word": (replace_on_a_notification,),
        "a new number on a statement's word": (replace_on_a_statement,),
        "a row of a statement that counts and is not written down": (listed_and_not_written,),
        "a pause that does not stop": (breaker_ignored,),
        "an answer that nobody signed": (unsigned_answers_count,),
    }
)
ALL: Final = tuple(trap for traps in TRAPS.values() for trap in traps)

# Where a trap can only be fallen into in a world that has these kinds of fault.
NEEDS: Final[Mapping[Trap, tuple[str, ...]]] = MappingProxyType(
    {
        success_is_the_last_word: ("workers", "no notices", "refund"),
        clock_ends_the_grace: ("clock", "wire"),
        sends_for_ever: ("scripts", "hands off"),
        backlog_at_once: ("outage", "workers"),
        replace_on_a_notification: ("failure", "people", "outage"),
        replace_on_a_statement: ("refund", "people", "statements", "no notices"),
        listed_and_not_written: ("statements",),
        replace_what_was_refused: ("scripts", "people"),
        confirm_4001_is_failed: ("4002", "people", "wire", "late"),
    }
)


# The world that was the first to fall into it, in a search from 1 on; the tests need not search again each time.
FIRST_SEEN: Final[Mapping[Trap, int]] = MappingProxyType(
    {
        last_refusal_speaks_for_all: 20, replace_what_is_under_review: 13, wakes_and_sends: 20,
        lost_commit_counts_as_written: 10, backlog_at_once: 122, sends_for_ever: 323, replace_what_was_refused: 50,
        replace_on_a_statement: 1881, confirm_4001_is_failed: 12,
    }
)  # fmt: skip


def seeds_for(trap: Trap, payouts: int = 40, at_most: int = 2000) -> Iterator[int]:
    """Worlds in which this trap lies, as many as `at_most` payouts fill."""
    needs, first = NEEDS.get(trap, ()), FIRST_SEEN.get(trap, 1)
    fitting = (seed for seed in count(first) if all(Plan(seed).has(kind) for kind in needs))
    return islice(fitting, at_most // payouts)
