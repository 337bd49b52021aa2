"""How many requests one server gets at a time; the others wait in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from luci_tui.errors import EndpointBusyError
from luci_tui.manager.clock import Clock
from luci_tui.units import format_count, format_duration

MAX_WAITING = 512
"""Requests beyond that are refused at once."""


class Places:
    """Belongs to one event loop.

    Args:
        who: What a person knows the server by, for the sentences.
        n_places: Requests at the same time.
        wait_s: Longest wait.
        clock: Where time comes from.
    """

    def __init__(self, who: str, n_places: int, wait_s: float, clock: Clock) -> None:
        self._who = who
        self._n_places = n_places
        self._wait_s = wait_s
        self._clock = clock
        self._n_taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def n_waiting(self) -> int:
        """Requests that have no place yet."""
        return len(self._waiting)

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """Hold a place inside the block.

        Raises:
            EndpointBusyError: too many wait already, or no place came in time.
        """
        await self._take()
        try:
            yield
        finally:
            self._give_back()

    async def _take(self) -> None:
        if self._n_taken < self._n_places and not self._waiting:
            self._n_taken += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            raise self._busy(f"has {format_count(MAX_WAITING, 'request')} of luci waiting already")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        patience = asyncio.ensure_future(self._clock.sleep(self._wait_s))
        try:
            await asyncio.wait({place, patience}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            if place.done():
                self._give_back()
            raise
        finally:
            patience.cancel()
            if not place.done():
                self._waiting.remove(place)
        if not place.done():
            raise self._busy(f"had no free place for {format_duration(self._wait_s)}")

    def _give_back(self) -> None:
        """Hand a place to the one who waits longest, or keep it."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._n_taken -= 1

    def _busy(self, what: str) -> EndpointBusyError:
        return EndpointBusyError(
            f"{self._who} {what}; it gets {format_count(self._n_places, 'request')} at a time. "
            "Try again later, or raise max_parallel of the endpoint."
        )
