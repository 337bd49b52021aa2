"""A client of the host for the time of one command."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from luci_tui import paths
from luci_tui.cli.output import narrate
from luci_tui.errors import HostError
from luci_tui.host.wiring import EngineKind

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.host.lifecycle import Launcher


def launcher_for(kind: EngineKind, *arguments: str) -> Launcher:
    """Return how a host is started that answers with this kind of engine."""
    from luci_tui.host.lifecycle import Launcher

    engine = () if kind is EngineKind.WORKER else ("--engine", kind.value)
    return Launcher(arguments=(*engine, *arguments))


@asynccontextmanager
async def host_client(kind: EngineKind) -> AsyncGenerator[HostClient]:
    """Find or start the host, and say what there is to say about it.

    Raises:
        LuciError: there is no host to be had.
    """
    from luci_tui.host.lifecycle import ensure_host

    client = await ensure_host(launcher=launcher_for(kind))
    try:
        narrate_once([*client.notices, *await _notices_of(client)])
        yield client
    finally:
        await client.close()


async def _notices_of(client: HostClient) -> tuple[str, ...]:
    """Ask for what the host itself has to say, such as a mistake in the settings."""
    try:
        return (await client.status()).notices
    except HostError:
        return ()  # whatever is wrong with it, the command meets it next


def narrate_once(notices: Iterable[str], start: str = "") -> None:
    """Say what there is to say about the host, unless another command has said it already.

    `luci host status` shows it for as long as it holds.
    """
    from luci_tui.host.run_files import run_files
    from luci_tui.host.told import untold

    for notice in untold(run_files(paths.luci_home()), notices):
        narrate(f"{start}{notice}")


@asynccontextmanager
async def running_host() -> AsyncGenerator[HostClient]:
    """Use the host that runs, and start none.

    Raises:
        HostError: none runs.
    """
    from luci_tui.host.lifecycle import find_host

    found = await find_host()
    if found is None:
        msg = "No host runs. `luci host start` starts one."
        raise HostError(msg, code="unreachable")
    try:
        yield found.client
    finally:
        await found.client.close()
