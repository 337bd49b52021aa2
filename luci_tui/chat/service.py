"""ChatService: answer in chats, one turn at a time in each."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from luci_tui.chat.seams import Models, TurnOptions
from luci_tui.chat.turn_events import TurnEvent

ROOT = ""
"""As `parent_id`: the message begins the chat, as a sibling of its first message."""

_AS_THE_CHAT_SAYS = TurnOptions()


class ChatService:
    """Owns a chat store and answers in it; all methods belong to one event loop."""

    def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None = None,
        options: TurnOptions = _AS_THE_CHAT_SAYS,
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's turn and stream the answer; closing the iterator cancels the answer."""
        ...

    def regenerate(
        self, chat_id: str, message_id: str, *, options: TurnOptions = _AS_THE_CHAT_SAYS
    ) -> AsyncGenerator[TurnEvent]:
        """Answer again, as a sibling of the reply `message_id`."""
        ...

    def edit(
        self, chat_id: str, message_id: str, text: str, *, options: TurnOptions = _AS_THE_CHAT_SAYS
    ) -> AsyncGenerator[TurnEvent]:
        """Send another text in place of the user's turn `message_id`, as its sibling."""
        ...
