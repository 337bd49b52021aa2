"""Server-sent events whose first one is there before the status is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from luci_tui.engine import frames
from luci_tui.host.openai.errors import ApiError, openai_body

DONE = b"data: [DONE]\n\n"


def data(content: object) -> bytes:
    """Return one event."""
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


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
        scope: Scope,  # noqa: ARG002
        receive: Receive,  # noqa: ARG002
        send: Send,
    ) -> None:
        """Send everything; an error on the way becomes the last event."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
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
