"""Short ways to write attempts and evidence down; all moments are seconds after `T0`, when the intent was journalled.

One attempt may take `DEADLINE_S`. `Story` strings pieces together in the order of a payout's life and asks
the resolver what it makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from attrs import define, field, frozen

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.decide import Decision, decide
from lianlian_async.resolver.evidence import Attempt, Evidence, Outcome
from lianlian_async.resolver.states import View, view_of

T0 = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
DEADLINE_S = 60
GRACE_S = 300
FRESH_S = 300
DAY_S = 86_400
BILL = "2026112000000001"


def moment(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def seconds(at: datetime | None) -> float | None:
    return None if at is None else (at - T0).total_seconds()


def attempt(number: int, start: float, *, deadline: float | None = None, source: Source = Source.PAY) -> Attempt:
    ends = start + DEADLINE_S if deadline is None else deadline
    return Attempt(number, source, moment(start), moment(ends), "hash", "worker-1")


@frozen
class Said:
    """What an answer says, apart from when and to whom."""

    outcome: Outcome = Outcome.ANSWERED
    ret_code: str | None = None
    result_pay: str | None = None
    oid_paybill: str | None = None
    confirm_code: str | None = None


def said(text: str) -> Said:
    """Read the tables' short hand.

    `4002` a bound answer (the review codes bring their confirm_code) · `4002-` without it · `4005?` signed, names no
    order · `=PROCESSING` result_pay · `=FAILURE+` the same with a bill · `=` ret_code 0000 and nothing else ·
    `(no answer)` the fault of that name.
    """
    if text.startswith("("):
        return Said(Outcome(text.strip("()")))
    if text.startswith("="):
        word = text.removeprefix("=")
        bill = BILL if word.endswith("+") else None
        return Said(ret_code="0000", result_pay=word.rstrip("+") or None, oid_paybill=bill)
    if text.endswith("?"):
        return Said(Outcome.NUMBERLESS, ret_code=text[:-1])
    if text.endswith("-"):
        return Said(ret_code=text[:-1])
    bill = BILL if text.endswith("+") else None
    code = text.rstrip("+")
    return Said(ret_code=code, oid_paybill=bill, confirm_code="542312" if code in ("4002", "4003", "4004") else None)


def news(
    source: Source, what: str | Said, asked: float, at: float | None = None, number: int | None = None, **extra: str
) -> Evidence:
    words = said(what) if isinstance(what, str) else what
    told = asked if at is None else at
    return Evidence(
        source,
        words.outcome,
        at=moment(told),
        asked_at=moment(asked),
        attempt=number,
        ret_code=words.ret_code,
        result_pay=words.result_pay,
        oid_paybill=words.oid_paybill,
        confirm_code=words.confirm_code,
        **extra,
    )


# What only people say.
BY_PERSONS = frozenset({Outcome.RESUMED, Outcome.AMENDED, Outcome.APPROVED, Outcome.DECLINED, Outcome.REPLACED})


@define
class Story:
    """A payout's life so far; every method returns the story, so that a life reads like a sentence."""

    attempts: list[Attempt] = field(factory=list)
    evidence: list[Evidence] = field(factory=list)
    created: float = 0.0

    def sent(self, start: float, *, deadline: float | None = None) -> Story:
        self.attempts.append(attempt(len(self.attempts) + 1, start, deadline=deadline))
        return self

    def answer(self, what: str | Said, at: float, **extra: str) -> Story:
        """The newest attempt's call ends with `what`."""
        newest = self.attempts[-1]
        asked = seconds(newest.started_at)
        assert asked is not None
        self.evidence.append(news(newest.source, what, asked, at, newest.number, **extra))
        return self

    def confirmed(self, start: float, what: str | Said | None, at: float | None = None) -> Story:
        """A confirm attempt; None: its outcome never came."""
        number = len(self.attempts) + 1
        self.attempts.append(attempt(number, start, source=Source.CONFIRM))
        if what is not None:
            self.evidence.append(news(Source.CONFIRM, what, start, start + 1 if at is None else at, number))
        return self

    def query(self, what: str | Said, asked: float, at: float | None = None, **extra: str) -> Story:
        self.evidence.append(news(Source.QUERY, what, asked, asked + 1 if at is None else at, **extra))
        return self

    def queries(self, what: str, *asked: float) -> Story:
        for one in asked:
            self.query(what, one)
        return self

    def notified(self, what: str | Said, at: float) -> Story:
        self.evidence.append(news(Source.NOTIFY, what, at))
        return self

    def listed(self, what: str | Said, at: float) -> Story:
        """A statement lists it."""
        self.evidence.append(news(Source.STATEMENT, what, at))
        return self

    def resumed(self, at: float) -> Story:
        self.evidence.append(Evidence(Source.PERSON, Outcome.RESUMED, moment(at), moment(at), by="an operator"))
        return self

    def said(self, outcome: Outcome, at: float, by: str = "an operator", confirm: int | None = None) -> Story:
        """A person's word; `confirm` is the attempt that it led to."""
        self.evidence.append(Evidence(Source.PERSON, outcome, moment(at), moment(at), confirm, by=by))
        return self

    @property
    def view(self) -> View:
        return view_of(self.attempts, self.evidence)

    def decide(self, now: float, *, paused: bool = False, revived: bool = False) -> Decision:
        return decide(self.view, moment(self.created), moment(now), paused=paused, revived=revived)


def story(attempts: Iterable[Attempt] = (), evidence: Iterable[Evidence] = (), created: float = 0.0) -> Story:
    return Story(list(attempts), list(evidence), created)


def table(text: str) -> list[dict[str, str]]:
    """Read an aligned text table: columns parted by `|`, the first line names them; `#` lines are remarks."""
    lines = [line.strip() for line in text.strip().splitlines()]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if line and not line.startswith("#")]
    head, *body = rows
    assert all(len(row) == len(head) for row in body), "a row of the table has another number of columns"
    return [dict(zip(head, row, strict=True)) for row in body]


# Where a payout stands when news comes that nobody asked for; all of it was asked for, or sent, before.
SITUATIONS: Mapping[str, Callable[[], Story]] = {
    "nothing": Story,
    "lost": lambda: Story().sent(0).answer("(no answer)", 1),
    "no record": lambda: Story().sent(0).answer("(no answer)", 1).queries("8901", 70, 80, 99),
    "9104": lambda: Story().sent(0).answer("9104", 1),
    "live": lambda: Story().sent(0).answer("0000", 1),
    "review": lambda: Story().sent(0).answer("4002", 1),
    "paid": lambda: Story().sent(0).query("=SUCCESS+", 3),
    "failed": lambda: Story().sent(0).query("=FAILURE+", 3),
    "closed": lambda: Story().sent(0).query("=CLOSED", 3),
    "refunded": lambda: Story().sent(0).query("=CANCEL+", 3),
    "conflict": lambda: Story().sent(0).query("(mismatched)", 3),
}


def cell(life: Story, now: float) -> str:
    """How a payout stands: state, step, and `N` where a new number may be opened."""
    return f"{life.view.state} {life.decide(now).step}{' N' if life.view.replaceable else ''}"
