"""Measure what only luci has a limit for: a worker's idle CPU and memory, and the start of luci."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

import psutil

from luci_tui.bench.peers import results, server, worker, workload
from luci_tui.bench.peers.results import Collector
from luci_tui.bench.peers.rounds import Bench
from luci_tui.errors import EngineError

IDLE_S = 10.0
N_CTX_MEMORY = 4096
_MIB = 1024 * 1024
_FRAME_TIMEOUT_S = 30.0
_ALTERNATE_SCREEN = b"\x1b[?1049h"
_ESCAPES = re.compile(
    rb"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])"
)
"""ECMA-48: operating system commands, device control strings, control sequences, short escapes."""
_MIN_FRAME_CHARACTERS = 20
"""A frame is drawn once this many visible characters stand after the switch of screens."""


def measure_idle_and_memory(bench: Bench) -> None:
    """Record the worker's CPU share while it has no work, and its memory after an answer."""

    async def measure() -> tuple[float, int]:
        async with worker.loaded_worker(
            bench.model_path, bench.n_threads, 1, n_ctx=N_CTX_MEMORY
        ) as client:
            prompt = workload.prompt_tokens(workload.N_PREFILL, seed=1)
            await worker.stream(client, prompt, workload.N_DECODE)
            rss_bytes = await worker.rss_bytes(client)
            process = psutil.Process(client.pid)
            started = process.cpu_times()
            await asyncio.sleep(IDLE_S)
            ended = process.cpu_times()
        used_s = (ended.user + ended.system) - (started.user + started.system)
        return 100 * used_s / IDLE_S, rss_bytes

    idle_percent, rss_bytes = asyncio.run(measure())
    command = "python -m luci_tui.bench.peers --only own"
    bench.add("idle CPU", results.WORKER, idle_percent, "%", command)
    bench.add("memory", results.WORKER, rss_bytes / _MIB, "MiB", command)


def measure_buffers(bench: Bench) -> None:
    """Record what llama.cpp itself allocates for the same model and context."""
    binary = bench.peers.binary("llama-server")
    with server.running_server(
        binary, bench.model_path, bench.n_threads, 1, n_ctx=N_CTX_MEMORY, is_verbose=True
    ) as running:
        sizes = running.buffers_mib()
    if not {"model", "KV", "compute"} <= sizes.keys():
        message = f"llama-server's log names no sizes of its buffers, only {sorted(sizes)}."
        raise EngineError(message)
    command = f"llama-server -c {N_CTX_MEMORY} -np 1 -lv 4, the buffer sizes in its log"
    bench.add("memory", "model + KV + compute", sum(sizes.values()), "MiB", command)


def measure_start(collector: Collector, rounds: int) -> None:
    """Record how long `luci --version` takes and when the screen shows its first frame."""
    luci = [sys.executable, "-m", "luci_tui"]
    for _ in range(rounds):
        started_s = time.perf_counter()
        subprocess.run([*luci, "--version"], check=True, capture_output=True)
        elapsed_ms = 1000 * (time.perf_counter() - started_s)
        collector.add(
            "", "--version", "luci", elapsed_ms, unit="ms", command="python -m luci_tui --version"
        )
        collector.add(
            "", "first frame", "luci", first_frame_ms(luci), unit="ms", command="python -m luci_tui"
        )


def first_frame_ms(command: list[str], timeout_s: float = _FRAME_TIMEOUT_S) -> float:
    """Return the milliseconds from starting the screen in a terminal to its first drawn frame."""
    with tempfile.TemporaryDirectory() as home:
        settings = [f"LUCI_HOME={home}", "TERM=xterm-256color", "COLORTERM=truecolor"]
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        started_s = time.perf_counter()
        process = subprocess.Popen(
            ["env", *settings, *command],
            stdin=follower,
            stdout=follower,
            stderr=follower,  # where Textual draws
            start_new_session=True,
        )
        os.close(follower)
        try:
            return 1000 * (_wait_for_frame(leader, started_s + timeout_s) - started_s)
        finally:
            process.kill()
            process.wait()
            os.close(leader)


def _wait_for_frame(terminal: int, deadline_s: float) -> float:
    seen = b""
    while (left_s := deadline_s - time.perf_counter()) > 0:
        readable, _, _ = select.select([terminal], [], [], left_s)
        if not readable:
            break
        seen += os.read(terminal, 65536)
        drawn = seen.partition(_ALTERNATE_SCREEN)[2]
        if len(b"".join(_ESCAPES.sub(b"", drawn).split())) >= _MIN_FRAME_CHARACTERS:
            return time.perf_counter()
    message = "the screen drew no frame in time; start luci by hand to see why."
    raise EngineError(message)
