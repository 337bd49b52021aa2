"""Who keeps the host from leaving, and the watch that lets it leave when nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from luci_tui.units import format_count

Keeper = Callable[[], Iterable[str]]
"""Gives one line for each thing that must not be broken off by an idle exit."""


class Activity:
    """Counts requests and asks the keepers.

    Args:
        clock: Seconds that go on while the machine sleeps or not; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keepers: list[Keeper] = []
        self._last_s = clock()
        self.n_clients = 0
        """Requests that are being answered, streams included."""
        self.n_requests = 0
        """Requests that were taken in."""

    def add_keeper(self, keeper: Keeper) -> None:
        """Ask one more part before the host leaves."""
        self._keepers.append(keeper)

    @contextmanager
    def request(self) -> Generator[None]:
        """Count one request for as long as it is answered."""
        self.n_clients += 1
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_clients -= 1
            self.touch()

    def touch(self) -> None:
        """Say that something happened just now: the time without work begins anew."""
        self._last_s = self._clock()

    @property
    def idle_s(self) -> float:
        """Seconds since something happened."""
        return self._clock() - self._last_s

    def busy(self) -> tuple[str, ...]:
        """Say what keeps the host, in words; empty = nothing."""
        reasons = [line for keeper in self._keepers for line in keeper()]
        if self.n_clients:
            reasons.append(format_count(self.n_clients, "open request"))
        return tuple(reasons)


async def wait_until_idle(activity: Activity, idle_exit_s: float) -> None:
    """Return when nothing has kept the host for `idle_exit_s` seconds; 0 = never."""
    if not idle_exit_s:
        await asyncio.Event().wait()
    while True:
        left_s = idle_exit_s - activity.idle_s
        if left_s > 0:
            await asyncio.sleep(left_s)
        elif activity.busy():
            activity.touch()
        else:
            return
