from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from luci_tui.tui import pauses
from luci_tui.tui.pauses import QUIET_S, collect_when_quiet


class Cycle:
    def __init__(self) -> None:
        self.own = self


def old_garbage(when_gone: Callable[[], None]) -> weakref.ref[Cycle]:
    """Make garbage that only a full collection finds."""
    cycle = Cycle()
    gone = weakref.ref(cycle, lambda _: when_gone())
    gc.collect(1)
    gc.collect(1)
    return gone


async def is_collected(quiet_s: float) -> bool:
    n_looks = 0
    has_looked = asyncio.Event()

    def looked() -> float:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 2:
            has_looked.set()
        return quiet_s

    before = gc.get_threshold()
    collecting = asyncio.create_task(collect_when_quiet(looked, look_s=0.001))
    await asyncio.sleep(0)
    assert gc.get_threshold() != before
    gone = old_garbage(has_looked.set)
    async with asyncio.timeout(10):
        await has_looked.wait()
    collecting.cancel()
    await asyncio.wait([collecting])
    assert gc.get_threshold() == before
    return gone() is None


@pytest.mark.parametrize(("quiet_s", "expected"), [(QUIET_S + 1, True), (QUIET_S - 1, False)])
async def test_collect_when_quiet_given_garbage_then_waits_until_nobody_types(
    monkeypatch: pytest.MonkeyPatch, quiet_s: float, *, expected: bool
) -> None:
    monkeypatch.setattr(pauses, "ENOUGH", 0)
    assert await is_collected(quiet_s) is expected


async def test_collect_when_quiet_given_too_much_then_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "TOO_MUCH", 0)
    assert await is_collected(0.0)
