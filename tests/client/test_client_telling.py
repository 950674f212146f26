"""Telling the application what changed: after the commit, at least once, with a stable id (issue: outbox)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from client_fixtures import MakeWorld
from client_world import OID_PARTNER, an_order

from lianlian_async import Changed, JournalUnavailable, State
from lianlian_async.numbers import derive

NUMBER = derive(OID_PARTNER, "k")


class Application:
    """Remembers what it was told, and fails when it is asked to."""

    def __init__(self) -> None:
        self.told: list[Changed] = []
        self.fails = 0
        self.hangs: asyncio.Event | None = None

    async def __call__(self, changed: Changed) -> None:
        if self.hangs is not None:
            await self.hangs.wait()
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the application's database is down")
        self.told.append(changed)

    @property
    def states(self) -> list[State]:
        return [changed.state for changed in self.told]


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_every_change_is_told_once_in_order(world: MakeWorld, journal: str) -> None:
    """Unknown while it is sent, in progress, paid: each with an id of its own and the payout as it stands."""
    async with world(journal=journal) as w:
        app = Application()
        client = await w.client(on_change=app)
        await w.pay(client, an_order())
        await w.run_for(10)
        assert app.states[0] is State.UNKNOWN
        assert app.states[-1] is State.PAID
        assert len({c.id for c in app.told}) == len(app.told)
        assert app.told[-1].payout.state is State.PAID
        assert {c.no_order for c in app.told} == {NUMBER}


async def test_a_crash_between_the_commit_and_the_callback(world: MakeWorld) -> None:
    """The next process tells it, under the same id it would have had."""
    async with world(journal="sqlite") as w:
        app, later = Application(), Application()
        app.hangs = asyncio.Event()
        client = await w.client(on_change=app)
        payout = await w.pay(client, an_order())
        assert payout.state is State.PAID
        assert not app.told
        fresh = await w.crash(client)
        await w.client(fresh, on_change=later)
        await w.run_for(120)
        assert later.states[-1] is State.PAID


async def test_a_handler_that_fails_is_asked_again_and_holds_nobody_up(world: MakeWorld) -> None:
    """The same id comes again; other changes are told meanwhile, and the version says which is the newest."""
    async with world() as w:
        app = Application()
        client = await w.client(on_change=app)
        app.fails = 1
        await w.pay(client, an_order())
        await w.run_for(60)
        versions = [changed.version for changed in app.told]
        assert len({changed.id for changed in app.told}) == len(versions) == len(set(versions))
        assert versions[0] != min(versions)
        assert max(app.told, key=lambda changed: changed.version).state is State.PAID


async def test_two_processes_with_one_name_tell_each_change_once(world: MakeWorld) -> None:
    """One of them tells while it lives; another name is told of everything, too."""
    async with world(journal="sqlite") as w:
        one, two, other = Application(), Application(), Application()
        client = await w.client(w.journal(), on_change=one)
        await w.client(w.journal(), on_change=two)
        await w.client(w.journal(), on_change=other, subscriber="accounting")
        for n in range(5):
            await w.pay(client, an_order(card=n), f"k{n}")
        await w.run_for(30)
        both = [c.id for c in (*one.told, *two.told)]
        assert len(both) == len(set(both))
        assert {c.id for c in other.told} == set(both)
        assert sum(c.state is State.PAID for c in (*one.told, *two.told)) == 5


async def test_closing_waits_for_a_handler_but_not_for_ever(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that hangs is given up; the change is told again at the next start."""
    monkeypatch.setattr("lianlian_async.telling._LAST_CHANCE_S", 0.05)
    async with world(journal="sqlite") as w:
        app, later = Application(), Application()
        app.hangs = asyncio.Event()
        client = await w.client(on_change=app)
        await w.pay(client, an_order())
        await client.aclose()
        w.clients.remove(client)
        await w.client(on_change=later)
        await w.run_for(120)
        assert {State.UNKNOWN, State.PAID} <= set(later.states)


async def test_a_handler_that_hangs_holds_up_only_its_own_change(world: MakeWorld) -> None:
    """After a minute it counts as failed: later changes are told, and this one again, under the same id."""
    async with world() as w:
        told: list[Changed] = []
        hung: list[Changed] = []

        async def handler(changed: Changed) -> None:
            if not hung:
                hung.append(changed)
                await asyncio.Event().wait()
            told.append(changed)

        client = await w.client(on_change=handler)
        await w.pay(client, an_order())
        await w.run_for(180)
        assert State.PAID in [changed.state for changed in told]
        assert hung[0].id in [changed.id for changed in told]


async def test_a_handler_that_swallows_its_cancellation(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for it for ever."""
    monkeypatch.setattr("lianlian_async.telling._LAST_CHANCE_S", 0.05)
    monkeypatch.setattr("lianlian_async.telling._GIVE_UP_S", 0.05)
    async with world() as w:
        release, handlers = asyncio.Event(), []

        async def stubborn(changed: Changed) -> None:
            handlers.append(asyncio.current_task())
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()

        client = await w.client(on_change=stubborn)
        await w.pay(client, an_order())
        await asyncio.wait_for(client.aclose(), 20)
        w.clients.remove(client)
        release.set()
        await asyncio.gather(*handlers)


async def test_the_journal_fails_while_telling(world: MakeWorld) -> None:
    """Nothing is lost: it is told when the journal is back."""
    async with world() as w:
        app = Application()
        client = await w.client(on_change=app)
        down = True

        async def fail() -> None:
            raise JournalUnavailable("away")

        def hook(when: str, name: str, count: int, args: Any) -> Any:
            return fail() if down and when == "before" and name in ("moved", "told") else None

        w.journals[-1].hook = hook
        await w.pay(client, an_order())
        assert not app.told
        down = False
        await w.run_for(700)
        assert app.states[-1] is State.PAID
