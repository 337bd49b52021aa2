"""What modes ask of the app."""

from __future__ import annotations

from textual.message import Message


class ModelWanted(Message):
    """The person wants to talk to a model."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class ChatWanted(Message):
    """The person wants to go on with a chat that is kept."""

    def __init__(self, chat_id: str, model: str) -> None:
        super().__init__()
        self.chat_id = chat_id
        self.model = model
        """The one that answered in it."""
