"""Time and change as the manager sees them, so that tests decide about both."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where the manager has its time from."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


class Signal:
    """Wakes all who wait for a change. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Wake everyone who waits now."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, clock: Clock, seconds: float | None) -> bool:
        """Wait for the next `notify`; False = it did not come within `seconds`, None = forever."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(changed)
        sleeping = None if seconds is None else asyncio.ensure_future(clock.sleep(seconds))
        try:
            both = {changed} if sleeping is None else {changed, sleeping}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return changed.done()
        finally:
            self._waiters.discard(changed)
            if sleeping is not None:
                sleeping.cancel()
