"""The page alone, with a sign-in of its own: for `review serve`, where no application stands around it."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..clock import Clock, SystemClock
from ..errors import ConfigError
from .app import Pages, place
from .desk import Desk
from .door import Door, application
from .people import UsersFile
from .sessions import Attempts, Sessions, place_of
from .web import Reader, Web, root_of

__all__ = ["signed_in_app"]

_log = logging.getLogger(__name__)

# Each takes 32 MiB and a quarter of a second.
_PASSWORDS_AT_ONCE: Final = 2


def signed_in_app(
    client: Desk, *, users: UsersFile, secret: str, behind_tls: bool = False, clock: Clock | None = None
) -> Starlette:
    """The review page with its own sign-in.

    `users` are the people who may decide. `secret` signs cookies and forms, at least 32 characters. `behind_tls`
    says that a proxy in front speaks TLS: cookies are then for TLS only, and the page answers to any host name;
    without it, to this machine's alone. The proxy must then name the browser's address in X-Forwarded-For, by which
    attempts are counted. `clock` is the one that sessions live by. Raises ConfigError.
    """
    users.people()
    web = Web.of(secret, secure=behind_tls)
    sign_in = _SignIn(web, users, clock or SystemClock(), behind_proxy=behind_tls)
    door = Door(web, sign_in.identify, sign_in.stranger, any_host=behind_tls)
    pages = Pages(client, web, door, signs_out=True)
    return application(web, [*sign_in.routes(door), *pages.routes()])


class _SignIn:
    """Passwords in, sessions out."""

    def __init__(self, web: Web, users: UsersFile, clock: Clock, *, behind_proxy: bool) -> None:
        self._web = web
        self._behind_proxy = behind_proxy
        self._users = users
        self._sessions = Sessions(clock, web.seals.new_id)
        self._attempts = Attempts(clock)
        self._turn = asyncio.Semaphore(_PASSWORDS_AT_ONCE)

    def routes(self, door: Door) -> list[BaseRoute]:
        """The sign-in's own addresses."""
        return [
            Route("/sign-in", door.open(self._ask), methods=["GET"]),
            Route("/sign-in", door.open(self._enter), methods=["POST"]),
            Route("/sign-out", door.open(self._leave), methods=["POST"]),
        ]

    def identify(self, request: Request) -> str | None:
        """Whose session the request belongs to; whoever is taken out of the users file is out at once."""
        key = self._key(request)
        session = self._sessions.find(key)
        if session is None:
            return None
        try:
            known = self._users.people().get(session.who) == session.verifier
        except ConfigError as error:
            # As long as nobody knows who may decide, nobody may.
            _log.error("nobody is let in: %s", error)
            return None
        if not known:
            self._sessions.end(key)
        return session.who if known else None

    def stranger(self, reader: Reader) -> Response:
        """Send whoever is not signed in to the sign-in, and say so if a form came to nothing."""
        if reader.request.method == "POST":
            return self._page(reader, HTTPStatus.FORBIDDEN, ("session_ended", "nothing_decided"))
        if reader.request.headers.get("sec-fetch-site") == "cross-site":
            # Coming from a mail or a chat, the browser holds the strict session cookie back.
            return self._page(reader, HTTPStatus.OK, ("sign_in_already",), goes_on=True)
        return self._web.go(reader, f"sign-in?to={_wanted(reader)}")

    # ------------------------------------------------------------------ pages

    async def _ask(self, reader: Reader) -> Response:
        if self.identify(reader.request) is not None:
            return self._web.go(reader, "")
        return self._page(reader, HTTPStatus.OK)

    async def _enter(self, reader: Reader) -> Response:
        fields = await self._web.form(reader)
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        place = self._place(reader.request)
        if not self._attempts.allowed(name, place):
            return self._page(reader, HTTPStatus.TOO_MANY_REQUESTS, ("sign_in_limited",), name=name)
        try:
            verifier = self._users.verifier(name)
        except ConfigError as error:
            _log.error("nobody can sign in: %s", error)
            return self._page(reader, HTTPStatus.SERVICE_UNAVAILABLE, ("sign_in_broken",), name=name)
        async with self._turn:
            fits = await asyncio.to_thread(verifier.fits, password)
        if not fits:
            return self._page(reader, HTTPStatus.FORBIDDEN, ("sign_in_failed",), name=name)
        self._attempts.forgive(name, place)
        self._sessions.end(self._key(reader.request))
        # Nothing that was known before the password came is worth anything after it.
        reader.form_id = self._web.seals.new_id()
        response = self._web.go(reader, _wanted(reader))
        self._web.set_cookie(reader, response, "session", self._sessions.begin(name, verifier), samesite="strict")
        self._web.set_cookie(reader, response, "form", reader.form_id, samesite="lax")
        return response

    async def _leave(self, reader: Reader) -> Response:
        reader.who = self.identify(reader.request)
        if reader.who is not None:
            await self._web.form(reader)
            self._sessions.end(self._key(reader.request))
        response = self._web.go(reader, "sign-in")
        for cookie in ("session", "form"):
            self._web.drop_cookie(reader, response, cookie)
        return response

    def _page(
        self, reader: Reader, status: HTTPStatus, says: tuple[str, ...] = (), *, name: str = "", goes_on: bool = False
    ) -> Response:
        reader.here = "sign-in"
        return self._web.page(reader, "sign_in.html", status, says=says, name=name, to=_wanted(reader), goes_on=goes_on)

    def _place(self, request: Request) -> str:
        """Where the browser is; behind a proxy as the proxy says, which is the last address of the list."""
        lines = request.headers.getlist("x-forwarded-for") if self._behind_proxy else []
        told = lines[-1].rpartition(",")[2].strip() if lines else ""
        return place_of(told or (request.client.host if request.client else ""))

    def _key(self, request: Request) -> str | None:
        return request.cookies.get(self._web.cookie_name(request, "session"))


def _wanted(reader: Reader) -> str:
    """The page that somebody was on the way to, below where this application is mounted."""
    request = reader.request
    path: str = request.query_params.get("to") or request.scope["path"].removeprefix(root_of(request)).lstrip("/")
    wanted = place(path.removesuffix("/approve").removesuffix("/decline"))
    return "" if wanted == "sign-in" else wanted
