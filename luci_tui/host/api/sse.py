"""Server-sent events: the answer that streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from luci_tui.errors import LuciError
from luci_tui.host.api.messages import HEARTBEAT_S, ErrorBody, error_body
from luci_tui.host.events import Entry

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_BEAT = b": still here\n\n"

logger = logging.getLogger(__name__)


class EventStream(Response):
    """An answer of events; it closes its source as soon as the client goes away.

    Args:
        events: Entries of a log, which are numbered, or models with a `kind`.
        heartbeat_s: Seconds without an event after which a comment is sent.
    """

    def __init__(
        self,
        events: AsyncGenerator[Entry] | AsyncGenerator[BaseModel],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__()
        self._events = events
        self._heartbeat_s = heartbeat_s
        self._has_sent = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the source ends or the client is gone."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        pump = asyncio.create_task(self._pump(send))
        beat = asyncio.create_task(self._beat(send))
        watch = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({pump, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (pump, beat, watch)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not pump.cancelled() and pump.exception() is None:
            await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    await self._send(send, _encode(event))
        except LuciError as error:
            await self._send(send, _encode(error_body(error)))
        except Exception as error:
            # The handler of a route: a mistake of ours is told and logged, the host goes on.
            logger.exception("a stream met a mistake in luci")
            message = f"The host met a mistake in luci: {error!r}. Report it with the host's log."
            await self._send(send, _encode(ErrorBody(code="internal", message=message)))

    async def _beat(self, send: Send) -> None:
        while True:
            self._has_sent = False
            await asyncio.sleep(self._heartbeat_s)
            if not self._has_sent:
                await self._send(send, _BEAT)

    async def _send(self, send: Send, data: bytes) -> None:
        self._has_sent = True
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _encode(event: Entry | BaseModel) -> bytes:
    if isinstance(event, Entry):
        head = f"id: {event.seq}\nevent: {event.kind}\ndata: ".encode()
        return head + event.data + b"\n\n"
    kind = getattr(event, "kind", type(event).__name__)
    return f"event: {kind}\ndata: {event.model_dump_json()}\n\n".encode()


def cursor_of(request: Request) -> int:
    """Return the number after which a reader wants to go on: `?after=`, else Last-Event-ID."""
    text = request.query_params.get("after") or request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
