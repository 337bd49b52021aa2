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
        if text == self._said:
            return
        self._said = text
        before = self._wanted_size()
        self.update(sanitize(text), layout=False)
        self.clear_cached_dimensions()
        if before is None or self._wanted_size() != before:
            self.refresh(layout=True)

    def _wanted_size(self) -> tuple[int, int] | None:
        """Give the cells that the text takes where they are its own; None = not known yet."""
        size = self.content_size
        if not self.is_mounted or not size.width:
            return None
        box, whole = self.container_size, self.screen.size
        width = self.get_content_width(box, whole) if self.styles.is_auto_width else 0
        height = self.styles.is_auto_height
        return width, self.get_content_height(box, whole, size.width) if height else 0
