"""Answers and notifications as types (specification 3.1 to 3.4)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lianlian_async.errors import MessageRejected, Rejection
from lianlian_async.protocol import ConfirmAnswer, Notification, PayAnswer, QueryAnswer

OID = "201606020000150062"
SIGNED = {"sign": "x", "sign_type": "RSA"}
PAY = {
    "ret_code": "0000",
    "ret_msg": "交易成功",
    "oid_partner": OID,
    "no_order": "A-1",
    "oid_paybill": "2016081847411984",
}
QUERY = {
    **PAY,
    "dt_order": "20160728144057",
    "money_order": "46.78",
    "result_pay": "PROCESSING",
    "info_order": "测试",
    "memo": "余额不足",
}
NOTIFY = {
    "oid_partner": OID,
    "dt_order": "20130515094018",
    "no_order": "A-1",
    "oid_paybill": "2013051613121201",
    "money_order": "200.01",
    "result_pay": "SUCCESS",
    "settle_date": "20130627",
}


def test_pay_answer():
    """The specification's sample."""
    assert PayAnswer.read({**PAY, **SIGNED}) == PayAnswer(**PAY)


def test_genuine_refusal_without_order_number():
    """A signed 4005 has no no_order; that is no reason to reject it."""
    answer = PayAnswer.read({"oid_partner": OID, "ret_code": "4005", "ret_msg": "商户未开通权限", **SIGNED})
    assert (answer.ret_code, answer.no_order, answer.oid_paybill, answer.confirm_code) == ("4005", None, None, None)


def test_confirm_code_does_not_show():
    """It comes with a review answer and stays out of repr."""
    answer = PayAnswer.read({**PAY, "ret_code": "4002", "confirm_code": "646872"})
    assert answer.confirm_code == "646872"
    assert "646872" not in repr(answer)


def test_confirm_answer():
    """As for pay, without a code."""
    assert ConfirmAnswer.read({**PAY, **SIGNED}) == ConfirmAnswer(**PAY)


def test_query_answer():
    """The specification's sample, with the failure reason newer documents add."""
    answer = QueryAnswer.read({**QUERY, **SIGNED})
    assert answer == QueryAnswer(**{**QUERY, "money_order": Decimal("46.78")})
    assert str(answer.money_order) == "46.78"
    assert "测试" not in repr(answer)


def test_query_without_record():
    """8901 comes with no order members at all."""
    answer = QueryAnswer.read({"ret_code": "8901", "oid_partner": OID})
    assert (answer.ret_msg, answer.money_order, answer.result_pay) == ("", None, None)


def test_notification():
    """The specification's sample."""
    assert Notification.read({**NOTIFY, **SIGNED}) == Notification(**{**NOTIFY, "money_order": Decimal("200.01")})


@pytest.mark.parametrize("name", ["ret_msg", "no_order", "oid_paybill"])
@pytest.mark.parametrize("value", [None, ""])
def test_empty_member_is_an_absent_one(name: str, value: str | None):
    """Null and empty mean: not there."""
    assert not getattr(PayAnswer.read({**PAY, name: value}), name)


@pytest.mark.parametrize(
    ("kind", "members", "name"),
    [(kind, PAY, name) for kind in (PayAnswer, ConfirmAnswer, QueryAnswer) for name in ("ret_code", "oid_partner")]
    + [(Notification, NOTIFY, name) for name in NOTIFY if name != "settle_date"],
)
def test_mandatory_member_is_missing(kind: type[PayAnswer], members: dict[str, str], name: str):
    """Without it the message is unreadable; the member is named."""
    for incomplete in ({**members, name: ""}, {other: value for other, value in members.items() if other != name}):
        with pytest.raises(MessageRejected, match=f"{name} is missing") as rejected:
            kind.read(incomplete)
        assert rejected.value.reason is Rejection.UNREADABLE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ret_code", "00 00"),
        ("ret_code", "成功"),
        ("ret_code", "1" * 11),
        ("oid_partner", "2016060200001500621"),
        ("oid_partner", "abc"),
        ("no_order", "a b"),
        ("no_order", "x" * 33),
        ("dt_order", "20160230144057"),
        ("dt_order", "2016-07-28"),
        ("money_order", "46.789"),
        ("money_order", "0.00"),
        ("money_order", "-1"),
        ("money_order", "1e2"),
        ("money_order", "４６.78"),
        ("oid_paybill", "2016 0728"),
        ("oid_paybill", "x" * 33),
        ("oid_paybill", "2016&result_pay=SUCCESS"),
        ("result_pay", "SUCCESS "),
        ("result_pay", "成功"),
        ("settle_date", "20160230"),
        ("ret_msg", "x" * 1025),
        ("ret_msg", "a\x00b"),
        ("info_order", "\x93binary\x01"),
        ("info_order", "line\r\nbreak"),
        ("info_order", "x&no_order=victim"),
        ("info_order", "half \ud800"),
        ("memo", "x&result_pay=CANCEL&s="),
    ],
)
def test_malformed_member(name: str, value: str):
    """It proves nothing, so the whole message is unreadable; the value is not repeated."""
    with pytest.raises(MessageRejected) as rejected:
        QueryAnswer.read({**QUERY, name: value})
    assert rejected.value.reason is Rejection.UNREADABLE
    assert rejected.value.detail == f"{name} has a wrong shape"


@pytest.mark.parametrize("confirm_code", ["1234567", "12 34"])
def test_malformed_confirm_code(confirm_code: str):
    """Six letters or digits at most."""
    with pytest.raises(MessageRejected, match="confirm_code has a wrong shape"):
        PayAnswer.read({**PAY, "confirm_code": confirm_code})


@pytest.mark.parametrize("result_pay", ["WAITING", "SOMETHING_NEW", "success"])
def test_state_nobody_documented(result_pay: str):
    """The list of states is open: the word is passed on as it is."""
    assert QueryAnswer.read({**QUERY, "result_pay": result_pay}).result_pay == result_pay
    assert Notification.read({**NOTIFY, "result_pay": result_pay}).result_pay == result_pay


@pytest.mark.parametrize("ret_code", ["4103", "A001", "12345"])
def test_code_nobody_documented(ret_code: str):
    """So is the list of codes."""
    assert PayAnswer.read({**PAY, "ret_code": ret_code}).ret_code == ret_code


@pytest.mark.parametrize(("wire", "amount"), [("200.10", "200.10"), ("200.1", "200.10"), ("5000", "5000.00")])
def test_amount_in_any_spelling(wire: str, amount: str):
    """It is read exactly, as Decimal with two places."""
    assert str(Notification.read({**NOTIFY, "money_order": wire}).money_order) == amount


def test_members_nobody_documented():
    """They are left alone here; the signature has covered them."""
    assert Notification.read({**NOTIFY, "new_member": "x&y=z"}) == Notification.read(NOTIFY)
