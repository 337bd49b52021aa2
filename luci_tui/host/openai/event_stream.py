"""Named server-sent events, with a look ahead at the start and a sign of life in each silence."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Answering
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.strict import JsonObject

HEARTBEAT_S = 10.0
"""Longest silence on a stream, so that no proxy takes it for dead."""
PEEK_S = 3.0
"""How long the first event is waited for before the stream is begun without it."""

_QUEUED = 32

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Item = Answering | frames.GenerateEvent


class FeedEndedError(Exception):
    """The stream of a feed is at its end."""


@dataclass(frozen=True)
class _End:
    error: Exception


@dataclass
class Feed(Generic[T]):
    """A stream that runs in one task of its own, to be read with a limit on the waiting."""

    queue: asyncio.Queue[T | _End] = field(default_factory=lambda: asyncio.Queue(_QUEUED))
    ended: Exception | None = None
    """How the stream ended, once that was read."""

    async def run(self, stream: AsyncGenerator[T]) -> None:
        """Move everything from the stream to the queue; a failure comes last."""
        end = _End(FeedEndedError())
        try:
            async with aclosing(stream):
                async for item in stream:
                    await self.queue.put(item)
        except Exception as error:
            end = _End(error)
        await self.queue.put(end)

    async def get(self, timeout_s: float) -> T | None:
        """Return the next item; None = nothing came in that time.

        Raises:
            FeedEndedError: the stream is at its end.
            Exception: whatever the stream failed with.
        """
        if self.ended is not None:
            raise self.ended
        try:
            async with asyncio.timeout(timeout_s):
                item = await self.queue.get()
        except TimeoutError:
            return None
        if not isinstance(item, _End):
            return item
        self.ended = item.error
        raise item.error


@asynccontextmanager
async def feed(stream: AsyncGenerator[T]) -> AsyncGenerator[Feed[T]]:
    """Read a stream through a Feed; leaving the `async with` closes it."""
    made: Feed[T] = Feed()
    task = asyncio.create_task(made.run(stream))
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def peek(events: Feed[_Item]) -> list[_Item]:
    """Wait a while for the first event of an answer, and return what came until then.

    Raises:
        Exception: the answer failed before its first event.
    """
    early: list[_Item] = []
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PEEK_S
    while (left_s := deadline - loop.time()) > 0:
        item = await events.get(left_s)
        if item is not None:
            early.append(item)
        if not isinstance(item, Answering):
            break
    return early


async def beats(events: Feed[_Item], early: list[_Item]) -> AsyncGenerator[_Item | None]:
    """Give what was peeked at and all that follows; None = nothing came for HEARTBEAT_S."""
    for item in early:
        yield item
    while True:
        try:
            yield await events.get(HEARTBEAT_S)
        except FeedEndedError:
            return


def encode_event(event: JsonObject) -> bytes:
    """Return an event as it goes over the wire, under the name that its `type` gives it."""
    # As ASCII: some clients take U+0085 and U+2028 in a text for the end of the line.
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def as_api_error(error: Exception) -> ApiError:
    """Return what the client is told of an error that came after its stream had begun."""
    if isinstance(error, ApiError):
        return error
    lines = "".join(traceback.format_tb(error.__traceback__))
    # The text of the error is left out of the log, for it may quote the request.
    logger.error("an answer failed with %s:\n%s", type(error).__name__, lines)
    msg = "The server met an error that it does not know; its log has more. Try again."
    return ApiError(500, "internal_error", msg)
