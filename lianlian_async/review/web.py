"""The HTTP side that is the same for every page: headers, cookies, languages, templates, and forms of bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import define, frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..transport import is_loopback
from .seals import Seals, Told, is_from_elsewhere
from .show import FILTERS
from .texts import HTML_LANG, language_of_header, text

__all__ = ["FormRefused", "Reader", "SafeHeaders", "Web", "add_safe_headers", "root_of"]

_FOLDER: Final = Path(__file__).parent
_FORM_BYTES_MAX: Final = 16 * 1024
_FORM_FIELDS_MAX: Final = 12
# A person's browser sends so small a form at once; who takes longer holds a connection for nothing.
_FORM_READ_S: Final = 10

_HEADERS: Final = {
    # Nothing but the page's own style sheet and forms: no script can run here, whatever a text says.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # `no-referrer` would make browsers send forms with the Origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class FormRefused(Exception):
    """A form that did not come from this page, or is no form."""


def add_safe_headers(headers: MutableHeaders) -> None:
    """Set the headers that every answer of the page carries."""
    for name, value in _HEADERS.items():
        headers[name] = value


class SafeHeaders:
    """Puts the headers on every answer, refusals and style sheet included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_safe_headers(MutableHeaders(scope=message))
            await send(message)

        await self.app(scope, receive, send_safely)


@define
class Reader:
    """One request: whose browser it is, who reads, in which language, and what the last form came to."""

    request: Request
    form_id: str
    is_new: bool
    language: str
    told: Told | None
    who: str | None = None
    here: str = ""  # the page's path below the root, for the links that change the language


@frozen
class Web:
    """Makes answers. `secure` says whether cookies are for TLS only; None: unless it is plain HTTP on loopback."""

    seals: Seals
    secure: bool | None
    environment: Environment

    @classmethod
    def of(cls, secret: str, *, secure: bool | None) -> Web:
        """With the templates of this package."""
        loader = FileSystemLoader(_FOLDER / "templates")
        environment = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(FILTERS)
        return cls(Seals(secret), secure, environment)

    def reader(self, request: Request) -> Reader:
        """Who is there, as far as cookies tell."""
        cookie = request.cookies.get(self.cookie_name(request, "form"))
        known = cookie if cookie is not None and self.seals.is_id(cookie) else None
        form_id = known or self.seals.new_id()
        language = request.cookies.get(self.cookie_name(request, "lang"), "")
        if language not in HTML_LANG:
            language = language_of_header(request.headers.get("accept-language", ""))
        told = self.seals.told(form_id, request.cookies.get(self.cookie_name(request, "told")))
        return Reader(request, form_id, known is None, language, told)

    # ------------------------------------------------------------------ answers

    def page(self, reader: Reader, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
        """One page; what was told to this browser is told once."""
        request = reader.request

        def t(name: str, /, **filled: object) -> str:
            return text(reader.language, name, **filled)

        body = self.environment.get_template(template).render(
            t=t, root=root_of(request), lang=HTML_LANG[reader.language], languages=HTML_LANG, reader=reader,
            token=self.seals.token(reader.form_id, reader.who), text_in=text, **values,
        )  # fmt: skip
        response = HTMLResponse(body, status)
        if reader.is_new:
            # Lax: a link from a mail must not replace the number that forms in other tabs depend on.
            self.set_cookie(reader, response, "form", reader.form_id, samesite="lax")
        if reader.told is not None:
            self.drop_cookie(reader, response, "told")
        return response

    def error(self, reader: Reader, status: HTTPStatus, name: str, detail: str = "") -> Response:
        """A page with one clear sentence, and the system's own words where there are any."""
        return self.page(reader, "error.html", status, sentence=name, detail=detail)

    def go(self, reader: Reader, path: str, told: Told | None = None) -> Response:
        """Leave a form for a page (303), so that reloading it sends nothing again."""
        response = RedirectResponse(f"{root_of(reader.request)}/{path}", HTTPStatus.SEE_OTHER)
        if told is not None:
            self.set_cookie(reader, response, "told", self.seals.tell(reader.form_id, told), samesite="strict")
        return response

    # ------------------------------------------------------------------ cookies

    def is_secure(self, request: Request) -> bool:
        """Whether cookies may travel over TLS only."""
        if self.secure is not None:
            return self.secure
        return request.url.scheme == "https" or not is_loopback(request.url.hostname or "")

    def cookie_name(self, request: Request, what: str) -> str:
        """With the prefix that keeps neighbouring hosts from setting it, where browsers allow one."""
        prefix = "__Host-" if self.is_secure(request) and not root_of(request) else ""
        return f"{prefix}lianlian_review_{what}"

    def set_cookie(self, reader: Reader, response: Response, what: str, value: str, *, samesite: Any) -> None:
        """A cookie for this page alone, gone when the browser closes."""
        request = reader.request
        response.set_cookie(
            self.cookie_name(request, what), value, path=root_of(request) or "/", secure=self.is_secure(request),
            httponly=True, samesite=samesite,
        )  # fmt: skip

    def drop_cookie(self, reader: Reader, response: Response, what: str) -> None:
        """Take a cookie back."""
        request = reader.request
        response.delete_cookie(
            self.cookie_name(request, what), path=root_of(request) or "/", secure=self.is_secure(request),
            httponly=True,
        )  # fmt: skip

    # ------------------------------------------------------------------ forms

    async def form(self, reader: Reader) -> Mapping[str, str]:
        """The fields of a form that came from this browser's page and person; raises FormRefused."""
        if reader.is_new or is_from_elsewhere(reader.request):
            raise FormRefused
        fields = await _fields(reader.request)
        if not self.seals.is_token(fields.get("token", ""), reader.form_id, reader.who):
            raise FormRefused
        return fields


async def _fields(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise FormRefused
    body = bytearray()
    try:
        async with asyncio.timeout(_FORM_READ_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _FORM_BYTES_MAX:
                    raise FormRefused
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS_MAX
        )
    except (ClientDisconnect, TimeoutError, ValueError) as error:
        raise FormRefused from error
    return dict(pairs)


def root_of(request: Request) -> str:
    """Where the page is mounted: the beginning of all its links."""
    return str(request.scope.get("root_path", "")).rstrip("/")
