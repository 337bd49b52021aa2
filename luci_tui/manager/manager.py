"""ModelManager: hands out loaded models, and decides who stays in memory.

Everything belongs to one asyncio event loop. Whoever wants an answer takes a lease; what is leased
is not unloaded. The manager loads what is missing, makes room for it, starts lost workers again,
and unloads what nobody uses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError, ModelLoadError, WorkerLostError
from luci_tui.manager import residency
from luci_tui.manager.clock import Clock, SystemClock
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.fallbacks import all_failed, chain
from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.machine import Machine, RamMachine
from luci_tui.manager.pool import OnLeave, Pool
from luci_tui.manager.progress import FellBack, OnProgress, Waiting, ignore
from luci_tui.manager.resident import LeasedEngine, Resident, ResidentState
from luci_tui.manager.roster import Known, Roster
from luci_tui.manager.startup import MakeEngine, Patience, Startup
from luci_tui.manager.status import ResidentStatus

logger = logging.getLogger(__name__)

_ON_PURPOSE = frozenset({"closing", "cancelled"})
"""Codes of loads that somebody ended, for which no fallback is tried."""
GROW_PAUSE_S = 30.0
"""After one more worker could not be had, it is not tried again for so long."""


class ModelSource(Protocol):
    """Where names are looked up; `Registry` is one."""

    def resolve(self, name: str) -> ModelEntry:
        """Return the model of this name."""
        ...


@dataclass(frozen=True)
class ManagerOptions:
    """What a person may set about all models."""

    default_ttl_s: float = 600.0
    """For entries without one; negative = never."""
    patience: Patience = field(default_factory=Patience)
    restarts: RestartPolicy = field(default_factory=RestartPolicy)


@dataclass(frozen=True)
class Lease:
    """A loaded model, valid inside the `async with` that gave it."""

    entry: ModelEntry
    """The one that really serves; its name differs from what was asked for a fallback."""
    info: frames.ModelInfo
    engine: EngineClient
    """Only `generate` and `ask` may be used."""


class ModelManager:
    """See the module; `close` ends it."""

    def __init__(
        self,
        models: ModelSource,
        make_engine: MakeEngine,
        options: ManagerOptions | None = None,
        *,
        clock: Clock | None = None,
        machine: Machine | None = None,
        on_leave: OnLeave | None = None,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            models: Where names are looked up.
            make_engine: Makes an engine without a model in it.
            options: What a person has set.
            clock: Where time comes from; None = this machine.
            machine: What is free, and what loads take; None = RAM alone.
            refresh: Called before a name is looked up; brings `models` up to date without blocking.
            on_leave: Told in a thread what a worker that has answered took, when it leaves.
        """
        self._source = models
        self._refresh_source = refresh
        self._options = options or ManagerOptions()
        self._clock = clock or SystemClock()
        machine = machine or RamMachine()
        self._pool = Pool(machine, self._options.default_ttl_s, on_leave)
        self._roster = Roster(self._pool, self._options.restarts, self._clock)
        self._startup = Startup(
            self._pool, make_engine, self._clock, self._options.patience, machine
        )
        self._ttl_task: asyncio.Task[None] | None = None
        self._is_closed = False

    @asynccontextmanager
    async def lease(self, name: str, on_progress: OnProgress = ignore) -> AsyncGenerator[Lease]:
        """Give a loaded model, or one of its fallbacks, until the block is left.

        Args:
            name: Name, alias or path.
            on_progress: Told what happens until the model is there.

        Raises:
            CatalogError: no model has this name.
            ModelLoadError: it cannot be loaded; code "out_of_memory" = it does not fit,
                "memory_busy" = models in use held the memory for too long.
            WorkerLostError: its workers crash; code "crash_loop" = it is given up for a while.
            EngineError: code "closing" = the manager is closed.
        """
        model, resident = await self._acquire_or_fall_back(name, on_progress)
        with self._leased(model, resident) as lease:
            yield lease

    @asynccontextmanager
    async def lease_own(
        self, spec: LoadSpec, on_progress: OnProgress = ignore
    ) -> AsyncGenerator[Lease]:
        """Load a model for one holder alone, under the rules for all, until the block is left.

        It has a name of its own in `snapshot`, no fallback, and is not loaded a second time when
        its worker is lost.

        Raises:
            EngineError: as `lease` does.
        """
        model = self._roster.own(spec)
        try:
            self._check_open()
            resident = self._begin(model)
            await self._join(resident, on_progress)
            try:
                with self._leased(model, resident) as lease:
                    yield lease
            finally:
                await asyncio.wait([self._pool.end(resident)])
        finally:
            self._roster.forget(model)

    async def load(self, name: str, on_progress: OnProgress = ignore) -> None:
        """Bring a model into memory, itself and no fallback; raises as `lease` does."""
        await self._refresh()
        model = self._roster.of(self._source.resolve(name))
        self._release(await self._acquire(model, on_progress))

    async def unload(self, name: str, *, force: bool = False) -> None:
        """Take a model out of memory, a pinned one too; one that is not there is no error.

        Args:
            name: Name, alias or path.
            force: Also when it is in use; its requests fail.

        Raises:
            CatalogError: no model has this name.
            EngineError: it is in use; code "model_busy".
        """
        await self._refresh()
        # One that was taken out of models.toml meanwhile is still known by its name.
        is_known = name in self._roster
        real_name = name if is_known else self._source.resolve(name).name
        residents = [one for one in self._pool.all() if one.entry.name == real_name]
        n_leases = sum(one.n_leases for one in residents)
        if n_leases and not force:
            raise EngineError(
                f"{real_name} is in use ({n_leases} at the moment), so it was not unloaded. "
                "Wait until its answers are complete, or unload it by force.",
                code="model_busy",
            )
        tasks = [self._pool.end(one) for one in residents]
        if tasks:
            await asyncio.wait(tasks)

    def snapshot(self) -> tuple[ResidentStatus, ...]:
        """Tell how each model is that is loaded, comes, goes, or failed since the start."""
        return self._roster.snapshot(self._options.default_ttl_s)

    async def close(self, drain_s: float = 10.0) -> None:
        """Give no more leases, wait for those that are out, and end all workers.

        Args:
            drain_s: Longest wait; then their requests fail. Loads are stopped at once.
        """
        self._is_closed = True
        if self._ttl_task is not None:
            self._ttl_task.cancel()
            await asyncio.wait([self._ttl_task])
        for resident in self._pool.all():
            if resident.state is ResidentState.LOADING:
                self._pool.end(resident)
        self._pool.changed.notify()
        end_s = self._clock.now() + drain_s
        while any(one.n_leases for one in self._pool.all() if one.state is ResidentState.READY):
            left_s = end_s - self._clock.now()
            if left_s <= 0 or not await self._pool.changed.wait(self._clock, left_s):
                break
        await self._pool.end_all()

    @contextmanager
    def _leased(self, model: Known, resident: Resident) -> Generator[Lease]:
        """Make a lease of a resident that counts it already, and count it no longer at the end."""
        if resident.info is None or resident.engine is None:
            msg = f"{resident.key} was leased before it was loaded"
            raise RuntimeError(msg)
        engine = LeasedEngine(
            resident, resident.engine, lambda error: self._roster.note_lost(model, resident, error)
        )
        try:
            yield Lease(model.entry, resident.info, engine)
        finally:
            engine.end()
            self._release(resident)

    # From a name to a resident.

    async def _refresh(self) -> None:
        if self._refresh_source is not None:
            await self._refresh_source()

    async def _acquire_or_fall_back(
        self, name: str, on_progress: OnProgress
    ) -> tuple[Known, Resident]:
        await self._refresh()
        wanted = self._source.resolve(name)
        failures: list[EngineError] = []
        for entry in chain(wanted, self._source.resolve):
            model = self._roster.of(entry)
            if failures:
                reason = failures[-1].message
                logger.warning("%s answers for %s: %s", entry.name, wanted.name, reason)
                on_progress(FellBack(wanted=wanted.name, name=entry.name, reason=reason))
            try:
                error = self._passed_over(model)
                if error is None:
                    return model, await self._acquire(model, on_progress)
                failures.append(error)
            except EngineError as error:
                if error.code in _ON_PURPOSE:
                    raise
                failures.append(error)
        raise all_failed(failures)

    def _passed_over(self, model: Known) -> EngineError | None:
        """Give the error of a load that was refused a moment ago, if a fallback can go on."""
        is_ready = any(one.takes_leases for one in self._pool.of(model.entry.name))
        is_over = model.health.is_passed_over(self._clock.now())
        if is_ready or not is_over or not model.entry.fallbacks:
            return None
        return model.health.last_error

    async def _acquire(self, model: Known, on_progress: OnProgress) -> Resident:
        """Give the least loaded worker of a model, with one lease more than it had."""
        name = model.entry.name
        while True:
            self._check_open()
            self._roster.sweep(model)
            residents = self._pool.of(name)
            ready = [one for one in residents if one.takes_leases]
            if ready:
                chosen = min(ready, key=lambda one: (one.n_leases, one.index))
                self._take(chosen)
                self._grow_if_busy(model)
                return chosen
            if any(one.state is ResidentState.READY for one in residents):
                await self._wait_for_turn(name, on_progress)
                continue
            loading = residents[0] if residents else self._begin(model)
            try:
                await self._join(loading, on_progress)
            except WorkerLostError:
                # It crashed while it loaded: again, later each time, until it is given up.
                continue
            return loading

    def _take(self, resident: Resident) -> None:
        resident.n_leases += 1
        resident.last_used_s = self._clock.now()
        if self._ttl_task is None:
            self._ttl_task = asyncio.ensure_future(self._watch_ttl())

    def _release(self, resident: Resident) -> None:
        resident.n_leases -= 1
        resident.last_used_s = self._clock.now()
        if resident.is_retired:
            self._pool.retire(resident)
        self._pool.changed.notify()

    def _begin(self, model: Known, *, is_extra: bool = False) -> Resident:
        """Start one more worker of a model.

        Raises:
            WorkerLostError: its workers crashed too often; code "crash_loop".
        """
        now_s = self._clock.now()
        error = model.health.given_up(model.entry.name, now_s)
        if error is not None:
            raise error
        resident = self._pool.add(model.entry, now_s, is_extra=is_extra)
        self._pool.start(resident, self._startup.bring_up(resident, model.health))
        return resident

    async def _join(self, resident: Resident, on_progress: OnProgress) -> None:
        """Wait for a load that others may wait for as well, holding a lease meanwhile."""
        task = resident.load_task
        if task is None:
            msg = f"{resident.key} has no load to wait for"
            raise RuntimeError(msg)
        self._take(resident)
        resident.is_extra = False
        resident.listen(on_progress)
        is_held = False
        try:
            await asyncio.wait([task])
            if task.cancelled():
                self._check_open()
                raise ModelLoadError(
                    f"Loading {resident.entry.name} was stopped. Load it again to go on.",
                    code="cancelled",
                )
            error = task.result()
            if error is not None:
                # Each who waits gets an error of its own, with a traceback of its own.
                raise type(error)(error.message, code=error.code)
            is_held = True
        finally:
            resident.unlisten(on_progress)
            if not is_held:
                self._release(resident)
                if resident.n_leases == 0 and not task.done():
                    self._pool.end(resident)

    async def _wait_for_turn(self, name: str, on_progress: OnProgress) -> None:
        """Wait while another model, which waited long enough, has the next turn."""
        on_progress(Waiting(reason=f"{name} gives way to a model that waits for its memory."))
        if not await self._pool.changed.wait(self._clock, self._options.patience.wait_s):
            raise ModelLoadError(
                f"{name} gave way to another model, which did not get its memory in time. "
                "Try again, or unload a model.",
                code="memory_busy",
            )

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "luci is closing and takes no more work. Start it again to go on."
            raise EngineError(msg, code="closing")

    # More workers, unused workers.

    def _grow_if_busy(self, model: Known) -> None:
        """Start one more worker in the background when all slots of the others are taken."""
        residents = self._pool.of(model.entry.name)
        if len(residents) >= model.entry.max_workers or self._clock.now() < model.grow_after_s:
            return
        for one in residents:
            if one.info is None or one.n_leases <= one.info.n_slots:
                return
        try:
            resident = self._begin(model, is_extra=True)
        except EngineError:
            return
        task = resident.load_task

        def note(ended: asyncio.Task[EngineError | None]) -> None:
            if ended.cancelled():
                return
            error = ended.exception() or ended.result()
            if error is not None:
                model.grow_after_s = self._clock.now() + GROW_PAUSE_S
                logger.info("no further worker for %s: %s", resident.entry.name, error)

        if task is not None:
            task.add_done_callback(note)

    async def _watch_ttl(self) -> None:
        """Unload what nobody used for its TTL. Runs until the manager is closed."""
        while True:
            now_s = self._clock.now()
            occupants = self._pool.occupants(with_room=False)
            for resident in self._pool.by_key(residency.expired(occupants, now_s)):
                logger.info("%s was unused for its TTL and is unloaded", resident.key)
                self._pool.end(resident)
            due_s = residency.next_expiry_s(self._pool.occupants(with_room=False))
            await self._pool.changed.wait(
                self._clock, None if due_s is None else max(0.0, due_s - now_s)
            )
