"""Chats for tests: stores on disk, and models on lease without a manager."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from luci_tui.chat.naming import new_id
from luci_tui.chat.records import ChatSession, Message, MessageState, Role
from luci_tui.chat.store import ChatStore
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import CatalogError, LuciError


@dataclass(frozen=True)
class FakeEntry:
    name: str = "script"
    sampling: frames.SamplingParams = field(default_factory=frames.SamplingParams)
    system: str = ""
    answers_with_command: bool = False


@dataclass(frozen=True)
class FakeLease:
    entry: FakeEntry
    info: frames.ModelInfo
    engine: EngineClient


class FakeProgress(BaseModel):
    kind: str
    name: str = ""
    fraction: float | None = None


@dataclass
class FakeModels:
    """Lends one engine that a test has loaded; knows no other model than those in `entries`."""

    engine: EngineClient
    info: frames.ModelInfo
    entries: dict[str, FakeEntry] = field(default_factory=dict[str, FakeEntry])
    progress: tuple[FakeProgress, ...] = ()
    failure: LuciError | None = None
    n_held: int = 0
    asked: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def lease(
        self, name: str, on_progress: Callable[[object], None]
    ) -> AsyncGenerator[FakeLease]:
        self.asked.append(name)
        for step in self.progress:
            on_progress(step)
        if self.failure is not None:
            raise self.failure
        entry = self.entries.get(name) or FakeEntry(name=name)
        if name == "missing":
            raise CatalogError(f'There is no model "{name}".')
        self.n_held += 1
        try:
            yield FakeLease(entry, self.info, self.engine)
        finally:
            self.n_held -= 1


def finished(store: ChatStore, chat: ChatSession, reply: Message, text: str) -> Message:
    """Complete a reply that streams."""
    complete = reply.model_copy(update={"text": text, "state": MessageState.COMPLETE})
    store.finish(chat.id, complete)
    return store.message(chat.id, reply.id)


def told(store: ChatStore, chat: ChatSession, *pairs: tuple[str, str]) -> list[Message]:
    """Put turns with their answers at the end of a chat; gives all messages put there."""
    made: list[Message] = []
    for asked, answered in pairs:
        leaf = store.session(chat.id).active_leaf_id
        user, reply = store.begin_turn(chat.id, asked, parent_id=leaf, model="script")
        made += [user, finished(store, chat, reply, answered)]
    return made


def conversation(*pairs: tuple[str, str], model: str = "script") -> list[Message]:
    """Make the messages of a chat of one branch, without a store."""
    made: list[Message] = []
    for asked, answered in pairs:
        for role, text in ((Role.USER, asked), (Role.ASSISTANT, answered)):
            parent_id = made[-1].id if made else None
            made.append(
                Message(
                    id=new_id(),
                    parent_id=parent_id,
                    role=role,
                    text=text,
                    created_ms=len(made),
                    model=model if role is Role.ASSISTANT else "",
                )
            )
    return made


def integrity(path: Path) -> str:
    """Say what SQLite thinks of a closed file."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
