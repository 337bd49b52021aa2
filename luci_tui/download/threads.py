"""Blocking work in a thread that nobody abandons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_thread(
    function: Callable[..., T],
    *arguments: object,
    on_cancel: Callable[[], None] | None = None,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Run blocking work in a thread, and return or be cancelled only when it has ended.

    `asyncio.to_thread` leaves the thread to itself when its task is cancelled. What it works on
    may be closed by then, and its file descriptor may belong to another file.

    Args:
        function: The work.
        arguments: Its arguments.
        on_cancel: Called when the task is cancelled meanwhile; may tell the work to end early.
        undo: Given the result where the task was cancelled, so that nobody will use it.
    """
    return await ended(submitted(function, *arguments), on_cancel=on_cancel, undo=undo)


def submitted(function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
    """Begin blocking work in a thread; whoever begins it has to wait for it with `ended`."""
    # A future, not a task: the end of the event loop cancels all tasks.
    return asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments))


async def ended(
    future: asyncio.Future[T],
    *,
    on_cancel: Callable[[], None] | None = None,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Wait for work in a thread, see `in_thread`."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
            if on_cancel is not None:
                on_cancel()
    if cancelled is None:
        return future.result()
    if future.exception() is None and undo is not None:
        await asyncio.get_running_loop().run_in_executor(None, undo, future.result())
    raise cancelled
