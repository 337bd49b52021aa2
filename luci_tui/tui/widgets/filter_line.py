"""A line to type words into that rows must hold."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.line import Line


class FilterLine(Horizontal):
    """Hidden until it is opened; Enter goes back to the list, Esc takes the filter away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "All", id="filter.clear", tooltip="Take the filter away."),
        Binding("enter,down", "keep", "To the list", id="filter.keep", tooltip="Keep the filter."),
    ]

    class Changed(Message):
        """Other words are looked for; none = everything is shown."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person is done with typing."""

    def __init__(self) -> None:
        super().__init__(id="filter")
        self.display = False
        self._input = Line(id="filter-words")
        self._count = Block(id="filter-count")

    def compose(self) -> ComposeResult:
        """Lay out words, input and count."""
        yield Static("Filter:", id="filter-label", markup=False)
        yield self._input
        yield self._count

    @property
    def text(self) -> str:
        """What is looked for."""
        return self._input.value if self.display else ""

    def open(self) -> None:
        """Show the line and take what is typed."""
        self.display = True
        self._input.focus()

    def show_count(self, n_shown: int, n_all: int) -> None:
        """Say how many rows are left."""
        whole = f"{n_all:,}"
        # As wide as the greatest: what stands beside it keeps its place.
        self._count.say(f"{n_shown:>{len(whole)},} of {whole}")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the person types."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the list."""
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Go back to the list with the filter as it is."""
        if not self._input.value:
            self.display = False
        self.post_message(self.Left())

    def action_clear(self) -> None:
        """Take the filter away."""
        self._input.value = ""
        self.display = False
        self.post_message(self.Changed(""))
        self.post_message(self.Left())
