"""Suggest three models for a machine: a quick one, a steady one, and the largest that fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.library.fit import Room
from luci_tui.library.guess import needed_bytes

SHARE: Final = 0.8
"""Of the memory that is free: the rest is for what the person does besides."""
QUICK_BYTES: Final = 1024**3
STEADY_BYTES: Final = 3 * 1024**3
"""Bytes that one token reads, up to which a processor is quick and steady; luci's own rule of
thumb, for a machine whose memory brings 20 to 50 GiB a second."""
GPU_FACTOR: Final = 10
"""A GPU reads its own memory about so much faster."""
_LEFT_OUT: Final = frozenset({"classic", "smoke", "experimental"})


class Pace(StrEnum):
    """How fast answers come, in words."""

    QUICK = "quick"
    STEADY = "steady"
    SLOW = "slow here"


@dataclass(frozen=True)
class Suggestion:
    """A model that fits."""

    entry: CatalogEntry
    needed_bytes: int
    """Memory of a load with its defaults, estimated."""
    pace: Pace


def suggest(
    entries: Iterable[CatalogEntry], room: Room, disk_free_bytes: int
) -> tuple[Suggestion, ...]:
    """Return up to one model of each pace, the quickest first.

    Args:
        entries: What could be installed.
        room: Memory that is free.
        disk_free_bytes: Likewise of the disk.
    """
    best: dict[Pace, Suggestion] = {}
    for entry in entries:
        if not _is_for_talk(entry) or entry.size_bytes > disk_free_bytes:
            continue
        found = _fit(entry, room)
        if found is not None and _worth(found) > _worth(best.get(found.pace)):
            best[found.pace] = found
    return tuple(best[pace] for pace in Pace if pace in best)


def _is_for_talk(entry: CatalogEntry) -> bool:
    return (
        entry.is_runnable
        and not entry.gated
        and "chat" in entry.tags
        and not _LEFT_OUT.intersection(entry.tags)
    )


def _fit(entry: CatalogEntry, room: Room) -> Suggestion | None:
    places = {place: SHARE * free for place, free in room.places().items()}
    if entry.size_bytes > max(places.values()):  # spares the estimate
        return None
    needed = needed_bytes(entry)
    if needed <= places.get("VRAM", 0):
        return Suggestion(entry, needed, _pace(entry, GPU_FACTOR))
    if needed <= places["RAM"]:
        return Suggestion(entry, needed, _pace(entry, 1))
    return None


def _pace(entry: CatalogEntry, factor: int) -> Pace:
    share = (entry.active_parameters_b or entry.parameters_b) / entry.parameters_b
    read_bytes = entry.size_bytes * share / factor
    if read_bytes < QUICK_BYTES:
        return Pace.QUICK
    return Pace.STEADY if read_bytes < STEADY_BYTES else Pace.SLOW


def _worth(one: Suggestion | None) -> tuple[int, float]:
    return (-1, 0.0) if one is None else (one.entry.tier, one.entry.parameters_b)
