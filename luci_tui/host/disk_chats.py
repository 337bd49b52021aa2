"""The chats on disk in the shapes that the management API reads: shelf, talk, transfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from luci_tui.chat.cost import Rates, cost_of
from luci_tui.chat.journal import Journal
from luci_tui.chat.markdown import export_markdown
from luci_tui.chat.records import ChatRow, ChatSession, Message, Parameters, SearchHit
from luci_tui.chat.seams import Models, TurnOptions
from luci_tui.chat.service import ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.transfer import export_json, read_import
from luci_tui.chat.turn_events import TurnEvent
from luci_tui.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


class ChatChanges(BaseModel):
    """The fields of a chat that a front end may set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str | None = None
    model: str | None = None
    system: str | None = None
    parameters: Parameters | None = None


class ChatUpdate(ChatChanges):
    """What may be changed later: also the branch that is shown, and notes on messages."""

    is_archived: bool | None = None
    select: str | None = None
    """A message; the newest branch through it becomes the active one."""
    pin: str | None = None
    unpin: str | None = None
    rate: tuple[str, int, str] | None = None
    """(message, -1, 0 or 1, note)."""


class DiskChats:
    """Opens the store with the first use, so that a host without chats starts quickly.

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
        self._service: ChatService | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Store what is in flight and close the file."""
        async with self._opening:
            if self._service is not None:
                await self._service.close()

    # The shelf.

    async def list(self, *, limit: int, archived: bool) -> tuple[ChatRow, ...]:
        """Give the chats, the one that was used last first."""
        store = await self._store()
        return await store.run(ChatStore.chats, is_archived=archived, limit=limit)

    async def create(self, fields: Mapping[str, JsonValue]) -> ChatSession:
        """Begin a chat."""
        wanted = _parse(ChatChanges, fields)
        store = await self._store()
        given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
        return await store.run(ChatStore.create, **given)

    async def get(self, chat_id: str) -> BaseModel:
        """Give a chat with its active branch; the beginning of an id is enough."""
        store = await self._store()
        session = await store.run(ChatStore.find, chat_id)
        return await store.run(ChatStore.open, session.id)

    async def update(self, chat_id: str, fields: Mapping[str, JsonValue]) -> BaseModel:
        """Change a chat and give it with its active branch."""
        wanted = _parse(ChatUpdate, fields)
        store = await self._store()
        session_fields = ("title", "model", "system", "parameters", "is_archived")
        given = {n: getattr(wanted, n) for n in session_fields if n in wanted.model_fields_set}
        if given:
            await store.run(ChatStore.update, chat_id, **given)
        if wanted.select is not None:
            await store.run(ChatStore.select, chat_id, wanted.select)
        for message_id, is_pinned in ((wanted.pin, True), (wanted.unpin, False)):
            if message_id is not None:
                await store.run(ChatStore.pin, chat_id, message_id, is_pinned)
        if wanted.rate is not None:
            await store.run(ChatStore.rate, chat_id, *wanted.rate)
        return await store.run(ChatStore.open, chat_id)

    async def delete(self, chat_id: str) -> None:
        """Remove a chat with its messages and its log."""
        await (await self._open()).delete(chat_id)

    async def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Give every message of every branch."""
        store = await self._store()
        await store.run(ChatStore.session, chat_id)
        return await store.run(ChatStore.messages, chat_id)

    async def search(self, query: str, *, limit: int) -> tuple[SearchHit, ...]:
        """Find words in titles and messages."""
        store = await self._store()
        return await store.run(ChatStore.search, query, limit=limit)

    async def cost(self, chat_id: str, rates: Rates) -> BaseModel:
        """Add up the tokens of a chat, and what they cost by the rates that are set."""
        return cost_of(await self.messages(chat_id), rates)

    # The talk.

    async def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        options: Mapping[str, JsonValue],
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's message and stream the answer."""
        wanted = _parse(TurnOptions, options)
        service = await self._open()
        turn = service.send(chat_id, text, parent_id=parent_id, options=wanted)
        async with aclosing(turn) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, JsonValue]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, beside the reply that is there."""
        wanted = _parse(TurnOptions, options)
        service = await self._open()
        turn = service.regenerate(chat_id, message_id, options=wanted)
        async with aclosing(turn) as events:
            async for event in events:
                yield event

    # The transfer.

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file: "json", "markdown", or "markdown-branches"."""
        store = await self._store()
        session = (await store.run(ChatStore.find, chat_id)).id
        opened = await store.run(ChatStore.session, session)
        messages = await store.run(ChatStore.messages, session)
        if format_name == "json":
            return await asyncio.to_thread(export_json, opened, messages), "application/json"
        if format_name not in {"markdown", "markdown-branches"}:
            msg = f"There is no format {format_name[:40]!r}. Use json, markdown, markdown-branches."
            raise ConfigError(msg, code="unknown_format")
        with_branches = format_name == "markdown-branches"
        make = partial(export_markdown, opened, messages, with_branches=with_branches)
        return (await asyncio.to_thread(make)).encode(), "text/markdown; charset=utf-8"

    async def import_chats(self, data: bytes) -> tuple[ChatSession, ...]:
        """Take in what `export` gave as JSON, or a list of OpenAI's messages."""
        imported = await asyncio.to_thread(read_import, data)
        store = await self._store()
        return (await store.run(ChatStore.add, imported.session, imported.messages),)

    async def _store(self) -> StoreThread:
        return (await self._open()).store

    async def _open(self) -> ChatService:
        async with self._opening:
            if self._service is None:
                store = await StoreThread.open(self._path)
                if store.notice:
                    self._tell(store.notice)
                self._service = ChatService(store, self._models, self._journal)
        return self._service


def _parse(model: type[M], fields: Mapping[str, JsonValue]) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the request"
        msg = f"{name} cannot be used: {first['msg'].lower()}. Correct it and try again."
        raise ConfigError(msg, code="invalid_request") from error
