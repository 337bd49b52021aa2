"""The palette: every action by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.rows import Column, Row, Rows


@dataclass(frozen=True)
class Command:
    """Something that the palette can do."""

    id: str
    title: str
    keys: str
    """As a person reads them; empty = it has none."""
    help: str


class PaletteScreen(Steady, ModalScreen[str]):
    """Type a part of a name, choose with Up and Down, Enter does it; gives the command's id.

    Args:
        commands: All of them, the likeliest first.
        question: What stands in the empty line.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p", "leave", "Close", id="palette.close", priority=True),
    ]

    def __init__(
        self, commands: Sequence[Command], question: str = "What do you want to do?"
    ) -> None:
        super().__init__()
        self._question = question
        self._rows = [Row(one.id, (one.title, one.keys, one.help)) for one in commands]

    def compose(self) -> ComposeResult:
        """Lay out input and list."""
        with Vertical(id="palette"):
            words = Input(placeholder=self._question, compact=True)
            words.cursor_blink = False
            yield words
            columns = (Column("", 28), Column("", 12, rank=2), Column("", rank=1))
            yield Rows(columns, has_header=False)

    def on_mount(self) -> None:
        """Show everything, and type at once."""
        self.query_one(Rows).set_rows(self._rows)
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what holds the words."""
        rows = self.query_one(Rows)
        words = event.value.strip().casefold()
        # What is called so comes before what only says so of itself.
        rows.set_rows(sorted(self._rows, key=lambda row: words not in row.cells[0].casefold()))
        rows.set_filter(event.value)
        rows.action_first()

    def on_input_submitted(self) -> None:
        """Do what the cursor is on."""
        if key := self.query_one(Rows).key:
            self.dismiss(key)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Do it."""
        self.dismiss(message.key)

    def on_key(self, event: events.Key) -> None:
        """Move in the list while the input has the focus."""
        rows = self.query_one(Rows)
        match event.key:
            case "up":
                rows.action_move(-1)
            case "down":
                rows.action_move(1)
            case "pageup":
                rows.action_page(-1)
            case "pagedown":
                rows.action_page(1)
            case _:
                return
        event.stop()
        event.prevent_default()

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss("")
