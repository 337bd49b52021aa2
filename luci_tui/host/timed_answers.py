"""A client of a host that says when its answers came: `python -m luci_tui.host.timed_answers`.

Reads one `bench.peers.host.Job` as JSON from stdin, starts a host in a temporary home folder, has
it load the model, and answers the batches through `HostEngine`, as every front end would. Writes
one list of times for each batch to stdout.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic_core import to_json

from luci_tui.bench.peers import worker, workload
from luci_tui.bench.peers.host import Job
from luci_tui.bench.peers.workload import Stream
from luci_tui.host.host_engine import HostEngine
from luci_tui.host.lifecycle import ensure_host, stop_host


async def answer(job: Job, home: Path) -> list[list[Stream]]:
    """Carry out a job with a host in `home`, an empty folder; the host is gone afterwards.

    Raises:
        LuciError: the host or the model cannot be started, or an answer is not whole.
    """
    try:
        client = await ensure_host(home)
        engine = HostEngine(client)
        try:
            async for _ in engine.load(job.spec):
                pass
            await worker.stream(engine, workload.prompt_tokens(1, seed=0), workload.N_WARM_UP)
            return [
                [await worker.stream(engine, list(p), batch.n_new) for p in batch.prompts]
                for batch in job.batches
            ]
        finally:
            await engine.close()
            await client.close()
    finally:
        await stop_host(home, drain_s=0, force=True)


def main() -> None:
    """Carry out the job on stdin."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory(prefix="luci-host-") as home:
        times = asyncio.run(answer(job, Path(home)))
    sys.stdout.write(to_json([[asdict(one) for one in batch] for batch in times]).decode())


if __name__ == "__main__":
    main()
