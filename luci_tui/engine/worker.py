"""The worker process: one model behind two pipes. Run as `python -m luci_tui.engine.worker`.

Commands come in on what was stdin, events leave on what was stdout; both are moved to other
descriptors before anything else runs, so that whatever native code prints lands in the log
(stderr) and never between two frames.
"""

from __future__ import annotations

import logging
import threading

from luci_tui.engine import child_start, loop

logger = logging.getLogger(__name__)


def main() -> None:
    """Be a worker until Shutdown, or until the parent is gone."""
    commands_fd, events_fd = child_start.become_child("The engine's worker process.")
    threading.excepthook = _leave_on_thread_death
    loop.EngineLoop(commands_fd, loop.EventPipe(events_fd)).serve()
    loop.leave(loop.EXIT_OK)


def _leave_on_thread_death(arguments: threading.ExceptHookArgs) -> None:
    """A worker that no longer reads or beats must not look alive."""
    logger.critical("a thread died", exc_info=arguments.exc_value)
    loop.leave(loop.EXIT_THREAD_DIED)


if __name__ == "__main__":
    main()
