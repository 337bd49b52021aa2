"""Stores a reply while it streams, often enough that a crash loses next to nothing of it."""

from __future__ import annotations

import asyncio
from functools import partial

from luci_tui.chat.records import Message
from luci_tui.chat.rows import Pieces
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.engine import frames
from luci_tui.errors import ChatError

STORE_INTERVAL_S = 0.05
"""Least time from one piece on the disk to the next. What comes later than that is stored at
once, and the rest when it has passed; so text waits well below the 250 ms that a crash may cost."""


class Recorder:
    """Collects what a reply gains and stores it in pieces, one after the other.

    While the store cannot be written, what was collected is kept and tried again.
    """

    def __init__(self, store: StoreThread, chat_id: str, reply: Message) -> None:
        self._store = store
        self._chat_id = chat_id
        self.reply = reply
        self.whole = Pieces()
        """Everything so far."""
        self._waiting: list[frames.Delta] = []
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        """When the next piece may be stored, by the loop's clock."""
        self._is_ended = False

    def add(self, delta: frames.Delta) -> None:
        """Take what came, and store it if it is time."""
        self.whole.add(delta.text, delta.reasoning, delta.tool_calls)
        self._waiting.append(delta)
        self._store_if_due()

    async def finish(self, message: Message) -> str:
        """Store the reply as it ended.

        Returns:
            Why it could not be stored, in one sentence; empty = it was.
        """
        self._is_ended = True
        self._stop_timer()
        try:
            await self._store.run(ChatStore.finish, self._chat_id, message)
        except ChatError as error:
            return error.message
        return ""

    def _store_if_due(self) -> None:
        if self._is_ended or self._writing is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_s:
            if self._timer is None:
                self._timer = loop.call_at(self._next_s, self._timer_ran_out)
            return
        # No task in between: a busy machine would make each hop a wait.
        self._stop_timer()
        self._next_s = loop.time() + STORE_INTERVAL_S
        taken, self._waiting = self._waiting, []
        self._writing = self._store.submit(
            ChatStore.append,
            self._chat_id,
            self.reply.id,
            "".join(delta.text for delta in taken),
            "".join(delta.reasoning for delta in taken),
            tuple(call for delta in taken for call in delta.tool_calls),
        )
        self._writing.add_done_callback(partial(self._written, taken))

    def _timer_ran_out(self) -> None:
        self._timer = None
        self._store_if_due()

    def _written(self, taken: list[frames.Delta], writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = None if writing.cancelled() else writing.exception()
        if error is not None:
            # `finish` stores everything, or says why it cannot.
            self._waiting = taken + self._waiting
        self._store_if_due()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
