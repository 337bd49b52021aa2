"""Short ways to quantize in tests: in this process, and in a job process that may be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

import psutil

from luci_tui.engine.file_jobs import run_file_job
from luci_tui.engine.job_frames import (
    JobProgress,
    JobResult,
    QuantizedFile,
    QuantizeOutput,
    QuantizeSpec,
)
from luci_tui.errors import WorkerLostError

LOOK_S = 0.001
"""How often it is looked how far a job is that shall be killed."""


def quantize_spec(
    source: Path, outputs: Sequence[tuple[str, Path]], **options: object
) -> QuantizeSpec:
    """Make a job; `options` are fields of QuantizeSpec."""
    made = tuple(QuantizeOutput(type=name, path=str(path)) for name, path in outputs)
    return QuantizeSpec.model_validate({"source": str(source), "outputs": made, **options})


def quantize_here(source: Path, type_name: str, path: Path, **options: object) -> QuantizedFile:
    """Quantize to one file in this process."""
    from luci_tui.engine.native_quantize import quantize

    spec = quantize_spec(source, [(type_name, path)], **options)
    return quantize(spec, _ignore).files[0]


def _ignore(progress: JobProgress) -> None:
    del progress


async def run_job(spec: QuantizeSpec, log_path: Path, **options: tuple[str, ...]) -> JobResult:
    """Run a job process to its end."""
    async with aclosing(run_file_job(spec, log_path, **options)) as events:
        async for event in events:
            if not isinstance(event, JobProgress):
                return event
    raise AssertionError


async def run_and_kill(spec: QuantizeSpec, log_path: Path, is_time: Callable[[], bool]) -> bool:
    """Run a job process and kill it as soon as a condition holds; False = it was done before.

    Args:
        spec: The job.
        log_path: Its log.
        is_time: The condition; it is asked again and again while the job runs.
    """
    job = asyncio.ensure_future(run_job(spec, log_path))
    while not job.done():
        await asyncio.sleep(LOOK_S)
        if is_time() and (children := job_processes()):
            for child in children:
                with suppress(psutil.NoSuchProcess):  # it may be done at this very moment
                    child.kill()
            break
    try:
        await job
    except WorkerLostError:
        return True
    return False


def job_processes(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """List the job processes of a process; None = this one."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        for child in (parent or psutil.Process()).children():
            if "luci_tui.engine.job_child" in child.cmdline():
                found.append(child)
    return found


def part_bytes(folder: Path) -> int:
    """Give how much lies under temporary names in a folder; 0 = none or nothing yet."""
    total = 0
    # A part folder may go away while it is looked at.
    with suppress(FileNotFoundError):
        for path in folder.glob("*.part-*/*"):
            total += path.stat().st_size
    return total


def names_in(folder: Path) -> list[str]:
    """List what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
