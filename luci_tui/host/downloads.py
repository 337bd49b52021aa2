"""The host's downloads: the queue with its events, and what is installed and removed through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from luci_tui.download.plan import Plan
from luci_tui.download.queue import DownloadQueue, Place
from luci_tui.download.records import ENDED, GOING, FileStatus, ItemState, QueueItem
from luci_tui.download.sources import Source
from luci_tui.download.threads import in_thread
from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api.download_messages import (
    DownloadChanged,
    DownloadList,
    DownloadRecord,
    DownloadsForgotten,
    DownloadsProgress,
    FileRecord,
    Forgotten,
    How,
    InstallStarted,
    PlanInstall,
    Uninstalled,
    UninstallModel,
)
from luci_tui.host.api.messages import ErrorBody
from luci_tui.host.engines import ModelSource
from luci_tui.host.events import Entry, EventLog
from luci_tui.library.garbage import find_garbage, remove_garbage, uninstall
from luci_tui.library.installing import installed_already
from luci_tui.manager.entries import BUILTIN

PROGRESS_S = 0.2
"""Between two reports of progress."""
MAX_EVENTS = 4096

logger = logging.getLogger(__name__)


class Downloads:
    """The service behind `/luci/downloads`. Call `open` first and `close` last.

    Args:
        queue: Made with `self.changed` as its `on_change`; opened and closed here.
        source: Where models come from.
        models_folder: Where they go.
        models: What is in memory.
    """

    def __init__(
        self, source: Source, models_folder: Path, models: ModelSource, log: EventLog | None = None
    ) -> None:
        self._source = source
        self._models_folder = models_folder
        self._models = models
        self._log = log or EventLog(MAX_EVENTS)
        self._queue: DownloadQueue | None = None
        self._ticker: asyncio.Task[None] | None = None

    def attach(self, queue: DownloadQueue) -> None:
        """Give it the queue, which was made with `changed` as its listener."""
        self._queue = queue

    @property
    def queue(self) -> DownloadQueue:
        """The queue; a service without one is a programmer's mistake."""
        if self._queue is None:
            msg = "the service has no queue yet"
            raise RuntimeError(msg)
        return self._queue

    async def open(self) -> tuple[str, ...]:
        """Go on with what an earlier host has left; returns sentences about what is wrong."""
        problem = await self.queue.open()
        if not problem:
            # Only with the whole queue is it known what nobody needs.
            await in_thread(self._sweep)
        self.queue.start()
        return (problem,) if problem else ()

    async def close(self) -> None:
        """Stop everything; the next host goes on with it."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        await self.queue.close()
        self._log.close()

    def keepers(self) -> list[str]:
        """Say what keeps the host: downloads that go on by themselves."""
        going = (item for item in self.queue.items if item.state in GOING)
        return [f"download {item.id} ({item.plan.name})" for item in going]

    # What front ends ask for.

    def list(self) -> DownloadList:
        """Give all downloads."""
        return DownloadList(
            downloads=tuple(self._record(item) for item in self.queue.items),
            limit_bytes_per_s=self.queue.limit_bytes_per_s,
            seq=self._log.last_seq,
        )

    async def plan(self, wanted: PlanInstall) -> Plan:
        """Work out what an install would fetch.

        Raises:
            LuciError: there is no such thing, or the hub cannot be asked.
        """
        plan = await self._source.plan(
            wanted.wanted, name=wanted.name, with_mmproj=wanted.with_mmproj
        )
        _check_name(plan.name)
        return plan

    async def add(self, plan: Plan, *, is_enabled: bool) -> InstallStarted:
        """Begin an install.

        Raises:
            DownloadError: see `DownloadQueue.add`.
            ConfigError: the name is taken by luci itself.
        """
        _check_name(plan.name)
        is_installed = await in_thread(installed_already, self._models_folder, plan) is not None
        if is_installed and self.queue.unfinished(plan.name) is None:
            return InstallStarted(how=How.INSTALLED)
        item, is_attached = await self.queue.add(plan, is_enabled=is_enabled)
        how = How.ATTACHED if is_attached else How.QUEUED
        return InstallStarted(how=how, download=self._record(item))

    async def pause(self, item_id: int) -> DownloadRecord:
        """See `DownloadQueue.pause`."""
        return self._record(await self.queue.pause(item_id))

    async def resume(self, item_id: int) -> DownloadRecord:
        """See `DownloadQueue.resume`."""
        return self._record(await self.queue.resume(item_id))

    async def cancel(self, item_id: int) -> DownloadRecord:
        """See `DownloadQueue.cancel`."""
        return self._record(await self.queue.cancel(item_id))

    async def move(self, item_id: int, place: Place) -> DownloadRecord:
        """See `DownloadQueue.move`."""
        return self._record(await self.queue.move(item_id, place))

    async def forget(self, item_ids: Sequence[int] | None) -> Forgotten:
        """See `DownloadQueue.forget`."""
        forgotten = await self.queue.forget(item_ids)
        if forgotten and not self._log.is_closed:
            self._log.append(DownloadsForgotten(ids=tuple(item.id for item in forgotten)))
        return Forgotten(downloads=tuple(self._record(item) for item in forgotten))

    async def set_limit(self, bytes_per_s: int | None) -> DownloadList:
        """See `DownloadQueue.set_limit`."""
        await self.queue.set_limit(bytes_per_s)
        return self.list()

    def get(self, item_id: int) -> DownloadRecord:
        """Give one download.

        Raises:
            CatalogError: there is none with this number.
        """
        return self._record(self.queue.get(item_id))

    async def events(self, after: int) -> AsyncGenerator[Entry]:
        """Give the events after number `after`, until the host leaves."""
        async for entry in self._log.subscribe(after):
            yield entry

    async def uninstall(self, wanted: UninstallModel) -> Uninstalled:
        """Remove an installed model, and an install of it that has not ended.

        Raises:
            HostError: it is in memory and may not be unloaded; code "in_use".
            LuciError: somebody uses it at this moment, or it is not installed.
        """
        if self.is_in_use(wanted.name):
            if not wanted.unload:
                raise HostError(
                    f"{wanted.name} is in memory. Take it out with `luci unload {wanted.name}`, "
                    "then uninstall it.",
                    code="in_use",
                )
            await self._models.unload(wanted.name, force=False)
        for item in self.queue.items:
            if item.plan.name == wanted.name and item.state not in ENDED:
                await self.queue.cancel(item.id)
        try:
            freed_bytes = await in_thread(uninstall, self._models_folder, wanted.name)
        except OSError as error:
            raise HostError(
                f"{wanted.name} cannot be removed ({error}). Check the models folder; what is "
                "left is removed when the host starts again.",
                code="disk",
            ) from error
        logger.info("%s is uninstalled", wanted.name)
        return Uninstalled(name=wanted.name, freed_bytes=freed_bytes)

    def is_in_use(self, name: str) -> bool:
        """Tell whether a model of this name is in memory, or on its way there."""
        return any(
            one.name == name and one.state not in ("failed", "unloading")
            for one in self._models.loaded()
        )

    # Events.

    def changed(self, item: QueueItem) -> None:
        """Tell those who listen that an item has changed."""
        if self._log.is_closed:
            return
        self._log.append(DownloadChanged(download=self._record(item)))
        if item.state is ItemState.RUNNING and (self._ticker is None or self._ticker.done()):
            self._ticker = asyncio.create_task(self._tick(), name="progress of downloads")

    async def _tick(self) -> None:
        """Tell how far everything is, for as long as anything is on its way."""
        while True:
            await asyncio.sleep(PROGRESS_S)
            running = [item for item in self.queue.items if item.state is ItemState.RUNNING]
            if not running or self._log.is_closed:
                return
            records = tuple(self._record(item) for item in running)
            self._log.append(DownloadsProgress(downloads=records), replaces=True)

    def _record(self, item: QueueItem) -> DownloadRecord:
        files = self.queue.status(item)
        done_bytes = sum(file.done_bytes for file in files)
        if item.state is ItemState.CANCELLED:
            done_bytes = 0
        size_bytes = sum(file.size_bytes or 0 for file in files)
        rate = sum(file.rate_bytes_per_s for file in files)
        is_size_known = all(file.size_bytes is not None for file in files)
        left_bytes = size_bytes - done_bytes
        error = None
        if item.state is ItemState.FAILED:
            error = ErrorBody(code=item.error_code, message=item.error, type="DownloadError")
        return DownloadRecord(
            id=item.id,
            name=item.plan.name,
            source=item.plan.source,
            version=item.plan.version,
            state=item.state,
            done_bytes=done_bytes,
            size_bytes=size_bytes,
            is_size_known=is_size_known,
            rate_bytes_per_s=rate,
            left_s=max(0, left_bytes) / rate if rate > 0 and is_size_known else None,
            files=tuple(_file_record(file) for file in files),
            error=error,
            created_at=item.created_at,
            ended_at=item.ended_at,
        )

    def _sweep(self) -> None:
        keep = {
            (item.plan.name, item.plan.version)
            for item in self.queue.items
            if item.state not in ENDED
        }
        try:
            garbage = find_garbage(self._models_folder, keep)
            remove_garbage(garbage)
        except OSError as error:
            logger.warning("what is left over of models cannot be removed: %s", error)
            return
        for one in garbage:
            logger.info("removed %s (%d bytes): %s", one.path, one.size_bytes, one.why)


def _file_record(file: FileStatus) -> FileRecord:
    return FileRecord(
        name=file.name,
        step=file.step,
        done_bytes=file.done_bytes,
        size_bytes=file.size_bytes,
        rate_bytes_per_s=file.rate_bytes_per_s,
        n_retries=file.n_retries,
        note=file.note,
    )


def _check_name(name: str) -> None:
    if name == BUILTIN:
        msg = f'"{BUILTIN}" is the model that comes with luci. Choose another name with --name.'
        raise ConfigError(msg, code="name_taken")
