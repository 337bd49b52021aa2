from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from luci_tui.errors import EngineError, LuciError, ModelLoadError, WorkerLostError
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.machine import RamMachine
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.progress import LeaseProgress
from luci_tui.manager.residency import Need
from luci_tui.manager.startup import Patience
from tests.support.fake_clock import FakeClock, settle
from tests.support.manager_use import loaded, say, size_of, status, use
from tests.support.managers import EngineMaker, Models, kinds
from tests.support.waiting import until

Make = Callable[..., ModelManager]


class HeldMachine(RamMachine):
    """Knows what is free, and may never come to an end with an estimate."""

    def __init__(self, free_bytes: int, *, is_held: bool) -> None:
        super().__init__(lambda: free_bytes)
        self.asked = asyncio.Event()
        self._is_held = is_held

    async def need_of(self, entry: ModelEntry) -> Need:
        self.asked.set()
        if self._is_held:
            await asyncio.Event().wait()
        return await super().need_of(entry)


def closing(maker: EngineMaker, name: str) -> bool:
    return any(engine.is_closing for engine in maker.made.get(name, []))


async def test_lease_given_a_model_that_is_being_evicted_then_it_is_loaded_anew(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    models.add("b")
    maker.close_gates["a"] = asyncio.Event()
    manager = make(size_of(models, "a"))
    await use(manager, "a")
    evicting = asyncio.create_task(use(manager, "b"))
    await until(lambda: closing(maker, "a"))
    progress: list[LeaseProgress] = []
    again = asyncio.create_task(manager.load("a", progress.append))
    await until(lambda: kinds(progress) == ["waiting"])
    assert status(manager, "a").n_leases == 1
    maker.close_gates["a"].set()
    assert await evicting
    await again
    assert loaded(manager) == {"a"}
    assert [engine.is_closed for engine in maker.made["a"]] == [True, False]


async def test_evict_given_a_load_that_is_cancelled_meanwhile_then_the_memory_is_free_after_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    models.add("b")
    maker.close_gates["a"] = asyncio.Event()
    manager = make(size_of(models, "a"))
    await use(manager, "a")
    evicting = asyncio.create_task(use(manager, "b"))
    await until(lambda: closing(maker, "a"))
    evicting.cancel()
    await settle()
    maker.close_gates["a"].set()
    await until(lambda: manager.snapshot() == ())
    assert "b" not in maker.made
    assert await use(manager, "b")


async def test_lease_given_a_load_that_everyone_left_then_a_latecomer_gets_one_of_its_own(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    maker.gates["a"], maker.close_gates["a"] = asyncio.Event(), asyncio.Event()
    manager = make()
    first = asyncio.create_task(use(manager, "a"))
    await until(lambda: bool(maker.made.get("a")))
    first.cancel()
    await until(lambda: closing(maker, "a"))
    late = asyncio.create_task(use(manager, "a"))
    await until(lambda: len(maker.made["a"]) == 2)
    maker.gates["a"].set()
    assert await late
    maker.close_gates["a"].set()
    await until(lambda: maker.made["a"][0].is_closed)
    assert status(manager, "a").n_workers == 1


async def test_load_given_several_ends_at_once_then_its_worker_is_ended_once_and_whole(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    maker.gates["a"], maker.close_gates["a"] = asyncio.Event(), asyncio.Event()
    manager = make()
    waiters = [asyncio.create_task(use(manager, "a")) for _ in range(2)]
    await until(lambda: bool(maker.made.get("a")))
    unloads = [asyncio.create_task(manager.unload("a", force=True)) for _ in range(2)]
    await until(lambda: closing(maker, "a"))
    for waiter in waiters:
        waiter.cancel()
    closing_all = asyncio.create_task(manager.close(drain_s=0))
    await settle()
    assert not any(task.done() for task in (*unloads, closing_all))
    maker.close_gates["a"].set()
    await asyncio.gather(*unloads, closing_all)
    assert [engine.is_closed for engine in maker.made["a"]] == [True]
    assert manager.snapshot() == ()


async def test_unload_given_the_moment_a_load_ends_then_the_waiter_is_told(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    for n_steps in range(12):
        maker.made.clear()
        maker.gates["a"] = asyncio.Event()
        manager = make()
        waiter = asyncio.create_task(use(manager, "a"))
        await until(lambda: bool(maker.made.get("a")))
        maker.gates["a"].set()
        for _ in range(n_steps):
            await asyncio.sleep(0)
        await manager.unload("a", force=True)
        result = (await asyncio.gather(waiter, return_exceptions=True))[0]
        # Either it was quicker than the unload, or it gets an error that says what happened.
        assert isinstance(result, str | EngineError)
        assert manager.snapshot() == ()
        assert maker.alive("a") == []


async def test_ttl_given_a_load_that_takes_longer_then_it_is_not_ended(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a", ttl_s=5)
    models.add("b", ttl_s=5)
    maker.gates["a"] = asyncio.Event()
    manager = make()
    waiter = asyncio.create_task(use(manager, "a"))
    await until(lambda: bool(maker.made.get("a")))
    await use(manager, "b")
    await clock.move(60)
    assert [(one.name, one.state) for one in manager.snapshot()] == [("a", "loading")]
    maker.gates["a"].set()
    assert await waiter
    await clock.move(4)
    assert loaded(manager) == {"a"}
    await clock.move(1)
    assert manager.snapshot() == ()


async def test_ttl_given_a_load_whose_waiter_left_at_its_end_then_it_still_expires(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a", ttl_s=5)
    maker.gates["a"] = asyncio.Event()
    manager = make()
    waiter = asyncio.create_task(manager.load("a"))
    await until(lambda: bool(maker.made.get("a")))
    maker.gates["a"].set()
    await until(lambda: loaded(manager) == {"a"})
    waiter.cancel()
    await settle()
    await clock.move(5)
    assert manager.snapshot() == ()


async def test_loads_given_more_than_memory_holds_then_one_after_the_other_has_its_turn(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    names = "abcd"
    for name in names:
        models.add(name)
    manager = make(size_of(models, "a"))

    async def client(name: str) -> str:
        async with manager.lease(name) as lease:
            assert sum(len(maker.alive(other)) for other in names) == 1
            return await say(lease)

    assert len(await asyncio.gather(*(client(name) for name in names * 2))) == 8


async def test_load_given_a_crash_while_another_waiter_leaves_then_the_rest_get_the_model(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a")
    maker.gates["a"] = asyncio.Event()
    maker.load_errors["a"] = [WorkerLostError("died in the load.") for _ in range(2)]
    manager = make()
    stays, leaves = (asyncio.create_task(use(manager, "a")) for _ in range(2))
    await until(lambda: bool(maker.made.get("a")))
    maker.gates["a"].set()
    await until(lambda: 0.5 in clock.sleeping_s)
    leaves.cancel()
    await settle()
    await clock.move(0.5)
    assert await stays
    assert len(maker.made["a"]) == 3
    assert len(maker.alive("a")) == 1


@pytest.mark.parametrize("where", ["estimate", "backoff", "memory", "eviction", "load"])
async def test_close_given_a_load_at_any_point_then_it_ends_in_order(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock, where: str
) -> None:
    models.add("a")
    models.add("b")
    machine = HeldMachine(size_of(models, "a"), is_held=where == "estimate")
    manager = make(machine=machine, restarts=RestartPolicy(first_delay_s=9))
    progress: list[LeaseProgress] = []
    held = asyncio.Event()

    async def hold() -> None:
        async with manager.lease("b"):
            await held.wait()

    if where == "backoff":
        maker.load_errors["a"] = [WorkerLostError("died.") for _ in range(5)]
    if where in {"memory", "eviction"}:
        maker.close_gates["b"] = asyncio.Event()
    if where == "eviction":
        await use(manager, "b")
    holder = asyncio.create_task(hold()) if where == "memory" else None
    if holder is not None:
        await until(lambda: loaded(manager) == {"b"})
    if where == "load":
        maker.gates["a"] = asyncio.Event()
    waiter = asyncio.create_task(manager.load("a", progress.append))
    await {
        "estimate": machine.asked.wait,
        "backoff": lambda: until(lambda: 9 in clock.sleeping_s),
        "memory": lambda: until(lambda: kinds(progress) == ["waiting"]),
        "eviction": lambda: until(lambda: closing(maker, "b")),
        "load": lambda: until(lambda: bool(maker.made.get("a"))),
    }[where]()
    shutting = asyncio.create_task(manager.close(drain_s=5))
    with pytest.raises(EngineError) as caught:
        await waiter
    assert caught.value.code == "closing"
    for gate in maker.close_gates.values():
        gate.set()
    held.set()
    await shutting
    if holder is not None:
        await holder
    assert manager.snapshot() == () or manager.snapshot()[0].state == "failed"
    assert maker.alive("a") == maker.alive("b") == []


async def test_load_given_a_mistake_in_luci_then_everyone_is_told_and_nothing_is_left(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    maker.gates["a"] = asyncio.Event()
    maker.load_errors["a"] = [ZeroDivisionError("a mistake")]
    manager = make()
    waiters = [asyncio.create_task(use(manager, "a")) for _ in range(2)]
    await until(lambda: bool(maker.made.get("a")))
    maker.gates["a"].set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 2
    assert manager.snapshot() == ()
    assert await use(manager, "a")


async def test_workers_given_a_mistake_in_an_extra_load_then_the_others_go_on(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", max_workers=2)
    manager = make()
    async with manager.lease("a") as lease:
        maker.load_errors["a"] = [ZeroDivisionError("a mistake")]
        async with manager.lease("a"):
            await until(lambda: len(maker.made["a"]) == 2 and len(maker.alive("a")) == 1)
            assert await say(lease)
        await settle()
        assert status(manager, "a").n_workers == 1


async def test_fallback_given_a_circle_then_each_model_is_tried_once(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", fallbacks=("b",))
    models.add("b", fallbacks=("a",))
    manager = make(10)
    progress: list[LeaseProgress] = []
    with pytest.raises(ModelLoadError, match="Its fallbacks failed too: b needs") as caught:
        async with manager.lease("a", progress.append):
            pass
    assert caught.value.code == "out_of_memory"
    assert kinds(progress) == ["fell_back"]
    assert maker.made == {}


async def test_refusal_given_a_lost_worker_that_is_still_held_then_it_comes_at_once(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    spec = models.add("a").load_spec()
    models.add("big", n_ctx=100_000)
    manager = make(size_of(models, "a"), patience=Patience(wait_s=60))
    async with manager.lease_own(spec):
        maker.made["tiny.gguf#1"][0].kill("killed.")
        assert status(manager, "tiny.gguf#1").state == "failed"
        with pytest.raises(ModelLoadError) as caught:
            await use(manager, "big")
        assert caught.value.code == "out_of_memory"


def counted(manager: ModelManager) -> dict[str, int]:
    """Tell how many workers the manager says that each model has."""
    workers = dict.fromkeys("abc", 0)
    workers |= {one.name: one.n_workers for one in manager.snapshot() if one.name in workers}
    return workers


async def something(
    manager: ModelManager, maker: EngineMaker, models: Models, rng: random.Random
) -> None:
    """Do one of the things that happen to a manager."""
    name = rng.choice("abc")
    match rng.randrange(6):
        case 0:
            await manager.unload(name, force=rng.random() < 0.5)
        case 1:
            async with manager.lease_own(models.resolve("a").load_spec()) as own:
                await say(own)
        case 2 if alive := [one for one in maker.alive(name) if one.is_loaded]:
            rng.choice(alive).kill("a crash.")
        case _:
            async with manager.lease(name) as lease:
                await say(lease)


@pytest.mark.parametrize("seed", range(3))
async def test_manager_given_loads_unloads_crashes_and_cancels_at_random_then_it_stays_sound(
    make: Make, models: Models, maker: EngineMaker, seed: int
) -> None:
    names = ["a", "b", "c"]
    for index, name in enumerate(names):
        models.add(name, n_ctx=512 * (index + 1), max_workers=2, fallbacks=(names[index - 1],))
    total_bytes = size_of(models, "c") + size_of(models, "a")
    manager = make(total_bytes, restarts=RestartPolicy(first_delay_s=0, max_quick_deaths=1000))

    async def client(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        for _ in range(12):
            task = asyncio.create_task(something(manager, maker, models, rng))
            if rng.random() < 0.3:
                for _ in range(rng.randrange(60)):
                    await asyncio.sleep(0)
                task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            assert done is None or isinstance(done, LuciError | asyncio.CancelledError)

    async with asyncio.timeout(40):
        await asyncio.gather(*(client(number) for number in range(5)))
    await until(lambda: all(one.state in {"ready", "failed"} for one in manager.snapshot()))
    assert sum(one.n_leases for one in manager.snapshot()) == 0
    # A further worker may still be on its way up; a count that is wrong stays wrong.
    await until(lambda: counted(manager) == {n: len(maker.alive(n)) for n in names})
    alive = [engine for name in names for engine in maker.alive(name)]
    assert all(engine.is_loaded and engine.lost is None for engine in alive)
    assert {one.name for one in manager.snapshot()} <= set(names)
    for name in names:
        assert await use(manager, name)
