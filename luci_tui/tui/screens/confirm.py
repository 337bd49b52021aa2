"""A question before something that cannot be undone."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.screens.steady import Steady


class ConfirmScreen(Steady, ModalScreen[bool]):
    """One sentence, No and Yes; Enter on its own means No.

    Args:
        question: With the name of the thing, and what is lost.
        yes: What the button says that does it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes", tooltip="Do it."),
        Binding("n,escape", "answer(False)", "No", id="confirm.no", tooltip="Leave it as it is."),
        Binding("left,right", "other", "Other", id="confirm.other", show=False),
    ]

    def __init__(self, question: str, yes: str = "Yes") -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        """Lay out the question and its two answers."""
        with Vertical(id="confirm"):
            yield Static(sanitize(self._question), markup=False)
            with Horizontal(id="confirm-buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button(f"{self._yes} (y)", id="yes", compact=True)

    def on_mount(self) -> None:
        """Stand on No."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        event.stop()
        self.action_answer(event.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        """Answer."""
        self.dismiss(is_yes)

    def action_other(self) -> None:
        """Go to the other button."""
        self.focus_next()
