"""Which models of the library can be used by name. Quick: it is asked with every request."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from luci_tui.library.catalog_names import catalog_names
from luci_tui.library.gathering import Gathered, gather
from luci_tui.library.header_cache import HeaderCache
from luci_tui.library.own_settings import ModelSettings
from luci_tui.library.places import Places, find_places
from luci_tui.library.records import FoundModel

_TICK_NS: Final = 50_000_000
"""A folder that changed this short ago may change again without showing it in its time."""


@dataclass(frozen=True)
class Usable:
    """What can be used, and what could if a person enabled it."""

    models: tuple[FoundModel, ...] = ()
    """Enabled and with a file to load."""
    disabled: Mapping[str, str] = field(default_factory=dict[str, str])
    """From names and aliases of the others to their names."""
    own: Mapping[str, ModelSettings] = field(default_factory=dict[str, ModelSettings])
    """What a person has set, by name; also about models that are in no folder."""


class UsableModels:
    """Looks through the folders only when one of them has changed. Any thread.

    Args:
        places: Says where to look.
    """

    def __init__(self, places: Callable[[], Places] = find_places) -> None:
        self._find_places = places
        self._lock = threading.Lock()
        self._places: Places | None = None
        self._stamps: dict[Path, int] | None = None
        self._found = Usable()
        self._has_looked = False

    def get(self) -> Usable:
        """Give what can be used now. No file of a model is opened: it may be broken.

        While another thread looks through the folders, what it found before holds.
        """
        if not self._lock.acquire(blocking=not self._has_looked):
            return self._found
        try:
            self._look_if_changed()
            return self._found
        finally:
            self._lock.release()

    def refresh(self) -> None:
        """Look through the folders if one has changed, so that the next `get` need not."""
        with self._lock:
            self._look_if_changed()

    def is_current(self) -> bool:
        """Tell, with a few calls of stat, whether `get` would have nothing to look for."""
        stamps = self._stamps
        return stamps is not None and all(
            _mtime_ns(path) == stamp for path, stamp in stamps.items()
        )

    def disabled(self) -> Mapping[str, str]:
        """Give the names of all disabled models, those of other programs included: slow."""
        with self._lock, HeaderCache(self._here().cache_file) as cache:
            return _usable(gather(self._here(), cache)).disabled

    def installable(self, name: str) -> str:
        """Give the catalogue's entry of this name or alias, however it is written; empty = none."""
        with self._lock, HeaderCache(self._here().cache_file) as cache:
            known = catalog_names(*self._here().catalogs, cache)
        for entry in known.tiers:
            names = (entry, *known.aliases.get(entry, ()))
            if name.lower() in (one.lower() for one in names):
                return entry
        return ""

    def _here(self) -> Places:
        if self._places is None:
            self._places = self._find_places()
        return self._places

    def _look_if_changed(self) -> None:
        if not self.is_current():
            self._look()
            self._has_looked = True

    def _look(self) -> None:
        now_ns = time.time_ns()
        self._places = places = self._find_places()
        watched = [places.settings_file, places.settings_file.with_name("config.toml")]
        watched += [places.catalogs[1], places.models, places.models / "installed", *places.custom]
        stamps = {path: _mtime_ns(path) for path in watched}
        with HeaderCache(places.cache_file) as cache:
            gathered = gather(places, cache, with_foreign=False)
            names = {one.name for one in gathered.models}
            enabled = {name for name, one in gathered.settings.models.items() if one.enabled}
            if places.stores and enabled - names:
                # Somebody else's models are looked for only where one of them is in use.
                gathered = gather(places, cache)
        stamps.update(gathered.walk.folders)
        self._found = _usable(gathered)
        is_settled = all(now_ns - stamp > _TICK_NS for stamp in stamps.values())
        self._stamps = stamps if is_settled else None


def _usable(gathered: Gathered) -> Usable:
    models: list[FoundModel] = []
    disabled: dict[str, str] = {}
    for one in gathered.models:
        if not gathered.is_enabled(one):
            disabled |= dict.fromkeys((one.name, *one.aliases), one.name)
        elif one.is_readable:
            models.append(one)
    return Usable(tuple(models), disabled, gathered.settings.models)


def _mtime_ns(path: Path) -> int:
    """Give the time of the last change; 0 = there is no such path."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
