"""Follow what ends in the host while the screen is open, whichever mode is looked at.

Reading these streams is what the host calls being attached: it stays for as long as a screen does.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from luci_tui.errors import LuciError

if TYPE_CHECKING:
    from luci_tui.host.api.messages import JobRecord
    from luci_tui.host.client import HostClient
    from luci_tui.tui.away import Ended
    from luci_tui.tui.services import Link

FIND_S = 1.0
"""Pause before a host is looked for again."""
FIND_MOST_S = 10.0
"""The same after many tries in vain."""
GOING_ON_S = 1.0
"""How long the host may take to say what goes on when the screen is left."""


class HostWatch:
    """Tells what ends in the host.

    Args:
        link: The way to it; none is started.
        tell: Called for everything that ends.
        chat_gone: Called with the id of a chat that was deleted or put away.
        attached: Called when a host was found, with its client; not again for the same one.
        now_s: Seconds since 1970.
    """

    def __init__(
        self,
        link: Link,
        tell: Callable[[Ended], None],
        chat_gone: Callable[[str], None],
        attached: Callable[[HostClient], None],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._tell = tell
        self._chat_gone = chat_gone
        self._attached = attached
        self._now_s = now_s

    async def run(self) -> None:
        """Follow one host after the other until this is cancelled."""
        pause_s = FIND_S
        while True:
            try:
                client = await self._link.client(start=False)
                if client is not None:
                    pause_s = FIND_S
                    await self._follow(client)
            except LuciError:
                await self._link.drop()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._link.started()
            pause_s = min(FIND_MOST_S, pause_s * 1.5)

    async def _follow(self, client: HostClient) -> None:
        # These modules take longer to import than a key may wait for its echo.
        await asyncio.to_thread(importlib.import_module, "luci_tui.tui.away")
        from luci_tui.host.download_client import HostDownloads

        since_s = self._now_s()
        after = (await HostDownloads(client).list()).seq
        self._attached(client)
        downloads = asyncio.ensure_future(self._downloads(client, after))
        try:
            await self._events(client, since_s)
        finally:
            downloads.cancel()
            await asyncio.gather(downloads, return_exceptions=True)

    async def _events(self, client: HostClient, since_s: float) -> None:
        from luci_tui.host.api.messages import ChatGone, JobChanged

        # The stream begins with what happened before.
        async with aclosing(client.events()) as events:
            async for event in events:
                if event.kind == "job":
                    self._job(JobChanged.model_validate_json(event.data).job, since_s)
                elif event.kind == "chat_gone":
                    gone = ChatGone.model_validate_json(event.data)
                    if gone.at >= since_s:
                        self._chat_gone(gone.chat_id)

    def _job(self, job: JobRecord, since_s: float) -> None:
        from luci_tui.tui.away import of_job

        # The chat itself tells of loading.
        ended = of_job(job) if job.kind != "load" else None
        if ended is not None and ended.at_s >= since_s:
            self._tell(ended)

    async def _downloads(self, client: HostClient, after: int) -> None:
        from luci_tui.host.api.download_messages import DownloadChanged
        from luci_tui.tui.away import of_download

        async with aclosing(client.follow("/luci/downloads/events", after)) as events:
            async for event in events:
                if event.kind != "download":  # progress comes several times a second
                    continue
                ended = of_download(DownloadChanged.model_validate_json(event.data).download)
                if ended is not None:
                    self._tell(ended)


async def what_goes_on(link: Link) -> str:
    """Say which jobs and downloads go on without the screen; empty = none, or nobody knows."""
    try:
        async with asyncio.timeout(GOING_ON_S):
            client = await link.client(start=False)
            return "" if client is None else await _going_on(client)
    except (LuciError, TimeoutError):
        return ""


async def _going_on(client: HostClient) -> str:
    from luci_tui.download.records import GOING
    from luci_tui.host.download_client import HostDownloads
    from luci_tui.units import format_count

    n_jobs = len((await client.status()).jobs)
    downloads = (await HostDownloads(client).list()).downloads
    n_downloads = sum(one.state in GOING for one in downloads)
    counts = [format_count(n_jobs, "job") if n_jobs else ""]
    counts.append(format_count(n_downloads, "download") if n_downloads else "")
    words = " and ".join(filter(None, counts))
    if not words:
        return ""
    verb = "goes" if n_jobs + n_downloads == 1 else "go"
    return f"{words} {verb} on in the host."
