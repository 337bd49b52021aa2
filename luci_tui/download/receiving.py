"""Take bytes from a socket into a part: two threads, no copies, no parser.

One thread receives into a buffer and writes it, the other sums it meanwhile. Both let go of the
interpreter for nearly all of the time, so they run side by side on two processors. Measured in
docs/benchmarks.md.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from dataclasses import dataclass

from luci_tui.download.part import PartFile

BUFFER_BYTES = 1 << 19
"""Written at once, and so what a kill costs; small enough to still be in the processor's cache
when it is written and summed."""
N_BUFFERS = 8
"""So far the sum may lag behind; with fewer, one thread waits for the other more often."""


@dataclass(frozen=True)
class Received:
    """What one look at the socket gave."""

    n_bytes: int
    """All of them are written."""
    end: str = ""
    """Not empty = nothing more will come, and why."""


class Receiver:
    """Fills a part from one socket. Close it before the part is used in another way.

    Args:
        part: What is received is appended to it.
        sock: Plain or TLS; nobody else may read from it any more.
    """

    def __init__(self, part: PartFile, sock: socket.socket) -> None:
        self._part = part
        self._sock = sock
        self._is_cancelled = threading.Event()
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(N_BUFFERS):
            self._free.put(bytearray(BUFFER_BYTES))
        self._full: queue.SimpleQueue[_Full | None] = queue.SimpleQueue()
        self._summing = threading.Thread(target=self._sum, name="sum", daemon=True)
        self._summing.start()

    def receive(self, max_bytes: int, for_s: float) -> Received:
        """Take what comes, until there are so many bytes or so much time is over.

        Raises:
            DownloadError: the disk is full or fails; what was written before stays.
        """
        self._sock.settimeout(for_s)
        until_s = time.monotonic() + for_s
        n_bytes = 0
        end = ""
        while n_bytes < max_bytes and not end and time.monotonic() < until_s:
            buffer = self._free.get()
            # Whole buffers lie on their own multiples in the file, where whole pages are written.
            n_wanted = BUFFER_BYTES - self._part.length % BUFFER_BYTES
            view = memoryview(buffer)[: min(n_wanted, max_bytes - n_bytes)]
            n_filled, end = self._fill(view, until_s)
            n_bytes += n_filled
            self._store(buffer, view[:n_filled])
        return Received(n_bytes, end)

    def cancel(self) -> None:
        """Let `receive` return at once; may be called from another thread."""
        self._is_cancelled.set()
        try:
            # The method of a TLS socket would make it read what is encrypted as if it were not.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already

    def close(self) -> None:
        """Return when the sum covers everything that was written."""
        self._full.put(None)
        self._summing.join()

    def _fill(self, view: memoryview, until_s: float) -> tuple[int, str]:
        n_filled = 0
        while n_filled < len(view):
            if self._is_cancelled.is_set():
                return n_filled, "it was cancelled"
            try:
                n_new = self._sock.recv_into(view[n_filled:])
            except TimeoutError:
                return n_filled, ""
            except OSError as error:  # ssl.SSLError is one
                return n_filled, str(error) or type(error).__name__
            if not n_new:
                return n_filled, "the other side closed it"
            n_filled += n_new
            if time.monotonic() >= until_s:
                break
        return n_filled, ""

    def _store(self, buffer: bytearray, view: memoryview) -> None:
        while view:
            n_written = self._part.write(view)
            self._full.put(_Full(view[:n_written]))
            view = view[n_written:]
        self._full.put(_Full(view, free=buffer))

    def _sum(self) -> None:
        while (full := self._full.get()) is not None:
            self._part.add_to_sum(full.view)
            if full.free is not None:
                self._free.put(full.free)


@dataclass(frozen=True)
class _Full:
    view: memoryview
    free: bytearray | None = None
    """A buffer that can be filled again afterwards."""
