"""What the shells share: one request, one deadline, one of two answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from attrs import frozen

from ..client import LianLianClient
from ..errors import ConfigError, LianLianError, Refusal
from ..receiving import NOTIFICATION_BYTES_MAX

__all__ = ["ACK", "ANSWER_WITHIN_S", "CONTENT_TYPE", "REFUSAL", "Answer", "ClientSource", "CutOff", "Desk", "answer"]

logger = logging.getLogger("lianlian_async.notifications")

ACK: Final = '{"ret_code":"0000","ret_msg":"交易成功"}'.encode()
# The same for every cause: whoever probes with forgeries learns nothing from it.
REFUSAL: Final = '{"ret_code":"9999","ret_msg":"系统异常"}'.encode()
CONTENT_TYPE: Final = "application/json;charset=utf-8"
# LianLian waits five seconds, reading the body included; what comes later counts as no answer.
ANSWER_WITHIN_S: Final = 4.5

ClientSource: TypeAlias = LianLianClient | Callable[[], LianLianClient | None]


async def answer(client: LianLianClient, body: bytes) -> bytes:
    """What to answer to a notification: `ACK` once it is durably on record, `REFUSAL` for every other outcome."""
    try:
        await client.receive(body)
    except ConfigError:
        client.receiver.refuse_unread(Refusal.NOT_READY)
        return REFUSAL
    except LianLianError:
        return REFUSAL
    return ACK


class CutOff(Exception):
    """The sender went away, or broke the protocol, in the middle of the body."""


class _TooLong(Exception):
    pass


class _Encoded(Exception):
    pass


@frozen
class Answer:
    """The body of the answer, and whether the connection ends with it: what is left of a request is never read."""

    body: bytes
    close: bool = False


class Desk:
    """Takes requests for a client that may not exist yet; each gets its answer within `within_s` real seconds."""

    def __init__(self, source: ClientSource, within_s: float) -> None:
        self._source = source
        self._within_s = within_s
        self._missed = False

    async def answer(
        self, chunk: Callable[[], Awaitable[bytes | None]], *, length: str | None, encoding: str | None
    ) -> Answer:
        """The answer to the request whose body comes by `chunk` (None is its end; it may raise CutOff).

        `length` and `encoding` are its Content-Length and Content-Encoding, if it has them.
        """
        client = self._client()
        if client is None:
            return Answer(REFUSAL, close=True)
        receiver, body = client.receiver, None
        try:
            # One deadline for both, so that a slow sender leaves less to the journal, never more to the answer.
            async with asyncio.timeout(self._within_s):
                body = await _body(chunk, length, encoding)
                return Answer(await answer(client, body))
        except TimeoutError:
            # What was proven goes on to the journal all the same, and the repeat is acknowledged.
            receiver.refuse_unread(Refusal.LATE) if body is None else receiver.refuse(Refusal.LATE)
        except CutOff:
            receiver.refuse_unread(Refusal.CUT_OFF)
        except _TooLong:
            receiver.refuse_unread(Refusal.OVERSIZE)
        except _Encoded:
            receiver.refuse_unread(Refusal.MALFORMED)
        return Answer(REFUSAL, close=True)

    def _client(self) -> LianLianClient | None:
        try:
            client = self._source() if callable(self._source) else self._source
        except (AttributeError, LookupError) as error:
            # Where an application keeps what it has not made yet: `app.state.client`, `app["client"]`.
            client, why = None, repr(error)
        else:
            why = "it is not there yet"
        if client is None and not self._missed:
            logger.warning("notifications are refused until there is a client (%s)", why)
        self._missed = client is None
        return client


async def _body(chunk: Callable[[], Awaitable[bytes | None]], length: str | None, encoding: str | None) -> bytes:
    """The whole body. Memory holds at most one chunk more than is allowed."""
    if encoding not in (None, "", "identity"):
        # Nobody notifies in gzip, and a small body could become a very large one.
        raise _Encoded
    if length is not None and length.isdecimal() and int(length[:20]) > NOTIFICATION_BYTES_MAX:
        raise _TooLong
    body = bytearray()
    while (part := await chunk()) is not None:
        body += part
        if len(body) > NOTIFICATION_BYTES_MAX:
            raise _TooLong
    return bytes(body)
