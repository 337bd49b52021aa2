from pathlib import Path

import pytest

from luci_tui.bench.history import BenchRun, read_history
from luci_tui.errors import ConfigError
from luci_tui.host.api.messages import JobChanged, JobState, Progress
from luci_tui.host.lifecycle import Launcher
from luci_tui.paths import bench_file
from tests.support.hosts import running_host

pytestmark = pytest.mark.native
SHORT = {"pp": 16, "tg": 200, "rounds": 2, "threads": 1}
REAL = Launcher(arguments=("--idle-exit-s", "60"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


async def test_bench_job_tells_its_figures_and_its_run_is_kept(home: Path) -> None:
    async with running_host(home, REAL) as client:
        with pytest.raises(ConfigError, match="no usable rounds"):
            await client.start_job("bench", {"model": "builtin", "rounds": 0})
        job = await client.start_job("bench", {"model": "builtin", **SHORT})
        assert job.title == "bench of builtin"
        last_progress, last = Progress(), job
        async for event in client.job_events(job.id):
            if isinstance(event, Progress):
                last_progress = event
            elif isinstance(event, JobChanged):
                last = event.job
        assert last.state is JobState.DONE, last.error
        assert {one.name: len(one.values) for one in last_progress.series} == {
            f"{test} x1, {via}": 2 for test in ("pp16", "tg200") for via in ("worker", "core")
        }
        assert last_progress.n_done == last_progress.n_total - 1
        (run,) = read_history(bench_file()).runs
        assert BenchRun.model_validate(last.result) == run
        assert (run.asked, run.threads, run.rounds) == ("builtin", 1, 2)
        assert run.machine


async def test_bench_job_that_is_cancelled_keeps_no_run(home: Path) -> None:
    async with running_host(home, REAL) as client:
        long = {"model": "builtin", "rounds": 100, "threads": 1}
        job = await client.start_job("bench", long)
        async for event in client.job_events(job.id):
            if isinstance(event, Progress) and event.series:
                break
        assert (await client.cancel_job(job.id)).state is JobState.CANCELLED
        assert read_history(bench_file()).runs == ()


async def test_bench_job_of_a_model_that_is_not_there_fails_in_one_sentence(home: Path) -> None:
    async with running_host(home, REAL) as client:
        job = await client.start_job("bench", {"model": "/no/such.gguf"})
        async for event in client.job_events(job.id):
            if isinstance(event, JobChanged):
                job = event.job
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert "/no/such.gguf" in job.error.message
