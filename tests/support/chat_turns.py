"""Short ways to talk to a chat service in tests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from luci_tui.chat.journal import Journal
from luci_tui.chat.records import ChatSession, Message
from luci_tui.chat.seams import TurnOptions
from luci_tui.chat.service import ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import TurnDone, TurnEvent
from luci_tui.engine.echo import EchoEngine
from tests.support import engines
from tests.support.chats import FakeEntry, FakeModels
from tests.support.scripted_engine import MODEL_INFO, ScriptedEngine, Step


def scripted(store: StoreThread, *scripts: list[Step], **entries: FakeEntry) -> ChatService:
    """Make a service whose one model answers by scripts."""
    models = FakeModels(ScriptedEngine(*scripts), MODEL_INFO, entries=entries)
    return ChatService(store, models, Journal(Path("/nonexistent")))


def requests(service: ChatService) -> list[list[dict[str, object]]]:
    """Give the messages of every request that its scripted engine has got."""
    models = service._means.models  # pyright: ignore[reportPrivateUsage]
    assert isinstance(models, FakeModels)
    assert isinstance(models.engine, ScriptedEngine)
    return [json.loads(request.messages_json or "") for request in models.engine.requests]


async def echoing(store: StoreThread, n_ctx: int = 4096) -> ChatService:
    """Make a service whose one model repeats what it is told."""
    engine = EchoEngine()
    info = await engines.load(engine, "echo", n_ctx=n_ctx)
    return ChatService(store, FakeModels(engine, info), Journal(Path("/nonexistent")))


async def new_chat(store: StoreThread, **fields: Any) -> ChatSession:
    """Store a chat; `fields` as for ChatStore.create."""
    given: dict[str, Any] = {"model": "script", **fields}
    return await store.run(lambda opened: opened.create(**given))


async def all_of(events: AsyncGenerator[TurnEvent]) -> list[TurnEvent]:
    """Take a turn to its end."""
    return [event async for event in events]


async def ask(service: ChatService, chat: ChatSession, words: str, **options: Any) -> TurnDone:
    """Say something and give how the answer ended, which must be well."""
    end = (await all_of(service.send(chat.id, words, options=TurnOptions(**options))))[-1]
    assert isinstance(end, TurnDone), end
    return end


async def branch(store: StoreThread, chat: ChatSession) -> tuple[Message, ...]:
    """Give the messages of a chat as they are stored."""
    return (await store.run(ChatStore.open, chat.id)).messages
