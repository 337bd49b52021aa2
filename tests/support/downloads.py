"""Downloads from the hub of `tests.support.hub` that wait for nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from luci_tui.download.messages import Moved, MoveProgress, Wanted
from luci_tui.download.mover import move, new_client
from luci_tui.download.options import MoveOptions
from luci_tui.download.pace import Backoff
from tests.support.hub import Fault, Hub, HubFile, running_hub

CONTENT = random.Random(1).randbytes(700_001)
SOON_S = 0.4
"""Without a byte for so long a connection is given up where a test is about that. Elsewhere a
machine with other work could cause it, and the retry would take the fault away."""


def quick(**fields: Any) -> MoveOptions:
    """Make options for a download that gives up soon."""
    options = MoveOptions(
        stall_s=10.0,
        connect_s=5.0,
        max_attempts=4,
        new_backoff=lambda: Backoff(first_s=0.001, max_s=0.002),
    )
    return replace(options, **fields)


@asynccontextmanager
async def served(*faults: Fault, content: bytes = CONTENT) -> AsyncGenerator[tuple[Hub, HubFile]]:
    """Run a hub with one file."""
    async with running_hub() as hub:
        yield hub, hub.add(content, *faults)


def wanted_of(hub: Hub, file: HubFile, folder: Path, **fields: Any) -> Wanted:
    """Say that a file of the hub is wanted, with all that is known about it."""
    wanted = Wanted(
        url=hub.url_of(),
        destination=folder / "model.gguf",
        size_bytes=len(file.content),
        sha256=file.sha256,
    )
    return replace(wanted, **fields)


async def fetch(
    wanted: Wanted,
    options: MoveOptions | None = None,
    report: Callable[[MoveProgress], None] = lambda _: None,
    client: httpx.AsyncClient | None = None,
) -> Moved:
    """Fetch it, with a client of its own unless one is given."""
    options = options or quick()
    async with client or new_client(options) as made:
        return await move(wanted, made, options, report)


def files_of(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())
