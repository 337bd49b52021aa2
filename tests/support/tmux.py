"""A terminal in tmux, in which a test types and reads as a person does.

Each terminal has a tmux server of its own: no other session is seen or touched, and nobody's
tmux.conf counts.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

WAIT_S = 60.0
"""How long something may take on a busy machine."""
TERM = "tmux-256color"
_POLL_S = 0.05
_CALL_S = 20.0


def has_tmux() -> bool:
    """Tell whether there is a tmux."""
    return shutil.which("tmux") is not None


class Tmux:
    """A program on a terminal of tmux.

    Args:
        command: The program and its arguments.
        env: All of its environment but for what tmux sets, such as TERM.
        folder: In which it runs; the socket of the server lies there, too.
        size: Columns and lines.
    """

    def __init__(
        self,
        *command: str,
        env: Mapping[str, str],
        folder: Path,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.size = size
        self._env = dict(env)
        self._socket = folder / "tmux.sock"
        n_columns, n_lines = (str(number) for number in size)
        # The server takes its environment from the first client, and so do the programs in it.
        start = (
            "set",
            "-g",
            "status",
            "off",
            ";",
            "set",
            "-g",
            "default-terminal",
            "tmux-256color",
            ";",
        )
        new = ("new-session", "-d", "-x", n_columns, "-y", n_lines, "-c", str(folder))
        self._tmux("start-server", ";", *start, *new, shlex.join(command))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tmux("kill-server", may_fail=True)

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them: "Enter", "C-q", "M-2", "BTab"."""
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type a text."""
        self._tmux("send-keys", "-l", "--", text)

    def resize(self, n_columns: int, n_lines: int) -> None:
        """Give the terminal another size."""
        self.size = (n_columns, n_lines)
        self._tmux("resize-window", "-x", str(n_columns), "-y", str(n_lines))

    def shown(self) -> str:
        """Return what the screen shows, without colours."""
        return self._tmux("capture-pane", "-p")

    def shown_in_colours(self) -> str:
        """Return what the screen shows, with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-e", "-N", "-p")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows something, and return it.

        Args:
            pattern: A regular expression; "^" and "$" are of lines.

        Raises:
            TimeoutError: the time is over; the message is what the screen shows.
        """
        deadline = time.monotonic() + WAIT_S
        while (found := re.search(pattern, shown := self.shown(), re.MULTILINE)) is None:
            if time.monotonic() > deadline:
                msg = f"the screen does not show {pattern!r}:\n{shown}"
                raise TimeoutError(msg)
            time.sleep(_POLL_S)
        return found

    def wait_without(self, pattern: str) -> None:
        """Wait until the screen shows something no longer; raises as `wait_for` does."""
        deadline = time.monotonic() + WAIT_S
        while re.search(pattern, shown := self.shown(), re.MULTILINE):
            if time.monotonic() > deadline:
                msg = f"the screen still shows {pattern!r}:\n{shown}"
                raise TimeoutError(msg)
            time.sleep(_POLL_S)

    def _tmux(self, *arguments: str, may_fail: bool = False) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", "-u", *arguments],
            capture_output=True,
            env=self._env,
            text=True,
            encoding="utf-8",
            timeout=_CALL_S,
            check=False,
        )
        if done.returncode and not may_fail:
            msg = f"tmux {arguments[0]}: {done.stderr.strip() or done.stdout}"
            raise RuntimeError(msg)
        return done.stdout
