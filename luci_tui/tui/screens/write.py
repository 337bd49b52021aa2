"""A text of several lines, such as a system prompt."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.screens.steady import Steady


class WriteScreen(Steady, ModalScreen[str | None]):
    """Lines to type; gives what was typed, None = it stays as it was.

    Args:
        question: What to write.
        start: What stands there at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,f8", "take", "Take it", id="write.take", tooltip="Take it.", priority=True),
        Binding("escape", "leave", "Leave", id="write.leave", tooltip="Do nothing.", priority=True),
    ]

    def __init__(self, question: str, start: str = "") -> None:
        super().__init__()
        self._question = question
        self._start = start

    def compose(self) -> ComposeResult:
        """Lay out question and lines."""
        with Vertical(id="write") as box:
            box.border_subtitle = "Ctrl-S takes it, Esc leaves."
            yield Static(sanitize(self._question), markup=False)
            lines = TextArea(self._start, id="write-lines", compact=True)
            lines.cursor_blink = False
            yield lines

    def on_mount(self) -> None:
        """Type at once, at the end."""
        lines = self.query_one(TextArea)
        lines.focus()
        lines.move_cursor(lines.document.end)

    def action_take(self) -> None:
        """Take what was typed."""
        self.dismiss(self.query_one(TextArea).text.strip())

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)
