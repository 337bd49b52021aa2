"""luci's own turns on one model: the worker over its pipes, the host's socket, the HTTP server."""

from __future__ import annotations

import asyncio

from luci_tui.bench.peers import host, results, serve, worker, workload
from luci_tui.bench.peers.http_stream import HttpTarget
from luci_tui.bench.peers.rounds import Bench, Turn, http_singles, http_streams, http_warm_up

N_CANCELS = 20
"""Cancels per round."""
_OURS = "python -m luci_tui.bench.peers --only {}"
_SERVE = "luci " + " ".join(serve.serve_command("PORT"))


def turn_worker(bench: Bench, round_index: int) -> None:
    """Measure the bare core in its process, then single answers through the worker."""

    async def measure() -> None:
        async with worker.loaded_worker(bench.model_path, bench.n_threads, 1) as client:
            core_prefill, core_decode = await worker.core_rates(client, bench.n_repeats)
            prompts = bench.prefill_prompts(round_index)
            prefills = [await worker.stream(client, prompt, 1) for prompt in prompts]
            decodes = [await worker.decode(client) for _ in prompts]
        command = _OURS.format("single")
        bench.add("pp512", results.CORE, core_prefill, "tok/s", command)
        bench.add("tg128", results.CORE, core_decode, "tok/s", command)
        bench.add_singles(results.WORKER, prefills, decodes, command)

    asyncio.run(measure())


def turn_worker_streams(bench: Bench, _: int) -> None:
    """Stream several answers at once through the worker, for each stream count."""

    async def measure() -> None:
        for n_streams in workload.STREAM_COUNTS:
            async with worker.loaded_worker(bench.model_path, bench.n_threads, n_streams) as client:
                answers = await worker.streams(client, n_streams)
            bench.add_streams(results.WORKER, answers, _OURS.format("streams"))

    asyncio.run(measure())


def turn_worker_prefix(bench: Bench, round_index: int) -> None:
    """Send the requests that share a prefix to a worker whose slots share one KV buffer."""
    n_slots = workload.OWN_PREFIX_SLOTS

    async def measure() -> None:
        async with worker.loaded_worker(
            bench.model_path, bench.n_threads, n_slots, kv_unified=True
        ) as client:
            elapsed_s = workload.total_s(await worker.prefix(client, round_index))
        bench.add("prefix40", results.WORKER, elapsed_s, "s", _OURS.format("prefix"))

    asyncio.run(measure())


def turn_worker_cancel(bench: Bench, round_index: int) -> None:
    """Cancel answers while they stream; each cancel is one value."""

    async def measure() -> None:
        async with worker.loaded_worker(bench.model_path, bench.n_threads, 1) as client:
            for index in range(N_CANCELS):
                seed = 1_000 + round_index * N_CANCELS + index
                elapsed_ms = 1000 * await worker.cancel_s(client, seed)
                bench.add("cancel", results.WORKER, elapsed_ms, "ms", _OURS.format("cancel"))

    asyncio.run(measure())


def turn_host(bench: Bench, round_index: int) -> None:
    """Stream single answers from a host with an engine of one slot, over its unix socket."""
    prompts = bench.prefill_prompts(round_index)
    start = tuple(workload.prompt_tokens(1, seed=0))
    batches = (
        host.Batch(prompts=tuple(tuple(prompt) for prompt in prompts), n_new=1),
        host.Batch(prompts=(start,) * len(prompts), n_new=workload.N_DECODE + 1),
    )
    spec = worker.load_spec(bench.model_path, bench.n_threads, 1)
    prefills, decodes = host.timed_answers(spec, batches)
    bench.add_singles(results.HOST, prefills, decodes, _OURS.format("single"))


def turn_serve(bench: Bench, round_index: int) -> None:
    """Stream single answers from `luci serve` with one slot."""

    async def measure(target: HttpTarget) -> None:
        await http_warm_up(target)
        prefills, decodes = await http_singles(bench, target, round_index)
        bench.add_singles(results.SERVE, prefills, decodes, _SERVE)

    with serve.running_serve(worker.load_spec(bench.model_path, bench.n_threads, 1)) as target:
        asyncio.run(measure(target))


def turn_serve_streams(bench: Bench, _: int) -> None:
    """Stream to as many HTTP clients as llama-server has, from `luci serve` with as many slots."""
    n_streams = max(workload.STREAM_COUNTS)

    async def measure(target: HttpTarget) -> None:
        await http_warm_up(target)
        answers = await http_streams(target, n_streams)
        bench.add_streams(results.SERVE, answers, _SERVE)

    spec = worker.load_spec(bench.model_path, bench.n_threads, n_streams)
    with serve.running_serve(spec) as target:
        asyncio.run(measure(target))


OUR_TURNS: dict[str, dict[str, Turn]] = {
    "single": {
        results.WORKER: turn_worker,
        results.HOST: turn_host,
        results.SERVE: turn_serve,
    },
    "streams": {results.WORKER: turn_worker_streams, results.SERVE: turn_serve_streams},
    "prefix": {results.WORKER: turn_worker_prefix},
    "cancel": {results.WORKER: turn_worker_cancel},
}
"""Turns by group of tests and contender."""
