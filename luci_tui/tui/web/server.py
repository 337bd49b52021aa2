"""Serve the screen to a browser on this machine: `luci web`.

textual-serve runs one screen for each page and passes bytes between the two. Who may ask is
guard.py's matter; everything else that leaves this server is its page and textual-serve's files.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp_jinja2
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from luci_tui.errors import ConfigError
from luci_tui.tui.web.guard import KEY_NAME, Asked, Guard, cookie_name, headers_for

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_SCREENS = 8
"""Pages that are open at once; each has a process of its own."""
LEAVE_S = 5.0
"""How long a screen may take to leave when its page is gone."""
LEAST_FONT, USUAL_FONT, MOST_FONT = 8, 16, 40
MAX_COLUMNS, MAX_ROWS = 1000, 500

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer(Server):
    """One page, and a screen behind each time it is open.

    Args:
        arguments: Of luci, for each screen.
        guard: Who may ask.
    """

    def __init__(self, arguments: Sequence[str], guard: Guard) -> None:
        # `exec` makes the screen a child of this process, so that it sees when this one is gone.
        command = f"exec {shlex.join([sys.executable, '-m', 'luci_tui', *arguments])}"
        folder = str(Path(__file__).parent)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            command, LOOPBACK, title="luci", templates_path=folder
        )
        self._guard = guard
        self._n_screens = 0

    async def make_app(self) -> web.Application:
        """Return the application, with the guard before everything."""
        app = await self._make_app()
        app.middlewares.append(self._guarded)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: the command says where it listens."""
        del app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = cookie_name(self.port)
        asked = Asked(
            path=request.path,
            host=request.host,
            origin=request.headers.get("Origin", ""),
            key=request.query.get(KEY_NAME, ""),
            cookie=request.cookies.get(name, ""),
        )
        if refusal := self._guard.refuse(asked):
            return web.Response(status=403, text=f"{refusal}\n", headers=headers_for(asked.host))
        if self._guard.brings_key(asked):
            # The address with the key shall not stay in sight, nor be sent along.
            moved = web.Response(
                status=303, headers={"Location": request.path, **headers_for(asked.host)}
            )
            moved.set_cookie(name, self._guard.key, httponly=True, samesite="Lax", path="/")
            return moved
        try:
            answer = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(headers_for(asked.host))
            raise
        if not answer.prepared:
            answer.headers.update(headers_for(asked.host))
        return answer

    async def handle_index(self, request: web.Request) -> web.Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the page."""
        wanted = request.query.get("fontsize", "")
        size = int(wanted) if wanted.isdecimal() and len(wanted) < 4 else USUAL_FONT
        context = {"host": request.host, "font_size": min(MOST_FONT, max(LEAST_FONT, size))}
        return aiohttp_jinja2.render_template("page.html", request, context)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a screen for as long as its page is open."""
        if self._n_screens >= MAX_SCREENS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_SCREENS} pages are open; close one.\n")
        self._n_screens += 1
        socket = web.WebSocketResponse(heartbeat=15)
        screen = AppService(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=socket.close,  # pyright: ignore[reportArgumentType]
            download_manager=self.download_manager,
        )
        try:
            await socket.prepare(request)
            size = (_number(request, "width", MAX_COLUMNS), _number(request, "height", MAX_ROWS))
            await screen.start(*size)
            await self._process_messages(socket, screen)
        except (OSError, ValueError, AssertionError, IndexError, KeyError, TypeError) as error:
            # What a page sends is not ours; the screen behind it is ended below.
            log.warning("a page broke off: %r", error)
        finally:
            self._n_screens -= 1
            await _end(screen)
        return socket


def _number(request: web.Request, name: str, most: int) -> int:
    text = request.query.get(name, "")
    number = int(text) if text.isdecimal() and len(text) < 6 else 80
    return min(most, max(1, number))


async def _end(screen: AppService) -> None:
    """Let a screen leave; one that does not is ended."""
    try:
        async with asyncio.timeout(LEAVE_S):
            await screen.stop()
    except TimeoutError:
        process = screen._process  # pyright: ignore[reportPrivateUsage]
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _serve(arguments: Sequence[str], port: int, tell: Callable[[str, int], None]) -> None:
    guard = Guard()
    server = WebServer(arguments, guard)
    runner = web.AppRunner(await server.make_app(), access_log=None, shutdown_timeout=LEAVE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            raise _cannot_listen(port, error) from error
        server.port = int(runner.addresses[0][1])
        tell(f"http://{LOOPBACK}:{server.port}/?{KEY_NAME}={guard.key}", server.port)
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, asked.set)
        await asked.wait()
    finally:
        await runner.cleanup()


def _cannot_listen(port: int, error: OSError) -> ConfigError:
    reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return ConfigError(
        f"Port {port} of {LOOPBACK} cannot be listened on ({reason}). Try --port 0, which takes "
        "any free one."
    )


def serve_web(arguments: Sequence[str], port: int, tell: Callable[[str, int], None]) -> None:
    """Serve the screen until Ctrl-C.

    Args:
        arguments: Of luci, for each screen.
        port: On the loopback address; 0 = any free one.
        tell: Called with the address and the port once it can be opened.

    Raises:
        ConfigError: the port cannot be listened on.
    """
    asyncio.run(_serve(arguments, port, tell))
