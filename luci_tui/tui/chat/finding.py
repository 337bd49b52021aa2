"""Look for a host that was lost in the middle of something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from luci_tui.errors import HostError, LuciError

log = logging.getLogger(__name__)

LOST_CODES = frozenset({"unreachable", "silent"})
"""Of errors after which the host is looked for."""
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each try."""


def is_lost(error: LuciError) -> bool:
    """Tell whether the host does not answer any more."""
    return isinstance(error, HostError) and error.code in LOST_CODES


async def find_again(load: Callable[[], Awaitable[None]], say: Callable[[str], None]) -> bool:
    """Load the model in a host that is found, or started, anew.

    Args:
        load: Finds the host and loads the model.
        say: Told what is done, in words.

    Returns:
        Whether that was possible.
    """
    for n_try, pause_s in enumerate(PAUSES_S, start=1):
        say(f"looking for the host, try {n_try}")
        await asyncio.sleep(pause_s)
        try:
            await load()
        except LuciError as error:
            log.warning("the host is not found: %s", error.message)
            continue
        return True
    return False
