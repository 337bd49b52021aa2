"""What a turn has to say, on its way to whoever reads it; pieces of text that come fast are joined.

A small model writes a thousand pieces in a second. Each would be a JSON object, an event on a
socket and a model that is validated again, all on the processors that the model needs, and no
screen draws that often.
"""

from __future__ import annotations

import asyncio
import time

from luci_tui.chat.turn_events import TurnDelta, TurnEvent

MAX_WAITING = 256
"""Events that wait for a slow reader; then the engine waits, too."""
GATHER_S = 0.02
"""Least time between two pieces of text, and so the longest time that one is held back."""


class TurnQueue:
    """A bounded queue of one turn's events, for one reader.

    Args:
        gather_s: Least time between two pieces of text.
    """

    def __init__(self, gather_s: float = GATHER_S) -> None:
        self._gather_s = gather_s
        self._events: asyncio.Queue[TurnEvent | None] = asyncio.Queue(MAX_WAITING)
        self._next: TurnEvent | None = None
        """What was taken out to see that it is no text."""
        self._n_urgent = 0
        """Events other than text that wait; the text before them is not held back."""
        self._is_urgent = asyncio.Event()
        self._free_at_s = 0.0

    async def put(self, event: TurnEvent) -> None:
        """Add an event; waits while too many wait."""
        await self._events.put(event)
        self._count(event, 1)

    def put_nowait(self, event: TurnEvent | None) -> None:
        """Add an event, or None, which only wakes the reader.

        Raises:
            asyncio.QueueFull: too many wait.
        """
        self._events.put_nowait(event)
        self._count(event, 1)

    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return self._next is None and self._events.empty()

    async def get(self) -> TurnEvent | None:
        """Give the next event, or None; text that has come until then comes as one piece."""
        if self._next is not None:
            event, self._next = self._next, None
            return event
        event = await self._events.get()
        self._count(event, -1)
        if not isinstance(event, TurnDelta):
            return event
        await self._hold_back()
        pieces = [event]
        while not self._events.empty():
            following = self._events.get_nowait()
            self._count(following, -1)
            if isinstance(following, TurnDelta):
                pieces.append(following)
            elif following is not None:
                self._next = following
                break
        self._free_at_s = time.monotonic() + self._gather_s
        return event if len(pieces) == 1 else _joined(pieces)

    def _count(self, event: TurnEvent | None, n: int) -> None:
        if isinstance(event, TurnDelta):
            return
        self._n_urgent += n
        if self._n_urgent:
            self._is_urgent.set()
        else:
            self._is_urgent.clear()

    async def _hold_back(self) -> None:
        """Wait until the last piece is old enough, or until what follows is no text."""
        wait_s = self._free_at_s - time.monotonic()
        if wait_s <= 0 or self._is_urgent.is_set():
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._is_urgent.wait()
        except TimeoutError:
            return


def _joined(pieces: list[TurnDelta]) -> TurnDelta:
    return TurnDelta(
        text="".join(piece.text for piece in pieces),
        reasoning="".join(piece.reasoning for piece in pieces),
        tool_calls=tuple(call for piece in pieces for call in piece.tool_calls),
    )
