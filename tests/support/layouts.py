"""Count how often Textual lays a screen out: each time costs as much as several redraws."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App
    from textual.screen import Screen


class Layouts:
    """Counts the layouts of the screen that an app shows now."""

    def __init__(self, app: App[None]) -> None:
        self.count = 0
        app.screen.screen_layout_refresh_signal.subscribe(app.screen, self._add)

    def _add(self, screen: Screen[object]) -> None:
        del screen
        self.count += 1
