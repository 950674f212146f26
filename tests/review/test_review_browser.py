"""The page in a real browser: what a finance team does all day, and what goes wrong while they do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from review_browser import INSPECTION, Window, chromium, served
from review_desk import FakeDesk, FakeWord, a_payout
from review_world import PASSWORD, SECRET, write_users
from selenium.webdriver import ActionChains

from lianlian_async.errors import OutcomeUnknown
from lianlian_async.resolver import State
from lianlian_async.review import signed_in_app
from lianlian_async.review.texts import text
from lianlian_async.testing.clocks import ManualClock

DESK = FakeDesk()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served by uvicorn, with its own sign-in."""
    chromium()
    users = write_users(tmp_path_factory.mktemp("users") / "users", chen=PASSWORD, li=PASSWORD)
    with served(signed_in_app(DESK, users=users, secret=SECRET)) as base:
        yield base


@pytest.fixture(scope="module")
def first(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """One person's browser."""
    window = Window(address, tmp_path_factory.mktemp("first"))
    yield window
    window.close()


@pytest.fixture(scope="module")
def second(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """Another person's, who allows no JavaScript."""
    window = Window(address, tmp_path_factory.mktemp("second"), javascript=False)
    yield window
    window.close()


@pytest.fixture
def desk() -> FakeDesk:
    """The served desk, as if it were new."""
    for found in (DESK.held, DESK.known, DESK.calls, DESK.confirmed, DESK.fails):
        found.clear()
    DESK.two_person, DESK.takes_s, DESK.clock = False, 0.0, ManualClock()
    return DESK


def test_sign_in_list_open_approve(desk: FakeDesk, first: Window) -> None:
    """From the address in the browser to an approved payout, with nothing but what is on the page."""
    desk.hold("PAY1")
    desk.hold("PAY2", minutes=12)
    first.driver.delete_all_cookies()
    first.open("/")
    assert first.path.startswith("/sign-in")
    first.sign_in("chen", "wrong password")
    assert text("en", "sign_in_failed") in first.text
    first.sign_in("chen")
    assert first.path == "/"
    assert "12,345.60" in first.text
    first.press("a.button[href$='/payouts/PAY1']")
    first.press(first.fill("approve"))
    assert first.path == "/payouts/PAY1"
    assert text("en", "note_approved") in first.text
    assert text("en", "state_IN_PROGRESS") in first.text
    first.driver.refresh()
    assert [call[:3] for call in desk.calls] == [("approve", "PAY1", "chen")], "reloading sends nothing"
    first.press(".path a")
    assert "PAY1" not in first.text


def test_browser_itself_asks_for_reason_and_box(desk: FakeDesk, first: Window) -> None:
    """An empty form does not leave the browser."""
    desk.hold("PAY1")
    first.sign_in("chen")
    first.open("/payouts/PAY1")
    button = first.one("form[action$='/approve'] button")
    button.click()
    first.one("#approve-note").send_keys("looks right")
    button.click()
    assert first.has("#approve-note:valid")
    assert first.has("[name=checked]:invalid")
    assert desk.calls == []


def test_decline_without_javascript(desk: FakeDesk, second: Window) -> None:
    """The page needs no scripts: sign in, open, decline, sign out."""
    second.driver.get("data:text/html,<title>off</title><script>document.title = 'on'</script>")
    assert second.driver.title == "off"
    desk.hold("PAY1")
    second.sign_in("li")
    second.press("a.button[href$='/payouts/PAY1']")
    second.press(second.fill("decline"))
    assert text("en", "note_declined") in second.text
    assert "Declined by li" in second.text
    assert not second.has("form[action$='/approve']")
    second.press("form[action$='/sign-out'] button")
    second.open("/payouts/PAY1")
    assert second.path.startswith("/sign-in")


def test_expired_while_it_was_open(desk: FakeDesk, first: Window) -> None:
    """The form is refused with the reason; afterwards there is none."""
    desk.hold("PAY1", minutes=2)
    first.sign_in("chen")
    first.open("/payouts/PAY1")
    button = first.fill("approve")
    assert isinstance(desk.clock, ManualClock)
    desk.clock.advance(121)
    first.press(button)
    assert text("en", "note_refused") in first.text
    assert text("en", "standing_expired") in first.text
    assert not first.has("form[action$='/approve']")
    assert desk.confirmed == []


def test_double_click(desk: FakeDesk, first: Window) -> None:
    """However often the button is hit, it confirms once, and the reader ends at the payout as it stands."""
    desk.hold("PAY1")
    desk.takes_s = 0.4
    first.sign_in("chen")
    first.open("/payouts/PAY1")
    button = first.fill("approve")
    with first.next_page():
        ActionChains(first.driver).double_click(button).perform()
    assert text("en", "state_IN_PROGRESS") in first.text
    assert first.path == "/payouts/PAY1"
    assert desk.confirmed == ["PAY1"]


def test_same_form_in_two_tabs(desk: FakeDesk, first: Window) -> None:
    """The second sending is told that it did nothing, and how things stand."""
    desk.hold("PAY1")
    first.sign_in("chen")
    tab = first.driver.current_window_handle
    first.open("/payouts/PAY1")
    button = first.fill("approve")
    first.driver.switch_to.new_window("tab")
    first.open("/payouts/PAY1")
    first.press(first.fill("approve"))
    assert text("en", "note_approved") in first.text
    first.driver.close()
    first.driver.switch_to.window(tab)
    first.press(button)
    assert text("en", "note_refused") in first.text
    assert text("en", "state_IN_PROGRESS") in first.text
    assert desk.confirmed == ["PAY1"]


def test_two_people_at_once(desk: FakeDesk, first: Window, second: Window) -> None:
    """Both have it open and both approve: one confirmation, and the other sees it."""
    desk.hold("PAY1")
    first.sign_in("chen")
    second.sign_in("li")
    buttons = []
    for window in (first, second):
        window.open("/payouts/PAY1")
        buttons.append(window.fill("approve"))
    for window, button in zip((first, second), buttons, strict=True):
        window.press(button)
    assert text("en", "note_approved") in first.text
    assert text("en", "note_refused") in second.text
    assert text("en", "state_IN_PROGRESS") in second.text
    assert desk.confirmed == ["PAY1"]


def test_two_people_must_agree(desk: FakeDesk, first: Window, second: Window) -> None:
    """The first approval waits for the second, which cannot be the same person's."""
    desk.two_person = True
    desk.hold("PAY1")
    first.sign_in("chen")
    first.open("/payouts/PAY1")
    first.press(first.fill("approve"))
    assert text("en", "standing_own") in first.text
    assert not first.has("form[action$='/approve']")
    assert desk.confirmed == []
    second.sign_in("li")
    assert "Approved by chen" in second.text
    second.open("/payouts/PAY1")
    assert text("en", "standing_waits", name="chen") in second.text
    second.press(second.fill("approve"))
    assert desk.confirmed == ["PAY1"]


def test_form_on_a_foreign_page(desk: FakeDesk, first: Window, tmp_path: Path) -> None:
    """A page from elsewhere cannot decide in the name of somebody who is signed in."""
    desk.hold("PAY1")
    first.sign_in("chen")
    first.open("/payouts/PAY1")
    token = first.one("form[action$='/decline'] [name=token]").get_attribute("value")
    page = tmp_path / "evil.html"
    page.write_text(
        f"<form method=post action='{first.base}/payouts/PAY1/decline'><input name=note value=x>"
        f"<input name=token value='{token}'><button>win</button></form>"
    )
    first.driver.get(page.as_uri())
    first.press("button")
    assert text("en", "note_declined") not in first.text
    assert desk.calls == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_can_be_read(desk: FakeDesk, first: Window, language: str) -> None:
    """Contrast of 4.5:1, labels, the language, nothing wider than a telephone, and no complaint by the browser."""
    evil = "<script>document.title = 'broken'</script>" + "wide" * 60
    now = desk.clock.now()
    twin = a_payout("TWIN", now - timedelta(hours=1), state=State.PAID, key=evil)
    word = FakeWord(by="li", at=now, note=evil, approves=False)
    desk.hold("PAY1", key=evil, siblings=(twin,), words=(word,), alarms=(evil,))
    desk.hold("PAY2", minutes=-1)
    desk.hold("PAY3", code=None, confirm_until=None)
    desk.hold("PAY4")
    desk.fails["PAY4"] = OutcomeUnknown("gone")
    for state in State:
        desk.hold(f"END-{state}")
        desk.end(f"END-{state}", state)
    first.sign_in("chen")
    first.open(f"/lang/{language}")
    first.complaints()

    def inspect(path: str, complaints: int = 0) -> None:
        for pixels in (390, 1200):
            first.width(pixels)
            found = first.driver.execute_script(INSPECTION)
            assert found["contrast"][0] >= 4.5, (path, found)
            assert found["unlabelled"] == []
            assert found["overflow"] <= 0, (path, pixels)
            assert found["language"] == {"en": "en", "zh": "zh-CN"}[language]
        assert first.driver.title != "broken"
        assert len(first.complaints()) == complaints, path

    for path in ("/", "/payouts/PAY1", "/payouts/PAY2", "/payouts/PAY3", *(f"/payouts/END-{state}" for state in State)):
        first.open(path)
        inspect(path)
    first.open("/payouts/NOPE")
    inspect("/payouts/NOPE", complaints=1)  # the browser's own line about 404
    first.open("/payouts/PAY4")
    first.press(first.fill("approve"))
    assert text(language, "note_unknown") in first.text
    inspect("unknown outcome")
    first.press("form[action$='/sign-out'] button")
    inspect("/sign-in")
