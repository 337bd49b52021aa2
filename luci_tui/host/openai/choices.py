"""Several answers to one request at once, as one stream of (index, event)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Session

_QUEUE_EVENTS = 64

Choice = tuple[int, frames.GenerateEvent]


async def stream(session: Session, commands: Sequence[frames.Generate]) -> AsyncGenerator[Choice]:
    """Run all commands side by side; closing the iterator cancels what still runs.

    Raises:
        ApiError: one of them is refused or failed, which ends all.
    """
    if len(commands) == 1:
        async with aclosing(session.generate(commands[0])) as events:
            async for event in events:
                yield 0, event
        return
    queue: asyncio.Queue[Choice | Exception] = asyncio.Queue(_QUEUE_EVENTS)
    tasks = [
        asyncio.create_task(_pump(session, command, index, queue))
        for index, command in enumerate(commands)
    ]
    try:
        n_done = 0
        while n_done < len(commands):
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            n_done += isinstance(item[1], frames.Done)
            yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    session: Session,
    command: frames.Generate,
    index: int,
    queue: asyncio.Queue[Choice | Exception],
) -> None:
    try:
        async with aclosing(session.generate(command)) as events:
            async for event in events:
                await queue.put((index, event))
    except Exception as error:  # raised again where the answer is read
        await queue.put(error)
