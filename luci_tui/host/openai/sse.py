"""Server-sent events whose first one is there before the status is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from json.encoder import encode_basestring_ascii
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from luci_tui.engine import frames
from luci_tui.host.openai import watch
from luci_tui.host.openai.errors import ApiError, openai_body

DONE = b"data: [DONE]\n\n"
_GAP = "\0"

# `json.dumps` makes an encoder at each call that names separators.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def data(content: object) -> bytes:
    """Return one event."""
    return b"data: " + _encode(content).encode() + b"\n\n"


class TextEvents:
    """Events that differ in one text alone: what stands around it is encoded once.

    Most tokens of most answers are such events, and each costs the processor time that the
    engine's threads would use.

    Args:
        content: Makes the content of an event; the text is the last thing in it that a request or
            the name of a model has a say in.
    """

    def __init__(self, content: Callable[[str], object]) -> None:
        whole = data(content(_GAP)).decode()
        self._before, _, self._after = whole.rpartition(encode_basestring_ascii(_GAP))

    def event(self, text: str) -> bytes:
        """Return the event with this text; the same bytes as `data` gives."""
        return (self._before + encode_basestring_ascii(text) + self._after).encode()


def progress(event: frames.PromptProgress) -> bytes:
    """Return a comment, which clients skip; it keeps the connection alive in a long prefill."""
    return f": prompt {event.n_done}/{event.n_total}\n\n".encode()


class EventStream(Response):
    """A response that sends what a generator yields, and closes the generator in any case."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    @classmethod
    async def opened(cls, chunks: AsyncGenerator[bytes]) -> Self:
        """Wait for the first event, so that an error up to there gets a status of its own.

        Raises:
            ApiError: the request is refused or failed.
        """
        try:
            return cls(await anext(chunks), chunks)
        except BaseException:
            await chunks.aclose()
            raise

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,  # noqa: ARG002
        send: Send,
    ) -> None:
        """Send the head, and have the events sent when the app has returned."""
        response: watch.Response = scope[watch.RESPONSE]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        except BaseException:
            await self._rest.aclose()
            raise
        response.rest = self._send_events

    async def _send_events(self, send: Send) -> None:
        """Send everything; an error on the way becomes the last event."""
        try:
            await _send(send, self._first)
            try:
                async for chunk in self._rest:
                    await _send(send, chunk)
            except ApiError as error:
                await _send(send, self.error_event(error))
            await send({"type": "http.response.body", "body": b""})
        finally:
            await self._rest.aclose()

    def error_event(self, error: ApiError) -> bytes:
        """Return the event that tells of an error after the status was sent."""
        return data(openai_body(error))


async def _send(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
