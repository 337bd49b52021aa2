"""Hosts in processes of their own, for tests: started, looked at, killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher, ensure_host, wait_gone
from luci_tui.host.run_files import read_info, run_files

ECHO = Launcher(arguments=("--engine", "echo", "--idle-exit-s", "60"))
"""A host without models, which leaves by itself should a test forget it."""

TALKING = Launcher(
    command=(sys.executable, "-m", "tests.support.echo_host"), arguments=("--idle-exit-s", "60")
)
"""A host with a slow echo, and chats that say messages back; see echo_host.py."""


def launcher(*arguments: str) -> Launcher:
    """Return a launcher of an echo host with other arguments."""
    return replace(ECHO, arguments=("--engine", "echo", *arguments))


@asynccontextmanager
async def running_host(home: Path, how: Launcher = ECHO) -> AsyncGenerator[HostClient]:
    """Start a host for the time of the context; it is gone afterwards, whatever happened."""
    client = await ensure_host(home, how)
    try:
        yield client
    finally:
        await client.close()
        await end_host(home)


async def end_host(home: Path) -> None:
    """End the host of a home folder, if there is one, without asking it."""
    info = read_info(run_files(home))
    if info is not None:
        with suppress(ProcessLookupError):
            os.kill(info.pid, signal.SIGKILL)
        assert await wait_gone(info.pid, 20)


def pid_of(home: Path) -> int:
    """Return the process id that a host has written down."""
    info = read_info(run_files(home))
    assert info is not None
    return info.pid


def children_of(pid: int) -> list[psutil.Process]:
    """Return the processes below a host."""
    return psutil.Process(pid).children(recursive=True)
