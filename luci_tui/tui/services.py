"""What the app hands to its screens: the way to the host, how fast to draw, what time it is.

The modules of the host are imported when the link is first used, after the first frame.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from luci_tui.tui.preferences import Preferences

if TYPE_CHECKING:
    from luci_tui.config import TerminalFacts
    from luci_tui.host.client import HostClient
    from luci_tui.host.lifecycle import Launcher
    from luci_tui.tui.first_look import FirstLook

LOOK_S = 1.0
"""A list that is looked at is asked for so often."""
LOOK_SLOW_S = 2.0
"""The same where every byte goes through a network."""


class Link(Protocol):
    """The way to the host."""

    async def client(self, *, start: bool) -> HostClient | None:
        """Give a client of the host; None = none runs, and none was to be started."""
        ...

    async def drop(self) -> None:
        """Forget a client that does not answer any more."""
        ...

    async def started(self) -> None:
        """Return when somebody has a host started, or finds one that is to be there."""
        ...


class HostLink:
    """One client for all modes, found anew where the last is gone.

    Args:
        make_launcher: Says how a host is started; it may import what it likes.
    """

    def __init__(self, make_launcher: Callable[[], Launcher]) -> None:
        self._make_launcher = make_launcher
        self._client: HostClient | None = None
        self._finding = asyncio.Lock()
        self._started = asyncio.Event()

    async def client(self, *, start: bool) -> HostClient | None:
        """See `Link`."""
        async with self._finding:
            if self._client is None:
                self._client = await self._find(start=start)
            return self._client

    async def drop(self) -> None:
        """See `Link`."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def started(self) -> None:
        """See `Link`."""
        await self._started.wait()

    async def _find(self, *, start: bool) -> HostClient | None:
        # The import takes longer than a key may wait for its echo.
        await asyncio.to_thread(importlib.import_module, "luci_tui.host.lifecycle")
        from luci_tui.host.lifecycle import ensure_host, find_host

        if start:
            client = await ensure_host(launcher=self._make_launcher())
            self._started.set()
            self._started = asyncio.Event()
            return client
        found = await find_host()
        return None if found is None else found.client


async def _look_around() -> FirstLook:
    found = await asyncio.to_thread(importlib.import_module, "luci_tui.tui.first_look")
    return await found.look_around()


@dataclass(frozen=True)
class Services:
    """Everything that a mode may need."""

    link: Link | None = None
    """None = there is no host, so there are no modes but the chat."""
    preferences: Preferences = field(default_factory=Preferences)
    is_slow: bool = False
    """Every byte to the terminal goes through a network."""
    home: Path | None = None
    """Home folder of luci, for the small files of the screen; None = they are not kept."""
    terminal: TerminalFacts | None = None
    """What is known of the terminal; None = nothing, so that it gets neither title nor bell."""
    now_s: Callable[[], float] = time.time
    """Seconds since 1970."""
    history_file: Path | None = None
    """Where earlier prompts are kept; None = they are forgotten when luci is left."""
    look_around: Callable[[], Awaitable[FirstLook]] = _look_around
    """Looks at this machine and the models that fit it."""
    fixed_look_s: float = 0.0
    """How often a list that is looked at is asked for; 0 = as the connection bears it."""

    @property
    def look_s(self) -> float:
        """How often a list that is looked at is asked for."""
        return self.fixed_look_s or (LOOK_SLOW_S if self.is_slow else LOOK_S)
