"""What a process has: memory, open files, threads. Linux only, where /proc says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessFigures:
    """One process at one moment."""

    pid: int
    pss_bytes: int
    """Its share of the pages that it has; a page that n processes have counts as 1/n in each."""
    private_bytes: int
    """Pages that nobody else has."""
    n_fds: int
    n_threads: int


def figures_of(pid: int) -> ProcessFigures | None:
    """Look at a process; None = it is gone."""
    folder = Path("/proc") / str(pid)
    try:
        sizes = _rollup(folder / "smaps_rollup")
        n_fds = sum(1 for _ in (folder / "fd").iterdir())
        n_threads = sum(1 for _ in (folder / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return None
    private_bytes = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return ProcessFigures(pid, sizes.get("Pss", 0), private_bytes, n_fds, n_threads)


def _rollup(path: Path) -> dict[str, int]:
    """Read the sums over all mappings, in bytes."""
    found: dict[str, int] = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.removesuffix(" kB")) * 1024
    return found


def children_of(pid: int) -> set[int]:
    """Return the processes below one; none if it is gone."""
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def alive(pids: set[int]) -> set[int]:
    """Return those of the processes that still run; one that only waits to be buried does not."""
    found: set[int] = set()
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.add(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def processes_below(pid: int) -> set[psutil.Process]:
    """Return the processes below one, which stay who they are when their numbers are used again."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()
