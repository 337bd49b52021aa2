"""A screen that does not run after sizes that are no longer true."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events

if TYPE_CHECKING:
    from textual.screen import Screen


class Steady:
    """To be named before Textual's class of screens.

    A screen of Textual 8.2.8 that changes its size tells itself so by another event. Where two
    sizes wait at once, as when a window is drawn larger with the mouse, each brings the other one
    back, for ever. What is not the terminal's size any more is passed over here.
    """

    async def _on_resize(self, event: events.Resize) -> None:
        screen = cast("Screen[object]", self)
        if event.size != screen.app.size:  # pyright: ignore[reportUnknownMemberType]
            event.stop()
            event.prevent_default()
