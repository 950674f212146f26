"""The rows of evidence as such: what they are called, which of them are one cause, and which row speaks of odd news."""

from __future__ import annotations

import pytest
from resolver_news import moment

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.evidence import ROWS, Evidence, Outcome, row_of


def cause(name: str) -> str:
    return next(row.cause for row in ROWS.values() if row.name == name)


def answered(source: Source, ret_code: str | None = None, **more: str) -> Evidence:
    return Evidence(source, Outcome.ANSWERED, moment(1), moment(0), 1, ret_code=ret_code, **more)


def test_a_row_is_called_by_its_source_and_its_news() -> None:
    """As the pages and the reports name it."""
    assert ROWS[Source.QUERY, "8901"].name == "query: 8901"


@pytest.mark.parametrize(
    ("row", "one"),
    [
        ("pay: 4006", "envelope"),
        ("pay: 4007", "envelope"),
        ("pay: 4007 without no_order", "envelope"),
        ("pay: 4001", "riddle"),  # nobody can explain it after a send: whichever it is, one resend by itself
        ("pay: 8901 without no_order", "riddle"),
        ("pay: other", "riddle"),
        ("pay: 4012", "4012"),  # one resend as well, and no riddle: the balance was too small
        ("pay: foreign", "foreign"),  # an alarm, and no riddle: it has a row of its own
        ("confirm: 4011", "4011"),
    ],
)
def test_what_may_be_tried_once_in_all(row: str, one: str) -> None:
    """Rows of one cause share the one resend, so that two codes in turn are not sent for ever."""
    assert cause(row) == one


@pytest.mark.parametrize("code", ["4002", "4003", "4004"])
def test_only_pay_can_lose_a_confirm_code(code: str) -> None:
    """A code of a review that answers something else has its row by itself."""
    assert row_of(answered(Source.PAY, code)).key == f"{code} without confirm_code"
    assert row_of(answered(Source.PAY, code, confirm_code="123456")).key == code
    assert row_of(answered(Source.CONFIRM, code)).key == code
    assert row_of(answered(Source.QUERY, code)).key == code


def test_a_notification_without_a_word_has_no_row() -> None:
    """Such a thing is refused long before; were it written down all the same, nothing would be made of it."""
    with pytest.raises(KeyError):
        row_of(answered(Source.NOTIFY))


def test_an_answer_without_a_code_is_an_unknown_one() -> None:
    """It is treated as what the specification does not list."""
    assert row_of(answered(Source.PAY)).key == "other"


def test_a_confirm_code_is_not_shown() -> None:
    """Who has it can release money: it is in no repr."""
    assert "271828" not in repr(answered(Source.PAY, "4002", confirm_code="271828"))
