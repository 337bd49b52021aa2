"""The transcript of a chat with a cursor over its messages."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from luci_tui.tui.chat.entries import MessageEntry
from luci_tui.tui.keymap import binding
from luci_tui.tui.widgets.transcript import Entry, Transcript

VERBS = (
    *("edit", "again", "before", "after", "pin", "copy", "block", "quote", "save"),
    *("good", "bad", "note", "fold", "about", "export"),
)
"""What the keys ask for; `MessageEntry.verbs` says which can be done."""


class ChatTranscript(Transcript, can_focus=True):
    """The entries; while it has the focus, one of the messages has the cursor."""

    FOCUS_ON_CLICK = False  # Whoever selects text with the mouse goes on typing in the prompt.
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("message.up", "move(-1)"),
        binding("message.down", "move(1)"),
        binding("message.first", "first"),
        binding("message.last", "last"),
        *(binding(f"message.{verb}", f"ask('{verb}')") for verb in VERBS),
        binding("message.leave", "leave"),
    ]

    class Asked(Message):
        """The person wants something done with a message."""

        def __init__(self, verb: str, entry: MessageEntry) -> None:
            super().__init__()
            self.verb = verb
            self.entry = entry

    class Left(Message):
        """The person wants to go on typing."""

    def __init__(self, *header: Widget, id: str | None = None) -> None:
        super().__init__(*header, id=id)
        self._cursor: MessageEntry | None = None
        self._left_at: MessageEntry | None = None

    @property
    def cursor(self) -> MessageEntry | None:
        """The message with the cursor; None = no message has it."""
        return self._cursor if self._cursor is not None and self._cursor.place >= 0 else None

    def allow_focus(self) -> bool:
        """Take the focus only when there is a message to stand on."""
        return any(entry.is_message for entry in self.entries)

    def steady_entry(self) -> Entry | None:
        """Keep the message with the cursor where it is seen."""
        return self.cursor

    async def add(self, *items: Entry | Widget) -> None:
        """Put entries at the end; the cursor goes there if its message was taken away."""
        await super().add(*items)
        if self.has_focus and self.cursor is None:
            self.action_last()

    def stand_on(self, entry: MessageEntry | None) -> None:
        """Put the cursor on a message, or take it away."""
        if self._cursor is not None and self._cursor.widget is not None:
            self._cursor.widget.remove_class("-cursor")
        self._cursor = entry
        if entry is not None:
            if entry.widget is not None:
                entry.widget.add_class("-cursor")
            self.bring(entry)
        self.refresh_bindings()

    # ---- keys

    def on_focus(self, event: events.Focus) -> None:
        """Stand on the last message, or where the cursor was when the terminal was left."""
        back = self._left_at if event.from_app_focus else None
        if back is not None and back.place >= 0:
            self.stand_on(back)
        else:
            self.action_last()

    def on_blur(self) -> None:
        """Take the cursor away."""
        self._left_at = self._cursor
        self.stand_on(None)

    def action_move(self, direction: int) -> None:
        """Go to the message above or below; below the last one is the prompt."""
        cursor = self.cursor
        place = len(self.entries) if cursor is None else cursor.place
        entries = self.entries[place + 1 :] if direction > 0 else self.entries[:place][::-1]
        found = next((one for one in entries if isinstance(one, MessageEntry)), None)
        if found is not None:
            self.stand_on(found)
        elif direction > 0:
            self.action_leave()

    def action_first(self) -> None:
        """Go to the first message."""
        self.stand_on(next((one for one in self.entries if isinstance(one, MessageEntry)), None))

    def action_last(self) -> None:
        """Go to the last message."""
        entries = reversed(self.entries)
        self.stand_on(next((one for one in entries if isinstance(one, MessageEntry)), None))

    def action_leave(self) -> None:
        """Go back to the prompt."""
        self.post_message(self.Left())

    def action_ask(self, verb: str) -> None:
        """Ask for something to be done with the message."""
        if (entry := self.cursor) is not None:
            self.post_message(self.Asked(verb, entry))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done with this message."""
        if action == "ask":
            return self.cursor is not None and str(parameters[0]) in self.cursor.verbs
        return True

    # ---- looks

    def drawn(self, entry: Entry, widget: Widget) -> None:
        """Mark the widget if its message has the cursor."""
        widget.set_class(entry is self._cursor, "-cursor")
