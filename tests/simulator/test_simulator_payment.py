"""What the simulated gateway does with payments, confirmations and queries over real HTTP."""

from __future__ import annotations

from decimal import Decimal

import pytest
from foreign_merchant import Merchant, make_key, other_code, private_pem

from lianlian_async.testing.simulator import RET_MSG, Behaviour, Dedupe, Limits, Step


def events(simulator, no_order="no1"):
    return [entry.event for entry in simulator.ledger.of(no_order)]


async def test_a_payment_is_accepted_first_and_paid_later(run, clock):
    """0000 brings a bill and PROCESSING; SUCCESS with a settle_date follows in the bank's own time."""
    async with run(balance=Decimal("100.00")) as (simulator, merchant):
        accepted = await merchant.pay()
        assert (accepted["ret_code"], accepted["no_order"]) == ("0000", "no1")
        bill = accepted["oid_paybill"]
        assert len(bill) == 16
        assert bill.startswith("20261123")
        running = await merchant.query()
        assert (running["result_pay"], running["oid_paybill"]) == ("PROCESSING", bill)
        assert "settle_date" not in running
        assert simulator.operator.balance == Decimal("74.22")
        clock.advance(120)
        paid = await merchant.query()
        assert (paid["result_pay"], paid["settle_date"], paid["info_order"]) == ("SUCCESS", "20261123", "测试")
        assert (paid["money_order"], paid["dt_order"]) == ("25.78", "20261123100000")
        assert simulator.received_by("6216261000000000018") == Decimal("25.78")
        assert events(simulator) == ["booked", "paid"]


async def test_a_query_may_name_the_bill_alone(run):
    """no_order or oid_paybill, either is enough; neither is a parameter error."""
    async with run() as (_, merchant):
        bill = (await merchant.pay())["oid_paybill"]
        _, body, _ = await merchant.post("query", merchant.query_body(oid_paybill=bill))
        assert merchant.checked(body)["no_order"] == "no1"
        _, body, _ = await merchant.post("query", merchant.query_body(no_order="no1", oid_paybill="2026112399999999"))
        assert merchant.checked(body)["ret_code"] == "8901"
        _, body, _ = await merchant.post("query", merchant.query_body())
        assert merchant.checked(body)["ret_code"] == "1004"


async def test_an_unknown_number_has_no_record(run):
    """8901, signed, with the number that was asked for."""
    async with run() as (_, merchant):
        answer = await merchant.query("nobody")
        assert (answer["ret_code"], answer["ret_msg"], answer["no_order"]) == ("8901", "没有记录", "nobody")


@pytest.mark.parametrize(
    ("changes", "ret_code", "named"),
    [
        ({"money_order": "0"}, "1004", "money_order"),
        ({"money_order": "1.234"}, "1004", "money_order"),
        ({"money_order": None}, "1004", "money_order"),
        ({"card_no": None}, "1004", "card_no"),
        ({"acct_name": None}, "1004", "acct_name"),
        ({"dt_order": "20261323100000"}, "1004", "dt_order"),
        ({"flag_card": "2"}, "1004", "flag_card"),
        ({"notify_url": "http://127.0.0.1/" + "x" * 48}, "1004", "notify_url"),
        ({"memo": "备" * 25}, "1004", "memo"),
        ({"money_order": "50000.00", "memo": None}, "1004", "memo"),
        ({"money_order": "50000.00", "memo": "备注", "info_order": None}, "1004", "info_order"),
        ({"flag_card": "1"}, "1004", "bank_code"),
        ({"flag_card": "1", "bank_code": "99999999"}, "4015", ""),
        ({"flag_card": "1", "bank_code": "03020000", "money_order": "5000000.01", "memo": "备注"}, "4015", ""),
        ({"flag_card": "1", "bank_code": "03020000", "money_order": "5000000.00", "memo": "备注"}, "0000", ""),
        ({"flag_card": "1", "bank_code": "01020000", "money_order": "9000000.00", "memo": "备注"}, "0000", ""),
        ({"flag_card": "1", "bank_code": "99999999", "prcptcd": "102331002018"}, "0000", ""),
        ({"flag_card": "1", "bank_code": "99999999", "city_code": "330100", "brabank_name": "文三路支行"}, "0000", ""),
        ({"money_order": "99999999.99", "memo": "备注"}, "0000", ""),
    ],
)
async def test_the_fields_of_section_3_1_are_checked(run, changes, ret_code, named):
    """A wrong field is named in a signed 1004 (4015 for a branch that cannot be found), and nothing is stored."""
    async with run() as (simulator, merchant):
        answer = await merchant.pay(**changes)
        assert answer["ret_code"] == ret_code
        assert named in answer["ret_msg"]
        if ret_code != "0000":
            assert simulator.ledger.entries == []
            assert (await merchant.query())["ret_code"] == "8901"
            assert (await merchant.pay())["ret_code"] == "0000"  # the same number may come again


async def test_a_number_is_carried_out_once(run, clock):
    """Identical content again: 2005 while in process, 1002 once settled; changed content: 1002 at any time."""
    async with run() as (simulator, merchant):
        assert (await merchant.pay())["ret_code"] == "0000"
        assert (await merchant.pay())["ret_code"] == "2005"
        assert (await merchant.pay(dt_order="20261123100001"))["ret_code"] == "1002"
        clock.advance(120)
        assert (await merchant.pay())["ret_code"] == "1002"
        assert events(simulator) == ["booked", "paid"]


async def test_a_failure_with_a_bill_gives_the_money_back(run, clock):
    """FAILURE keeps the bill, carries the reason behind the merchant's own text, and ends the number."""
    async with run(balance=Decimal("30")) as (simulator, merchant):
        simulator.script("no1", final="FAILURE", reason="账户异常", after_s=10)
        simulator.script("no2", final="FAILURE", reason="账户异常", after_s=10)
        bill = (await merchant.pay())["oid_paybill"]
        clock.advance(11)
        failed = await merchant.query()
        assert (failed["result_pay"], failed["oid_paybill"]) == ("FAILURE", bill)
        assert (failed["info_order"], failed["memo"]) == ("测试_账户异常", "账户异常")
        assert simulator.operator.balance == Decimal("30")
        assert (await merchant.pay())["ret_code"] == "1002"
        await merchant.pay("no2", info_order=None)
        clock.advance(11)
        assert (await merchant.query("no2"))["info_order"] == "账户异常"
        assert events(simulator) == ["booked", "failed"]


async def test_an_empty_account_fails_the_order_and_leaves_the_number_alive(run, clock):
    """9104: FAILURE without a bill; after a top-up the identical request is carried out, a changed one is 1002."""
    async with run(balance=Decimal("10")) as (simulator, merchant):
        assert (await merchant.pay())["ret_code"] == "9104"
        refused = await merchant.query()
        assert refused["result_pay"] == "FAILURE"
        assert "oid_paybill" not in refused
        assert (await merchant.pay(money_order="5.00"))["ret_code"] == "1002"
        assert (await merchant.pay())["ret_code"] == "9104"
        simulator.operator.top_up("100")
        assert (await merchant.pay())["ret_code"] == "0000"
        clock.advance(120)
        assert (await merchant.query())["result_pay"] == "SUCCESS"
        assert events(simulator) == ["failed", "failed", "booked", "paid"]


async def test_limits_stop_a_payment_at_the_door(run, clock):
    """9911, 9912 and 9913 store nothing; a new Shanghai day frees the day's limit, a failure gives its share back."""
    limits = Limits(single=Decimal("100"), day=Decimal("150"), month=Decimal("250"))
    async with run(limits=limits) as (simulator, merchant):
        simulator.script("b", final="FAILURE", after_s=1)
        assert (await merchant.pay("a", money_order="100.01"))["ret_code"] == "9911"
        assert (await merchant.query("a"))["ret_code"] == "8901"
        assert (await merchant.pay("b", money_order="90"))["ret_code"] == "0000"
        assert (await merchant.pay("c", money_order="91"))["ret_code"] == "9912"
        clock.advance(2)
        assert (await merchant.pay("c", money_order="91"))["ret_code"] == "0000"
        clock.advance(86400)
        assert (await merchant.pay("d", money_order="100"))["ret_code"] == "0000"
        clock.advance(86400)
        assert (await merchant.pay("e", money_order="99"))["ret_code"] == "9913"
        simulator.operator.set_limits(Limits())
        assert (await merchant.pay("e", money_order="99"))["ret_code"] == "0000"


async def test_a_failed_confirmation_frees_the_day_it_was_counted_on(run, clock):
    """An order reviewed before midnight and accepted after it belongs to the new day's limit, taken and given back."""
    async with run(limits=Limits(day=Decimal("50"))) as (simulator, merchant):
        simulator.script("no1", pay=["4003"], final="FAILURE", after_s=10)
        clock.advance(13 * 3600 + 50 * 60)
        code = (await merchant.pay())["confirm_code"]
        clock.advance(20 * 60)
        assert (await merchant.confirm("no1", code))["ret_code"] == "0000"
        assert (await merchant.pay("no2", money_order="40"))["ret_code"] == "9912"
        clock.advance(11)
        assert (await merchant.pay("no2", money_order="40"))["ret_code"] == "0000"


async def test_suspected_duplicates_wait_for_a_person(run, clock):
    """4002 for the second number with the same card and amount on one day; CHECK without a bill; confirm pays it."""
    async with run() as (simulator, merchant):
        await merchant.pay("first")
        suspect = await merchant.pay("second")
        assert suspect["ret_code"] == "4002"
        assert "oid_paybill" not in suspect
        code = suspect["confirm_code"]
        assert len(code) == 6
        assert code.isdigit()
        waiting = await merchant.query("second")
        assert waiting["result_pay"] == "CHECK"
        assert not {"oid_paybill", "confirm_code"} & set(waiting)
        assert (await merchant.pay("second"))["ret_code"] == "2005"
        confirmed = await merchant.confirm("second", code)
        assert confirmed["ret_code"] == "0000"
        assert confirmed["oid_paybill"]
        assert (await merchant.confirm("second", code))["ret_code"] == "4001"
        clock.advance(120)
        assert (await merchant.query("second"))["result_pay"] == "SUCCESS"
        assert events(simulator, "second") == ["review", "booked", "paid"]
        assert (await merchant.pay("third", money_order="25.79"))["ret_code"] == "0000"


async def test_the_day_of_a_duplicate_is_shanghais(run, clock):
    """By the specification a new +08:00 day clears the suspicion; the later documents look back 24 hours."""
    for behaviour, expected in ((Behaviour(), "0000"), (Behaviour.later_docs(), "4002")):
        async with run(behaviour=behaviour) as (_, merchant):
            await merchant.pay("first")
            clock.advance(14 * 3600)  # 10:00 in Shanghai becomes midnight, the next day
            assert (await merchant.pay("second"))["ret_code"] == expected
            clock.advance(10 * 3600)


async def test_a_known_card_under_another_name_waits_for_a_person(run, clock):
    """4003 for the name alone, 4004 for the name and the duplicate; a card is known once it was paid."""
    async with run() as (simulator, merchant):
        simulator.operator.know_card("6216261000000000026", "王五")
        assert (await merchant.pay("a", card_no="6216261000000000026"))["ret_code"] == "4003"
        assert (await merchant.pay("b", card_no="6216261000000000026"))["ret_code"] == "4004"
        assert (await merchant.pay("c"))["ret_code"] == "0000"
        clock.advance(120)
        assert (await merchant.pay("d", acct_name="李三", money_order="1.00"))["ret_code"] == "4003"


async def test_six_wrong_codes_close_an_order(run):
    """4011 five times, the sixth closes it with 4008, and the right code is too late then."""
    async with run() as (simulator, merchant):
        simulator.script("no1", pay=["4003"])
        code = (await merchant.pay())["confirm_code"]
        answers = [(await merchant.confirm("no1", other_code(code)))["ret_code"] for _ in range(6)]
        assert answers == ["4011"] * 5 + ["4008"]
        assert (await merchant.query())["result_pay"] == "CLOSED"
        assert (await merchant.confirm("no1", code))["ret_code"] == "4008"
        assert (await merchant.pay())["ret_code"] == "1002"
        assert events(simulator) == ["review", "closed"]


async def test_thirty_minutes_close_an_order(run, clock):
    """One second before the code still works; at thirty minutes the order is CLOSED and the code says 4010."""
    async with run() as (simulator, merchant):
        for name in ("late", "early"):
            simulator.script(name, pay=["4003"])
        late = (await merchant.pay("late"))["confirm_code"]
        early = (await merchant.pay("early", money_order="1.00"))["confirm_code"]
        clock.advance(1799)
        assert (await merchant.confirm("early", early))["ret_code"] == "0000"
        clock.advance(1)
        assert (await merchant.query("late"))["result_pay"] == "CLOSED"
        assert (await merchant.confirm("late", late))["ret_code"] == "4010"
        assert events(simulator, "late") == ["review", "closed"]


async def test_confirming_needs_an_order_under_review_a_code_and_money(run):
    """4001 without one, 4009 for what is no code, 9104 with an empty account, after which it can still be confirmed."""
    async with run(balance=Decimal("10")) as (simulator, merchant):
        simulator.script("no1", pay=["4002"])
        assert (await merchant.confirm("nobody", "123456"))["ret_code"] == "4001"
        code = (await merchant.pay())["confirm_code"]
        assert (await merchant.confirm("no1", "12a456"))["ret_code"] == "4009"
        assert (await merchant.confirm("no1", code))["ret_code"] == "9104"
        assert (await merchant.query())["result_pay"] == "CHECK"
        simulator.operator.top_up(100)
        assert (await merchant.confirm("no1", code))["ret_code"] == "0000"


async def test_the_portal_can_confirm_and_close(run, clock):
    """What a person does in the merchant portal counts, though no API call was made."""
    async with run() as (simulator, merchant):
        for name in ("a", "b"):
            simulator.script(name, pay=["4003"])
        await merchant.pay("a")
        await merchant.pay("b", money_order="1.00")
        bill = simulator.operator.confirm_in_portal("a")
        assert (await merchant.query("a"))["oid_paybill"] == bill
        simulator.operator.close("b")
        assert (await merchant.query("b"))["result_pay"] == "CLOSED"
        with pytest.raises(LookupError):
            simulator.operator.confirm_in_portal("b")


async def test_a_paid_order_can_be_cancelled(run, clock):
    """SUCCESS becomes CANCEL with the same bill, and the money comes back."""
    async with run(balance=Decimal("100")) as (simulator, merchant):
        bill = (await merchant.pay())["oid_paybill"]
        with pytest.raises(LookupError):
            simulator.operator.cancel("no1")
        clock.advance(120)
        simulator.operator.cancel("no1")
        cancelled = await merchant.query()
        assert (cancelled["result_pay"], cancelled["oid_paybill"]) == ("CANCEL", bill)
        assert simulator.operator.balance == Decimal("100")
        assert simulator.received_by("6216261000000000018") == 0
        assert events(simulator) == ["booked", "paid", "refunded"]
        assert simulator.ledger.paid() == {}


async def test_permission_and_address_are_the_operators_to_give(run):
    """4005 without a number on pay, with one on confirm, not on query; 1008 on all three."""
    async with run() as (simulator, merchant):
        simulator.operator.set_permission(False)
        refused = await merchant.pay()
        assert refused["ret_code"] == "4005"
        assert "no_order" not in refused
        assert (await merchant.confirm("no1", "123456"))["no_order"] == "no1"
        assert (await merchant.query())["ret_code"] == "8901"
        simulator.operator.set_permission(True)
        simulator.operator.set_ip_allowed(False)
        assert {(await merchant.pay())["ret_code"], (await merchant.query())["ret_code"]} == {"1008"}
        simulator.operator.set_ip_allowed(True)
        assert (await merchant.pay())["ret_code"] == "0000"


@pytest.mark.parametrize("ret_code", sorted(RET_MSG))
@pytest.mark.parametrize("endpoint", ["pay", "confirm", "query"])
async def test_every_ret_code_can_be_laid_down(run, ret_code, endpoint):
    """A script reaches each code of section 7 on each endpoint, at the call it names, signed."""
    async with run() as (simulator, merchant):
        simulator.script("no1", **{"pay": ["4003"], endpoint: [None, ret_code] if endpoint == "query" else [ret_code]})
        first = await merchant.pay()
        if endpoint == "confirm":
            first = await merchant.confirm("no1", first["confirm_code"])
        elif endpoint == "query":
            assert (await merchant.query())["result_pay"] == "CHECK"
            first = await merchant.query()
        assert first["ret_code"] == ret_code


@pytest.mark.parametrize("result_pay", ["APPLY", "WAITING", "PROCESSING", "FROZEN"])
async def test_every_open_state_can_be_laid_down(run, clock, result_pay):
    """A timeline walks through any states, words unknown to every document included."""
    async with run() as (simulator, merchant):
        simulator.script("no1", timeline=[(result_pay, 0), ("SUCCESS", 60)])
        await merchant.pay()
        assert (await merchant.query())["result_pay"] == result_pay
        assert (await merchant.pay())["ret_code"] == "2005"
        clock.advance(60)
        assert (await merchant.query())["result_pay"] == "SUCCESS"


@pytest.mark.parametrize("result_pay", ["SUCCESS", "FAILURE", "CANCEL", "CLOSED"])
async def test_every_final_state_can_be_laid_down(run, clock, result_pay):
    """`final` names the end; a CANCEL passes through SUCCESS."""
    async with run(balance=Decimal("100")) as (simulator, merchant):
        simulator.script("no1", final=result_pay, after_s=5)
        await merchant.pay()
        clock.advance(300)
        assert (await merchant.query())["result_pay"] == result_pay
        left = Decimal("74.22") if result_pay == "SUCCESS" else Decimal("100")
        assert simulator.operator.balance == left
        assert ("paid" in events(simulator)) == (result_pay in ("SUCCESS", "CANCEL"))


async def test_the_two_kinds_of_refusal_differ_in_what_a_query_says(run):
    """4012 stores nothing (8901); 4013 and 4014 leave a FAILURE without a bill; both leave the number alive."""
    async with run() as (simulator, merchant):
        for ret_code, query in (("4012", "8901"), ("4013", "0000"), ("4014", "0000")):
            simulator.script(ret_code, pay=[ret_code])
            await merchant.pay(ret_code, money_order=f"{ret_code}.00")
            found = await merchant.query(ret_code)
            assert found["ret_code"] == query
            assert found.get("result_pay", "FAILURE") == "FAILURE"
            assert "oid_paybill" not in found
            assert (await merchant.pay(ret_code, money_order=f"{ret_code}.00"))["ret_code"] == "0000"


async def test_a_step_says_whether_the_request_is_carried_out_behind_its_code(run):
    """9999 alone stores nothing; with booked=True it is carried out and only the answer is a 9999."""
    async with run() as (simulator, merchant):
        simulator.script("a", pay=["9999"])
        simulator.script("b", pay=[Step("9999", booked=True)])
        simulator.script("c", pay=[Step("0000", booked=False)])
        for name in "abc":
            await merchant.pay(name, money_order=f"{ord(name)}.00")
        assert [(await merchant.query(name))["ret_code"] for name in "abc"] == ["8901", "0000", "8901"]


async def test_a_step_can_change_members_of_the_answer(run):
    """A signed answer with a strange member, a missing one, or another order's number."""
    async with run() as (simulator, merchant):
        simulator.script(
            {"acct_name": "李三"}, query=[Step(members={"result_pay": None, "extra": "1"}), Step("8901"), ...]
        )
        await merchant.pay(acct_name="李三")
        odd = await merchant.query()
        assert odd["extra"] == "1"
        assert "result_pay" not in odd
        assert [(await merchant.query())["ret_code"] for _ in range(3)] == ["8901"] * 3


async def test_a_gateway_with_a_racy_check_can_book_one_number_twice(run, clock):
    """Within its blind second the same number gets a second bill; the ledger says so."""
    async with run(behaviour=Behaviour(dedupe=Dedupe.RACY)) as (simulator, merchant):
        assert (await merchant.pay())["ret_code"] == "0000"
        assert (await merchant.pay())["ret_code"] == "0000"
        clock.advance(1)
        assert (await merchant.pay())["ret_code"] == "2005"
        clock.advance(120)
        await merchant.query()
        assert simulator.ledger.paid_twice() == ("no1",)
        assert simulator.ledger.summary().paid_twice == 1


async def test_a_bill_is_shown_before_a_failure_without_one(run):
    """Where a racy gateway holds both under one number, the query shows the order that has the bill."""
    async with run(behaviour=Behaviour(dedupe="racy")) as (simulator, merchant):
        simulator.script("no1", pay=[None, "4014"])
        bill = (await merchant.pay())["oid_paybill"]
        assert (await merchant.pay())["ret_code"] == "4014"
        found = await merchant.query()
        assert (found["result_pay"], found["oid_paybill"]) == ("PROCESSING", bill)


async def test_a_forgetful_gateway_pays_an_old_number_again(run, clock):
    """After its memory ends, the query says 8901 and the number is carried out anew."""
    behaviour = Behaviour(dedupe="forgetful", forget_after_s=3600, check_duplicates=False)
    async with run(behaviour=behaviour) as (simulator, merchant):
        await merchant.pay()
        clock.advance(3600)
        assert (await merchant.query())["ret_code"] == "8901"
        assert (await merchant.pay())["ret_code"] == "0000"
        clock.advance(120)
        await merchant.query()
        assert simulator.ledger.paid_twice() == ("no1",)


async def test_limits_may_be_looked_at_before_the_number(run):
    """With dedupe_first off, a repeat of a living number during a drought is answered 9104 and changes nothing."""
    async with run(balance=Decimal("30"), behaviour=Behaviour(dedupe_first=False)) as (simulator, merchant):
        assert (await merchant.pay())["ret_code"] == "0000"
        assert (await merchant.pay())["ret_code"] == "9104"
        assert (await merchant.query())["result_pay"] == "PROCESSING"
        assert events(simulator) == ["booked"]


async def test_a_lagging_copy_does_not_see_a_fresh_booking(run, clock):
    """A query that reads a copy 3 s behind says 8901 for a payment in flight, and finds it later."""
    async with run() as (simulator, merchant):
        simulator.script("no1", query=[Step(lag_s=3.0), ...])
        await merchant.pay()
        assert (await merchant.query())["ret_code"] == "8901"
        clock.advance(3)
        assert (await merchant.query())["result_pay"] == "PROCESSING"


async def test_refusals_can_come_unsigned_or_without_a_number(run):
    """Two settings for what is unknown about the genuine gateway."""
    async with run(behaviour=Behaviour(unsigned_refusals=True)) as (_, merchant):
        _, body, _ = await merchant.post("pay", merchant.sealed(merchant.content(money_order="0")))
        assert b'"1004"' in body
        assert b'sign"' not in body
        assert (await merchant.pay())["ret_code"] == "0000"
    async with run(behaviour=Behaviour(refusals_without_no_order=True), balance=Decimal(1)) as (_, merchant):
        assert "no_order" not in await merchant.pay(money_order="0")
        assert "no_order" not in await merchant.pay()


async def test_the_gateway_can_change_its_key(run, gateway_key, merchant_key):
    """Answers verify under the new key only; envelopes for the old one open only when that was asked for."""
    async with run() as (simulator, merchant):
        fresh = make_key()
        simulator.operator.rotate_gateway_key(private_pem(fresh))
        newer = Merchant(merchant_key, fresh)
        newer.base_url, newer.session = merchant.base_url, merchant.session
        _, body, _ = await merchant.post("pay", merchant.sealed(merchant.content()))
        assert newer.checked(body)["ret_code"] == "4007"
        assert (await newer.pay())["ret_code"] == "0000"
        simulator.operator.rotate_gateway_key(private_pem(gateway_key), open_old=True)
        _, body, _ = await newer.post("pay", newer.sealed(newer.content()))
        assert merchant.checked(body)["ret_code"] == "2005"


async def test_an_outage_answers_with_a_page_and_does_nothing(run):
    """503 from the endpoints named, as usual from the others."""
    async with run() as (simulator, merchant):
        simulator.operator.set_outage("query")
        status, body, _ = await merchant.post("query", merchant.query_body(no_order="no1"))
        assert (status, body[:6]) == (503, b"<html>")
        assert (await merchant.pay())["ret_code"] == "0000"
        simulator.operator.set_outage()
        assert (await merchant.query())["ret_code"] == "0000"
