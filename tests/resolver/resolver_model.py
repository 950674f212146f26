"""A very small gateway, a very hostile network, and the real resolver: every walk through them, breadth first.

One number. Up to two copies of it in flight at once: each send may be lost, arrive once or be doubled, now or much
later, and its answer may be lost; the caller may crash without writing anything down. After each change of the
gateway's record one lookup may still see the record before it; a query may hang and be answered much later. The
client does what `decide` says, at the moment it says; a person releases whatever waits for a fix or a decision.

A client's past is told apart only as far as `view_of` and `decide` can: two pasts with the same abstract view are one
state, otherwise the endless polling would make endless states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from attrs import evolve, frozen
from resolver_news import BILL, T0, Said, news, said, seconds

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.decide import Step, decide
from lianlian_async.resolver.evidence import Attempt, Evidence, Outcome
from lianlian_async.resolver.states import View, view_of

RESUMES_MAX = 1
# What a lookup says of each record. A failure at the bank has a bill; one before the bank has none.
LOOKUP = {
    None: said("8901"),
    "accepted": said("=PROCESSING+"),
    "review": said("=CHECK"),
    "paid": said("=SUCCESS+"),
    "failed": said("=FAILURE+"),
    "failed, no bill": said("=FAILURE"),
    "closed": said("=CLOSED"),
}
PROGRESS = {"accepted": ("paid", "failed"), "review": ("accepted", "closed")}


@frozen
class Hung:
    """A query whose lookup has happened and whose answer has not arrived."""

    asked_at: datetime
    record: str | None


@frozen
class World:
    record: str | None = None
    lagging: tuple[str | None, ...] = ()  # the record before, while one lookup may still see it
    copies: tuple[int, ...] = ()  # attempts in flight
    waiting: int = 0  # the attempt whose answer the caller still waits for
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    now: datetime = T0
    resumes: int = 0
    hung: Hung | None = None
    view: View = view_of((), ())  # of attempts and evidence; kept because most moves leave it alone

    def told(self, piece: Evidence) -> World:
        evidence = (*self.evidence, piece)
        return evolve(self, evidence=evidence, view=view_of(self.attempts, evidence))

    def sending(self, call: Attempt) -> World:
        attempts = (*self.attempts, call)
        return evolve(self, attempts=attempts, view=view_of(attempts, self.evidence))

    def stored(self, record: str | None) -> World:
        return self if record == self.record else evolve(self, record=record, lagging=(self.record,))

    @property
    def may_still_be_paid(self) -> bool:
        """Could this number's money be out, or still leave?"""
        return self.record in ("accepted", "review", "paid") or (
            self.record in (None, "failed, no bill") and bool(self.copies)
        )


Move = tuple[str, World]
Opens = Callable[[World, View], bool]


def strict(world: World, view: View) -> bool:
    return view.replaceable


@frozen
class Model:
    """`opens` says when a new number may be opened; a forgetful gateway breaks assumption A1."""

    opens: Opens = strict
    forgetful: bool = False
    sends_max: int = 2
    copies_max: int = 2
    hanging: bool = False

    def moves(self, world: World) -> Iterator[Move]:
        yield from self._gateway(world)
        yield from self._client(world)

    def _gateway(self, world: World) -> Iterator[Move]:
        for number in sorted(set(world.copies)):
            rest = list(world.copies)
            rest.remove(number)
            for answer, record in self._verdicts(world.record):
                after = evolve(world.stored(record), copies=tuple(rest), now=world.now + timedelta(seconds=1))
                yield f"copy of {number}: {answer}, answer lost", after
                if world.waiting == number:
                    start = next(a.started_at for a in world.attempts if a.number == number)
                    piece = news(Source.PAY, answer, seconds(start) or 0, seconds(after.now), number)
                    yield f"copy of {number}: {answer}", evolve(after.told(piece), waiting=0)
        for record in PROGRESS.get(world.record or "", ()):
            yield f"gateway: {record}", world.stored(record)

    def _verdicts(self, record: str | None) -> Iterator[tuple[str, str | None]]:
        known = record not in (None, "failed, no bill")
        if self.forgetful and record in ("failed", "closed", "paid"):
            known = False
        if known:
            yield ("2005" if record in ("accepted", "review") else "1002"), record
            return
        yield "0000+", "accepted"
        yield "4002", "review"
        yield "9104", "failed, no bill"
        if record is None:
            yield "4012", None

    def _client(self, world: World) -> Iterator[Move]:
        if world.waiting:
            yield from self._gives_up(world)
            return
        if world.hung is not None:
            piece = _looked_up(world.hung.record, world.hung.asked_at, world.now + timedelta(seconds=1))
            yield "the hung query is answered", evolve(world.told(piece), hung=None, now=piece.at)
        decision = decide(world.view, T0, world.now)
        if decision.action is not None and decision.due_at is not None:
            then = evolve(world, now=max(world.now, decision.due_at))
            yield from self._query(then) if decision.action is Step.QUERY else self._send(then)
        if decision.step in (Step.FIX, Step.DECIDE) and world.resumes < RESUMES_MAX:
            at = world.now + timedelta(seconds=1)
            yield (
                "a person resumes",
                evolve(world.told(Evidence(Source.PERSON, Outcome.RESUMED, at, at)), now=at, resumes=world.resumes + 1),
            )

    def _gives_up(self, world: World) -> Iterator[Move]:
        call = next(a for a in world.attempts if a.number == world.waiting)
        later = evolve(world, now=max(world.now, call.deadline_at), waiting=0)
        yield "crash", later
        piece = news(Source.PAY, "(no answer)", seconds(call.started_at) or 0, seconds(later.now), call.number)
        yield "no answer", later.told(piece)

    def _send(self, world: World) -> Iterator[Move]:
        number = len(world.attempts) + 1
        if number > self.sends_max:
            return
        call = Attempt(number, Source.PAY, world.now, world.now + timedelta(seconds=60), "hash", "worker")
        started = world.sending(call)
        for copies in range(self.copies_max - len(world.copies) + 1):
            in_flight = tuple(sorted((*world.copies, *[number] * copies)))
            yield f"send {number}, {copies} copies", evolve(started, copies=in_flight, waiting=number)
        at = world.now + timedelta(seconds=1)
        unsent = news(Source.PAY, "(not sent)", seconds(world.now) or 0, seconds(at), number)
        yield f"send {number} does not leave", evolve(started, now=at).told(unsent)

    def _query(self, world: World) -> Iterator[Move]:
        at = world.now + timedelta(seconds=1)
        yield "query", evolve(world.told(_looked_up(world.record, world.now, at)), now=at)
        for record in world.lagging:
            yield "query sees the old record", evolve(world.told(_looked_up(record, world.now, at)), now=at, lagging=())
        yield (
            "query brings nothing",
            evolve(world.told(news(Source.QUERY, "9999", seconds(world.now) or 0, seconds(at))), now=at),
        )
        if self.hanging and world.hung is None:
            yield (
                "query hangs",
                evolve(world, hung=Hung(world.now, world.record), now=at).told(
                    news(Source.QUERY, "(no answer)", seconds(world.now) or 0, seconds(at))
                ),
            )


def _looked_up(record: str | None, asked: datetime, at: datetime) -> Evidence:
    words: Said = LOOKUP[record]
    return news(Source.QUERY, words, seconds(asked) or 0, seconds(at))


def _hint(view: View) -> str:
    """What the newest attempt left behind; a crash leaves as much as no answer."""
    return "no answer" if view.hint is None else view.hint.key


def abstract(world: World) -> tuple[object, ...]:
    """All of a world that can matter for what comes."""
    view = world.view
    decision = None if world.waiting else decide(view, T0, world.now)
    deadline = max((a.deadline_at for a in world.attempts), default=T0)
    late = timedelta(seconds=300)
    billed = min((e.at for e in world.evidence if e.oid_paybill == BILL), default=None)
    first_failure = min((e.asked_at for e in world.evidence if e.result_pay == "FAILURE"), default=None)
    hung = None
    if world.hung is not None:
        asked = world.hung.asked_at
        resets = [a.started_at for a in world.attempts] + [e.at for e in world.evidence if e.source != Source.QUERY]
        hung = (
            world.hung.record,
            asked >= max(resets, default=T0),
            asked >= deadline + late,
            billed and asked <= billed,
        )
    return (
        world.record, world.lagging, len(world.copies), world.copies.count(world.waiting), bool(world.waiting),
        world.resumes, hung, len(world.attempts), view.sent, len(view.open), _hint(view), min(view.hints_alike, 2),
        view.state, min(len(view.absent), 3), bool(view.absent) and view.absent[-1].asked_at >= deadline + late,
        view.unbilled, view.unbilled_last, view.agreed, billed is not None,
        billed is not None and first_failure is not None and first_failure <= billed,
        view.resumed_at is not None and view.sent_at is not None and view.resumed_at >= view.sent_at,
        decision and (decision.rule.name, decision.action),
    )  # fmt: skip


@frozen
class Walked:
    states: int
    transitions: int
    opened: int  # states in which a new number may be opened
    double: tuple[str, ...] | None  # the shortest way to two payments


def walk(model: Model, limit: int = 200_000) -> Walked:
    """Every state that can be reached; ends early at the first in which a new number opens over a living one."""
    start = World()
    parents: dict[tuple[object, ...], tuple[tuple[object, ...] | None, str]] = {abstract(start): (None, "")}
    queue = deque([(start, abstract(start))])
    transitions = opened = 0
    while queue:
        world, key = queue.popleft()
        if model.opens(world, world.view):
            opened += 1
            if world.may_still_be_paid or (model.forgetful and world.copies):
                return Walked(len(parents), transitions, opened, (*_trace(parents, key), "REPLACE"))
            continue
        for name, after in model.moves(world):
            transitions += 1
            reached = abstract(after)
            if reached not in parents:
                parents[reached] = (key, name)
                queue.append((after, reached))
        assert len(parents) < limit, "the state space is not as small as it was meant to be"
    return Walked(len(parents), transitions, opened, None)


def _trace(
    parents: dict[tuple[object, ...], tuple[tuple[object, ...] | None, str]], key: tuple[object, ...]
) -> tuple[str, ...]:
    names: list[str] = []
    at: tuple[object, ...] | None = key
    while at is not None:
        at, name = parents[at]
        names.append(name)
    return tuple(name for name in reversed(names) if name)
