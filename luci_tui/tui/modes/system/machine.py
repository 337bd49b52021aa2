"""Look at this machine: memory, processor, disk. Quick, and without native code of ours."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import psutil

from luci_tui import paths
from luci_tui.engine.memory import available_bytes
from luci_tui.tui.modes.system.words import MachineFigures

LookAtMachine = Callable[[], MachineFigures]


def look_at_machine() -> MachineFigures:
    """Measure; the processor's share is that since the last call."""
    home = paths.luci_home()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    disk = shutil.disk_usage(existing)
    return MachineFigures(
        ram_total_bytes=psutil.virtual_memory().total,
        ram_available_bytes=available_bytes(),
        cpu_fraction=psutil.cpu_percent() / 100,
        n_cores=psutil.cpu_count() or 1,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
        home=str(home),
    )
