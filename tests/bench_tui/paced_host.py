"""A host whose model says the prompt back at 50 words a second.

`python -m tests.bench_tui.paced_host`
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from luci_tui.engine.echo import EchoEngine
from luci_tui.host.process import Options, main
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host

WORDS_PER_S = 50


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    pause = partial(asyncio.sleep, 1 / WORDS_PER_S)
    return await build_host(files, options, new_engine=lambda: EchoEngine(pause))


if __name__ == "__main__":
    sys.exit(main(build=build))
