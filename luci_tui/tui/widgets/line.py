"""A line to type into that takes many keys at once in their order."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input

_EDITING = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}
"""Key -> action of all that edits the line or moves in it."""


class Line(Input):
    """An input without a blinking cursor, as wide as there is room.

    Bindings are run after the key has climbed to the app, so letters that are typed on overtake
    them: over a slow line, where many keys come at once, a Backspace would delete the wrong one.
    """

    # Textual lays the whole screen out when it changes, in case scrollbars come; here none does.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))

    def __init__(self, value: str = "", *, id: str | None = None) -> None:
        super().__init__(value, id=id, compact=True)
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        action = _EDITING.get(event.key)
        if action is None:
            await super()._on_key(event)
            return
        # An action with nothing to do, like copying without a selection, leaves its key to others.
        if await self.app.run_action(action, self):  # pyright: ignore[reportUnknownMemberType]
            event.stop()
            event.prevent_default()
