"""Which models answer in the place of one that cannot be had, and what to say if none can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from luci_tui.errors import CatalogError, EngineError, ModelLoadError
from luci_tui.manager.entries import ModelEntry

logger = logging.getLogger(__name__)

Resolve = Callable[[str], ModelEntry]


def chain(wanted: ModelEntry, resolve: Resolve) -> Iterator[ModelEntry]:
    """List a model and its fallbacks, and theirs, each once; one that is not there is left out."""
    waiting, seen = [wanted], {wanted.name}
    while waiting:
        entry = waiting.pop(0)
        yield entry
        following: list[ModelEntry] = []
        for name in entry.fallbacks:
            try:
                fallback = resolve(name)
            except (CatalogError, ModelLoadError) as error:
                logger.warning("a fallback of %s is not there: %s", entry.name, error.message)
                continue
            if fallback.name not in seen:
                seen.add(fallback.name)
                following.append(fallback)
        waiting = following + waiting


def all_failed(failures: Sequence[EngineError]) -> EngineError:
    """Make one error of what a model and its fallbacks failed with."""
    first, *others = failures
    if not others:
        return type(first)(first.message, code=first.code)
    words = " ".join(other.message for other in others)
    return type(first)(f"{first.message} Its fallbacks failed too: {words}", code=first.code)
