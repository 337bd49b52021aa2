"""The footer: the keys that work here, as many as there is room for."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual import events
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_AROUND_KEY = 3
"""Cells around the name of a key and behind its words."""


class KeyFooter(Footer):
    """Leaves keys out where not all fit; never those that find the others, or lead away."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)
        self._drawn_for = 0

    def compose(self) -> Iterator[Widget]:
        """Lay out the keys; where there is no room, the last of them but for those go first."""
        kept = list(super().compose())
        self._drawn_for = self.size.width
        for widget in reversed(kept.copy()):
            if sum(map(_width, kept)) <= self.size.width:
                break
            if not self._stays(widget):
                kept.remove(widget)
        self.styles.grid_size_columns = max(1, len(kept))
        yield from kept

    def on_resize(self, event: events.Resize) -> None:
        """Lay the keys out anew for another width."""
        if event.size.width != self._drawn_for:
            self.call_after_refresh(self.recompose)

    def _stays(self, widget: Widget) -> bool:
        found = self.screen.active_bindings.get(widget.key if isinstance(widget, FooterKey) else "")
        action_id = (found.binding.id or "") if found is not None else ""
        return action_id.startswith("app.") or action_id.endswith(".leave")


def _width(widget: Widget) -> int:
    if not isinstance(widget, FooterKey):
        return 0
    return cell_len(widget.key_display) + cell_len(widget.description) + _AROUND_KEY
