"""Downloads through a HostClient."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from luci_tui.download.plan import Plan
from luci_tui.host.api.download_messages import (
    DownloadEvent,
    DownloadList,
    DownloadRecord,
    ForgetDownloads,
    Forgotten,
    InstallStarted,
    MoveDownload,
    PlanInstall,
    SetLimit,
    StartInstall,
    Uninstalled,
    UninstallModel,
    download_event_adapter,
)
from luci_tui.host.client import HostClient

PLAN_S = 600.0
"""A hub that is slow is asked several times, and may want to be asked later."""


class HostDownloads:
    """The downloads of a host.

    Args:
        client: The way to the host.
    """

    def __init__(self, client: HostClient) -> None:
        self._client = client

    async def list(self) -> DownloadList:
        """List all downloads, in the order of their turns."""
        return await self._client.get("/luci/downloads", DownloadList)

    async def get(self, download_id: int) -> DownloadRecord:
        """Ask how one stands."""
        return await self._client.get(f"/luci/downloads/{download_id}", DownloadRecord)

    async def plan(self, wanted: str, name: str = "", *, with_mmproj: bool = False) -> Plan:
        """Ask which files an install would fetch."""
        body = PlanInstall(wanted=wanted, name=name, with_mmproj=with_mmproj)
        return await self._client.post("/luci/downloads/plan", body, Plan, PLAN_S)

    async def add(self, plan: Plan, *, is_enabled: bool = True) -> InstallStarted:
        """Begin an install."""
        body = StartInstall(plan=plan, is_enabled=is_enabled)
        return await self._client.post("/luci/downloads", body, InstallStarted)

    async def pause(self, download_id: int) -> DownloadRecord:
        """Stop one until it is resumed."""
        return await self._do(download_id, "pause")

    async def resume(self, download_id: int) -> DownloadRecord:
        """Let one go on that is paused or has failed."""
        return await self._do(download_id, "resume")

    async def cancel(self, download_id: int) -> DownloadRecord:
        """End one and remove what has arrived."""
        return await self._do(download_id, "cancel")

    async def move(self, download_id: int, wanted: MoveDownload) -> DownloadRecord:
        """Change the turn of one."""
        path = f"/luci/downloads/{download_id}/move"
        return await self._client.post(path, wanted, DownloadRecord)

    async def forget(self, download_ids: Sequence[int] | None = None) -> Forgotten:
        """Leave out some that have ended; None = all of those."""
        ids = None if download_ids is None else tuple(download_ids)
        body = ForgetDownloads(ids=ids)
        return await self._client.post("/luci/downloads/forget", body, Forgotten)

    async def set_limit(self, bytes_per_s: int | None) -> DownloadList:
        """Limit the rate of all together; 0 = no limit, None = as the settings say."""
        body = SetLimit(bytes_per_s=bytes_per_s)
        return await self._client.post("/luci/downloads/limit", body, DownloadList)

    async def uninstall(self, name: str, *, unload: bool = False) -> Uninstalled:
        """Remove an installed model."""
        body = UninstallModel(name=name, unload=unload)
        return await self._client.post("/luci/models/uninstall", body, Uninstalled)

    async def events(self, after: int) -> AsyncGenerator[DownloadEvent]:
        """Follow all downloads from event `after` on, until the host leaves."""
        async with aclosing(self._client.follow("/luci/downloads/events", after)) as events:
            async for event in events:
                yield download_event_adapter.validate_json(event.data)

    async def _do(self, download_id: int, verb: str) -> DownloadRecord:
        path = f"/luci/downloads/{download_id}/{verb}"
        return await self._client.post(path, None, DownloadRecord)
