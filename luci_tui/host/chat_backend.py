"""What the commands need of chats, whoever keeps them: a host, or this process alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from luci_tui.chat.cost import Spent
    from luci_tui.chat.records import (
        ChatRow,
        ChatSession,
        ImportedChat,
        Message,
        OpenedChat,
        SearchHit,
    )
    from luci_tui.chat.turn_events import TurnEvent


class ExportFormat(StrEnum):
    """How a chat is written."""

    MARKDOWN = "markdown"
    """For people: the active branch."""
    BRANCHES = "markdown-branches"
    """For people: the active branch, and a section for each other one."""
    JSON = "json"
    """Everything, for another import."""


class ChatShelf(Protocol):
    """The chats on disk. A chat is named by its id or by the beginning of it.

    Raises, from every method:
        ChatError: there is no such chat, or the store failed.
    """

    async def list(self, *, limit: int, archived: bool) -> tuple[ChatRow, ...]:
        """Give the chats, the one that was used last first."""
        ...

    async def create(self, fields: Mapping[str, object]) -> ChatSession:
        """Begin a chat; `fields` as in luci_tui.host.chats.ChatFields."""
        ...

    async def get(self, chat_id: str) -> OpenedChat:
        """Give a chat with its active branch."""
        ...

    async def update(self, chat_id: str, fields: Mapping[str, object]) -> ChatSession:
        """Change fields of a chat; as in luci_tui.host.chats.ChatChanges."""
        ...

    async def delete(self, chat_id: str) -> object:
        """Remove a chat with all of its messages; what it returns is not looked at."""
        ...

    async def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Give every message of every branch, summaries included."""
        ...

    async def spent(self, chat_ids: Sequence[str]) -> tuple[Spent, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        ...

    async def search(
        self, query: str, *, limit: int, newest: bool = False
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages."""
        ...


class ChatTalk(Protocol):
    """Answers in chats."""

    def send(
        self, chat_id: str, text: str, *, parent_id: str | None, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's message and stream the answer; closing the iterator cancels it."""
        ...

    def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, beside the reply that is there."""
        ...

    def follow(self, chat_id: str) -> AsyncGenerator[TurnEvent]:
        """Stream the answer that is being given in a chat, from its beginning.

        Raises:
            ChatError: none is; code "no_turn".
        """
        ...


class ChatTransfer(Protocol):
    """Chats as files."""

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file, and its media type; `format_name` as in ExportFormat."""
        ...

    async def import_chats(self, data: bytes) -> tuple[ImportedChat, ...]:
        """Take in what `export` gave as JSON, or OpenAI's messages."""
        ...

    async def close(self) -> None:
        """Store what is in flight and let go."""
        ...


class ChatBackend(ChatShelf, ChatTalk, ChatTransfer, Protocol):
    """All that the commands need."""
