"""The input line: several lines of text, a history, and Enter that sends."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

MAX_HISTORY = 200
"""Prompts kept in memory; the oldest go first."""


class PromptInput(TextArea):
    """Text to send to the model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "send", "Send", id="prompt.send", tooltip="Send the prompt.", priority=True
        ),
        Binding(
            "ctrl+j,alt+enter,shift+enter",
            "newline",
            "New line",
            id="prompt.newline",
            tooltip="Start another line in the prompt.",
            key_display="^j",
            priority=True,
        ),
    ]

    class Sent(Message):
        """The person sent a prompt."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text
            """What was typed, without blank lines around it."""

    class HelpAsked(Message):
        """The person typed "?" into an empty prompt."""

    def __init__(self) -> None:
        super().__init__(
            id="prompt",
            compact=True,
            highlight_cursor_line=False,
            placeholder="Ask something. Enter sends, Ctrl-J starts a new line.",
        )
        self.cursor_blink = False
        self._history: list[str] = []
        self._position = 0
        self._draft = ""

    def action_send(self) -> None:
        """Send what was typed, unless it is blank."""
        text = self.text.strip("\n").rstrip()
        if not text.strip():
            return
        if not self._history or self._history[-1] != text:
            self._history = [*self._history, text][-MAX_HISTORY:]
        self._position = len(self._history)
        self._draft = ""
        self.clear()
        self.post_message(self.Sent(text))

    def action_newline(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Move up; from the first line go back in the history."""
        if select or not self.cursor_at_first_line:
            super().action_cursor_up(select)
        elif self._position > 0:
            self._recall(self._position - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Move down; from the last line go forward in the history."""
        if select or not self.cursor_at_last_line:
            super().action_cursor_down(select)
        elif self._position < len(self._history):
            self._recall(self._position + 1)

    async def on_key(self, event: events.Key) -> None:
        """Let "?" in an empty prompt ask for help."""
        if event.character == "?" and not self.text:
            event.stop()
            event.prevent_default()
            self.post_message(self.HelpAsked())

    def _recall(self, position: int) -> None:
        if self._position == len(self._history):
            self._draft = self.text
        self._position = position
        is_draft = position == len(self._history)
        self.text = self._draft if is_draft else self._history[position]
        self.move_cursor(self.document.end)
