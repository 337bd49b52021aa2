"""HostChats: the chats of the host as the commands see them, over its unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar, cast
from urllib.parse import quote

from pydantic import BaseModel, JsonValue

from luci_tui.chat.cost import Spent
from luci_tui.chat.records import (
    ChatRow,
    ChatSession,
    ImportedChat,
    Message,
    OpenedChat,
    SearchHit,
)
from luci_tui.chat.turn_events import TurnEvent, turn_event_adapter
from luci_tui.errors import ChatError, HostError, LuciError
from luci_tui.host.api import messages
from luci_tui.host.client import HostClient

M = TypeVar("M", bound=BaseModel)

IDS_PER_REQUEST = 200

END_S = 5.0
"""How long the host may take to end a turn."""


class HostChats:
    """Implements `chat_backend.ChatBackend`. A client belongs to whoever made it.

    Closing the iterator of a turn that was begun here ends the turn; the loss of this process
    does not. Whoever only follows a turn leaves it alone.
    """

    def __init__(self, client: HostClient) -> None:
        self._client = client

    async def list(self, *, limit: int, archived: bool) -> tuple[ChatRow, ...]:
        """Give the chats, the one that was used last first."""
        only_archived = "&archived=true" if archived else ""
        return await self._items(f"/luci/chats?limit={limit}{only_archived}", ChatRow)

    async def create(self, fields: Mapping[str, object]) -> ChatSession:
        """Begin a chat."""
        return await self._client.post("/luci/chats", _fields(fields), ChatSession)

    async def get(self, chat_id: str) -> OpenedChat:
        """Give a chat with its active branch."""
        return await self._client.get(_path(chat_id), OpenedChat)

    async def update(self, chat_id: str, fields: Mapping[str, object]) -> ChatSession:
        """Change fields of a chat."""
        response = await self._client.request("PATCH", _path(chat_id), _fields(fields))
        return ChatSession.model_validate_json(response.content)

    async def delete(self, chat_id: str) -> None:
        """Remove a chat with all of its messages and its session log."""
        await self._client.request("DELETE", _path(chat_id))

    async def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Give every message of every branch, summaries included."""
        return await self._items(f"{_path(chat_id)}/messages", Message)

    async def spent(self, chat_ids: Sequence[str]) -> tuple[Spent, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        found: list[Spent] = []
        # A list of thousands of chats is asked for in addresses of a length that servers take.
        for start in range(0, len(chat_ids), IDS_PER_REQUEST):
            ids = ",".join(quote(one, safe="") for one in chat_ids[start : start + IDS_PER_REQUEST])
            found += await self._items(f"/luci/chats/spent?ids={ids}", Spent)
        return tuple(found)

    async def search(
        self, query: str, *, limit: int, newest: bool = False
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages."""
        order = "&newest=true" if newest else ""
        path = f"/luci/chats/search?q={quote(query, safe='')}&limit={limit}{order}"
        return await self._items(path, SearchHit)

    async def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        options: Mapping[str, object],
        media: tuple[messages.SentMedium, ...] = (),
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's message with its pictures and sounds, and stream the answer."""
        wanted = messages.StartTurn(
            text=text, parent_id=parent_id, options=_json(options), media=media
        )
        async with aclosing(self._turn(chat_id, wanted)) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, beside the reply that is there."""
        wanted = messages.StartTurn(regenerate=message_id, options=_json(options))
        async with aclosing(self._turn(chat_id, wanted)) as events:
            async for event in events:
                yield event

    async def follow(self, chat_id: str) -> AsyncGenerator[TurnEvent]:
        """Stream the answer that is being given in a chat, from its beginning.

        Raises:
            ChatError: none is; code "no_turn".
        """
        session = (await self.get(chat_id)).session
        turn_id = await self.running_turn(session.id)
        if not turn_id:
            msg = f"No answer is being given in the chat {session.id}."
            raise ChatError(msg, code="no_turn")
        async with aclosing(self.read_turn(turn_id)) as events:
            async for event in events:
                yield event

    async def running_turn(self, chat_id: str) -> str:
        """Return the turn that is being answered in a chat; empty = none."""
        turns = (await self._client.get("/luci/turns", messages.Turns)).turns
        running = (turn.turn_id for turn in turns if turn.is_running and turn.chat_id == chat_id)
        return next(running, "")

    async def cancel(self, chat_id: str) -> None:
        """End the answer that is being given in a chat, if there is one; its text is kept."""
        if turn_id := await self.running_turn(chat_id):
            await self._client.cancel_turn(turn_id)

    async def read_turn(self, turn_id: str) -> AsyncGenerator[TurnEvent]:
        """Stream a turn from its beginning.

        Raises:
            LuciError: why there is no turn, or none any more.
        """
        async with aclosing(self._client.turn_events(turn_id)) as events:
            async for event in events:
                if event.kind == "gap":
                    msg = "The answer is longer than the host keeps. The chat has all of it."
                    raise HostError(msg, code="gap")
                yield turn_event_adapter.validate_json(event.data)

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file, and its media type."""
        path = f"{_path(chat_id)}/export?format={quote(format_name, safe='')}"
        response = await self._client.request("GET", path)
        return response.content, response.content_type

    async def medium(self, chat_id: str, message_id: str, place: int) -> bytes:
        """Give what a picture or sound of a message holds."""
        path = f"{_path(chat_id)}/messages/{quote(message_id, safe='')}/media/{place}"
        return (await self._client.request("GET", path)).content

    async def import_chats(self, data: bytes) -> tuple[ImportedChat, ...]:
        """Take in what `export` gave as JSON, or OpenAI's messages."""
        response = await self._client.request("POST", "/luci/chats/import", data)
        items = messages.ChatItems.model_validate_json(response.content).items
        return tuple(ImportedChat.model_validate(item) for item in items)

    async def close(self) -> None:
        """Close the connections; the host goes on."""
        await self._client.close()

    async def _turn(self, chat_id: str, wanted: messages.StartTurn) -> AsyncGenerator[TurnEvent]:
        session = (await self.get(chat_id)).session
        path = f"{_path(session.id)}/turns"
        turn_id = (await self._client.post(path, wanted, messages.TurnOpened)).turn_id
        is_read = False
        try:
            async with aclosing(self.read_turn(turn_id)) as events:
                async for event in events:
                    yield event
            is_read = True
        except LuciError:
            is_read = True
            raise
        finally:
            if not is_read:
                await self._end(turn_id)

    async def _end(self, turn_id: str) -> None:
        """End a turn that nobody here reads any more."""
        with suppress(LuciError, TimeoutError):  # a host that is gone has ended it
            async with asyncio.timeout(END_S):
                await self._client.cancel_turn(turn_id)

    async def _items(self, path: str, kind: type[M]) -> tuple[M, ...]:
        items = (await self._client.get(path, messages.ChatItems)).items
        return tuple(kind.model_validate(item) for item in items)


def _path(chat_id: str) -> str:
    return f"/luci/chats/{quote(chat_id, safe='') or '-'}"


def _fields(fields: Mapping[str, object]) -> messages.ChatFields:
    return messages.ChatFields(root=_json(fields))


def _json(fields: Mapping[str, object]) -> dict[str, JsonValue]:
    """Give fields as JSON has them; models in them become their fields."""
    return {
        name: cast(
            "JsonValue", value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        )
        for name, value in fields.items()
    }
