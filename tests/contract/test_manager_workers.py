from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from luci_tui.engine.process import WorkerOptions
from luci_tui.errors import ModelLoadError, WorkerLostError
from luci_tui.manager.engines import engine_maker, log_name
from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.manager import Lease, ManagerOptions, ModelManager
from luci_tui.manager.progress import LeaseProgress
from tests.support import bad_worker, engines
from tests.support.managers import Models, kinds
from tests.support.waiting import until

pytestmark = pytest.mark.native

Make = Callable[..., ModelManager]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    models = Models(tmp_path_factory.mktemp("models"))
    models.add("tiny", load={"n_ctx": 512, "n_threads": 1})
    models.add("copy", load={"n_ctx": 256, "n_threads": 1})
    return models


@pytest.fixture
async def make(tmp_path: Path, models: Models) -> AsyncIterator[Make]:
    made: list[ModelManager] = []

    def make_manager(fault: str = "", **worker_options: float) -> ModelManager:
        command = bad_worker.command(fault) if fault else WorkerOptions().command
        restarts = RestartPolicy(first_delay_s=0, max_quick_deaths=3)
        maker = engine_maker(tmp_path, WorkerOptions(command, **worker_options))
        manager = ModelManager(models, maker, ManagerOptions(restarts=restarts))
        made.append(manager)
        return manager

    yield make_manager
    for manager in made:
        await manager.close(drain_s=0)
    words = [" ".join(child.cmdline()) for child in psutil.Process().children()]
    assert [line for line in words if "engine.worker" in line or "bad_worker" in line] == []


async def say(lease: Lease) -> str:
    return (await engines.answer(lease.engine, engines.request())).text


def pid_of(manager: ModelManager) -> int:
    (pid,) = manager.snapshot()[0].pids
    return pid


async def test_manager_given_kills_of_its_worker_then_each_next_lease_answers(make: Make) -> None:
    manager = make()
    async with manager.lease("tiny") as lease:
        expected = await say(lease)
        stream = lease.engine.generate(engines.endless("shift"))
        await anext(stream)
        os.kill(pid_of(manager), signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="SIGKILL"):
            [event async for event in stream]
    progress: list[LeaseProgress] = []
    async with manager.lease("tiny", progress.append) as lease:
        assert await say(lease) == expected
    assert kinds(progress) == ["restarting", "loading"]
    killed = pid_of(manager)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: manager.snapshot()[0].n_restarts == 2)
    async with manager.lease("tiny") as lease:
        assert await say(lease) == expected
    status = manager.snapshot()[0]
    assert status.n_restarts == 2
    assert "SIGKILL" in status.last_error
    assert status.measured_bytes > 10 * 1024**2
    assert status.estimated_bytes > 0


async def test_manager_given_two_models_then_each_has_a_process_and_unload_ends_it(
    make: Make,
) -> None:
    manager = make()
    async with manager.lease("tiny") as tiny, manager.lease("copy") as copy:
        assert await say(tiny) == await say(copy)
        pids = {one.name: one.pids[0] for one in manager.snapshot()}
    await manager.unload("tiny")
    assert not psutil.pid_exists(pids["tiny"])
    assert psutil.pid_exists(pids["copy"])


async def test_manager_given_workers_that_crash_in_every_load_then_it_gives_up_with_the_reason(
    make: Make,
) -> None:
    progress: list[LeaseProgress] = []
    manager = make("garbage")
    with pytest.raises(WorkerLostError, match=r"3 workers in a row.*no valid message") as caught:
        await manager.load("tiny", progress.append)
    assert caught.value.code == "crash_loop"
    assert kinds(progress) == ["loading", "restarting", "loading", "restarting", "loading"]


async def test_manager_given_a_stuck_worker_then_it_is_ended_and_replaced(make: Make) -> None:
    manager = make("stuck", stuck_s=0.5)
    async with manager.lease("tiny") as lease:
        stuck = pid_of(manager)
        with pytest.raises(WorkerLostError, match="stuck in step"):
            await say(lease)
    await manager.load("tiny")
    assert pid_of(manager) != stuck
    assert not psutil.pid_exists(stuck)


async def test_manager_given_a_broken_file_then_the_reason_is_the_validators(
    make: Make, models: Models, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(models.path.read_bytes()[:5000])
    models.add("broken", path=str(broken))
    manager = make()
    with pytest.raises(ModelLoadError, match=r"broken\.gguf"):
        await manager.load("broken")
    assert manager.snapshot()[0].state == "failed"


def test_log_name_given_any_name_then_it_is_one_file_of_the_folder() -> None:
    assert log_name("qwen2.5:7b", 0) == "worker-qwen2.5-7b.log"
    assert log_name("../../etc/passwd", 1) == "worker-etc-passwd-1.log"
    assert log_name("//", 0) == "worker-model.log"
    assert len(log_name("x" * 500, 3)) < 100


@pytest.mark.parametrize(
    ("n_kills", "limit_s"), [(2, 30.0), pytest.param(500, 2.0, marks=pytest.mark.slow)]
)
async def test_manager_given_kills_under_load_then_others_live_and_it_is_soon_back(
    make: Make, n_kills: int, limit_s: float
) -> None:
    manager = make()
    killed, back_s = asyncio.Event(), list[float]()

    async def other() -> int:
        n_answers = 0
        async with manager.lease("copy") as lease:
            while not killed.is_set():
                n_answers += bool(await say(lease))
        return n_answers

    async def victim() -> None:
        async with manager.lease("tiny") as lease:
            stream = lease.engine.generate(engines.endless("shift"))
            await anext(stream)
            pids = {one.name: one.pids for one in manager.snapshot()}
            os.kill(pids["tiny"][0], signal.SIGKILL)
            with pytest.raises(WorkerLostError):
                [event async for event in stream]
        lost_s = time.perf_counter()
        async with manager.lease("tiny") as lease:
            assert await say(lease)
            back_s.append(time.perf_counter() - lost_s - lease.info.load_s)

    others = asyncio.create_task(other())
    for _ in range(n_kills):
        await victim()
    killed.set()
    assert await others > 0
    status = next(one for one in manager.snapshot() if one.name == "tiny")
    assert status.n_restarts == n_kills
    p95_s = sorted(back_s)[int(n_kills * 0.95)]
    print(f"{n_kills} kills: answers again after {p95_s:.2f} s and the load (p95)")
    assert p95_s < limit_s
