"""Measure how fast the queue obeys: `python -m tests.support.queue_figures FOLDER [ROUNDS]`.

Prints one JSON object: milliseconds from a pause or a cancel to the end of all that it stops, and
the rate of ten downloads at once as a share of their limit.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from random import Random

from luci_tui.download.queue import QueueOptions
from tests.support.installs import FilesAlone, bench_at

BYTES_PER_S = 20_000_000
CONTENT = Random(3).randbytes(6_000_000)
N_AT_ONCE = 10


async def latencies(folder: Path, n_rounds: int) -> dict[str, list[float]]:
    """Pause and cancel a download again and again."""
    options = QueueOptions(reserve_bytes=0, limit_bytes_per_s=BYTES_PER_S)
    found: dict[str, list[float]] = {"pause_ms": [], "cancel_ms": []}
    loop = asyncio.get_running_loop()
    async with bench_at(folder, options=options, installing=FilesAlone(folder / "m")) as bench:
        for _ in range(n_rounds):
            item, _ = await bench.queue.add(bench.offer(CONTENT * 4))
            await bench.until_received(item.id, 2_000_000)
            began_s = loop.time()
            await bench.queue.pause(item.id)
            await bench.until(item.id, lambda _: not bench.queue.is_busy)
            found["pause_ms"].append((loop.time() - began_s) * 1000)
            await bench.queue.resume(item.id)
            await bench.until_received(item.id, 4_000_000)
            began_s = loop.time()
            await bench.queue.cancel(item.id)
            await bench.until(item.id, lambda _: not (folder / "m" / "model").exists())
            found["cancel_ms"].append((loop.time() - began_s) * 1000)
    return found


async def share_of_limit(folder: Path) -> float:
    """Fetch ten files at once below a limit."""
    options = QueueOptions(
        max_parallel=N_AT_ONCE, reserve_bytes=0, limit_bytes_per_s=BYTES_PER_S // 2
    )
    loop = asyncio.get_running_loop()
    async with bench_at(
        folder, options=options, installing=FilesAlone(folder / "ten"), stall_s=20.0
    ) as bench:
        plans = [bench.offer(CONTENT, f"m{number}") for number in range(N_AT_ONCE)]
        began_s = loop.time()
        ids = [(await bench.queue.add(plan))[0].id for plan in plans]
        for one in ids:
            await bench.until(one)
        rate = N_AT_ONCE * len(CONTENT) / (loop.time() - began_s)
    return rate / options.limit_bytes_per_s


async def measure(folder: Path, n_rounds: int) -> dict[str, object]:
    """Measure all of it."""
    shares = [await share_of_limit(folder / str(number)) for number in range(3)]
    found = await latencies(folder / "latency", n_rounds)
    figures = {
        name: {"median": sorted(values)[len(values) // 2], "max": max(values)}
        for name, values in found.items()
    }
    return {**figures, "share_of_limit": shares}


if __name__ == "__main__":
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    sys.stdout.write(json.dumps(asyncio.run(measure(Path(sys.argv[1]), rounds))) + "\n")
