"""A program with a busy worker, to be killed: prints the worker's process id and never ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine


async def main(model_path: str, log_path: str) -> None:
    """Load, start an answer that takes long, tell who works on it, wait to be killed."""
    engine = WorkerEngine(Path(log_path))
    async for _ in engine.load(LoadSpec(model_path=model_path, n_ctx=2048, n_threads=1)):
        pass
    sampling = frames.SamplingParams(ignore_eos=True)
    wanted = frames.Generate(request_id=0, prompt="the", sampling=sampling)
    await anext(engine.generate(wanted))
    sys.stdout.write(f"{engine.pid}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
