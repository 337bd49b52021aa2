"""Run a job that writes files, and leave no half file however its process ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from luci_tui.engine import job_process
from luci_tui.engine.job_frames import (
    ImatrixSpec,
    JobProgress,
    JobResult,
    QuantizeSpec,
)
from luci_tui.engine.part_files import sweep


async def run_file_job(
    spec: QuantizeSpec | ImatrixSpec,
    log_path: Path,
    command: tuple[str, ...] = job_process.COMMAND,
) -> AsyncGenerator[JobProgress | JobResult]:
    """Do a job and give its progress, then its result; closing the iterator ends it.

    Args:
        spec: What to do.
        log_path: Where native code's log and the process's last words go.
        command: How the process is started.

    Raises:
        EngineError: the job failed, with the reason, or its process was lost.
    """
    try:
        async with aclosing(job_process.run_job(spec, log_path, command)) as events:
            async for event in events:
                yield event
    finally:
        # The process is gone, and its lock with it, even where it was killed.
        for folder in _folders(spec):
            await asyncio.to_thread(sweep, folder)


def _folders(spec: QuantizeSpec | ImatrixSpec) -> set[Path]:
    if isinstance(spec, ImatrixSpec):
        return {Path(spec.output).parent}
    return set() if spec.dry_run else {Path(output.path).parent for output in spec.outputs}
