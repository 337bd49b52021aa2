"""A program on a pseudo-terminal, with the time at which each of its bytes came."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import psutil

WAIT_S = 60.0
QUIET_S = 0.06
"""Without a byte for so long a screen is taken to be drawn."""
LETTERS = "αβγδεζηθικλμνξοπρστυφχψωабвгдежзиклмнптуфхцчшщыэюя"
"""What is typed: letters that no answer and no frame of the screen holds."""
_BECOME = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Makes stdin the controlling terminal of the new session and becomes the program."""


class TimedTerminal:
    """Runs `python ARGUMENTS` on a terminal; read with `pump`, or it will block."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        size: tuple[int, int] = (120, 40),
    ) -> None:
        self.output = bytearray()
        self._fd, program_fd = pty.openpty()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.began_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BECOME, *arguments],
            stdin=program_fd,
            stdout=program_fd,
            stderr=program_fd,
            env={**env, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        os.close(program_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            end_s = time.perf_counter() + 10
            while self._process.poll() is None and time.perf_counter() < end_s:
                self._read(0.05)
            self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def send(self, keys: str) -> float:
        """Type and return the time at which it was typed."""
        sent_s = time.perf_counter()
        os.write(self._fd, keys.encode())
        return sent_s

    def until(
        self, condition: Callable[[bytes], bool], after: int = 0, within_s: float = WAIT_S
    ) -> float:
        """Read until what came after so many bytes fulfils it; gives the time of its last byte.

        Raises:
            TimeoutError: it does not; the message is the last that came.
        """
        end_s = time.perf_counter() + within_s
        while not condition(bytes(self.output[after:])):
            if time.perf_counter() > end_s or self._process.poll() is not None:
                raise TimeoutError(self.output[-3000:].decode("utf-8", "replace"))
            self._read(0.5)
        return self._read_s

    def until_shown(self, text: str, after: int = 0, within_s: float = WAIT_S) -> float:
        """Read until the text stands in the output.

        Raises:
            TimeoutError: it does not.
        """
        try:
            return self.until(lambda new: text.encode() in new, after, within_s)
        except TimeoutError as error:
            msg = f'"{text}" was not drawn in {within_s:.0f} s; what was drawn last: {error}'
            raise TimeoutError(msg) from None

    def pump(self, for_s: float) -> int:
        """Read for so long and return the number of bytes that came."""
        had = len(self.output)
        end_s = time.perf_counter() + for_s
        while (left_s := end_s - time.perf_counter()) > 0:
            self._read(left_s)
        return len(self.output) - had

    def settle(self) -> float:
        """Read until nothing has come for a while; gives the time of the last byte."""
        while self.pump(QUIET_S):
            continue
        return self._read_s

    def echo_ms(self, letter: str) -> float:
        """Type a letter and return the milliseconds until it stands on the screen."""
        had = len(self.output)
        sent_s = self.send(letter)
        return (self.until_shown(letter, had) - sent_s) * 1000

    def cpu_s(self) -> float:
        """Return the processor time that the program has taken so far, its threads included."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def _read(self, wait_s: float) -> None:
        if select.select([self._fd], [], [], wait_s)[0]:
            try:
                self.output += os.read(self._fd, 1 << 16)
            except OSError:
                return  # the program has ended; whoever waits looks at that
            self._read_s = time.perf_counter()

    _read_s = 0.0
