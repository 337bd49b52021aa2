"""Count how often Textual lays a screen out: each time costs as much as several redraws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App


class Layouts:
    """Counts the layouts of the screen that an app shows now."""

    def __init__(self, app: App[None]) -> None:
        self.count = 0
        # Textual leaves the type of a screen's result open.
        screen: Any = app.screen
        screen.screen_layout_refresh_signal.subscribe(screen, self._add)

    def _add(self, screen: object) -> None:
        del screen
        self.count += 1
