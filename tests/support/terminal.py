"""A program on a pseudo-terminal of its own: what a person sees, types, and hangs up."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

WAIT_S = 30.0
"""How long something may take on a busy machine."""

_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Makes stdin the controlling terminal of the new session and becomes the program.

Ctrl-C works there, even if these tests run in the background of a shell, which ignores it.
"""


_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78])"
)
"""Of a terminal: CSI, OSC, character sets, and single letters."""


@dataclass(frozen=True)
class Ended:
    """How the program ended."""

    exit_code: int
    """Negative = the signal that ended it."""
    waited_s: float
    cpu_s: float
    """User and system time of its whole life."""


class TerminalProgram:
    """Runs `python ARGUMENTS` on a terminal.

    Args:
        arguments: After `python`.
        env: The environment but for TERM.
        term: TERM; empty = it is not set.
        size: Columns and lines.
    """

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str],
        term: str = "xterm",
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.output = b""
        self._fd, program_fd = pty.openpty()
        self.resize(*size)
        env = {name: value for name, value in env.items() if name != "TERM"}
        # Not pty.fork(): Python code between fork and exec can hang where other tests left threads.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *arguments],
            stdin=program_fd,
            stdout=program_fd,
            stderr=program_fd,
            env={**env, "TERM": term} if term else env,
            start_new_session=True,
        )
        os.close(program_fd)
        self.pid = self._process.pid

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
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def send(self, text: str | bytes) -> None:
        os.write(self._fd, text.encode() if isinstance(text, str) else text)

    def resize(self, n_columns: int, n_lines: int) -> None:
        """Give the terminal another size, after which a screen is drawn anew as a whole."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", n_lines, n_columns, 0, 0))

    def text_since(self, n_bytes: int) -> str:
        """Return what was written after the first `n_bytes`, without escape sequences."""
        return _ESCAPES.sub("", self.output[n_bytes:].decode("utf-8", "replace"))

    def wait_for(self, text: str) -> None:
        """Read until the program has written the text; raises as `wait_until` does."""
        self.wait_until(lambda: text.encode() in self.output)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Read until the condition holds.

        Raises:
            TimeoutError: it did not, or the program ended; the message is what it wrote.
        """
        deadline = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > deadline or not self._read(wait_s=0.05):
                raise TimeoutError(self.output.decode("utf-8", "replace"))

    def read_for(self, seconds: float) -> int:
        """Read what is written in that time, and return how many bytes it was."""
        n_before, deadline = len(self.output), time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(wait_s=0.05):
            pass
        return len(self.output) - n_before

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
                exit_code = os.waitstatus_to_exitcode(status)
                self._process.returncode = exit_code
                return Ended(exit_code, time.monotonic() - started, _cpu_s(usage))
            self._read(wait_s=0.01)
        msg = f"process {self.pid} did not end"
        raise TimeoutError(msg)

    def _read(self, wait_s: float) -> bool:
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
