"""The page over the real client, journal and gateway: what people click is what is confirmed, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from client_fixtures import MakeWorld, keys, ring, world  # noqa: F401
from client_world import OID_PARTNER, World, an_order
from review_world import PASSWORD, SECRET, Visitor, write_users

from lianlian_async import LianLianClient, State
from lianlian_async.numbers import derive
from lianlian_async.resolver import Outcome
from lianlian_async.review import signed_in_app
from lianlian_async.review.texts import text
from lianlian_async.testing.clocks import ManualClock

NUMBER = derive(OID_PARTNER, "k")


class Office:
    """Two people in front of the page of one client."""

    def __init__(self, w: World, client: LianLianClient, folder: Path) -> None:
        self.w = w
        self.client = client
        users = write_users(folder / "users", chen=PASSWORD, li=PASSWORD)
        app = signed_in_app(client, users=users, secret=SECRET, clock=ManualClock())
        self.chen, self.li = Visitor(app), Visitor(app)

    async def open(self) -> None:
        """Hold a payout, and let both sign in."""
        self.w.simulator.script(NUMBER, pay=["4003"])
        await self.w.pay(self.client, an_order())
        assert (await self.chen.sign_in("chen")).status == 200
        assert (await self.li.sign_in("li")).status == 200


@asynccontextmanager
async def an_office(world: MakeWorld, folder: Path, two: bool) -> AsyncIterator[Office]:  # noqa: F811
    async with world(journal="sqlite") as w:
        place = Office(w, await w.client(two_person=two), folder)
        await place.open()
        yield place
        await place.chen.close()
        await place.li.close()


one_or_two = pytest.mark.parametrize("two", [False, True], ids=["one", "two persons"])


async def approve(office: Office, who: Visitor) -> str:
    form = await office.w.done(who.form(NUMBER, "approve"))
    page = await office.w.done(who.send(NUMBER, "approve", form))
    return str(page.text)


@one_or_two
async def test_approved_on_the_page(world: MakeWorld, tmp_path: Path, two: bool) -> None:  # noqa: F811
    """One person, or two: then it is confirmed once, paid, and their names are on record."""
    async with an_office(world, tmp_path, two) as office:
        said = await approve(office, office.chen)
        if office.client.two_person:
            assert not office.w.requests("confirm")
            assert text("en", "standing_own") in said
            await approve(office, office.li)
        await office.w.run_for(300)
        assert (await office.client.get(NUMBER)).state is State.PAID
        assert len(office.w.requests("confirm")) == 1
        record = await office.client.journal.load(NUMBER)
        names = [e.by for e in record.evidence if e.outcome is Outcome.APPROVED]
        assert names == (["chen", "li"] if office.client.two_person else ["chen"])


@one_or_two
async def test_both_click_at_once(world: MakeWorld, tmp_path: Path, two: bool) -> None:  # noqa: F811
    """Whatever the order in which the two forms arrive: at most one confirm, and nobody sees an error page."""
    async with an_office(world, tmp_path, two) as office:
        forms = [await office.w.done(who.form(NUMBER, "approve")) for who in (office.chen, office.li)]
        sends = [who.send(NUMBER, "approve", form) for who, form in zip((office.chen, office.li), forms, strict=True)]
        pages = await office.w.done(asyncio.gather(*sends))
        assert [page.status for page in pages] == [200, 200]
        assert len(office.w.requests("confirm")) <= 1
        await office.w.run_for(300)
        expected = State.REVIEW if office.client.two_person and not office.w.requests("confirm") else State.PAID
        assert (await office.client.get(NUMBER)).state is expected


@one_or_two
async def test_the_same_form_twice(world: MakeWorld, tmp_path: Path, two: bool) -> None:  # noqa: F811
    """A double click: the second one shows how it stands."""
    async with an_office(world, tmp_path, two) as office:
        form = await office.w.done(office.chen.form(NUMBER, "approve"))
        await office.w.done(office.chen.send(NUMBER, "approve", form))
        page = await office.w.done(office.chen.send(NUMBER, "approve", form))
        assert page.status == 200
        assert len(office.w.requests("confirm")) == (0 if office.client.two_person else 1)


@one_or_two
async def test_declined_on_the_page(world: MakeWorld, tmp_path: Path, two: bool) -> None:  # noqa: F811
    """Nothing is sent, no form is left, and it closes by itself."""
    async with an_office(world, tmp_path, two) as office:
        form = await office.w.done(office.li.form(NUMBER, "decline"))
        page = await office.w.done(office.li.send(NUMBER, "decline", form))
        assert text("en", "standing_declined") in page.text
        assert "approve" not in page.forms
        await office.w.run_for(3600)
        assert (await office.client.get(NUMBER)).state is State.CLOSED
        assert not office.w.requests("confirm")


@one_or_two
async def test_too_late_on_the_page(world: MakeWorld, tmp_path: Path, two: bool) -> None:  # noqa: F811
    """After 25 minutes the page offers no approval, and a form that was opened before is refused."""
    async with an_office(world, tmp_path, two) as office:
        form = await office.w.done(office.chen.form(NUMBER, "approve"))
        await office.w.run_for(25 * 60 + 5)
        page = await office.w.done(office.chen.send(NUMBER, "approve", form))
        assert page.status == 200
        assert not office.w.requests("confirm")
