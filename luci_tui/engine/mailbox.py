"""Where events of one request wait for the one who asked.

A reader that never waits fills it, a consumer that may be slow empties it. It stays small: text
that waits is merged into one delta, of progress only the newest is kept, so a slow consumer costs
the other requests nothing and this one only the rhythm of its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from luci_tui.engine import frames
from luci_tui.errors import EngineError

MAX_WAITING_DELTAS = 32
"""When this many wait they become one; merging each at once would copy long texts over and over."""

Progress = frames.LoadProgress | frames.PromptProgress


class Mailbox:
    """Events of one request, in order. Belongs to one event loop; one consumer at a time."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._deltas: list[frames.Delta] = []
        self._end: frames.Event | EngineError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        """True once the last event is in, taken or not."""
        return self._end is not None

    def put(self, event: frames.Event) -> None:
        """Add an event; whatever is not progress or a delta is the last one."""
        match event:
            case frames.Delta():
                self._deltas.append(event)
                if len(self._deltas) >= MAX_WAITING_DELTAS:
                    self._deltas = [merge_deltas(self._deltas)]
            case frames.LoadProgress() | frames.PromptProgress():
                self._progress = event
            case _:
                self._end = event
        self._wake()

    def fail(self, error: EngineError) -> None:
        """End the request with an error, unless it has ended; what waits can still be taken."""
        if self._end is None:
            self._end = error
            self._wake()

    async def take(self) -> frames.Event:
        """Wait for the next event: progress first, then text, then the end.

        Raises:
            EngineError: what `fail` was given, after everything that came before it.
        """
        while True:
            if self._progress is not None:
                event, self._progress = self._progress, None
                return event
            if self._deltas:
                deltas, self._deltas = self._deltas, []
                return merge_deltas(deltas)
            if isinstance(self._end, EngineError):
                raise self._end
            if self._end is not None:
                return self._end
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def merge_deltas(deltas: Sequence[frames.Delta]) -> frames.Delta:
    """Join deltas of one request into one that means the same."""
    if len(deltas) == 1:
        return deltas[0]
    return frames.Delta.model_construct(
        kind="delta",
        request_id=deltas[0].request_id,
        text="".join([delta.text for delta in deltas]),
        reasoning="".join([delta.reasoning for delta in deltas]),
        tool_calls=tuple(call for delta in deltas for call in delta.tool_calls),
        tokens=tuple(token for delta in deltas for token in delta.tokens),
        logprobs=tuple(one for delta in deltas for one in delta.logprobs),
        prompt_logprobs=tuple(one for delta in deltas for one in delta.prompt_logprobs),
    )
