"""Connections to servers whose bodies can be taken straight from the socket.

httpcore's own connections go through anyio and its parser of messages, which copy each byte about
six times; on loopback that costs as much as everything else together. These hold a plain socket,
or a TLS one, and read no further than they are asked to, so that a body of an announced length can
be taken from it by a thread. `AsyncNetworkBackend` is httpcore's documented way to bring one's
own: https://www.encode.io/httpcore/network-backends/
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import aiohappyeyeballs
import httpcore
import httpx

T = TypeVar("T")

HAPPY_EYEBALLS_S = 0.25
"""RFC 8305: so long the next address of a host waits for the one before."""
READ_BYTES = 1 << 20
"""Most that the parser reads at once; its own 64 KiB cost twice the time."""


def take_directly(client: httpx.AsyncClient, certificates: ssl.SSLContext) -> None:
    """Let a client make its direct connections in this way; those through a proxy stay its own.

    httpx has no option for it, and a transport that is handed to it would take the place of the
    proxies that the environment names. tests/contract/test_mover_body.py fails if this does.
    """
    # What comes through the parser; it holds for every client of this process, which does no harm.
    setattr(httpcore.AsyncHTTP11Connection, "READ_NUM_BYTES", READ_BYTES)  # noqa: B010
    transport = httpx.AsyncHTTPTransport(verify=certificates)
    transport._pool = httpcore.AsyncConnectionPool(  # pyright: ignore[reportPrivateUsage]
        ssl_context=certificates, network_backend=WireBackend()
    )
    client._transport = transport  # pyright: ignore[reportPrivateUsage]


class Wire(httpcore.AsyncNetworkStream):
    """One connection, with TLS or without."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def sock(self) -> socket.socket:
        """The socket; whoever reads from it must be the only one."""
        return self._sock

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore; none = the other side has closed."""
        return await _tried(
            self._sock,
            lambda: self._sock.recv(max_bytes),
            timeout,
            (httpcore.ReadTimeout, httpcore.ReadError),
        )

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        view = memoryview(buffer)
        while view:
            n_sent = await _tried(
                self._sock,
                partial(self._sock.send, view),
                timeout,
                (httpcore.WriteTimeout, httpcore.WriteError),
            )
            view = view[n_sent:]

    async def aclose(self) -> None:
        """See httpcore."""
        self._sock.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Wire:
        """See httpcore."""
        failures = (httpcore.ConnectTimeout, httpcore.ConnectError)
        try:
            # It only wraps: the handshake is done without blocking, below.
            secure = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        try:
            await _tried(secure, secure.do_handshake, timeout, failures)
        except BaseException:
            secure.close()
            raise
        return Wire(secure)

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        match info:
            case "ssl_object":
                return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
            case "socket":
                return self._sock
            case "client_addr":
                return self._sock.getsockname()
            case "server_addr":
                return self._sock.getpeername()
            case "is_readable":
                return _is_readable(self._sock)
            case _:
                return None


class WireBackend(httpcore.AsyncNetworkBackend):
    """Makes them, one for each request: a socket that a thread has read from is not used again."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """See httpcore; a local address or options of the socket are not asked for here."""
        del local_address, socket_options
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
                    found, happy_eyeballs_delay=HAPPY_EYEBALLS_S
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(sock)

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)


async def _tried(
    sock: socket.socket,
    attempt: Callable[[], T],
    timeout_s: float | None,
    failures: tuple[type[Exception], type[Exception]],
) -> T:
    """Do something with a socket as soon as it can be done.

    Args:
        sock: It does not block.
        attempt: What to do.
        timeout_s: Most that may take; None = for ever.
        failures: What to raise when it took too long, and when it failed.
    """
    timed_out, failed = failures
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return attempt()
                except (BlockingIOError, ssl.SSLWantReadError):
                    await _ready(sock, to_write=False)
                except ssl.SSLWantWriteError:
                    await _ready(sock, to_write=True)
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:
        raise failed(str(error)) from error


async def _ready(sock: socket.socket, *, to_write: bool) -> None:
    loop = asyncio.get_running_loop()
    is_ready = asyncio.Event()
    fd = sock.fileno()
    if to_write:
        loop.add_writer(fd, is_ready.set)
    else:
        loop.add_reader(fd, is_ready.set)
    try:
        await is_ready.wait()
    finally:
        if to_write:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)


def _is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
