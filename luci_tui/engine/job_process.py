"""Run a job in a process of its own and hand on its events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from luci_tui.engine import job_frames, last_words
from luci_tui.engine.child import make_room_for_log
from luci_tui.errors import EngineError

COMMAND = (sys.executable, "-P", "-m", "luci_tui.engine.job_child")
MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Longest event: a report on thousands of tensors stays far below."""
GRACE_S = 5.0
"""Time to end after its last event, or after SIGTERM; then SIGKILL."""

logger = logging.getLogger(__name__)


async def run_job(
    spec: job_frames.JobSpec, log_path: Path, command: tuple[str, ...] = COMMAND
) -> AsyncGenerator[job_frames.JobProgress | job_frames.JobResult]:
    """Do a job and give its progress, then its result.

    Closing the iterator ends the process; it leaves no file of its own behind that the caller of
    the job would not know of.

    Args:
        spec: What to do.
        log_path: Where native code's log and the process's last words go.
        command: How the process is started.

    Raises:
        EngineError: the job failed, with the reason, or its process was lost.
    """
    log_start = _log_size(log_path)
    process = await _start(spec, log_path, command)
    is_done = False
    try:
        stdout = process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            event = job_frames.job_event_adapter.validate_json(line)
            is_done = not isinstance(event, job_frames.JobProgress)
            if isinstance(event, job_frames.JobFailed):
                raise EngineError(event.message, code=event.code)
            yield event
            if is_done:
                return
        status = await process.wait()
        raise last_words.worker_lost(
            f"the {spec.kind} job", status, last_words.read_tail(log_path, log_start), log_path
        )
    finally:
        await _end(process, is_done=is_done)


async def _start(
    spec: job_frames.JobSpec, log_path: Path, command: tuple[str, ...]
) -> asyncio.subprocess.Process:
    try:
        make_room_for_log(log_path)
        with log_path.open("ab") as log_file:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--parent-pid",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,
                limit=MAX_EVENT_BYTES,
            )
    except OSError as error:
        raise EngineError(
            f"The process for the {spec.kind} job cannot be started ({error}). "
            "Free memory and processes, then try again.",
            code="spawn",
        ) from error
    stdin = process.stdin
    assert stdin is not None
    with contextlib.suppress(ConnectionError):  # how it ended is read from its log
        stdin.write(spec.model_dump_json().encode())
        await stdin.drain()
    stdin.close()
    return process


async def _end(process: asyncio.subprocess.Process, *, is_done: bool) -> None:
    """Make sure that the process is gone; one that is done leaves by itself."""
    if is_done:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_S)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            logger.warning("job process %d does not leave and is killed", process.pid)
            process.kill()
            await process.wait()


def _log_size(log_path: Path) -> int:
    try:
        return log_path.stat().st_size
    except OSError:
        return 0
