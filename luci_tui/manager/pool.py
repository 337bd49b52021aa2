"""All that is loaded, loads or leaves at this moment, and the memory that it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from luci_tui.errors import EngineError
from luci_tui.manager.clock import Signal
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.machine import Machine
from luci_tui.manager.residency import Occupant, Room
from luci_tui.manager.resident import Resident, ResidentState

OnLeave = Callable[[str, int, int], None]
"""(path of the model, tokens of context, bytes that its process has in RAM); may block."""

logger = logging.getLogger(__name__)


class Pool:
    """Owns the residents and the tasks that load and end them. Belongs to one event loop."""

    def __init__(
        self, machine: Machine, default_ttl_s: float, on_leave: OnLeave | None = None
    ) -> None:
        self._machine = machine
        self._on_leave = on_leave
        self._measured_s = float("-inf")
        """When the last measurement that is complete began."""
        self._default_ttl_s = default_ttl_s
        self._residents: list[Resident] = []
        self._tasks: set[asyncio.Task[EngineError | None]] = set()
        self.changed = Signal()
        """Memory, leases or states may be different from now on."""

    def all(self) -> tuple[Resident, ...]:
        """List every resident, in the order in which their loads began."""
        return tuple(self._residents)

    def of(self, name: str) -> list[Resident]:
        """List those of one model that are not on their way out."""
        return [
            one
            for one in self._residents
            if one.entry.name == name
            and not one.is_retired
            and one.state is not ResidentState.UNLOADING
        ]

    def add(self, entry: ModelEntry, now_s: float, *, is_extra: bool) -> Resident:
        """Make a resident that has nothing yet."""
        used = {one.index for one in self._residents if one.entry.name == entry.name}
        index = next(number for number in range(len(used) + 1) if number not in used)
        resident = Resident(entry, index, now_s, is_extra=is_extra)
        self._residents.append(resident)
        return resident

    def remove(self, resident: Resident) -> None:
        """Forget one whose engine is closed."""
        self._residents.remove(resident)
        self.changed.notify()

    def start(
        self, resident: Resident, load: Coroutine[None, None, EngineError | None]
    ) -> asyncio.Task[EngineError | None]:
        """Run the load of a resident; `load` removes it when it fails."""
        task = self.run(load)
        resident.load_task = task

        def forget_unstarted(_: object) -> None:
            # A task that is cancelled before its first step runs no line of its own.
            if task.cancelled() and resident in self._residents:
                self.remove(resident)

        task.add_done_callback(forget_unstarted)
        return task

    def run(
        self, work: Coroutine[None, None, EngineError | None]
    ) -> asyncio.Task[EngineError | None]:
        """Own a task until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def end(self, resident: Resident) -> asyncio.Task[EngineError | None]:
        """Let one leave now, whoever has it; the task is done when it is gone."""
        if resident.end_task is not None:
            return resident.end_task
        task = resident.load_task
        if resident.state is ResidentState.LOADING and task is not None:
            # Cancelled once and never again, or the load could not end its worker in order.
            task.cancel()
            resident.end_task = task
        else:
            resident.end_task = self.run(self._close(resident))
        # Whoever asks for the model from now on gets another resident.
        resident.state = ResidentState.UNLOADING
        return resident.end_task

    def retire(self, resident: Resident) -> None:
        """Give one to nobody any more, and let it leave when nobody has it."""
        resident.is_retired = True
        if resident.n_leases == 0 and resident.state is ResidentState.READY:
            self.end(resident)
        self.changed.notify()

    async def end_all(self) -> None:
        """Let everyone leave now, and wait until they are gone."""
        for resident in self.all():
            if resident.state is not ResidentState.UNLOADING:
                self.end(resident)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def measure(self, now_s: float) -> None:
        """Look at memory that takes a while to measure, for the next `available`."""
        if await self._machine.measure():
            self._measured_s = max(self._measured_s, now_s)

    def available(self) -> Room:
        """Say what is free and promised to nobody."""
        room = self._machine.free()
        for resident in self._residents:
            room -= resident.outstanding(self._measured_s)
        return room

    def occupants(self, *, with_room: bool = True) -> list[Occupant]:
        """Describe everyone for `residency`; who comes or goes counts as leased.

        Args:
            with_room: False = nobody's memory is measured, which every request would pay for.
        """
        seen: set[str] = set()
        found: list[Occupant] = []
        for one in self._residents:
            is_settled = one.state is ResidentState.READY and not one.is_retired
            ttl_s = one.entry.ttl_s
            found.append(
                Occupant(
                    key=one.key,
                    name=one.entry.name,
                    room=one.room() if with_room else Room(),
                    last_used_s=one.last_used_s,
                    n_leases=one.n_leases if is_settled else max(1, one.n_leases),
                    # Of several workers one is kept.
                    pinned=one.entry.pinned and is_settled and one.entry.name not in seen,
                    ttl_s=self._default_ttl_s if ttl_s is None else ttl_s,
                )
            )
            if is_settled:
                seen.add(one.entry.name)
        return found

    def by_key(self, keys: tuple[str, ...]) -> list[Resident]:
        """Look residents up."""
        return [one for one in self._residents if one.key in keys]

    def is_in_flux(self) -> bool:
        """Tell whether memory is just being taken or given back."""
        return any(
            (one.is_retired and one.lost is None)
            or one.state is ResidentState.UNLOADING
            or (one.state is ResidentState.LOADING and not one.promised.is_nothing)
            for one in self._residents
        )

    async def _close(self, resident: Resident) -> EngineError | None:
        try:
            await self._note_memory(resident)
            if resident.engine is not None:
                await resident.engine.close()
        finally:
            self.remove(resident)
        return None

    async def _note_memory(self, resident: Resident) -> None:
        """Tell what one that has answered took, before it is gone."""
        rss_bytes = resident.measured_bytes() if resident.n_answers else 0
        if self._on_leave is None or resident.info is None or not rss_bytes:
            return
        try:
            await asyncio.to_thread(
                self._on_leave, resident.entry.path, resident.info.n_ctx, rss_bytes
            )
        except OSError as error:
            logger.info("the memory of %s is not remembered: %s", resident.key, error)
