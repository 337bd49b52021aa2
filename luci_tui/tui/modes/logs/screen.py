"""Logs: what the host, its workers and its chats say, as it happens."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll

from luci_tui import paths
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.logs import words
from luci_tui.tui.modes.logs.reading import LogReader, log_files
from luci_tui.tui.modes.logs.words import Level, LogLine
from luci_tui.tui.screens.live import LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Rows
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

MAX_LINES = 20_000
"""The oldest go first."""


class LogsScreen(LiveScreen):
    """The end of one log, and what comes."""

    NAME: ClassVar = "logs"
    HELP: ClassVar = (
        "What the host, its workers and its chats say, as it happens. Left and Right turn to "
        "another log. Session logs hold texts only where [host] log_texts says so."
    )
    NEEDS_HOST: ClassVar = False
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("logs.next", "turn(1)"),
        binding("logs.previous", "turn(-1)"),
        binding("logs.level", "level"),
        binding("logs.follow", "follow"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._folder = paths.logs_folder()
        self._files: list[Path] = []
        self._reader: LogReader | None = None
        self._level = Level.INFO
        self._lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self._n_read = 0

    def compose_body(self) -> ComposeResult:
        """Lay out the lines, and the whole of the one with the cursor."""
        with Vertical(classes="log"):
            yield Rows(words.COLUMNS, has_header=False)
            with VerticalScroll(classes="details", can_focus=False):
                yield Block(id="line")

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        del client
        self._files = await asyncio.to_thread(log_files, self._folder)
        if self._reader is None or self._reader.path not in self._files:
            self._open(self._files[0] if self._files else None)
        if self._reader is not None:
            texts, is_new = await asyncio.to_thread(self._reader.read_new)
            self._take(texts, is_new=is_new)
        self._say()

    def _take(self, texts: list[str], *, is_new: bool) -> None:
        if is_new:
            self._lines.clear()
        level = self._lines[-1].level if self._lines else Level.INFO
        came: list[LogLine] = []
        for text in texts:
            self._n_read += 1
            line = words.line_of(self._n_read, text, level)
            level = line.level
            came.append(line)
        self._lines.extend(came)
        if is_new:
            self._show_all()
        elif came:
            rows = [line.row() for line in came if line.level >= self._level]
            self.list.add_rows(rows, MAX_LINES)
            self.show_filter_count()

    def _show_all(self) -> None:
        rows = [line.row() for line in self._lines if line.level >= self._level]
        name = "" if self._reader is None else one_line(self._reader.path.name)
        empty = f"{name} is empty."
        if self._lines:
            empty = f"No line of this log is of this level; {len(self._lines):,} are not shown."
        self.list.set_rows(rows, empty)
        self.list.action_last()
        self.show_filter_count()

    def _open(self, path: Path | None) -> None:
        self._reader = None if path is None else LogReader(path)
        self._lines.clear()
        folder = one_line(str(self._folder))
        empty = f"There are no logs in {folder} yet. The host writes one when it starts."
        self.list.set_rows([], "" if path else empty)

    def _say(self) -> None:
        if self._reader is None:
            self.set_status("no logs yet")
            return
        index = self._files.index(self._reader.path) + 1 if self._reader.path in self._files else 0
        below = self.list.n_below
        follows = f"stands still, {below:,} lines below" if below else "follows"
        self.set_status(
            f"{self._reader.path.name} ({index} of {len(self._files)}) · "
            f"{words.LEVEL_WORDS[self._level]} · {follows} · {len(self._lines):,} lines"
        )

    def on_rows_moved(self) -> None:
        """Show the whole of another line."""
        row = self.list.row
        self.query_one("#line", Block).say(row.cells[0] if row else "")
        self._say()

    # ---- keys

    def action_turn(self, step: int) -> None:
        """Turn to another log."""
        if len(self._files) < 2 or self._reader is None:
            return
        index = self._files.index(self._reader.path) if self._reader.path in self._files else 0
        self._open(self._files[(index + step) % len(self._files)])
        self.poke()

    def action_level(self) -> None:
        """Show the next level: all, warnings and errors, errors alone."""
        self._level = Level((self._level + 1) % len(Level))
        self._show_all()
        self._say()

    def action_follow(self) -> None:
        """Go to the end, where the log is followed."""
        self.list.action_last()
        self._say()
