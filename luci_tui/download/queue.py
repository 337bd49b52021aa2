"""The queue of model installs: which file is fetched when, and what becomes of it.

The order of the items is the order of their turns. At each change the queue works out which files
should be on their way now; others are stopped, which costs nothing but a look at their parts later.
What somebody asked for is on the disk before it is answered, so a host that is killed goes on with
the same queue. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from luci_tui.download.arrivals import Arrivals, Unit, parts_on_disk
from luci_tui.download.fetching import Fetcher
from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.download.queue_errors import has_ended, has_not_ended, is_installing, mistake
from luci_tui.download.queue_file import load_queue, save_queue
from luci_tui.download.records import (
    ENDED,
    GOING,
    FetchedFile,
    FileStatus,
    ItemState,
    QueueData,
    QueueItem,
)
from luci_tui.download.space import need_of, require_space
from luci_tui.download.threads import in_thread
from luci_tui.errors import CatalogError, DownloadError, LuciError

KEPT_ENDED = 50
"""Items that are done or cancelled and still shown; older ones are forgotten."""
MAX_UNFINISHED = 1000

logger = logging.getLogger(__name__)

Place = Literal["front", "up", "down", "last"]


class Installing(Protocol):
    """What is done with files once all of an item are there; see `library.installing`."""

    def folder(self, plan: Plan) -> Path:
        """Return where the files of a plan lie."""
        ...

    async def install(
        self, plan: Plan, files: tuple[FetchedFile, ...], *, is_enabled: bool
    ) -> None:
        """Check the files and make them the model in use, whole or not at all.

        When it is cancelled it either has done nothing, or returns because it was done.
        """
        ...

    def discard(self, plan: Plan) -> None:
        """Remove what is there of a plan that is not installed. Blocks."""
        ...


@dataclass(frozen=True)
class QueueOptions:
    """How the queue works."""

    max_parallel: int = 3
    """Most files at once."""
    limit_bytes_per_s: int = 0
    """Of all files together, unless somebody sets another one meanwhile; 0 = none."""
    reserve_bytes: int = 2 * 1024**3
    """What is left free on the disk."""


class DownloadQueue:
    """See the module. Call `open` first and `close` last.

    Args:
        file: Where it is kept.
        fetcher: Closed here; its limiter gets the queue's limit.
        installing: What happens to files that have arrived.
        options: How it works.
        on_change: Told of each item that has changed.
    """

    def __init__(
        self,
        file: Path,
        fetcher: Fetcher,
        installing: Installing,
        options: QueueOptions,
        on_change: Callable[[QueueItem], None],
    ) -> None:
        self._file = file
        self._fetcher = fetcher
        self._installing = installing
        self._options = options
        self._on_change = on_change
        self._items: dict[int, QueueItem] = {}
        self._next_id = 1
        self._limit_bytes_per_s: int | None = None
        self._active: dict[Unit, asyncio.Task[None]] = {}
        self._finishing: dict[int, asyncio.Task[None]] = {}
        self._discarding: dict[int, asyncio.Task[None]] = {}
        self._cancelling: set[int] = set()
        """Items whose last step is being ended, and which shall not begin it again."""
        self._arrivals = Arrivals()
        self._saving = asyncio.Lock()
        self._adding = asyncio.Lock()
        self._check_turn = asyncio.Semaphore(1)
        self._is_closing = False

    async def open(self) -> str:
        """Read what is on the disk; returns a sentence if something is wrong with it.

        Nothing is fetched before `start`.
        """
        data, problem = await in_thread(load_queue, self._file)
        self._next_id = data.next_id
        self._limit_bytes_per_s = data.limit_bytes_per_s
        for item in data.items:
            is_running = item.state is ItemState.RUNNING
            state = ItemState.QUEUED if is_running else item.state
            self._items[item.id] = item.model_copy(update={"state": state})
        noted = await in_thread(parts_on_disk, list(self._items.values()), self._installing.folder)
        self._arrivals = Arrivals(noted)
        self._apply_limit()
        return problem

    def start(self) -> None:
        """Go on with what is queued."""
        self._pump()

    async def close(self) -> None:
        """Stop everything; the next `open` goes on with it."""
        self._is_closing = True
        tasks = [*self._active.values(), *self._finishing.values(), *self._discarding.values()]
        for task in (*self._active.values(), *self._finishing.values()):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._fetcher.close()

    # What there is.

    @property
    def items(self) -> tuple[QueueItem, ...]:
        """All items, in the order of their turns."""
        return tuple(self._items.values())

    @property
    def is_busy(self) -> bool:
        """Something is on its way at this moment."""
        return bool(self._active or self._finishing)

    @property
    def limit_bytes_per_s(self) -> int:
        """Of all files together; 0 = none."""
        own = self._limit_bytes_per_s
        return self._options.limit_bytes_per_s if own is None else own

    def get(self, item_id: int) -> QueueItem:
        """Return one item.

        Raises:
            CatalogError: there is none with this number.
        """
        found = self._items.get(item_id)
        if found is None:
            msg = f"There is no download {item_id}. `luci downloads` lists them."
            raise CatalogError(msg, code="not_found")
        return found

    def status(self, item: QueueItem) -> tuple[FileStatus, ...]:
        """Say how far each file of an item is."""
        is_finishing = item.id in self._finishing
        return tuple(
            self._arrivals.status(
                item,
                file,
                is_active=(item.id, file.name) in self._active,
                is_finishing=is_finishing,
            )
            for file in item.plan.files
        )

    # What can be done with it.

    async def add(self, plan: Plan, *, is_enabled: bool = True) -> tuple[QueueItem, bool]:
        """Queue an install; True = the same one is there already and was taken up.

        Raises:
            DownloadError: it does not fit on the disk, another version of the model is being
                installed, or the queue cannot be written.
        """
        async with self._adding:
            found = self.unfinished(plan.name)
            finishing = self._finishing.get(found.id) if found is not None else None
            if found is not None and finishing is not None and found.plan != plan:
                # It is all but installed: the new one follows it.
                await asyncio.wait([finishing])
                found = self.unfinished(plan.name)
            if found is not None:
                return await self._attach(found, plan), True
            if sum(item.state not in ENDED for item in self.items) >= MAX_UNFINISHED:
                msg = f"{MAX_UNFINISHED} installs are queued, which is the most. Wait for some."
                raise DownloadError(msg, code="busy")
            await self._until_discarded(plan)
            await self._require_space(plan, GOING | {ItemState.PAUSED})
            item = QueueItem(
                id=self._next_id, plan=plan, is_enabled=is_enabled, created_at=time.time()
            )
            self._next_id += 1
            await self._save(item)
            self._items[item.id] = item
            self._on_change(item)
            self._pump()
            return self._items[item.id], False

    async def pause(self, item_id: int) -> QueueItem:
        """Stop an item until it is resumed; one that has failed or ended stays as it is."""
        item = self.get(item_id)
        if item.state in GOING:
            self._change(item, state=ItemState.PAUSED)
            self._stop(item_id)
            await self._save_quietly()
            self._pump()
        return self.get(item_id)

    async def resume(self, item_id: int) -> QueueItem:
        """Let an item go on that is paused or has failed.

        Raises:
            DownloadError: it has ended, or does not fit on the disk.
        """
        item = self.get(item_id)
        if item.state in ENDED:
            raise has_ended(item)
        if item.state not in GOING:
            await self._require_space(item.plan, GOING | {ItemState.PAUSED}, but=item_id)
            self._change(
                self.get(item_id), state=ItemState.QUEUED, error="", error_code="", ended_at=None
            )
            await self._save_quietly()
            self._pump()
        return self.get(item_id)

    async def cancel(self, item_id: int) -> QueueItem:
        """End an item and remove what has arrived of it.

        Raises:
            DownloadError: it has ended already.
        """
        await self._end_finishing(item_id)
        item = self.get(item_id)
        if item.state is ItemState.CANCELLED:
            return item
        if item.state in ENDED:
            raise has_ended(item)
        self._change(item, state=ItemState.CANCELLED, ended_at=time.time())
        tasks = self._stop(item_id)
        self._discarding[item_id] = asyncio.create_task(
            self._discard(item, tasks), name=f"discard download {item_id}"
        )
        await self._save_quietly()
        self._pump()
        return self.get(item_id)

    async def _end_finishing(self, item_id: int) -> None:
        """Stop the check and the install; they may be past the point of no return."""
        finishing = self._finishing.get(item_id)
        if finishing is None:
            return
        self._cancelling.add(item_id)
        try:
            finishing.cancel()
            await asyncio.wait([finishing])
        finally:
            self._cancelling.discard(item_id)

    async def move(self, item_id: int, place: Place) -> QueueItem:
        """Change the turn of an item; who comes first is fetched first, also from now on.

        Raises:
            DownloadError: it has ended.
        """
        item = self.get(item_id)
        if item.state in ENDED:
            raise has_ended(item)
        order = [one.id for one in self.items if one.state not in ENDED]
        at = order.index(item_id)
        order.pop(at)
        to = {"front": 0, "up": max(0, at - 1), "down": at + 1, "last": len(order)}[place]
        order.insert(to, item_id)
        ended = [one.id for one in self.items if one.state in ENDED]
        self._items = {one: self._items[one] for one in (*ended, *order)}
        self._on_change(item)
        await self._save_quietly()
        self._pump()
        return self.get(item_id)

    async def forget(self, item_ids: Collection[int] | None = None) -> tuple[QueueItem, ...]:
        """Leave out items that have ended, and give them; None = all of those.

        Raises:
            CatalogError: there is no such item; then none is left out.
            DownloadError: one of them has not ended; then none is left out.
        """
        if item_ids is None:
            wanted = [item for item in self.items if item.state in ENDED]
        else:
            wanted = [self.get(item_id) for item_id in dict.fromkeys(item_ids)]
        for item in wanted:
            if item.state not in ENDED:
                raise has_not_ended(item)
        removing = [self._discarding[one.id] for one in wanted if one.id in self._discarding]
        if removing:
            await asyncio.wait(removing)
        for item in wanted:
            self._items.pop(item.id, None)
        await self._save_quietly()
        return tuple(wanted)

    async def set_limit(self, bytes_per_s: int | None) -> int:
        """Limit the rate of all together from now on; 0 = no limit, None = as the settings say."""
        self._limit_bytes_per_s = bytes_per_s
        self._apply_limit()
        await self._save_quietly()
        return self.limit_bytes_per_s

    def _apply_limit(self) -> None:
        self._fetcher.limiter.bytes_per_s = float(self.limit_bytes_per_s)

    # How it goes on.

    def _pump(self) -> None:
        """Start and stop files so that those are on their way whose turn it is."""
        if self._is_closing:
            return
        for item in self.items:
            is_ready = item.state in GOING and item.is_fetched and item.id not in self._cancelling
            if is_ready and item.id not in self._finishing:
                task = asyncio.create_task(self._finish(item), name=f"install {item.id}")
                self._finishing[item.id] = task
                task.add_done_callback(partial(self._finish_ended, item.id))
        wanted = self._wanted_units()
        for unit, task in self._active.items():
            if unit not in wanted:
                task.cancel()
        for unit, file in wanted.items():
            if unit not in self._active and len(self._active) < self._options.max_parallel:
                name = f"download {unit[0]} {unit[1]}"
                task = asyncio.create_task(self._fetch(unit, file), name=name)
                self._active[unit] = task
                task.add_done_callback(partial(self._fetch_ended, unit))
        busy = {item_id for item_id, _ in self._active} | self._finishing.keys()
        for item in self.items:
            state = ItemState.RUNNING if item.id in busy else ItemState.QUEUED
            if item.state in GOING and item.state is not state:
                self._change(item, state=state)

    def _wanted_units(self) -> dict[Unit, PlannedFile]:
        wanted: dict[Unit, PlannedFile] = {}
        for item in self.items:
            for file in item.plan.files if item.state in GOING else ():
                if len(wanted) < self._options.max_parallel and not item.has(file.name):
                    wanted[item.id, file.name] = file
        return wanted

    async def _fetch(self, unit: Unit, file: PlannedFile) -> None:
        item = self._items[unit[0]]
        try:
            await self._require_space(item.plan, {ItemState.RUNNING}, but=item.id)
            folder = self._installing.folder(item.plan)
            fetched = await self._fetcher.fetch(file, folder, partial(self._arrivals.note, unit))
            item = self._items[item.id]
            self._change(item, fetched=(*item.fetched, fetched))
        except LuciError as error:
            self._fail(item.id, error)
        except Exception as error:
            # One download that meets a mistake of ours must not end the host and the others.
            logger.exception("download %d met a mistake in luci", item.id)
            self._fail(item.id, mistake(error))
        await self._save_quietly()

    def _fetch_ended(self, unit: Unit, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step never reaches a `finally` of its own.
        del task
        del self._active[unit]
        self._pump()

    async def _finish(self, item: QueueItem) -> None:
        try:
            async with self._check_turn:
                await self._installing.install(item.plan, item.fetched, is_enabled=item.is_enabled)
            logger.info("download %d is installed: %s", item.id, item.plan.name)
            self._change(
                self._items[item.id],
                state=ItemState.DONE,
                ended_at=time.time(),
                error="",
                error_code="",
            )
            self._arrivals.forget(item)
        except LuciError as error:
            self._fail(item.id, error, look_again=True)
        except Exception as error:
            # See _fetch.
            logger.exception("install %d met a mistake in luci", item.id)
            self._fail(item.id, mistake(error), look_again=True)
        await self._save_quietly()

    def _finish_ended(self, item_id: int, task: asyncio.Task[None]) -> None:
        del task
        del self._finishing[item_id]
        self._pump()

    def _fail(self, item_id: int, error: LuciError, *, look_again: bool = False) -> None:
        """Let an item wait for somebody to resume it.

        Args:
            item_id: Which one.
            error: Why.
            look_again: Files that have arrived may be gone or wrong, so they are read once more.
        """
        item = self._items[item_id]
        if item.state not in GOING:
            return
        logger.warning("download %d has failed: %s", item_id, error.message)
        fetched = () if look_again else item.fetched
        self._change(
            item,
            state=ItemState.FAILED,
            fetched=fetched,
            error=error.message,
            error_code=error.code,
            ended_at=time.time(),
        )
        self._stop(item_id)

    def _stop(self, item_id: int) -> list[asyncio.Task[None]]:
        """Cancel what is on its way for an item; returns the tasks, which end soon."""
        tasks = [task for unit, task in self._active.items() if unit[0] == item_id]
        finishing = self._finishing.get(item_id)
        tasks += [finishing] if finishing is not None else []
        current = asyncio.current_task()
        for task in tasks:
            if task is not current:
                task.cancel()
        return tasks

    async def _discard(self, item: QueueItem, tasks: list[asyncio.Task[None]]) -> None:
        try:
            if tasks:
                await asyncio.wait(tasks)
            await in_thread(self._installing.discard, item.plan)
            self._arrivals.forget(item)
        except OSError as error:
            logger.warning("what arrived of %s cannot be removed: %s", item.plan.name, error)
        finally:
            del self._discarding[item.id]

    async def _until_discarded(self, plan: Plan) -> None:
        """Wait until nothing of a cancelled install of the same model is being removed."""
        tasks = [
            task
            for item_id, task in self._discarding.items()
            if self._items[item_id].plan.name == plan.name
        ]
        if tasks:
            await asyncio.wait(tasks)

    async def _attach(self, found: QueueItem, plan: Plan) -> QueueItem:
        if found.plan.version == plan.version:
            return await self.resume(found.id)
        raise is_installing(found, plan)

    def unfinished(self, name: str) -> QueueItem | None:
        """Return the item that installs a model of this name and has not ended; None = none."""
        unfinished = (item for item in self.items if item.state not in ENDED)
        return next((item for item in unfinished if item.plan.name == name), None)

    async def _require_space(
        self, plan: Plan, states: frozenset[ItemState] | set[ItemState], but: int = 0
    ) -> None:
        """See `require_space`; items in these states have a claim on the disk as well."""
        others = [one.plan for one in self.items if one.state in states and one.id != but]
        await in_thread(self._check_space, plan, others)

    def _check_space(self, plan: Plan, others: list[Plan]) -> None:
        folder = self._installing.folder
        needs = [need_of(one, folder(one)) for one in others]
        try:
            require_space(need_of(plan, folder(plan)), needs, self._options.reserve_bytes)
        except OSError as error:
            msg = f"The disk cannot be asked how much is free ({error}). Check the models folder."
            raise DownloadError(msg, code="disk") from error

    # What is kept.

    def _change(self, item: QueueItem, **fields: object) -> None:
        changed = item.model_copy(update=fields)
        self._items[item.id] = changed
        if changed.state in ENDED and item.state not in ENDED:
            self._trim()
        self._on_change(changed)

    def _trim(self) -> None:
        ended = sorted(
            (item for item in self.items if item.state in ENDED),
            key=lambda item: item.ended_at or 0.0,
        )
        for item in ended[: max(0, len(ended) - KEPT_ENDED)]:
            if item.id not in self._discarding:
                del self._items[item.id]

    async def _save(self, *added: QueueItem) -> None:
        async with self._saving:
            data = QueueData(
                next_id=self._next_id,
                limit_bytes_per_s=self._limit_bytes_per_s,
                items=(*self.items, *added),
            )
            try:
                await in_thread(save_queue, self._file, data)
            except OSError as error:
                raise DownloadError(
                    f"The queue of downloads cannot be written to {self._file} "
                    f"({error.strerror}). Check the folder's permissions and the disk.",
                    code="disk",
                ) from error

    async def _save_quietly(self) -> None:
        """Save what has happened already; a disk that is full must not stop it from happening."""
        try:
            await self._save()
        except DownloadError as error:
            logger.warning("%s", error.message)
