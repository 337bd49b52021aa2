"""Wait for what has no event to wait for, as threads and other processes make it so."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator

LIMIT_S = 30.0
"""Nothing that is waited for takes so long, on a busy machine either."""
FIRST_LOOK_S = 0.001
LONGEST_LOOK_S = 0.02


async def until(
    is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], limit_s: float = LIMIT_S
) -> None:
    """Let the event loop run until a condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    async with asyncio.timeout(limit_s):
        for pause_s in _pauses_s():
            found = is_so()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(pause_s)


def until_here(is_so: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Block until a condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    end_s = time.monotonic() + limit_s
    for pause_s in _pauses_s():
        if is_so():
            return
        if time.monotonic() > end_s:
            raise TimeoutError(limit_s)
        time.sleep(pause_s)


def _pauses_s() -> Iterator[float]:
    """Look often at first, for most of what is waited for is so at once."""
    pause_s = FIRST_LOOK_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_LOOK_S)
