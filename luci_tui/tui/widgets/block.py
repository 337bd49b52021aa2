"""Lines of text that are drawn again only when they change: a redraw may cross a network."""

from __future__ import annotations

from textual.widgets import Static

from luci_tui.chat.sanitize import sanitize


class Block(Static):
    """Text without markup, made safe."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._said = ""

    def say(self, text: str) -> None:
        """Show this text."""
        if text != self._said:
            self._said = text
            self.update(sanitize(text))
