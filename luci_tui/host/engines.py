"""The use of engines through the host: a model by name for one call, or an engine that is held."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError, HostError, LuciError, ModelLoadError
from luci_tui.host.api.messages import (
    EngineCall,
    EngineOpened,
    ModelEntryInfo,
    ModelStatus,
    Notice,
    OpenEngine,
)

MAX_OPEN = 64
"""Most engines that are held at the same time."""

logger = logging.getLogger(__name__)

OnNotice = Callable[[Notice], None]


class Lease(Protocol):
    """The right to use a model that stays in memory meanwhile."""

    @property
    def name(self) -> str:
        """The entry that really serves."""
        ...

    @property
    def info(self) -> frames.ModelInfo:
        """What the model is."""
        ...

    @property
    def engine(self) -> EngineClient:
        """Only `generate` and `ask` are to be used."""
        ...


class ModelSource(Protocol):
    """What the host needs of a model manager."""

    def lease(self, name: str, on_notice: OnNotice) -> AbstractAsyncContextManager[Lease]:
        """Make a model ready and hold it; raises LuciError where that cannot be."""
        ...

    def lease_own(self, spec: LoadSpec, on_notice: OnNotice) -> AbstractAsyncContextManager[Lease]:
        """Make a model ready for one client alone and hold it; raises as `lease` does."""
        ...

    async def load(self, name: str, on_notice: OnNotice) -> str:
        """Make a model ready and hold it no longer; returns the name that really serves."""
        ...

    async def unload(self, name: str, *, force: bool) -> None:
        """Take a model out of memory; without force not while it is in use."""
        ...

    def entries(self) -> tuple[ModelEntryInfo, ...]:
        """Return what may be asked for."""
        ...

    def loaded(self) -> tuple[ModelStatus, ...]:
        """Return what is in memory or on its way there."""
        ...

    async def close(self) -> None:
        """Take every model out of memory."""
        ...


@dataclass
class _Held:
    """An engine that one client holds."""

    engine: EngineClient
    running: set[int] = field(default_factory=set[int])
    """Requests that have given an event."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Engines:
    """Opens, uses and closes engines for clients.

    Args:
        models: Models by name, or for one client alone.
    """

    def __init__(self, models: ModelSource) -> None:
        self._models = models
        self._held: dict[str, _Held] = {}
        self._n_calls = 0
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()

    @property
    def n_calls(self) -> int:
        """Calls that are being answered."""
        return self._n_calls

    async def open(
        self, wanted: OpenEngine
    ) -> AsyncGenerator[Notice | frames.LoadProgress | EngineOpened]:
        """Make an engine ready and hold it until the generator is closed, or `close` is called.

        Raises:
            LuciError: it cannot be made ready.
        """
        if len(self._held) >= MAX_OPEN:
            msg = f"{MAX_OPEN} engines are open, which is the most. Close one first."
            raise HostError(msg, code="busy")
        if wanted.spec is not None:
            steps = leased(partial(self._models.lease_own, wanted.spec), wanted.spec.model_path)
        else:
            steps = leased(partial(self._models.lease, wanted.model), wanted.model)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Notice):
                    yield _as_progress(step) if wanted.spec is not None else step
                    continue
                async with aclosing(self._hold(step)) as opened:
                    async for one in opened:
                        yield one

    async def _hold(self, lease: Lease) -> AsyncGenerator[EngineOpened]:
        engine_id = secrets.token_hex(8)
        held = _Held(lease.engine)
        self._held[engine_id] = held
        try:
            yield EngineOpened(engine_id=engine_id, model=lease.name, info=lease.info)
            await held.closed.wait()
        finally:
            del self._held[engine_id]
            await self._cancel(held)

    async def close(self, engine_id: str) -> None:
        """Cancel what runs on an engine and let it go; one that is gone already stays so."""
        held = self._held.get(engine_id)
        if held is not None:
            await self._cancel(held)
            held.closed.set()

    async def generate(self, call: EngineCall) -> AsyncGenerator[Notice | frames.GenerateEvent]:
        """Stream one answer; closing the generator cancels the request.

        Raises:
            LuciError: see `EngineClient.generate`.
        """
        command = call.command
        if not isinstance(command, frames.Generate):
            msg = f"The command {command.kind} has no stream of text. Send it to /luci/ask."
            raise HostError(msg, code="invalid_request")
        async with aclosing(self._engine_for(call)) as steps:
            async for step in steps:
                if isinstance(step, Notice):
                    yield step
                    continue
                request_id = 0
                try:
                    async with aclosing(step.engine.generate(command)) as events:
                        async for event in events:
                            request_id = event.request_id
                            step.running.add(request_id)
                            yield event
                finally:
                    step.running.discard(request_id)

    async def ask(self, call: EngineCall) -> AsyncGenerator[Notice | frames.Event]:
        """Give the single answer to a command.

        Raises:
            LuciError: see `EngineClient.ask`.
        """
        command = call.command
        if isinstance(command, frames.Generate | frames.Load | frames.Shutdown):
            msg = f"The command {command.kind} has a route of its own. Use that one."
            raise HostError(msg, code="invalid_request")
        async with aclosing(self._engine_for(call)) as steps:
            async for step in steps:
                yield step if isinstance(step, Notice) else await step.engine.ask(command)

    async def drain(self, drain_s: float) -> None:
        """Give the calls that run some time, then end them and let every engine go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._is_quiet.wait()
        for engine_id in tuple(self._held):
            await self.close(engine_id)

    async def _engine_for(self, call: EngineCall) -> AsyncGenerator[Notice | _Held]:
        """Give notices, then the engine, which is there until the generator is closed."""
        self._n_calls += 1
        self._is_quiet.clear()
        try:
            if call.engine_id:
                yield self._find(call.engine_id)
                return
            steps = leased(partial(self._models.lease, call.model), call.model)
            async with aclosing(steps):
                async for step in steps:
                    yield step if isinstance(step, Notice) else _Held(step.engine)
        finally:
            self._n_calls -= 1
            if not self._n_calls:
                self._is_quiet.set()

    def _find(self, engine_id: str) -> _Held:
        held = self._held.get(engine_id)
        if held is None or held.closed.is_set():
            msg = f"The host holds no engine {engine_id[:40]}. Load one first."
            raise ModelLoadError(msg, code="not_loaded")
        return held

    async def _cancel(self, held: _Held) -> None:
        """End the requests of one client; those of others on the same engine go on."""
        for request_id in tuple(held.running):
            with suppress(EngineError):  # a worker that is gone has ended them already
                await held.engine.ask(frames.Cancel(request_id=request_id))


def _as_progress(notice: Notice) -> Notice | frames.LoadProgress:
    """Tell a client that loads an engine of its own what an engine would tell it."""
    if notice.fraction is None:
        return notice
    return frames.LoadProgress(request_id=0, fraction=notice.fraction)


OpenLease = Callable[[OnNotice], AbstractAsyncContextManager[Lease]]
"""Makes a model ready and tells what happens meanwhile."""


async def leased(open_lease: OpenLease, name: str) -> AsyncGenerator[Notice | Lease]:
    """Give notices while a model is made ready, then the lease, held until this is closed.

    A task of its own enters and leaves the lease, so that one task does both.

    Args:
        open_lease: Gives the lease.
        name: What the model is called in logs and errors.

    Raises:
        LuciError: the model cannot be made ready.
    """
    notices: deque[Notice] = deque(maxlen=16)
    changed = asyncio.Event()
    released = asyncio.Event()
    ready: list[Lease] = []

    def note(notice: Notice) -> None:
        notices.append(notice)
        changed.set()

    async def hold() -> None:
        try:
            async with open_lease(note) as lease:
                ready.append(lease)
                changed.set()
                await released.wait()
        finally:
            changed.set()

    holder = asyncio.create_task(hold(), name=f"lease of {name}")
    try:
        while not ready and not holder.done():
            await changed.wait()
            changed.clear()
            while notices:
                yield notices.popleft()
        if ready:
            yield ready[0]
    finally:
        released.set()
        if not ready:
            holder.cancel()
        await asyncio.wait([holder])
        error = None if holder.cancelled() else holder.exception()
    _raise(error, name)


def _raise(error: BaseException | None, name: str) -> None:
    """Hand on why a model could not be made ready."""
    if isinstance(error, LuciError):
        raise error
    if error is not None:
        msg = f"{name} cannot be used because of a mistake in luci: {error!r}. Report it."
        logger.error("the lease of %s failed", name, exc_info=error)
        raise EngineError(msg, code="internal") from error
