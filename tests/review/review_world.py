"""A browser without a screen: it keeps cookies, reads forms, and sends them as a person's browser would."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
from attrs import define, field, frozen

from lianlian_async.review import people

HERE = "http://127.0.0.1"
SECRET = "a secret of the tests, of more than 32 characters"
PASSWORD = "correct horse battery"
NOTE = "phoned the payee"


@define
class _Reader(HTMLParser):
    """Forms and text of a page; what stands in a form's field is what a browser would send."""

    forms: dict[str, dict[str, str]] = field(factory=dict)
    words: list[str] = field(factory=list)
    lang: str = ""
    _fields: dict[str, str] | None = None
    _area: str | None = None

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "html":
            self.lang = at["lang"]
        elif tag == "form":
            self._fields = self.forms.setdefault(at["action"].partition("?")[0], {})
        elif tag == "textarea":
            self._area = at["name"]
        elif tag == "input" and self._fields is not None and at.get("type") != "checkbox":
            self._fields[at["name"]] = at.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area is not None and self._fields is not None:
            self._fields[self._area] = data.removeprefix("\n")
        self.words.append(data)


@frozen
class Page:
    """An answer, as a person sees it."""

    answer: httpx2.Response
    forms: Mapping[str, Mapping[str, str]]
    text: str
    lang: str

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def html(self) -> str:
        return self.answer.text

    @property
    def path(self) -> str:
        return self.answer.url.path

    def form(self, end: str) -> dict[str, str]:
        """The fields of the form whose address ends so."""
        return dict(next(fields for action, fields in self.forms.items() if action.endswith(end)))


@define
class Visitor:
    """One browser."""

    app: Any
    base: str = HERE
    headers: dict[str, str] = field(factory=dict)
    address: str = "127.0.0.1"
    client: httpx2.AsyncClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False, client=(self.address, 50123))
        self.client = httpx2.AsyncClient(transport=transport, base_url=self.base, follow_redirects=True)

    async def get(self, path: str, **headers: str) -> Page:
        return self._page(await self.client.get(path, headers={**self.headers, **headers}))

    async def post(self, path: str, fields: Mapping[str, str], *, follow: bool = True, **headers: str) -> Page:
        said = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._page(await self.client.post(path, data=dict(fields), headers=said, follow_redirects=follow))

    async def sign_in(self, name: str = "chen", password: str = PASSWORD) -> Page:
        page = await self.get("/sign-in")
        return await self.post("/sign-in", {**page.form("/sign-in"), "name": name, "password": password})

    async def form(self, no_order: str, which: str, *, root: str = "", **changes: str) -> dict[str, str]:
        """The form of a payout's page, filled in."""
        page = await self.get(f"{root}/payouts/{no_order}")
        assert page.status == 200, page.text
        filled = {"note": NOTE, **({"checked": "yes"} if which == "approve" else {})}
        return {**page.form(f"/payouts/{no_order}/{which}"), **filled, **changes}

    async def send(self, no_order: str, which: str, fields: Mapping[str, str], *, root: str = "", **more: Any) -> Page:
        return await self.post(f"{root}/payouts/{no_order}/{which}", fields, **more)

    async def approve(self, no_order: str, **changes: str) -> Page:
        return await self.send(no_order, "approve", await self.form(no_order, "approve", **changes))

    async def decline(self, no_order: str, **changes: str) -> Page:
        return await self.send(no_order, "decline", await self.form(no_order, "decline", **changes))

    def _page(self, answer: httpx2.Response) -> Page:
        reader = _Reader()
        if "html" in answer.headers.get("content-type", ""):
            reader.feed(answer.text)
        return Page(answer, reader.forms, " ".join(" ".join(reader.words).split()), reader.lang)

    async def close(self) -> None:
        await self.client.aclose()


def write_users(path: Path, **passwords: str) -> people.UsersFile:
    """A users file whose passwords are cheap to check."""
    cheap = {name: people.Verifier.make(password, (2, 1, 1)) for name, password in passwords.items()}
    path.write_text("".join(f"{name}:{verifier}\n" for name, verifier in cheap.items()), "utf-8")
    path.chmod(0o600)
    return people.UsersFile(path)


__all__ = ["HERE", "NOTE", "PASSWORD", "SECRET", "Page", "Visitor", "write_users"]
