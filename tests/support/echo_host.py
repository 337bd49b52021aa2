"""A host process without models: a slow echo, and chats in memory that say messages back.

The pauses give a test time to do something in the middle of an answer.
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
from tests.support.echo_chats import EchoChats

WORD_S: Final = 0.005


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    return await build_host(
        files,
        options,
        new_engine=lambda: EchoEngine(partial(asyncio.sleep, WORD_S)),
        chats=EchoChats(WORD_S).as_chats(),
    )


if __name__ == "__main__":
    sys.exit(main(build=build))
