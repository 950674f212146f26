"""What makes an answer ours: safety.md 3.0 ("Bound"), 3.2 (refusals without a number), 3.4 and 3.6.

One member at a time is altered in an answer that agrees with the journal. `-` takes the member out.
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from resolver_news import table

from lianlian_async.protocol.answers import ConfirmAnswer, Notification, PayAnswer, QueryAnswer
from lianlian_async.resolver.binding import bind_answer, bind_record

OURS = {
    "oid_partner": "201606020000150062",
    "no_order": "N1",
    "dt_order": "20261120120000",
    "money_order": "25.70",
    "info_order": "wages_11",
}
BILLS = ["2026112000000001"]

CALLS = table("""
    member      | value              | outcome
    no_order    | N1                 | answered
    no_order    | n1                 | foreign
    no_order    | N2                 | foreign
    no_order    | -                  | numberless
    oid_partner | 201606020000150063 | foreign
    oid_paybill | 2026112000000001   | answered
    oid_paybill | 2026112000000002   | mismatched
    oid_paybill | -                  | answered
""")

RECORDS = table("""
    member      | value              | outcome
    money_order | 25.70              | answered
    money_order | 25.7               | answered
    money_order | 25.71              | mismatched
    money_order | 2570               | mismatched
    money_order | -                  | answered
    dt_order    | 20261120120000     | answered
    dt_order    | 20261120120001     | mismatched
    dt_order    | -                  | answered
    info_order  | wages_11           | answered
    info_order  | wages_11_bad card  | answered
    info_order  | wages_11_          | answered
    info_order  | wages_112          | mismatched
    info_order  | wages              | mismatched
    info_order  | other              | mismatched
    info_order  | -                  | answered
""")


def altered(answer: object, row: dict[str, str]) -> object:
    value = None if row["value"] == "-" else row["value"]
    return attrs.evolve(
        answer, **{row["member"]: Decimal(value) if row["member"] == "money_order" and value else value}
    )  # type: ignore[misc]


def query() -> QueryAnswer:
    return QueryAnswer(
        ret_code="0000", ret_msg="", oid_partner=OURS["oid_partner"], no_order="N1", dt_order=OURS["dt_order"],
        money_order=Decimal("25.70"), oid_paybill=BILLS[0], result_pay="SUCCESS", settle_date=None, info_order="wages_11", memo=None,
    )  # fmt: skip


def ids(rows: list[dict[str, str]]) -> list[str]:
    return [f"{row['member']} {row['value']}" for row in rows]


@pytest.mark.parametrize("row", CALLS, ids=ids(CALLS))
def test_answers_to_pay_and_confirm(row: dict[str, str]) -> None:
    """Number, merchant and, where one is known, bill."""
    said = {
        "ret_code": "0000",
        "ret_msg": "",
        "oid_partner": OURS["oid_partner"],
        "no_order": "N1",
        "oid_paybill": BILLS[0],
    }
    pay, confirm = PayAnswer(**said, confirm_code=None), ConfirmAnswer(**said)
    for answer in (pay, confirm):
        assert bind_answer(altered(answer, row), OURS, BILLS) == row["outcome"]  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [*CALLS, *RECORDS], ids=ids([*CALLS, *RECORDS]))
def test_answers_to_a_query(row: dict[str, str]) -> None:
    """As above, and whatever the record names of the content."""
    assert bind_record(altered(query(), row), OURS, BILLS) == row["outcome"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "row", [row for row in [*CALLS, *RECORDS] if row["value"] != "-"], ids=lambda row: row["value"]
)
def test_notifications(row: dict[str, str]) -> None:
    """The same for a notification, whose members are mandatory."""
    told = Notification(
        oid_partner=OURS["oid_partner"], no_order="N1", dt_order=OURS["dt_order"], money_order=Decimal("25.70"),
        oid_paybill=BILLS[0], result_pay="SUCCESS", settle_date=None, info_order="wages_11",
    )  # fmt: skip
    assert bind_record(altered(told, row), OURS, BILLS) == row["outcome"]  # type: ignore[arg-type]


def test_no_record_is_taken_without_a_number_and_nothing_else_is() -> None:
    """3.4: "unbound 8901 may be accepted: it can only ever lead to S"; of another merchant it may not."""
    bare = attrs.evolve(query(), no_order=None, ret_code="8901", result_pay=None)
    assert bind_record(bare, OURS, []) == "answered"
    assert bind_record(attrs.evolve(bare, no_order="N2"), OURS, []) == "foreign"
    assert bind_record(attrs.evolve(bare, oid_partner="x"), OURS, []) == "foreign"
    for code in ("0000", "9999", "1001"):
        assert bind_record(attrs.evolve(bare, ret_code=code), OURS, []) == "numberless"


def test_the_first_bill_is_taken_and_the_journals_own_text_may_be_empty() -> None:
    """No bill known yet: any bill agrees. No info_order of ours: the text is the reason of a failure alone."""
    assert bind_record(query(), OURS, []) == "answered"
    ours = {name: value for name, value in OURS.items() if name != "info_order"}
    assert bind_record(attrs.evolve(query(), info_order="card closed"), ours, BILLS) == "answered"
