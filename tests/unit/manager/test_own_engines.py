from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError, ModelLoadError, WorkerLostError
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.progress import LeaseProgress
from tests.support.manager_use import loaded, say, size_of, status, use
from tests.support.managers import EngineMaker, Models, kinds
from tests.support.waiting import until

Make = Callable[..., ModelManager]


def spec_of(models: Models, n_ctx: int = 512) -> LoadSpec:
    return LoadSpec(model_path=str(models.path), n_ctx=n_ctx, n_threads=3)


async def test_lease_own_given_a_spec_then_one_holder_has_it_and_it_leaves_with_him(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager, progress = make(), list[LeaseProgress]()
    async with manager.lease_own(spec_of(models), progress.append) as own:
        assert own.entry.load_spec() == spec_of(models)
        assert own.info.n_ctx == 512
        assert await say(own)
        async with manager.lease_own(spec_of(models)) as other, manager.lease("a"):
            names = {one.name: one.is_own for one in manager.snapshot()}
            assert names == {"tiny.gguf#1": True, "tiny.gguf#2": True, "a": False}
            assert other.engine is not own.engine
        now = status(manager, "tiny.gguf#1")
        assert (now.state, now.n_leases, now.ttl_left_s) == ("ready", 1, None)
        assert now.estimated_bytes == size_of(models, "a")
    assert kinds(progress) == ["loading"]
    assert {one.name for one in manager.snapshot()} == {"a"}
    assert maker.alive("tiny.gguf#1") == []


async def test_lease_own_given_a_full_memory_then_the_rules_are_those_for_all(
    make: Make, models: Models
) -> None:
    for name in "ab":
        models.add(name)
    manager = make(size_of(models, "a"))
    await use(manager, "a")
    progress: list[LeaseProgress] = []
    async with manager.lease_own(spec_of(models), progress.append):
        assert kinds(progress) == ["evicting", "loading"]
        assert loaded(manager) == {"tiny.gguf#1"}
        with pytest.raises(ModelLoadError, match=r"needs about .* is free"):
            async with manager.lease_own(spec_of(models, n_ctx=100_000)):
                pass
        waiting: list[LeaseProgress] = []
        waiter = asyncio.create_task(manager.load("b", waiting.append))
        await until(lambda: kinds(waiting) == ["waiting"])
    await waiter
    assert loaded(manager) == {"b"}


async def test_lease_own_given_a_lost_worker_then_it_is_not_loaded_again_by_itself(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    manager = make()
    async with manager.lease_own(spec_of(models)) as own:
        maker.made["tiny.gguf#1"][0].kill("killed.")
        with pytest.raises(WorkerLostError, match="killed"):
            await say(own)
        assert status(manager, "tiny.gguf#1").state == "failed"
    assert manager.snapshot() == ()
    maker.load_errors["tiny.gguf#1"] = [WorkerLostError("died in the load.")]
    with pytest.raises(WorkerLostError, match="died in the load"):
        async with manager.lease_own(spec_of(models)):
            pass
    assert manager.snapshot() == ()
    assert len(maker.made["tiny.gguf#1"]) == 2


async def test_lease_own_given_an_unload_by_name_then_only_force_does_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    manager = make()
    async with manager.lease_own(spec_of(models)) as own:
        with pytest.raises(EngineError, match="is in use"):
            await manager.unload("tiny.gguf#1")
        await manager.unload("tiny.gguf#1", force=True)
        with pytest.raises(EngineError):
            await say(own)
    assert manager.snapshot() == ()
    assert maker.made["tiny.gguf#1"][0].is_closed


async def test_lease_own_given_a_holder_that_gives_up_in_the_load_then_nothing_is_left(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    maker.gates["tiny.gguf#1"] = asyncio.Event()
    manager = make()

    async def hold() -> None:
        async with manager.lease_own(spec_of(models)):
            pass

    holder = asyncio.create_task(hold())
    await until(lambda: bool(maker.made.get("tiny.gguf#1")))
    holder.cancel()
    await until(lambda: maker.made["tiny.gguf#1"][0].is_closed)
    assert manager.snapshot() == ()
    with pytest.raises(ModelLoadError, match="no path of a model"):
        async with manager.lease_own(LoadSpec(model_path="")):
            pass
