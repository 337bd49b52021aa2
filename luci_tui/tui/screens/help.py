"""The page that names the keys, made from the bindings themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from luci_tui.tui.screens.steady import Steady

BOX_WIDTH = 78
"""As in theme/dialogs.tcss."""
_FRAME_WIDTH = 6
"""Border, padding and scroll bar."""


@dataclass(frozen=True)
class KeyLine:
    """One action as the help shows it."""

    keys: str
    """As a person reads them."""
    help: str
    id: str
    """As config.toml names it."""


@dataclass(frozen=True)
class HelpPage:
    """What the help says about a place."""

    title: str
    text: str
    sections: Sequence[tuple[str, Sequence[KeyLine]]]
    """(heading, lines)"""


class HelpScreen(Steady, ModalScreen[None]):
    """Keys and what they do.

    Args:
        page: What to show.
        screen_width: Cells of the terminal.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,f1,q,enter,question_mark",
            "leave",
            "Close",
            id="help.close",
            tooltip="Go back.",
            key_display="esc",
            priority=True,
        ),
    ]

    def __init__(self, page: HelpPage, screen_width: int) -> None:
        super().__init__()
        self._screen_width = screen_width
        self._page = page

    def compose(self) -> ComposeResult:
        """Show the text in a box that scrolls where the terminal is small."""
        with VerticalScroll(id="help") as box:
            box.border_subtitle = "Esc closes this page."
            yield Static(self._text(), markup=False)

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss()

    def _text(self) -> str:
        page = self._page
        width = min(BOX_WIDTH, self._screen_width) - _FRAME_WIDTH
        lines = [page.title, *textwrap.wrap(page.text, width), ""]
        n_keys = max(len(_keys(line)) for _, some in page.sections for line in some)
        for heading, some in page.sections:
            lines.append(heading)
            for line in some:
                text = f"{line.help} ({line.id})"
                first, *rest = textwrap.wrap(text, max(20, width - n_keys - 4))
                lines.append(f"  {_keys(line):<{n_keys}}  {first}")
                lines += [f"{'':<{n_keys + 4}}{more}" for more in rest]
            lines.append("")
        advice = 'config.toml gives an action another key: a line "jobs.cancel" = "k" below [keys].'
        return "\n".join([*lines, *textwrap.wrap(advice, width)])


def _keys(line: KeyLine) -> str:
    """Name the first two keys; more would leave no room for the words."""
    return ", ".join(line.keys.split(", ")[:2])
