"""The host process: `python -m luci_tui.host.process`. One for each home folder.

It takes the lock and listens before it imports anything large, so that of two that start at the
same time one leaves at once with exit code 75, and the other's callers wait in the socket's queue.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from luci_tui import paths
from luci_tui.errors import LuciError
from luci_tui.host import run_files
from luci_tui.version import HOST_PROTOCOL, VERSION

if TYPE_CHECKING:
    from luci_tui.host.state import HostState

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 2
EXIT_BUSY: Final = 75
"""Another host has the lock. Source: EX_TEMPFAIL of sysexits.h."""

BuildHost = Callable[[run_files.RunFiles, "Options"], Awaitable["HostState"]]
"""Makes the parts of a host; wiring.py has the real one."""


@dataclass(frozen=True)
class Options:
    """What a host is told when it is started."""

    engine: str = "worker"
    """Kind of engine, see wiring.EngineKind."""
    idle_exit_s: float | None = None
    """None = as the settings say."""
    is_detached: bool = False
    """It goes on without its starter, and standard error is its log."""


class _Starter:
    """The one who waits for a line that says that the host answers, or why it cannot start."""

    def __init__(self, ready_fd: int | None) -> None:
        self._ready_fd = ready_fd

    def tell(self, line: dict[str, object]) -> None:
        """Write the line; only the first one goes out."""
        fd, self._ready_fd = self._ready_fd, None
        if fd is None:
            return
        with contextlib.suppress(OSError):  # a starter that did not wait does not need it
            os.write(fd, json.dumps(line).encode() + b"\n")
        os.close(fd)

    def tell_ready(self) -> None:
        """Say that the first request would be answered."""
        self.tell({"ready": True})

    def tell_failure(self, error: LuciError) -> int:
        """Say why there is no host, and return the exit code for that."""
        self.tell({"code": error.code, "message": error.message, "type": type(error).__name__})
        sys.stderr.write(f"luci host: {error.message}\n")
        return EXIT_FAILURE


def main(arguments: list[str] | None = None, build: BuildHost | None = None) -> int:
    """Be the host until it leaves, and return the exit code."""
    options, starter = _parse(arguments)
    files = run_files.run_files(paths.luci_home())
    try:
        run_files.prepare_folders(files)
        lock = run_files.take_lock(files)
        if lock is None:
            return EXIT_BUSY
        listener = run_files.listen(files)
    except LuciError as error:
        return starter.tell_failure(error)
    if options.is_detached:
        _detach()
    try:
        return _run(files, listener, options, starter, build)
    except LuciError as error:
        return starter.tell_failure(error)
    finally:
        run_files.remove(files, lock)
        os.close(lock)


def _parse(arguments: list[str] | None) -> tuple[Options, _Starter]:
    parser = argparse.ArgumentParser(prog="luci_tui.host.process", description="The luci host.")
    parser.add_argument("--engine", default="worker", help=argparse.SUPPRESS)
    parser.add_argument(
        "--idle-exit-s", type=float, help="leave after so long without work; 0 = never"
    )
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    found = parser.parse_args(arguments)
    options = Options(found.engine, found.idle_exit_s, found.detach)
    return options, _Starter(found.ready_fd)


def _detach() -> None:
    """Let go of the starter: a process and a session of its own, nothing of its folder in use.

    The lock and the socket are inherited, so they were taken in time to tell the starter.
    """
    if os.fork():
        os._exit(EXIT_OK)
    os.setsid()
    os.chdir("/")
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null_fd, fd)
    os.close(null_fd)


def _run(
    files: run_files.RunFiles,
    listener: socket.socket,
    options: Options,
    starter: _Starter,
    build: BuildHost | None,
) -> int:
    info = run_files.HostInfo(
        pid=os.getpid(),
        version=VERSION,
        protocol=HOST_PROTOCOL,
        started_at=time.time(),
        socket=str(files.socket),
    )
    run_files.write_info(files, info)

    import asyncio

    from luci_tui.host.heap import keep_heap_compact
    from luci_tui.host.host_log import start_log
    from luci_tui.host.server import serve
    from luci_tui.scheduling import wake_soon

    keep_heap_compact()
    wake_soon()
    start_log(files.home / "logs", is_detached=options.is_detached)

    async def live(build: BuildHost) -> None:
        # The parts belong to the event loop, so they are made inside it.
        await serve(await build(files, options), listener, starter.tell_ready)

    asyncio.run(live(build or _real_parts()))
    return EXIT_OK


def _real_parts() -> BuildHost:
    from luci_tui.host.wiring import build_host

    return build_host


if __name__ == "__main__":
    sys.exit(main())
