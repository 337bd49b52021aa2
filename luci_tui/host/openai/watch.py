"""Runs the app for one request for as long as its client is there.

When the client goes, the task is cancelled; the cancellation closes the engine's iterator, and
the engine ends the answer before its next decode. Every endpoint gets this without asking for it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luci_tui.host.openai.body import ClientGoneError
from luci_tui.host.openai.errors import ApiError

RESPONSE = "luci.response"
"""Where a request's scope has its Response."""

logger = logging.getLogger(__name__)


class Response:
    """The way out: knows what was sent. How long a client may leave it unread, `protocol.py` says.

    Args:
        send: The server's.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: list[tuple[bytes, bytes]] = []
        """Added to every response."""
        self.status = 0
        """0 = nothing was sent."""
        self.rest: Callable[[Send], Awaitable[None]] | None = None
        """Sends what is left when the app has returned: each event of a stream would have to pass
        all layers of the app twice."""

    async def send(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *self.headers]}
        await self._send(message)


async def run_watched(
    app: ASGIApp, scope: Scope, body: bytes, receive: Receive, response: Response
) -> None:
    """Run the app with a body that was read before, until it ends or the client goes.

    Raises:
        ApiError: the app failed; the client may have a part of its answer.
        ClientGoneError: the client went first.
    """
    gone = asyncio.Event()
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        if pending:
            return pending.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    scope[RESPONSE] = response
    work = asyncio.create_task(_call(app, scope, receive_again, response))
    watcher = asyncio.create_task(_wait_until_gone(receive))
    try:
        await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            gone.set()
            raise ClientGoneError
        work.result()
    finally:
        for task in (work, watcher):
            task.cancel()
        for task in (work, watcher):
            with suppress(asyncio.CancelledError, ClientGoneError, ApiError):
                await task


async def _call(app: ASGIApp, scope: Scope, receive: Receive, response: Response) -> None:
    try:
        await app(scope, receive, response.send)
        if response.rest is not None:
            await response.rest(response.send)
    except (ApiError, ClientGoneError):
        raise
    except Exception as error:
        # The text of the error is left out of the log, for it may quote the request.
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("a request failed with %s:\n%s", type(error).__name__, frames)
        msg = "The server met an error that it does not know; its log has more. Try again."
        raise ApiError(500, "internal_error", msg) from error


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
