from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoreThread]:
    opened = await StoreThread.open(tmp_path / "chats.db")
    yield opened
    await opened.close()


async def test_submit_given_calls_that_wait_then_it_comes_before_them(store: StoreThread) -> None:
    done: list[str] = []
    reached, released = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert released.wait(10)
        done.append("held")

    def piece(_: ChatStore, name: str) -> str:
        done.append(name)
        return name

    held = asyncio.create_task(store.call(hold))
    assert await asyncio.to_thread(reached.wait, 10)
    waiting = asyncio.create_task(store.call(lambda: done.append("waited")))
    await asyncio.sleep(0)
    pieces = [store.submit(piece, name) for name in ("first", "second")]
    released.set()
    assert await asyncio.wait_for(asyncio.gather(*pieces), 10) == ["first", "second"]
    await asyncio.gather(held, waiting)
    assert done == ["held", "first", "second", "waited"]


async def test_submit_given_a_call_that_fails_then_its_future_has_the_error(
    store: StoreThread,
) -> None:
    def fail(_: ChatStore) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await store.submit(fail)
    assert await store.run(ChatStore.chats) == ()
