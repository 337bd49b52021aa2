"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Passes the tests of luci_tui.manager.clock.Clock by hand; belongs to one event loop."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return where the test has moved it."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Return when the test has moved it far enough."""
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self.now_s + seconds, woken)
        self._sleepers.append(sleeper)
        try:
            await woken
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    @property
    def sleeping_s(self) -> list[float]:
        """How long each one who sleeps has left, shortest first."""
        return sorted(due_s - self.now_s for due_s, woken in self._sleepers if not woken.done())

    async def move(self, seconds: float) -> None:
        """Let time pass, and let everyone who is due do what they do then."""
        self.now_s += seconds
        for due_s, woken in self._sleepers:
            if due_s <= self.now_s and not woken.done():
                woken.set_result(None)
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something that only the test, or a thread, does."""
    for _ in range(50):
        await asyncio.sleep(0)
