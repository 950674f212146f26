"""One number between client and gateway: the gateway's record, copies in flight, what a lagging replica may still show.

    client ──send──► copies in flight ──► gateway's record ──► answer, query, notification ──► client
                     (lost, doubled,      (accepted, held,     (lost, from a lagging
                      arbitrarily late)    refused, paid ...)   replica, late, repeated)

Nothing here has a time: a copy may arrive, a notification may come and a replica may lag for as long as it likes.
That is more than any network does, so what holds here holds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, evolve, field, frozen

from lianlian_async.resolver import FINAL, State, Step

from .client import ACCEPTED, CLOSED, FAILED, FAILED0, NONE, PAID, REFUNDED, REVIEW, Client, Event, Facts

FREE: Final = (NONE, FAILED0)
DEAD: Final = (FAILED, CLOSED, REFUNDED)
# Copies whose answer nobody waits for any more, of pay and of confirm; others carry the number of their attempt.
LATE, LATE_CONFIRM = 0, -99
# What a query says of each record.
TOLD: Final = {
    NONE: ("8901",), FAILED0: ("=FAILURE",), ACCEPTED: ("=PROCESSING+", "=APPLY"), REVIEW: ("=CHECK",),
    PAID: ("=SUCCESS+",), FAILED: ("=FAILURE+",), CLOSED: ("=CLOSED",), REFUNDED: ("=CANCEL+",),
}  # fmt: skip
NOTIFIED: Final = (PAID, FAILED, REFUNDED)
# What the gateway, its bank and a person in the merchant portal make of a record by themselves.
PROGRESS: Final = {ACCEPTED: (PAID, FAILED, REFUNDED), REVIEW: (ACCEPTED, CLOSED), PAID: (REFUNDED,)}
# What a copy of the order may meet where the number is free: the answer, and the record afterwards ("": as it was).
MEETS: Final = {
    "accepted": ("0000+", ACCEPTED), "accepted, says 9999": ("9999", ACCEPTED), "held": ("4002", REVIEW),
    "balance": ("9104", FAILED0), "balance, nothing stored": ("9104", ""), "card": ("4012", ""),
    "not created": ("4014", FAILED0), "strange code": ("7777", ""), "content": ("1004", ""), "address": ("1008", ""),
    "no number": ("4005?", ""), "accepted, no number": ("0000?", ACCEPTED), "held, no code": ("4002-", REVIEW),
}  # fmt: skip
WELCOME: Final = ("accepted", "held", "balance", "card")
REPEATED: Final = {
    ACCEPTED: ("2005", "1002", "9104"), REVIEW: ("2005", "1002", "9104"),
    PAID: ("1002", "9104"), FAILED: ("1002",), CLOSED: ("1002",), REFUNDED: ("1002",),
}  # fmt: skip
CONFIRMED: Final = {REVIEW: (("0000", ACCEPTED), ("4011", ""), ("4010", "")), CLOSED: (("4010", ""),)}
NOT_HELD: Final = (("4001", ""),)

_ENDS: Final = {
    State.PAID: (PAID, REFUNDED),
    State.FAILED: (FAILED,),
    State.CLOSED: (CLOSED,),
    State.REFUNDED: (REFUNDED,),
}
RANK: Final = {
    State.UNSENT: 0, State.UNKNOWN: 0, State.REFUSED: 0, State.IN_PROGRESS: 1, State.REVIEW: 1, State.PAID: 2,
    State.FAILED: 2, State.CLOSED: 2, State.REFUNDED: 3, State.CONFLICT: 4,
}  # fmt: skip


@frozen
class Bounds:
    """How far the search goes; everything else is unbounded."""

    numbers: int = 2
    sends: int = 2
    copies: int = 2
    confirms: int = 1
    welcome: tuple[str, ...] = WELCOME
    unsent: bool = True  # may a send be proven not to have left?


@frozen
class Number:
    """`client` is a class of knowledge; below zero, the number has been replaced and is not asked about any more."""

    client: int = 0
    record: str = NONE
    past: tuple[str, ...] = ()  # what the record was before
    copies: tuple[int, ...] = ()  # in flight: the attempt of each, a confirm's below zero
    forgotten: int = 0  # payments beside the record
    racing: int = 0  # copies whose number was found to be new, and that are not stored yet

    @property
    def payments(self) -> int:
        """How often this number's money is out."""
        return self.forgotten + (self.record == PAID)

    @property
    def alive(self) -> int:
        """How many payments it stands for, now or still to come."""
        return self.payments + (self.record in (ACCEPTED, REVIEW))

    def becomes(self, record: str) -> Number:
        if record == self.record:
            return self
        return Number(
            self.client, record, tuple(sorted({*self.past, self.record})), self.copies, self.forgotten, self.racing
        )

    def without(self, copy: int) -> Number:
        rest = list(self.copies)
        rest.remove(copy)
        return Number(self.client, self.record, self.past, tuple(rest), self.forgotten, self.racing)

    def knowing(self, client: int) -> Number:
        return Number(client, self.record, self.past, self.copies, self.forgotten, self.racing)


@frozen
class Move:
    """One thing that happens to one number; `fault` says that a calm world would have spared us."""

    words: str
    after: int
    fault: bool = False
    falls: bool = False  # I4: the reported state moves down


@frozen
class Told:
    """What the laws look at in one state of one number."""

    payments: int
    alive: int
    lie: str
    ended: bool
    spent: bool


@define
class Numbers:
    """Every state of a single number found so far, and its moves."""

    client: Client
    bounds: Bounds
    forgetful: bool = False
    racy: bool = False
    states: list[Number] = field(factory=list)
    places: dict[Number, int] = field(factory=dict)
    holds: bool = field(init=False)  # may an order come under review? Only then is half an hour more than minutes
    _moves: dict[int, tuple[Move, ...]] = field(factory=dict)
    _told: list[Told] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.holds = any(MEETS[name][1] == REVIEW for name in self.bounds.welcome)

    def place(self, number: Number) -> int:
        number = self._plain(number)
        found = self.places.setdefault(number, len(self.states))
        if found == len(self.states):
            self.states.append(number)
            lie = self._lie(number) or ("nothing is due, and nobody is asked" if self._forgotten(number) else "")
            self._told.append(Told(number.payments, number.alive, lie, self._ended(number), self._spent(number)))
        return found

    def told(self, at: int) -> Told:
        """What the laws look at in a state."""
        return self._told[at]

    def _plain(self, number: Number) -> Number:
        """The number without what cannot matter any more: answers that nobody reads, old records that say nothing new."""
        facts = self.facts(number)
        if facts is None:
            return evolve(number, past=(), copies=tuple(LATE for copy in number.copies if copy >= LATE))
        copies, past = number.copies, number.past
        if copies:
            silent = () if facts.state in FINAL else facts.silent
            heard = (c if abs(c) in silent else LATE if c >= LATE else LATE_CONFIRM for c in copies)
            copies = tuple(sorted(heard))
        if past and facts.passed:
            past = tuple(record for record in past if record not in facts.passed)
        return Number(number.client, number.record, past, copies, number.forgotten, number.racing)

    def facts(self, number: Number) -> Facts | None:
        """What the client may do with it; None for a number that was replaced."""
        return self.client.facts[number.client] if number.client >= 0 else None

    def replaced(self, number: Number) -> int:
        """The number once another has taken its place: what the client knows of it cannot matter to the other."""
        return self.place(evolve(number, client=-1))

    def moves(self, at: int) -> tuple[Move, ...]:
        found = self._moves.get(at)
        if found is None:
            number = self.states[at]
            every = (move for move in (*self._gateway(number), *self._client(number)) if move.after != at)
            found = self._moves[at] = tuple(evolve(m, falls=True) if self._falls(number, m.after) else m for m in every)
        return found

    # ------------------------------------------------------------------ the gateway

    def _gateway(self, number: Number) -> Iterator[Move]:
        facts = self.facts(number)
        for copy in sorted(set(number.copies)):
            for answer, record in self._verdicts(number, confirm=copy < 0):
                yield from self._arrives(number, facts, copy, answer, record or number.record)
        if self.racy:
            yield from self._races(number)
        for record in PROGRESS.get(number.record, ()):
            who = "a person confirms it in the portal" if (number.record, record) == (REVIEW, ACCEPTED) else ""
            yield Move(who or _BY_ITSELF[record], self.place(number.becomes(record)))
        if self.forgetful and number.record not in (NONE, FAILED0, REVIEW):
            gone = evolve(number.becomes(NONE), forgotten=number.payments)
            yield Move("the gateway forgets the number", self.place(gone), fault=True)

    def _races(self, number: Number) -> Iterator[Move]:
        """The gateway's look for a known number and its storing of a new one are two moments."""
        for copy in sorted(set(number.copies)):
            if number.record in FREE:
                after = evolve(number.without(copy), racing=number.racing + 1)
                yield Move(f"{_which(copy)} arrives: the gateway does not know the number yet", self.place(after))
        if number.racing:
            after = evolve(number, racing=number.racing - 1)
            if number.record in FREE:
                yield Move("the gateway stores it: accepted", self.place(after.becomes(ACCEPTED)))
            else:
                after = evolve(after, forgotten=number.forgotten + 1)
                yield Move("the gateway stores it a second time, and pays it", self.place(after))

    def _verdicts(self, number: Number, *, confirm: bool) -> Iterator[tuple[str, str]]:
        if confirm:
            yield from CONFIRMED.get(number.record, NOT_HELD)
        elif number.record in FREE:
            yield from (MEETS[name] for name in self.bounds.welcome)
        else:
            yield from ((answer, "") for answer in REPEATED[number.record])

    def _arrives(self, number: Number, facts: Facts | None, copy: int, answer: str, record: str) -> Iterator[Move]:
        after = number.without(copy).becomes(record)
        what = _MEETS[answer, record if record != number.record else ""]
        which = _which(copy)
        if copy in (LATE, LATE_CONFIRM):
            yield Move(f"{which} arrives: {what}", self.place(after))
            return
        heard = self.client.step(number.client, ("answer", abs(copy), answer))
        yield Move(f"{which} arrives: {what}; the answer is read", self.place(after.knowing(heard)))
        yield Move(f"{which} arrives: {what}; the answer is lost", self.place(after), fault=True)

    # ------------------------------------------------------------------ the client

    def _client(self, number: Number) -> Iterator[Move]:
        facts = self.facts(number)
        if facts is None:
            return
        if facts.sends and facts.sends_begun < self.bounds.sends:
            yield from self._leaves(number, "send", facts)
        for attempt in facts.silent:
            yield self._learns(number, ("answer", attempt, "(no answer)"), "no answer in time", fault=True)
        yield from self._queries(number)
        for record in NOTIFIED:
            if record == number.record or record in number.past:
                late = "" if record == number.record else "late "
                yield self._learns(
                    number, ("notify", 0, TOLD[record][0]), f"{late}notification: {record}", fault=bool(late)
                )
        if facts.waits:
            yield self._learns(number, ("due", 0, ""), "the send is due")
        yield from self._people(number, facts)
        if self.racy and (number.copies or number.racing):
            return  # only there: whatever is in flight arrives, and is stored, before the grace is over
        for jump, words in _WAITS.items():
            if jump != "half hour" or (self.holds and (facts.state is State.REVIEW or facts.silent)):
                yield self._learns(number, (jump, 0, ""), words)

    def _learns(self, number: Number, event: Event, words: str, *, fault: bool = False) -> Move:
        return Move(words, self.place(number.knowing(self.client.step(number.client, event))), fault)

    def _leaves(self, number: Number, what: str, facts: Facts) -> Iterator[Move]:
        attempt = facts.sends_begun + facts.confirms_begun + 1
        begun = number.knowing(self.client.step(number.client, (what, attempt, "")))
        name = f"send {attempt}" if what == "send" else "confirm"
        doubled = 1 if self.racy else self.bounds.copies
        for copies in range(min(doubled, self.bounds.copies - len(number.copies)) + 1):
            flying = tuple(sorted((*number.copies, *[attempt if what == "send" else -attempt] * copies)))
            words = f"{name}: {_LEAVES[copies]}"
            yield Move(words, self.place(evolve(begun, copies=flying)), fault=copies != 1)
        if self.bounds.unsent:
            yield self._learns(number, (f"{what}, unsent", attempt, ""), f"{name}: proven not to have left", fault=True)

    def _queries(self, number: Number) -> Iterator[Move]:
        for words in TOLD[number.record]:
            yield self._learns(number, ("query", 0, words), f"query: {_SAYS[words]}")
        for record in number.past:
            for words in TOLD[record]:
                yield self._learns(
                    number, ("query", 0, words), f"query of a lagging replica: {_SAYS[words]}", fault=True
                )
        yield self._learns(number, ("query", 0, "(no answer)"), "query: no answer", fault=True)

    def _people(self, number: Number, facts: Facts) -> Iterator[Move]:
        if facts.resumable:
            yield self._learns(number, ("resumed", 0, ""), "a person resumes it")
        if facts.approvable and facts.confirms_begun < self.bounds.confirms:
            yield from self._leaves(number, "confirm", facts)
        if facts.declinable:
            yield self._learns(number, ("declined", 0, ""), "a person declines it")

    # ------------------------------------------------------------------ what must hold

    def _lie(self, number: Number) -> str:
        """What the library tells of this number that the gateway contradicts; empty when nothing."""
        facts = self.facts(number)
        if facts is None:
            return "" if number.record in DEAD else "replaced before it was proven dead"
        if facts.unlawful:
            return f"a send that the law forbids: {facts.unlawful}"
        if facts.replaceable and number.record not in DEAD:
            return "replaceable, and not dead"
        if facts.state is State.CONFLICT:
            return "CONFLICT with a gateway that tells the truth"
        if facts.state in _ENDS and number.record not in _ENDS[facts.state]:
            return f"{facts.state}, and the gateway's record is: {number.record}"
        if facts.state is State.UNSENT and (number.copies or number.record != NONE):
            return "UNSENT, and a copy has left"
        if facts.state is State.IN_PROGRESS and number.record in FREE:
            return "IN_PROGRESS, and the gateway never had it"
        if facts.state is State.REVIEW and REVIEW not in (number.record, *number.past):
            return "REVIEW, and it never was"
        return ""

    def _falls(self, number: Number, after: int) -> bool:
        was, now = self.facts(number), self.facts(self.states[after])
        return was is not None and now is not None and RANK[now.state] < RANK[was.state]

    def _ended(self, number: Number) -> bool:
        """The end is known, and proven."""
        facts = self.facts(number)
        return facts is not None and (facts.state is State.PAID or (facts.state in FINAL and facts.agreed))

    def _spent(self, number: Number) -> bool:
        """Every send that the bounds allow has been made, and the gateway has nothing: nothing is left to try here."""
        facts = self.facts(number)
        return facts is not None and facts.sends_begun >= self.bounds.sends and number.record in FREE

    def _forgotten(self, number: Number) -> bool:
        """Nothing is due, nobody is asked, and it has not ended."""
        facts = self.facts(number)
        if facts is None or self._ended(number):
            return False
        return not (facts.asks or facts.sends or facts.waits) and facts.step not in (Step.FIX, Step.DECIDE)


def _which(copy: int) -> str:
    if copy in (LATE, LATE_CONFIRM):
        return "a late copy" if copy == LATE else "a late copy of the confirm"
    return f"a copy of send {copy}" if copy > 0 else "a copy of the confirm"


_LEAVES: Final = ("the request is lost on its way", "one copy leaves", "the network doubles it: two copies leave")
_WAITS: Final = {"minutes": "the grace passes", "half hour": "half an hour passes", "day": "a day passes"}
_BY_ITSELF: Final = {
    PAID: "the bank pays", FAILED: "the bank fails it, with a bill", REFUNDED: "the bank returns the money",
    CLOSED: "the review runs out: closed", ACCEPTED: "accepted",
}  # fmt: skip
_MEETS: Final = {
    ("0000+", ACCEPTED): "accepted (0000)", ("9999", ACCEPTED): "accepted, and the answer says 9999",
    ("4002", REVIEW): "held for review (4002)",
    ("9104", FAILED0): "refused for the balance (9104), on record as FAILURE without a bill",
    ("9104", ""): "refused for the balance (9104), nothing changes", ("4014", ""): "not created (4014), nothing changes", ("4012", ""): "refused for the card (4012), nothing stored",
    ("4014", FAILED0): "not created (4014), on record as FAILURE without a bill", ("7777", ""): "a strange code (7777), nothing stored",
    ("1004", ""): "refused for its content (1004), nothing stored", ("1008", ""): "refused for our address (1008), nothing stored",
    ("4005?", ""): "refused (4005), and the answer names no order", ("0000?", ACCEPTED): "accepted, and the answer names no order",
    ("4002-", REVIEW): "held for review (4002), and no confirm_code comes",
    ("1002", ""): "intercepted, the number is known (1002)", ("2005", ""): "intercepted, it is in process (2005)",
    ("0000", ACCEPTED): "confirmed (0000)", ("4001", ""): "no such order in review (4001)",
    ("4010", ""): "the code has expired (4010)", ("4011", ""): "the code does not match (4011)",
}  # fmt: skip
_SAYS: Final = {
    "8901": "no record (8901)", "=FAILURE": "FAILURE without a bill", "=PROCESSING+": "PROCESSING", "=APPLY": "APPLY",
    "=CHECK": "CHECK", "=SUCCESS+": "SUCCESS", "=FAILURE+": "FAILURE with a bill", "=CLOSED": "CLOSED", "=CANCEL+": "CANCEL",
}  # fmt: skip
