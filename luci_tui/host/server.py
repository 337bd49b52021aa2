"""The life of a host once it listens: serve, wait for a reason to leave, drain, close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Generator

import uvicorn

from luci_tui.host.api.app import build_app
from luci_tui.host.idle import wait_until_idle
from luci_tui.host.state import HostState

KEEP_ALIVE_S = 75
"""Longer than a client keeps a connection without using it."""
MAX_CONNECTIONS = 1024
CLOSE_S = 2
"""Time for answers that are being sent when everything else is closed."""
PART_CLOSE_S = 20.0
"""Longest time for one part of the host to close; a worker has its own, shorter limits."""

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, and without its ten ticks a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the host."""
        yield

    async def main_loop(self) -> None:
        """Wait, without waking up, until the host leaves."""
        self.listening.set()
        await self.leaving.wait()


async def serve(state: HostState, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until the host is idle for long enough, or asked to leave.

    Args:
        state: The host; all of its parts are closed at the end.
        listener: The socket, which listens already.
        on_ready: Called when the first request would be answered.
    """
    config = uvicorn.Config(
        build_app(state),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        date_header=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
        limit_concurrency=MAX_CONNECTIONS,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, state, number)
    server = _Server(config)
    tasks: list[asyncio.Task[object]] = []
    try:
        state.notices += await state.jobs.open()
        state.notices += await state.downloads.open()
        tasks.append(asyncio.create_task(server.serve(sockets=[listener]), name="server"))
        tasks.append(asyncio.create_task(_leave_when_idle(state), name="idle watch"))
        await server.listening.wait()
        on_ready()
        if state.library is not None:
            state.library.start()
        await state.stop_asked.wait()
        await _drain(state)
    finally:
        await _close(state)
        server.leaving.set()
        if tasks:
            tasks.pop().cancel()
            await asyncio.wait(tasks)
        logger.info("the host has left")


def _on_signal(state: HostState, number: int) -> None:
    logger.info("asked to leave by %s", signal.Signals(number).name)
    state.ask_to_stop()


async def _leave_when_idle(state: HostState) -> None:
    await wait_until_idle(state.activity, state.idle_exit_s)
    logger.info("nothing to do for %.1f s", state.idle_exit_s)
    state.ask_to_stop(0)


async def _drain(state: HostState) -> None:
    """Give what runs its time, unless somebody asks to leave once more."""
    drain_s = state.settings.host.drain_s if state.drain_s is None else state.drain_s
    logger.info("leaving; what runs has %.1f s", drain_s)
    draining = asyncio.ensure_future(
        asyncio.gather(
            state.turns.drain(drain_s), state.engines.drain(drain_s), state.jobs.drain(drain_s)
        )
    )
    hurried = asyncio.create_task(state.hurry.wait(), name="hurry")
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    draining.cancel()
    await asyncio.wait({draining, hurried})


async def _close(state: HostState) -> None:
    """Close every part, whatever the others do."""
    state.is_leaving = True
    state.events.close()
    parts: list[tuple[str, Coroutine[object, object, object]]] = [
        ("port", state.serve.stop()),
        ("turns", state.turns.drain(0)),
        ("engines", state.engines.drain(0)),
        ("jobs", state.jobs.close()),
        ("downloads", state.downloads.close()),
        ("models", state.models.close()),
    ]
    if state.library is not None:
        parts.insert(1, ("library", state.library.close()))
    if state.chats is not None:
        parts.insert(1, ("chats", state.chats.transfer.close()))
    for name, closing in parts:
        try:
            await asyncio.wait_for(closing, PART_CLOSE_S)
        except TimeoutError:
            logger.error("the %s do not close within %.0f s", name, PART_CLOSE_S)
        except Exception:
            # The others still have something to store.
            logger.exception("the %s do not close in order", name)
