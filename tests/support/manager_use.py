"""Use a model manager in tests as a front end would, and look at what it holds."""

from __future__ import annotations

import pytest

from luci_tui.errors import WorkerLostError
from luci_tui.manager.manager import Lease, ModelManager
from luci_tui.manager.needs import need_of
from luci_tui.manager.status import ResidentStatus
from tests.support import engines
from tests.support.managers import EngineMaker, Models


def size_of(models: Models, name: str) -> int:
    return need_of(models.resolve(name)).ram_bytes


def status(manager: ModelManager, name: str) -> ResidentStatus:
    return next(one for one in manager.snapshot() if one.name == name)


def loaded(manager: ModelManager) -> set[str]:
    return {one.name for one in manager.snapshot() if one.state == "ready"}


async def say(lease: Lease, text: str = "hello you") -> str:
    return (await engines.answer(lease.engine, engines.request(text))).text


async def use(manager: ModelManager, name: str) -> str:
    async with manager.lease(name) as lease:
        return await say(lease)


async def crash(manager: ModelManager, maker: EngineMaker, name: str) -> None:
    """Lose the worker in the middle of an answer."""
    async with manager.lease(name) as lease:
        maker.made[name][-1].kill(f"crash {len(maker.made[name])}.")
        with pytest.raises(WorkerLostError):
            await say(lease)
