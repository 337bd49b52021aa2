"""ChatDesk: the chat service behind the plain names and mappings that front ends use."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

from pydantic import ValidationError

from luci_tui.chat.cost import Spent
from luci_tui.chat.markdown import export_markdown
from luci_tui.chat.media import LoadedMedium, checked_media
from luci_tui.chat.records import (
    ChatRow,
    ChatSession,
    Identifier,
    ImportedChat,
    Message,
    OpenedChat,
    Parameters,
    Record,
    SearchHit,
)
from luci_tui.chat.seams import TurnOptions
from luci_tui.chat.search import SearchOrder
from luci_tui.chat.service import ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.transfer import export_json, read_import
from luci_tui.chat.turn_events import TurnEvent
from luci_tui.errors import ChatError
from luci_tui.host.api.messages import SentMedium
from luci_tui.host.chat_backend import ExportFormat

R = TypeVar("R", bound=Record)


class ChatFields(Record):
    """What a chat begins with."""

    title: str = ""
    model: str = ""
    system: str = ""
    parameters: Parameters = Parameters()


class Rating(Record):
    """A judgement of one message."""

    message_id: Identifier
    rating: int
    """1 = good, -1 = bad, 0 = none."""
    note: str = ""


class ChatChanges(Record):
    """What may be changed of a chat; None = left as it is."""

    title: str | None = None
    """Empty = the first words of the first prompt."""
    model: str | None = None
    system: str | None = None
    parameters: Parameters | None = None
    is_archived: bool | None = None
    active_leaf_id: Identifier | None = None
    """Any message: the newest branch through it becomes the active one."""
    pin: Identifier | None = None
    unpin: Identifier | None = None
    rate: Rating | None = None


class ChatDesk:
    """Implements ChatBackend over a chat service in this process."""

    def __init__(self, service: ChatService) -> None:
        self.service = service

    async def list(self, *, limit: int, archived: bool) -> tuple[ChatRow, ...]:
        """Give the chats, the one that was used last first."""
        return await self.service.store.run(ChatStore.chats, is_archived=archived, limit=limit)

    async def create(self, fields: Mapping[str, object]) -> ChatSession:
        """Begin a chat."""
        wanted = _checked(ChatFields, fields)
        return await self.service.store.run(
            ChatStore.create,
            title=wanted.title,
            model=wanted.model,
            system=wanted.system,
            parameters=wanted.parameters,
        )

    async def get(self, chat_id: str) -> OpenedChat:
        """Give a chat with its active branch."""
        return await self.service.store.run(ChatStore.open, await self._id(chat_id))

    async def update(self, chat_id: str, fields: Mapping[str, object]) -> ChatSession:
        """Change fields of a chat."""
        chat_id = await self._id(chat_id)
        wanted = _checked(ChatChanges, fields)
        run = self.service.store.run
        if wanted.active_leaf_id is not None:
            await run(ChatStore.select, chat_id, wanted.active_leaf_id)
        for message_id, is_pinned in ((wanted.pin, True), (wanted.unpin, False)):
            if message_id is not None:
                await run(ChatStore.pin, chat_id, message_id, is_pinned)
        if (rate := wanted.rate) is not None:
            await run(ChatStore.rate, chat_id, rate.message_id, rate.rating, rate.note)
        return await run(
            ChatStore.update,
            chat_id,
            title=wanted.title,
            model=wanted.model,
            system=wanted.system,
            parameters=wanted.parameters,
            is_archived=wanted.is_archived,
        )

    async def delete(self, chat_id: str) -> str:
        """Remove a chat with all of its messages and its session log, and give its whole id."""
        whole_id = await self._id(chat_id)
        await self.service.delete(whole_id)
        return whole_id

    async def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Give every message of every branch, summaries included."""
        return await self.service.store.run(ChatStore.messages, await self._id(chat_id))

    async def spent(self, chat_ids: Sequence[str]) -> tuple[Spent, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        found = tuple([await self._id(chat_id) for chat_id in chat_ids])
        return await self.service.store.run(ChatStore.spent, found)

    async def search(
        self, query: str, *, limit: int, newest: bool = False
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages."""
        order = SearchOrder.NEWEST if newest else SearchOrder.BEST
        return await self.service.store.run(ChatStore.search, query, order=order, limit=limit)

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
        wanted = _checked(TurnOptions, options)
        sending = self.service.send(
            await self._id(chat_id),
            text,
            parent_id=parent_id,
            options=wanted,
            media=await asyncio.to_thread(_loaded, media) if media else (),
            media_of=media_of,
        )
        async with aclosing(sending) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, beside the reply that is there."""
        wanted = _checked(TurnOptions, options)
        again = self.service.regenerate(await self._id(chat_id), message_id, options=wanted)
        async with aclosing(again) as events:
            async for event in events:
                yield event

    async def follow(self, chat_id: str) -> AsyncGenerator[TurnEvent]:
        """Refuse: in one process, whoever asks for an answer reads it already."""
        raise ChatError(
            f"No answer is being given in the chat {await self._id(chat_id)}.", code="no_turn"
        )
        yield  # An iterator all the same.

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file, and its media type."""
        try:
            form = ExportFormat(format_name)
        except ValueError as error:
            raise ChatError(
                f'There is no export "{format_name[:40]}". Take one of {", ".join(ExportFormat)}.',
                code="export_unknown",
            ) from error
        chat_id = await self._id(chat_id)
        session = await self.service.store.run(ChatStore.session, chat_id)
        messages = await self.service.store.run(ChatStore.messages, chat_id)
        if form is ExportFormat.JSON:
            media = await self.service.store.run(ChatStore.all_media, chat_id)
            return export_json(session, messages, media), "application/json"
        text = export_markdown(session, messages, with_branches=form is ExportFormat.BRANCHES)
        return text.encode(), "text/markdown; charset=utf-8"

    async def import_chats(self, data: bytes) -> tuple[ImportedChat, ...]:
        """Take in what `export` gave as JSON, or OpenAI's messages."""
        read = await self.service.store.call(lambda: read_import(data))
        stored = await self.service.store.run(
            ChatStore.add, read.session, read.messages, read.media
        )
        return (ImportedChat(session=stored, note=read.note),)

    async def medium(self, chat_id: str, message_id: str, place: int) -> tuple[bytes, str]:
        """Give what a picture or sound of a message holds, and its media type."""
        chat_id = await self._id(chat_id)
        found = await self.service.store.run(ChatStore.media, chat_id, message_id)
        if not 0 <= place < len(found):
            raise ChatError(
                f"The message {message_id} carries no picture or sound {place}.",
                code="medium_not_found",
            )
        return found[place].content, found[place].medium.kind

    async def close(self) -> None:
        """Stop what answers, keep its text, and close the file."""
        await self.service.close()

    async def _id(self, chat_id: str) -> str:
        return (await self.service.store.run(ChatStore.find, chat_id)).id


def _loaded(media: Sequence[SentMedium]) -> tuple[LoadedMedium, ...]:
    """Decode and check what was sent; reading a picture's header may take a moment."""
    given: list[tuple[str, bytes]] = []
    for one in media:
        try:
            given.append((one.name, base64.b64decode(one.content, validate=True)))
        except ValueError as error:
            msg = f"The content of {one.name!r} is no base64. Encode the file again."
            raise ChatError(msg, code="bad_medium") from error
    return checked_media(given)


def _checked(model: type[R], fields: Mapping[str, object]) -> R:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:100]
        raise ChatError(
            f"The field {place} cannot be used: {first['msg'].lower()}. Correct it.",
            code="invalid_request",
        ) from error
