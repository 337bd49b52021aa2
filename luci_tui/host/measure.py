"""Measure what a host costs: `python -m luci_tui.host.measure --json`.

It starts hosts in a temporary home folder, so it meets no host that runs. Judge the figures on a
quiet machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from luci_tui.host import run_files
from luci_tui.host.lifecycle import Launcher, find_host, start_host, stop_host
from luci_tui.units import format_bytes

MAX_START_MS = 700.0
MAX_IDLE_CPU_PERCENT = 0.5
MAX_RSS_BYTES = 120 * 1024 * 1024
SETTLE_S = 1.0
"""After its start a host still tidies up for a moment."""


@dataclass(frozen=True)
class Measured:
    """What was found."""

    start_ms: tuple[float, ...]
    """From the call that starts it to the first request that it would answer, each time."""
    idle_cpu_percent: float
    """Of one core, without clients."""
    rss_bytes: int
    """After a first request."""

    @property
    def median_start_ms(self) -> float:
        """The middle one of the starts."""
        return statistics.median(self.start_ms)

    def misses(self) -> list[str]:
        """Name the bars that are missed."""
        found: list[str] = []
        if self.median_start_ms >= MAX_START_MS:
            found.append(f"start {self.median_start_ms:.0f} ms, wanted below {MAX_START_MS:.0f} ms")
        if self.idle_cpu_percent >= MAX_IDLE_CPU_PERCENT:
            found.append(
                f"idle CPU {self.idle_cpu_percent:.2f} %, wanted below {MAX_IDLE_CPU_PERCENT} %"
            )
        if self.rss_bytes >= MAX_RSS_BYTES:
            found.append(
                f"memory {format_bytes(self.rss_bytes)}, wanted below {format_bytes(MAX_RSS_BYTES)}"
            )
        return found


async def measure(home: Path, n_starts: int, idle_s: float) -> Measured:
    """Start a host some times, and watch the last one do nothing.

    Args:
        home: An empty folder.
        n_starts: How often it is started; the first one fills the caches of the disk.
        idle_s: How long the last one is watched.

    Raises:
        LuciError: a host cannot be started.
    """
    files = run_files.run_files(home)
    launcher = Launcher()
    start_ms: list[float] = []
    for _ in range(n_starts):
        await stop_host(home)
        begin_s = time.perf_counter()
        await start_host(files, launcher)
        start_ms.append((time.perf_counter() - begin_s) * 1000)
    try:
        found = await find_host(home)
        assert found is not None
        await found.client.status()
        await found.client.close()
        await asyncio.sleep(SETTLE_S)
        process = psutil.Process(found.hello.pid)
        before, begin_s = process.cpu_times(), time.perf_counter()
        await asyncio.sleep(idle_s)
        after, elapsed_s = process.cpu_times(), time.perf_counter() - begin_s
        busy_s = after.user + after.system - before.user - before.system
        return Measured(
            tuple(start_ms), max(0.0, busy_s) / elapsed_s * 100, process.memory_info().rss
        )
    finally:
        await stop_host(home, drain_s=0, force=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 = a bar is missed."""
    parser = argparse.ArgumentParser(description="Measure what a host costs.")
    parser.add_argument("--starts", type=int, default=5, help="how often it is started")
    parser.add_argument("--idle-s", type=float, default=20.0, help="how long it is watched")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="luci-measure-") as home:
        found = asyncio.run(measure(Path(home), max(1, options.starts), options.idle_s))
    misses = found.misses()
    if options.json:
        values = {**asdict(found), "median_start_ms": found.median_start_ms, "misses": misses}
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.write(
            f"start to ready {found.median_start_ms:.0f} ms (median of {len(found.start_ms)})\n"
            f"idle CPU       {found.idle_cpu_percent:.2f} %\n"
            f"memory         {format_bytes(found.rss_bytes)}\n"
        )
        sys.stderr.writelines(f"missed: {miss}\n" for miss in misses)
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
