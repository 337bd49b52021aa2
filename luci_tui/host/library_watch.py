"""Watch the folders of a person's own model files: what is dropped there is identified and checked.

Names become usable without it, for the registry looks at folders when it is asked. This reads the
headers beforehand, lets the validator look at each file in a process of its own, and tells front
ends what came and went.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from luci_tui.engine import job_frames
from luci_tui.engine.job_process import COMMAND, run_job
from luci_tui.errors import EngineError
from luci_tui.host.api.messages import LibraryChanged
from luci_tui.library.finding import find_custom
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.identify import header_facts
from luci_tui.library.places import Places
from luci_tui.library.records import FoundModel
from luci_tui.library.walk import Walk

SETTLE_S: Final = 1.0
"""A file that changed this short ago may still be copied."""
DEBOUNCE_MS: Final = 400
STEP_MS: Final = 200
"""How often it is looked whether the system told of changes."""
BEGIN_MS: Final = 5000
"""After so long the watch has surely begun; what came before that is looked for once."""
VALIDATE_S: Final = 120.0
"""Longest time for the validator's look at one model."""

logger = logging.getLogger(__name__)


class LibraryWatch:
    """Belongs to the event loop of the host.

    Args:
        find_places: Says where to look; blocks.
        log_path: Where validator processes write their log.
        on_change: Told what came and what went.
        job_command: How a validator process is started; None = as ever.
    """

    def __init__(
        self,
        find_places: Callable[[], Places],
        log_path: Path,
        on_change: Callable[[LibraryChanged], None],
        job_command: tuple[str, ...] | None = None,
    ) -> None:
        self._find_places = find_places
        self._log_path = log_path
        self._on_change = on_change
        self._job_command = job_command or COMMAND
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._known: dict[Path, FoundModel] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name="library watch")

    async def close(self) -> None:
        """Watch no longer."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stop.set()
        task.cancel()
        await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            await self._watch()
        except (OSError, RuntimeError) as error:
            # The system has only so many watches; names still work, they are looked for then.
            logger.warning("the folders of custom models are not watched: %s", error)

    async def _watch(self) -> None:
        # Its own library takes a while to load, so it is loaded when the host answers already.
        from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

        places = await asyncio.to_thread(self._find_places)
        folders = await asyncio.to_thread(_existing, places)
        await self._look(places)
        if not folders:
            return
        changes = awatch(
            *folders,
            watch_filter=lambda _, path: path.lower().endswith(".gguf") or Path(path).is_dir(),
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=BEGIN_MS,
            yield_on_timeout=True,
            recursive=True,
            ignore_permission_denied=True,
        )
        has_begun = False
        async with aclosing(changes) as rounds:
            async for changed in rounds:
                if changed or not has_begun:
                    await self._look(places)
                has_begun = True

    async def _look(self, places: Places) -> None:
        """Identify what is new, again and again while something is still being written."""
        while True:
            models, left_s = await asyncio.to_thread(_find, places)
            await self._tell(places, models)
            if not left_s:
                break
            await asyncio.sleep(left_s)
        for model in models:
            await self._validate(places, model)

    async def _tell(self, places: Places, models: list[FoundModel]) -> None:
        now = {model.path: model for model in models}
        added = [one for path, one in now.items() if self._known.get(path) != one]
        removed = [one.name for path, one in self._known.items() if path not in now]
        self._known = now
        if added:
            await asyncio.to_thread(_read_headers, places, added)
        if added or removed:
            names = tuple(one.name for one in added)
            logger.info("custom models: %d new or changed, %d gone", len(added), len(removed))
            self._on_change(LibraryChanged(changed=names, removed=tuple(removed)))

    async def _validate(self, places: Places, model: FoundModel) -> None:
        """Let the validator look at a model that is whole, once."""
        if not await asyncio.to_thread(_wants_verdict, places, model):
            return
        paths = [*model.files, *([model.mmproj] if model.mmproj else [])]
        spec = job_frames.ValidateSpec(paths=tuple(str(path) for path in paths))
        try:
            async with asyncio.timeout(VALIDATE_S):
                async with aclosing(run_job(spec, self._log_path, self._job_command)) as events:
                    async for event in events:
                        if isinstance(event, job_frames.ValidateResult):
                            problem = _problem(event)
                            await asyncio.to_thread(_note_verdict, places, model, problem)
                            if problem:
                                self._on_change(LibraryChanged(changed=(model.name,)))
        except (EngineError, TimeoutError) as error:
            logger.warning("%s was not validated: %s", model.path, error)


def _existing(places: Places) -> list[Path]:
    """Make the folder of custom models if need be, and list those that are there."""
    try:
        places.custom[0].mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("%s cannot be made: %s", places.custom[0], error)
    return [folder for folder in places.custom if folder.is_dir()]


def _find(places: Places) -> tuple[list[FoundModel], float]:
    """Find the models, and say how long to wait until nothing has changed for a moment.

    A folder that changed just now counts: what is put into a folder that was made a moment ago may
    come before the system watches it.
    """
    walk = Walk()
    models = [model for folder in places.custom for model in find_custom(folder, walk)]
    times_ns = [model.stamp.mtime_ns for model in models] + list(walk.folders.values())
    now_ns = time.time_ns()
    # A time in the future is somebody's clock, not a sign that it is being written.
    ages_s = [(now_ns - one) / 1e9 for one in times_ns if one <= now_ns]
    return models, max(0.0, SETTLE_S - min(ages_s, default=SETTLE_S))


def _read_headers(places: Places, models: list[FoundModel]) -> None:
    with HeaderCache(places.cache_file) as cache:
        for model in models:
            header_facts(model, cache)


def _wants_verdict(places: Places, model: FoundModel) -> bool:
    if model.problem or not model.is_readable:
        return False
    with HeaderCache(places.cache_file) as cache:
        if header_facts(model, cache).problem:
            return False
        return cache.get(FactKind.VERDICT, model.path, model.stamp) is None


def _note_verdict(places: Places, model: FoundModel, problem: str) -> None:
    with HeaderCache(places.cache_file) as cache:
        cache.put(FactKind.VERDICT, model.path, model.stamp, {"problem": problem})


def _problem(result: job_frames.ValidateResult) -> str:
    for report in result.reports:
        finding = report.first_error
        if finding is not None:
            return f"{finding.message} (Rule {finding.code}; `luci validate` tells more.)"
    return ""
