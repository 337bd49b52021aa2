"""Collect garbage while nobody types.

A full collection looks at every object of the process: 60 to 90 ms for a screen with one chat, 200
ms with a list of ten thousand. By itself Python takes that time whenever enough was made, in the
middle of a word as well.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 5.0
"""How often it is looked whether there is something to collect."""
QUIET_S: Final = 5.0
"""Without a key for so long, nobody waits for one to be drawn."""
ENOUGH: Final = 10
"""Collections of younger objects, each after some thousand new ones, that make a full one worth
while."""
TOO_MUCH: Final = 100
"""As many, after which it is done even while somebody types."""
_NEVER: Final = 1 << 30


async def collect_when_quiet(quiet_s: Callable[[], float], look_s: float = LOOK_S) -> None:
    """Take over from Python when full collections are done, until this is cancelled.

    Args:
        quiet_s: Says for how many seconds no key was pressed.
        look_s: How often it is looked.
    """
    before = gc.get_threshold()
    # What was imported stays for ever.
    gc.freeze()
    gc.set_threshold(before[0], before[1], _NEVER)
    try:
        while True:
            await asyncio.sleep(look_s)
            n_young = gc.get_count()[2]
            if n_young >= TOO_MUCH or (n_young >= ENOUGH and quiet_s() >= QUIET_S):
                gc.collect()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
