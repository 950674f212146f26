"""Who gets in, whose form counts, and what every answer carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from review_desk import FakeDesk
from review_world import HERE, NOTE, PASSWORD, SECRET, Visitor, write_users

from lianlian_async.errors import ConfigError
from lianlian_async.review import people, review_app, signed_in_app
from lianlian_async.review.people import UsersFile
from lianlian_async.review.texts import text
from lianlian_async.testing.clocks import ManualClock

Browsers = Callable[..., Visitor]

# ---------------------------------------------------------------------- signing in


async def test_nothing_is_shown_before_the_sign_in(desk: FakeDesk, a_visitor: Browsers) -> None:
    """Every page leads to the sign-in, and from there back to where one was going."""
    desk.hold("PAY1")
    visitor = a_visitor()
    for path in ("/", "/payouts/PAY1"):
        page = await visitor.get(path)
        assert page.path == "/sign-in"
        assert "12,345.60" not in page.html
    to = page.answer.url.params["to"]
    page = await visitor.post(f"/sign-in?to={to}", {**page.form("/sign-in"), "name": "chen", "password": PASSWORD})
    assert page.path == "/payouts/PAY1"
    assert "12,345.60" in page.html


async def test_sign_in_leads_to_no_other_site(a_visitor: Browsers) -> None:
    """Where to go after the sign-in is a page of this application."""
    visitor = a_visitor()
    page = await visitor.get("/sign-in?to=//evil.example/x")
    assert "evil" not in page.html
    fields = {**page.form("/sign-in"), "name": "chen", "password": PASSWORD}
    sent = await visitor.post("/sign-in?to=https://evil.example", fields, follow=False)
    assert sent.answer.headers["location"] == "/"


async def test_wrong_password_and_unknown_name_get_one_answer(a_visitor: Browsers) -> None:
    """Nobody learns which names exist."""
    pages = [await a_visitor().sign_in(name, "wrong password") for name in ("chen", "zhou")]
    told = [page.html.replace(page.form("/sign-in")["token"], "").replace("zhou", "chen") for page in pages]
    assert told[0] == told[1]
    assert [page.status for page in pages] == [403, 403]
    assert text("en", "sign_in_failed") in pages[0].text


async def test_unknown_name_takes_as_long(tmp_path: Path, a_visitor: Browsers, desk: FakeDesk) -> None:
    """An unknown name costs the same scrypt as a wrong password."""
    users = tmp_path / "users"
    costly = people.Verifier.make(PASSWORD, (2**14, 8, 1))
    users.write_text(f"chen:{costly}\n")
    users.chmod(0o600)
    visitor = a_visitor(signed_in_app(desk, users=UsersFile(users), secret=SECRET))

    async def seconds(name: str) -> float:
        begun = time.perf_counter()
        await visitor.sign_in(name, "wrong")
        return time.perf_counter() - begun

    known, unknown = [], []
    for _ in range(3):
        known.append(await seconds("chen"))
        unknown.append(await seconds("nobody"))
    assert min(unknown) > min(known) / 2


async def test_attempts_are_limited(a_visitor: Browsers, session_clock: ManualClock) -> None:
    """Five wrong passwords a name in five minutes, known or not; the right one is not even looked at then."""
    visitor = a_visitor()
    for name in ("chen", "nobody"):
        statuses = [(await visitor.sign_in(name, "wrong")).status for _ in range(6)]
        assert statuses == [403] * 5 + [429]
    page = await visitor.sign_in("chen")
    assert page.status == 429
    assert text("en", "sign_in_limited") in page.text
    assert (await a_visitor().sign_in("li")).status == 200, "others are not held up"
    session_clock.advance(301)
    assert (await visitor.sign_in("chen")).path == "/"


async def fail(visitor: Visitor, times: int, *, name: str = "n", **headers: str) -> list[int]:
    """The answers to so many wrong passwords, each for another name."""
    fields = (await visitor.get("/sign-in")).form("/sign-in")
    answers = []
    for number in range(times):
        wrong = {**fields, "name": f"{name}{number}", "password": "x"}
        answers.append((await visitor.post("/sign-in", wrong, **headers)).status)
    return answers


async def test_attempts_are_limited_at_one_address(a_visitor: Browsers, session_clock: ManualClock) -> None:
    """Twenty in a minute, over all names; elsewhere people sign in."""
    visitor = a_visitor()
    assert await fail(visitor, 21) == [403] * 20 + [429]
    assert (await a_visitor(address="192.0.2.9").sign_in("chen")).status == 200
    session_clock.advance(61)
    assert (await visitor.sign_in("chen")).status == 200


async def test_attempts_are_limited_over_all(a_visitor: Browsers, session_clock: ManualClock) -> None:
    """Sixty in a minute, over all names and addresses; where somebody has signed in before, people still can."""
    office = a_visitor(address="192.0.2.9")
    assert (await office.sign_in("chen")).status == 200
    session_clock.advance(61)
    for part in range(3):
        assert await fail(a_visitor(address=f"2001:db8:{part}::1"), 20, name=f"p{part}n") == [403] * 20
    assert (await a_visitor(address="192.0.2.10").sign_in("chen")).status == 429
    assert (await a_visitor(address="192.0.2.9").sign_in("li")).status == 200
    session_clock.advance(61)
    assert (await a_visitor(address="192.0.2.10").sign_in("chen")).status == 200


async def test_nobody_is_locked_out_from_elsewhere(chen: Visitor, a_visitor: Browsers) -> None:
    """Wrong passwords for chen from other addresses: chen signs in all the same, and chen's session goes on."""
    for host in ("203.0.113.7", "2001:db8::1"):
        outsider = a_visitor(address=host)
        assert [(await outsider.sign_in("chen", "wrong")).status for _ in range(6)] == [403] * 5 + [429]
    neighbour = a_visitor(address="2001:db8::ffff:2")
    assert (await neighbour.sign_in("chen", "wrong")).status == 429, "one line has many addresses"
    assert (await a_visitor().sign_in("chen")).status == 200
    assert (await chen.get("/")).status == 200


async def test_addresses_behind_a_proxy(
    desk: FakeDesk, users: UsersFile, session_clock: ManualClock, a_visitor: Browsers
) -> None:
    """Behind TLS the last forwarded address counts, which the proxy wrote; what the browser made up before it does not.

    Without a proxy the header is nobody's word."""
    behind = signed_in_app(desk, users=users, secret=SECRET, behind_tls=True, clock=session_clock)
    outsider = a_visitor(behind, base="https://pay.example.com")
    tries = []
    for number in range(6):
        outsider.headers = {"x-forwarded-for": f"198.51.100.{number}, 203.0.113.7:{5000 + number}"}
        tries.append((await outsider.sign_in("chen", "wrong")).status)
    assert tries == [403] * 5 + [429]
    outsider.headers = {"x-forwarded-for": "192.0.2.9"}
    assert (await outsider.sign_in("chen")).status == 200
    plain = a_visitor()
    tries = []
    for number in range(6):
        plain.headers = {"x-forwarded-for": f"198.51.100.{number}"}
        tries.append((await plain.sign_in("li", "wrong")).status)
    assert tries == [403] * 5 + [429]


async def test_right_password_forgives_the_wrong_ones(a_visitor: Browsers) -> None:
    """Four slips now and four later are not eight."""
    visitor = a_visitor()
    for _ in range(2):
        for _ in range(4):
            await visitor.sign_in("chen", "wrong")
        assert (await visitor.sign_in("chen")).path == "/"
        await visitor.post("/sign-out", (await visitor.get("/")).form("/sign-out"))


# ---------------------------------------------------------------------- sessions


def cookies(answer: httpx2.Response) -> dict[str, str]:
    """What an answer sets, by name, with its attributes in lower case."""
    set_ = answer.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.partition("=")[2].lower() for line in set_}


async def test_cookies(a_visitor: Browsers, desk: FakeDesk, users: UsersFile) -> None:
    """HttpOnly and SameSite on all, Strict on the session's; Secure and bound to the host behind TLS."""
    for behind_tls, base in ((False, HERE), (True, "https://review.example.com")):
        app = signed_in_app(desk, users=users, secret=SECRET, behind_tls=behind_tls)
        visitor = a_visitor(app, base=base)
        page = await visitor.get("/sign-in")
        fields = {**page.form("/sign-in"), "name": "chen", "password": PASSWORD}
        given = cookies((await visitor.post("/sign-in", fields, follow=False)).answer)
        prefix = "__Host-" if behind_tls else ""
        assert set(given) == {f"{prefix}lianlian_review_session", f"{prefix}lianlian_review_form"}
        for value in given.values():
            assert "httponly" in value
            assert "path=/;" in f"{value};"
            assert ("secure" in value) is behind_tls
        assert "samesite=strict" in given[f"{prefix}lianlian_review_session"]
        assert (await visitor.get("/")).path == "/"


async def test_session_is_new_at_every_sign_in(a_visitor: Browsers) -> None:
    """What was known before the password came is worth nothing after it, and the old session is over."""
    visitor = a_visitor()
    await visitor.get("/sign-in")
    before = dict(visitor.client.cookies)
    await visitor.sign_in("chen")
    first = dict(visitor.client.cookies)
    assert first["lianlian_review_form"] != before["lianlian_review_form"]
    # A second sign-in in the same browser, as from a page that was open all the time.
    other = a_visitor()
    page = await other.get("/sign-in")
    other.client.cookies.update({"lianlian_review_session": first["lianlian_review_session"]})
    await other.post("/sign-in", {**page.form("/sign-in"), "name": "li", "password": PASSWORD})
    assert (await visitor.get("/")).path == "/sign-in"


async def test_session_ends_when_idle(chen: Visitor, session_clock: ManualClock) -> None:
    """Half an hour without a request ends it; each request counts anew."""
    for _ in range(3):
        session_clock.advance(29 * 60)
        assert (await chen.get("/")).path == "/"
    session_clock.advance(30 * 60)
    assert (await chen.get("/")).path == "/sign-in"


async def test_session_ends_after_a_working_day(chen: Visitor, session_clock: ManualClock) -> None:
    """Eight hours end it, however busy it was."""
    for _ in range(23):
        session_clock.advance(20 * 60)
        assert (await chen.get("/")).path == "/"
    session_clock.advance(20 * 60)
    assert (await chen.get("/")).path == "/sign-in"


async def test_form_after_the_session_has_ended(desk: FakeDesk, chen: Visitor, session_clock: ManualClock) -> None:
    """It decides nothing, says so, and the sign-in leads back to the payout."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    session_clock.advance(31 * 60)
    page = await chen.send("PAY1", "approve", form)
    assert page.status == 403
    assert text("en", "nothing_decided") in page.text
    assert desk.calls == []
    assert "/sign-in?to=payouts/PAY1" in page.html


async def test_sign_out(desk: FakeDesk, chen: Visitor, a_visitor: Browsers) -> None:
    """A copy of the cookie is worth nothing afterwards; without the form's token nobody is signed out."""
    thief = a_visitor()
    thief.client.cookies.update(dict(chen.client.cookies))
    assert (await thief.get("/")).path == "/"
    assert (await chen.post("/sign-out", {})).status == 403
    page = await chen.post("/sign-out", (await chen.get("/")).form("/sign-out"))
    assert page.path == "/sign-in"
    assert (await thief.get("/")).path == "/sign-in"
    assert (await chen.post("/sign-out", {})).path == "/sign-in", "twice is no fault"


@pytest.mark.parametrize("change", ["removed", "new password", "open to others", "malformed", "gone"])
async def test_users_file_that_changes(chen: Visitor, users: UsersFile, a_visitor: Browsers, change: str) -> None:
    """Who is taken out, or gets a new password, is out at once; with an unusable file nobody is in."""
    if change == "removed":
        write_users(users.path, li=PASSWORD)
    elif change == "new password":
        write_users(users.path, chen="another password", li=PASSWORD)
    elif change == "open to others":
        users.path.chmod(0o644)
    elif change == "malformed":
        users.path.write_text("chen\n")
    else:
        users.path.unlink()
    assert (await chen.get("/")).path == "/sign-in"
    page = await a_visitor().sign_in("li")
    if change in ("removed", "new password"):
        assert page.path == "/"
    else:
        assert page.status == 503
        assert text("en", "sign_in_broken") in page.text
        assert str(users.path) not in page.html


async def test_link_from_another_site(desk: FakeDesk, a_visitor: Browsers) -> None:
    """The browser holds the strict cookie back: the page says so, and offers the way on."""
    page = await a_visitor().get("/payouts/PAY1", **{"sec-fetch-site": "cross-site"})
    assert page.status == 200
    assert text("en", "sign_in_already") in page.text
    assert 'href="/payouts/PAY1"' in page.html
    form = next(c for c in page.answer.headers.get_list("set-cookie") if "review_form" in c)
    assert "samesite=lax" in form.lower(), "the form's number of other tabs must not be replaced by such a visit"


@pytest.mark.parametrize("cookie", ["x", "a.b", "x" * 5000])
async def test_cookies_that_were_made_up(a_visitor: Browsers, cookie: str) -> None:
    """They count for nothing."""
    visitor = a_visitor()
    for name in ("session", "form", "told", "lang"):
        visitor.client.cookies.set(f"lianlian_review_{name}", cookie)
    page = await visitor.get("/")
    assert page.path == "/sign-in"
    assert page.lang == "en"


# ---------------------------------------------------------------------- forms

SAME_SITE = {"sec_fetch_site": "same-origin"}


@pytest.mark.parametrize("which", ["approve", "decline"])
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
async def test_form_without_the_right_token(desk: FakeDesk, chen: Visitor, which: str, token: str | None) -> None:
    """403, one sentence, and nothing is passed on."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", which)
    form = {name: value for name, value in form.items() if name != "token"} | (
        {"token": token} if token is not None else {}
    )
    page = await chen.send("PAY1", which, form)
    assert page.status == 403
    assert text("en", "error_form") in page.text
    assert desk.calls == []


async def test_form_of_another_session(desk: FakeDesk, chen: Visitor, li: Visitor, a_visitor: Browsers) -> None:
    """A token is one browser's and one person's: neither another person's nor one's own from elsewhere counts."""
    desk.hold("PAY1")
    elsewhere = a_visitor()
    await elsewhere.sign_in("chen")
    for other in (li, elsewhere):
        page = await chen.send("PAY1", "approve", await other.form("PAY1", "approve"))
        assert page.status == 403
    # The browser of one person, signed in as another one: the page of before is no form any more.
    form = await chen.form("PAY1", "approve")
    await chen.post("/sign-out", (await chen.get("/")).form("/sign-out"))
    await chen.sign_in("li")
    assert (await chen.send("PAY1", "approve", form)).status == 403
    assert desk.calls == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "null"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"origin": HERE}, 200),
        ({}, 200),
    ],
)
async def test_form_from_elsewhere(desk: FakeDesk, chen: Visitor, headers: dict[str, str], status: int) -> None:
    """What the browser says of a form's origin is believed, even when the token is right."""
    desk.hold("PAY1")
    page = await chen.send("PAY1", "decline", await chen.form("PAY1", "decline"), **headers)
    assert page.status == status
    assert len(desk.calls) == (status == 200)


async def test_sign_in_from_elsewhere(a_visitor: Browsers) -> None:
    """Nobody can be signed in under a stranger's name by a stranger's page."""
    visitor = a_visitor()
    fields = {**(await visitor.get("/sign-in")).form("/sign-in"), "name": "chen", "password": PASSWORD}
    assert (await visitor.post("/sign-in", fields, sec_fetch_site="cross-site")).status == 403
    assert (await a_visitor().post("/sign-in", fields)).status == 403, "another browser's form"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("", b"note=x"),
        ("application/x-www-form-urlencoded", b"note=" + b"x" * 20_000),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(50))),
        ("application/x-www-form-urlencoded", b"note=%ff%fe"),
        ("application/x-www-form-urlencoded", b"note=\xff"),
    ],
)
async def test_body_that_is_no_form(desk: FakeDesk, chen: Visitor, content_type: str, body: bytes) -> None:
    """Another type, too large, too many fields, not UTF-8: refused before anything is done with it."""
    desk.hold("PAY1")
    answer = await chen.client.post("/payouts/PAY1/decline", content=body, headers={"content-type": content_type})
    assert answer.status_code == 403
    assert desk.calls == []


async def test_form_that_never_ends(desk: FakeDesk, chen: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends too slowly is let go."""
    monkeypatch.setattr("lianlian_async.review.web._FORM_READ_S", 0.05)

    async def slowly() -> object:
        yield b"note="
        await asyncio.sleep(5)

    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await chen.client.post("/payouts/PAY1/decline", content=slowly(), headers=kind)
    assert answer.status_code == 403


async def test_get_decides_nothing(desk: FakeDesk, chen: Visitor) -> None:
    """A link cannot approve."""
    desk.hold("PAY1")
    form = await chen.form("PAY1", "approve")
    answer = await chen.client.get("/payouts/PAY1/approve", params=form)
    assert answer.status_code == 405
    assert desk.calls == []


# ---------------------------------------------------------------------- every answer


async def test_headers_of_every_answer(desk: FakeDesk, chen: Visitor) -> None:
    """No scripts, no frames, no cache, no foreign referrer; on pages, style, redirects and refusals."""
    desk.hold("PAY1")
    refused = await chen.post("/payouts/PAY1/approve", {})
    moved = await chen.client.get("/lang/zh", follow_redirects=False)
    for answer in [
        *[(await chen.get(path)).answer for path in ("/", "/payouts/PAY1", "/review.css", "/nowhere")],
        refused.answer, moved,
    ]:  # fmt: skip
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "script" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_pages_need_nothing_else(desk: FakeDesk, chen: Visitor) -> None:
    """No script, no inline style, and nothing from another address."""
    desk.hold("PAY1")
    for path in ("/", "/payouts/PAY1", "/sign-in"):
        html = (await chen.get(path)).html
        for banned in ("<script", "style=", "onclick", "http://", "https://", "<style", "javascript:"):
            assert banned not in html
    style = (await chen.get("/review.css")).answer
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text


async def test_other_names_that_lead_here(a_visitor: Browsers, desk: FakeDesk, users: UsersFile) -> None:
    """Without TLS the page answers to this machine's names alone; behind TLS to any."""
    visitor = a_visitor(base="http://evil.example")
    page = await visitor.get("/sign-in")
    assert page.status == 421
    assert page.forms == {}
    for base in ("http://localhost:8090", "http://[::1]:8090"):
        assert (await a_visitor(base=base).get("/sign-in")).status == 200
    app = signed_in_app(desk, users=users, secret=SECRET, behind_tls=True)
    assert (await a_visitor(app, base="https://review.example.com").get("/sign-in")).status == 200


# ---------------------------------------------------------------------- starting


async def test_short_secret_and_no_users(desk: FakeDesk, users: UsersFile, tmp_path: Path) -> None:
    """Neither page starts with a guessable secret, nor the sign-in without anybody who could use it."""
    with pytest.raises(ConfigError, match="32 characters"):
        signed_in_app(desk, users=users, secret="short")
    with pytest.raises(ConfigError, match="32 characters"):
        review_app(desk, identify=lambda _: None, secret="")
    with pytest.raises(ConfigError, match="review user NAME"):
        signed_in_app(desk, users=UsersFile(tmp_path / "none"), secret=SECRET)


async def test_secret_decides(desk: FakeDesk, users: UsersFile, chen: Visitor, a_visitor: Browsers) -> None:
    """Cookies and forms of a page with another secret are worth nothing."""
    other = a_visitor(signed_in_app(desk, users=users, secret=SECRET[::-1]))
    other.client.cookies.update(dict(chen.client.cookies))
    assert (await other.get("/")).path == "/sign-in"
    fields = {**(await chen.get("/sign-in")).forms.get("/sign-out", {}), "note": NOTE}
    assert (await other.post("/payouts/PAY1/decline", fields)).status == 403
