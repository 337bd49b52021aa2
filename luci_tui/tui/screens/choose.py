"""A question that is answered by choosing one of several things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import one_line


class ChooseScreen(ModalScreen[str]):
    """A list to choose from; gives the key of what was chosen, "" = nothing is wanted.

    Args:
        question: What is chosen.
        choices: (key, words), the likeliest first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="choose.leave", tooltip="Do nothing."),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._question = question
        self._rows = [Row(key, (one_line(words),)) for key, words in choices]

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with Vertical(id="choose") as box:
            box.border_title = one_line(self._question)
            box.border_subtitle = "Enter takes it, Esc leaves."
            yield Rows((Column(""),), has_header=False)

    def on_mount(self) -> None:
        """Show everything."""
        rows = self.query_one(Rows)
        rows.set_rows(self._rows)
        rows.focus()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Take it."""
        self.dismiss(message.key)

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss("")
