from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.machine import Machine, RamMachine
from luci_tui.manager.manager import ManagerOptions, ModelManager
from tests.support.fake_clock import FakeClock
from tests.support.managers import EngineMaker, Models

POLICY = RestartPolicy()
Make = Callable[..., ModelManager]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def models(folder: Path) -> Models:
    return Models(folder)


@pytest.fixture
def maker() -> EngineMaker:
    return EngineMaker()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def make(models: Models, maker: EngineMaker, clock: FakeClock) -> AsyncIterator[Make]:
    made: list[ModelManager] = []

    def make_manager(
        total_bytes: int = 2**40, machine: Machine | None = None, **options: object
    ) -> ModelManager:
        manager = ModelManager(
            models,
            maker,
            ManagerOptions(**options),  # type: ignore[arg-type]
            clock=clock,
            machine=machine or RamMachine(lambda: total_bytes),
        )
        made.append(manager)
        return manager

    yield make_manager
    for manager in made:
        await manager.close(drain_s=0)
    assert [
        engine for found in maker.made.values() for engine in found if not engine.is_closed
    ] == []
