"""Run llama-bench and llama-batched-bench once and read what they print."""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path

from luci_tui.bench.peers.workload import (
    N_BATCH,
    N_DECODE,
    N_PREFILL,
    N_STREAM_PROMPT,
    N_UBATCH,
    STREAM_COUNTS,
)


def bench_command(binary: Path, model: Path, n_threads: int, n_repeats: int) -> list[str]:
    """Return llama-bench's command for `n_repeats` repetitions of prefill and decode."""
    return [
        *(str(binary), "-m", str(model), "-t", str(n_threads), "-r", str(n_repeats), "-o", "json"),
        *("-p", str(N_PREFILL), "-n", str(N_DECODE)),
    ]


def run_bench(command: list[str]) -> tuple[float, float]:
    """Run llama-bench and return the median (prefill, decode) in tokens per second."""
    rows = json.loads(_run(command))
    rates = {(row["n_prompt"] > 0): statistics.median(row["samples_ts"]) for row in rows}
    return rates[True], rates[False]


def batched_command(binary: Path, model: Path, n_threads: int) -> list[str]:
    """Return llama-batched-bench's command for every stream count."""
    n_ctx = max(STREAM_COUNTS) * 2 * (N_STREAM_PROMPT + N_DECODE)
    counts = ",".join(str(count) for count in STREAM_COUNTS)
    return [
        *(str(binary), "-m", str(model), "-t", str(n_threads), "-tb", str(n_threads)),
        *("-c", str(n_ctx), "-b", str(N_BATCH), "-ub", str(N_UBATCH)),
        *("-npp", str(N_STREAM_PROMPT), "-ntg", str(N_DECODE), "-npl", counts),
        *("--output-format", "jsonl"),
    ]


def run_batched(command: list[str]) -> dict[int, float]:
    """Run llama-batched-bench and return decode tokens per second, all streams, by their count."""
    lines = [line for line in _run(command).splitlines() if line.startswith("{")]
    rows = [json.loads(line) for line in lines]
    return {int(row["pl"]): float(row["speed_tg"]) for row in rows}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return done.stdout
