"""A host as it is, but for its engine: an echo that takes its time over each word.

    python -m tests.support.paced_host

It gives a test time to do something in the middle of an answer.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Final

from luci_tui.engine.echo import EchoEngine
from luci_tui.host.process import Options, main
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host

WORD_S: Final = 0.05


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    pause = partial(asyncio.sleep, WORD_S)
    return await build_host(files, options, new_engine=lambda: EchoEngine(pause))


if __name__ == "__main__":
    sys.exit(main(build=build))
