"""One engine with one model in it, from the first thought of loading it until it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from enum import StrEnum
from typing import Protocol, runtime_checkable

import psutil

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError, WorkerLostError
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.progress import LeaseProgress, OnProgress
from luci_tui.manager.residency import Room


class ResidentState(StrEnum):
    """Where in its life it is."""

    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@runtime_checkable
class HasProcess(Protocol):
    """An engine whose model is in a process of this machine."""

    @property
    def pid(self) -> int | None:
        """Process id; None = there is none, or none any more."""
        ...

    @property
    def lost(self) -> WorkerLostError | None:
        """Why the process that had the model ended; None = it lives, or there was none."""
        ...


class Resident:
    """One worker. Belongs to one event loop; the manager decides, this keeps the facts."""

    def __init__(self, entry: ModelEntry, index: int, now_s: float, *, is_extra: bool) -> None:
        self.key = f"{entry.name}#{index}"
        self.index = index
        """Unique among the workers of one model; reused when one has left."""
        self.is_extra = is_extra
        """True = one more worker of a model that has some, for which nobody waits."""
        self.entry = entry
        """As it was when the load began."""
        self.state = ResidentState.LOADING
        self.engine: EngineClient | None = None
        """None until there is room for it."""
        self.info: frames.ModelInfo | None = None
        """None until it is loaded."""
        self.promised = Room()
        """What was estimated, and where; nothing while it has no room yet."""
        self.n_leases = 0
        """Those who wait for the load included."""
        self.n_answers = 0
        self.last_used_s = now_s
        self.ready_s = now_s
        """When it became ready."""
        self.fraction = 0.0
        """How much is loaded, 0 to 1."""
        self.is_retired = False
        """True = gets no new leases and leaves after the last one."""
        self.n_drainers = 0
        """Loads that wait for it to leave; while there are some it gets no new leases."""
        self.load_task: asyncio.Task[EngineError | None] | None = None
        self.end_task: asyncio.Task[EngineError | None] | None = None
        """Closes its engine; None = it stays."""
        self._listeners: list[OnProgress] = []
        self._last_progress: LeaseProgress | None = None

    @property
    def takes_leases(self) -> bool:
        """True = it is ready and whoever comes next may have it."""
        return self.state is ResidentState.READY and not self.is_retired and self.n_drainers == 0

    @property
    def pid(self) -> int | None:
        """Process id of its worker; None = no process of this machine."""
        return self.engine.pid if isinstance(self.engine, HasProcess) else None

    @property
    def lost(self) -> WorkerLostError | None:
        """Why its process is gone, found out without asking it; None = it is not."""
        is_ready = self.state is ResidentState.READY
        return self.engine.lost if is_ready and isinstance(self.engine, HasProcess) else None

    def listen(self, on_progress: OnProgress) -> None:
        """Tell `on_progress` what happens from now on, and what happened last."""
        self._listeners.append(on_progress)
        if self._last_progress is not None:
            on_progress(self._last_progress)

    def unlisten(self, on_progress: OnProgress) -> None:
        """Forget a listener."""
        self._listeners.remove(on_progress)

    def report(self, progress: LeaseProgress) -> None:
        """Tell all listeners."""
        self._last_progress = progress
        for listener in self._listeners.copy():
            listener(progress)

    def private_bytes(self) -> int:
        """Measure what its process has for itself; pages of mapped files do not count."""
        used = self._memory_info()
        return 0 if used is None else max(0, used[0] - used[1])

    def measured_bytes(self) -> int:
        """Measure all that its process has in RAM, pages of mapped files included; 0 = unknown."""
        used = self._memory_info()
        return 0 if used is None else used[0]

    def room(self) -> Room:
        """Say what becomes free when it leaves; nothing when its process has left already."""
        if self.lost is not None:
            return Room()
        return Room(max(self.promised.ram_bytes, self.private_bytes()), self.promised.vram_bytes)

    def outstanding(self, measured_s: float) -> Room:
        """Say what it was promised and has not taken, as the machine counts it.

        The pages of a mapped file count as free there, and a KV cache that nobody has written to
        as well; both will be needed. GPU memory is taken when the load ends.

        Args:
            measured_s: When the free GPU memory that counts was measured.
        """
        if self.lost is not None:
            return Room()
        ram_bytes = max(0, self.promised.ram_bytes - self.private_bytes())
        was_loading = self.state is ResidentState.LOADING or self.ready_s >= measured_s
        return Room(ram_bytes, self.promised.vram_bytes if was_loading else ())

    def _memory_info(self) -> tuple[int, int] | None:
        pid = self.pid
        if pid is None:
            return None
        try:
            used = psutil.Process(pid).memory_info()
        except psutil.Error:
            return None
        return int(used.rss), int(getattr(used, "shared", 0))


class LeasedEngine:
    """The engine of a lease: passes requests on and notices when the worker is lost."""

    def __init__(
        self, resident: Resident, engine: EngineClient, on_lost: Callable[[EngineError], None]
    ) -> None:
        self._resident = resident
        self._engine = engine
        self._on_lost = on_lost
        self._is_over = False

    def end(self) -> None:
        """Refuse all that comes after the lease."""
        self._is_over = True

    def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Never: the manager loads."""
        msg = f"a lease loads no model, so not {spec.model_path}; ask the manager"
        raise RuntimeError(msg)

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`."""
        self._check()
        try:
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    if isinstance(event, frames.Done):
                        self._resident.n_answers += 1
                    yield event
        except WorkerLostError as error:
            self._on_lost(error)
            raise

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer; see `EngineClient.ask`."""
        self._check()
        try:
            event = await self._engine.ask(command)
        except WorkerLostError as error:
            self._on_lost(error)
            raise
        if not isinstance(command, frames.Cancel):
            self._resident.n_answers += 1
        return event

    async def close(self) -> None:
        """Never: the manager closes."""
        msg = "a lease does not close its engine; leave the lease instead"
        raise RuntimeError(msg)

    def _check(self) -> None:
        if self._is_over:
            msg = f"the lease of {self._resident.entry.name} is over"
            raise RuntimeError(msg)
