"""Whether what is to be fetched fits on the disk, over everything that is queued. Blocks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from luci_tui.download.part import part_paths
from luci_tui.download.plan import Plan
from luci_tui.errors import DownloadError
from luci_tui.units import format_bytes


@dataclass(frozen=True)
class Need:
    """What one install still writes."""

    name: str
    folder: Path
    """Of its files; it may not exist yet."""
    remaining_bytes: int


def need_of(plan: Plan, folder: Path) -> Need:
    """Work out what is missing of a plan's files; a file of unknown size counts as nothing."""
    remaining_bytes = 0
    for file in plan.files:
        destination = folder / file.name
        if file.size_bytes is None or destination.exists():
            continue
        remaining_bytes += max(0, file.size_bytes - _size(part_paths(destination)[0]))
    return Need(plan.name, folder, remaining_bytes)


def require_space(wanted: Need, others: Iterable[Need], reserve_bytes: int) -> None:
    """Refuse an install that does not fit beside all others and the reserve.

    Raises:
        DownloadError: code "disk_space"; says what is needed, what is free and what to do.
    """
    if not wanted.remaining_bytes:
        return
    place = _place(wanted.folder)
    by_device: defaultdict[int, int] = defaultdict(int)
    for other in others:
        by_device[_device(other.folder)] += other.remaining_bytes
    queued_bytes = by_device[_device(wanted.folder)]
    free_bytes = free_space(place)
    missing_bytes = wanted.remaining_bytes + queued_bytes + reserve_bytes - free_bytes
    if missing_bytes <= 0:
        return
    beside = [f"{format_bytes(queued_bytes)} for other downloads"] if queued_bytes else []
    beside += [f"a reserve of {format_bytes(reserve_bytes)}"] if reserve_bytes else []
    words = f" beside {' and '.join(beside)}" if beside else ""
    raise DownloadError(
        f"{wanted.name} needs {format_bytes(wanted.remaining_bytes)}{words}, and "
        f"{format_bytes(free_bytes)} are free at {place}. Make room for "
        f"{format_bytes(missing_bytes)} more, or cancel another download.",
        code="disk_space",
    )


def free_space(place: Path) -> int:
    """Return the bytes that this user may still write at a path that exists."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def _place(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _device(folder: Path) -> int:
    return _place(folder).stat().st_dev


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
