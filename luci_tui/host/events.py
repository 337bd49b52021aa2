"""EventLog: the events of one piece of work, kept for those who come later or come back."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from pydantic import BaseModel

from luci_tui.host.api.messages import Gap

MAX_EVENTS = 100_000
MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One event as it is sent; encoded once however many read it."""

    seq: int
    """Rises by one with every event, from 1."""
    kind: str
    data: bytes
    """JSON."""


class EventLog:
    """A bounded log with sequence numbers. Belongs to one event loop.

    Args:
        max_events: Most events kept; the oldest are dropped first.
        max_bytes: Most bytes of JSON kept.
        first_seq: Number of the first event.
    """

    def __init__(
        self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES, first_seq: int = 1
    ) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._n_bytes = 0
        self._last_seq = first_seq - 1
        self._dropped_to = 0
        """Sequence number up to which events were lost to the bounds."""
        self._is_closed = False
        self._changed = asyncio.Event()

    @property
    def last_seq(self) -> int:
        """Number of the youngest event; 0 = there was none."""
        return self._last_seq

    @property
    def n_bytes(self) -> int:
        """Bytes of JSON that are kept."""
        return self._n_bytes

    @property
    def is_closed(self) -> bool:
        """No event comes any more."""
        return self._is_closed

    def append(self, event: BaseModel, *, replaces: bool = False) -> int:
        """Add an event and return its number; one that comes after `close` is a mistake.

        Args:
            event: A model with a `kind`.
            replaces: An event of the same kind that stands last is of no use any more, as with
                progress. Whoever reads on does not miss it, so this leaves no Gap.
        """
        if self._is_closed:
            msg = "an event came after the log was closed"
            raise RuntimeError(msg)
        kind = str(getattr(event, "kind", type(event).__name__))
        if replaces and self._entries and self._entries[-1].kind == kind:
            self._n_bytes -= len(self._entries.pop().data)
        self._last_seq += 1
        entry = Entry(self._last_seq, kind, event.model_dump_json().encode())
        self._entries.append(entry)
        self._n_bytes += len(entry.data)
        self._keep_bounds()
        self._wake()
        return entry.seq

    def close(self) -> None:
        """Say that no event comes any more; those who read end after the last."""
        self._is_closed = True
        self._changed.set()

    async def wait_beyond(self, seq: int) -> None:
        """Return when there is an event after `seq`, or none can come."""
        while self._last_seq <= seq and not self._is_closed:
            await self._changed.wait()

    async def subscribe(self, after: int = 0) -> AsyncGenerator[Entry]:
        """Give every event after number `after`, then those that come, until the log is closed.

        Where events were dropped that the reader has not seen, a `gap` comes first. A number that
        this log has not reached is from another host's life: the reader gets all there is.
        """
        after = self._dropped_to - 1 if after > self._last_seq else after
        while True:
            if after < self._dropped_to:
                after = self._dropped_to
                gap = Gap(dropped_to=after)
                yield Entry(after, gap.kind, gap.model_dump_json().encode())
            batch = self._after(after)
            for entry in batch:
                after = entry.seq
                yield entry
            if batch:
                continue
            if self._is_closed:
                return
            await self._changed.wait()

    def _after(self, seq: int) -> list[Entry]:
        start = bisect_right(self._entries, seq, key=lambda entry: entry.seq)
        return self._entries[start : start + 256]

    def _keep_bounds(self) -> None:
        """Drop the oldest, an eighth more than needed, so that it happens rarely."""
        if len(self._entries) <= self._max_events and self._n_bytes <= self._max_bytes:
            return
        n_dropped = 0
        max_events, max_bytes = self._max_events * 7 // 8, self._max_bytes * 7 // 8
        while n_dropped < len(self._entries) - 1 and (
            len(self._entries) - n_dropped > max_events or self._n_bytes > max_bytes
        ):
            self._n_bytes -= len(self._entries[n_dropped].data)
            n_dropped += 1
        if n_dropped:
            self._dropped_to = self._entries[n_dropped - 1].seq
            del self._entries[:n_dropped]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
