"""Models without a manager: each lease loads its own and unloads it at its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import CatalogError, ModelLoadError
from luci_tui.host.api.messages import ModelEntryInfo, ModelStatus, Notice
from luci_tui.host.engines import OnNotice


@dataclass(frozen=True)
class PlainLease:
    """See `engines.Lease`."""

    name: str
    info: frames.ModelInfo
    engine: EngineClient


class PlainModels:
    """A ModelSource that shares nothing.

    Args:
        new_engine: Makes an engine without a model.
        spec_of: Turns a name into what is to be loaded; raises LuciError for an unknown one.
        names: What is listed.
    """

    def __init__(
        self,
        new_engine: Callable[[], EngineClient],
        spec_of: Callable[[str], frames.LoadSpec],
        names: tuple[str, ...],
    ) -> None:
        self._new_engine = new_engine
        self._spec_of = spec_of
        self._names = names
        self._leased: dict[int, ModelStatus] = {}
        self._ids = count()

    @asynccontextmanager
    async def lease(self, name: str, on_notice: OnNotice) -> AsyncGenerator[PlainLease]:
        """Load a model for the time of the context."""
        spec = self._spec_of(name)
        engine, lease_id = self._new_engine(), next(self._ids)
        self._leased[lease_id] = ModelStatus(name=name, state="loading", n_leases=1)
        try:
            info = await _load(engine, spec, name, on_notice)
            self._leased[lease_id] = ModelStatus(
                name=name, state="ready", n_leases=1, memory_bytes=info.memory.total_bytes
            )
            yield PlainLease(name, info, engine)
        finally:
            del self._leased[lease_id]
            await engine.close()

    async def load(self, name: str, on_notice: OnNotice) -> str:
        """Load a model once, to see that it can be loaded."""
        async with self.lease(name, on_notice) as lease:
            return lease.name

    async def unload(self, name: str, *, force: bool) -> None:
        """Refuse: nothing stays in memory beyond its use."""
        del force
        msg = f"{name} is not in memory. `luci host status` shows what is."
        raise CatalogError(msg, code="not_found")

    def entries(self) -> tuple[ModelEntryInfo, ...]:
        """Return the names that were given."""
        return tuple(ModelEntryInfo(name=name) for name in self._names)

    def loaded(self) -> tuple[ModelStatus, ...]:
        """Return what is in use."""
        return tuple(self._leased.values())

    async def close(self) -> None:
        """Do nothing: each lease closes its own engine."""


async def _load(
    engine: EngineClient, spec: frames.LoadSpec, name: str, on_notice: OnNotice
) -> frames.ModelInfo:
    async with aclosing(engine.load(spec)) as events:
        async for event in events:
            if isinstance(event, frames.Loaded):
                return event.info
            on_notice(Notice(text=f"loading {name}", fraction=event.fraction))
    msg = f"Loading {name} ended without an answer. Try again."
    raise ModelLoadError(msg)
