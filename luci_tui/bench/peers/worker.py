"""Measure luci as its clients see it: through a worker process, over frames and pipes."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from luci_tui.bench.peers import workload
from luci_tui.bench.peers.workload import Stream
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import EngineError

_STREAM_TIMEOUT_S = 300.0
_SAMPLING = frames.SamplingParams(ignore_eos=True, seed=1)
_TOKENS_BEFORE_CANCEL = 8


def load_spec(
    model: Path,
    n_threads: int,
    n_slots: int,
    n_ctx: int = workload.N_CTX_PER_SLOT,
    *,
    kv_unified: bool = False,
) -> LoadSpec:
    """Return how luci loads a model, the same for its worker, its host and its server."""
    return LoadSpec(
        model_path=str(model),
        n_ctx=n_ctx,
        n_slots=n_slots,
        n_batch=workload.N_BATCH,
        n_ubatch=workload.N_UBATCH,
        n_threads=n_threads,
        kv_unified=kv_unified,
    )


@asynccontextmanager
async def loaded_worker(
    model: Path,
    n_threads: int,
    n_slots: int,
    n_ctx: int = workload.N_CTX_PER_SLOT,
    *,
    kv_unified: bool = False,
) -> AsyncGenerator[WorkerEngine]:
    """Run a worker with `model` until the block ends; it has answered once by then."""
    spec = load_spec(model, n_threads, n_slots, n_ctx, kv_unified=kv_unified)
    with tempfile.TemporaryDirectory() as folder:
        engine = WorkerEngine(Path(folder) / "worker.log")
        try:
            async for _ in engine.load(spec):
                pass
            await stream(engine, workload.prompt_tokens(1, seed=0), workload.N_WARM_UP)
            yield engine
        finally:
            await engine.close()


async def stream(
    client: EngineClient, tokens: list[int], n_new: int, *, cache_prompt: bool = False
) -> Stream:
    """Stream one answer of `n_new` tokens.

    Raises:
        EngineError: the answer has another number of tokens.
    """
    request = frames.Generate(
        request_id=0,
        tokens=tuple(tokens),
        max_tokens=n_new,
        sampling=_SAMPLING,
        cache_prompt=cache_prompt,
    )
    first_s: float | None = None
    n_tokens = 0
    sent_s = time.perf_counter()
    async with asyncio.timeout(_STREAM_TIMEOUT_S):
        async for event in client.generate(request):
            if isinstance(event, frames.Delta) and first_s is None:
                first_s = time.perf_counter()
            if isinstance(event, frames.Done):
                n_tokens = event.usage.completion_tokens
    last_s = time.perf_counter()
    if first_s is None or n_tokens != n_new:
        message = f"the worker streamed {n_tokens} tokens instead of {n_new}; see its log."
        raise EngineError(message)
    return Stream(sent_s, first_s, last_s, n_tokens)


async def core_rates(client: EngineClient, n_repeats: int) -> tuple[float, float]:
    """Return the median (prefill, decode) of the bare core in tokens per second."""
    command = frames.Bench(
        request_id=0, n_prompt=workload.N_PREFILL, n_gen=workload.N_DECODE, repetitions=n_repeats
    )
    answer = await client.ask(command)
    if not isinstance(answer, frames.BenchResult):
        message = f"the worker answered a bench command with {answer.kind}; rebuild luci."
        raise EngineError(message)
    prefill, decode = answer.prefill_tokens_per_s, answer.decode_tokens_per_s
    return statistics.median(prefill), statistics.median(decode)


async def decode(client: EngineClient) -> Stream:
    """Stream N_DECODE tokens after the one that comes out of the prefill."""
    return await stream(client, workload.prompt_tokens(1, seed=0), workload.N_DECODE + 1)


async def streams(client: EngineClient, n_streams: int) -> list[Stream]:
    """Stream `n_streams` answers at once."""
    prompts = [workload.prompt_tokens(workload.N_STREAM_PROMPT, s) for s in range(n_streams)]
    jobs = (stream(client, prompt, workload.N_DECODE + 1) for prompt in prompts)
    return list(await asyncio.gather(*jobs))


async def prefix(client: EngineClient, round_index: int) -> list[Stream]:
    """Send all requests that share a prefix at once."""
    jobs = (
        stream(client, prompt, workload.N_PREFIX_NEW, cache_prompt=True)
        for prompt in workload.prefix_prompts(round_index)
    )
    return list(await asyncio.gather(*jobs))


async def cancel_s(client: EngineClient, seed: int) -> float:
    """Return the seconds from closing an answer's iterator to an engine without work."""
    request = frames.Generate(
        request_id=0,
        tokens=tuple(workload.prompt_tokens(workload.N_STREAM_PROMPT, seed)),
        max_tokens=workload.N_CTX_PER_SLOT // 2,
        sampling=_SAMPLING,
        cache_prompt=False,
    )
    answer = client.generate(request)
    n_seen = 0
    async for event in answer:
        if isinstance(event, frames.Delta):
            n_seen += len(event.tokens)
        if n_seen >= _TOKENS_BEFORE_CANCEL:
            break
    closed_s = time.perf_counter()
    await answer.aclose()
    async with asyncio.timeout(_STREAM_TIMEOUT_S):
        while not await _is_idle(client):
            pass
    return time.perf_counter() - closed_s


async def _is_idle(client: EngineClient) -> bool:
    report = await client.ask(frames.Status(request_id=0))
    if not isinstance(report, frames.StatusReport):
        message = f"the worker answered a status command with {report.kind}; rebuild luci."
        raise EngineError(message)
    return report.n_queued == 0 and all(slot.state == "idle" for slot in report.slots)


async def rss_bytes(client: EngineClient) -> int:
    """Return the worker's resident memory."""
    report = await client.ask(frames.Status(request_id=0))
    if not isinstance(report, frames.StatusReport):
        message = f"the worker answered a status command with {report.kind}; rebuild luci."
        raise EngineError(message)
    return report.rss_bytes
