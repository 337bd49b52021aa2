from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from luci_tui.engine import job_process
from luci_tui.engine.file_jobs import run_file_job
from luci_tui.engine.job_frames import JobProgress, QuantizeResult, QuantizeSpec
from luci_tui.errors import EngineError
from tests.support.jobs import (
    LOOK_S,
    job_processes,
    names_in,
    part_bytes,
    quantize_here,
    quantize_spec,
    run_and_kill,
    run_job,
)
from tests.support.wide_models import write_wide_model

pytestmark = pytest.mark.native

TYPE = "Q3_K_M"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    return write_wide_model(folder / "wide-F16.gguf", n_layers=3, n_ff=768)


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = quantize_here(source, TYPE, tmp_path_factory.mktemp("expected") / "out.gguf")
    return Path(made.path).read_bytes()


def job(source: Path, folder: Path, **options: object) -> QuantizeSpec:
    return quantize_spec(source, [(TYPE, folder / "out.gguf")], n_threads=1, **options)


def check_only_whole_files(folder: Path, expected: bytes) -> None:
    for path in folder.glob("*.gguf"):
        assert path.read_bytes() == expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


async def test_job_reports_progress_and_its_result(
    source: Path, folder: Path, tmp_path: Path, expected: bytes
) -> None:
    seen: list[JobProgress | QuantizeResult] = []
    async with aclosing(run_file_job(job(source, folder), tmp_path / "log")) as events:
        async for event in events:
            assert isinstance(event, JobProgress | QuantizeResult)
            seen.append(event)
    assert isinstance(seen[0], JobProgress)
    assert seen[0].unit == "tensors"
    assert isinstance(seen[-1], QuantizeResult)
    check_only_whole_files(folder, expected)
    assert names_in(folder) == ["out.gguf"]


async def test_job_that_is_closed_leaves_nothing(
    source: Path, folder: Path, tmp_path: Path
) -> None:
    many = quantize_spec(source, [(name, folder / name) for name in ("Q2_K", "Q3_K_L", "Q4_K_M")])
    async with aclosing(run_file_job(many, tmp_path / "log")) as events:
        assert isinstance(await anext(events), JobProgress)
    assert not any(".part-" in name for name in names_in(folder))
    assert job_processes() == []


async def test_job_that_meets_a_full_disk_says_so_and_leaves_nothing(
    source: Path, folder: Path, tmp_path: Path, expected: bytes
) -> None:
    # The kernel's own limit on a file's size: writing fails half-way like on a full disk.
    command = ("prlimit", f"--fsize={len(expected) // 2}", *job_process.COMMAND)
    with pytest.raises(EngineError, match="Nothing of it was kept") as raised:
        await run_job(job(source, folder), tmp_path / "log", command=command)
    assert raised.value.code == "disk_full"
    assert names_in(folder) == []


async def test_source_that_changes_while_it_is_read_is_refused(
    source: Path, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(source, tmp_path / "copy.gguf"))

    async def run_and_touch() -> None:
        async with aclosing(run_file_job(job(copy, folder), tmp_path / "log")) as events:
            async for _ in events:
                os.utime(copy, ns=(1, 1))

    with pytest.raises(EngineError, match="changed while it was read"):
        await run_and_touch()
    assert names_in(folder) == []


async def kill_the_job(
    source: Path, folder: Path, log_path: Path, expected: bytes, chance: random.Random
) -> bool:
    goal_bytes = int(chance.random() * len(expected))
    spec = job(source, folder, force=True)
    is_killed = await run_and_kill(spec, log_path, lambda: part_bytes(folder) >= goal_bytes)
    check_only_whole_files(folder, expected)
    assert set(names_in(folder)) <= {"out.gguf"}
    return is_killed


def kill_the_program(
    source: Path, folder: Path, home: Path, expected: bytes, chance: random.Random
) -> bool:
    goal_bytes = int(chance.random() * len(expected))
    command = [sys.executable, "-m", "luci_tui", "quantize", str(source), str(folder / "out.gguf")]
    program = subprocess.Popen(
        [*command, "--type", TYPE, "--force", "--threads", "1"],
        env=os.environ | {"LUCI_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process = psutil.Process(program.pid)
    children: list[psutil.Process] = []
    while program.poll() is None and not (children and part_bytes(folder) >= goal_bytes):
        children = children or job_processes(process)
        time.sleep(LOOK_S)
    program.kill()
    program.wait(10)
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (len(children), [])
    check_only_whole_files(folder, expected)
    return program.returncode == -signal.SIGKILL


async def kill_often(
    source: Path, folder: Path, tmp_path: Path, expected: bytes, seed: int, n_each: int
) -> int:
    chance = random.Random(seed)
    n_killed = 0
    for _ in range(n_each):
        n_killed += await kill_the_job(source, folder, tmp_path / "log", expected, chance)
        n_killed += kill_the_program(source, folder, tmp_path / "home", expected, chance)
    await run_job(job(source, folder, force=True), tmp_path / "log")
    assert names_in(folder) == ["out.gguf"]
    check_only_whole_files(folder, expected)
    return n_killed


@pytest.mark.parametrize("seed", range(6))
async def test_job_killed_or_its_parent_killed_leaves_no_bad_file(
    source: Path, folder: Path, tmp_path: Path, expected: bytes, seed: int
) -> None:
    await kill_often(source, folder, tmp_path, expected, seed, n_each=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_job_killed_two_hundred_times_leaves_no_bad_file(
    source: Path, folder: Path, tmp_path: Path, expected: bytes
) -> None:
    n_killed = await kill_often(source, folder, tmp_path, expected, 200, n_each=100)
    # The others were done before their turn came.
    assert n_killed >= 100
