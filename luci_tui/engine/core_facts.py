"""Ask the native core about this machine in a process of its own: luci itself loads none."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

from luci_tui.engine.child import START_S
from luci_tui.engine.job_frames import CoreFacts, CoreFactsSpec
from luci_tui.engine.job_process import run_job
from luci_tui.errors import EngineError

logger = logging.getLogger(__name__)


async def ask_core(log_path: Path) -> CoreFacts | None:
    """Say what this build computes on and rearranges; None = it cannot say.

    A GPU's free memory is less by what the asking process itself takes there, which is about what
    a worker takes besides its model.

    Args:
        log_path: Where the process writes what native code logs.
    """
    try:
        async with asyncio.timeout(START_S):
            async with aclosing(run_job(CoreFactsSpec(), log_path)) as events:
                async for event in events:
                    if isinstance(event, CoreFacts):
                        return event
    except EngineError as error:
        logger.warning("the core says nothing about this machine: %s", error.message)
    except TimeoutError:
        logger.warning("the core said nothing about this machine for %.0f s", START_S)
    return None
