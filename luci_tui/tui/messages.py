"""What modes ask of the app."""

from __future__ import annotations

from textual.message import Message


class ModelWanted(Message):
    """The person wants to talk to a model."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
