"""The chats of a host: a chat desk that is opened when somebody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from luci_tui.chat.cost import Spent
from luci_tui.chat.journal import Journal
from luci_tui.chat.records import (
    ChatRow,
    ChatSession,
    ImportedChat,
    Message,
    OpenedChat,
    SearchHit,
)
from luci_tui.chat.seams import Models
from luci_tui.chat.service import ChatService
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import TurnEvent
from luci_tui.host.api.messages import SentMedium
from luci_tui.host.chats import ChatDesk


class DiskChats:
    """A `ChatDesk` whose file is opened with the first use, so that a host starts quickly.

    Args:
        path: The file of the store.
        models: Lends the models that answer.
        journal: The session logs.
        tell: Given what a person should know about the opening of the store.
    """

    def __init__(
        self, path: Path, models: Models, journal: Journal, tell: Callable[[str], None]
    ) -> None:
        self._path = path
        self._models = models
        self._journal = journal
        self._tell = tell
        self._desk: ChatDesk | None = None
        self._opening = asyncio.Lock()

    async def list(self, *, limit: int, archived: bool) -> tuple[ChatRow, ...]:
        """Give the chats, the one that was used last first."""
        return await (await self._open()).list(limit=limit, archived=archived)

    async def create(self, fields: Mapping[str, object]) -> ChatSession:
        """Begin a chat."""
        return await (await self._open()).create(fields)

    async def get(self, chat_id: str) -> OpenedChat:
        """Give a chat with its active branch."""
        return await (await self._open()).get(chat_id)

    async def update(self, chat_id: str, fields: Mapping[str, object]) -> ChatSession:
        """Change fields of a chat."""
        return await (await self._open()).update(chat_id, fields)

    async def delete(self, chat_id: str) -> str:
        """Remove a chat with all of its messages and its session log, and give its whole id."""
        return await (await self._open()).delete(chat_id)

    async def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Give every message of every branch, summaries included."""
        return await (await self._open()).messages(chat_id)

    async def spent(self, chat_ids: Sequence[str]) -> tuple[Spent, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        return await (await self._open()).spent(chat_ids)

    async def search(
        self, query: str, *, limit: int, newest: bool = False
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages."""
        return await (await self._open()).search(query, limit=limit, newest=newest)

    async def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        options: Mapping[str, object],
        media: Sequence[SentMedium] = (),
        media_of: str = "",
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's message and stream the answer; closing the iterator cancels it."""
        desk = await self._open()
        sending = desk.send(
            chat_id, text, parent_id=parent_id, options=options, media=media, media_of=media_of
        )
        async with aclosing(sending) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, beside the reply that is there."""
        desk = await self._open()
        async with aclosing(desk.regenerate(chat_id, message_id, options=options)) as events:
            async for event in events:
                yield event

    def stop(self, chat_id: str) -> None:
        """End the answer in a chat, if there is one; its iterator ends with a TurnFailed."""
        if self._desk is not None:
            self._desk.service.stop(chat_id)

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file, and its media type."""
        return await (await self._open()).export(chat_id, format_name)

    async def import_chats(self, data: bytes) -> tuple[ImportedChat, ...]:
        """Take in what `export` gave as JSON, or OpenAI's messages."""
        return await (await self._open()).import_chats(data)

    async def medium(self, chat_id: str, message_id: str, place: int) -> tuple[bytes, str]:
        """Give what a picture or sound of a message holds, and its media type."""
        return await (await self._open()).medium(chat_id, message_id, place)

    async def close(self) -> None:
        """Stop what answers, keep its text, and close the file."""
        async with self._opening:
            if self._desk is not None:
                await self._desk.close()

    async def _open(self) -> ChatDesk:
        async with self._opening:
            if self._desk is None:
                store = await StoreThread.open(self._path)
                if store.notice:
                    self._tell(store.notice)
                self._desk = ChatDesk(ChatService(store, self._models, self._journal))
        return self._desk
