"""A payout service on FastAPI: other programs of the house ask it for payouts, each under a key of their own.

Against the simulator, in two commands (`pip install 'lianlian-async[cli]' fastapi uvicorn` comes before them):

    lianlian-async simulate > gateway.env &
    . ./gateway.env; SERVICE_TOKEN=secret LIANLIAN_JOURNAL=sqlite:///payouts.db \
        LIANLIAN_NOTIFY_URL=http://127.0.0.1:8000/lianlian python fastapi_service.py

    curl -H 'Authorization: Bearer secret' -H 'Content-Type: application/json' http://127.0.0.1:8000/payouts -d \
        '{"key": "salary-11/1042", "money_order": "25.78", "card_no": "6228480223123114741", "acct_name": "李三"}'

In production only the LIANLIAN_* variables differ: your keys, no LIANLIAN_BASE_URL, and a public https notify_url.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Annotated, Any, Final

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Route

from lianlian_async import Changed, Clock, LianLianClient, LianLianError, Order, Payout, Settings, errors
from lianlian_async.notifications.asgi import notification_app
from lianlian_async.testing import ScaledClock
from lianlian_async.worker import Worker

# How long a caller is kept waiting for the outcome. Whoever hangs up earlier ends that wait, never the payout.
WAIT_S: Final = 5.0

# ---------------------------------------------------------------------- the application's own table

# Every change of a payout, once. Where a payout stands is its newest one, in whatever order they were told.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS changes (id TEXT PRIMARY KEY, version INTEGER NOT NULL, key TEXT, no_order TEXT NOT NULL,
    state TEXT NOT NULL, step TEXT NOT NULL, money_order TEXT NOT NULL, settle_date TEXT);
CREATE VIEW IF NOT EXISTS payouts AS
    SELECT key, no_order, state, step, money_order, settle_date, max(version) AS version FROM changes GROUP BY no_order;
"""


def table() -> closing[sqlite3.Connection]:
    """The application's database, which is not the journal: nothing but the library writes there."""
    return closing(sqlite3.connect(os.environ.get("SERVICE_DATABASE", "service.db"), timeout=30))


def note(changed: Changed) -> None:
    """Write a change down. It is told at least once, so it may come again: its id is the same then."""
    now = changed.payout
    row = (changed.id, changed.version, now.key, changed.no_order, changed.state, changed.step, str(now.money_order))
    with table() as database, database:
        database.execute("INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, now.settle_date))


async def on_change(changed: Changed) -> None:
    """Called after the journal's commit, by one process at a time; if it raises, it is called again later."""
    await asyncio.to_thread(note, changed)


# ---------------------------------------------------------------------- the client's life


def trial_clock() -> Clock | None:
    """A fast clock for trials; the client refuses it unless the gateway is a simulator on this machine."""
    scale = os.environ.get("LIANLIAN_TIME_SCALE")
    return ScaledClock(float(scale)) if scale else None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the whole process. On the way out everything in flight is finished; the rest goes on next time."""
    if not os.environ.get("SERVICE_TOKEN"):
        raise RuntimeError("set SERVICE_TOKEN: whoever may call this service may spend money")
    with table() as database:
        database.executescript(SCHEMA)
    settings, stop = Settings.load(), asyncio.Event()
    async with LianLianClient(
        settings.merchant(),
        settings.configured_journal(),
        clock=trial_clock(),
        on_change=on_change,
        subscriber="service",
    ) as client:
        app.state.client = client
        # What an earlier process left open goes on at once. The worker sees to all that comes later: payouts of
        # other processes that died, and paid ones, which the bank may still return.
        await client.recover()
        worker = asyncio.create_task(Worker(client).run(stop))
        try:
            yield
        finally:
            stop.set()
            await worker


def client_of(request: Request) -> LianLianClient:
    """The client that the lifespan has made."""
    client: LianLianClient = request.app.state.client
    return client


def check_token(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> None:
    """Put what your house uses here. LianLian's notifications do not pass it: they prove themselves by signature."""
    if not secrets.compare_digest(given.credentials.encode(), os.environ["SERVICE_TOKEN"].encode()):
        raise HTTPException(401, "wrong token")


Client = Annotated[LianLianClient, Depends(client_of)]
guarded = [Depends(check_token)]
app = FastAPI(title="payouts", lifespan=lifespan)
app.router.routes.append(Route("/lianlian", notification_app(lambda: app.state.client), methods=["POST"]))

# ---------------------------------------------------------------------- the doors


class Wanted(BaseModel):
    """A payout that somebody asks for. Money is text: a JSON number would have been a float on its way here."""

    model_config = ConfigDict(extra="forbid")
    key: str  # the caller's own name for this payment, unique for ever
    money_order: str
    card_no: str = Field(repr=False)
    acct_name: str = Field(repr=False)
    info_order: str | None = None
    duplicate_ok: bool = False  # a person has looked at the twins, and both are meant


@app.post("/payouts", dependencies=guarded)
async def pay(wanted: Wanted, client: Client, response: Response) -> dict[str, Any]:
    """Pay once, however often this is called. 200: it has ended (look how); 202: ask again, here or below."""
    members = wanted.model_dump(include={"money_order", "card_no", "acct_name", "info_order"})
    payout = await client.pay(Order(**members), key=wanted.key, wait_s=WAIT_S, duplicate_ok=wanted.duplicate_ok)
    response.status_code = 200 if payout.final else 202
    return shown(payout)


@app.get("/payouts/{key:path}", dependencies=guarded)
async def get(key: str, client: Client) -> dict[str, Any]:
    """What the journal knows of a payout."""
    payout = await client.find(key)
    if payout is None:
        raise HTTPException(404, "no payout has been asked for under this key")
    return shown(payout)


def shown(payout: Payout) -> dict[str, Any]:
    """What callers see: card number and name are masked already, money stays text."""
    return {
        "key": payout.key, "no_order": payout.no_order, "money_order": str(payout.money_order),
        "card_no": payout.card_no, "state": payout.state, "step": payout.step, "advice": payout.advice,
        "oid_paybill": payout.oid_paybill, "settle_date": payout.settle_date,
    }  # fmt: skip


# What an exception proves about the money decides the status. 202 and 503: ask again with the same key, which is
# always safe. 409 and 422: nothing was sent, and something must be put right first.
STATUS: Final[dict[type[LianLianError], int]] = {
    errors.OutcomeUnknown: 202, errors.OrderConflict: 409, errors.DuplicateSuspected: 409, errors.InvalidOrder: 422,
    errors.BreakerOpen: 503, errors.JournalUnavailable: 503,
}  # fmt: skip


@app.exception_handler(LianLianError)
async def refused(_: Request, error: LianLianError) -> JSONResponse:
    """The library's messages hold no card number and no name, so they may be shown to the caller."""
    status = STATUS.get(type(error), 503)
    told: dict[str, Any] = {"error": type(error).__name__, "advice": str(error)}
    if isinstance(error, errors.DuplicateSuspected):
        told["twins"] = [number for numbers in error.twins.values() for number in numbers]
        told["advice"] = 'nothing was sent; if both are meant, send this again with "duplicate_ok": true'
    elif isinstance(error, errors.InvalidOrder):
        told |= {"field": error.field, "problem": error.problem, "remedy": error.remedy}
    elif isinstance(error, errors.OutcomeUnknown):
        told |= {"state": "UNKNOWN", "step": "QUERY", "advice": "it may have been paid: ask again with the same key"}
    return JSONResponse(told, status, headers={"Retry-After": "5"} if status in (202, 503) else None)


@app.exception_handler(RequestValidationError)
async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
    """FastAPI's own answer repeats what was sent, card number and all; this one names the field."""
    problems = [{"field": ".".join(map(str, e["loc"][1:])), "problem": e["msg"]} for e in error.errors()]
    return JSONResponse({"error": "malformed", "problems": problems}, 422)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # SIGTERM: no new requests, those under way get a few seconds, then the lifespan closes the client.
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=15)
