"""Write a part behind the network: while one piece is written and summed, the next one arrives.

The disk is synced beside it as well. All of it happens in threads, one write and one sync at a
time; what the event loop does not wait for here it waits for in `settle`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from luci_tui.download.messages import Wanted
from luci_tui.download.part import PartFile, open_part
from luci_tui.download.receiving import Received, Receiver
from luci_tui.download.threads import ended, in_thread, submitted

SYNC_EVERY_BYTES = 16 * 1024 * 1024
MAX_UNSYNCED_BYTES = 64 * 1024 * 1024
"""A disk that does not keep up is waited for: after a loss of power at most about so much is
fetched again."""


class PartWriter:
    """A part of which one task takes care. Use `open_writer`."""

    def __init__(self, part: PartFile) -> None:
        self.part = part
        self.length = 0
        """Bytes that were handed over; the last of them may still be on their way to the file."""
        self._writing: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None

    async def take_up(self, on_progress: Callable[[], None]) -> None:
        """Go on from what an earlier time has left."""
        kept_bytes = await in_thread(self.part.kept_bytes)
        loop = asyncio.get_running_loop()
        is_cancelled = threading.Event()

        def goes_on(_: int) -> bool:
            loop.call_soon_threadsafe(on_progress)
            return not is_cancelled.is_set()

        await in_thread(self.part.rehash, kept_bytes, goes_on, on_cancel=is_cancelled.set)
        self.length = self.part.length

    async def append(self, pieces: list[bytes]) -> None:
        """Hand bytes over to be written; if it is cancelled, they were not taken.

        Raises:
            DownloadError: the disk is full or fails, perhaps at bytes from before.
        """
        await self._written()
        await self._keep_synced()
        self._writing = submitted(self.part.append, pieces)
        self.length += sum(len(piece) for piece in pieces)

    async def receive(self, receiver: Receiver, max_bytes: int, for_s: float) -> Received:
        """Take bytes from a socket, see `Receiver`; if it is cancelled, what came is kept.

        Raises:
            DownloadError: the disk is full or fails.
        """
        await self._written()
        await self._keep_synced()
        try:
            return await in_thread(receiver.receive, max_bytes, for_s, on_cancel=receiver.cancel)
        finally:
            self.length = self.part.length

    async def settle(self) -> None:
        """Wait until nothing is on its way.

        Raises:
            DownloadError: the disk is full or fails.
        """
        try:
            await self._written()
        finally:
            await self._synced()

    async def restart(self) -> None:
        """Throw away what is there."""
        await self.settle()
        await in_thread(self.part.restart)
        self.length = 0

    async def sync(self) -> None:
        """Put everything on the disk and say so in the state."""
        await self.settle()
        await in_thread(self.part.sync)

    async def publish(self, check: Callable[[Path], None] | None) -> str:
        """Check the whole file, give it its final name, and return its sha256."""
        await self.settle()
        return await in_thread(self.part.publish, check)

    async def close(self) -> None:
        """Write down how far it is and let go of the part, whatever happened before."""
        try:
            await self.settle()
        finally:
            await in_thread(self.part.close)

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await ended(writing)
            finally:
                # What a disk did not take is not there.
                self.length = self.part.length

    async def _synced(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            await ended(syncing)

    async def _keep_synced(self) -> None:
        unsynced_bytes = self.part.unsynced_bytes
        is_syncing = self._syncing is not None and not self._syncing.done()
        if unsynced_bytes < SYNC_EVERY_BYTES or (
            is_syncing and unsynced_bytes < MAX_UNSYNCED_BYTES
        ):
            return
        await self._synced()
        self._syncing = submitted(self.part.sync)


async def open_writer(wanted: Wanted) -> PartWriter:
    """Open the part of a file, or a new one, and lock it; see `open_part`."""
    return PartWriter(await in_thread(open_part, wanted, undo=PartFile.close))
