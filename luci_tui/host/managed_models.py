"""The model manager in the shapes that the host's API, its chats and its HTTP API read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from luci_tui.chat.seams import loading_event
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.host.api.messages import ModelEntryInfo, ModelStatus, Notice
from luci_tui.host.engines import OnNotice
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.manager import Lease, ModelManager
from luci_tui.manager.progress import LeaseProgress
from luci_tui.manager.registry import Registry
from luci_tui.manager.status import ResidentStatus


@dataclass(frozen=True)
class NamedLease:
    """See `engines.Lease`."""

    name: str
    info: frames.ModelInfo
    engine: EngineClient


class ManagedModels:
    """An `engines.ModelSource` that shares loaded models between all who ask for them."""

    def __init__(self, manager: ModelManager, registry: Registry) -> None:
        self._manager = manager
        self._registry = registry

    @asynccontextmanager
    async def lease(self, name: str, on_notice: OnNotice) -> AsyncGenerator[NamedLease]:
        """Make a model ready and hold it."""
        async with self._manager.lease(name, _teller(on_notice)) as lease:
            yield NamedLease(lease.entry.name, lease.info, lease.engine)

    @asynccontextmanager
    async def lease_own(self, spec: LoadSpec, on_notice: OnNotice) -> AsyncGenerator[NamedLease]:
        """Make a model ready for one client alone, and hold it."""
        async with self._manager.lease_own(spec, _teller(on_notice)) as lease:
            yield NamedLease(lease.entry.name, lease.info, lease.engine)

    async def load(self, name: str, on_notice: OnNotice) -> str:
        """Make a model ready; it stays for its time to live."""
        await self._manager.load(name, _teller(on_notice))
        return self._registry.resolve(name).name

    async def unload(self, name: str, *, force: bool) -> None:
        """Take a model out of memory."""
        await self._manager.unload(name, force=force)

    def entries(self) -> tuple[ModelEntryInfo, ...]:
        """List every model that has a name."""
        return tuple(
            ModelEntryInfo(
                name=entry.name,
                aliases=entry.aliases,
                path=entry.path,
                detail=", ".join(endpoint.base_url for endpoint in entry.endpoints),
            )
            for entry in self._registry.names()
        )

    def loaded(self) -> tuple[ModelStatus, ...]:
        """List what is in memory, comes, goes or has failed."""
        return tuple(_status(one) for one in self._manager.snapshot())

    async def close(self) -> None:
        """Take every model out of memory; what still runs was given its time before."""
        await self._manager.close(drain_s=0)


class ChatModels:
    """What chats lease."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def lease(
        self, name: str, on_progress: Callable[[object], None]
    ) -> AbstractAsyncContextManager[Lease]:
        """See `chat.seams.Models`."""
        return self._manager.lease(name, on_progress)


class ServedModels:
    """What the HTTP API may ask for: names and aliases alone, never a path."""

    def __init__(self, manager: ModelManager, registry: Registry) -> None:
        self._manager = manager
        self._registry = registry

    def names(self) -> tuple[ModelEntry, ...]:
        """List the models that may be asked for."""
        return self._registry.names()

    def lease(self, name: str) -> AbstractAsyncContextManager[Lease]:
        """Hold a model; `names` has it."""
        return self._manager.lease(name)

    def snapshot(self) -> tuple[ResidentStatus, ...]:
        """List what is in memory now."""
        return self._manager.snapshot()


def _teller(on_notice: OnNotice) -> Callable[[LeaseProgress], None]:
    def tell(progress: LeaseProgress) -> None:
        event = loading_event(progress)
        on_notice(Notice(text=event.words, fraction=event.fraction))

    return tell


def _status(one: ResidentStatus) -> ModelStatus:
    state = "restarting" if one.state == "failed" and one.retry_in_s > 0 else one.state
    detail = one.last_error if one.state != "ready" else ""
    if one.state == "loading":
        detail = f"{one.fraction:.0%}"
    return ModelStatus(
        name=one.name,
        state=state,
        n_leases=one.n_leases,
        memory_bytes=one.measured_bytes or one.estimated_bytes,
        needed_bytes=one.estimated_bytes,
        pinned=one.pinned,
        is_own=one.is_own,
        idle_s=None if one.n_leases else one.idle_s,
        unloads_in_s=one.ttl_left_s,
        detail=detail,
        pids=one.pids,
        description=one.description,
        n_ctx=one.n_ctx,
        takes_images=one.takes_images,
        takes_audio=one.takes_audio,
        n_workers=one.n_workers,
        n_restarts=one.n_restarts,
    )
