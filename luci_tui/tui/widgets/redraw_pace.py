"""When a growing answer is drawn again: the more the screen costs, the later.

The model computes on all processors and its threads wait for one another, so each per cent of a
processor that the screen takes is about one that the answer loses where there are two of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

MAX_S = 0.7
"""However dear it is, so often it is drawn."""


def share_of_a_processor(n_processors: int) -> float:
    """Give how much of one processor the screen may take: 1.5 % of all, and at most a quarter."""
    return min(0.25, 0.015 * n_processors)


class RedrawPace:
    """Tells when the next redraw is due.

    Args:
        max_s: The longest wait.
        share: Of one processor that this process may take; None = by their count.
        clock: Seconds that go on; only differences count.
        spent: Seconds that this process has had a processor.
    """

    def __init__(
        self,
        *,
        max_s: float = MAX_S,
        share: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
    ) -> None:
        self._max_s = max_s
        self._share = share_of_a_processor(os.cpu_count() or 1) if share is None else share
        self._clock = clock
        self._spent = spent
        self._last_s: float | None = None
        self._spent_before_s = 0.0

    def is_due(self) -> bool:
        """Tell whether all that was done since the last redraw, it included, is paid off."""
        if self._last_s is None:
            return True
        wait_s = min(self._max_s, (self._spent() - self._spent_before_s) / self._share)
        return self._clock() - self._last_s >= wait_s

    def begin(self) -> None:
        """Take in that a redraw begins."""
        self._last_s = self._clock()
        self._spent_before_s = self._spent()
