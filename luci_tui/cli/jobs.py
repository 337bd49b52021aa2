"""Wait for a job with a line of progress on the terminal."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from luci_tui.cli.output import Progress
from luci_tui.errors import EngineError
from luci_tui.units import format_duration

if TYPE_CHECKING:
    from luci_tui.engine.job_frames import JobProgress, JobResult

R = TypeVar("R")


async def result_of(
    events: AsyncGenerator[JobProgress | JobResult],
    wanted: type[R],
    words: Callable[[JobProgress], str],
) -> R:
    """Show the progress of a job and give its result.

    Args:
        events: What `run_job` or `run_file_job` gives; it is closed in any case.
        wanted: The kind of result that this job has.
        words: Makes the line of progress.

    Raises:
        EngineError: the job failed, or ended without its result.
    """
    from luci_tui.engine.job_frames import JobProgress

    line = Progress()
    try:
        async with aclosing(events) as running:
            async for event in running:
                if isinstance(event, wanted):
                    return event
                if isinstance(event, JobProgress):
                    line.show(words(event))
    finally:
        line.clear()
    msg = f"The job ended without a {wanted.__name__}. Try again."
    raise EngineError(msg)


class Rate:
    """How fast a job is and how long it will take."""

    def __init__(self, start: str = "") -> None:
        self._start = start
        self._start_s = time.monotonic()

    def words(self, progress: JobProgress) -> str:
        """Describe the progress in one line."""
        if not progress.n_total:
            return "reading"
        parts = [f"{progress.n_done}/{progress.n_total} {progress.unit}"]
        elapsed_s = time.monotonic() - self._start_s
        done, total = progress.bytes_done, progress.bytes_total
        if not total:
            done, total = progress.n_done, progress.n_total
        elif elapsed_s > 0:
            parts.append(f"{done / elapsed_s / 1e6:.0f} MB/s")
        if done:
            parts.append(f"{format_duration(elapsed_s * (total - done) / done)} left")
        return self._start + ", ".join([*parts, progress.what])
