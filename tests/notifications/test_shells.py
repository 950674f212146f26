"""Both shells on real sockets: what a sender gets who is slow, long, gone, early, or wrong."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from aiohttp import web
from client_fixtures import MakeWorld
from client_world import Keys, for_ever
from notify_world import (
    SHELLS,
    Pen,
    aiohttp_at,
    load,
    posted,
    sender,
    sent,
    serving,
    told,
    until,
    uvicorn_at,
)  # fmt: skip
from test_forgeries import forgeries

from lianlian_async import JournalUnavailable, LianLianClient, State
from lianlian_async.notifications import ACK, NOTIFICATION_BYTES_MAX, REFUSAL, Refusal, answer
from lianlian_async.notifications.aiohttp import notification_handler
from lianlian_async.notifications.asgi import notification_app

IN_EACH = pytest.mark.parametrize("shell", SHELLS)
OK, REFUSED = (200, ACK), (200, REFUSAL)


@IN_EACH
async def test_a_genuine_one_is_acknowledged_and_a_repeat_on_the_same_connection_too(
    world: MakeWorld, pen: Pen, shell: str
) -> None:
    """HTTP 200, JSON in UTF-8, the specification's words; the connection lives on."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        async with serving(shell, client) as url, sender(url) as s:
            for _ in range(2):
                s.post(pen.notify(record))
                status, headers, body = await s.answer()
                assert (status, body, headers["content-type"]) == (200, ACK, "application/json;charset=utf-8")
        assert (await load(client, record.no_order)).state is State.PAID


@IN_EACH
async def test_every_forgery_gets_the_same_answer(world: MakeWorld, pen: Pen, stranger: Pen, shell: str) -> None:
    """T14: status, headers and body are the same bytes whatever is wrong, as long as the body has come in whole."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        answers = set()
        async with serving(shell, client) as url:
            for _, body, reason in forgeries(record, pen, stranger):
                if reason is not Refusal.OVERSIZE:
                    async with sender(url) as s:
                        s.post(body)
                        status, headers, said = await s.answer()
                        headers.pop("date")
                        answers.add((status, tuple(sorted(headers.items())), said))
        assert len(answers) == 1
        assert {(status, said) for status, _, said in answers} == {REFUSED}
        assert await load(client, record.no_order) == record


@IN_EACH
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_not_allowed(world: MakeWorld, shell: str, method: str) -> None:
    """405 and what would be; the journal hears nothing of it."""
    async with world() as w:
        client = await w.client()
        async with serving(shell, client) as url, sender(url) as s:
            s.head("Content-Length: 0", method=method)
            assert int((await s.reader.readline()).split()[1]) == 405
        assert client.receiver.counts.received == 0


@IN_EACH
@pytest.mark.parametrize("framed", ["declared", "chunked", "exactly too long"])
async def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    world: MakeWorld, pen: Pen, shell: str, framed: str
) -> None:
    """At once when its length is declared, else at 64 KiB; then the connection ends."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        async with serving(shell, client) as url, sender(url) as s:
            if framed == "declared":
                s.head("Content-Length: 10000000000", "Content-Type: text/json")
            elif framed == "chunked":
                s.head("Transfer-Encoding: chunked", "Content-Type: text/json")
                s.writer.write(b"10001\r\n" + b" " * 0x10001 + b"\r\n")
            else:
                body = pen.notify(record)
                s.post(body + b" " * (NOTIFICATION_BYTES_MAX + 1 - len(body)))
            status, headers, said = await s.answer()
            assert ((status, said), headers["connection"]) == (REFUSED, "close")
        assert client.receiver.counts.refused == {Refusal.OVERSIZE: 1}


@IN_EACH
async def test_a_stream_without_end_costs_no_memory(world: MakeWorld, shell: str) -> None:
    """10 MB in chunks, as fast as it will go: refused at 64 KiB, and never more than a few of those in memory."""
    async with world() as w:
        client = await w.client()
        async with serving(shell, client) as url, sender(url) as s:
            chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
            tracemalloc.start()
            s.head("Transfer-Encoding: chunked", "Content-Type: text/json")
            try:
                for _ in range(640):
                    s.writer.write(chunk)
                    await s.writer.drain()
            except ConnectionError:
                pass  # The server has closed: so much the better.
            await until(lambda: client.receiver.counts.refused[Refusal.OVERSIZE] == 1)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 2_000_000


@IN_EACH
async def test_compressed_bodies_are_refused(world: MakeWorld, pen: Pen, shell: str) -> None:
    """T11: neither a genuine one in gzip nor a bomb of 10 MB is ever inflated."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        bomb = gzip.compress(b" " * 10_000_000)
        async with serving(shell, client) as url:
            tracemalloc.start()
            for body in (gzip.compress(pen.notify(record)), bomb):
                assert await posted(url, body, "Content-Encoding: gzip") == REFUSED
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 2_000_000
        assert client.receiver.counts.refused == {Refusal.MALFORMED: 2}


@IN_EACH
@pytest.mark.parametrize("stops", ["before the body", "in the middle"])
async def test_a_slow_body_is_refused_in_time(world: MakeWorld, pen: Pen, shell: str, stops: str) -> None:
    """One deadline for reading and answering, however the bytes drip; then the connection ends."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        async with serving(shell, client, within_s=0.2) as url, sender(url) as s:
            s.head(f"Content-Length: {len(body)}", "Content-Type: text/json")
            if stops == "in the middle":
                for byte in body[:20]:
                    s.writer.write(bytes([byte]))
                    await s.writer.drain()
            status, headers, said = await s.answer()
            assert ((status, said), headers["connection"]) == (REFUSED, "close")
        assert client.receiver.counts.refused == {Refusal.LATE: 1}
        assert client.receiver.counts.received == 1


@IN_EACH
async def test_a_sender_that_goes_away_in_the_middle_leaves_nothing_behind(
    world: MakeWorld, pen: Pen, shell: str
) -> None:
    """Half a body is none: counted, and no error in the server."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        body = pen.notify(record)
        async with serving(shell, client) as url:
            async with sender(url) as s:
                s.head(f"Content-Length: {len(body)}")
                s.writer.write(body[:100])
                await s.writer.drain()
            await until(lambda: client.receiver.counts.received == 1)
        assert client.receiver.counts.refused == {Refusal.CUT_OFF: 1}
        assert await load(client, record.no_order) == record


async def test_a_body_that_breaks_the_protocol_is_no_error_of_the_servers(world: MakeWorld) -> None:
    """A chunk whose length is no number: refused or cut off, by whichever server."""
    async with world() as w:
        client = await w.client()
        async with serving("aiohttp", client) as url, sender(url) as s:
            s.head("Transfer-Encoding: chunked")
            s.writer.write(b'5\r\n{"a":\r\nzz\r\n')
            await s.reader.read(65536)
        assert client.receiver.counts.accepted == 0


# ---------------------------------------------------------------------- the sender, or the framework, gives up on us


def held_up(client: LianLianClient, phase: str = "before") -> asyncio.Event:
    """Hold the journal's next save up until the event is set; `busy` tells that it hangs there."""
    release, tap = asyncio.Event(), client.journal

    async def wait(at: str, name: str, count: int, args: tuple[Any, ...]) -> None:
        if (at, name) == (phase, "save"):
            await release.wait()

    tap.hook = wait  # type: ignore[attr-defined]
    return release


@IN_EACH
async def test_a_sender_that_goes_away_after_the_body_loses_no_commit(world: MakeWorld, pen: Pen, shell: str) -> None:
    """The journal is slow, the sender is gone: what was proven is written down all the same."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        release, tap = held_up(client), w.journals[0]
        async with serving(shell, client) as url:
            async with sender(url) as s:
                s.post(pen.notify(record))
                await until(lambda: tap.busy == 1)
            release.set()
            await until(lambda: client.receiver.counts.accepted == 1)
        assert (await load(client, record.no_order)).state is State.PAID


async def test_a_handler_that_is_cancelled_by_its_server_loses_no_commit(world: MakeWorld, pen: Pen) -> None:
    """aiohttp with `handler_cancellation`: the disconnect reaches the handler as a cancel, after the verification."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        release, tap = held_up(client), w.journals[0]
        cancelled: list[bool] = []
        inner = notification_handler(client)

        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                return await inner(request)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async with aiohttp_at(handler, handler_cancellation=True) as base:
            async with sender(f"{base}/n") as s:
                s.post(pen.notify(record))
                await until(lambda: tap.busy == 1)
            await until(lambda: bool(cancelled))
            release.set()
            await until(lambda: client.receiver.counts.accepted == 1)
        assert (await load(client, record.no_order)).state is State.PAID


@pytest.mark.parametrize("how", ["cancel", "double cancel", "anyio scope", "anyio scope, and a cancel"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_cancelled_caller_loses_no_commit(world: MakeWorld, pen: Pen, how: str, kind: str) -> None:
    """At every step of the journal's work: the caller's wait ends, the payout's does not."""
    async with world(journal=kind) as w:
        client = await w.client()
        record = await sent(w, client)
        release, tap = held_up(client), w.journals[0]
        scope = anyio.CancelScope()

        async def in_scope() -> bytes:
            with scope:
                return await answer(client, pen.notify(record))
            return b"the scope ended"

        caller = w.start(in_scope() if "scope" in how else answer(client, pen.notify(record)))
        await until(lambda: tap.busy == 1)
        if "scope" in how:
            scope.cancel()
        if how != "anyio scope":
            caller.cancel()
        if how == "double cancel":
            await asyncio.sleep(0)
            caller.cancel()
        await until(caller.done)
        assert (await load(client, record.no_order)).state is State.IN_PROGRESS
        release.set()
        await until(lambda: client.receiver.counts.accepted == 1)
        assert (await load(client, record.no_order)).state is State.PAID
        assert await answer(client, pen.notify(record)) == ACK


@IN_EACH
async def test_a_journal_that_hangs_is_not_waited_for(world: MakeWorld, pen: Pen, shell: str) -> None:
    """No answer would be worse than none that acknowledges: refused in time, committed later, the repeat acknowledged."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        release = held_up(client)
        async with serving(shell, client, within_s=0.5) as url:
            assert await posted(url, pen.notify(record)) == REFUSED
            assert client.receiver.counts.refused == {Refusal.LATE: 1}
            release.set()
            await until(lambda: client.receiver.counts.accepted == 1)
        async with serving(shell, client) as url:
            assert await posted(url, pen.notify(record)) == OK
        assert len(told(await load(client, record.no_order))) == 1


@IN_EACH
async def test_a_journal_that_is_down_and_up_again(world: MakeWorld, pen: Pen, shell: str) -> None:
    """Down: not acknowledged. Up: the repeat is."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)

        def down(phase: str, name: str, count: int, args: tuple[Any, ...]) -> None:
            raise JournalUnavailable("gone")

        async with serving(shell, client) as url:
            w.journals[0].hook = down
            assert await posted(url, pen.notify(record)) == REFUSED
            w.journals[0].hook = None
            assert await posted(url, pen.notify(record)) == OK


async def test_closing_the_client_waits_for_what_is_being_written(world: MakeWorld, pen: Pen) -> None:
    """`aclose` finishes a commit that nobody waits for any more, before it closes the journal."""
    async with world(journal="sqlite") as w:
        client = await w.client()
        record = await sent(w, client)
        release, tap = held_up(client), w.journals[0]
        caller = w.start(answer(client, pen.notify(record)))
        await until(lambda: tap.busy == 1)
        caller.cancel()
        closing = w.start(client.aclose())
        await asyncio.sleep(0)
        release.set()
        await closing
        assert (await load(await w.client(w.journal()), record.no_order)).state is State.PAID


# ---------------------------------------------------------------------- a client that comes later than its routes


class Holder:
    client: LianLianClient | None


@IN_EACH
@pytest.mark.parametrize("where", ["None", "AttributeError", "KeyError"])
async def test_until_there_is_a_client_all_is_refused(
    world: MakeWorld, pen: Pen, shell: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """FastAPI makes the client in its lifespan: until then the answer is the same as to a forgery, with one log line."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        holder, shelf = Holder(), {}
        if where == "None":
            holder.client = None
        sources: dict[str, Any] = {"KeyError": lambda: shelf["client"]}
        async with serving(shell, sources.get(where, lambda: holder.client)) as url:
            for _ in range(3):
                assert await posted(url, pen.notify(record)) == REFUSED
            holder.client = shelf["client"] = client
            assert await posted(url, pen.notify(record)) == OK
        lines = [r.getMessage() for r in caplog.records if "until there is a client" in r.getMessage()]
        assert len(lines) == 1


async def test_a_mistake_in_the_application_is_not_hidden(world: MakeWorld, pen: Pen) -> None:
    """Whatever else the function raises is the application's: the server answers 500, so nothing is acknowledged."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)

        def broken() -> LianLianClient:
            raise ZeroDivisionError

        async with uvicorn_at(notification_app(broken)) as base:
            status, _ = await posted(f"{base}/n", pen.notify(record))
        assert status == 500


# ---------------------------------------------------------------------- frameworks around the ASGI application


async def fastapi_route(app: Any, shell: Any) -> str:
    app.add_route("/lianlian", shell, methods=["POST"])
    return "/lianlian"


async def fastapi_mount(app: Any, shell: Any) -> str:
    app.mount("/lianlian", shell)
    return "/lianlian/"


@pytest.mark.parametrize("place", [fastapi_route, fastapi_mount])
async def test_in_a_fastapi_application_with_its_lifespan(world: MakeWorld, pen: Pen, place: Any) -> None:
    """The client is made in the lifespan and found through `app.state`; the application's other routes are untouched."""
    from contextlib import asynccontextmanager

    from fastapi import FastAPI

    async with world(journal="sqlite") as w:
        paying = await w.client()
        record = await sent(w, paying)

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> Any:
            async with LianLianClient(w.merchant, w.journal(), clock=w.clock) as client:
                app.state.client = client
                yield

        app = FastAPI(lifespan=lifespan)
        path = await place(app, notification_app(lambda: app.state.client))

        @app.get("/health")
        async def health() -> str:
            return "ok"

        async with uvicorn_at(app, lifespan="on") as base:
            assert await posted(base + path, pen.notify(record)) == OK
            assert await posted(base + path, b"{}") == REFUSED
            async with sender(f"{base}/health") as s:
                s.head(method="GET")
                assert (await s.answer())[0] == 200
        assert (await load(paying, record.no_order)).state is State.PAID


async def test_as_a_starlette_route_behind_a_middleware_that_cancels(world: MakeWorld, pen: Pen) -> None:
    """`BaseHTTPMiddleware` runs the application in a cancel scope of anyio's."""
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Route

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        release, tap = held_up(client), w.journals[0]
        app = Starlette(routes=[Route("/n", notification_app(client))])
        app.add_middleware(Passing)
        async with uvicorn_at(app) as base:
            async with sender(f"{base}/n") as s:
                s.post(pen.notify(record))
                await until(lambda: tap.busy == 1)
            release.set()
            await until(lambda: client.receiver.counts.accepted == 1)
            assert await posted(f"{base}/n", pen.notify(record)) == OK


async def test_alone_under_a_server_with_lifespan_and_websockets(world: MakeWorld, pen: Pen) -> None:
    """Run alone, it starts and stops as a server expects, and takes no websocket."""
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        async with uvicorn_at(notification_app(client), lifespan="on") as base:
            assert await posted(f"{base}/anywhere", pen.notify(record)) == OK
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await notification_app(lambda: None)({"type": "websocket"}, for_ever, send)
    assert said == [{"type": "websocket.close", "code": 1000}]


async def test_over_http_2_no_header_of_http_1_is_sent() -> None:
    """`Connection` is forbidden there."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    for version in ("1.1", "2"):
        scope = {"type": "http", "method": "POST", "http_version": version, "headers": []}
        await notification_app(lambda: None)(scope, for_ever, send)
    first, second = (dict(m["headers"]) for m in said if m["type"] == "http.response.start")
    assert first.pop(b"connection") == b"close"
    assert first == second


async def test_an_aiohttp_route_for_all_methods(world: MakeWorld) -> None:
    """Registered by `add_route("*", ...)`, the handler itself refuses what is no POST."""
    async with world() as w:
        client = await w.client()
        app = web.Application()
        app.router.add_route("*", "/n", notification_handler(client))
        async with AsyncExitStack() as stack:
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            s = await stack.enter_async_context(sender(f"http://127.0.0.1:{runner.addresses[0][1]}/n"))
            s.head("Content-Length: 0", method="PUT")
            status, headers, _ = await s.answer()
            assert (status, headers["allow"]) == (405, "POST")


async def test_no_secret_in_any_log_line(
    world: MakeWorld, pen: Pen, stranger: Pen, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """T9: everything logged that any library would log; card, name, body and sign are nowhere."""
    import logging

    caplog.set_level(logging.DEBUG)
    async with world() as w:
        client = await w.client()
        record = await sent(w, client)
        bodies = [
            pen.notify(record),
            pen.notify(record, "FAILURE"),
            stranger.notify(record),
            pen.notify(record, money_order="1.00"),
        ]
        bodies.append(pen.notify(record, no_order="elsewhere"))
        bodies += [body for _, body, _ in forgeries(record, pen, stranger)]
        for shell in SHELLS:
            async with serving(shell, client) as url:
                for body in bodies[:5]:
                    await posted(url, body)
        for body in bodies:
            await answer(client, body)
        content = record.content
        secrets = [content["card_no"], content["acct_name"], content["card_no"][6:-4], content["info_order"]]
        import json

        secrets += [json.loads(body)["sign"] for body in bodies[:5]]
        text = "\n".join(
            f"{r.getMessage()} {r.args}"
            for r in caplog.records
            if r.name.startswith(("lianlian", "uvicorn", "aiohttp"))
        )
        assert "notification refused" in text
        assert not [secret for secret in secrets if secret in text]
