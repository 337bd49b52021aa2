"""What the welcome says about this machine and the models that fit it; no widget is known here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from luci_tui import paths
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.engine.core_facts import ask_core
from luci_tui.library.fit import Room
from luci_tui.library.lookup import missing_entries
from luci_tui.library.store import Library
from luci_tui.library.suggest import Suggestion, suggest
from luci_tui.tui.modes.system.machine import look_at_machine
from luci_tui.tui.modes.system.words import MachineFigures
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes, format_count


@dataclass(frozen=True)
class FirstLook:
    """Everything that the welcome shows."""

    machine: MachineFigures
    gpus: tuple[str, ...] | None
    """Of each GPU its name and free memory; None = the core did not say."""
    suggestions: tuple[Suggestion, ...]
    n_catalogue: int
    """Models that are not here yet."""


async def look_around() -> FirstLook:
    """Look at this machine and its models; takes up to a second."""
    machine, entries, facts = await asyncio.gather(
        asyncio.to_thread(look_at_machine),
        asyncio.to_thread(_missing),
        ask_core(paths.logs_folder() / "jobs.log"),
    )
    gpus: tuple[str, ...] | None = None
    vram: tuple[int, ...] = ()
    if facts is not None:
        vram = facts.free_vram_bytes
        gpus = tuple(
            f"{one.description or one.name} ({format_bytes(max(0, one.free_bytes))} free)"
            for one in facts.devices
            if one.kind == "gpu"
        )
    room = Room(machine.ram_available_bytes, vram)
    found = await asyncio.to_thread(suggest, entries, room, machine.disk_free_bytes)
    return FirstLook(machine, gpus, found, len(entries))


def _missing() -> list[CatalogEntry]:
    return [entry for entry in missing_entries(Library()) if entry.is_runnable]


def machine_words(look: FirstLook) -> str:
    """Describe the machine in a sentence."""
    machine = look.machine
    ram = (
        f"{format_bytes(machine.ram_total_bytes)} RAM "
        f"({format_bytes(machine.ram_available_bytes)} free)"
    )
    gpu = "GPU not known" if look.gpus is None else ", ".join(look.gpus) or "no GPU"
    disk = f"{format_bytes(machine.disk_free_bytes)} of disk free"
    cores = format_count(machine.n_cores, "core")
    return one_line(f"This machine: {cores}, {ram}, {gpu}, {disk}.")


def suggestion_words(one: Suggestion) -> str:
    """Describe a suggestion on one line."""
    size = format_bytes(one.entry.size_bytes)
    needs = format_bytes(one.needed_bytes)
    return f"{one_line(one.entry.name):<20} {size:>9}   needs {needs:>9}   {one.pace.value}"


def lead_words(look: FirstLook) -> str:
    """Say what the suggestions are, or why there are none."""
    if look.suggestions:
        return "For talk, take a model that fits here: Shift-Tab and Enter, or Models (2)."
    if not look.n_catalogue:
        return "Every model of the catalogue is here already: Models (2)."
    free = format_bytes(look.machine.ram_available_bytes)
    return f"No model of the catalogue fits into {free} of free memory; the built-in one does."
