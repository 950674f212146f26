"""The pages: the list, one payout, and the two forms. They show, ask and pass on; the rules are the client's.

GET  /                          all held payouts
GET  /payouts/NUMBER            one of them, its siblings freshly queried, or what became of it
POST /payouts/NUMBER/approve    a form of this page; answers with a redirect to GET /payouts/NUMBER
POST /payouts/NUMBER/decline    likewise
GET  /lang/en, /lang/zh         changes the language
GET  /review.css
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ..errors import BreakerOpen, CommandRefused, OutcomeUnknown
from ..payout import Confirmation, Payout
from ..resolver import State
from ..resolver.permits import same_person
from .desk import Desk, Review
from .door import Door, Identify, application
from .seals import Told, new_secret
from .show import Standing, first_approver, seen, standing
from .texts import HTML_LANG
from .web import Reader, Web

__all__ = ["Pages", "place", "review_app"]

_NOTE_CHARACTERS_MAX: Final = 200
_STYLE: Final = Path(__file__).parent / "review.css"
# Where a link or a redirect may lead: pages of this application, never another site.
_PLACE: Final = re.compile(r"payouts/[A-Za-z0-9_-]{1,32}|sign-in|")
_NUMBER: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
# What is told of an approval whose confirmation is not proven to have been sent.
_CONFIRMED: Final[dict[Confirmation | None, str]] = {Confirmation.NOT_SENT: "unsent", Confirmation.UNKNOWN: "unknown"}


def review_app(client: Desk, *, identify: Identify, secret: str | None = None, secure: bool | None = None) -> Starlette:
    """The review page, to be mounted in a FastAPI or Starlette application under any path.

    `identify` gets the request and returns (or awaits) the name of the person who is signed in at the host
    application *and may decide on payouts*; None is answered with 403. `client` must be open while requests come.
    `secret` signs forms, at least 32 characters: give it when several processes serve the page. `secure` says
    whether cookies are for TLS only; left out: unless the request is plain HTTP to this machine. Raises ConfigError.
    """
    web = Web.of(new_secret() if secret is None else secret, secure=secure)

    def stranger(reader: Reader) -> Response:
        return web.error(reader, HTTPStatus.FORBIDDEN, "error_stranger")

    return application(web, Pages(client, web, Door(web, identify, stranger)).routes())


def place(path: str) -> str:
    """`path` if it is a page of this application, else the list's."""
    return path if _PLACE.fullmatch(path) else ""


@frozen
class _Row:
    """One line of the list."""

    review: Review
    standing: Standing


class Pages:
    """The pages of one client; `signs_out` shows the button that ends the page's own session."""

    def __init__(self, desk: Desk, web: Web, door: Door, *, signs_out: bool = False) -> None:
        self._desk = desk
        self._web = web
        self._door = door
        web.environment.globals["signs_out"] = signs_out

    def routes(self) -> list[BaseRoute]:
        """Everything that is served."""
        door = self._door
        return [
            Route("/", door(self._list), methods=["GET"]),
            Route("/payouts/{no_order}", door(self._payout), methods=["GET"]),
            Route("/payouts/{no_order}/approve", door(self._approve), methods=["POST"]),
            Route("/payouts/{no_order}/decline", door(self._decline), methods=["POST"]),
            Route("/lang/{language}", door.open(self._language), methods=["GET"]),
            Route("/review.css", _style, methods=["GET"]),
        ]

    # ------------------------------------------------------------------ looking

    async def _list(self, reader: Reader) -> Response:
        rows = [_Row(review, self._standing(reader, review)) for review in await self._desk.reviews()]
        return self._web.page(reader, "list.html", rows=rows, now=self._desk.clock.now(), **self._common())

    async def _payout(self, reader: Reader) -> Response:
        no_order = _no_order(reader)
        reader.here = f"payouts/{no_order}"
        try:
            review = await self._desk.review(no_order)
        except CommandRefused:
            return await self._settled(reader, no_order)
        return self._held(reader, review)

    def _held(self, reader: Reader, review: Review, *, fault: str = "", form: str = "", note: str = "") -> Response:
        """One held payout; `fault` is what was wrong with `form`, and `note` what had been written in it."""
        now, case = self._desk.clock.now(), self._standing(reader, review)
        if reader.told == Told("unknown", review.payout.no_order):
            case = Standing.CONFIRMING
        return self._web.page(
            reader, "payout.html", HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK, review=review,
            payout=review.payout, standing=case, first=first_approver(review), seen=seen(review), now=now,
            fault=fault, form=form, note=note, note_max=_NOTE_CHARACTERS_MAX, **self._common(),
        )  # fmt: skip

    async def _settled(self, reader: Reader, no_order: str) -> Response:
        """What became of a payout that is not held (any more)."""
        try:
            payout = await self._desk.get(no_order)
        except CommandRefused:
            return self._web.error(reader, HTTPStatus.NOT_FOUND, "error_unknown_number")
        return self._web.page(reader, "settled.html", payout=payout)

    def _common(self) -> dict[str, Any]:
        return {"Standing": Standing, "two_person": self._desk.two_person}

    def _standing(self, reader: Reader, review: Review) -> Standing:
        who = reader.who or ""
        return standing(review, who, self._desk.clock.now(), two_person=self._desk.two_person)

    async def _language(self, reader: Reader) -> Response:
        language = reader.request.path_params["language"]
        response = self._web.go(reader, place(reader.request.query_params.get("back", "")))
        if language in HTML_LANG:
            self._web.set_cookie(reader, response, "lang", language, samesite="lax")
        return response

    # ------------------------------------------------------------------ deciding

    async def _approve(self, reader: Reader) -> Response:
        fields, no_order = await self._web.form(reader), _no_order(reader)
        reader.here = f"payouts/{no_order}"
        note = " ".join(fields.get("note", "").split())
        try:
            review = await self._desk.review(no_order)
        except CommandRefused as refused:
            return self._tell(reader, "refused", no_order, str(refused))
        fault = _fault_of(note) or ("" if fields.get("checked") == "yes" else "checked_missing")
        if fault:
            return self._held(reader, review, fault=fault, form="approve", note=note)
        if fields.get("seen") != seen(review):
            # The decision rested on a page that is not true any more: another sibling was paid, or somebody spoke.
            mine = any(word.approves and same_person(word.by, reader.who or "") for word in review.words)
            return self._tell(reader, "already" if mine else "changed", no_order)
        return await self._approved(reader, review, note)

    async def _approved(self, reader: Reader, review: Review, note: str) -> Response:
        """Pass the approval on, and tell what came of it on the next page: reloading that sends nothing again."""
        no_order, by = review.payout.no_order, reader.who or ""
        try:
            payout = await self._desk.approve(no_order, by=by, note=note)
        except CommandRefused as refused:
            return self._tell(reader, "refused", no_order, str(refused))
        except BreakerOpen as paused:
            return self._tell(reader, "breaker", no_order, str(paused))
        except OutcomeUnknown:
            return self._tell(reader, "unknown", no_order)
        kind = "first" if self._waits(review, payout) else _CONFIRMED.get(payout.confirmation, "approved")
        return self._tell(reader, kind, no_order)

    def _waits(self, review: Review, payout: Payout) -> bool:
        """True when this approval was the first of the two that it takes."""
        return self._desk.two_person and payout.state is State.REVIEW and first_approver(review) is None

    async def _decline(self, reader: Reader) -> Response:
        fields, no_order = await self._web.form(reader), _no_order(reader)
        reader.here = f"payouts/{no_order}"
        note = " ".join(fields.get("note", "").split())
        try:
            if fault := _fault_of(note):
                return self._held(reader, await self._desk.review(no_order), fault=fault, form="decline", note=note)
            await self._desk.decline(no_order, by=reader.who or "", note=note)
        except CommandRefused as refused:
            return self._tell(reader, "refused", no_order, str(refused))
        return self._tell(reader, "declined", no_order)

    def _tell(self, reader: Reader, kind: str, no_order: str, reason: str = "") -> Response:
        return self._web.go(reader, f"payouts/{no_order}", Told(kind, no_order, reason))


def _no_order(reader: Reader) -> str:
    """The number in the address; raises CommandRefused for what cannot be one."""
    no_order = str(reader.request.path_params["no_order"])
    if not _NUMBER.fullmatch(no_order):
        raise CommandRefused("an order number is 1 to 32 of A-Z a-z 0-9 - _")
    return no_order


def _fault_of(note: str) -> str:
    return "" if 0 < len(note) <= _NOTE_CHARACTERS_MAX else "note_missing"


async def _style(_: Request) -> Response:
    return FileResponse(_STYLE, media_type="text/css")
