"""The first moments of a child process: worker and job processes begin alike."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

from luci_tui.engine import loop

OOM_SCORE_ADJUSTMENT: Final = 800
"""Of 1000: when memory runs out, the kernel ends the child before the host or the shell."""
_PR_SET_PDEATHSIG: Final = 1


def become_child(description: str) -> tuple[int, int]:
    """Tie this process to the parent that `--parent-pid` names; call it before anything else.

    Returns:
        The descriptors of what was stdin and of what was stdout. Whatever native code prints lands
        in the log (stderr) from here on.
    """
    in_fd, out_fd = _take_pipes()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--parent-pid", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    _die_with_parent(arguments.parent_pid)
    _volunteer_for_oom()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Before ggml is loaded: an abort must not start a debugger on its own process.
    os.putenv("GGML_NO_BACKTRACE", "1")
    return in_fd, out_fd


def _take_pipes() -> tuple[int, int]:
    """Move the protocol away from stdin and stdout: (commands, events) descriptors."""
    commands_fd, events_fd = os.dup(0), os.dup(1)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.close(null_fd)
    os.dup2(2, 1)
    return commands_fd, events_fd


def _die_with_parent(parent_pid: int) -> None:
    """Ask Linux to end this process with its parent, in case the pipe's end is not seen."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        loop.leave(loop.EXIT_PARENT_GONE)


def _volunteer_for_oom() -> None:
    """Ask the kernel to end this process first when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJUSTMENT))
