"""Count how often Textual lays a screen out: each time costs as much as several redraws."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from textual.app import App
    from textual.screen import Screen


class Layouts:
    """Counts the layouts of the screen that an app shows now."""

    def __init__(self, app: App[None]) -> None:
        self.count = 0
        # Textual leaves the type of the screen's result open.
        screen = cast("Screen[None]", app.screen)  # pyright: ignore[reportUnknownMemberType]
        refreshed = screen.screen_layout_refresh_signal
        refreshed.subscribe(screen, self._add)  # pyright: ignore[reportUnknownMemberType]

    def _add(self, screen: object) -> None:
        del screen
        self.count += 1
