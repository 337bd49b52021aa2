"""End the screen when its terminal is gone, whatever breaks or hangs because of that."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

HANGUP_S = 0.8
"""After a hangup the process is gone within this time, whatever hangs."""

HUNG_UP = 128 + signal.SIGHUP
"""The exit code then."""


class Hangup:
    """Learns that the terminal is gone, and sees to the end of the process."""

    def __init__(self) -> None:
        self._is_told = False
        # Signal handlers may put into this one: it takes no lock.
        self._tellings: SimpleQueue[None] = SimpleQueue()
        self._leave: Callable[[], None] = lambda: None

    @property
    def has_come(self) -> bool:
        """The terminal is gone, though its signal may not have been looked at yet."""
        return self._is_told or terminal_is_gone()

    def watch(self, leave: Callable[[], None]) -> None:
        """Listen from now on.

        Args:
            leave: Called in the loop that runs now, to leave in order.
        """
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        self._leave = lambda: _call(loop, context, leave)
        # Python starts no thread in a signal handler: the handler may have interrupted a start.
        threading.Thread(target=self._end_in_time, name="end in time", daemon=True).start()
        # Not `loop.add_signal_handler`: Textual's writes block the loop once nothing takes them.
        signal.signal(signal.SIGHUP, self._on_signal)

    def tell(self) -> None:
        """Take in that the terminal is gone."""
        if self._is_told:
            return
        self._is_told = True
        self._tellings.put(None)
        self._leave()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.tell()

    def _end_in_time(self) -> None:
        self._tellings.get()
        # What Textual still writes may block for ever, and what it reads is an end of file that it
        # would read again and again.
        time.sleep(HANGUP_S)
        os._exit(HUNG_UP)


def _call(
    loop: asyncio.AbstractEventLoop, context: contextvars.Context, leave: Callable[[], None]
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(leave, context=context)


def terminal_is_gone() -> bool:
    """Tell whether stdin is a terminal that nobody holds the other end of."""
    if sys.__stdin__ is None:
        return False
    try:
        termios.tcgetattr(sys.__stdin__.fileno())
    except termios.error as error:
        # macOS says ENXIO. What is no terminal says ENOTTY.
        return error.args[0] in (errno.EIO, errno.ENXIO)
    return False
