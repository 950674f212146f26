"""What people see of held payouts, and what their forms lead to."""

from __future__ import annotations

import asyncio
import re
import string
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve
from review_desk import FakeDesk, FakeWord, a_payout
from review_world import NOTE, Visitor

from lianlian_async import review
from lianlian_async.errors import (
    BreakerOpen,
    CommandRefused,
    ConfigError,
    JournalUnavailable,
    LianLianError,
    OutcomeUnknown,
)
from lianlian_async.payout import Confirmation
from lianlian_async.resolver import State, Step
from lianlian_async.review.show import seen
from lianlian_async.review.texts import HTML_LANG, TEXTS, language_of_header, text
from lianlian_async.testing.clocks import ManualClock

LANGUAGES = list(HTML_LANG)

# ---------------------------------------------------------------------- looking


async def test_list_of_held_payouts(desk: FakeDesk, chen: Visitor) -> None:
    """Amount, masked payee, why, since when, minutes and tries left, and who said what; the soonest deadline first."""
    desk.hold("LATER", minutes=20, money_order=Decimal("1999999.90"))
    said = FakeWord(by="li", at=desk.clock.now(), note="not ours", approves=False)
    desk.hold("SOON", minutes=4.5, tries_left=3, words=(said,))
    page = await chen.get("/")
    assert page.status == 200
    soon, later = page.text.index("salary-2026-11/SOON"), page.text.index("salary-2026-11/LATER")
    assert soon < later
    for words in (
        "1,999,999.90",
        "12,345.60",
        "李*",
        "622848*********4741",
        "4 min",
        "20 min",
        "3 of 6",
        "Declined by li",
    ):
        assert words in page.text
    assert "2026-11-23 09:39:30" in page.text, "held since, on LianLian's clock"


async def test_list_of_nothing(chen: Visitor) -> None:
    """It says that nothing is held."""
    assert text("en", "none_held") in (await chen.get("/")).text


async def test_list_of_special_cases(desk: FakeDesk, chen: Visitor) -> None:
    """What cannot be approved here any more is marked in the list."""
    desk.hold("OVER", minutes=-1)
    desk.hold("LOST", code=None, confirm_until=None)
    page = await chen.get("/")
    assert text("en", "over") in page.text
    assert text("en", "not_here") in page.text


async def test_more_siblings_than_are_shown(desk: FakeDesk, chen: Visitor) -> None:
    """How many stand beside those that are shown is said, in the reader's language."""
    sibling = a_payout("SIBLING", desk.clock.now(), state=State.PAID)
    desk.hold("PAY1", siblings=(sibling,), more_siblings=3)
    assert text("en", "siblings_more", count=3) in (await chen.get("/payouts/PAY1")).text
    desk.hold("PAY2", siblings=(sibling,))
    assert "not shown;" not in (await chen.get("/payouts/PAY2")).text


async def test_one_held_payout(desk: FakeDesk, chen: Visitor) -> None:
    """Its siblings with state, amount, time and number, and everybody's words with notes, stand beside the forms."""
    sibling = a_payout("SIBLING", desk.clock.now() - timedelta(hours=1), state=State.PAID, key="salary-2026-11/twin")
    said = FakeWord(by="li", at=desk.clock.now(), note="asked the branch", approves=True)
    desk.hold("PAY1", siblings=(sibling,), words=(said,), alarms=("a strange thing",))
    page = await chen.get("/payouts/PAY1")
    for words in (
        "SIBLING", "salary-2026-11/twin", "Paid", "2026-11-23 09:00:00", "Approved by li", "asked the branch",
        "a strange thing", "6 of 6", "25 min", "until 10:25:00",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.form("/approve")["note"] == ""


@pytest.mark.parametrize("language", LANGUAGES)
async def test_siblings_without_an_answer(desk: FakeDesk, chen: Visitor, language: str) -> None:
    """ "Just asked again" stands there only when all of them answered; each that did not is marked."""
    siblings = tuple(a_payout(name, desk.clock.now(), state=State.IN_PROGRESS) for name in ("SILENT", "HEARD"))
    desk.hold("PAY1", siblings=siblings, unanswered=("SILENT",))
    desk.hold("PAY2", siblings=siblings)
    await chen.get(f"/lang/{language}")
    partly, wholly = await chen.get("/payouts/PAY1"), await chen.get("/payouts/PAY2")
    lead, mark = text(language, "siblings_lead"), text(language, "sibling_unanswered")
    assert lead not in partly.text
    assert text(language, "siblings_lead_partly") in partly.text
    assert partly.text.count(mark) == 1
    assert partly.text.index(mark) < partly.text.index("SILENT") < partly.text.index("HEARD")
    assert lead in wholly.text
    assert mark not in wholly.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("confirmation", "note"),
    [
        (Confirmation.SENT, "note_approved"), (Confirmation.NOT_SENT, "note_unsent"),
        (Confirmation.UNKNOWN, "note_unknown"),
    ],
)  # fmt: skip
async def test_the_page_says_what_became_of_the_confirmation(
    desk: FakeDesk, chen: Visitor, confirmation: Confirmation, note: str, language: str
) -> None:
    """It says "sent" only of what was sent."""
    desk.confirmation = confirmation
    desk.hold("PAY1")
    await chen.get(f"/lang/{language}")
    page = await chen.approve("PAY1")
    said = {name for name in ("note_approved", "note_unsent", "note_unknown") if text(language, name) in page.text}
    assert said == {note}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", list(State))
async def test_every_state_has_a_page(desk: FakeDesk, chen: Visitor, state: State, language: str) -> None:
    """Whatever became of a payout is shown in both languages, the client's advice included."""
    desk.hold("PAY1", alarms=("strange",))
    desk.end("PAY1", state, oid_paybill="2026112300001")
    await chen.get(f"/lang/{language}")
    page = await chen.get("/payouts/PAY1")
    assert page.status == 200
    assert page.lang == HTML_LANG[language]
    assert text(language, f"state_{state}") in page.text
    assert text(language, f"means_{state}") in page.text
    assert f"It is {state}." in page.text


async def test_number_that_nobody_knows(chen: Visitor) -> None:
    """404, and a sentence; an address that is no number is not asked about."""
    page = await chen.get("/payouts/NOPE")
    assert page.status == 404
    assert text("en", "error_unknown_number") in page.text
    assert (await chen.get("/payouts/no%20number")).status == 409
    assert (await chen.get("/nowhere")).status == 404
    assert (await chen.post("/", {})).status == 405


CASES = {
    "expired": {"minutes": -0.1},
    "no_code": {"code": None, "confirm_until": None},
    "no_tries": {"tries_left": 0},
    "refused": {"refusal": "li has declined it."},
    "confirming": {"step": Step.QUERY},
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES)
async def test_held_and_not_to_be_approved(desk: FakeDesk, chen: Visitor, case: str, language: str) -> None:
    """The reason stands where the form would be; what may have been confirmed cannot be declined either."""
    desk.hold("PAY1", **CASES[case])
    await chen.get(f"/lang/{language}")
    page = await chen.get("/payouts/PAY1")
    assert text(language, f"standing_{case}") in page.text
    assert not any(action.endswith("/approve") for action in page.forms)
    assert any(action.endswith("/decline") for action in page.forms) is (case != "confirming")


# ---------------------------------------------------------------------- deciding


async def test_approve(desk: FakeDesk, chen: Visitor) -> None:
    """One call with name and note, a redirect, and a page with the state and the advice that can be reloaded."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    sent = await chen.send("PAY1", "approve", form, follow=False)
    assert sent.status == 303
    assert sent.answer.headers["location"] == "/payouts/PAY1"
    assert desk.calls == [("approve", "PAY1", "chen", NOTE)]
    page = await chen.get("/payouts/PAY1")
    assert text("en", "note_approved") in page.text
    assert text("en", "state_IN_PROGRESS") in page.text
    assert "It is IN_PROGRESS." in page.text
    assert text("en", "note_approved") not in (await chen.get("/payouts/PAY1")).text, "it is told once"
    assert desk.confirmed == ["PAY1"]


async def test_decline(desk: FakeDesk, chen: Visitor) -> None:
    """One call with name and note; the payout stays held, with that word on it and no form to approve."""
    desk.hold("PAY1")
    page = await chen.decline("PAY1")
    assert desk.calls == [("decline", "PAY1", "chen", NOTE)]
    assert text("en", "note_declined") in page.text
    assert "Declined by chen" in page.text
    assert not any(action.endswith("/approve") for action in page.forms)


@pytest.mark.parametrize("which", ["approve", "decline"])
@pytest.mark.parametrize("note", ["", "   \n ", "x" * 201])
async def test_note_is_required(desk: FakeDesk, chen: Visitor, which: str, note: str) -> None:
    """Without a reason, or with an endless one, nothing is passed on; what was written is still there."""
    desk.hold("PAY1")
    page = await chen.send("PAY1", which, await chen.form("PAY1", which, note=note))
    assert page.status == 422
    assert text("en", "note_missing") in page.text
    assert page.form(f"/{which}")["note"] == note.strip()
    assert desk.calls == []


async def test_box_is_required(desk: FakeDesk, chen: Visitor) -> None:
    """Who has not said to have checked the payee and the siblings approves nothing."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    page = await chen.send("PAY1", "approve", {name: value for name, value in form.items() if name != "checked"})
    assert page.status == 422
    assert text("en", "checked_missing") in page.text
    assert page.form("/approve")["note"] == NOTE
    assert desk.calls == []


async def test_same_form_twice(desk: FakeDesk, chen: Visitor) -> None:
    """The second sending of a form confirms nothing, and shows kindly how the payout stands."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    await chen.send("PAY1", "approve", form)
    page = await chen.send("PAY1", "approve", form)
    assert page.status == 200
    assert text("en", "note_refused") in page.text
    assert text("en", "state_IN_PROGRESS") in page.text
    assert desk.confirmed == ["PAY1"]


@pytest.mark.parametrize("two_person", [False, True])
async def test_same_form_twice_at_once(desk: FakeDesk, chen: Visitor, two_person: bool) -> None:
    """However a double click falls, the approval has effect once; and in two-person mode it is one person's."""
    desk.two_person = two_person
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    pages = await asyncio.gather(*(chen.send("PAY1", "approve", form) for _ in range(5)))
    assert {page.status for page in pages} == {200}
    assert desk.confirmed == ([] if two_person else ["PAY1"])


async def test_second_click_while_the_first_is_on_its_way(desk: FakeDesk, chen: Visitor) -> None:
    """The first is slow at the gateway; the second is told that nothing was sent by it."""
    desk.takes_s = 0.3
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    first = asyncio.create_task(chen.send("PAY1", "approve", form))
    await asyncio.sleep(0.1)
    second = await chen.send("PAY1", "approve", form)
    assert text("en", "note_refused") in second.text
    assert text("en", "note_approved") in (await first).text
    assert desk.confirmed == ["PAY1"]


async def test_two_people_at_once(desk: FakeDesk, chen: Visitor, li: Visitor) -> None:
    """Both have the page open; the second is shown what the first did, and nothing is confirmed twice."""
    desk.hold("PAY1")
    forms = [await visitor.form("PAY1", "approve") for visitor in (chen, li)]
    first, second = await asyncio.gather(
        chen.send("PAY1", "approve", forms[0]), li.send("PAY1", "approve", forms[1])
    )  # fmt: skip
    assert {first.status, second.status} == {200}
    assert desk.confirmed == ["PAY1"]
    assert text("en", "state_IN_PROGRESS") in second.text


async def test_sibling_that_moved_while_somebody_was_reading(desk: FakeDesk, chen: Visitor) -> None:
    """The decision rested on what is not true any more: it has to be looked at again, and then it may be approved."""
    sibling = a_payout("SIBLING", desk.clock.now())
    desk.hold("PAY1", siblings=(sibling,))
    form = await chen.form("PAY1", "approve")
    desk.known["SIBLING"] = evolve(sibling, state=State.IN_PROGRESS)
    page = await chen.send("PAY1", "approve", form)
    assert text("en", "note_changed") in page.text
    assert desk.calls == []
    await chen.approve("PAY1")
    assert desk.confirmed == ["PAY1"]


async def test_decline_of_another_while_somebody_was_reading(desk: FakeDesk, chen: Visitor, li: Visitor) -> None:
    """An approval does not run over a decline that its giver has not seen."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    await li.decline("PAY1")
    page = await chen.send("PAY1", "approve", form)
    assert text("en", "note_changed") in page.text
    assert "Declined by li" in page.text
    assert desk.confirmed == []


async def test_time_that_ran_out_while_somebody_was_reading(desk: FakeDesk, chen: Visitor) -> None:
    """The client refuses; its reason and the present state are shown."""
    desk.hold("PAY1", minutes=1)
    form = await chen.form("PAY1", "approve")
    assert isinstance(desk.clock, ManualClock)
    desk.clock.advance(61)
    page = await chen.send("PAY1", "approve", form)
    assert text("en", "note_refused") in page.text
    assert "the time to confirm is over" in page.text
    assert text("en", "standing_expired") in page.text
    assert desk.confirmed == []


async def test_decline_of_what_is_not_held_any_more(desk: FakeDesk, chen: Visitor) -> None:
    """It is told so, with the present state."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "decline")
    desk.end("PAY1", State.CLOSED)
    page = await chen.send("PAY1", "decline", form)
    assert text("en", "note_refused") in page.text
    assert text("en", "state_CLOSED") in page.text


# ---------------------------------------------------------------------- two people


async def test_two_person_mode(desk: FakeDesk, chen: Visitor, li: Visitor) -> None:
    """The first approval sends nothing; its giver cannot be the second; another person's confirms."""
    desk.two_person = True
    desk.hold("PAY1")
    page = await chen.approve("PAY1")
    assert text("en", "note_first") in page.text
    assert text("en", "standing_own") in page.text
    assert not any(action.endswith("/approve") for action in page.forms)
    assert desk.confirmed == []
    assert "Approved by chen" in (await li.get("/")).text
    assert text("en", "standing_waits", name="chen") in (await li.get("/payouts/PAY1")).text
    page = await li.approve("PAY1")
    assert text("en", "note_approved") in page.text
    assert desk.confirmed == ["PAY1"]


async def test_own_form_sent_again_in_two_person_mode(desk: FakeDesk, chen: Visitor) -> None:
    """Sending the same form again is not a second person's word."""
    desk.two_person = True
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    await chen.send("PAY1", "approve", form)
    page = await chen.send("PAY1", "approve", form)
    assert text("en", "note_already") in page.text
    # And a form that was made up to look fresh is refused by the client.
    other = (await chen.get("/payouts/PAY1")).form("/decline")
    page = await chen.send(
        "PAY1", "approve", {**other, "note": NOTE, "checked": "yes", "seen": seen(desk.held["PAY1"])}
    )
    assert "must be another person's" in page.text
    assert desk.confirmed == []


# ---------------------------------------------------------------------- errors


ERRORS = [
    (JournalUnavailable("disk full"), 503, "error_journal", "disk full"),
    (OutcomeUnknown("gone"), 200, "note_unknown", ""),
    (BreakerOpen("paused by chen: balance"), 200, "note_breaker", "paused by chen: balance"),
    (CommandRefused("4008: attempts used up"), 200, "note_refused", "4008: attempts used up"),
    (ConfigError("the client is not open"), 503, "error_inner", "the client is not open"),
    (LianLianError("odd"), 500, "error_inner", "odd"),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("error", "status", "name", "detail"), ERRORS, ids=lambda value: type(value).__name__)
async def test_every_error_of_an_approval(
    desk: FakeDesk, chen: Visitor, error: Exception, status: int, name: str, detail: str, language: str
) -> None:  # fmt: skip
    """One clear sentence in the reader's language, and the client's own words where there are any."""
    desk.hold("PAY1")
    desk.fails["PAY1"] = error
    await chen.get(f"/lang/{language}")
    page = await chen.approve("PAY1")
    assert page.status == status
    assert text(language, name) in page.text
    assert detail in page.text


async def test_unknown_outcome_offers_no_form(desk: FakeDesk, chen: Visitor) -> None:
    """After a confirmation that may have left, the page that says so cannot be used to send another."""
    desk.hold("PAY1")
    desk.fails["PAY1"] = OutcomeUnknown("gone")
    page = await chen.approve("PAY1")
    assert "do not approve again" in page.text
    assert not any("/payouts/" in action for action in page.forms)


@pytest.mark.parametrize("name", ["reviews", "review"])
async def test_journal_that_cannot_be_read(
    desk: FakeDesk, chen: Visitor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """503 with a sentence, on the list and on a payout's page."""

    async def broken(*_: object) -> None:
        raise JournalUnavailable("locked")

    monkeypatch.setattr(FakeDesk, name, broken)
    page = await chen.get("/" if name == "reviews" else "/payouts/PAY1")
    assert page.status == 503
    assert text("en", "error_journal") in page.text


async def test_fault_in_the_page_itself(desk: FakeDesk, chen: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback reaches the reader, the headers are all there, and whoever was approving is warned."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a fault with 6228480223123114741 in it")

    monkeypatch.setattr(FakeDesk, "reviews", broken)
    page = await chen.get("/")
    assert page.status == 500
    assert text("en", "error_inner") in page.text
    assert "6228480223123114741" not in page.html
    assert page.answer.headers["content-security-policy"].startswith("default-src 'none'")


# ---------------------------------------------------------------------- texts from elsewhere


EVIL = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'{{7*7}}"
HIDDEN = "pay\u202eeurt\u200b\x1b[31m"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_texts_from_elsewhere_are_text(desk: FakeDesk, chen: Visitor, language: str) -> None:
    """Markup in any text is shown as text, and what cannot be seen is made visible."""
    await chen.get(f"/lang/{language}")
    evil = EVIL + HIDDEN
    word = FakeWord(by=evil, at=desk.clock.now(), note=evil, approves=True)
    sibling = a_payout("SIBLING", desk.clock.now(), key=evil, state=State.PAID)
    desk.hold(
        "PAY1", key=evil, acct_name=evil, card_no=evil, why=evil, alarms=(evil,), words=(word,), siblings=(sibling,),
        refusal=evil, dt_order=evil,
    )  # fmt: skip
    desk.hold("PAY2")
    desk.fails["PAY2"] = CommandRefused(evil)
    desk.hold("PAY3")
    desk.end("PAY3", ret_code=evil, oid_paybill=evil, key=evil, alarms=(evil,))
    pages = [await chen.get("/"), await chen.get("/payouts/PAY1"), await chen.approve("PAY2")]
    pages += [await chen.get("/payouts/PAY3"), await chen.decline("PAY1", note=evil * 9)]
    desk.fails["PAY1"] = JournalUnavailable(evil)
    pages.append(await chen.decline("PAY1"))
    for page in pages:
        assert "<script" not in page.html
        assert "<img" not in page.html
        # In the field that a person filled in, it stands as it was typed.
        shown = re.sub("<textarea.*?</textarea>", "", page.html, flags=re.DOTALL)
        assert "\u202e" not in shown
        assert "\x1b" not in shown
        assert "alert(1)" in page.text


async def test_name_that_was_typed_is_text(a_visitor: type[Visitor]) -> None:
    """The sign-in shows the name again, as text."""
    page = await a_visitor().sign_in(EVIL, "wrong")
    assert "<script" not in page.html
    assert "alert(1)" in page.html


# ---------------------------------------------------------------------- languages


def test_texts_are_complete() -> None:
    """Every text stands in both languages, with the same values to fill in, and none twice alike by accident."""
    for name, row in TEXTS.items():
        assert set(row) == set(HTML_LANG), name
        assert all(words.strip() for words in row.values()), name
        fields = {
            language: {part[1] for part in string.Formatter().parse(row[language]) if part[1]} for language in row
        }
        assert fields["en"] == fields["zh"], name
        if name != "approve":
            assert not any("\u4e00" <= char <= "\u9fff" for char in row["en"]), name
        assert row["en"] != row["zh"], name


def test_every_text_is_used() -> None:
    """A text that no page shows, and a page that shows a text that is not there, are mistakes."""
    folder = Path(review.__file__).parent
    sources = "".join(
        path.read_text("utf-8") for path in [*folder.glob("*.py"), *folder.glob("templates/*")]
        if path.name != "texts.py"
    )  # fmt: skip
    for name in TEXTS:
        stem = name.partition("_")[0] + "_"
        assert f'"{name}"' in sources or f"'{name}'" in sources or f'"{stem}" ~' in sources, name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh;q=0.8", "en"), ("fr", "en"),
        ("fr,zh;q=0.5,en;q=0.4", "zh"), ("zh;q=0", "en"), ("*", "en"), ("zh;q=x", "en"), ("ZH", "zh"),
        ("en;q=0.2, zh; q=0.35", "zh"), ("zh;q=9", "en"), ("," * 5000, "en"), ("zh" * 5000, "en"),
    ],
)  # fmt: skip
def test_language_of_the_browser(header: str, language: str) -> None:
    """The better of the two by the browser's own weights; English when it says nothing usable."""
    assert language_of_header(header) == language


async def test_language_by_header_and_by_link(desk: FakeDesk, chen: Visitor) -> None:
    """The browser's language at first; a link changes it for good and leads back to where one was."""
    desk.hold("PAY1")
    assert (await chen.get("/", **{"accept-language": "zh-CN"})).lang == "zh-CN"
    page = await chen.get("/lang/zh?back=payouts/PAY1")
    assert page.path == "/payouts/PAY1"
    assert page.lang == "zh-CN"
    assert text("zh", "approve_button", amount="12,345.60") in page.text
    assert (await chen.get("/", **{"accept-language": "en"})).lang == "zh-CN"
    assert (await chen.get("/lang/xx")).lang == "zh-CN"


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "../x", "payouts/../../x", "sign-in?x", "\\evil"]
)
async def test_link_that_would_lead_elsewhere(chen: Visitor, back: str) -> None:
    """A language link leads to a page of this application, or to the list."""
    answer = await chen.client.get("/lang/zh", params={"back": back}, follow_redirects=False)
    assert answer.headers["location"] == "/"
