"""One turn of every peer on one model; luci's own turns are in `own_rounds`.

The rounds are these turns, one after the other.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from luci_tui.bench.peers import results, server, tools, workload
from luci_tui.bench.peers.build import Peers
from luci_tui.bench.peers.http_stream import HttpTarget
from luci_tui.bench.peers.results import Collector
from luci_tui.bench.peers.workload import Stream
from luci_tui.errors import EngineError

_LEAST_SHARE = 0.95
_PYTHON_TIMEOUT_S = 600.0
_CHILD = Path(__file__).with_name("python_child.py")


@dataclass(frozen=True)
class Bench:
    """One model and what it is measured with."""

    model_name: str
    model_path: Path
    peers: Peers
    n_threads: int
    root: Path
    collector: Collector
    n_repeats: int
    """Single answers per turn; their median is the turn's value."""

    def shown(self, command: list[str]) -> str:
        """Return a command as a reader types it at the root of the checkout, with $MODEL."""
        parts = ("$MODEL" if part == str(self.model_path) else part for part in command)
        return " ".join(part.replace(f"{self.root}/", "") for part in parts)

    def add(self, test: str, contender: str, value: float, unit: str, command: str) -> None:
        """Record one value for this model."""
        self.collector.add(self.model_name, test, contender, value, unit=unit, command=command)

    def add_singles(
        self, contender: str, prefills: list[Stream], decodes: list[Stream], command: str
    ) -> None:
        """Record the prefill and the decode rate of answers that came one after the other."""
        self.add("pp512", contender, workload.prefill_rate(prefills), "tok/s", command)
        self.add("tg128", contender, workload.single_decode_rate(decodes), "tok/s", command)

    def add_streams(self, contender: str, answers: list[Stream], command: str) -> None:
        """Record the rate of answers that ran at once, and when their first pieces of text came."""
        rate = workload.decode_rate(answers)
        self.add(f"streams{len(answers)}", contender, rate, "tok/s", command)
        if len(answers) == max(workload.STREAM_COUNTS):
            ttft_ms = workload.ttft_p95_ms(answers)
            self.add(f"ttft{len(answers)}", contender, ttft_ms, "ms", command)

    def prefill_prompts(self, round_index: int) -> list[list[int]]:
        """Return the long prompts of a round, none of which was seen before."""
        seeds = range(round_index * self.n_repeats, (round_index + 1) * self.n_repeats)
        return [workload.prompt_tokens(workload.N_PREFILL, seed) for seed in seeds]

    def server_command(self, n_slots: int) -> str:
        """Return llama-server's command as a reader types it."""
        binary = self.peers.binary("llama-server")
        command = server.server_command(binary, self.model_path, self.n_threads, n_slots, "PORT")
        return self.shown(command)


Turn = Callable[[Bench, int], None]
"""Measures one contender once: (bench, index of the round)."""


def turn_llama_bench(bench: Bench, _: int) -> None:
    """Run llama-bench: prefill and decode in its own loop, without a client."""
    command = tools.bench_command(
        bench.peers.binary("llama-bench"), bench.model_path, bench.n_threads, bench.n_repeats
    )
    prefill, decode = tools.run_bench(command)
    bench.add("pp512", results.BENCH, prefill, "tok/s", bench.shown(command))
    bench.add("tg128", results.BENCH, decode, "tok/s", bench.shown(command))


def turn_batched_bench(bench: Bench, _: int) -> None:
    """Run llama-batched-bench: several streams in lockstep, without sampling."""
    command = tools.batched_command(
        bench.peers.binary("llama-batched-bench"), bench.model_path, bench.n_threads
    )
    for n_streams, rate in tools.run_batched(command).items():
        bench.add(f"streams{n_streams}", results.BATCHED, rate, "tok/s", bench.shown(command))


def turn_server(bench: Bench, round_index: int) -> None:
    """Stream single answers from llama-server with one slot."""
    _with_server(bench, 1, lambda target: _server_singles(bench, target, round_index))


async def _server_singles(bench: Bench, target: HttpTarget, round_index: int) -> None:
    prefills, decodes = await http_singles(bench, target, round_index)
    bench.add_singles(results.SERVER, prefills, decodes, bench.server_command(1))


def turn_server_streams(bench: Bench, _: int) -> None:
    """Stream to as many clients as luci has streams, from a llama-server with as many slots."""
    n_streams = max(workload.STREAM_COUNTS)

    async def measure(target: HttpTarget) -> None:
        answers = await http_streams(target, n_streams)
        bench.add_streams(results.SERVER, answers, bench.server_command(n_streams))

    _with_server(bench, n_streams, measure)


def turn_server_prefix(bench: Bench, round_index: int) -> None:
    """Send the requests that share a prefix to llama-server at each slot count."""
    for n_slots in workload.SERVER_SLOT_COUNTS:

        async def measure(target: HttpTarget, n_slots: int = n_slots) -> None:
            prompts = workload.prefix_prompts(round_index)
            jobs = (target.stream(p, workload.N_PREFIX_NEW, cache_prompt=True) for p in prompts)
            elapsed_s = workload.total_s(list(await asyncio.gather(*jobs)))
            contender = f"{results.SERVER}, {n_slots} slot{'s' if n_slots > 1 else ''}"
            bench.add("prefix40", contender, elapsed_s, "s", bench.server_command(n_slots))

        _with_server(bench, n_slots, measure)


async def http_singles(
    bench: Bench, target: HttpTarget, round_index: int
) -> tuple[list[Stream], list[Stream]]:
    """Return the prefills and the decodes of a turn over HTTP, one after the other."""
    prompts = bench.prefill_prompts(round_index)
    start = workload.prompt_tokens(1, seed=0)
    prefills = [await target.stream(prompt, 1) for prompt in prompts]
    return prefills, [await target.stream(start, workload.N_DECODE + 1) for _ in prompts]


async def http_streams(target: HttpTarget, n_streams: int) -> list[Stream]:
    """Return `n_streams` answers over HTTP, all asked for at once."""
    prompts = [workload.prompt_tokens(workload.N_STREAM_PROMPT, s) for s in range(n_streams)]
    jobs = (target.stream(prompt, workload.N_DECODE + 1) for prompt in prompts)
    return list(await asyncio.gather(*jobs))


async def http_warm_up(target: HttpTarget) -> None:
    """Let a server answer once, so that nothing it does for the first time is measured."""
    await target.stream(workload.prompt_tokens(1, seed=0), workload.N_WARM_UP)


def turn_python(bench: Bench, round_index: int) -> None:
    """Stream single answers from llama-cpp-python in a process of its own."""
    prompts = bench.prefill_prompts(round_index)
    prefills = _python_streams(bench, prompts, 1)
    starts = [workload.prompt_tokens(1, seed=0)] * len(prompts)
    decodes = _python_streams(bench, starts, workload.N_DECODE + 1)
    command = "Llama.create_completion(tokens, stream=True)"
    bench.add_singles(results.PYTHON, prefills, decodes, command)


def turn_python_prefix(bench: Bench, round_index: int) -> None:
    """Answer the requests that share a prefix one by one; llama-cpp-python keeps the prefix."""
    streams = _python_streams(bench, workload.prefix_prompts(round_index), workload.N_PREFIX_NEW)
    command = "Llama.create_completion(tokens, stream=True), one by one"
    bench.add("prefix40", results.PYTHON, workload.total_s(streams), "s", command)


PEER_TURNS: dict[str, dict[str, Turn]] = {
    "single": {
        results.BENCH: turn_llama_bench,
        results.SERVER: turn_server,
        results.PYTHON: turn_python,
    },
    "streams": {results.BATCHED: turn_batched_bench, results.SERVER: turn_server_streams},
    "prefix": {results.SERVER: turn_server_prefix, results.PYTHON: turn_python_prefix},
}
"""Turns by group of tests and contender."""


def _with_server(
    bench: Bench, n_slots: int, measure: Callable[[HttpTarget], Awaitable[None]]
) -> None:
    """Start llama-server, warm it up, measure, and stop it."""

    async def warmed(target: HttpTarget) -> None:
        await http_warm_up(target)
        await measure(target)

    binary = bench.peers.binary("llama-server")
    with server.running_server(binary, bench.model_path, bench.n_threads, n_slots) as running:
        asyncio.run(warmed(running.target))


def _python_streams(bench: Bench, prompts: list[list[int]], n_new: int) -> list[Stream]:
    job = {
        "model": str(bench.model_path),
        "n_threads": bench.n_threads,
        "n_ctx": workload.N_CTX_PER_SLOT,
        "n_batch": workload.N_BATCH,
        "n_ubatch": workload.N_UBATCH,
        "prompts": prompts,
        "n_new": n_new,
    }
    done = subprocess.run(
        [str(bench.peers.python), str(_CHILD)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
        timeout=_PYTHON_TIMEOUT_S,
    )
    streams = [Stream(*row) for row in json.loads(done.stdout)]
    # It cannot ignore the end-of-text token without a Python callback per token, which would slow
    # it down; with random weights that token comes once in 32,000, and rates count real tokens.
    n_tokens = sum(stream.n_tokens for stream in streams)
    if n_tokens < _LEAST_SHARE * n_new * len(streams):
        asked = n_new * len(streams)
        message = f"llama-cpp-python gave {n_tokens} of {asked} tokens; run it again."
        raise EngineError(message)
    return streams
