"""What is remembered of each model that was asked for: its entry, and how its workers fared."""

from __future__ import annotations

import logging
import re
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pydantic import ValidationError

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError, ModelLoadError
from luci_tui.manager.clock import Clock
from luci_tui.manager.entries import ModelEntry, own_entry
from luci_tui.manager.health import Health, RestartPolicy
from luci_tui.manager.pool import Pool
from luci_tui.manager.resident import Resident, ResidentState
from luci_tui.manager.status import ResidentStatus, status_of

logger = logging.getLogger(__name__)

_MAX_REMEMBERED = 256
"""Models beyond that are forgotten once nothing of them is loaded."""
_MAX_OWN_NAME = 100
"""Characters of a file's name in the name of an engine that somebody has alone."""


@dataclass
class Known:
    """One model."""

    entry: ModelEntry
    health: Health
    grow_after_s: float = field(default=float("-inf"))
    """When one more worker may be tried."""
    is_own: bool = False
    """True = one holder has it for itself."""


class Roster:
    """The models by name. Belongs to one event loop."""

    def __init__(self, pool: Pool, restarts: RestartPolicy, clock: Clock) -> None:
        self._pool = pool
        self._restarts = restarts
        self._clock = clock
        self._known: dict[str, Known] = {}

    def __contains__(self, name: str) -> bool:
        """Tell whether a model of this name is remembered."""
        return name in self._known

    def of(self, entry: ModelEntry) -> Known:
        """Find what is kept about a model; what was loaded for another definition retires."""
        known = self._known.get(entry.name)
        if known is None or not known.entry.loads_like(entry):
            for resident in self._pool.of(entry.name):
                self._pool.retire(resident)
            self._forget_old()
            known = Known(entry, Health(self._restarts))
            self._known[entry.name] = known
        elif known.entry != entry:
            known.entry = entry
            for resident in self._pool.of(entry.name):
                resident.entry = entry
        return known

    def own(self, spec: LoadSpec) -> Known:
        """Make a model for one holder alone; `forget` ends it.

        Raises:
            ModelLoadError: the path is none.
        """
        known = self.of(_own_entry(spec, self._known))
        known.is_own = True
        return known

    def forget(self, known: Known) -> None:
        """Remember a model no longer."""
        if self._known.get(known.entry.name) is known:
            del self._known[known.entry.name]

    def sweep(self, known: Known) -> None:
        """Notice workers that were lost while nobody used them."""
        for resident in self._pool.of(known.entry.name):
            error = resident.lost
            if error is not None:
                self.note_lost(known, resident, error)

    def note_lost(self, known: Known, resident: Resident, error: EngineError) -> None:
        """Give a lost worker to nobody any more, and remember its death."""
        if resident.is_retired or resident.state is not ResidentState.READY:
            return  # known already, or ended on purpose
        now_s = self._clock.now()
        logger.warning("the worker %s was lost: %s", resident.key, error.message)
        known.health.note_death(error, now_s - resident.ready_s, resident.n_answers, now_s)
        self._pool.retire(resident)

    def snapshot(self, default_ttl_s: float) -> tuple[ResidentStatus, ...]:
        """Tell how each model is that is loaded, comes, goes, or failed since the start."""
        now_s = self._clock.now()
        found: list[ResidentStatus] = []
        for name, known in self._known.items():
            self.sweep(known)
            residents = [one for one in self._pool.all() if one.entry.name == name]
            if residents or known.health.last_error is not None:
                one = status_of(known.entry, residents, known.health, now_s, default_ttl_s)
                found.append(one.model_copy(update={"is_own": known.is_own}))
        return tuple(found)

    def _forget_old(self) -> None:
        loaded = {one.entry.name for one in self._pool.all()}
        for name in list(self._known):
            if len(self._known) < _MAX_REMEMBERED:
                return
            if name not in loaded:
                del self._known[name]


def _own_entry(spec: LoadSpec, taken: Container[str]) -> ModelEntry:
    """Make an entry for one holder, named after its file and a number that is free."""
    file_name = re.sub(r"[^\w.+-]+", "-", Path(spec.model_path).name)[-_MAX_OWN_NAME:]
    name = next(
        name for number in count(1) if (name := f"{file_name or 'model'}#{number}") not in taken
    )
    try:
        return own_entry(spec, name)
    except ValidationError as error:
        raise ModelLoadError(
            f'"{spec.model_path}" is no path of a model. Name a GGUF file.', code="missing_file"
        ) from error
