from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from luci_tui.engine.job_child import NICENESS
from luci_tui.engine.job_frames import JobProgress, ValidateResult, ValidateSpec
from luci_tui.engine.job_process import run_job
from luci_tui.errors import EngineError
from tests.support import raw_gguf as raw

pytestmark = pytest.mark.native


def large_sparse_model(path: Path, n_bytes: int) -> Path:
    model = raw.good_model().plus_tensor(
        raw.RawTensor(b"blk.0.x.weight", (32, n_bytes // 32), kind=24, data=b"")
    )
    content = model.build()
    path.write_bytes(content)
    os.truncate(path, len(content) + n_bytes)
    return path


def job_children() -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        # One that has just died has no command line any more.
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if "luci_tui.engine.job_child" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_run_job_gives_the_result_last(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(raw.good_model().build())
    spec = ValidateSpec(paths=(str(path),))
    events = [event async for event in run_job(spec, tmp_path / "log")]
    assert isinstance(events[-1], ValidateResult)
    assert events[-1].reports[0].path == str(path)
    assert job_children() == []


async def test_run_job_on_files_then_it_steps_back_behind_other_processes(tmp_path: Path) -> None:
    path = large_sparse_model(tmp_path / "model.gguf", 1 << 36)
    spec = ValidateSpec(paths=(str(path),), deep=True)
    async with aclosing(run_job(spec, tmp_path / "log")) as events:
        assert isinstance(await anext(events), JobProgress)
        (child,) = job_children()
        assert child.nice() == min(19, psutil.Process().nice() + NICENESS)


async def test_run_job_that_is_closed_ends_its_process(tmp_path: Path) -> None:
    path = large_sparse_model(tmp_path / "model.gguf", 1 << 36)
    spec = ValidateSpec(paths=(str(path),), deep=True)
    async with aclosing(run_job(spec, tmp_path / "log")) as events:
        async for event in events:
            assert isinstance(event, JobProgress)
            assert event.n_total >= 1 << 36
            break
        (child,) = job_children()
    assert not child.is_running()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_run_job_whose_process_dies_says_how(number: signal.Signals, tmp_path: Path) -> None:
    path = large_sparse_model(tmp_path / "model.gguf", 1 << 36)
    spec = ValidateSpec(paths=(str(path),), deep=True)

    async def watch() -> None:
        async for _ in run_job(spec, tmp_path / "log"):
            for child in job_children():
                child.send_signal(number)

    with pytest.raises(EngineError, match=number.name):
        await watch()


async def test_run_job_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    spec = ValidateSpec(paths=("x",))
    with pytest.raises(EngineError, match=r"validate job cannot be started"):
        async for _ in run_job(spec, tmp_path / "log", ("/no/such/program",)):
            pass


async def test_run_job_whose_process_says_nothing_quotes_its_log(tmp_path: Path) -> None:
    spec = ValidateSpec(paths=("x",))
    command = (sys.executable, "-c", "import sys; sys.exit('the disk is on fire')")
    with pytest.raises(EngineError, match="the disk is on fire"):
        async for _ in run_job(spec, tmp_path / "log", command):
            pass


async def test_run_job_that_is_cancelled_ends_its_process(tmp_path: Path) -> None:
    path = large_sparse_model(tmp_path / "model.gguf", 1 << 36)
    spec = ValidateSpec(paths=(str(path),), deep=True)
    started = asyncio.Event()

    async def watch() -> None:
        async for _ in run_job(spec, tmp_path / "log"):
            started.set()

    task = asyncio.create_task(watch())
    await asyncio.wait_for(started.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert job_children() == []
