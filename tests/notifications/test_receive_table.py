"""The table of safety.md 3.6, row by row, through `client.receive`."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
from attrs import evolve
from client_fixtures import MakeWorld
from client_world import OID_PARTNER
from notify_world import BILL, Pen, bill_of, load, refusal, sent, told

from lianlian_async import JournalUnavailable, LianLianClient, NotificationRefused, State, Step
from lianlian_async.notifications import ACK, REFUSAL, Refusal, answer
from lianlian_async.resolver import Outcome

ENDS = {"SUCCESS": State.PAID, "FAILURE": State.FAILED, "CANCEL": State.REFUNDED}


# ---------------------------------------------------------------------- valid, bound, forward


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("word", ENDS)
async def test_news_is_on_record_before_it_is_acknowledged(world: MakeWorld, pen: Pen, word: str, kind: str) -> None:
    """When `receive` returns, the journal itself holds evidence and state."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        payout = await client.receive(pen.notify(record, word))
        after = await load(client, record.no_order)
        assert payout.state is after.state is ENDS[word]
        [news] = told(after)
        assert (news.outcome, news.result_pay, news.oid_paybill) == (Outcome.ANSWERED, word, bill_of(record))
        assert news.settle_date == ("20261123" if word == "SUCCESS" else None)
        assert news.detail == ("账户异常" if word == "FAILURE" else None)
        assert await answer(client, pen.notify(record, word)) == ACK


@pytest.mark.parametrize("word", ["FAILURE", "CANCEL"])
async def test_a_bad_end_opens_nothing_until_a_query_agrees(world: MakeWorld, pen: Pen, word: str) -> None:
    """R8: it is shown at once, a query follows by itself, and only that one makes the number replaceable."""
    async with world() as w:
        client = await w.client()
        after_s = {"after_s": 1, "cancel_after_s": 1} if word == "CANCEL" else {"after_s": 1}
        record = await sent(w, client, timeline=None, final=word, **after_s)
        payout = await client.receive(pen.notify(record, word))
        assert (payout.state, payout.step, payout.replaceable) == (ENDS[word], Step.QUERY, False)
        [payout] = await w.at_rest(client, record.no_order)
        assert (payout.state, payout.step, payout.replaceable) == (ENDS[word], Step.NOTHING, True)
        assert len(w.queries()) == 1


async def test_a_bad_end_that_no_query_confirms_stays_closed(world: MakeWorld, pen: Pen) -> None:
    """R8: whoever can forge one message of LianLian's cannot have the payout sent again under a new number."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        await client.receive(pen.notify(record, "CANCEL"))
        await w.run_for(3600)
        payout = await client.get(record.no_order)
        assert len(w.queries()) > 5
        assert not payout.replaceable
        assert len(w.pays()) == 1


async def test_a_waiting_caller_hears_of_it_at_once(world: MakeWorld, pen: Pen) -> None:
    """No time passes between the notification and the end of `wait`."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        waiting = w.start(client.wait(record.no_order, timeout_s=1e9))
        await w.calm()
        assert not waiting.done()
        await client.receive(pen.notify(record))
        await w.calm()
        assert waiting.done()
        assert waiting.result().state is State.PAID
        assert w.queries() == []


async def test_the_banks_reason_is_kept_without_card_and_name(world: MakeWorld, pen: Pen) -> None:
    """`explain` shows why it failed: bounded, nothing invisible in it (T10), and the payee masked where it is repeated."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        card, name = record.content["card_no"], record.content["acct_name"]
        await client.receive(pen.notify(record, "FAILURE", info_order=f"测试_{card} {name} \u202e户名不符" + "x" * 300))
        [news] = told(await load(client, record.no_order))
        assert news.detail is not None
        assert "户名不符" in news.detail
        assert "\u202e" not in news.detail
        assert len(news.detail) <= 200
        assert card not in news.detail
        assert name not in news.detail


# ---------------------------------------------------------------------- repeats and older news


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_repeat_is_recorded_once_and_acknowledged_each_time(world: MakeWorld, pen: Pen, kind: str) -> None:
    """The first acknowledgement may have been lost: every repeat gets one, and nothing else happens."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        await client.receive(body)
        once = await load(client, record.no_order)
        for _ in range(5):
            w.clock.advance(360)
            assert await answer(client, body) == ACK
        await w.calm()
        assert await load(client, record.no_order) == once
        assert (client.receiver.counts.received, client.receiver.counts.accepted) == (6, 6)


async def test_success_after_cancel_changes_nothing(world: MakeWorld, pen: Pen) -> None:
    """Older than the view: on record once, acknowledged, and still refunded."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        await client.receive(pen.notify(record, "CANCEL"))
        for _ in range(2):
            payout = await client.receive(pen.notify(record, "SUCCESS"))
            assert payout.state is State.REFUNDED
        assert [news.result_pay for news in told(await load(client, record.no_order))] == ["CANCEL", "SUCCESS"]


async def test_cancel_after_success_is_a_refund(world: MakeWorld, pen: Pen) -> None:
    """The money never reached the payee: news, with the bill that is known."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        await client.receive(pen.notify(record, "SUCCESS"))
        assert (await client.receive(pen.notify(record, "CANCEL"))).state is State.REFUNDED


# ---------------------------------------------------------------------- contradictions

OTHERWISE = {
    "amount": {"money_order": "25.79"},
    "time": {"dt_order": "20261123100001"},
    "bill": {"oid_paybill": "2026112399999999"},
    "text": {"info_order": "something else"},
}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("what", [*OTHERWISE, "failure after success"])
async def test_a_contradiction_is_a_conflict_on_record_once_and_never_acknowledged(
    world: MakeWorld, pen: Pen, caplog: pytest.LogCaptureFixture, what: str, kind: str
) -> None:
    """Evidence, CONFLICT, a query, one alarm; and not 0000, however often it is repeated."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        if what in OTHERWISE:
            body = pen.notify(record, **OTHERWISE[what])
        else:
            await client.receive(pen.notify(record))
            body = pen.notify(record, "FAILURE")
        before = len(told(await load(client, record.no_order)))
        for _ in range(3):
            assert await answer(client, body) == REFUSAL
        after = await load(client, record.no_order)
        assert (after.state, after.step) == (State.CONFLICT, Step.DECIDE)
        assert len(told(after)) == before + 1
        assert client.receiver.counts.refused == {Refusal.CONTRADICTION: 3}
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
        await w.run_for(10)
        assert len(w.queries()) >= 1
        assert len(w.pays()) == 1
        assert not (await client.get(record.no_order)).replaceable


async def test_what_was_acknowledged_stays_acknowledged_in_a_conflict(world: MakeWorld, pen: Pen) -> None:
    """A repeat gets the answer that its first arrival got, whatever has come in between."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        success, failure = pen.notify(record), pen.notify(record, "FAILURE")
        answers = [await answer(client, body) for body in (success, failure, success, failure)]
        assert answers == [ACK, REFUSAL, ACK, REFUSAL]
        assert (await load(client, record.no_order)).state is State.CONFLICT


async def test_a_contradicting_amount_is_shown_to_people_and_its_text_is_not(world: MakeWorld, pen: Pen) -> None:
    """What differs is on record: numbers as told, texts by name only."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        other = {"money_order": "1.00", "info_order": "6222020012345678901"}
        assert await refusal(client, pen.notify(record, **other)) is Refusal.CONTRADICTION
        [news] = told(await load(client, record.no_order))
        assert (news.outcome, news.detail) == (Outcome.MISMATCHED, "differs: money_order 1.00, info_order")


# ---------------------------------------------------------------------- nobody's, another one's, nowhere to write


async def test_another_merchants_number_in_a_shared_journal_is_left_alone(world: MakeWorld, pen: Pen) -> None:
    """Two merchants on one journal: a notification that names us and their number is no news of theirs."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        record = await sent(w, client)
        other = evolve(w.merchant, oid_partner="201606020000150063")
        async with LianLianClient(other, w.journal(), clock=w.clock) as theirs:
            assert await refusal(theirs, pen.notify(record)) is Refusal.OTHER_MERCHANT
            body = pen.notify(record, oid_partner=other.oid_partner)
            assert await refusal(theirs, body) is Refusal.OTHER_MERCHANT
        assert await load(client, record.no_order) == record


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("method", ["load", "save"])
async def test_without_a_journal_nothing_is_acknowledged(world: MakeWorld, pen: Pen, method: str, phase: str) -> None:
    """Down, it is refused; up again, the repeat is acknowledged, and on record once even if the first save was written."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        tap: Any = client.journal

        def down(at: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            if (at, name) == (phase, method):
                raise JournalUnavailable("gone")

        tap.hook = down
        with pytest.raises(JournalUnavailable):
            await client.receive(body)
        if (method, phase) != ("save", "after"):
            assert await answer(client, body) == REFUSAL
        tap.hook = None
        assert await answer(client, body) == ACK
        assert client.receiver.counts.refused.keys() == {Refusal.JOURNAL_DOWN}
        assert len(told(await load(client, record.no_order))) == 1


async def test_a_client_that_is_not_open_refuses(world: MakeWorld, pen: Pen) -> None:
    """Before `open` and after `aclose` nothing can be written down, so nothing is acknowledged."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        await client.aclose()
        assert await answer(client, pen.notify(record)) == REFUSAL
        assert client.receiver.counts.refused == {Refusal.NOT_READY: 1}


async def test_a_client_that_finishes_still_takes_news_in(world: MakeWorld, pen: Pen) -> None:
    """After `finish` nothing new begins; what comes in is written down until the end."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        await client.finish()
        assert (await client.receive(pen.notify(record, "CANCEL"))).state is State.REFUNDED


# ---------------------------------------------------------------------- counters and log


async def test_a_flood_of_forgeries_is_one_log_line_a_minute(
    world: MakeWorld, pen: Pen, stranger: Pen, caplog: pytest.LogCaptureFixture
) -> None:
    """Each reason speaks once a minute, with its count; the counter counts them all; a clock set back mutes nothing."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        forged, unsigned = stranger.notify(record), pen.notify(record).replace(b'"sign"', b'"sing"')

        async def flood() -> list[str]:
            caplog.clear()
            for _ in range(50):
                assert await refusal(client, forged) is Refusal.BAD_SIGNATURE
                assert await refusal(client, unsigned) is Refusal.UNSIGNED
            return [r.getMessage() for r in caplog.records if r.name == "lianlian_async.notifications"]

        assert await flood() == [
            "notification refused (bad signature); 1 so far",
            "notification refused (unsigned); 1 so far",
        ]
        w.clock.advance(59)
        assert await flood() == []
        w.clock.advance(2)
        assert len(await flood()) == 2
        w.clock._now = w.clock._now.replace(year=2025)
        assert len(await flood()) == 2
        assert client.receiver.counts.refused == {Refusal.BAD_SIGNATURE: 200, Refusal.UNSIGNED: 200}
        assert (client.receiver.counts.received, client.receiver.counts.accepted) == (400, 0)


async def test_refusals_travel_and_tell_their_reason() -> None:
    """The exception keeps its reason through pickle, and shows it."""
    error = NotificationRefused(Refusal.UNKNOWN_ORDER, "n1 is not in the journal")
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.detail, str(again)) == (error.reason, error.detail, str(error))
    assert "unknown order" in str(error)


def test_the_answers_are_what_the_specification_says() -> None:
    """3.4: ret_code 0000 and 交易成功 in UTF-8; every refusal is one and the same."""
    assert ACK == b'{"ret_code":"0000","ret_msg":"\xe4\xba\xa4\xe6\x98\x93\xe6\x88\x90\xe5\x8a\x9f"}'
    assert REFUSAL.startswith(b'{"ret_code":"9999",')
    assert OID_PARTNER not in REFUSAL.decode()
    assert BILL not in REFUSAL.decode()
