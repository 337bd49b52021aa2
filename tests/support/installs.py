"""Installs from the hub of `tests.support.hub` through a real queue, without a host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luci_tui.download.fetching import Fetcher
from luci_tui.download.pace import Limiter
from luci_tui.download.plan import Plan, PlannedFile, Role
from luci_tui.download.queue import DownloadQueue, Installing, QueueOptions
from luci_tui.download.records import FetchedFile, ItemState, QueueItem
from luci_tui.engine.native_validate import check_file
from luci_tui.gguf.findings import FileReport
from luci_tui.library.garbage import remove_folder
from luci_tui.library.installing import Installer
from tests.support.downloads import quick
from tests.support.hub import Hub, HubFile, running_hub
from tests.support.waiting import until

SETTLED = frozenset({ItemState.DONE, ItemState.FAILED, ItemState.CANCELLED, ItemState.PAUSED})
WAIT_S = 30.0


class FilesAlone:
    """An `Installing` that takes any file for a model; what was installed is in `installed`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.installed: list[tuple[str, tuple[FetchedFile, ...]]] = []

    def folder(self, plan: Plan) -> Path:
        """Return a folder for each model."""
        return self._folder / plan.name

    async def install(
        self, plan: Plan, files: tuple[FetchedFile, ...], *, is_enabled: bool
    ) -> None:
        """Write down what arrived."""
        del is_enabled
        self.installed.append((plan.name, files))

    def discard(self, plan: Plan) -> None:
        """Remove the folder."""
        remove_folder(self.folder(plan))


async def validate_here(paths: tuple[Path, ...]) -> tuple[FileReport, ...]:
    """Check with luci's validator in this process, which a test may."""
    return tuple(check_file(str(path)) for path in paths)


@dataclass
class Bench:
    """A queue, its hub and its folders."""

    hub: Hub
    home: Path
    queue: DownloadQueue
    installing: Installing
    changes: list[QueueItem] = field(default_factory=list[QueueItem])
    asked: list[str] = field(default_factory=list[str])
    """Addresses for which headers were asked."""

    def plan(self, *files: tuple[str, HubFile], name: str = "model", **fields: Any) -> Plan:
        """Make the plan for files of the hub; one that is called mmproj… is the projector."""
        planned = tuple(
            PlannedFile(
                name=file_name,
                url=self.hub.url_of(file_name),
                size_bytes=len(file.content),
                sha256=file.sha256,
                role=Role.MMPROJ if file_name.startswith("mmproj") else Role.MODEL,
            )
            for file_name, file in files
        )
        return Plan.model_validate({"name": name, "source": "test", "files": planned, **fields})

    def offer(self, content: bytes, name: str = "model", *faults: Any) -> Plan:
        """Put a file into the hub and plan a model of it."""
        file_name = f"{name}.gguf"
        return self.plan((file_name, self.hub.add(content, *faults, name=file_name)), name=name)

    async def until(
        self, item_id: int, is_time: Callable[[QueueItem], bool] = lambda one: one.state in SETTLED
    ) -> QueueItem:
        """Wait for a condition of an item."""
        await until(lambda: is_time(self.queue.get(item_id)), WAIT_S)
        return self.queue.get(item_id)

    def n_from_the_beginning(self) -> int:
        """Count the requests that asked for a whole file."""
        return sum("range" not in one.headers for one in self.hub.asked)

    async def until_received(self, item_id: int, n_bytes: int) -> None:
        """Wait until so much has arrived."""

        def received(item: QueueItem) -> bool:
            return sum(file.done_bytes for file in self.queue.status(item)) >= n_bytes

        await self.until(item_id, received)


@asynccontextmanager
async def queue_at(
    hub: Hub,
    home: Path,
    *,
    options: QueueOptions | None = None,
    installing: Installing | None = None,
    token: str = "",
    **move_fields: Any,
) -> AsyncGenerator[Bench]:
    """Run a queue on a home folder; a later one on the same folder goes on with it."""
    installing = installing or Installer(
        home / "models", validate_here, lambda _: False, lambda _name, _enabled: None
    )
    asked: list[str] = []

    def headers(url: str) -> Mapping[str, str]:
        asked.append(url)
        is_home = bool(token) and url.startswith(hub.url)
        return {"Authorization": f"Bearer {token}"} if is_home else {}

    fetcher = Fetcher(headers, Limiter(), quick(**move_fields))
    changes: list[QueueItem] = []
    queue = DownloadQueue(
        home / "downloads.json",
        fetcher,
        installing,
        options or QueueOptions(reserve_bytes=0),
        changes.append,
    )
    if problem := await queue.open():
        raise AssertionError(problem)
    queue.start()
    try:
        yield Bench(hub, home, queue, installing, changes, asked)
    finally:
        await queue.close()


@asynccontextmanager
async def bench_at(home: Path, **fields: Any) -> AsyncGenerator[Bench]:
    """Run a hub and a queue."""
    async with running_hub() as hub, queue_at(hub, home, **fields) as bench:
        yield bench
