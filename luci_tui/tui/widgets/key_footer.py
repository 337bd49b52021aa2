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
        self._drawn: object = None
        """What was there to draw the last time."""

    def compose(self) -> Iterator[Widget]:
        """Lay out the keys; where there is no room, the last of them but for those go first."""
        kept = list(super().compose())
        self._drawn = self._to_draw()
        for widget in reversed(kept.copy()):
            if sum(map(_width, kept)) <= self.size.width:
                break
            if not self._stays(widget):
                kept.remove(widget)
        self.styles.grid_size_columns = max(1, len(kept))
        yield from kept

    def on_resize(self, event: events.Resize) -> None:
        """Lay the keys out anew for another width."""
        del event
        self.call_after_refresh(self.recompose)

    async def recompose(self) -> None:
        """Lay the keys out anew where there are others or another width: it costs a layout."""
        # It is called after a refresh, when the screen may be gone.
        if self.is_attached and self._to_draw() != self._drawn:
            await super().recompose()

    def _to_draw(self) -> object:
        keys = self.screen.active_bindings.values() if self._bindings_ready else ()
        shown = [(one.binding, one.enabled, one.tooltip) for one in keys if one.binding.show]
        return self.size.width, shown

    def _stays(self, widget: Widget) -> bool:
        found = self.screen.active_bindings.get(widget.key if isinstance(widget, FooterKey) else "")
        action_id = (found.binding.id or "") if found is not None else ""
        return action_id.startswith("app.") or action_id.endswith(".leave")


def _width(widget: Widget) -> int:
    if not isinstance(widget, FooterKey):
        return 0
    return cell_len(widget.key_display) + cell_len(widget.description) + _AROUND_KEY
