"""A question that is answered by typing."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from luci_tui.chat.sanitize import sanitize
from luci_tui.errors import LuciError
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.line import Line


class AskScreen(Steady, ModalScreen[str]):
    """One line to type; gives what was typed, "" = nothing is wanted.

    Args:
        question: What to type, and in which form.
        start: What stands there at first.
        check: Raises LuciError for what cannot be used; its sentence is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="ask.leave", tooltip="Do nothing."),
    ]

    def __init__(
        self, question: str, start: str = "", check: Callable[[str], object] | None = None
    ) -> None:
        super().__init__()
        self._question = question
        self._start = start
        self._check = check

    def compose(self) -> ComposeResult:
        """Lay out question, line and complaint."""
        with Vertical(id="ask") as box:
            box.border_subtitle = "Enter takes it, Esc leaves."
            yield Static(sanitize(self._question), markup=False)
            yield Line(self._start, id="ask-line")
            yield Static(id="ask-complaint", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, or say why it cannot be used."""
        event.stop()
        text = event.value.strip()
        try:
            if text and self._check is not None:
                self._check(text)
        except LuciError as error:
            self.query_one("#ask-complaint", Static).update(sanitize(error.message))
            return
        self.dismiss(text)

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss("")
