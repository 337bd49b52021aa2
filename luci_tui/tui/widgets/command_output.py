"""A command of luci in the transcript: what was typed, what it says, how it ended."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.widgets.message import REDRAW_S
from luci_tui.units import format_duration

ENDED_BY_YOU = -1
"""In place of an exit code."""


class CommandOutput(Vertical):
    """One command; it is drawn a few times a second while it runs.

    Args:
        words: The command without "luci" before it.
        redraw_s: Least time between two redraws.
    """

    def __init__(self, words: Sequence[str], *, redraw_s: float = REDRAW_S) -> None:
        super().__init__()
        self._title = Static(sanitize(f"$ luci {' '.join(words)}"), markup=False, classes="asked")
        self._body = Static(markup=False)
        self._end = Static("runs · Esc ends it", markup=False, classes="end")
        self._redraw_s = redraw_s
        self._began_s = time.monotonic()
        self._lines: Sequence[str] = ()
        self._n_left_out = 0
        self._is_waiting = False

    def compose(self) -> ComposeResult:
        """Lay out command, output and end."""
        yield self._title
        yield self._body
        yield self._end

    def on_mount(self) -> None:
        """Show nothing where there is nothing."""
        self._body.display = False

    def show(self, lines: Sequence[str], n_left_out: int) -> None:
        """Draw what the command has said so far, soon."""
        self._lines, self._n_left_out = lines, n_left_out
        if not self._is_waiting:
            self._is_waiting = True
            self.set_timer(self._redraw_s, self._redraw)

    def finish(self, exit_code: int) -> None:
        """Draw what is left, and how it ended."""
        self._redraw()
        took = format_duration(time.monotonic() - self._began_s)
        words = f"exit code {exit_code}"
        if exit_code == ENDED_BY_YOU:
            words = "ended by you"
        elif exit_code == 0:
            words = "done"
        self._end.update(f"{words} · {took}")

    def fail(self, sentence: str) -> None:
        """Say why it did not even begin."""
        self._end.update(sanitize(f"Error: {sentence}"))

    def _redraw(self) -> None:
        self._is_waiting = False
        shown = list(self._lines)
        if self._n_left_out:
            shown.append(f"… and {self._n_left_out:,} more lines")
        self._body.display = bool(shown)
        self._body.update("\n".join(shown))
