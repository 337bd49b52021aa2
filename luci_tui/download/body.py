"""Take the body of an answer into the part: straight from the socket, or through the parser.

A body of an announced length is nothing but its bytes, so it is taken from the socket where there
is one to take it from. Bodies in chunks, of an unknown length, and behind a proxy come through the
parser of messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

import httpx

from luci_tui.download.answers import TryAgainError
from luci_tui.download.options import MoveOptions
from luci_tui.download.pace import Speed
from luci_tui.download.receiving import Receiver
from luci_tui.download.threads import in_thread
from luci_tui.download.wire import Wire
from luci_tui.download.writer import SYNC_EVERY_BYTES, PartWriter

WRITE_BYTES = 1 << 20
"""Bytes that are written and summed at once, in a thread."""
WRITE_S = 0.1
"""On a slow connection less is written, so that a kill costs no more than this."""
LIMITED_BYTES = 1 << 18
"""Most that is taken at once where there is a limit, so that it is kept evenly."""
MIN_LIMITED_BYTES = 1 << 14


class BodyTaker:
    """Takes the bodies of one file's answers, one after the other.

    Args:
        writer: What is taken is appended to its part.
        options: How patient it is, and the limit.
        speed: Told of every byte.
        tell: Called after each piece.
    """

    def __init__(
        self, writer: PartWriter, options: MoveOptions, speed: Speed, tell: Callable[[], None]
    ) -> None:
        self.received_bytes = 0
        """Of all answers so far, those that were thrown away too."""
        self._writer = writer
        self._part = writer.part
        self._options = options
        self._limiter = options.limiter
        self._speed = speed
        self._tell = tell
        self._now = asyncio.get_running_loop().time

    async def take(self, response: httpx.Response) -> None:
        """Write the body; what has arrived is written even if it breaks off.

        It may end early, which whoever knows the length has to notice.

        Raises:
            TryAgainError: nothing comes any more, or too slowly, or too much.
            DownloadError: the disk is full or fails.
        """
        wire = response.extensions.get("network_stream")
        n_bytes = _announced_bytes(response)
        chunks = cast("AsyncGenerator[bytes]", response.aiter_raw())
        try:
            # Closing what the parser gives closes the connection.
            async with aclosing(chunks):
                if isinstance(wire, Wire) and n_bytes is not None:
                    await self._take_directly(chunks, wire, n_bytes)
                else:
                    await self._take_parsed(chunks)
        finally:
            await self._writer.settle()

    # ---- from the socket

    async def _take_directly(self, chunks: AsyncIterator[bytes], wire: Wire, n_bytes: int) -> None:
        # The parser has read past the head; what it holds of the body comes as one piece.
        first = await self._next(chunks) or b""
        self._check_length(n_bytes)
        await self._writer.append([first])
        await self._count(len(first))
        if len(first) < n_bytes:
            receiver = Receiver(self._part, wire.sock)
            try:
                await self._receive(receiver, n_bytes - len(first))
            finally:
                await in_thread(receiver.close)

    async def _receive(self, receiver: Receiver, n_left: int) -> None:
        heard_at_s = self._now()
        while n_left > 0:
            n_most = min(n_left, self._piece_bytes())
            received = await self._writer.receive(receiver, n_most, WRITE_S)
            n_left -= received.n_bytes
            if received.n_bytes:
                await self._count(received.n_bytes)
                heard_at_s = self._now()
            elif self._now() - heard_at_s >= self._options.stall_s:
                raise self._nothing_comes()
            if received.end and n_left:
                msg = f"The connection broke off ({received.end})."
                raise TryAgainError(msg)
            self._tell()

    def _piece_bytes(self) -> int:
        limit = self._limiter.bytes_per_s
        if limit <= 0:
            return SYNC_EVERY_BYTES
        return max(MIN_LIMITED_BYTES, min(LIMITED_BYTES, int(limit * WRITE_S)))

    # ---- through the parser

    async def _take_parsed(self, chunks: AsyncIterator[bytes]) -> None:
        pieces: list[bytes] = []
        n_waiting = 0
        written_at_s = self._now()
        try:
            while (chunk := await self._next(chunks)) is not None:
                self._check_length(n_waiting + len(chunk))
                pieces.append(chunk)
                n_waiting += len(chunk)
                if n_waiting >= WRITE_BYTES or self._now() - written_at_s >= WRITE_S:
                    await self._writer.append(pieces)
                    pieces, n_waiting = [], 0
                    written_at_s = self._now()
                await self._count(len(chunk))
        finally:
            if pieces:
                await self._writer.append(pieces)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._options.stall_s):
                return await anext(chunks)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise self._nothing_comes() from error

    # ---- both

    async def _count(self, n_bytes: int) -> None:
        self.received_bytes += n_bytes
        self._speed.note(n_bytes, self._now())
        await self._limiter.take(n_bytes)
        self._tell()
        # Below a limit it is slow because it was told to be.
        if self._limiter.bytes_per_s <= 0 and self._speed.is_slow_tail():
            msg = "The connection has become very slow."
            raise TryAgainError(msg)

    def _check_length(self, n_bytes: int) -> None:
        size_bytes = self._part.size_bytes
        if size_bytes is not None and self._writer.length + n_bytes > size_bytes:
            name = self._part.wanted.destination.name
            msg = f"The server sends more than the {size_bytes} bytes of {name}."
            raise TryAgainError(msg, restart=True)

    def _nothing_comes(self) -> TryAgainError:
        return TryAgainError(f"Nothing has arrived for {self._options.stall_s:.0f} s.")


def _announced_bytes(response: httpx.Response) -> int | None:
    is_plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
    length = response.headers.get("content-length", "")
    return int(length) if is_plain and length.isascii() and length.isdigit() else None
