"""A program on a pseudo-terminal of its own: what a person sees, types, and hangs up."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

WAIT_S = 30.0
"""How long something may take on a busy machine."""


@dataclass(frozen=True)
class Ended:
    """How the program ended."""

    exit_code: int
    """Negative = the signal that ended it."""
    waited_s: float
    cpu_s: float
    """User and system time of its whole life."""


class TerminalProgram:
    """Runs `python ARGUMENTS` on a terminal of 80 columns and 24 lines."""

    def __init__(self, *arguments: str, env: Mapping[str, str]) -> None:
        self.output = b""
        self._is_reaped = False
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, *arguments], {**env, "TERM": "xterm"})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if not self._is_reaped:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def send(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until the program has written the text.

        Raises:
            TimeoutError: it did not; the message is what it wrote.
        """
        deadline = time.monotonic() + WAIT_S
        while text.encode() not in self.output:
            if time.monotonic() > deadline or not self._read():
                raise TimeoutError(self.output.decode("utf-8", "replace"))

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self._fd)
        self._fd = -1

    def wait(self) -> Ended:
        """Wait for the end, reading what is still written."""
        started = time.monotonic()
        while time.monotonic() < started + WAIT_S:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._is_reaped = True
                return Ended(
                    os.waitstatus_to_exitcode(status), time.monotonic() - started, _cpu_s(usage)
                )
            self._read(wait_s=0.01)
        msg = f"process {self.pid} did not end"
        raise TimeoutError(msg)

    def _read(self, wait_s: float = 1.0) -> bool:
        """Read what is there; False = the program has closed its end."""
        watched = [self._fd] if self._fd >= 0 else []
        if not select.select(watched, [], [], wait_s)[0]:
            return True
        try:
            self.output += os.read(self._fd, 65536)
        except OSError:
            return False
        return True


def _cpu_s(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime
