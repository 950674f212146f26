"""Real browsers, the real client, an SQLite journal and the gateway's own ledger: what people click is what is paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from client_fixtures import keys, ring  # noqa: F401
from client_world import Keys
from review_browser import Window, chromium
from review_office import Office, an_office
from review_world import NOTE

from lianlian_async import KeyRing
from lianlian_async.review.texts import text

APPROVE, DECLINE = "form[action$='/approve']", "form[action$='/decline']"
# An impatient person: the button is hit again, and once more, unless the page has gone away by then.
IMPATIENT = "const b = arguments[0]; b.click(); for (const ms of [300, 600]) setTimeout(() => b.click(), ms);"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Window, Window]]:
    """Two people's browsers, with nothing in common."""
    chromium()
    made = [Window("", tmp_path_factory.mktemp(name)) for name in ("first", "second")]
    yield made[0], made[1]
    for window in made:
        window.close()


OpenOffice = Callable[..., AbstractContextManager[Office]]


@pytest.fixture
def office(
    keys: Keys,  # noqa: F811
    ring: KeyRing,  # noqa: F811
    windows: tuple[Window, Window],
    tmp_path: Path,
) -> OpenOffice:
    """Opens an office and lets chen and li sign in; arguments are the client's."""

    def make(**settings: Any) -> AbstractContextManager[Office]:
        return an_office(keys, ring, tmp_path, **settings)

    return make


def enter(place: Office, windows: tuple[Window, Window]) -> tuple[Window, Window]:
    """chen and li, signed in."""
    for window, name in zip(windows, ("chen", "li"), strict=True):
        window.base = place.base
        window.sign_in(name)
    return windows


def both_press(windows: tuple[Window, Window], buttons: list[Any]) -> None:
    """Both click, and each ends at another page; neither waits for the other in between."""
    with ThreadPoolExecutor(2) as hands:
        done = [hands.submit(window.press, button) for window, button in zip(windows, buttons, strict=True)]
    for hand in done:
        hand.result()


def test_list_open_approve(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """From the list to the gateway's ledger: one confirm, one payment, chen's name on record; and off the list."""
    with office() as place:
        number = place.hold()
        chen, _ = enter(place, windows)
        assert "25.78" in chen.text
        assert text("en", "held_count", count=1) in chen.text
        chen.press(f"a.button[href$='/payouts/{number}']")
        assert text("en", "siblings_none") in chen.text
        chen.press(chen.fill("approve"))
        assert text("en", "note_approved") in chen.text
        chen.driver.refresh()
        assert not chen.has(APPROVE)
        place.pass_time(600)
        chen.driver.refresh()
        assert text("en", "state_PAID") in chen.text
        chen.press(".path a")
        assert text("en", "none_held") in chen.text
        assert (place.confirms(number), place.payments(number)) == (1, 1)
        assert place.words(number) == [("chen", "APPROVED")]
        assert place.state(number) == "PAID"


def test_decline(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """Nothing is sent, no form is left to either of them, and the gateway closes it by itself."""
    with office() as place:
        number = place.hold()
        chen, li = enter(place, windows)
        for window in (chen, li):
            window.open(f"/payouts/{number}")
        chen.press(chen.fill("decline"))
        assert text("en", "note_declined") in chen.text
        assert not chen.has(APPROVE)
        li.press(li.fill("approve"))
        assert text("en", "note_changed") in li.text
        assert text("en", "standing_declined") in li.text
        assert not li.has(APPROVE)
        place.pass_time(3600)
        chen.driver.refresh()
        assert text("en", "state_CLOSED") in chen.text
        assert (place.confirms(number), place.payments(number)) == (0, 0)


def test_expired(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """A second before the 25 minutes are over there is a form; a second after, sending it is refused with the reason."""
    with office() as place:
        number = place.hold()
        chen, li = enter(place, windows)
        until = place.do(place.client.review(number)).confirm_until
        place.pass_time((until - place.w.clock.now()).total_seconds() - 1)
        chen.open(f"/payouts/{number}")
        button = chen.fill("approve")
        place.pass_time(2)
        chen.press(button)
        assert text("en", "note_refused") in chen.text
        assert "too late" in chen.text
        assert not chen.has(APPROVE)
        li.open("/")
        assert text("en", "over") in li.text
        li.open(f"/payouts/{number}")
        assert text("en", "standing_expired") in li.text
        assert not li.has(APPROVE)
        assert (place.confirms(number), place.payments(number)) == (0, 0)


def test_hit_again_and_again(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """The confirmation is on its way while the button is hit again: one confirm, one payment."""
    with office() as place:
        number = place.hold()
        chen, _ = enter(place, windows)
        chen.open(f"/payouts/{number}")
        button = chen.fill("approve")
        place.confirm_takes_until(1)
        with chen.next_page():
            chen.driver.execute_script(IMPATIENT, button)
        assert chen.path == f"/payouts/{number}"
        place.pass_time(600)
        assert place.door.came >= 2
        assert (place.confirms(number), place.payments(number)) == (1, 1)
        chen.driver.refresh()
        assert text("en", "state_PAID") in chen.text


def test_both_approve_at_once(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """Both approvals are there before either is read: one is sent, and the other is told that it was not theirs."""
    with office() as place:
        number = place.hold()
        both = enter(place, windows)
        buttons = []
        for window in both:
            window.open(f"/payouts/{number}")
            buttons.append(window.fill("approve"))
        place.expect(2)
        both_press(both, buttons)
        said = [window.text for window in both]
        assert sum(text("en", "note_approved") in page for page in said) == 1, said
        assert sum(text("en", "note_refused") in page or text("en", "note_changed") in page for page in said) == 1, said
        place.pass_time(600)
        assert (place.confirms(number), place.payments(number)) == (1, 1)
        assert len(place.words(number)) == 1


def test_one_approves_and_one_declines_at_once(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """One word wins, the same everywhere: in the journal, at the gateway, and on both people's pages."""
    with office() as place:
        number = place.hold()
        both = enter(place, windows)
        for window in both:
            window.open(f"/payouts/{number}")
        buttons = [both[0].fill("approve"), both[1].fill("decline")]
        place.expect(2)
        both_press(both, buttons)
        [(by, outcome)] = place.words(number)
        assert (by, outcome) in {("chen", "APPROVED"), ("li", "DECLINED")}
        winner, loser = both if by == "chen" else both[::-1]
        assert text("en", "note_approved" if by == "chen" else "note_declined") in winner.text
        assert text("en", "note_refused") in loser.text or text("en", "note_changed") in loser.text
        place.pass_time(3600)
        paid = 1 if by == "chen" else 0
        assert (place.confirms(number), place.payments(number)) == (paid, paid)
        assert place.state(number) == ("PAID" if paid else "CLOSED")


def test_declined_while_the_confirmation_is_on_its_way(office: OpenOffice, windows: tuple[Window, Window]) -> None:
    """A "no" that comes too late is refused, and says why: the money may have left."""
    with office() as place:
        number = place.hold()
        chen, li = both = enter(place, windows)
        for window in both:
            window.open(f"/payouts/{number}")
        yes, no = chen.fill("approve"), li.fill("decline")
        let_go = place.confirm_takes_until_let_go()
        with ThreadPoolExecutor(1) as hand:
            pressed = hand.submit(chen.press, yes)
            try:
                assert place.confirming.wait(20)
                li.press(no)
                said, may_decline = li.text, li.has(DECLINE)
            finally:
                let_go()
            pressed.result()
        assert text("en", "note_refused") in said
        assert "has been confirmed" in said
        assert text("en", "standing_confirming") in said
        assert not may_decline
        assert text("en", "note_approved") in chen.text
        place.pass_time(600)
        assert place.words(number) == [("chen", "APPROVED")]
        assert (place.confirms(number), place.payments(number)) == (1, 1)


@pytest.mark.parametrize("says", ["merchant", "client"])
def test_two_people_must_agree(office: OpenOffice, windows: tuple[Window, Window], says: str) -> None:
    """The first approval sends nothing and cannot be given twice; the second, by another, confirms once."""
    with office(**{"two_person": True} if says == "client" else {"merchant": {"two_person": True}}) as place:
        number = place.hold()
        chen, li = enter(place, windows)
        chen.open(f"/payouts/{number}")
        chen.press(chen.fill("approve"))
        assert text("en", "note_first") in chen.text
        assert text("en", "standing_own") in chen.text
        assert not chen.has(APPROVE)
        place.pass_time(60)
        assert (place.confirms(number), place.payments(number)) == (0, 0)
        li.open("/")
        assert text("en", "approved_by", name="chen") in li.text
        li.open(f"/payouts/{number}")
        assert text("en", "standing_waits", name="chen") in li.text
        assert NOTE in li.text
        assert f"{text('en', 'siblings')}: {text('en', 'none_seen')}" in li.text
        assert "[siblings" not in li.text
        li.press(li.fill("approve"))
        assert text("en", "note_approved") in li.text
        place.pass_time(600)
        assert (place.confirms(number), place.payments(number)) == (1, 1)
        assert place.words(number) == [("chen", "APPROVED"), ("li", "APPROVED")]
