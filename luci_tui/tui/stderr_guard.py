"""Keep native output off the screen.

Textual draws on file descriptor 2, and so does everything in this process that writes to stderr
without asking Python. The guard gives Textual a descriptor of its own and points 2 to a log file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_LOG_BYTES = 1024 * 1024
"""A longer log is started again."""


@contextmanager
def stderr_guard(log_file: Path) -> Generator[None]:
    """Send file descriptor 2 to `log_file` and Python's stderr objects to the terminal.

    Where the log cannot be written, its text is dropped: the screen is worth more.
    """
    sys.stderr.flush()
    log_fd = _open_log(log_file)
    terminal_fd = os.dup(2)
    old_streams = (sys.stderr, sys.__stderr__)
    terminal = os.fdopen(os.dup(terminal_fd), "w", encoding="utf-8", errors="replace")
    os.dup2(log_fd, 2)
    os.close(log_fd)
    sys.stderr = terminal
    sys.__stderr__ = terminal  # pyright: ignore[reportConstantRedefinition]
    try:
        yield
    finally:
        sys.stderr, sys.__stderr__ = old_streams  # pyright: ignore[reportConstantRedefinition]
        # A terminal that is gone refuses the last bytes, and there is nobody to tell.
        with suppress(OSError):
            terminal.close()
        os.dup2(terminal_fd, 2)
        os.close(terminal_fd)


def _open_log(log_file: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
            flags |= os.O_TRUNC
        return os.open(log_file, flags, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
