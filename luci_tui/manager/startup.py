"""Bring one model into memory: wait after crashes, make room, load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import EngineError, ModelLoadError, WorkerLostError
from luci_tui.manager import residency
from luci_tui.manager.clock import Clock
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.health import Health
from luci_tui.manager.machine import Machine
from luci_tui.manager.pool import Pool
from luci_tui.manager.progress import Evicting, Loading, Restarting, Waiting
from luci_tui.manager.resident import Resident, ResidentState
from luci_tui.units import format_duration

MakeEngine = Callable[[ModelEntry, int], EngineClient]
"""(model, number of the worker among its own) -> an engine without a model in it."""


@dataclass(frozen=True)
class Patience:
    """How long a load waits for memory that models in use hold."""

    wait_s: float = 300.0
    """Then it fails."""
    drain_after_s: float = 10.0
    """From then on those in the way get no new leases, or it might never come to its turn."""


class Startup:
    """What all loads of a manager share."""

    def __init__(
        self,
        pool: Pool,
        make_engine: MakeEngine,
        clock: Clock,
        patience: Patience,
        machine: Machine,
    ) -> None:
        self._pool = pool
        self._make_engine = make_engine
        self._clock = clock
        self._patience = patience
        self._machine = machine

    async def bring_up(self, resident: Resident, health: Health) -> EngineError | None:
        """Load one resident; on failure it is gone again, and the reason is returned."""
        is_up = False
        try:
            await self._back_off(resident, health)
            await self._make_room(resident)
            await self._load(resident)
            is_up = True
            health.note_loaded()
        except WorkerLostError as error:
            health.note_death(error, 0.0, 0, self._clock.now())
            return error
        except EngineError as error:
            if not resident.is_extra:
                health.note_failed_load(error, self._clock.now())
            return error
        finally:
            if not is_up:
                if resident.engine is not None:
                    await resident.engine.close()
                self._pool.remove(resident)
        # Whoever waited for it may have gone meanwhile, or the model may have been changed.
        if resident.is_retired:
            self._pool.retire(resident)
        self._pool.changed.notify()
        return None

    async def _back_off(self, resident: Resident, health: Health) -> None:
        if not health.restart_reason:
            return
        in_s = health.retry_in_s(self._clock.now())
        name, reason = resident.entry.name, health.restart_reason
        resident.report(Restarting(name=name, in_s=in_s, reason=reason))
        if in_s > 0:
            await self._clock.sleep(in_s)

    async def _make_room(self, resident: Resident) -> None:
        """Wait and evict until the load fits, and have the room promised to it.

        Raises:
            ModelLoadError: it does not fit, or not within the time.
        """
        need = await self._machine.need_of(resident.entry)
        started_s = self._clock.now()
        drained: list[Resident] = []
        try:
            while True:
                if need.total_bytes:
                    await self._pool.measure(self._clock.now())
                # From here until the room is promised nothing is awaited: nobody else plans.
                plan = self._plan(resident, need)
                if plan.is_go:
                    resident.promised = plan.room
                    await self._evict(resident, plan)
                    return
                waited_s = self._clock.now() - started_s
                self._check_wait(plan, waited_s, resident)
                resident.report(Waiting(reason=plan.wait or plan.refuse))
                if waited_s >= self._patience.drain_after_s:
                    self._drain(plan, drained)
                left_s = self._patience.wait_s - waited_s
                pause_s = min(left_s, self._patience.drain_after_s)
                await self._pool.changed.wait(self._clock, pause_s)
        finally:
            for one in drained:
                one.n_drainers -= 1
            self._pool.changed.notify()

    def _plan(self, resident: Resident, need: residency.Need) -> residency.Plan:
        others = [one for one in self._pool.occupants() if one.key != resident.key]
        available = self._pool.available()
        plan = residency.plan(others, need, available, self._clock.now())
        if plan.refuse and resident.entry.load.force:
            return residency.Plan(room=need.room(available))
        if plan.evict and resident.is_extra:
            return residency.Plan(refuse=f"{need}, for which another model would have to leave.")
        return plan

    def _check_wait(self, plan: residency.Plan, waited_s: float, resident: Resident) -> None:
        if resident.is_extra or (plan.refuse and not self._pool.is_in_flux()):
            raise ModelLoadError(plan.refuse or plan.wait, code="out_of_memory")
        if waited_s >= self._patience.wait_s:
            raise ModelLoadError(
                f"{plan.wait or plan.refuse} It waited for {format_duration(waited_s)}; "
                "try again later, or unload a model.",
                code="memory_busy",
            )

    def _drain(self, plan: residency.Plan, drained: list[Resident]) -> None:
        for one in self._pool.by_key(plan.wait_for):
            if one not in drained:
                one.n_drainers += 1
                drained.append(one)

    async def _evict(self, resident: Resident, plan: residency.Plan) -> None:
        leaving = self._pool.by_key(plan.evict)
        for one in leaving:
            resident.report(Evicting(name=one.entry.name))
        tasks = [self._pool.end(one) for one in leaving]
        if tasks:
            await asyncio.wait(tasks)

    async def _load(self, resident: Resident) -> None:
        entry = resident.entry
        engine = self._make_engine(entry, resident.index)
        resident.engine = engine
        resident.report(Loading(name=entry.name, fraction=0.0))
        async with aclosing(engine.load(entry.load_spec())) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    resident.info = event.info
                else:
                    resident.fraction = event.fraction
                    resident.report(Loading(name=entry.name, fraction=event.fraction))
        if resident.info is None:
            raise ModelLoadError(
                f"The engine for {entry.name} ended its load without saying that it is loaded. "
                "Load it again.",
                code="broken_peer",
            )
        resident.state = ResidentState.READY
        resident.ready_s = resident.last_used_s = self._clock.now()
