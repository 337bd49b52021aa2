"""A host in this process, with a real socket and chats on disk, whose answers are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from luci_tui.chat.journal import Journal
from luci_tui.chat.records import Message, OpenedChat
from luci_tui.chat.store import ChatStore
from luci_tui.chat.turn_events import TurnEvent
from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from luci_tui.errors import LuciError
from luci_tui.host.api.chats import Chats
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.disk_chats import DiskChats
from luci_tui.host.process import Options
from luci_tui.host.run_files import RunFiles, listen, prepare_folders, run_files
from luci_tui.host.server import serve
from luci_tui.host.wiring import build_host
from luci_tui.tui.app import ChatApp
from luci_tui.tui.host_conversation import HostConversation
from luci_tui.tui.services import Services
from tests.support.chats import FakeModels, told
from tests.support.scripted_engine import MODEL_INFO, ScriptedEngine

READY_S = 10.0
MODEL = "builtin"
"""What the host loads, with an echo for an engine; the answers of chats come from the script."""


class RefusingChats(DiskChats):
    """Chats on disk that can be told to answer nothing."""

    refusal: LuciError | None = None
    """What is said to whoever wants an answer; None = they get it."""

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: Mapping[str, object]
    ) -> AsyncGenerator[TurnEvent]:
        """Answer once more, or refuse."""
        if self.refusal is not None:
            raise self.refusal
        async with aclosing(super().regenerate(chat_id, message_id, options=options)) as events:
            async for event in events:
                yield event


@dataclass
class KeptChats:
    """The host, and how a screen gets to it."""

    files: RunFiles
    engine: ScriptedEngine
    info: frames.ModelInfo = MODEL_INFO
    """The model whose answers are scripted."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    @property
    def store_path(self) -> Path:
        """Where the chats lie."""
        return self.files.home / "chats.db"

    async def start(self) -> None:
        """Listen."""
        models = FakeModels(self.engine, self.info)
        journal = Journal(self.files.home)
        self.chats = chats = RefusingChats(self.store_path, models, journal, lambda _: None)
        state = await build_host(
            self.files,
            Options(engine="echo"),
            new_engine=EchoEngine,
            chats=Chats(shelf=chats, talk=chats, transfer=chats),
        )
        ready = asyncio.Event()
        listener = listen(self.files)
        self.stop = state.ask_to_stop
        self.tasks.append(asyncio.create_task(serve(state, listener, ready.set), name="host"))
        await asyncio.wait_for(ready.wait(), READY_S)

    async def end(self) -> None:
        """Let the host leave."""
        self.stop(0)
        await asyncio.wait_for(self.tasks.pop(), READY_S)

    async def find(self) -> HostClient:
        """Give a client of the host."""
        return HostClient(self.files.socket)

    def conversation(self, resume: str | None = None) -> HostConversation:
        """Make what the screen talks to."""
        return HostConversation(
            find_host=self.find, model=MODEL, label="script", resume_chat=resume
        )

    def app(self, resume: str | None = None, services: Services | None = None) -> ChatApp:
        """Make the screen."""
        return ChatApp(lambda: self.conversation(resume), services)

    async def stored(self) -> tuple[Message, ...]:
        """Give the active branch of the chat that was used last, as it is on the disk."""
        client = await self.find()
        try:
            return (await _last_chat(client)).messages
        finally:
            await client.close()


async def _last_chat(client: HostClient) -> OpenedChat:
    chats = HostChats(client)
    rows = await chats.list(limit=1, archived=False)
    return await chats.get(rows[0].session.id)


def prepare(home: Path, *pairs: tuple[str, str]) -> str:
    """Put a chat on the disk and return its id."""
    store = ChatStore(home / "chats.db")
    chat = store.create(model=MODEL)
    told(store, chat, *pairs)
    store.close()
    return chat.id


@asynccontextmanager
async def kept_chats(
    home: Path, engine: ScriptedEngine, info: frames.ModelInfo = MODEL_INFO
) -> AsyncGenerator[KeptChats]:
    """Run the host for the time of the context."""
    files = run_files(home)
    prepare_folders(files)
    made = KeptChats(files, engine, info)
    await made.start()
    try:
        yield made
    finally:
        if made.tasks:
            await made.end()
