"""A page of text above everything else, such as a table that was asked for."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.screens.steady import Steady


class PageScreen(Steady, ModalScreen[None]):
    """Lines of text that scroll in both directions; Esc closes them.

    Args:
        title: What it is.
        lines: As they stand, none is wrapped.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "leave", "Close", id="page.close", tooltip="Go back."),
    ]

    def __init__(self, title: str, lines: tuple[str, ...]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Show the text in a box that scrolls where the terminal is small."""
        with VerticalScroll(id="page") as box:
            box.border_title = sanitize(self._title).replace("[", "\\[")
            box.border_subtitle = "Esc closes this page."
            text = "\n".join(sanitize(line) for line in self._lines)
            yield Static(text, id="page-text", markup=False)

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one("#page").focus()

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss()
