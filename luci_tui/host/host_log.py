"""The host's log file, which never grows beyond its bounds."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from luci_tui.errors import ConfigError

LOG_NAME = "host.log"
MAX_LOG_BYTES = 4 * 1024 * 1024
N_OLD_LOGS = 3
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _HostLog(RotatingFileHandler):
    """A rotating log into which standard error leads, whichever file is the current one."""

    def doRollover(self) -> None:
        """Begin a new file and lead standard error into it."""
        super().doRollover()
        self.take_stderr()

    def take_stderr(self) -> None:
        """Let what the interpreter itself says on its last day land in the log."""
        if self.stream is not None:
            os.dup2(self.stream.fileno(), 2)


def start_log(folder: Path, *, is_detached: bool) -> None:
    """Log to a file in `folder`, and in the foreground to standard error as well.

    Raises:
        ConfigError: the file cannot be written.
    """
    path = folder / LOG_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _HostLog(
            path, maxBytes=MAX_LOG_BYTES, backupCount=N_OLD_LOGS, encoding="utf-8", delay=False
        )
        path.chmod(0o600)
    except OSError as error:
        msg = f"The log {path} cannot be written ({error.strerror}). Make its folder writable."
        raise ConfigError(msg, code="log") from error
    handlers: list[logging.Handler] = [handler]
    if is_detached:
        handler.take_stderr()
    else:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=handlers)
    # httpx tells every request with its address, uvicorn its own life.
    for chatty in ("httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    faulthandler.enable()
