"""HTTP/1.1 over a unix socket, as small as the way to the host allows.

A front end reads an event of an answer every few milliseconds while the model computes on the same
cores, so what a piece of a body costs here is taken from the model's speed; and every command waits
for what this module imports.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httptools

CONNECT_S = 5.0
KEEP_S = 30.0
"""A connection that was not used for so long is not used again; the host keeps it for longer."""
MAX_WAITING_BYTES = 1024 * 1024
"""When so much of a body waits to be read, the host is made to wait."""


class BrokenAnswerError(ConnectionError):
    """The connection ended, or brought what is no HTTP, before the answer was whole."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    content_type: str
    """Empty = none was sent."""
    content: bytes


class UnixHttp:
    """Connections to one socket, each of which carries one request at a time.

    Belongs to one event loop.

    Args:
        socket: Where the server listens.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self.is_closed = False

    async def request(self, method: str, path: str, body: bytes | None, wait_s: float) -> Answer:
        """Send one request and return the whole answer.

        Args:
            method: In capitals.
            path: With the query; nothing but ASCII without spaces.
            body: JSON; None = none.
            wait_s: Longest wait for the next piece of the answer.

        Raises:
            OSError: the server cannot be reached or the answer broke off.
            TimeoutError: nothing came for `wait_s`.
        """
        async with self.stream(method, path, body, wait_s) as answer:
            return await answer.whole()

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes | None, wait_s: float
    ) -> AsyncGenerator[StreamedAnswer]:
        """Send one request and give its answer as soon as the status is known.

        An answer that was not read to its end costs the connection, which tells the server.

        Args:
            method: See `request`.
            path: See `request`.
            body: See `request`.
            wait_s: See `request`.

        Raises:
            OSError: the server cannot be reached or the answer broke off.
            TimeoutError: nothing came for `wait_s`.
        """
        head = _head(method, path, body)
        connection = await self._connection()
        self._busy.add(connection)
        try:
            connection.send(head + (body or b""), wait_s)
            await connection.wait_for_head()
            yield StreamedAnswer(connection)
        finally:
            self._busy.discard(connection)
            if connection.may_serve_again and not self.is_closed:
                connection.rest()
                self._idle.append(connection)
            else:
                connection.abort()

    def close(self) -> None:
        """End all connections; answers that are being read break off."""
        self.is_closed = True
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()

    async def _connection(self) -> _Connection:
        if self.is_closed:
            msg = "the client is closed"
            raise BrokenAnswerError(msg)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.abort()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, made = await loop.create_unix_connection(_Connection, str(self._socket))
        except TimeoutError as error:
            msg = f"no connection within {CONNECT_S:g} s"
            raise BrokenAnswerError(msg) from error
        return made


class StreamedAnswer:
    """An answer whose body is still coming."""

    def __init__(self, connection: _Connection) -> None:
        self.status = connection.status
        self.content_type = connection.content_type
        self._connection = connection

    async def whole(self) -> Answer:
        """Read it to its end."""
        content = b"".join([piece async for piece in self.pieces()])
        return Answer(self.status, self.content_type, content)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Give the body in the pieces in which it arrives."""
        while piece := await self._connection.read():
            yield piece


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the methods that begin with `on_`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rests_since_s = 0.0
        self._is_paused = False
        self._begin(0.0)

    def _begin(self, wait_s: float) -> None:
        """Make ready for one answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._n_waiting = 0
        self._has_head = False
        self._is_complete = False
        self._wait_s = wait_s
        self._deadline_s = 0.0
        self.status = 0
        self.content_type = ""
        self.may_serve_again = False
        """The answer is whole, and the server keeps the connection."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenAnswerError(f"no HTTP was received: {error}"))
            self.abort()
            return
        if self._n_waiting > MAX_WAITING_BYTES and not self._is_paused and self._transport:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or BrokenAnswerError("the connection was closed"))
        if self._timer is not None:
            self._timer.cancel()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._n_waiting += len(body)

    def on_message_complete(self) -> None:
        self._is_complete = True
        self.may_serve_again = self._parser.should_keep_alive()

    # What the client calls.

    def is_fresh(self) -> bool:
        """Tell whether an idle connection can be used: the server has neither closed nor spoken."""
        if self._error is not None or self._transport is None:
            return False
        if self._loop.time() - self._rests_since_s > KEEP_S:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def send(self, request: bytes, wait_s: float) -> None:
        """Begin a request."""
        self._begin(wait_s)
        if self._transport is not None:
            self._transport.write(request)

    async def wait_for_head(self) -> None:
        """Return when the status is known."""
        while not self._has_head:
            await self._wait()

    async def read(self) -> bytes:
        """Return what has come of the body; b"" = its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            await self._wait()
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._n_waiting = 0
        self._resume()
        return data

    def rest(self) -> None:
        """Be without a request until the next one."""
        self._pieces.clear()
        self._resume()
        self._rests_since_s = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        """Wait until something happens.

        Raises:
            OSError: the connection is gone.
            TimeoutError: nothing came in time.
        """
        if self._error is not None:
            raise self._error
        self._deadline_s = self._loop.time() + self._wait_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline_s, self._check_deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _check_deadline(self) -> None:
        """Look when time is up whether it was: a timer for each piece would cost more than it."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline_s:
            self._timer = self._loop.call_at(self._deadline_s, self._check_deadline)
        else:
            self._waiter.set_exception(TimeoutError(f"nothing for {self._wait_s:g} s"))

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self.may_serve_again = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _head(method: str, path: str, body: bytes | None) -> bytes:
    if not path.isascii() or any(letter <= " " or letter == "\x7f" for letter in path):
        msg = f"the path {path!r} has to be quoted"
        raise ValueError(msg)
    lines = [f"{method} {path} HTTP/1.1", "host: luci"]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    elif method == "POST":
        lines.append("content-length: 0")
    return "\r\n".join([*lines, "", ""]).encode()
