"""Chats in memory that say each message back, for tests of the host's routes and turns."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, JsonValue

from luci_tui.errors import CatalogError, ConfigError
from luci_tui.host.api.chats import Chats
from luci_tui.host.api.messages import SentMedium


class Session(BaseModel):
    """A chat."""

    id: str
    title: str = ""


class Said(BaseModel):
    """A message."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    state: str = "complete"


class Started(BaseModel):
    """The user's message is kept."""

    kind: Literal["turn_started"] = "turn_started"
    chat_id: str


class Word(BaseModel):
    """One more word of the answer."""

    kind: Literal["turn_delta"] = "turn_delta"
    text: str


class Ended(BaseModel):
    """The answer is complete."""

    kind: Literal["turn_done"] = "turn_done"


class Failed(BaseModel):
    """The answer was ended."""

    kind: Literal["turn_failed"] = "turn_failed"
    code: str = "cancelled"


class EchoChats:
    """ChatShelf, ChatTalk and ChatTransfer in one.

    Args:
        pause_s: Between two words.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._sessions: dict[str, Session] = {}
        self._said: dict[str, list[Said]] = {}
        self._ids = itertools.count(1)
        self._stopped: set[str] = set()

    def as_chats(self) -> Chats:
        """Return the three parts that a host wants."""
        return Chats(shelf=self, talk=self, transfer=self)

    async def list(self, *, limit: int, archived: bool) -> tuple[Session, ...]:
        """Give the chats."""
        del archived
        return tuple(self._sessions.values())[:limit]

    async def create(self, fields: Mapping[str, JsonValue]) -> Session:
        """Begin a chat."""
        session = Session(id=f"c{next(self._ids)}", title=str(fields.get("title", "")))
        self._sessions[session.id], self._said[session.id] = session, []
        return session

    async def get(self, chat_id: str) -> Session:
        """Give a chat."""
        if chat_id not in self._sessions:
            msg = f"There is no chat {chat_id}."
            raise CatalogError(msg, code="not_found")
        return self._sessions[chat_id]

    async def update(self, chat_id: str, fields: Mapping[str, JsonValue]) -> Session:
        """Change the title."""
        session = await self.get(chat_id)
        self._sessions[chat_id] = session.model_copy(update={"title": fields["title"]})
        return self._sessions[chat_id]

    async def delete(self, chat_id: str) -> str:
        """Forget a chat and give its whole id."""
        await self.get(chat_id)
        del self._sessions[chat_id]
        return chat_id

    async def messages(self, chat_id: str) -> tuple[Said, ...]:
        """Give what was said."""
        await self.get(chat_id)
        return tuple(self._said[chat_id])

    async def spent(self, chat_ids: Sequence[str]) -> tuple[Said, ...]:
        """Nothing: an echo costs nothing."""
        del chat_ids
        return ()

    async def search(self, query: str, *, limit: int, newest: bool = False) -> tuple[Said, ...]:
        """Find a word."""
        del newest
        every = itertools.chain.from_iterable(self._said.values())
        return tuple(one for one in every if query in one.text)[:limit]

    async def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        options: Mapping[str, JsonValue],
        media: Sequence[SentMedium] = (),
        media_of: str = "",
    ) -> AsyncGenerator[BaseModel]:
        """Say a text back, word by word."""
        del parent_id, options, media, media_of
        await self.get(chat_id)
        said = self._said[chat_id]
        said.append(Said(id=str(next(self._ids)), role="user", text=text))
        reply = Said(id=str(next(self._ids)), role="assistant", text="", state="cancelled")
        said.append(reply)
        yield Started(chat_id=chat_id)
        for word in text.split():
            await asyncio.sleep(self._pause_s)
            if chat_id in self._stopped:
                self._stopped.remove(chat_id)
                yield Failed()
                return
            reply.text += f"{word} "
            yield Word(text=f"{word} ")
        reply.state = "complete"
        yield Ended()

    def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, JsonValue]
    ) -> AsyncGenerator[BaseModel]:
        """Say something else."""
        return self.send(chat_id, f"again {message_id}", parent_id=None, options=options)

    def stop(self, chat_id: str) -> None:
        """End what is being said."""
        self._stopped.add(chat_id)

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as JSON."""
        if format_name != "json":
            msg = f"There is no format {format_name}. Known is json."
            raise ConfigError(msg)
        return (await self.get(chat_id)).model_dump_json().encode(), "application/json"

    async def import_chats(self, data: bytes) -> tuple[Session, ...]:
        """Take in what `export` gave."""
        return (await self.create(json.loads(data)),)

    async def medium(self, chat_id: str, message_id: str, place: int) -> tuple[bytes, str]:
        """Refuse: nothing of the kind is kept."""
        msg = f"The message {message_id} of {chat_id} carries nothing at {place}."
        raise CatalogError(msg, code="not_found")

    async def close(self) -> None:
        """Nothing is kept."""
