"""Wait for a job with a line of progress on the terminal, or give it to the host."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel

from luci_tui.chat.sanitize import sanitize
from luci_tui.cli.host_link import host_client
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import EngineError
from luci_tui.host.wiring import EngineKind
from luci_tui.units import format_duration

if TYPE_CHECKING:
    from luci_tui.bench.plan import BenchSpec
    from luci_tui.engine.job_frames import ImatrixSpec, JobProgress, QuantizeSpec
    from luci_tui.host.api.messages import JobRecord
    from luci_tui.library.compare import CompareModelsSpec
    from luci_tui.library.convert import ConvertSpec

    BackgroundSpec = QuantizeSpec | ImatrixSpec | ConvertSpec | CompareModelsSpec | BenchSpec

R = TypeVar("R")


async def result_of(
    events: AsyncGenerator[JobProgress | BaseModel],
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


class Countable(Protocol):
    """Progress that can be counted, of a job process or of a host's job."""

    @property
    def what(self) -> str:
        """What is being worked on."""
        ...

    @property
    def n_done(self) -> float:
        """How far it is."""
        ...

    @property
    def n_total(self) -> float:
        """0 = not known."""
        ...

    @property
    def unit(self) -> str:
        """Of n_done and n_total."""
        ...

    @property
    def bytes_done(self) -> int:
        """Where the unit is another one."""
        ...

    @property
    def bytes_total(self) -> int:
        """0 = not known."""
        ...


class Rate:
    """How fast a job is and how long it will take."""

    def __init__(self, start: str = "") -> None:
        self._start = start
        self._start_s = time.monotonic()

    def words(self, progress: Countable) -> str:
        """Describe the progress in one line."""
        if not progress.n_total:
            return sanitize(progress.what) or "reading"
        parts = [f"{progress.n_done:.0f}/{progress.n_total:.0f} {progress.unit}"]
        elapsed_s = time.monotonic() - self._start_s
        done, total = progress.bytes_done, progress.bytes_total
        if not total:
            done, total = progress.n_done, progress.n_total
        elif elapsed_s > 0:
            parts.append(f"{done / elapsed_s / 1e6:.0f} MB/s")
        if done:
            parts.append(f"{format_duration(elapsed_s * (total - done) / done)} left")
        # A name from a file may hold control characters.
        return self._start + ", ".join([*parts, sanitize(progress.what)])


def run_in_background(spec: BackgroundSpec, *, as_json: bool) -> None:
    """Let the host do a job and say how to find it again.

    Args:
        spec: What to do; its paths are absolute, for the host is in another folder.
        as_json: Print the job's record.

    Raises:
        LuciError: there is no host, or it does not take the job.
    """
    job = run_async(_start(spec))
    if as_json:
        print_json(job.model_dump(mode="json"))
        return
    print_line(job.id)
    narrate(f"Job {job.id} runs: {job.title}. `luci jobs attach {job.id}` watches it.")


async def _start(spec: BackgroundSpec) -> JobRecord:
    async with host_client(EngineKind.WORKER) as client:
        return await client.start_job(spec.kind, spec.model_dump(mode="json", exclude={"kind"}))
