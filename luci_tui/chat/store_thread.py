"""A chat store with a thread of its own, for callers in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from luci_tui.chat.store import ChatStore

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Makes every call of one store in one thread, in the order in which they are asked for."""

    def __init__(self, store: ChatStore, executor: ThreadPoolExecutor) -> None:
        """Use `open` instead."""
        self._store = store
        self._executor = executor

    @classmethod
    async def open(cls, path: Path, *, max_bytes: int | None = None) -> StoreThread:
        """Open a store; see ChatStore.

        Raises:
            ChatError: it cannot be opened.
        """
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chats")
        make = partial(ChatStore, path, max_bytes=max_bytes)
        try:
            store = await asyncio.get_running_loop().run_in_executor(executor, make)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(store, executor)

    @property
    def notice(self) -> str:
        """What a person should know about the opening, in one sentence; empty = nothing."""
        return self._store.notice

    async def run(
        self, method: Callable[Concatenate[ChatStore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the store, e.g. `run(ChatStore.open, chat_id)`.

        A caller that is cancelled does not stop a call that has begun.
        """
        return await self.call(partial(method, self._store, *args, **kwargs))

    def submit(
        self, method: Callable[Concatenate[ChatStore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Begin a call like `run` at once, and return its future."""
        function = partial(method, self._store, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def call(self, function: Callable[[], T]) -> T:
        """Call any function that blocks shortly, in the same order."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def close(self) -> None:
        """Close the store when all calls before are done."""
        await self.call(self._store.close)
        self._executor.shutdown(wait=False)
