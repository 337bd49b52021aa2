from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from luci_tui.engine import frames
from luci_tui.errors import CatalogError, EngineError, ModelLoadError, WorkerLostError
from luci_tui.manager.entries import Endpoint
from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.progress import LeaseProgress, Waiting
from luci_tui.manager.startup import Patience
from tests.support.fake_clock import FakeClock, settle
from tests.support.manager_use import loaded, say, size_of, status, use
from tests.support.managers import EngineMaker, Models, kinds
from tests.support.waiting import until

POLICY = RestartPolicy()
Make = Callable[..., ModelManager]


async def test_lease_given_a_model_then_it_is_loaded_once_and_answers(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", n_ctx=640)
    manager, progress = make(), list[LeaseProgress]()
    async with manager.lease("a", progress.append) as lease:
        assert (lease.entry.name, lease.info.n_ctx) == ("a", 640)
        assert (await say(lease, "one two")).startswith("one two")
        assert status(manager, "a").n_leases == 1
    assert kinds(progress) == ["loading"]
    fractions = [one.fraction for one in progress if one.kind == "loading"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    progress.clear()
    async with manager.lease("a", progress.append):
        assert progress == []
    assert len(maker.made["a"]) == 1
    with pytest.raises(CatalogError):
        await use(manager, "b")


async def test_lease_given_one_that_is_over_then_its_engine_refuses(
    make: Make, models: Models
) -> None:
    models.add("a")
    async with make().lease("a") as lease:
        with pytest.raises(RuntimeError, match="ask the manager"):
            lease.engine.load(models.resolve("a").load_spec())
        with pytest.raises(RuntimeError, match="leave the lease"):
            await lease.engine.close()
    with pytest.raises(RuntimeError, match="is over"):
        await lease.engine.ask(frames.Status(request_id=0))


async def test_lease_given_many_at_once_then_they_share_one_load(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    maker.gates["a"] = asyncio.Event()
    manager = make()
    asked = [asyncio.create_task(use(manager, "a")) for _ in range(5)]
    await until(lambda: bool(maker.made.get("a")))
    await settle()
    now = status(manager, "a")
    assert (now.state, now.n_leases, now.fraction) == ("loading", 5, 0.25)
    late: list[LeaseProgress] = []
    latecomer = asyncio.create_task(manager.load("a", late.append))
    await settle()
    assert kinds(late) == ["loading"]
    maker.gates["a"].set()
    answers = await asyncio.gather(*asked)
    await latecomer
    assert len(answers) == 5
    assert len(maker.made["a"]) == 1
    assert status(manager, "a").n_leases == 0


async def test_lease_given_cancelled_waiters_then_the_load_stops_with_the_last(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    maker.gates["a"] = asyncio.Event()
    manager = make()
    first, second = (asyncio.create_task(use(manager, "a")) for _ in range(2))
    await until(lambda: bool(maker.made.get("a")))
    first.cancel()
    await settle()
    assert not maker.made["a"][0].is_closed
    second.cancel()
    await until(lambda: maker.made["a"][0].is_closed)
    await settle()
    assert manager.snapshot() == ()
    maker.gates["a"].set()
    assert await use(manager, "a")


async def test_lease_given_a_waiter_that_is_cancelled_at_once_then_nothing_is_left(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager = make()
    waiter = asyncio.create_task(use(manager, "a"))
    await asyncio.sleep(0)
    waiter.cancel()
    await settle()
    assert manager.snapshot() == ()
    assert maker.made == {}
    assert await use(manager, "a")


async def test_lease_given_a_full_memory_then_the_least_recently_used_leaves(
    make: Make, models: Models, clock: FakeClock
) -> None:
    for name in "abc":
        models.add(name)
    manager = make(2 * size_of(models, "a"))
    for name in ("b", "a", "b"):
        await use(manager, name)
        await clock.move(1)
    progress: list[LeaseProgress] = []
    async with manager.lease("c", progress.append):
        assert loaded(manager) == {"b", "c"}
    assert kinds(progress) == ["evicting", "loading"]


async def test_lease_given_a_pinned_model_then_it_stays_and_the_refusal_has_numbers(
    make: Make, models: Models, clock: FakeClock
) -> None:
    models.add("kept", pinned=True)
    models.add("big", n_ctx=4096)
    manager = make(size_of(models, "big"), default_ttl_s=5)
    await use(manager, "kept")
    await clock.move(100)
    with pytest.raises(ModelLoadError, match=r"weights, .* KV cache.*Pinned models hold") as caught:
        await use(manager, "big")
    assert caught.value.code == "out_of_memory"
    assert loaded(manager) == {"kept"}
    await manager.unload("kept")
    assert await use(manager, "big")


async def test_lease_given_force_then_it_is_loaded_whatever_is_estimated(
    make: Make, models: Models
) -> None:
    models.add("a", load={"n_ctx": 512, "force": True})
    models.add("b")
    manager = make(10)
    assert await use(manager, "a")
    with pytest.raises(ModelLoadError, match="is free"):
        await use(manager, "b")


async def test_lease_given_memory_that_is_in_use_then_waits_and_goes_on(
    make: Make, models: Models
) -> None:
    models.add("a")
    models.add("b")
    manager = make(size_of(models, "a"))
    progress: list[LeaseProgress] = []
    async with manager.lease("a"):
        waiter = asyncio.create_task(manager.load("b", progress.append))
        await until(lambda: bool(progress))
        waiting = progress[0]
        assert isinstance(waiting, Waiting)
        assert "waiting for a" in waiting.reason
        assert loaded(manager) == {"a"}
    await waiter
    assert kinds(progress) == ["waiting", "evicting", "loading"]
    assert loaded(manager) == {"b"}


async def test_lease_given_memory_that_stays_in_use_then_it_gives_up_in_time(
    make: Make, models: Models, clock: FakeClock
) -> None:
    models.add("a")
    models.add("b")
    manager = make(size_of(models, "a"), patience=Patience(wait_s=60, drain_after_s=20))
    async with manager.lease("a"):
        waiter = asyncio.create_task(manager.load("b"))
        await until(lambda: 20 in clock.sleeping_s)
        for _ in range(3):
            await clock.move(20)
        with pytest.raises(ModelLoadError, match="waited for 1 min") as caught:
            await waiter
        assert caught.value.code == "memory_busy"
    assert await use(manager, "a")


async def test_lease_given_one_that_waits_long_then_new_leases_of_the_other_queue_behind(
    make: Make, models: Models, clock: FakeClock
) -> None:
    models.add("a")
    models.add("b")
    manager = make(size_of(models, "a"), patience=Patience(wait_s=60, drain_after_s=20))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(manager.lease("a"))
        waiter = asyncio.create_task(manager.load("b"))
        await until(lambda: 20 in clock.sleeping_s)
        async with manager.lease("a"):
            pass  # not yet
        await clock.move(20)
        progress: list[LeaseProgress] = []
        late = asyncio.create_task(manager.load("a", progress.append))
        await settle()
        assert kinds(progress) == ["waiting"]
    await waiter
    await late
    assert kinds(progress) == ["waiting", "evicting", "loading"]
    assert loaded(manager) == {"a"}


async def test_lease_given_two_loads_at_once_then_the_second_counts_what_the_first_will_take(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    models.add("b")
    maker.gates["a"] = asyncio.Event()
    manager = make(size_of(models, "a"))
    first = asyncio.create_task(use(manager, "a"))
    await until(lambda: bool(maker.made.get("a")))
    progress: list[LeaseProgress] = []
    second = asyncio.create_task(manager.load("b", progress.append))
    await until(lambda: bool(progress))
    assert kinds(progress) == ["waiting"]
    maker.gates["a"].set()
    assert await first
    await second
    assert kinds(progress) == ["waiting", "evicting", "loading"]


async def test_ttl_given_unused_models_then_each_leaves_in_its_time(
    make: Make, models: Models, clock: FakeClock
) -> None:
    models.add("short", ttl_s=10)
    models.add("default")
    models.add("never", ttl_s=-1)
    models.add("at once", ttl_s=0)
    manager = make(default_ttl_s=30)
    for name in models.entries:
        await use(manager, name)
    await until(lambda: "at once" not in loaded(manager))
    await clock.move(9)
    assert status(manager, "short").ttl_left_s == 1
    assert status(manager, "never").ttl_left_s is None
    async with manager.lease("default"):
        await clock.move(1)
        assert loaded(manager) == {"default", "never"}
        await clock.move(100)
    assert status(manager, "default").idle_s == 0
    await clock.move(30)
    assert loaded(manager) == {"never"}


async def test_workers_given_more_leases_than_slots_then_another_is_started_and_shared(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a", load={"n_ctx": 512, "n_slots": 2}, max_workers=2, ttl_s=10)
    manager = make()
    async with AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(manager.lease("a")) for _ in range(3)]
        await until(lambda: len(maker.alive("a")) == 2 and maker.made["a"][1].is_loaded)
        await settle()
        leases += [await stack.enter_async_context(manager.lease("a")) for _ in range(3)]
        await settle()
        assert [engine.number for engine in maker.alive("a")] == [0, 1]
        now = status(manager, "a")
        assert (now.n_workers, now.n_leases) == (2, 6)
        assert len({id(lease.info) for lease in leases}) == 2
    await clock.move(10)
    assert manager.snapshot() == ()


async def test_workers_given_no_memory_for_another_then_nobody_leaves_for_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", max_workers=2)
    models.add("b")
    manager = make(2 * size_of(models, "a"))
    await use(manager, "b")
    async with manager.lease("a"), manager.lease("a"):
        await until(lambda: status(manager, "a").n_workers == 1)
        assert loaded(manager) == {"a", "b"}
    assert len(maker.made["a"]) == 1
    assert status(manager, "a").last_error == ""


async def test_load_given_a_missing_file_then_says_so(make: Make, models: Models) -> None:
    models.add("a", path="/nowhere/a.gguf")
    with pytest.raises(ModelLoadError, match=r"/nowhere/a\.gguf") as caught:
        await use(make(), "a")
    assert caught.value.code == "missing_file"


async def test_entry_given_a_change_then_the_next_lease_has_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager = make()
    async with manager.lease("a") as old:
        models.add("a", system="be short")
        async with manager.lease("a") as same:
            assert same.entry.system == "be short"
            assert same.info is old.info
        models.add("a", n_ctx=1024)
        async with manager.lease("a") as new:
            assert new.info.n_ctx == 1024
        assert await say(old)
        assert len(maker.alive("a")) == 2
    await until(lambda: len(maker.alive("a")) == 1)
    assert maker.made["a"][0].is_closed


async def test_unload_given_a_model_in_use_then_only_force_does_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager = make()
    await manager.unload("a")
    async with manager.lease("a") as lease:
        with pytest.raises(EngineError, match="is in use") as caught:
            await manager.unload("a")
        assert caught.value.code == "model_busy"
        await manager.unload("a", force=True)
        assert maker.made["a"][0].is_closed
        with pytest.raises(EngineError):
            await say(lease)
    assert manager.snapshot() == ()
    assert await use(manager, "a")


async def test_unload_given_a_load_then_force_stops_it_and_no_fallback_is_tried(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", fallbacks=("b",))
    models.add("b")
    maker.gates["a"] = asyncio.Event()
    manager = make()
    waiter = asyncio.create_task(use(manager, "a"))
    await until(lambda: bool(maker.made.get("a")))
    await manager.unload("a", force=True)
    with pytest.raises(ModelLoadError, match="was stopped") as caught:
        await waiter
    assert caught.value.code == "cancelled"
    assert "b" not in maker.made


async def test_close_given_leases_then_it_waits_for_them_and_takes_no_new_ones(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    models.add("b")
    maker.gates["b"] = asyncio.Event()
    manager = make()
    async with manager.lease("a") as lease:
        loading = asyncio.create_task(use(manager, "b"))
        await until(lambda: bool(maker.made.get("b")))
        closing = asyncio.create_task(manager.close(drain_s=10))
        with pytest.raises(EngineError) as stopped:
            await loading
        assert stopped.value.code == "closing"
        assert await say(lease)
        with pytest.raises(EngineError, match="closing"):
            await use(manager, "a")
        assert not closing.done()
    await closing
    assert maker.made["a"][0].is_closed
    await manager.close()


async def test_close_given_a_lease_that_does_not_end_then_its_worker_ends_in_time(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a")
    manager = make()
    async with manager.lease("a"):
        closing = asyncio.create_task(manager.close(drain_s=10))
        await until(lambda: 10 in clock.sleeping_s)
        await clock.move(10)
        await closing
        assert maker.made["a"][0].is_closed


async def test_remote_given_no_memory_at_all_then_it_is_loaded(make: Make, models: Models) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="far")
    models.add("far", path="", endpoints=(endpoint,))
    manager = make(0)
    assert await use(manager, "far")
    assert status(manager, "far").is_remote
    assert status(manager, "far").estimated_bytes == 0


@pytest.mark.parametrize("seed", range(2))
async def test_manager_given_a_random_crowd_then_memory_is_never_promised_twice(
    make: Make, models: Models, maker: EngineMaker, seed: int
) -> None:
    rng = random.Random(seed)
    names = ["a", "b", "c", "d"]
    for index, name in enumerate(names):
        models.add(name, n_ctx=512 * (index + 1), max_workers=2, ttl_s=rng.choice([-1, 0, 1]))
    total_bytes = size_of(models, "d") + size_of(models, "a")
    manager = make(total_bytes, restarts=RestartPolicy(first_delay_s=0, max_quick_deaths=1000))
    n_crashes = 0

    def check() -> None:
        living = [one for name in names for one in maker.alive(name) if one.lost is None]
        assert sum(size_of(models, one.name) for one in living) <= total_bytes

    async def client(number: int) -> int:
        nonlocal n_crashes
        mine = random.Random(f"{seed} {number}")
        n_answers = 0
        for _ in range(6):
            name = mine.choice(names)
            try:
                async with manager.lease(name) as lease:
                    check()
                    if mine.random() < 0.1:
                        mine.choice(maker.alive(name)).kill("a crash.")
                    n_answers += bool(await say(lease))
            except WorkerLostError:
                n_crashes += 1
            check()
        return n_answers

    answers = await asyncio.gather(*(client(number) for number in range(6)))
    assert sum(answers) == 36 - n_crashes
    assert sum(one.n_leases for one in manager.snapshot()) == 0
