"""People decide: approve, decline, amend, replace, and the explicit yes to a duplicate (safety.md 3.2 to 3.7, R4, R5)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, World, an_order, for_ever, true_state

from lianlian_async import (
    BreakerOpen,
    CommandRefused,
    DuplicateSuspected,
    InvalidOrder,
    JournalUnavailable,
    LianLianClient,
    Merchant,
    OrderConflict,
    Payout,
    State,
    Step,
)
from lianlian_async.numbers import derive
from lianlian_async.resolver import Evidence, Outcome, Source
from lianlian_async.testing.simulator import Step as Answer

NUMBER = derive(OID_PARTNER, "k")
BY = {"by": "Wang Fang", "note": "called the payee"}


async def held(w: World, client: LianLianClient, code: str = "4003", **script: Any) -> Payout:
    """A payout under review."""
    w.simulator.script(NUMBER, pay=[code], **script)
    payout = await w.pay(client, an_order())
    assert (payout.state, payout.step) == (State.REVIEW, Step.DECIDE)
    return payout


async def record_of(client: LianLianClient, no_order: str = NUMBER) -> Any:
    return await client.journal.load(no_order)


async def audit_confirms(w: World, client: LianLianClient) -> None:
    """I8: every confirm the gateway ever saw stands behind a person's durable word, and one attempt of its own."""
    assert w.simulator.ledger.summary().paid_twice == 0
    for record in await w.records(client):
        confirms = [a for a in record.attempts if a.source is Source.CONFIRM]
        received = w.requests("confirm", record.no_order)
        words = [e for e in record.evidence if e.outcome is Outcome.APPROVED and e.attempt is not None]
        assert len(received) <= len(confirms) == len(words)
        assert all(word.by for word in words)
        for request in received:
            assert any(a.started_at <= request.time <= a.deadline_at for a in confirms)


@pytest.mark.parametrize(("reason", "by"), [("", "Chen"), (" \n", "Chen"), ("audit", ""), ("audit", "x" * 65)])
async def test_a_pause_by_nobody_or_for_no_reason(world: MakeWorld, reason: str, by: str) -> None:
    """CommandRefused, and nothing is paused or lifted: whoever is refused later must be able to read whom to ask, why."""
    async with world() as w:
        client = await w.client()
        with pytest.raises(CommandRefused, match="nothing was done"):
            await client.pause(reason=reason, by=by)
        assert await client.paused() is None
        if by != "Chen":
            await client.pause(reason="audit", by=" Chen ")
            with pytest.raises(CommandRefused, match="name of the person"):
                await client.unpause(by=by)
            pause = await client.paused()
            assert pause is not None
            assert pause.by == "Chen"


# --- approve


@pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])
@pytest.mark.parametrize("code", ["4002", "4003", "4004"])
async def test_approved_by_a_person_it_is_paid(world: MakeWorld, code: str, journal: str) -> None:
    """Queried, written down, confirmed once, followed until it is paid; who and why is on record."""
    async with world(journal=journal) as w:
        client = await w.client()
        await held(w, client, code)
        await w.run_for(60)
        queries = len(w.queries())
        payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.state is State.IN_PROGRESS
        assert len(w.queries()) > queries
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        [word] = [e for e in (await record_of(client)).evidence if e.outcome is Outcome.APPROVED]
        assert (word.by, word.attempt) == ("Wang Fang", 2)
        assert word.detail.startswith("called the payee")
        assert len(w.requests("confirm")) == 1
        await audit_confirms(w, client)


@pytest.mark.parametrize("declines", [False, True])
async def test_review_is_taken_up_after_a_restart(world: MakeWorld, declines: bool) -> None:
    """Held before the process ended, declined or not: the next process asks until the gateway has closed it."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        if declines:
            await w.done(client.decline(NUMBER, **BY))
        other = await w.client(await w.crash(client))
        await w.done(other.recover())
        await w.run_for(2 * 3600)
        assert (await other.get(NUMBER)).state is State.CLOSED


async def test_approved_twice_at_once(world: MakeWorld) -> None:
    """A double click, or two people in the same second: one confirm, and the other one is told."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        await held(w, client)
        calls = [client.approve(NUMBER, by=name, note="yes") for name in ("Anna", "Anna", "Bo")]
        outcomes = await w.done(asyncio.gather(*calls, return_exceptions=True))
        assert sum(isinstance(o, Payout) for o in outcomes) == 1
        assert sum(isinstance(o, CommandRefused) for o in outcomes) == 2
        assert len(w.requests("confirm")) == 1
        await w.at_rest(client, NUMBER)
        await audit_confirms(w, client)


async def test_approved_in_two_processes_at_once(world: MakeWorld) -> None:
    """Two clients on one file: the version check lets one of them through."""
    async with world(journal="sqlite") as w:
        one, other = await w.client(w.journal()), await w.client(w.journal())
        await held(w, one)
        calls = [one.approve(NUMBER, by="Anna", note="yes"), other.approve(NUMBER, by="Bo", note="yes")]
        outcomes = await w.done(asyncio.gather(*calls, return_exceptions=True))
        assert sorted(type(o) for o in outcomes if isinstance(o, Exception)) == [CommandRefused]
        assert len(w.requests("confirm")) == 1


async def test_two_must_approve(world: MakeWorld) -> None:
    """The first word sends nothing and cannot be given twice; the second, by another person, confirms."""
    async with world() as w:
        client = await w.client(two_person=True)
        await held(w, client)
        payout = await w.done(client.approve(NUMBER, by="Anna", note="fine"))
        assert (payout.state, payout.rule) == (State.REVIEW, "review, second person")
        for same in ("Anna", "ANNA"):
            with pytest.raises(CommandRefused, match="another person"):
                await w.done(client.approve(NUMBER, by=same, note="fine"))
        review = await w.done(client.review(NUMBER))
        assert [(word.by, word.approves) for word in review.words] == [("Anna", True)]
        assert not w.requests("confirm")
        await w.done(client.approve(NUMBER, by="Bo", note="fine, too"))
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        await audit_confirms(w, client)


async def test_the_merchants_policy_is_kept(world: MakeWorld) -> None:
    """A client that was made without a word about it, and one that says no, ask for the second person all the same."""
    async with world(merchant={"two_person": True}) as w:
        client = await w.client(two_person=False)
        assert client.two_person
        await held(w, client)
        payout = await w.done(client.approve(NUMBER, by="Anna", note="fine"))
        assert (payout.state, payout.rule) == (State.REVIEW, "review, second person")
        with pytest.raises(CommandRefused, match="another person"):
            await w.done(client.approve(NUMBER, by="anna", note="fine"))
        await w.run_for(60)
        assert not w.requests("confirm")
        await w.done(client.approve(NUMBER, by="Bo", note="fine, too"))
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        await audit_confirms(w, client)


async def test_it_was_decided_in_the_portal_meanwhile(world: MakeWorld) -> None:
    """The query right before says so: nothing is confirmed, and the truth is told."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        w.simulator.operator.confirm_in_portal(NUMBER)
        with pytest.raises(CommandRefused, match="not under review"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID


async def test_the_gateway_does_not_answer_the_query(world: MakeWorld) -> None:
    """Without CHECK from a query right before, nothing is confirmed."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        w.simulator.operator.set_outage("query")
        with pytest.raises(CommandRefused, match="nothing was confirmed"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")


async def test_too_late(world: MakeWorld) -> None:
    """25 minutes after the code came nobody can approve here; when the gateway has closed it, it can be replaced."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await w.run_for(25 * 60 + 1)
        with pytest.raises(CommandRefused, match="too late"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")
        await w.run_for(3600)
        assert (await client.get(NUMBER)).state is State.CLOSED


@pytest.mark.parametrize(
    ("by", "note"),
    [("", "yes"), ("  ", "yes"), ("Anna", ""), ("Anna", " "), ("A" * 65, "yes"), ("A\u202e", "y"), ("A", "x" * 501)],
)
async def test_a_decision_needs_a_name_and_a_note(world: MakeWorld, by: str, note: str) -> None:
    """Refused before anything is written or asked."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        for move in (client.approve, client.decline):
            with pytest.raises(CommandRefused, match="nothing was done"):
                await w.done(move(NUMBER, by=by, note=note))
        assert not w.requests("confirm")


async def test_while_new_money_is_paused(world: MakeWorld) -> None:
    """A confirmation is new money."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        await client.pause(reason="audit", by="Chen")
        with pytest.raises(BreakerOpen, match="audit"):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")


@pytest.mark.parametrize(
    ("confirm", "ends"),
    [
        (["close_after"], State.PAID),  # carried out, the answer lost: 4001 is never asked for
        (["4009"], State.REVIEW),
        (["4011"], State.REVIEW),
        (["4001"], State.REVIEW),
        (["9999_before"], State.REVIEW),
        (["9999_after"], State.PAID),
        (["unsigned"], State.PAID),
        (["other_order"], State.PAID),
        (["close_before"], State.REVIEW),
        (["9104"], State.REVIEW),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
async def test_what_became_of_a_confirm_is_found_out(world: MakeWorld, confirm: list[Any], ends: State) -> None:
    """3.3: never repeated by itself, never read as a failure; the query decides, a person sees it again."""
    async with world() as w:
        client = await w.client()
        await held(w, client, confirm=confirm)
        await w.done(client.approve(NUMBER, **BY))
        await w.run_for(900)
        payout = await client.get(NUMBER)
        assert payout.state is ends
        if ends is State.REVIEW:
            assert payout.step is Step.DECIDE
        assert true_state(w, NUMBER) is ends
        assert len(w.requests("confirm")) == 1
        await audit_confirms(w, client)


async def test_a_lost_confirm_may_be_approved_again_after_the_grace(world: MakeWorld) -> None:
    """Nothing reached the gateway, and CHECK after the grace proves it: one more person's word, one more confirm."""
    async with world() as w:
        client = await w.client()
        await held(w, client, confirm=["close_before", None])
        await w.done(client.approve(NUMBER, **BY))
        with pytest.raises(CommandRefused, match="not known yet"):
            await w.done(client.approve(NUMBER, **BY))
        await w.run_for(600)
        await w.done(client.approve(NUMBER, by="Bo", note="still meant"))
        [payout] = await w.at_rest(client, NUMBER)
        assert payout.state is State.PAID
        assert len(w.requests("confirm")) == 2
        await audit_confirms(w, client)


async def test_a_wrong_code_is_never_sent_again(world: MakeWorld) -> None:
    """4011: something is wrong, and one of six tries is gone."""
    async with world() as w:
        client = await w.client()
        await held(w, client, confirm=["4011"])
        payout = await w.done(client.approve(NUMBER, **BY))
        assert payout.alarms
        await w.run_for(600)
        with pytest.raises(CommandRefused, match="does not"):
            await w.done(client.approve(NUMBER, **BY))
        assert len(w.requests("confirm")) == 1


async def test_the_code_was_lost_with_the_answer(world: MakeWorld) -> None:
    """A query says CHECK and brings no code: portal or wait, and never a second send to fish for it."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[Answer(ret_code="4003", fault="close_after")])
        payout = await w.pay(client, an_order())
        assert (payout.state, payout.step) == (State.REVIEW, Step.DECIDE)
        review = await w.done(client.review(NUMBER))
        assert (review.confirm_until, review.minutes_left) == (None, 0)
        assert "lost" in (review.refusal or "")
        with pytest.raises(CommandRefused, match="lost"):
            await w.done(client.approve(NUMBER, **BY))
        assert len(w.pays()) == 1


@pytest.mark.parametrize("phase", ["before", "after"])
async def test_a_crash_at_every_write_of_an_approval(world: MakeWorld, phase: str) -> None:
    """Whoever starts next finds out what became of it; nothing is confirmed twice, and nothing by itself."""
    for nth in range(1, 12):
        async with world() as w:
            client = await w.client()
            await held(w, client)
            tap, dead, writes = w.journals[-1], asyncio.Event(), 0

            def hook(when: str, name: str, count: int, args: Any, dead: asyncio.Event = dead, nth: int = nth) -> Any:
                nonlocal writes
                writes += when == "before" and name == "save"
                if when == phase and name == "save" and writes == nth:
                    dead.set()
                return for_ever() if dead.is_set() else None

            tap.hook = hook
            call = w.start(client.approve(NUMBER, **BY))
            for _ in range(2000):
                if dead.is_set() or call.done():
                    break
                await asyncio.sleep(0.0005)
                if not w._activity()[0] and w.clock.next_at is not None:
                    w.clock.go_to(w.clock.next_at)
            died = dead.is_set()
            tap.hook = None
            fresh = await w.crash(client)
            confirms = len(w.requests("confirm"))
            after = await w.client(fresh)
            await after.recover()
            await w.run_for(900)
            assert (await after.get(NUMBER)).state is true_state(w, NUMBER), "found out without anybody asking"
            assert len(w.requests("confirm")) == confirms <= 1
            await audit_confirms(w, after)
            if not died:
                assert nth > 2
                return
    raise AssertionError("an approval has fewer writes than that")


async def test_cancelled_while_it_approves(world: MakeWorld) -> None:
    """The caller's wait ends; the confirm, the answer and the outcome do not."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        call = w.start(client.approve(NUMBER, **BY))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await w.run_for(120)
        assert (await client.get(NUMBER)).state is State.PAID
        assert len(w.requests("confirm")) == 1
        await audit_confirms(w, client)


async def test_the_journal_fails_before_a_confirm(world: MakeWorld) -> None:
    """What cannot be written down is not confirmed."""
    async with world() as w:
        client = await w.client()
        await held(w, client)

        async def full() -> None:
            raise JournalUnavailable("disk full")

        def hook(when: str, name: str, count: int, args: Any) -> Any:
            return (
                full()
                if when == "before" and name == "save" and any(a.source is Source.CONFIRM for a in args[2].attempts)
                else None
            )

        w.journals[-1].hook = hook
        with pytest.raises(JournalUnavailable):
            await w.done(client.approve(NUMBER, **BY))
        assert not w.requests("confirm")


# --- decline and looking


async def test_declined(world: MakeWorld) -> None:
    """Nothing is sent; it is queried until the gateway closes it, and nobody can approve it any more."""
    async with world() as w:
        client = await w.client()
        await held(w, client)
        payout = await w.done(client.decline(NUMBER, by="Wang Fang", note="not ours"))
        assert (payout.state, payout.step) == (State.REVIEW, Step.QUERY)
        for move in (client.approve, client.decline):
            with pytest.raises(CommandRefused, match="has declined it"):
                await w.done(move(NUMBER, **BY))
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.replaceable) == (State.CLOSED, True)
        assert not w.requests("confirm")


async def test_a_review_shows_why_until_when_and_its_siblings(world: MakeWorld) -> None:
    """Minutes and tries left, and the payouts to the same card and amount, freshly queried."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(derive(OID_PARTNER, "first"), final="SUCCESS", after_s=1000)
        [first] = await client.enlist([(an_order(), "first")])
        await w.run_for(30)
        assert (await client.get(first.no_order)).state is State.IN_PROGRESS
        await w.pay(client, an_order(), duplicate_ok=True)
        await w.run_for(600)
        [listed] = await w.done(client.reviews())
        assert (listed.payout.no_order, listed.code, listed.tries_left) == (NUMBER, "4002", 6)
        assert listed.minutes_left in (14, 15)
        asked = len(w.queries(first.no_order))
        review = await w.done(client.review(NUMBER))
        assert [s.no_order for s in review.siblings] == [first.no_order]
        assert len(w.queries(first.no_order)) > asked
        assert review.refusal is None
        with pytest.raises(CommandRefused, match="not under review"):
            await client.review(first.no_order)


# --- amend


@pytest.mark.parametrize("journal", ["memory", "sqlite", "encrypted"])
async def test_refused_content_is_corrected_under_the_same_number(world: MakeWorld, journal: str) -> None:
    """1005: another card under the same number, after "no record"; both contents stay on record."""
    async with world(journal=journal) as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["1005", None])
        payout = await w.pay(client, an_order(card=1))
        assert (payout.state, payout.step) == (State.REFUSED, Step.FIX)
        before = await record_of(client)
        await w.done(client.amend(NUMBER, {"card_no": an_order(card=2).card_no}, by="Wang Fang"))
        [payout] = await w.at_rest(client, NUMBER)
        assert (payout.state, payout.sends) == (State.PAID, 2)
        after = await record_of(client)
        assert after.former_hashes == (before.content_hash,)
        assert after.content["dt_order"] == before.content["dt_order"]
        assert [p.content_hash for p in w.pays()] == [before.content_hash, after.content_hash]
        assert w.simulator.received_by(an_order(card=2).card_no) == Decimal("25.78")
        assert w.simulator.received_by(an_order(card=1).card_no) == 0
        # Whoever asks again with what was asked for first still means this payout.
        again = await w.pay(client, an_order(card=1))
        assert (again.no_order, again.state) == (NUMBER, State.PAID)


async def test_what_cannot_be_amended(world: MakeWorld) -> None:
    """Refused with the reason: accepted, unknown, refused for another reason, amended before; wrong fields; no change."""
    async with world() as w:
        client = await w.client()
        other = {"card_no": an_order(card=99).card_no}
        for number, (pay, why) in enumerate(
            {"9104": ("9104", "not refused for its content"), "paid": (None, "PAID")}.values()
        ):
            key = f"k{number}"
            w.simulator.script(derive(OID_PARTNER, key), pay=[pay])
            await w.pay(client, an_order(card=number), key)
            with pytest.raises(CommandRefused, match=why):
                await w.done(client.amend(derive(OID_PARTNER, key), other, by="Wang Fang"))
        w.simulator.script(NUMBER, pay=["1004", "1004"])
        await w.pay(client, an_order(card=50))
        for changes, why in (
            ({"no_order": "n1"}, "stays"),
            ({"oid_partner": "1"}, "stays"),
            ({"colour": "red"}, "no field"),
            ({"card_no": "12"}, "card_no"),
        ):
            with pytest.raises(InvalidOrder, match=why):
                await w.done(client.amend(NUMBER, changes, by="Wang Fang"))
        with pytest.raises(CommandRefused, match="nothing would change"):
            await w.done(client.amend(NUMBER, {"card_no": an_order(card=50).card_no}, by="Wang Fang"))
        with pytest.raises(DuplicateSuspected):
            await w.done(client.amend(NUMBER, {"card_no": an_order(card=1).card_no}, by="Wang Fang"))
        await w.done(client.amend(NUMBER, other, by="Wang Fang"))
        await w.at_rest(client, NUMBER)
        with pytest.raises(CommandRefused, match="sent 2 times"):
            await w.done(client.amend(NUMBER, {"memo": "x"}, by="Wang Fang"))


async def test_amended_to_post_to_this_machine(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an order may not name for a real gateway, an amendment may not either (T12); nothing is written."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["1004", None])
        await w.pay(client, an_order())
        before = await record_of(client)
        monkeypatch.setattr(Merchant, "on_this_machine", property(lambda _: False))
        for url in ("http://127.0.0.1/x", "https://[::1]/"):
            with pytest.raises(InvalidOrder, match="cannot reach"):
                await w.done(client.amend(NUMBER, {"notify_url": url}, by="Wang Fang"))
        assert (await record_of(client)).content == before.content


async def test_a_late_copy_of_the_old_content_after_an_amendment(world: MakeWorld) -> None:
    """The gateway pays the old content after all: the record is not what was sent last, and a person is told."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=["1004", "9999_before"], query=["8901", "8901", "8901", ...])
        await w.pay(client, an_order())
        await w.done(client.amend(NUMBER, {"money_order": "30.00"}, by="Wang Fang"))
        await w.run_for(5)
        first = w.pays()[0]
        w.simulator.script(NUMBER, pay=[None])
        w.simulator.receive("pay", first.body) if hasattr(first, "body") else None
        await w.run_for(3600)
        assert w.simulator.ledger.summary().paid_twice == 0


# --- replace


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
@pytest.mark.parametrize("final", ["FAILURE", "CANCEL"])
async def test_a_dead_number_is_replaced_once(world: MakeWorld, journal: str, final: str) -> None:
    """The next number follows from the key; asking again, from anywhere, returns the replacement."""
    async with world(journal=journal) as w:
        client = await w.client()
        w.simulator.script(NUMBER, final=final, after_s=1, cancel_after_s=1)
        await w.pay(client, an_order())
        await w.run_for(86_400 + 3600)
        await w.done(client.query(NUMBER))
        assert (await client.get(NUMBER)).replaceable
        payout = await w.done(client.replace(NUMBER, by="Wang Fang"))
        assert payout.no_order == derive(OID_PARTNER, "k", 1)
        [payout] = await w.at_rest(client, payout.no_order)
        assert payout.state is State.PAID
        calls = [client.replace(NUMBER, by="Bo") for _ in range(5)]
        assert {p.no_order for p in await w.done(asyncio.gather(*calls))} == {payout.no_order}
        assert (await client.find("k")).no_order == payout.no_order
        again = await w.pay(client, an_order())
        assert again.no_order == payout.no_order, "the key stands for the newest number"
        assert w.simulator.received_by(an_order().card_no) == Decimal("25.78")


async def test_a_replacement_of_what_was_paid_under_another_key_meanwhile(world: MakeWorld) -> None:
    """The business paid it again by itself after the failure: replacing the dead number needs an explicit yes."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, final="FAILURE", after_s=1)
        await w.pay(client, an_order())
        await w.pay(client, an_order(), "again")
        await w.run_for(3 * 86_400)
        with pytest.raises(DuplicateSuspected) as told:
            await w.done(client.replace(NUMBER, by="Wang Fang"))
        assert told.value.twins == {NUMBER: [derive(OID_PARTNER, "again")]}
        assert [p.key for p in await client.check_replaceable(NUMBER)] == ["again"]
        assert (await record_of(client)).replaced_by is None
        await w.done(client.replace(NUMBER, by="Wang Fang", duplicate_ok=True))
        assert (await record_of(client)).replaced_by is not None


@pytest.mark.parametrize("pay", [None, "9104", "4003", "9999_before"])
async def test_a_number_that_may_pay_is_not_replaced(world: MakeWorld, pay: str | None) -> None:
    """Refused with the reason; nothing is written."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, pay=[pay])
        await w.done(client.pay(an_order(), key="k", wait_s=3))
        with pytest.raises(CommandRefused, match="cannot be replaced"):
            await w.done(client.replace(NUMBER, by="Wang Fang"))
        assert await client.find("k") == await client.get(NUMBER)


async def test_replacing_what_has_no_key(world: MakeWorld) -> None:
    """The caller gives the next number; a number that stands for another payout is refused."""
    async with world() as w:
        client = await w.client()
        w.simulator.script("own-1", final="FAILURE", after_s=1)
        await w.pay(client, an_order(no_order="own-1"), None)
        await w.pay(client, an_order(card=7, no_order="taken"), None)
        with pytest.raises(CommandRefused, match="new no_order"):
            await w.done(client.replace("own-1", by="Wang Fang"))
        with pytest.raises(OrderConflict, match="another payout"):
            await w.done(client.replace("own-1", by="Wang Fang", new_no_order="taken"))
        with pytest.raises(InvalidOrder):
            await w.done(client.replace("own-1", by="Wang Fang", new_no_order="no!"))
        payout = await w.done(client.replace("own-1", by="Wang Fang", new_no_order="own-2"))
        [payout] = await w.at_rest(client, "own-2")
        assert payout.state is State.PAID


# --- the explicit yes


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_the_same_payment_under_another_key_needs_an_explicit_yes(world: MakeWorld, journal: str) -> None:
    """Same card, same amount, within 24 hours: nothing is written or sent until somebody says that both are meant."""
    async with world(journal=journal) as w:
        client = await w.client()
        await w.pay(client, an_order(), "a")
        with pytest.raises(DuplicateSuspected) as told:
            await w.pay(client, an_order(), "b")
        assert told.value.twins == {derive(OID_PARTNER, "b"): (derive(OID_PARTNER, "a"),)}
        assert await client.find("b") is None
        assert [p.no_order for p in await client.twins(an_order(), "b")] == [derive(OID_PARTNER, "a")]
        assert (await w.pay(client, an_order(), "a")).state is State.PAID, "the same key is no duplicate of itself"
        await w.pay(client, an_order("25.79"), "c")
        await w.run_for(86_401)
        assert (await w.pay(client, an_order(), "d")).state is State.PAID, "a day later it is another payment"
        with pytest.raises(DuplicateSuspected):
            await client.enlist([(an_order(card=5), "e"), (an_order(card=5), "f")])
        assert await client.find("e") is None
        await client.enlist([(an_order(card=5), "e"), (an_order(card=5), "f")], duplicate_ok=True)


async def test_a_payment_that_failed_is_no_duplicate(world: MakeWorld) -> None:
    """Its money did not move: the business may pay again, under another key."""
    async with world() as w:
        client = await w.client()
        w.simulator.script(NUMBER, final="FAILURE", after_s=1)
        assert (await w.pay(client, an_order())).state is State.FAILED
        assert (await w.pay(client, an_order(), "again")).state is State.PAID


async def test_asked_before_it_was_amended_and_answered_after(world: MakeWorld) -> None:
    """A query that was under way while a person corrected the content brings what is true of the new one: no CONFLICT."""
    async with world() as w:
        w.simulator.script(NUMBER, pay=["1004", None])
        client = await w.client()
        assert (await w.pay(client, an_order())).step is Step.FIX
        before = await record_of(client)
        await w.done(
            client.amend(NUMBER, {"card_no": an_order(card=1).card_no, "money_order": "30.00"}, by="Wang Fang")
        )
        assert (await w.at_rest(client, NUMBER))[0].state is State.PAID
        engine = client._engine
        assert engine is not None
        now = w.clock.now()
        late = Evidence(Source.QUERY, Outcome.MISMATCHED, at=now, asked_at=now, ret_code="0000", result_pay="SUCCESS")
        after = await w.done(engine.learn(before, late))
        assert after.state is State.PAID
        assert after.evidence[-1].outcome is Outcome.NO_ANSWER
        assert "corrected" in (after.evidence[-1].detail or "")
        # The same news of a payout whose content stood is the contradiction that it says it is.
        contradiction = await w.done(engine.learn(after, late))
        assert contradiction.state is State.CONFLICT
