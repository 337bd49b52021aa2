"""A host as it is, but for its engine: an echo that takes its time over each word.

    python -m tests.support.paced_host

While the home folder holds a file named `hold`, the echo says nothing more, so that a test can do
something in the middle of an answer. `hold-jobs` does the same for jobs; see paced_job.py. A file
`word-s` holds the seconds between two words.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Final

from luci_tui.engine.echo import EchoEngine
from luci_tui.host.process import Options, main
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host

WORD_S: Final = 0.01
HOLD: Final = "hold"
WORD_FILE: Final = "word-s"
JOB_COMMAND: Final = (sys.executable, "-P", str(Path(__file__).with_name("paced_job.py").resolve()))


async def _pause(home: Path, word_s: float) -> None:
    await asyncio.sleep(word_s)
    # Another process takes the file away, so there is no event to wait for.
    while (home / HOLD).exists():  # noqa: ASYNC110
        await asyncio.sleep(WORD_S)


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    word_file = files.home / WORD_FILE
    word_s = float(word_file.read_text()) if word_file.exists() else WORD_S
    pause = partial(_pause, files.home, word_s)
    return await build_host(
        files, options, new_engine=lambda: EchoEngine(pause), job_command=JOB_COMMAND
    )


if __name__ == "__main__":
    sys.exit(main(build=build))
