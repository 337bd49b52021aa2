"""One file of a plan: taken over if it is there already, fetched if it is not."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.download.messages import MoveProgress, Phase, Wanted
from luci_tui.download.pace import Limiter
from luci_tui.download.plan import PlannedFile
from luci_tui.download.records import FetchedFile, FileStatus, Step
from luci_tui.download.threads import in_thread

if TYPE_CHECKING:
    import httpx

    from luci_tui.download.options import MoveOptions

_READ_BYTES = 1 << 20
_STEPS = {
    Phase.REHASHING: Step.REHASHING,
    Phase.DOWNLOADING: Step.DOWNLOADING,
    Phase.WAITING: Step.WAITING_RETRY,
    Phase.PUBLISHING: Step.PUBLISHING,
}

Headers = Callable[[str], Mapping[str, str]]
"""What has to be sent with a request to an address, such as a token; may block."""
Report = Callable[[FileStatus], None]


class Fetcher:
    """Fetches files, all of them with one client and within one limit.

    Args:
        headers: Asked for each file when it is fetched, so that no secret is kept.
        limiter: Shared by all files.
        options: How patient a download is; None = as usual. Its limiter is replaced.
    """

    def __init__(
        self, headers: Headers, limiter: Limiter, options: MoveOptions | None = None
    ) -> None:
        self.limiter = limiter
        self._headers = headers
        self._options = options
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def fetch(self, file: PlannedFile, folder: Path, report: Report) -> FetchedFile:
        """Return when a file is whole, checked and has its final name.

        When the task is cancelled, or with any error, what has arrived stays.

        Raises:
            DownloadError: it cannot be had; the code says why.
        """
        destination = folder / file.name
        is_cancelled = threading.Event()
        adopted = await in_thread(
            _adopt, destination, file, is_cancelled, on_cancel=is_cancelled.set
        )
        if adopted is not None:
            return adopted
        client, options = await self._tools()
        wanted = Wanted(
            url=file.url,
            destination=destination,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            headers=await in_thread(self._headers, file.url),
        )
        from luci_tui.download.mover import move

        moved = await move(wanted, client, options, lambda one: report(_status(file, one)))
        return FetchedFile(name=file.name, size_bytes=moved.size_bytes, sha256=moved.sha256)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _tools(self) -> tuple[httpx.AsyncClient, MoveOptions]:
        async with self._opening:
            if self._client is None or self._options is None:
                # Imports and reads certificates, which takes too long for the event loop.
                self._client, self._options = await in_thread(_new_tools, self._options)
            return self._client, replace(self._options, limiter=self.limiter)


def _new_tools(options: MoveOptions | None) -> tuple[httpx.AsyncClient, MoveOptions]:
    from luci_tui.download.mover import new_client
    from luci_tui.download.options import MoveOptions

    options = options or MoveOptions()
    return new_client(options), options


def _status(file: PlannedFile, progress: MoveProgress) -> FileStatus:
    return FileStatus(
        name=file.name,
        step=_STEPS[progress.phase],
        done_bytes=progress.done_bytes,
        size_bytes=progress.size_bytes,
        rate_bytes_per_s=progress.rate_bytes_per_s,
        n_retries=progress.n_retries,
        note=progress.note,
    )


def _adopt(
    destination: Path, file: PlannedFile, is_cancelled: threading.Event
) -> FetchedFile | None:
    """Take over a file that a host had published before it could write that down.

    The mover gives the final name to whole files alone, but what happened to it since then nobody
    knows: it is read again. A wrong one is removed.
    """
    if not destination.is_file():
        return None
    digest = hashlib.sha256()
    size_bytes = 0
    with destination.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            if is_cancelled.is_set():
                return None
            digest.update(piece)
            size_bytes += len(piece)
    is_right = file.sha256 in ("", digest.hexdigest())
    if not is_right or file.size_bytes not in (None, size_bytes):
        destination.unlink()
        return None
    return FetchedFile(name=file.name, size_bytes=size_bytes, sha256=digest.hexdigest())
