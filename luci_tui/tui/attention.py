"""Whether somebody looks at the screen, and the title and bell for what ended while nobody did.

No name of a model, file or chat gets into the title: what sets it could be made to do more.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONG_S = 10.0
"""Work that took less is no reason to call anybody."""
QUIET_S = 60.0
"""A terminal that says nothing of its focus is looked at for so long after a key was pressed."""
BELL_PAUSE_S = 10.0
"""Least time between two rings: thirty downloads may end in one moment."""
PUSH_TITLE = "\x1b[22;0t"
POP_TITLE = "\x1b[23;0t"
"""Keep the terminal's title, and put it back.

Source: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html, "Window manipulation".
"""
BELL = "\a"


class Attention:
    """Follows the focus of the terminal and calls when long work ends without it.

    Args:
        write: Takes escape sequences to the terminal.
        has_title: Whether it shows one.
        rings: Whether the bell may ring.
        now_s: Seconds; only differences count.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        has_title: bool,
        rings: bool,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._has_title = has_title
        self._rings = rings
        self._now_s = now_s
        self._has_focus = True
        self._has_reports = False
        """The terminal has said once whether it is looked at."""
        self._touched_s = now_s()
        self._rang_s = float("-inf")
        self._is_open = False
        self._title = ""
        self._work = ""
        self.n_ended = 0
        """Long work that ended since somebody looked."""

    @property
    def is_looked_at(self) -> bool:
        """Whether somebody looks, as far as one can tell."""
        if self._has_reports:
            return self._has_focus
        return self._now_s() - self._touched_s < QUIET_S

    def open(self) -> None:
        """Keep the title that is there and set one's own."""
        self._is_open = True
        if self._has_title:
            self._write(PUSH_TITLE)
        self._show()

    def close(self) -> None:
        """Put the old title back."""
        if self._is_open and self._has_title:
            self._write(POP_TITLE)
        self._is_open = False

    def focus(self, has_focus: bool) -> None:
        """Take what the terminal says about its focus."""
        self._has_reports = self._has_reports or not has_focus
        self._has_focus = has_focus
        if has_focus:
            self._forget()

    def touch(self) -> None:
        """Somebody pressed a key or used the mouse."""
        self._touched_s = self._now_s()
        self._forget()

    def set_work(self, words: str) -> None:
        """Say in the title what is being done; empty = nothing."""
        self._work = words
        self._show()

    def ended(self, took_s: float) -> None:
        """Call, if something long ended and nobody looks."""
        if took_s < LONG_S or self.is_looked_at:
            return
        self.n_ended += 1
        self._show()
        now_s = self._now_s()
        if self._rings and now_s - self._rang_s >= BELL_PAUSE_S:
            self._rang_s = now_s
            self._write(BELL)

    def _forget(self) -> None:
        if self.n_ended:
            self.n_ended = 0
            self._show()

    def _show(self) -> None:
        badge = f"({self.n_ended} ended) " if self.n_ended else ""
        work = f" · {self._work}" if self._work else ""
        title = f"{badge}luci{work}"
        if self._is_open and self._has_title and title != self._title:
            self._title = title
            self._write(f"\x1b]2;{title}\a")
