"""Stores a reply while it streams, often enough that a crash loses next to nothing of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from luci_tui.chat.records import Message
from luci_tui.chat.rows import Pieces
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.engine import frames
from luci_tui.errors import ChatError

STORE_INTERVAL_S = 0.05
"""From one piece on the disk to the next; with the time of the write itself, text waits well
below the 250 ms that a crash may cost."""


class Recorder:
    """Collects what a reply gains and stores it in pieces, in a task of its own.

    While the store cannot be written, what was collected is kept and tried again.
    """

    def __init__(self, store: StoreThread, chat_id: str, reply: Message) -> None:
        self._store = store
        self._chat_id = chat_id
        self.reply = reply
        self.whole = Pieces()
        """Everything so far."""
        self._waiting: list[frames.Delta] = []
        self._has_more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to store."""
        self._task = asyncio.create_task(self._store_pieces())

    def add(self, delta: frames.Delta) -> None:
        """Take what came."""
        self.whole.add(delta.text, delta.reasoning, delta.tool_calls)
        self._waiting.append(delta)
        self._has_more.set()

    async def finish(self, message: Message) -> str:
        """Store the reply as it ended.

        Returns:
            Why it could not be stored, in one sentence; empty = it was.
        """
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        try:
            await self._store.run(ChatStore.finish, self._chat_id, message)
        except ChatError as error:
            return error.message
        return ""

    async def _store_pieces(self) -> None:
        while True:
            await self._has_more.wait()
            self._has_more.clear()
            taken, self._waiting = self._waiting, []
            try:
                await self._store.run(
                    ChatStore.append,
                    self._chat_id,
                    self.reply.id,
                    "".join(delta.text for delta in taken),
                    "".join(delta.reasoning for delta in taken),
                    tuple(call for delta in taken for call in delta.tool_calls),
                )
            except ChatError:
                # `finish` says so if it stays like this.
                self._waiting = taken + self._waiting
                self._has_more.set()
            await asyncio.sleep(STORE_INTERVAL_S)
