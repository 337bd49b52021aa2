"""The job process: one specification on stdin, events on stdout, one JSON document a line.

Run as `python -m luci_tui.engine.job_child --parent-pid N`. Like the worker it moves its pipes away
from the standard descriptors first, so that what native code prints lands in the log.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from luci_tui.engine import job_frames, loop
from luci_tui.engine.child_start import become_child
from luci_tui.errors import LuciError

PROGRESS_S: Final = 0.1
"""Least time between two reports of progress."""

NICENESS: Final = 10
"""By how much work on files steps back: chats and the screen go first where processors are few."""

Report = Callable[[job_frames.JobProgress], None]
"""Tells how far the job is; may be called at any rate, only some calls are sent."""

logger = logging.getLogger(__name__)


def main() -> None:
    """Do one job and leave."""
    spec_fd, events_fd = become_child("A job process.")
    events = _EventLines(events_fd)
    spec = job_frames.job_spec_adapter.validate_json(_read_all(spec_fd))
    step_back(spec)
    try:
        events.send(run_job(spec, events.report))
    except LuciError as error:
        events.send(job_frames.JobFailed(code=error.code, message=error.message))
    loop.leave(loop.EXIT_OK)


def step_back(spec: job_frames.JobSpec) -> None:
    """Let all other processes go first, unless somebody waits for what this one finds out."""
    if not isinstance(spec, (job_frames.PlanMemorySpec, job_frames.CoreFactsSpec)):
        os.nice(NICENESS)


def run_job(spec: job_frames.JobSpec, report: Report) -> job_frames.JobResult:
    """Do the job in this process; each kind is imported when it is asked for.

    Raises:
        LuciError: the job cannot be done.
    """
    match spec:
        case job_frames.ValidateSpec():
            from luci_tui.engine.native_validate import validate

            return validate(spec, report)
        case job_frames.TensorStatsSpec():
            from luci_tui.engine.native_tensors import tensor_stats

            return tensor_stats(spec, report)
        case job_frames.CompareSpec():
            from luci_tui.engine.native_tensors import compare_models

            return compare_models(spec, report)
        case job_frames.PlanMemorySpec():
            from luci_tui.engine.native import plan_memory
            from luci_tui.engine.native_validate import require_valid_model

            # llama.cpp reads the header itself here, and may abort on a bad one.
            require_valid_model(spec.load)
            return job_frames.MemoryPlanned(memory=plan_memory(spec.load))
        case job_frames.CoreFactsSpec():
            from luci_tui.engine import native

            return job_frames.CoreFacts(
                accelerator=native.system_info().accelerator,
                devices=tuple(job_frames.Device(**asdict(one)) for one in native.devices()),
                repacking=native.repacking(),
            )
        case job_frames.QuantizeSpec():
            from luci_tui.engine.native_quantize import quantize

            return quantize(spec, report)
        case job_frames.ImatrixSpec():
            from luci_tui.engine.native_imatrix import make_imatrix

            return make_imatrix(spec, report)
        case _:
            return _run_model_job(spec, report)


def _run_model_job(
    spec: (
        job_frames.TextScoreSpec
        | job_frames.RunConverterSpec
        | job_frames.SourceReferenceSpec
        | job_frames.ConversionCheckSpec
    ),
    report: Report,
) -> job_frames.JobResult:
    """Do a job of converting and comparing models."""
    match spec:
        case job_frames.TextScoreSpec():
            from luci_tui.engine.native_text_score import score_text

            return score_text(spec, report)
        case job_frames.RunConverterSpec():
            from luci_tui.engine.converter import run_converter

            return run_converter(spec, report)
        case job_frames.SourceReferenceSpec():
            from luci_tui.engine.source_reference import make_reference

            return make_reference(spec, report)
        case job_frames.ConversionCheckSpec():
            from luci_tui.engine.native_conversion_check import check_conversion

            return check_conversion(spec, report)


class _EventLines:
    """The way out."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._reported_s = 0.0

    def send(self, event: job_frames.JobEvent) -> None:
        view = memoryview(event.model_dump_json().encode() + b"\n")
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BrokenPipeError:
                loop.leave(loop.EXIT_PARENT_GONE)

    def report(self, progress: job_frames.JobProgress) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s >= PROGRESS_S:
            self._reported_s = now_s
            self.send(progress)


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
