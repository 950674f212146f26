"""The moves, each of which is one step; and what holds after every step.

After its move a rule lets the time go by that was drawn for it. The laws (I1 to I10) are the simulation's and are asked at
every write, request and line of the ledger; beside them: a payout's public state never moves down, `pay` with a key tells
what `get` and `find` tell, and no call raises what its documentation does not name.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, suppress
from typing import Any, ClassVar, Final

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.errors import StopTest
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from simulation.business import _TIMELINES
from simulation.laws import _LEVEL
from simulation.memo import remembered_views
from simulation.notices import _FORGERIES
from simulation.wire import BROKEN, LATE, STALE, UNSENT
from simulation.world import _Canary

from lianlian_async import (
    BreakerOpen,
    CommandRefused,
    DuplicateSuspected,
    InvalidOrder,
    JournalUnavailable,
    OrderConflict,
    OutcomeUnknown,
    Payout,
    State,
    Step,
)
from lianlian_async.errors import LianLianError
from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.testing.simulator import FAULTS, Endpoint
from lianlian_async.testing.simulator.script import Step as Treatment

from .file_store import FileStore, Stores
from .stage import KEYS, SETTINGS, HandNetwork, HandPost, Setting, Stage, Strike

_READ: Final = (CommandRefused, JournalUnavailable)
_PAYS: Final = (OrderConflict, DuplicateSuspected, BreakerOpen, JournalUnavailable, OutcomeUnknown)
_MOVES: Final = (CommandRefused, BreakerOpen, JournalUnavailable, OutcomeUnknown)
_AMENDS: Final = (*_MOVES, InvalidOrder, DuplicateSuspected)
_ENDED: Final = (State.PAID, State.FAILED, State.CLOSED)
_DEAD: Final = (State.FAILED, State.CLOSED, State.REFUNDED)
_AFTER_AN_END: Final = (State.REFUNDED, State.CONFLICT)

# Any code, what nobody has listed, and any fault of the gateway's. Pay and confirm may be answered with whatever.
_CODES: Final = (*RET_CODES, "4103")
_BEFORE_OR_AFTER: Final = tuple(FAULTS)
# A query is answered with the truth, or "no record", or with what says nothing of the order: what a gateway that tells
# any other lie about an order makes of it, no client can help.
_QUERY_CODES: Final = ("8901", "9999", "1001", "1008", "3001", "4006", "4007", "4103")
_QUERY_FAULTS: Final = tuple(name for name, fault in FAULTS.items() if fault.ret_code is None and fault.does == "now")
_POINTS: Final = (
    "post", "answer", "journal.save", "journal.save done", "journal.add", "journal.add done", "journal.load",
    "journal.claim done", "journal.replace done", "journal.note_orphan done", "journal.trip", "journal.turn", "woke", "open",
)  # fmt: skip

keys = st.integers(0, KEYS - 1)
names = st.sampled_from(("anna", "bo"))
# How long a step lasts: from an instant to what a grace, a review, or a day takes.
spans = st.sampled_from((0.0, 0.02, 1.0, 1.0, 10.0, 10.0, 60.0, 60.0, 400.0, 400.0, 400.0, 2000.0, 7200.0, 90_000.0))


def _treatments(codes: tuple[str, ...], faults: tuple[str, ...]) -> Any:
    by_code = st.builds(Treatment, ret_code=st.sampled_from(codes))
    return by_code | st.builds(Treatment, fault=st.sampled_from(faults), late_s=st.sampled_from((5.0, 700.0, 50_000.0)))


_TRIPS: Final = st.sampled_from((*UNSENT, *BROKEN, *LATE, *STALE))
_TO_PAY: Final = _treatments(_CODES, _BEFORE_OR_AFTER)

_FIRST: Final = st.none() | st.builds(Treatment, ret_code=st.sampled_from(("4002", "4003", "4004"))) | _TO_PAY


class PayoutMachine(RuleBasedStateMachine):
    """A merchant's payouts, from the first pay to the last word; `stores` makes the journals."""

    stores: ClassVar[Stores]
    payouts = Bundle("payouts")

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.shown: dict[str, State] = {}
        self.steps = 0

    @initialize(
        target=payouts,
        seed=st.integers(0, 999),
        on=st.sets(st.sampled_from(SETTINGS), max_size=len(SETTINGS)),
        seats=st.sampled_from((1, 1, 2)),
        firsts=st.tuples(*[_FIRST] * KEYS),
        trips=st.lists(_TRIPS, max_size=KEYS),
        paid=st.sampled_from((0, 1, 1, 2, 3)),
    )
    def open(
        self, seed: int, on: set[str], seats: int, firsts: tuple[Treatment | None, ...], trips: list[str], paid: int
    ) -> MultipleResults[str]:
        """A world, the processes in it, what its first sends will meet, and the first payments."""
        self.kept = ExitStack()
        self.stage = Stage(Setting(seed, KEYS, on=on, seats=seats), self.stores.make)
        self.kept.callback(self._close)
        self.kept.enter_context(remembered_views())
        self._listen()
        for key, step in enumerate(firsts):
            if step is not None:
                self.stage.treatments[Endpoint.PAY, self._number(key)].append(step)
        self.stage.network.planned[Endpoint.PAY].extend(trips)
        self._do(self.stage.begin(), 0.0)
        return multiple(*[self._pay(key, 0.0, False, None, 1.0) for key in range(paid)])

    def _listen(self) -> None:
        """Read every line that the library would log."""
        handler, logger = _Canary(self.stage), logging.getLogger("lianlian_async")
        propagate, logger.propagate = logger.propagate, False
        logger.addHandler(handler)
        self.kept.callback(setattr, logger, "propagate", propagate)
        self.kept.callback(logger.removeHandler, handler)

    # --- the ways of a move

    def _do(self, work: Any, after_s: float) -> Any:
        try:
            result = self.stage.do(work)
            if after_s:
                self.stage.do(self.stage.pass_by(after_s))
        except BaseException:
            self.broken = True
            raise
        return result

    def _call(
        self, what: str, make: Any, declared: tuple[type[LianLianError], ...], after_s: float, **more: Any
    ) -> Any:
        """Call some process's client; None where there is none, or where nothing came back."""
        process = self.stage.pick(self.stage.chance)
        if process is None:
            return self._do(self.stage.pass_by(0.0), after_s)
        client = process.client
        patience_s = more.get("patience_s")
        result = self._do(self.stage.call(process, lambda: make(client), patience_s), after_s)
        self._require(not isinstance(result, LianLianError) or isinstance(result, declared), f"raised {result!r}")
        self.stage.saw(f"{what}: {type(result).__name__}")
        if isinstance(result, Payout):
            self.stage.check_leak(repr(result))
        return result

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken = True
            raise AssertionError(what)

    def _number(self, key: int) -> str:
        """The newest number of this key that the journal knows, or else its first."""
        numbers = self.stage.business.intents[key].numbers
        known = [number for number in numbers if number in self.stage.store.records]
        return known[-1] if known else numbers[0]

    # --- paying

    def _pay(self, key: int, wait_s: float, duplicate_ok: bool, patience_s: float | None, after_s: float) -> str:
        """The same key is always paid with the same content; the caller may give up at any time."""
        intent = self.stage.business.intents[key]
        intent.duplicate_ok = intent.duplicate_ok or duplicate_ok

        async def pay(client: Any) -> Payout:
            told = await client.pay(intent.order, key=intent.key, wait_s=wait_s, duplicate_ok=duplicate_ok)
            found, got = await client.find(intent.key), await client.get(told.no_order)
            self._require(told == found == got, f"pay tells {told}, find {found}, get {got}")
            return told

        result = self._call("pay", pay, _PAYS, after_s, patience_s=patience_s)
        if result is not None:
            self.stage.business.settles(intent, result)
        return self._number(key)

    _paying = rule(
        target=payouts, key=keys, wait_s=st.sampled_from((0.0, 0.0, 5.0, 600.0)), duplicate_ok=st.booleans(),
        patience_s=st.sampled_from((None, None, 0.0, 0.01, 3.0)), after_s=spans,
    )  # fmt: skip
    # Rules are chosen evenly, and this one is what it is all about.
    pay, pay_again, pay_once_more = _paying(_pay), _paying(_pay), _paying(_pay)

    @rule(key=keys, amount=st.sampled_from(("4321.00", "0.01")), after_s=spans)
    def pay_something_else(self, key: int, amount: str, after_s: float) -> None:
        """Another content under a key that is taken: nothing may come of it."""
        intent = self.stage.business.intents[key]
        if self._number(key) not in self.stage.store.records:
            return
        other = evolve(intent.order, money_order=amount)
        result = self._call(
            "pay something else", lambda client: client.pay(other, key=intent.key, wait_s=0.0), _PAYS, after_s
        )
        self._require(
            not isinstance(result, Payout), f"another order was accepted under a key that was taken: {result}"
        )

    @rule(number=payouts, how=st.sampled_from(("query", "recover", "wait")), after_s=spans)
    def ask(self, number: str, how: str, after_s: float) -> None:
        """Somebody wants to know."""
        made = {
            "query": lambda client: client.query(number),
            "recover": lambda client: client.recover(),
            "wait": lambda client: client.wait(number, timeout_s=100.0),
        }
        self._call(how, made[how], (*_READ, OutcomeUnknown), after_s)

    # --- people

    def _apt(self, number: str, apt: bool, fits: Any) -> str:
        """The drawn number, or, of all that are known, one for which the move makes sense, if there is one."""
        records = self.stage.store.records
        found = [n for n in sorted(records) if fits(records[n])] if apt else []
        return found[0] if found else number

    def _judge(self, number: str, apt: bool, by: str, what: str, after_s: float) -> None:
        """A person decides about a review, or tries to."""
        number = self._apt(number, apt, lambda record: record.state is State.REVIEW)
        self._call(what, lambda client: getattr(client, what)(number, by=by, note="looked at it"), _MOVES, after_s)

    _judging = rule(
        number=payouts,
        apt=st.booleans(),
        by=names,
        what=st.sampled_from(("approve", "approve", "decline")),
        after_s=spans,
    )
    judge, judge_again = _judging(_judge), _judging(_judge)

    @rule(number=payouts, apt=st.booleans(), by=names, duplicate_ok=st.booleans(), after_s=spans)
    @precondition(lambda self: max((r.generation for r in self.stage.store.records.values()), default=0) < 4)
    def replace(self, number: str, apt: bool, by: str, duplicate_ok: bool, after_s: float) -> None:
        """A person wants a new number."""
        number = self._apt(number, apt, lambda record: record.state in _DEAD and record.replaced_by is None)
        self._call("replace", lambda client: client.replace(number, by=by, duplicate_ok=duplicate_ok), _AMENDS, after_s)

    @rule(number=payouts, apt=st.booleans(), by=names, after_s=spans)
    def resume(self, number: str, apt: bool, by: str, after_s: float) -> None:
        """A person says that it is mended."""
        number = self._apt(number, apt, lambda record: record.step in (Step.FIX, Step.DECIDE))
        self._call("resume", lambda client: client.resume(number, by=by), _MOVES, after_s)

    @rule(
        number=payouts, apt=st.booleans(), duplicate_ok=st.booleans(), after_s=spans,
        change=st.sampled_from((("memo", "x"), ("prcptcd", "102331002021"), ("money_order", "1.23"), ("info_order", ""))),
    )  # fmt: skip
    def amend(self, number: str, apt: bool, change: tuple[str, str], duplicate_ok: bool, after_s: float) -> None:
        """A person corrects the content."""
        number = self._apt(number, apt, lambda record: record.step is Step.FIX)
        make = lambda client: client.amend(number, dict([change]), by="anna", duplicate_ok=duplicate_ok)  # noqa: E731
        self._call("amend", make, _AMENDS, after_s)

    @rule(on=st.sampled_from((False, False, False, True)), after_s=spans)
    def pause_money(self, on: bool, after_s: float) -> None:
        """New money is paused, or may leave again after what was wrong has been mended."""
        house = self.stage.gatehouse
        if on:
            self._call(
                "pause", lambda client: client.pause(reason="month end", by="anna"), (JournalUnavailable,), after_s
            )
            return
        house.operator.set_ip_allowed(allowed=True)
        house.operator.set_permission(allowed=True)
        self._call("unpause", lambda client: client.unpause(by="anna"), (JournalUnavailable,), 0.0)
        self._call("recover", lambda client: client.recover(), (JournalUnavailable,), after_s)

    @rule(number=payouts, what=st.sampled_from(("confirm_in_portal", "close", "cancel")), after_s=spans)
    def portal(self, number: str, what: str, after_s: float) -> None:
        """Somebody decides at LianLian's, or the payee's bank gives the money back."""
        with suppress(LookupError):
            getattr(self.stage.gatehouse.operator, what)(number)
        self._do(self.stage.pass_by(0.0), after_s)

    # --- what the gateway and the network will do

    @rule(key=keys, step=_TO_PAY, times=st.sampled_from((1, 1, 2, 5)))
    def answer_to_pay(self, key: int, step: Treatment, times: int) -> None:
        """The next sends of this payment are answered so."""
        self.stage.treatments[Endpoint.PAY, self._number(key)].extend([step] * times)

    @rule(key=keys, step=_TO_PAY)
    def answer_to_confirm(self, key: int, step: Treatment) -> None:
        """The next confirm of this payment is answered so."""
        self.stage.treatments[Endpoint.CONFIRM, self._number(key)].append(step)

    @rule(key=keys, step=_treatments(_QUERY_CODES, _QUERY_FAULTS), times=st.sampled_from((1, 1, 3, 9)))
    def answer_to_query(self, key: int, step: Treatment, times: int) -> None:
        """The next queries of this payment are answered so."""
        self.stage.treatments[Endpoint.QUERY, self._number(key)].extend([step] * times)

    @rule(key=keys, timeline=st.sampled_from(_TIMELINES))
    def fate(self, key: int, timeline: Any) -> None:
        """What the bank will make of this payment, if it is booked after this."""
        self.stage.gatehouse.script(self._number(key), {"timeline": timeline})

    @rule(endpoint=st.sampled_from(list(Endpoint)), kind=_TRIPS)
    def trip(self, endpoint: Endpoint, kind: str) -> None:
        """What the network does with the next exchange there."""
        network: HandNetwork = self.stage.network
        network.planned[endpoint].append(kind)

    @rule(
        index=st.integers(0, 20), after_s=spans,
        how=st.sampled_from(("genuine", "genuine", "genuine", "repeated", "lost", *_FORGERIES)),
    )  # fmt: skip
    def notify(self, index: int, how: str, after_s: float) -> None:
        """One of the notifications on their way arrives."""
        post: HandPost = self.stage.post
        post.bring(index, how)
        self._do(self.stage.pass_by(0.0), after_s)

    @rule(
        what=st.sampled_from(
            ("well", "well", "well", "well", "address", "permission", "outage", "query outage", "empty")
        ),
        after_s=spans,
    )
    def account(self, what: str, after_s: float) -> None:
        """What befalls the merchant's account and the gateway as a whole."""
        house = self.stage.gatehouse
        house.operator.set_ip_allowed(allowed=what != "address")
        house.operator.set_permission(allowed=what != "permission")
        house.operator.set_outage(*{"outage": ("pay", "confirm", "query"), "query outage": ("query",)}.get(what, ()))
        house.top_up((house.opening if what != "empty" else 0) - house.operator.balance)
        self._do(self.stage.pass_by(0.0), after_s)

    # --- what befalls processes

    @rule(index=st.integers(0, 1), down_s=st.sampled_from((1.0, 300.0, 7200.0)), after_s=spans)
    def crash(self, index: int, down_s: float, after_s: float) -> None:
        """A process dies, and another one takes its place some time later."""
        stage = self.stage
        stage._longest_downtime_s = down_s
        alive = [process for process in stage.processes.values() if not process.dead]
        if alive:
            alive[index % len(alive)].crash("a move")
        self._reopen()
        self._do(stage.pass_by(0.0), after_s)

    @rule(
        where=st.sampled_from(_POINTS),
        kind=st.sampled_from(("crash", "crash", "pause", "journal")),
        skip=st.integers(0, 2),
    )
    def arm(self, where: str, kind: str, skip: int) -> None:
        """Trouble waits at one place in the code."""
        self.stage.arm(Strike(where, kind, skip))

    @rule(index=st.integers(0, 1), seconds=st.sampled_from((-3600.0, -30.0, 1.0, 400.0, 3600.0)), after_s=spans)
    @precondition(lambda self: "clock" in self.stage.plan.on)
    def set_clock(self, index: int, seconds: float, after_s: float) -> None:
        """A machine's clock is set."""
        alive = self.stage.alive()
        if alive:
            self.stage.step_clock(alive[index % len(alive)], seconds)
        self._do(self.stage.pass_by(0.0), after_s)

    # --- what always holds

    @invariant()
    def told_states_never_move_down(self) -> None:
        """Of every payout, whichever process is asked."""
        stage = self.stage
        self.steps += 1
        process = stage.pick(stage.chance)
        if process is None:
            return
        numbers = sorted(stage.store.records)
        if isinstance(stage.store, FileStore) and numbers:
            numbers = [numbers[self.steps % len(numbers)]]  # each look is a transaction there

        async def look() -> list[Payout]:
            return [await process.client.get(number) for number in numbers]

        armed, stage.strikes = stage.strikes, False
        found = self._do(stage.call(process, look, None), 0.0)
        stage.strikes = armed and stage.armed is not None
        for payout in found or ():
            self._told(payout)

    def _told(self, payout: Payout) -> None:
        before, now = self.shown.get(payout.no_order, State.UNSENT), payout.state
        down = _LEVEL[now] < _LEVEL[before] or (before in _ENDED and now is not before and now not in _AFTER_AN_END)
        self._require(not down, f"{payout.no_order} was {before} and is {now}")
        self.shown[payout.no_order] = now

    def _reopen(self) -> None:
        if isinstance(self.stage.store, FileStore):
            self.stage.store.reopen()

    # --- the end

    def teardown(self) -> None:
        """Everything works from now on: all must come to rest, and say what the ledger says."""
        if not hasattr(self, "kept"):
            return
        with self.kept:
            if self.broken or isinstance(sys.exc_info()[1], StopTest):
                return
            self.stage.do(self.stage.rest())
            self._reopen()
            for payout in self.stage.final:
                self._told(payout)

    def _close(self) -> None:
        self.stage.close()
        if isinstance(self.stage.store, FileStore):
            self.stage.store.remove()
