"""The page with all that is known about an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from luci_tui.tui.chat.entries import MessageEntry
from luci_tui.tui.chat.shown import About, LeftOutShown
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.text import one_line

_WORDS = 24
"""Characters of a message that name it."""


def about_lines(about: About, messages: Sequence[MessageEntry]) -> list[tuple[str, str]]:
    """Give what is known, a line each, with numbers for the messages of the transcript."""
    numbers = {entry.shown.id: place for place, entry in enumerate(messages, start=1)}
    texts = {entry.shown.id: entry.shown.text for entry in messages}

    def name(message_id: str) -> str:
        words = one_line(texts.get(message_id, ""))
        short = words if len(words) <= _WORDS else words[: _WORDS - 1] + "…"
        return f'{numbers.get(message_id, "?")} "{short}"'

    def run(left_out: LeftOutShown) -> str:
        first = f"message {name(left_out.first_id)}"
        if left_out.last_id != left_out.first_id:
            first += f" to {name(left_out.last_id)}"
        return f"{first}: {left_out.words}"

    left_out = [("left out" if not n else "", run(one)) for n, one in enumerate(about.left_out)]
    return [*about.lines, *left_out]


class AboutScreen(Steady, ModalScreen[None]):
    """The page.

    Args:
        title: Which message it is.
        lines: (what, how).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "leave", "Close", id="about.close", tooltip="Close this page."),
    ]

    def __init__(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        width = max(len(what) for what, _ in self._lines) + 2
        with VerticalScroll(id="about") as box:
            box.border_title = self._title
            box.border_subtitle = "Esc closes this page"
            for what, how in self._lines:
                with Horizontal(classes="about-line"):
                    label = Static(what, markup=False)
                    label.styles.width = width
                    yield label
                    yield Static(one_line(how), classes="about-how", markup=False)

    def action_leave(self) -> None:
        """Close the page."""
        self.dismiss(None)
