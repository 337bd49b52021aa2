"""This machine as the manager sees it: what is free, and what a load will take of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from luci_tui.engine import memory
from luci_tui.engine.core_facts import ask_core
from luci_tui.engine.job_frames import CoreFacts
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.needs import is_elsewhere, need_of
from luci_tui.manager.residency import Need, Room


class Machine(Protocol):
    """Where the manager knows about memory from. Belongs to one event loop."""

    async def need_of(self, entry: ModelEntry) -> Need:
        """Estimate what a load takes; ModelLoadError = its file cannot be read."""
        ...

    async def measure(self) -> bool:
        """Look at memory that this process cannot see by itself, for the next `free`.

        Returns:
            False = it could not be done, and the last measurement stands.
        """
        ...

    def free(self) -> Room:
        """Say what is free now; quick."""
        ...


class RamMachine:
    """A machine without a GPU of its own memory, whose core rearranges no weights.

    Args:
        free_bytes: What is free; the default counts the limits of cgroups.
    """

    def __init__(self, free_bytes: Callable[[], int] = memory.available_bytes) -> None:
        self._free_bytes = free_bytes

    async def need_of(self, entry: ModelEntry) -> Need:
        """See `Machine`."""
        return await asyncio.to_thread(need_of, entry)

    async def measure(self) -> bool:
        """Do nothing: RAM is measured when it is asked for."""
        return True

    def free(self) -> Room:
        """See `Machine`."""
        return Room(self._free_bytes())


class EchoMachine:
    """For engines that take no memory, whatever they are told to load."""

    async def need_of(self, entry: ModelEntry) -> Need:
        """See `Machine`."""
        return Need(entry.name)

    async def measure(self) -> bool:
        """Do nothing."""
        return True

    def free(self) -> Room:
        """See `Machine`."""
        return Room()


AskCore = Callable[[], Awaitable[CoreFacts | None]]


class CoreMachine:
    """The machine as the native core knows it; the core is asked in a process of its own.

    It is asked before the first load, and where there are GPUs again before each, for their free
    memory is known to nobody else.

    Args:
        log_path: Where that process writes what native code logs.
        ask: Asks; None = the core of this installation.
        free_bytes: What RAM is free.
    """

    def __init__(
        self,
        log_path: Path,
        ask: AskCore | None = None,
        free_bytes: Callable[[], int] = memory.available_bytes,
    ) -> None:
        self._ask = ask or partial(ask_core, log_path)
        self._free_bytes = free_bytes
        self._facts: CoreFacts | None = None
        """None = the core was not asked, or did not answer."""
        self._asking = asyncio.Lock()

    async def need_of(self, entry: ModelEntry) -> Need:
        """See `Machine`."""
        if is_elsewhere(entry):
            return Need(entry.name)
        async with self._asking:
            self._facts = self._facts or await self._ask()
        facts = self._facts or CoreFacts()
        has_gpu = bool(facts.free_vram_bytes)
        return await asyncio.to_thread(need_of, entry, facts.repacking, has_gpu=has_gpu)

    async def measure(self) -> bool:
        """Ask the core for the free memory of its GPUs; does nothing without any."""
        async with self._asking:
            if self._facts is None or not self._facts.free_vram_bytes:
                return True
            facts = await self._ask()
            self._facts = facts or self._facts
            return facts is not None

    def free(self) -> Room:
        """See `Machine`."""
        vram_bytes = () if self._facts is None else self._facts.free_vram_bytes
        return Room(self._free_bytes(), vram_bytes)
