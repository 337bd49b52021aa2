"""The input line: several lines of text, a history, and Enter that sends."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea

from luci_tui.tui.keymap import KeyMap, binding, make_keymap

MAX_HISTORY = 200
"""Prompts kept in memory; the oldest go first."""

_EDITING = {
    key: binding.action
    for binding in TextArea.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}
"""Key -> action of all that edits the text or moves in it."""


class PromptInput(TextArea):
    """Text to send to the model.

    Args:
        keys: Which keys send and which start a new line; None = the defaults.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("prompt.send", "send"),
        binding("prompt.newline", "newline"),
    ]

    class Sent(Message):
        """The person sent a prompt."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text
            """What was typed, without blank lines around it."""

    class HelpAsked(Message):
        """The person typed "?" into an empty prompt."""

    def __init__(self, keys: KeyMap | None = None) -> None:
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
        keys = keys or make_keymap({})
        self._actions = (
            _EDITING
            | dict.fromkeys(keys.of("prompt.newline"), "newline")
            | dict.fromkeys(keys.of("prompt.send"), "send")
        )

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

    def action_ask_help(self) -> None:
        """Ask the app for its help page."""
        self.post_message(self.HelpAsked())

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

    def render_line(self, y: int) -> Strip:
        """Draw one line; Textual 8.2.8 fails to wrap its placeholder where there is no column."""
        if self.content_size.width < 1:
            return Strip.blank(self.size.width)
        return super().render_line(y)

    async def _on_key(self, event: events.Key) -> None:
        # Bindings are run after the key has climbed to the app, so letters that are typed on
        # overtake them; over a slow line many keys come at once. Here each takes its turn.
        key = event.key
        action = self._actions.get(key)
        if event.character == "?" and not self.text:
            action = "ask_help"
        if action is None and key.startswith("alt+"):
            # Alt and a number goes to a mode; Textual's input would take the number for text.
            event.prevent_default()
            return
        if action is None:
            await super()._on_key(event)
            return
        # An action with nothing to do, like copying without a selection, leaves its key to others.
        if await self.app.run_action(action, self):  # pyright: ignore[reportUnknownMemberType]
            event.stop()
            event.prevent_default()

    def _recall(self, position: int) -> None:
        if self._position == len(self._history):
            self._draft = self.text
        self._position = position
        is_draft = position == len(self._history)
        self.text = self._draft if is_draft else self._history[position]
        self.move_cursor(self.document.end)
