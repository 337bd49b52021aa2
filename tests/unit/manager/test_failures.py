from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from luci_tui.errors import ModelLoadError, WorkerLostError
from luci_tui.manager.health import RestartPolicy
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.progress import FellBack, LeaseProgress, Restarting
from tests.support.fake_clock import FakeClock
from tests.support.manager_use import crash, loaded, say, status, use
from tests.support.managers import EngineMaker, Models
from tests.support.waiting import until

POLICY = RestartPolicy()
Make = Callable[..., ModelManager]


async def test_worker_given_a_crash_then_the_next_lease_starts_it_again(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager = make()
    async with manager.lease("a") as lease:
        assert await say(lease)
        maker.made["a"][0].kill("the worker was killed.")
        with pytest.raises(WorkerLostError):
            await say(lease)
    progress: list[LeaseProgress] = []
    async with manager.lease("a", progress.append) as lease:
        assert await say(lease)
    assert progress[0] == Restarting(name="a", in_s=0, reason="the worker was killed.")
    now = status(manager, "a")
    assert (now.n_restarts, now.last_error) == (1, "the worker was killed.")


async def test_worker_given_a_death_while_idle_then_nobody_gets_it(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a")
    manager = make()
    await use(manager, "a")
    maker.made["a"][0].kill("killed while idle.")
    assert status(manager, "a").n_restarts == 1
    assert await use(manager, "a")
    await until(lambda: maker.made["a"][0].is_closed)
    assert len(maker.alive("a")) == 1


async def test_worker_given_answers_between_crashes_then_no_delay_grows(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a")
    manager = make()
    for _ in range(POLICY.max_quick_deaths + 2):
        assert await use(manager, "a")
        await crash(manager, maker, "a")
    assert clock.sleeping_s == []
    assert status(manager, "a").retry_in_s == 0


async def test_worker_given_crashes_in_a_row_then_delays_grow_and_it_is_given_up_for_a_while(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a")
    manager = make(default_ttl_s=-1)
    delays: list[float] = []
    for _ in range(POLICY.max_quick_deaths):
        crashing = asyncio.create_task(crash(manager, maker, "a"))
        await until(lambda task=crashing: task.done() or bool(clock.sleeping_s))
        delays += clock.sleeping_s
        await clock.move(max(clock.sleeping_s, default=0.0))
        await crashing
    assert delays == [0.5, 1.0, 2.0]
    with pytest.raises(
        WorkerLostError, match=r"5 workers in a row.*crash 5\..*again in 1 min"
    ) as gone:
        await use(manager, "a")
    assert gone.value.code == "crash_loop"
    assert status(manager, "a").state == "failed"
    assert status(manager, "a").retry_in_s == 60
    await clock.move(60)
    assert await use(manager, "a")


async def test_load_given_crashes_then_it_is_tried_again_until_it_works(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a")
    maker.load_errors["a"] = [WorkerLostError(f"load crash {n}.") for n in range(2)]
    manager = make()
    progress: list[LeaseProgress] = []
    waiter = asyncio.create_task(manager.load("a", progress.append))
    await until(lambda: clock.sleeping_s == [0.5])
    await clock.move(0.5)
    await waiter
    restarts = [one for one in progress if isinstance(one, Restarting)]
    assert [(one.in_s, one.reason) for one in restarts] == [
        (0.0, "load crash 0."),
        (0.5, "load crash 1."),
    ]
    assert len(maker.made["a"]) == 3


async def test_fallback_given_a_crash_loop_then_the_next_model_answers_and_it_is_said(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a", fallbacks=("gone", "b"))
    models.add("b")
    maker.load_errors["a"] = [WorkerLostError("crash.") for _ in range(POLICY.max_quick_deaths)]
    manager = make(default_ttl_s=-1)
    progress: list[LeaseProgress] = []

    async def ask() -> str:
        async with manager.lease("a", progress.append) as lease:
            assert await say(lease)
            return lease.entry.name

    waiter = asyncio.create_task(ask())
    for delay_s in (0.5, 1.0, 2.0):
        await until(lambda delay_s=delay_s: delay_s in clock.sleeping_s)
        await clock.move(delay_s)
    assert await waiter == "b"
    fell = [one for one in progress if isinstance(one, FellBack)]
    assert [(one.wanted, one.name) for one in fell] == [("a", "b")]
    assert "5 workers in a row" in fell[0].reason
    assert await ask() == "b"
    await clock.move(60)
    assert await ask() == "a"


async def test_fallback_given_a_refused_load_then_it_is_not_tried_again_at_once(
    make: Make, models: Models, maker: EngineMaker, clock: FakeClock
) -> None:
    models.add("a", fallbacks=("b",))
    models.add("b")
    maker.load_errors["a"] = [ModelLoadError("no.", code="bad_file")]
    manager = make(default_ttl_s=-1)
    for _ in range(2):
        async with manager.lease("a") as lease:
            assert lease.entry.name == "b"
    assert len(maker.made["a"]) == 1
    await clock.move(POLICY.failed_load_s)
    async with manager.lease("a") as lease:
        assert lease.entry.name == "a"


async def test_fallback_given_a_circle_that_fails_then_every_reason_is_told(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", fallbacks=("b",))
    models.add("b", fallbacks=("a", "c"))
    models.add("c")
    for name in "abc":
        maker.load_errors[name] = [ModelLoadError(f"no {name}.", code=f"bad_{name}")]
    with pytest.raises(
        ModelLoadError, match=r"no a\. Its fallbacks failed too: no b\. no c\."
    ) as all_:
        await use(make(), "a")
    assert all_.value.code == "bad_a"


async def test_load_given_a_fallback_then_only_the_model_itself_counts(
    make: Make, models: Models, maker: EngineMaker
) -> None:
    models.add("a", fallbacks=("b",))
    models.add("b")
    maker.load_errors["a"] = [ModelLoadError("no a.", code="bad_file")]
    manager = make()
    with pytest.raises(ModelLoadError, match="no a"):
        await manager.load("a")
    assert loaded(manager) == set()
    assert status(manager, "a").last_error == "no a."
