"""LianLian's notifications over the web (specification 3.4): what to answer, and two shells that answer it.

    asgi.notification_app(client)           for FastAPI, Starlette, or any ASGI server alone
    aiohttp.notification_handler(client)    for `app.router.add_post`
    answer(client, body)                    for every other server: the bytes to send back, with HTTP status 200

`client` may be a function that returns the client, for frameworks that make it later than their routes. What is
acknowledged and what is not stands in docs/notifications.md; `client.receiver.counts` tells how often each happened.
"""

from __future__ import annotations

from ..errors import NotificationRefused, Refusal
from ..receiving import NOTIFICATION_BYTES_MAX, NotificationCounts
from .desk import ACK, ANSWER_WITHIN_S, CONTENT_TYPE, REFUSAL, ClientSource, answer

__all__ = [
    "ACK",
    "ANSWER_WITHIN_S",
    "CONTENT_TYPE",
    "NOTIFICATION_BYTES_MAX",
    "REFUSAL",
    "ClientSource",
    "NotificationCounts",
    "NotificationRefused",
    "Refusal",
    "answer",
]
