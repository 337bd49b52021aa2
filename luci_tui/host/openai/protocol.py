"""One connection: uvicorn's HTTP/1.1 protocol with limits on what it lacks limits for.

Those are the time and the size of a request's headers, the time that a client leaves an answer
unread, the number of connections, and targets that name another host. Refusals have the same shape
as everywhere else.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from luci_tui.host.openai.errors import RETRY_AFTER_S, ApiError, body_for
from luci_tui.host.openai.settings import ServeSettings

LINGER_S = 1.0
"""How long the rest of a refused request is read and dropped, so that the refusal arrives."""


class RefusedError(Exception):
    """Raised inside the parser to make it stop."""


class _LingeringTransport(asyncio.Transport):
    """What one request writes to; its `close` is the protocol's."""

    def __init__(self, protocol: GuardedProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close()


class GuardedProtocol(HttpToolsProtocol):
    """See the module. `limits` makes a class with the settings in it."""

    settings = ServeSettings()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        """Runs while the client takes in nothing of what waits for it."""
        self._refusal: ApiError | None = None
        self._is_in_headers = True
        self._is_in_body = False
        self._is_deaf = False
        """What comes in is dropped."""
        self._n_header_bytes = 0
        self._n_unparsed_bytes = 0
        """Of headers that have not ended yet."""
        self._has_ended = False
        """A message came to its end in the data that is parsed now."""

    @classmethod
    def limits(cls, settings: ServeSettings) -> type[GuardedProtocol]:
        """Return the class for these settings, as uvicorn's `http` wants it."""
        return type("LimitedProtocol", (cls,), {"settings": settings})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        self._start_header_timer()
        if len(self.connections) > self.settings.max_connections:
            self._send_refusal(
                ApiError(
                    503,
                    "too_many_connections",
                    f"{self.settings.max_connections} connections are open, which is the limit. "
                    "Try again later.",
                    retry_after_s=RETRY_AFTER_S,
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_header_timer()
        self._stop_unread_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came in, unless this connection is being closed."""
        if self._is_deaf or self.transport.is_closing():
            return
        if self._header_timer is None and not self._is_answering() and not self._is_in_body:
            self._start_header_timer()
        self._has_ended = False
        super().data_received(data)
        if self._is_in_headers and not self._has_ended:
            # A header that never ends is not handed out by the parser, but it grows there.
            self._n_unparsed_bytes += len(data)
            if self._n_unparsed_bytes > self.settings.max_header_bytes and not self._is_deaf:
                self._send_refusal(self._headers_too_large())

    def on_message_begin(self) -> None:
        """Start to count a request's headers."""
        super().on_message_begin()
        self._is_in_headers = True
        self._n_header_bytes = self._n_unparsed_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        super().on_header(name, value)
        self._count_header(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """Refuse targets that are no path, then hand the request to the app."""
        self._stop_header_timer()
        self._is_in_headers, self._is_in_body = False, True
        if not self.url.startswith(b"/"):
            self._stop(
                ApiError(
                    400,
                    "invalid_target",
                    "The request target is not a path. Send `GET /path`, and the host as Host.",
                )
            )
        super().on_headers_complete()
        self.cycle.transport = _LingeringTransport(self)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self._is_in_headers, self._is_in_body = True, False
        self._n_unparsed_bytes, self._has_ended = 0, True

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read; an answer that is on its way comes first."""
        refusal = self._refusal or ApiError(400, "invalid_http", f"{msg} Send HTTP/1.1.")
        if not self._is_answering() or (self._is_in_body and not self.cycle.response_started):
            self._send_refusal(refusal)
        elif self._is_in_body:
            self.transport.close()
        else:
            self.cycle.keep_alive = False
            self._is_deaf = True

    def pause_writing(self) -> None:
        """Start the clock for a client that does not read; at its end the connection is cut."""
        super().pause_writing()
        timeout_s = self.settings.write_timeout_s
        self._unread_timer = self.loop.call_later(timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock."""
        self._stop_unread_timer()
        super().resume_writing()

    def eof_received(self) -> None:
        """End a connection that was kept open only to be read."""
        if self._is_deaf:
            self.transport.close()

    def _is_answering(self) -> bool:
        # Uvicorn says None for "no request yet", but not in its types.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _count_header(self, n_bytes: int) -> None:
        self._n_header_bytes += n_bytes
        if self._n_header_bytes > self.settings.max_header_bytes:
            self._stop(self._headers_too_large())

    def _headers_too_large(self) -> ApiError:
        return ApiError(
            431,
            "headers_too_large",
            f"The request's headers are longer than {self.settings.max_header_bytes} bytes. "
            "Send fewer.",
        )

    def _stop(self, refusal: ApiError) -> None:
        """Leave the parser; uvicorn then asks for `send_400_response`."""
        self._refusal = refusal
        raise RefusedError(refusal.code)

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(
            self.settings.header_timeout_s, self._on_header_timeout
        )

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _on_header_timeout(self) -> None:
        self._header_timer = None
        if self._is_answering() or self.transport.is_closing():
            return
        self._send_refusal(
            ApiError(
                408,
                "request_timeout",
                f"The headers did not arrive within {self.settings.header_timeout_s:g} s. "
                "Send them faster.",
            )
        )

    def _send_refusal(self, refusal: ApiError) -> None:
        """Answer without the app, and close once the client has had time to read it."""
        self._stop_header_timer()
        self._unset_keepalive_if_required()
        content = body_for("", refusal)
        headers = {
            **refusal.headers(),
            "content-type": "application/json",
            "content-length": str(len(content)),
            "connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[refusal.status] + f"{lines}\r\n".encode() + content)
        self._linger()

    def close(self) -> None:
        """Close the connection; one whose request is not read to its end lingers first."""
        if self.flow.write_paused:
            # The client does not read, so what is buffered would wait for ever.
            self.transport.abort()
        elif self._is_in_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Read on and drop it: closing at once would throw away what the client has not read."""
        self._is_deaf = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)
