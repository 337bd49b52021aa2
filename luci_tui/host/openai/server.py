"""The HTTP API on a port: uvicorn's connections in the event loop that runs already."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from uvicorn.config import Config
from uvicorn.server import ServerState

from luci_tui.errors import ConfigError
from luci_tui.host.openai.app import build_app
from luci_tui.host.openai.protocol import GuardedProtocol
from luci_tui.host.openai.services import Services

BACKLOG = 128
_POLL_S = 0.02


class ApiServer:
    """Listens from `start` to `stop`. Belongs to one event loop.

    Uvicorn's own Server is not used: it takes over the process's signals, leaves the process when
    it fails, and wakes ten times a second.

    Args:
        services: What the API stands on; its settings say where to listen.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port = 0
        """The port that is listened on; 0 = none."""

    @property
    def url(self) -> str:
        """Where clients find it, with /v1."""
        host = self._services.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address may not, or cannot, be listened on.
        """
        if self._server is not None:
            msg = "the API server listens already"
            raise RuntimeError(msg)
        settings = self._services.settings
        listener = _listener(check_address(self._services), settings.port)
        protocol = GuardedProtocol.limits(settings)
        config = Config(
            build_app(self._services),
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(settings.keep_alive_s)),
        )
        config.load()
        loop = asyncio.get_running_loop()

        def connect() -> asyncio.Protocol:
            return protocol(config, self._state, {}, loop)

        self._server = await loop.create_server(connect, sock=listener, backlog=BACKLOG)
        self.port = int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Take no new request, let running answers end for `drain_s`, then cancel them."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._wait_until_idle(self._services.settings.drain_s)
        for task in list(self._state.tasks):
            task.cancel()
        await self._wait_until_idle(1.0)
        for connection in list(self._state.connections):
            connection.transport.abort()
        self._server, self.port = None, 0

    async def _wait_until_idle(self, timeout_s: float) -> None:
        tasks = set(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)


def check_address(services: Services) -> str:
    """Return the address to listen on.

    Raises:
        ConfigError: it is no address, or one beyond loopback without a flag and a key.
    """
    settings = services.settings
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        msg = f"{settings.host!r} is no IP address. Name one, such as 127.0.0.1."
        raise ConfigError(msg, code="bad_address") from error
    has_key = settings.require_key and len(services.keys) > 0
    if not address.is_loopback and not settings.allow_remote:
        msg = f"{host} can be reached from other machines. Add --allow-remote if that is wanted."
        raise ConfigError(msg, code="not_loopback")
    if not address.is_loopback and not has_key:
        msg = f"{host} can be reached from other machines, and no API key is asked for. Use a key."
        raise ConfigError(msg, code="no_key")
    if settings.require_key and not has_key:
        msg = "There is no API key. Make one, or serve without."
        raise ConfigError(msg, code="no_key")
    return host


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        msg = f"{host} port {port} cannot be listened on: {error.strerror}. Choose another port."
        raise ConfigError(msg, code="port_in_use") from error
    listener.setblocking(False)
    return listener
