"""What modes and the app ask of each other, and tell."""

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


class InstallWanted(Message):
    """The person wants a model of the catalogue to be installed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class ChatOpened(Message):
    """The chat stands: with its model, or with the sentence why there is none."""


class ChatGone(Message, bubble=False):
    """A chat was deleted or put away, by whomever; told to the screens that may show it."""

    def __init__(self, chat_id: str) -> None:
        super().__init__()
        self.chat_id = chat_id


class AnswerBegan(Message):
    """An answer is being given."""


class AnswerEnded(Message):
    """An answer came to its end, whatever came of it."""

    def __init__(self, took_s: float) -> None:
        super().__init__()
        self.took_s = took_s
