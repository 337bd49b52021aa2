"""A chat store with a thread of its own, for callers in an event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from luci_tui.chat.store import ChatStore

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Makes every call of one store in one thread, in the order in which they are asked for.

    Only what `submit` is given does not wait for others in the queue: with several chats at once, a
    piece of an answer would else wait for each message that has to be on the disk first.
    """

    def __init__(self, store: ChatStore, executor: ThreadPoolExecutor) -> None:
        """Use `open` instead."""
        self._store = store
        self._executor = executor
        self._first: deque[Callable[[], None]] = deque()
        """What `submit` was given and has not begun."""

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
        """Begin a call like `run` before all that wait, and return its future."""
        future: Future[T] = Future()
        self._first.append(partial(_fulfil, future, partial(method, self._store, *args, **kwargs)))
        self._executor.submit(self._do_first)
        return asyncio.wrap_future(future)

    async def call(self, function: Callable[[], T]) -> T:
        """Call any function that blocks shortly, in the same order."""

        def in_turn() -> T:
            self._do_first()
            return function()

        return await asyncio.get_running_loop().run_in_executor(self._executor, in_turn)

    def _do_first(self) -> None:
        """Make the calls that do not wait for others; in the store's thread alone."""
        while self._first:
            self._first.popleft()()

    async def close(self) -> None:
        """Close the store when all calls before are done."""
        await self.call(self._store.close)
        self._executor.shutdown(wait=False)


def _fulfil(future: Future[T], function: Callable[[], T]) -> None:
    """Call a function and hand its result or its error to those who wait."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # whatever it is belongs to those who wait
        future.set_exception(error)
    else:
        future.set_result(result)
