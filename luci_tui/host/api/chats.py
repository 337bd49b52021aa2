"""Routes for chats and their turns. What a chat is, the chat service says; this only carries it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pydantic import BaseModel, JsonValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api import bodies
from luci_tui.host.api.messages import (
    ChatFields,
    ChatItems,
    SentMedium,
    StartTurn,
    TurnOpened,
    Turns,
)
from luci_tui.host.api.sse import EventStream, cursor_of
from luci_tui.host.api.state_of import state_of
from luci_tui.host.state import note_chat_gone

MAX_ROWS = 10_000


class ChatShelf(Protocol):
    """The chats on disk. Every method raises CatalogError for a chat that is not there."""

    async def list(self, *, limit: int, archived: bool) -> tuple[BaseModel, ...]:
        """Give the chats, the one with the youngest message first."""
        ...

    async def create(self, fields: Mapping[str, JsonValue]) -> BaseModel:
        """Begin a chat; fields of a session, such as title, model, system, parameters."""
        ...

    async def get(self, chat_id: str) -> BaseModel:
        """Give a chat with its active branch."""
        ...

    async def update(self, chat_id: str, fields: Mapping[str, JsonValue]) -> BaseModel:
        """Change fields of a session and give it."""
        ...

    async def delete(self, chat_id: str) -> str:
        """Remove a chat with all of its messages and give its whole id."""
        ...

    async def messages(self, chat_id: str) -> tuple[BaseModel, ...]:
        """Give every message of every branch."""
        ...

    async def spent(self, chat_ids: Sequence[str]) -> tuple[BaseModel, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        ...

    async def search(
        self, query: str, *, limit: int, newest: bool = False
    ) -> tuple[BaseModel, ...]:
        """Find words in titles and messages."""
        ...


class ChatTalk(Protocol):
    """Answers in chats; closing an iterator cancels the answer and keeps its text."""

    def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        options: Mapping[str, JsonValue],
        media: Sequence[SentMedium] = (),
        media_of: str = "",
    ) -> AsyncGenerator[BaseModel]:
        """Store a user's message with its pictures and sounds, and stream the answer."""
        ...

    def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, JsonValue]
    ) -> AsyncGenerator[BaseModel]:
        """Answer once more, beside the reply that is there."""
        ...

    def stop(self, chat_id: str) -> None:
        """End the answer in a chat, if there is one; its iterator ends with an event about it."""
        ...


class ChatTransfer(Protocol):
    """Chats as files."""

    async def export(self, chat_id: str, format_name: str) -> tuple[bytes, str]:
        """Give a chat as a file and its media type; ConfigError for an unknown format."""
        ...

    async def import_chats(self, data: bytes) -> tuple[BaseModel, ...]:
        """Take in what `export` gave as JSON."""
        ...

    async def medium(self, chat_id: str, message_id: str, place: int) -> tuple[bytes, str]:
        """Give what a picture or sound of a message holds, and its media type."""
        ...

    async def close(self) -> None:
        """Store what is in flight and close the files."""
        ...


@dataclass(frozen=True)
class Chats:
    """All that the host does with chats."""

    shelf: ChatShelf
    talk: ChatTalk
    transfer: ChatTransfer


def routes() -> list[Route]:
    """Return the routes of chats and turns."""
    return [
        Route("/luci/chats", _list, methods=["GET"]),
        Route("/luci/chats", _create, methods=["POST"]),
        Route("/luci/chats/search", _search, methods=["GET"]),
        Route("/luci/chats/spent", _spent, methods=["GET"]),
        Route("/luci/chats/import", _import, methods=["POST"]),
        Route("/luci/chats/{chat_id}", _get, methods=["GET"]),
        Route("/luci/chats/{chat_id}", _update, methods=["PATCH"]),
        Route("/luci/chats/{chat_id}", _delete, methods=["DELETE"]),
        Route("/luci/chats/{chat_id}/messages", _messages, methods=["GET"]),
        Route(
            "/luci/chats/{chat_id}/messages/{message_id}/media/{place:int}",
            _medium,
            methods=["GET"],
        ),
        Route("/luci/chats/{chat_id}/export", _export, methods=["GET"]),
        Route("/luci/chats/{chat_id}/turns", _start_turn, methods=["POST"]),
        Route("/luci/turns", _turns, methods=["GET"]),
        Route("/luci/turns/{turn_id}/events", _turn_events, methods=["GET"]),
        Route("/luci/turns/{turn_id}/cancel", _cancel_turn, methods=["POST"]),
    ]


async def _list(request: Request) -> Response:
    archived = request.query_params.get("archived") == "true"
    shelf = _chats(request).shelf
    return _items(await shelf.list(limit=_limit(request), archived=archived))


async def _create(request: Request) -> Response:
    wanted = await bodies.read_model(request, ChatFields)
    made = await _chats(request).shelf.create(wanted.root)
    return bodies.answer(made, 201)


async def _get(request: Request) -> Response:
    return bodies.answer(await _chats(request).shelf.get(_chat_id(request)))


async def _update(request: Request) -> Response:
    wanted = await bodies.read_model(request, ChatFields)
    session = await _chats(request).shelf.update(_chat_id(request), wanted.root)
    if wanted.root.get("is_archived") is True:
        note_chat_gone(state_of(request).events, str(getattr(session, "id", "")))
    return bodies.answer(session)


async def _delete(request: Request) -> Response:
    chat_id = await _chats(request).shelf.delete(_chat_id(request))
    note_chat_gone(state_of(request).events, chat_id)
    return Response(status_code=204)


async def _messages(request: Request) -> Response:
    return _items(await _chats(request).shelf.messages(_chat_id(request)))


async def _spent(request: Request) -> Response:
    ids = [one for one in request.query_params.get("ids", "").split(",") if one]
    return _items(await _chats(request).shelf.spent(ids))


async def _search(request: Request) -> Response:
    query = request.query_params.get("q", "")
    if not query.strip():
        msg = "The search has no words. Say what to look for: ?q=words."
        raise ConfigError(msg, code="invalid_request")
    newest = request.query_params.get("newest") == "true"
    return _items(await _chats(request).shelf.search(query, limit=_limit(request), newest=newest))


async def _export(request: Request) -> Response:
    format_name = request.query_params.get("format", "json")
    transfer = _chats(request).transfer
    data, media_type = await transfer.export(_chat_id(request), format_name)
    return Response(data, media_type=media_type)


async def _medium(request: Request) -> Response:
    message_id, place = str(request.path_params["message_id"]), int(request.path_params["place"])
    transfer = _chats(request).transfer
    data, media_type = await transfer.medium(_chat_id(request), message_id, place)
    return Response(data, media_type=media_type)


async def _import(request: Request) -> Response:
    data = await bodies.read_bytes(request)
    return _items(await _chats(request).transfer.import_chats(data), 201)


async def _start_turn(request: Request) -> Response:
    wanted = await bodies.read_model(request, StartTurn)
    state = state_of(request)
    chat_id = _chat_id(request)
    talk = _chats(request).talk
    if wanted.regenerate:
        events = talk.regenerate(chat_id, wanted.regenerate, options=wanted.options)
    else:
        events = talk.send(
            chat_id,
            wanted.text,
            parent_id=wanted.parent_id,
            options=wanted.options,
            media=wanted.media,
            media_of=wanted.media_of,
        )
    turn_id = await state.turns.start(chat_id, events, partial(talk.stop, chat_id))
    return bodies.answer(TurnOpened(turn_id=turn_id, chat_id=chat_id), 201)


async def _turns(request: Request) -> Response:
    return bodies.answer(Turns(turns=state_of(request).turns.records()))


async def _turn_events(request: Request) -> Response:
    log = state_of(request).turns.log(str(request.path_params["turn_id"]))
    return EventStream(log.subscribe(cursor_of(request)))


async def _cancel_turn(request: Request) -> Response:
    await state_of(request).turns.cancel(str(request.path_params["turn_id"]))
    return Response(status_code=204)


def _chats(request: Request) -> Chats:
    chats = state_of(request).chats
    if chats is None:
        msg = "This host was started without chats. Start it again with `luci host restart`."
        raise HostError(msg, code="no_chats")
    return chats


def _chat_id(request: Request) -> str:
    return str(request.path_params["chat_id"])


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_ROWS):
        msg = f"limit {text[:20]} cannot be used: give a number from 1 to {MAX_ROWS}."
        raise ConfigError(msg, code="invalid_request")
    return int(text)


def _items(items: tuple[BaseModel, ...], status: int = 200) -> Response:
    return bodies.answer(
        ChatItems(items=tuple(item.model_dump(mode="json") for item in items)), status
    )
