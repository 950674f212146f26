"""What stands before every page: who is there, and one clear sentence for everything that can go wrong."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from attrs import frozen
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..errors import BreakerOpen, CommandRefused, ConfigError, JournalUnavailable, LianLianError, OutcomeUnknown
from ..transport import is_loopback
from .web import FormRefused, Reader, SafeHeaders, Web, add_safe_headers

__all__ = ["Door", "Endpoint", "Identify", "application"]

Identify = Callable[[Request], "str | Awaitable[str | None] | None"]
Endpoint = Callable[[Reader], Awaitable[Response]]

# The first row that fits; what each class proves stands in errors.py.
_ERRORS: Final[tuple[tuple[type[LianLianError], HTTPStatus, str], ...]] = (
    (JournalUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, "error_journal"),
    (OutcomeUnknown, HTTPStatus.BAD_GATEWAY, "error_outcome"),
    (BreakerOpen, HTTPStatus.CONFLICT, "error_breaker"),
    (CommandRefused, HTTPStatus.CONFLICT, "error_refused"),
    (ConfigError, HTTPStatus.SERVICE_UNAVAILABLE, "error_inner"),
    (LianLianError, HTTPStatus.INTERNAL_SERVER_ERROR, "error_inner"),
)


@frozen
class Door:
    """Lets people in. `stranger` answers whoever is nobody that `identify` knows.

    Without `any_host` the page answers to this machine's names alone: a foreign name that leads here is somebody's
    trick on the browser.
    """

    web: Web
    identify: Identify
    stranger: Callable[[Reader], Response]
    any_host: bool = True

    def __call__(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """`endpoint` for people who are known."""

        async def known(reader: Reader) -> Response:
            reader.who = await self.who(reader.request)
            return self.stranger(reader) if reader.who is None else await endpoint(reader)

        return self.open(known)

    def open(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """`endpoint` for everybody."""

        async def answer(request: Request) -> Response:
            reader = self.web.reader(request)
            if not self.any_host and not is_loopback(request.url.hostname or ""):
                return self.web.error(reader, HTTPStatus.MISDIRECTED_REQUEST, "error_host")
            try:
                return await endpoint(reader)
            except FormRefused:
                return self.web.error(reader, HTTPStatus.FORBIDDEN, "error_form")
            except LianLianError as error:
                status, name = next(row[1:] for row in _ERRORS if isinstance(error, row[0]))
                return self.web.error(reader, status, name, str(error))

        return answer

    async def who(self, request: Request) -> str | None:
        """The person's name, as the host application knows it."""
        said = self.identify(request)
        name = await said if inspect.isawaitable(said) else said
        return name.strip() or None if name is not None else None


def application(web: Web, routes: list[BaseRoute]) -> Starlette:
    """The pages as one application, with an answer in the reader's language for everything else."""

    async def refused(request: Request, error: Exception) -> Response:
        status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.BAD_REQUEST
        name = "error_missing" if status == HTTPStatus.NOT_FOUND else "error_method"
        return web.error(web.reader(request), status, name)

    async def broken(request: Request, _: Exception) -> Response:
        # This answer is made outside of all middleware. The error itself goes on to the server's log.
        response = web.error(web.reader(request), HTTPStatus.INTERNAL_SERVER_ERROR, "error_inner")
        add_safe_headers(response.headers)
        return response

    return Starlette(
        routes=routes,
        middleware=[Middleware(SafeHeaders)],
        exception_handlers={HTTPException: refused, Exception: broken},
    )
