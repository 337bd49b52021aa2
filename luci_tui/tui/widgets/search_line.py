"""A line to type words into that are looked for elsewhere, such as in every message."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from luci_tui.tui.widgets.line import Line


class SearchLine(Horizontal):
    """Hidden until it is opened; Enter goes to what was found, Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", id="search.close", tooltip="Leave the search."),
        Binding("enter,down", "keep", "To the list", id="search.keep", tooltip="Go to the hits."),
    ]

    class Changed(Message):
        """Other words are looked for."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person is done with typing."""

        def __init__(self, *, is_closed: bool) -> None:
            super().__init__()
            self.is_closed = is_closed

    def __init__(self) -> None:
        super().__init__(id="search-line")
        self.display = False
        self._input = Line(id="search-words")

    def compose(self) -> ComposeResult:
        """Lay out the word and the input."""
        yield Static("Search:", id="search-label", markup=False)
        yield self._input

    def open(self, text: str) -> None:
        """Show the line with some words and take what is typed."""
        self.display = True
        self._input.value = text
        self._input.cursor_position = len(text)
        self._input.focus()

    def close(self) -> None:
        """Leave the search."""
        self.display = False
        with self._input.prevent(Input.Changed):
            self._input.value = ""
        self.post_message(self.Left(is_closed=True))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look while the person types."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to what was found."""
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Go to what was found."""
        self.post_message(self.Left(is_closed=False))

    def action_close(self) -> None:
        """Leave the search."""
        self.close()
