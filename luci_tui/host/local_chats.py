"""Chats without a host: the service, its store and one model in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from luci_tui import paths
from luci_tui.chat.journal import Journal
from luci_tui.chat.model import ModelSpec
from luci_tui.chat.service import ChatService
from luci_tui.chat.store_thread import StoreThread
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import ModelLoadError, WorkerLostError
from luci_tui.host.chats import ChatDesk
from luci_tui.host.wiring import EngineKind, build_engine, choose_model


class LoadingModel(BaseModel):
    """How far a model has come into memory; as a manager reports it."""

    kind: Literal["loading"] = "loading"
    name: str
    fraction: float


@dataclass(frozen=True)
class LocalEntry:
    """A model as a chat reads it."""

    name: str
    spec: ModelSpec

    @property
    def sampling(self) -> frames.SamplingParams:
        """Return the sampler chain of its answers."""
        return self.spec.sampling

    @property
    def system(self) -> str:
        """Return the system message of its chats."""
        return self.spec.system

    @property
    def answers_with_command(self) -> bool:
        """Tell whether the answer is one bare shell command."""
        return self.spec.answers_with_command


@dataclass(frozen=True)
class LocalLease:
    """The one model that is loaded."""

    entry: LocalEntry
    info: frames.ModelInfo
    engine: EngineClient


class LocalModels:
    """Keeps the model that was asked for last; MODEL is a path or "builtin"."""

    def __init__(self, kind: EngineKind) -> None:
        self._kind = kind
        self._lease: LocalLease | None = None

    @asynccontextmanager
    async def lease(
        self, name: str, on_progress: Callable[[object], None]
    ) -> AsyncGenerator[LocalLease]:
        """Load the model unless it is there."""
        if self._lease is None or self._lease.entry.name != name:
            await self.close()
            self._lease = await self._load(name, on_progress)
        try:
            yield self._lease
        except WorkerLostError:
            # The next turn starts another worker.
            await self.close()
            raise

    async def close(self) -> None:
        """Let the model go."""
        if self._lease is not None:
            await self._lease.engine.close()
            self._lease = None

    async def _load(self, name: str, on_progress: Callable[[object], None]) -> LocalLease:
        entry = LocalEntry(name, choose_model(name, kind=self._kind))
        engine = build_engine(self._kind)
        try:
            async with aclosing(engine.load(entry.spec.load)) as events:
                async for event in events:
                    if isinstance(event, frames.Loaded):
                        return LocalLease(entry, event.info, engine)
                    on_progress(LoadingModel(name=name, fraction=event.fraction))
        except BaseException:
            await engine.close()
            raise
        msg = f"Loading {name} ended without an answer. Try again."
        raise ModelLoadError(msg)


class LocalChats(ChatDesk):
    """A chat desk that owns its models as well."""

    def __init__(self, service: ChatService, models: LocalModels) -> None:
        super().__init__(service)
        self._models = models

    async def close(self) -> None:
        """Close the chats, then the model."""
        try:
            await super().close()
        finally:
            await self._models.close()


async def open_local_chats(kind: EngineKind) -> LocalChats:
    """Open the chats of this home folder.

    Raises:
        ChatError: they cannot be opened, or another luci holds them.
    """
    store = await StoreThread.open(paths.chats_file())
    models = LocalModels(kind)
    journal = Journal(paths.logs_folder() / "chats")
    return LocalChats(ChatService(store, models, journal), models)
