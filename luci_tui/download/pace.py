"""How fast bytes may come, when a source counts as stuck, and how long to wait before a retry.

Nothing here looks at the clock by itself except `Limiter.take`, so all of it can be tested with
times that a test makes up.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import deque
from collections.abc import Callable

MAX_RETRY_AFTER_S = 600.0
"""A server that asks for more is asked again after this time all the same."""


class Limiter:
    """Shares one bandwidth among all downloads of a process.

    Args:
        bytes_per_s: Most of all together; 0 = no limit. May be changed at any time.
        now: Seconds of a clock that never goes back; None = the event loop's.
    """

    _BURST_S = 0.05
    """Unused time that is made up for, so that short pauses do not cost rate."""
    _LOOK_S = 0.2
    """Who waits looks so often whether the limit has become another one."""

    def __init__(self, bytes_per_s: float = 0.0, now: Callable[[], float] | None = None) -> None:
        self.bytes_per_s = bytes_per_s
        self._now = now
        self._free_at_s = 0.0
        self._booked_at = bytes_per_s

    async def take(self, n_bytes: int) -> None:
        """Wait until `n_bytes` that have arrived are within the limit."""
        now = self._now or asyncio.get_running_loop().time
        limit = self.bytes_per_s
        ready_at_s = now() + self.book(n_bytes, now())
        while self.bytes_per_s == limit and (left_s := ready_at_s - now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, self._LOOK_S))

    def book(self, n_bytes: int, now_s: float) -> float:
        """Count bytes and return the seconds that their reader has to wait."""
        if self.bytes_per_s <= 0 or self.bytes_per_s != self._booked_at:
            # What was booked at another limit would make everybody wait for it.
            self._free_at_s = now_s
            self._booked_at = self.bytes_per_s
        if self.bytes_per_s <= 0:
            return 0.0
        self._free_at_s = max(self._free_at_s, now_s - self._BURST_S) + n_bytes / self.bytes_per_s
        return max(0.0, self._free_at_s - now_s)


class Speed:
    """The rate of one download, and whether its tail has become so slow that a new try helps.

    Some servers end a fast download with a connection that hardly moves; a new one is fast again
    (https://github.com/ollama/ollama/issues/1736).
    """

    WINDOW_S = 1.0
    SLOW_SHARE = 0.1
    """Of its own median."""
    SLOW_WINDOWS = 10
    """In a row, before it counts as slow."""
    MIN_WINDOWS = 20
    """Before that many there is no median to speak of."""

    def __init__(self, now_s: float) -> None:
        self._window_from_s = now_s
        self._window_bytes = 0
        self._rates: deque[float] = deque(maxlen=600)

    def note(self, n_bytes: int, now_s: float) -> None:
        """Count bytes that arrived."""
        self._window_bytes += n_bytes
        passed_s = now_s - self._window_from_s
        if passed_s >= self.WINDOW_S:
            self._rates.append(self._window_bytes / passed_s)
            self._window_from_s, self._window_bytes = now_s, 0

    def bytes_per_s(self, now_s: float) -> float:
        """Return the rate of the last few seconds."""
        recent = list(self._rates)[-4:]
        passed_s = now_s - self._window_from_s
        if passed_s >= 0.25:
            recent.append(self._window_bytes / passed_s)
        return statistics.fmean(recent) if recent else 0.0

    def is_slow_tail(self) -> bool:
        """Tell whether the last windows were all far below what this download was used to."""
        if len(self._rates) < self.MIN_WINDOWS + self.SLOW_WINDOWS:
            return False
        rates = list(self._rates)
        usual = statistics.median(rates[: -self.SLOW_WINDOWS])
        return max(rates[-self.SLOW_WINDOWS :]) < self.SLOW_SHARE * usual

    def forget(self, now_s: float) -> None:
        """Begin again with a new connection."""
        self._rates.clear()
        self._window_from_s, self._window_bytes = now_s, 0


class Backoff:
    """How long to wait before the next attempt.

    Args:
        first_s: Before the second attempt; each further one doubles it.
        max_s: At most.
        jitter: Returns a number from 0 to 1; replaced in tests.
    """

    def __init__(
        self,
        first_s: float = 0.5,
        max_s: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._jitter = jitter
        self.n_failed = 0
        """In a row, without a byte in between."""

    def succeeded(self) -> None:
        """Bytes arrived, so the next failure is the first one again."""
        self.n_failed = 0

    def wait_s(self, retry_after_s: float | None) -> float:
        """Count a failure and return how long to wait; what the server asks for comes first."""
        self.n_failed += 1
        if retry_after_s is not None:
            return min(retry_after_s, MAX_RETRY_AFTER_S)
        most_s = min(self._max_s, self._first_s * 2.0 ** (self.n_failed - 1))
        # Half of it is certain: clients that failed together do not come back together.
        return most_s * (0.5 + 0.5 * self._jitter())
