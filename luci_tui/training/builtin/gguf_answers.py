"""Greedy answers of a GGUF file in luci's own engine: the one place that knows that engine."""

import asyncio
import json
from pathlib import Path

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine

_N_SLOTS = 8


def answer_with_engine(path: Path, requests: list[str], log: Path) -> list[str]:
    """Load a model in a worker process and answer each request through its chat template.

    Args:
        path: the GGUF file.
        requests: what a user would type.
        log: where the worker writes its log.
    """
    return asyncio.run(_answer_all(path, requests, log))


async def _answer_all(path: Path, requests: list[str], log: Path) -> list[str]:
    engine = WorkerEngine(log)
    answers = [""] * len(requests)
    waiting = iter(enumerate(requests))
    try:
        async for _ in engine.load(LoadSpec(model_path=str(path), n_slots=_N_SLOTS)):
            pass

        async def work() -> None:
            for index, request in waiting:
                answers[index] = await _answer(engine, request)

        async with asyncio.TaskGroup() as group:
            for _ in range(_N_SLOTS):
                group.create_task(work())
    finally:
        await engine.close()
    return answers


async def _answer(engine: WorkerEngine, request: str) -> str:
    messages = json.dumps([{"role": "user", "content": request}])
    command = frames.Generate(
        request_id=0,
        messages_json=messages,
        max_tokens=96,
        sampling=frames.SamplingParams(temperature=0.0),
    )
    parts: list[str] = []
    async for event in engine.generate(command):
        if isinstance(event, frames.Delta):
            parts.append(event.text)
    return "".join(parts)
