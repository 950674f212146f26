"""The page inside somebody else's application, behind that application's own sign-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from review_desk import FakeDesk
from review_world import SECRET, Visitor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from lianlian_async.review import review_app
from lianlian_async.review.texts import text

Browsers = Callable[..., Visitor]
KEY = "x-person"


def by_header(request: Request) -> str | None:
    """The host's own sign-in, for a test."""
    return request.headers.get(KEY)


async def by_header_later(request: Request) -> str | None:
    """Likewise, as a coroutine."""
    return by_header(request)


@pytest.fixture(params=["fastapi", "starlette", "nested"])
def mounted(request: pytest.FixtureRequest, desk: FakeDesk) -> tuple[Any, str]:
    """A host application with the page in it, and where."""
    if request.param == "fastapi":
        host = FastAPI()
        host.mount("/money/review", review_app(desk, identify=by_header))
        return host, "/money/review"
    page = review_app(desk, identify=by_header_later, secret=SECRET)
    if request.param == "starlette":
        return Starlette(routes=[Mount("/r", page)]), "/r"
    return Starlette(routes=[Mount("/a", routes=[Mount("/b", page)])]), "/a/b"


async def test_mounted(mounted: tuple[Any, str], desk: FakeDesk, a_visitor: Browsers) -> None:
    """List, payout, language, style sheet, approve and decline work below the prefix, under the host's names."""
    host, root = mounted
    desk.hold("PAY1")
    desk.hold("PAY2")
    visitor = a_visitor(host, headers={KEY: "wang"})
    page = await visitor.get(f"{root}/")
    assert page.status == 200
    assert f'href="{root}/payouts/PAY1"' in page.html
    assert (await visitor.get(root)).status == 200, "without the slash, too"
    assert (await visitor.get(f"{root}/review.css")).status == 200
    assert f'href="{root}/review.css"' in page.html
    assert "sign-out" not in page.html
    form = await visitor.form("PAY1", "approve", root=root)
    page = await visitor.send("PAY1", "approve", form, root=root)
    assert page.path == f"{root}/payouts/PAY1"
    assert text("en", "note_approved") in page.text
    await visitor.send("PAY2", "decline", await visitor.form("PAY2", "decline", root=root), root=root)
    assert [call[:3] for call in desk.calls] == [("approve", "PAY1", "wang"), ("decline", "PAY2", "wang")]
    page = await visitor.get(f"{root}/lang/zh?back=payouts/PAY2")
    assert (page.path, page.lang) == (f"{root}/payouts/PAY2", "zh-CN")


async def test_cookies_stay_below_the_prefix(mounted: tuple[Any, str], a_visitor: Browsers) -> None:
    """The host's other pages never see them."""
    host, root = mounted
    answer = (await a_visitor(host, headers={KEY: "wang"}).get(f"{root}/")).answer
    given = answer.headers.get_list("set-cookie")
    assert given
    assert all(f"path={root}" in line.lower() for line in given)


@pytest.mark.parametrize("name", [None, "", "  "])
async def test_stranger(mounted: tuple[Any, str], desk: FakeDesk, a_visitor: Browsers, name: str | None) -> None:
    """Whom the host does not know is answered with 403, whatever is asked for."""
    host, root = mounted
    desk.hold("PAY1")
    visitor = a_visitor(host, headers={} if name is None else {KEY: name})
    for page in (
        await visitor.get(f"{root}/"), await visitor.get(f"{root}/payouts/PAY1"),
        await visitor.post(f"{root}/payouts/PAY1/approve", {}), await visitor.post(f"{root}/payouts/PAY1/decline", {}),
    ):  # fmt: skip
        assert page.status == 403
        assert text("en", "error_stranger") in page.text
        assert "12,345.60" not in page.html
    assert desk.calls == []


async def test_form_of_another_person_in_the_same_browser(
    mounted: tuple[Any, str], desk: FakeDesk, a_visitor: Browsers
) -> None:  # fmt: skip
    """After the host's sign-in has changed, the form of before counts for nothing."""
    host, root = mounted
    desk.hold("PAY1")
    visitor = a_visitor(host, headers={KEY: "wang"})
    form = await visitor.form("PAY1", "approve", root=root)
    visitor.headers = {KEY: "zhao"}
    assert (await visitor.send("PAY1", "approve", form, root=root)).status == 403
    assert desk.calls == []


async def test_secure_cookies_of_a_host(desk: FakeDesk, a_visitor: Browsers) -> None:
    """For TLS only, unless it is plain HTTP on this machine, or the host says otherwise."""
    for base, secure, expected in (
        ("https://pay.example.com", None, True), ("http://127.0.0.1", None, False), ("http://pay.example.com", None, True),
        ("http://127.0.0.1", True, True), ("https://pay.example.com", False, False),
    ):  # fmt: skip
        app = review_app(desk, identify=by_header, secure=secure)
        answer = (await a_visitor(app, base=base, headers={KEY: "wang"}).get("/")).answer
        assert ("secure" in answer.headers["set-cookie"].lower()) is expected
