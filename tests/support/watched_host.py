"""A host as it is, with an eye on its event loop and, if asked, less memory than the machine has.

    python -m tests.support.watched_host

`limit_bytes` in the home folder says how much all workers together may take; without that file
the machine's own memory counts. Each second a line of `loop.jsonl` says how the loop stands.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from luci_tui.host.process import Options, main
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host
from luci_tui.manager.machine import RamMachine

LIMIT_FILE: Final = "limit_bytes"
LOOP_FILE: Final = "loop.jsonl"
TICK_S: Final = 0.02
LINE_S: Final = 1.0


@dataclass(frozen=True)
class LoopState:
    """One line of the file: how the event loop was in the last second."""

    at_s: float
    """By `time.monotonic`, which all processes of a machine share."""
    worst_lag_ms: float
    """How much later than wanted the loop came to a timer, at worst."""
    n_tasks: int


async def watch_loop(path: Path) -> None:
    """Write one line a second, for as long as the loop lives."""
    worst_s, line_at_s = 0.0, time.monotonic() + LINE_S
    with path.open("a", encoding="utf-8", buffering=1) as file:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            worst_s = max(worst_s, now_s - before_s - TICK_S)
            if now_s >= line_at_s:
                state = LoopState(now_s, worst_s * 1000, len(asyncio.all_tasks()))
                file.write(json.dumps(asdict(state)) + "\n")
                worst_s, line_at_s = 0.0, now_s + LINE_S


def read_loop(home: Path) -> list[LoopState]:
    """Read what a host has written so far; a line that is being written is left out."""
    path = home / LOOP_FILE
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [LoopState(**json.loads(line)) for line in lines if line.endswith("\n")]


def _machine_of(home: Path) -> RamMachine | None:
    path = home / LIMIT_FILE
    return RamMachine(partial(_left, int(path.read_text()))) if path.exists() else None


def _left(limit_bytes: int) -> int:
    """Give what is left of the limit when what the workers have for themselves is taken off."""
    used_bytes = 0
    for child in psutil.Process().children():
        try:
            used = child.memory_info()
        except psutil.Error:
            continue
        used_bytes += int(used.rss) - int(getattr(used, "shared", 0))
    return limit_bytes - used_bytes


_watching: list[asyncio.Task[None]] = []
"""Ends with the event loop."""


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    _watching.append(asyncio.create_task(watch_loop(files.home / LOOP_FILE), name="loop watch"))
    return await build_host(files, options, machine=_machine_of(files.home))


if __name__ == "__main__":
    sys.exit(main(build=build))
