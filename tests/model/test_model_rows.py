"""The model speaks a dozen answers; the tables have two hundred rows. Row by row: which answer stands for it, and is it as good?"""

from __future__ import annotations

from functools import cache

import pytest
from attrs import evolve

from lianlian_async.protocol.ret_codes import Proof, Source, Then
from lianlian_async.resolver import ROWS, Evidence, Outcome, Row, Step, decide, row_of, view_of
from lianlian_async.resolver.permits import refusal_to_approve, refusal_to_replace

from .client import BILL, MOMENT, T0, Knowledge, told
from .number import MEETS, Bounds
from .search import Search

# What the model says where the tables have rows of this kind.
STANDS_FOR = {
    (Source.PAY, Proof.ACCEPTED, Then.FOLLOW): ("0000", "2005"),
    (Source.PAY, Proof.REVIEW, Then.DECIDE): ("4002", "4002 without confirm_code"),
    (Source.PAY, Proof.REFUSED, Then.FIX): ("9104",),
    (Source.PAY, Proof.REFUSED, Then.AMEND): ("1004",),
    (Source.PAY, Proof.REFUSED, Then.RESEND): ("4014",),
    (Source.PAY, Proof.REFUSED, Then.RESEND_ONCE): ("4012",),
    (Source.PAY, Proof.REFUSED_IF_ABSENT, Then.FIX): ("1008",),
    (Source.PAY, Proof.NOTHING, Then.DECIDE): ("1002",),
    (Source.PAY, Proof.NOTHING, Then.RESEND): ("no answer",),
    (Source.PAY, Proof.NOTHING, Then.FOLLOW): ("no answer",),
    (Source.PAY, Proof.NOTHING, Then.RESEND_ONCE): ("other",),
    (Source.PAY, Proof.NOTHING, Then.FIX): ("4005 without no_order",),
    (Source.PAY, Proof.NOTHING, Then.AMEND): ("4005 without no_order",),
    (Source.PAY, Proof.UNSENT, Then.RESEND): ("not sent",),
    (Source.CONFIRM, Proof.PROCESSING, Then.FOLLOW): ("0000",),
    (Source.CONFIRM, Proof.REVIEW, Then.DECIDE): ("4010", "4011"),
    (Source.CONFIRM, Proof.NOTHING, Then.FOLLOW): ("4001", "no answer"),
    (Source.CONFIRM, Proof.NOTHING, Then.RESEND): ("4001", "no answer"),
    (Source.CONFIRM, Proof.NOTHING, Then.FIX): ("4001", "no answer"),
    (Source.CONFIRM, Proof.UNSENT, Then.RESEND): ("not sent",),
    (Source.QUERY, Proof.NO_RECORD, Then.RESEND): ("8901",),
    (Source.QUERY, Proof.ACCEPTED, Then.FOLLOW): ("0000 APPLY",),
    (Source.QUERY, Proof.PROCESSING, Then.FOLLOW): ("0000 PROCESSING",),
    (Source.QUERY, Proof.REVIEW, Then.DECIDE): ("0000 CHECK",),
    (Source.QUERY, Proof.PAID, Then.END): ("0000 SUCCESS",),
    (Source.QUERY, Proof.FAILED, Then.DECIDE): ("0000 FAILURE",),
    (Source.QUERY, Proof.CLOSED, Then.DECIDE): ("0000 CLOSED",),
    (Source.QUERY, Proof.REFUNDED, Then.DECIDE): ("0000 CANCEL",),
    (Source.QUERY, Proof.NOTHING, Then.FOLLOW): ("no answer",),
    (Source.QUERY, Proof.NOTHING, Then.RESEND): ("no answer",),
    (Source.NOTIFY, Proof.PAID, Then.END): ("SUCCESS",),
    (Source.NOTIFY, Proof.FAILED, Then.DECIDE): ("FAILURE",),
    (Source.NOTIFY, Proof.REFUNDED, Then.DECIDE): ("CANCEL",),
    (Source.PERSON, Proof.NOTHING, Then.RESEND): ("resumed",),
    (Source.PERSON, Proof.NOTHING, Then.FOLLOW): ("approved", "declined"),
}
# Not in the model, and why.
LEFT_OUT = {
    (
        Source.QUERY,
        Proof.NOTHING,
        Then.FIX,
    ): "a query turned away for our set-up proves nothing, and only holds a send back",
    (
        Source.QUERY,
        Proof.CONFLICT,
        Then.DECIDE,
    ): "the model's gateway tells the truth; over a conflict nothing is ever sent",
    (Source.NOTIFY, Proof.CONFLICT, Then.DECIDE): "likewise",
    (Source.STATEMENT, Proof.CONFLICT, Then.DECIDE): "likewise",
    (Source.STATEMENT, Proof.PAID, Then.END): "a statement comes a day later and opens nothing; a query follows it",
    (Source.STATEMENT, Proof.REFUNDED, Then.DECIDE): "likewise",
}
# A connection that mixes answers up is not in the model either: such an answer also takes back what queries had counted.
LEFT_OUT_ROWS = {(Source.PAY, "foreign"), (Source.CONFIRM, "foreign"), (Source.QUERY, "foreign")}
# Each is another move of a person, with a rule of its own in the tables of `permits`.
MOVES = {
    (Source.PERSON, "amended"),
    (Source.PERSON, "replaced"),
    (Source.PERSON, "approved"),
    (Source.PERSON, "declined"),
}


def kind(row: Row) -> tuple[Source, Proof, Then]:
    return row.source, row.effect.proves, row.effect.then


def test_every_row_is_in_the_model_or_left_out_with_a_reason() -> None:
    """A new kind of row in the tables has to be thought of here."""
    kinds = {kind(row) for row in ROWS.values()}
    assert kinds == STANDS_FOR.keys() | LEFT_OUT.keys()
    assert not STANDS_FOR.keys() & LEFT_OUT.keys()
    for (source, _, _), keys in STANDS_FOR.items():
        assert all((source, key) in ROWS for key in keys)


@cache
def classes() -> tuple[Knowledge, ...]:
    """Everything that a client can know in a world with one send, every answer and a confirm."""
    search = Search(Bounds(numbers=1, sends=1, copies=2, confirms=1, welcome=tuple(MEETS)))
    search.run()
    return tuple(search.numbers.client.known)


def said(row: Row, like: Evidence) -> Evidence:
    """The news of `row`, at the moments of `like`."""
    if row.key in set(Outcome):
        return evolve(like, outcome=Outcome(row.key), ret_code=None, result_pay=None, confirm_code=None)
    code, _, rest = row.key.partition(" ")
    code = code.rstrip(",")
    if row.source is Source.QUERY and code == "0000":
        word = rest if rest.isupper() else None if rest == "no result_pay" else "NEW"
        return evolve(like, ret_code="0000", result_pay=word)
    outcome = Outcome.NUMBERLESS if rest == "without no_order" else Outcome.ANSWERED
    held = row.effect.proves is Proof.REVIEW and row.source is Source.PAY and not rest
    return evolve(
        like, outcome=outcome, ret_code="7777" if code == "other" else code, result_pay=None, confirm_code="542312" if held else None
    )  # fmt: skip


def may(known: Knowledge, evidence: tuple[Evidence, ...]) -> tuple[object, ...]:
    """All that can move money, now and after whatever comes next."""
    every = [evidence]
    for source, words in (
        (Source.QUERY, "8901"),
        (Source.QUERY, "=FAILURE"),
        (Source.QUERY, "=CHECK"),
        (Source.PERSON, "(resumed)"),
    ):
        every.append((*evidence, told(source, words, known.now, known.now + MOMENT)))
    seen: list[object] = []
    for pieces in every:
        view, now = view_of(known.attempts, pieces), known.now + MOMENT
        decision = decide(view, T0, now)
        sends = decision.action is Step.SUBMIT
        seen.append((view.state, refusal_to_replace(view), sends, refusal_to_approve(view, now) is None))
    return tuple(seen)


CALLED = [stands for stands in STANDS_FOR if stands[0] in (Source.PAY, Source.CONFIRM, Source.QUERY)]


@pytest.mark.parametrize("stands", CALLED, ids=lambda stands: "-".join(stands).replace(" ", "_"))
def test_rows_of_a_kind_permit_the_same(stands: tuple[Source, Proof, Then]) -> None:
    """Whatever a client knows (twenty samples of it): hearing any row of the kind permits what hearing the model's own answer permits."""
    source, proves, _ = stands
    rows = [r for r in ROWS.values() if kind(r) == stands and (r.source, r.key) not in LEFT_OUT_ROWS]
    own = [ROWS[source, key] for key in STANDS_FOR[stands]]
    listening = [(known, number) for known in classes() for number in _waits(known, source)]
    assert listening
    for known, number in listening[:: max(1, len(listening) // 20)]:
        asked = known.now if number is None else known.attempts[number - 1].started_at
        bill = BILL if proves in (Proof.PAID, Proof.FAILED) else None
        like = Evidence(source, Outcome.ANSWERED, known.now + MOMENT, asked, number, oid_paybill=bill)
        for row in rows:
            news = said(row, like)
            assert row_of(news) is row
            heard = may(known, (*known.evidence, news))
            permitted = [
                may(known, (*known.evidence, mine)) for mine in (said(one, like) for one in own)
                if bool(mine.confirm_code) == bool(news.confirm_code)
            ]  # fmt: skip
            assert heard in permitted, row.name


def _waits(known: Knowledge, source: Source) -> tuple[int | None, ...]:
    """The calls of `source` that can still be answered; a query can always be."""
    if source is Source.QUERY:
        return (None,)
    return tuple(number for number in known.silent if known.attempts[number - 1].source is source)
