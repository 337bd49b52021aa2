"""The worker process: one model behind two pipes. Run as `python -m luci_tui.engine.worker`.

Commands come in on what was stdin, events leave on what was stdout; both are moved to other
descriptors before anything else runs, so that whatever native code prints lands in the log
(stderr) and never between two frames.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from luci_tui.engine import loop

OOM_SCORE_ADJUSTMENT: Final = 800
"""Of 1000: when memory runs out, the kernel ends the worker before the host or the shell."""
_PR_SET_PDEATHSIG: Final = 1

logger = logging.getLogger(__name__)


def main() -> None:
    """Be a worker until Shutdown, or until the parent is gone."""
    commands_fd, events_fd = take_pipes()
    parser = argparse.ArgumentParser(description="The engine's worker process.")
    parser.add_argument("--parent-pid", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    threading.excepthook = _leave_on_thread_death
    die_with_parent(arguments.parent_pid)
    volunteer_for_oom()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Before ggml is loaded: an abort must not start a debugger on its own process.
    os.putenv("GGML_NO_BACKTRACE", "1")
    loop.EngineLoop(commands_fd, loop.EventPipe(events_fd)).serve()
    loop.leave(loop.EXIT_OK)


def take_pipes() -> tuple[int, int]:
    """Move the protocol away from stdin and stdout: (commands, events) descriptors."""
    commands_fd, events_fd = os.dup(0), os.dup(1)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.close(null_fd)
    os.dup2(2, 1)
    return commands_fd, events_fd


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to end this process with its parent, in case the pipe's end is not seen."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        loop.leave(loop.EXIT_PARENT_GONE)


def volunteer_for_oom() -> None:
    """Ask the kernel to end this process first when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJUSTMENT))


def _leave_on_thread_death(arguments: threading.ExceptHookArgs) -> None:
    """A worker that no longer reads or beats must not look alive."""
    logger.critical("a thread died", exc_info=arguments.exc_value)
    loop.leave(loop.EXIT_THREAD_DIED)


if __name__ == "__main__":
    main()
