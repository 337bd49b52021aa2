"""The library: every model that is on this machine, with all that is known about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final

from luci_tui.catalog.tiers import CUSTOM_TIER, declared_tier
from luci_tui.errors import CatalogError
from luci_tui.library.gathering import Gathered, gather
from luci_tui.library.header_cache import HeaderCache
from luci_tui.library.identify import header_facts, judge
from luci_tui.library.places import Places, find_places
from luci_tui.library.records import FoundModel, HeaderFacts, LibraryModel, ModelKind, TierSource

N_SUGGESTIONS: Final = 3
_ORDER: Final = {kind: number for number, kind in enumerate(ModelKind)}


class Library:
    """What is there at one moment. Everything blocks; one thread at a time.

    Args:
        places: Where to look; None = as the environment and config.toml say.
        with_foreign: Also look through the stores of other programs.
        on_progress: Told (how many, of how many) headers are read.
    """

    def __init__(
        self,
        places: Places | None = None,
        *,
        with_foreign: bool = True,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.places = places or find_places()
        with HeaderCache(self.places.cache_file) as cache:
            self.gathered = gather(self.places, cache, with_foreign=with_foreign)
            models: list[LibraryModel] = []
            for number, found in enumerate(self.gathered.models):
                if on_progress is not None:
                    on_progress(number, len(self.gathered.models))
                models.append(library_model(found, self.gathered, cache))
        self.models = tuple(sorted(models, key=lambda one: (_ORDER[one.found.kind], one.name)))

    @property
    def problems(self) -> tuple[str, ...]:
        """What in settings and folders cannot be used, one sentence each."""
        return self.gathered.problems

    def get(self, name: str) -> LibraryModel | None:
        """Give the model of this name or alias; None = there is none."""
        return next((one for one in self.models if name == one.name or name in one.aliases), None)

    def find(self, name: str) -> LibraryModel:
        """Give the model of this name or alias; a part of one stands for nothing.

        Raises:
            CatalogError: there is none; the message names similar ones.
        """
        found = self.get(name)
        if found is None:
            raise CatalogError(self.unknown(name), code="unknown_model")
        return found

    def unknown(self, name: str) -> str:
        """Say in one sentence or two that no model has this name, and what to do."""
        known = {word.lower(): word for one in self.models for word in (one.name, *one.aliases)}
        near = difflib.get_close_matches(name.lower(), known, N_SUGGESTIONS, 0.5)
        if near:
            hint = "Did you mean " + " or ".join(f'"{known[one]}"' for one in near) + "?"
        else:
            hint = "`luci llm list` shows those that are here, `luci catalog list` all others."
        return f'There is no model "{name[:100]}" here. {hint}'


def library_model(found: FoundModel, gathered: Gathered, cache: HeaderCache) -> LibraryModel:
    """Put together all that is known about one model: may read its header."""
    header = header_facts(found, cache)
    state, problem = judge(found, header, cache)
    tier, source = _tier(found, header, gathered)
    settings = gathered.settings.of(found.name)
    return LibraryModel(
        found=found,
        header=header,
        state=state,
        problem=problem,
        is_enabled=gathered.is_enabled(found),
        tier=tier,
        tier_source=source,
        measured_tier=None,
        aliases=found.aliases,
        notes=settings.notes,
    )


def _tier(found: FoundModel, header: HeaderFacts, gathered: Gathered) -> tuple[int, TierSource]:
    own = gathered.settings.of(found.name).tier
    if own is not None:
        return own, TierSource.USER
    declared = gathered.catalog.tiers.get(found.catalog_name)
    if declared is not None:
        return declared, TierSource.CATALOGUE
    if header.is_model and header.n_params:
        return declared_tier(header.n_params / 1e9), TierSource.COMPUTED
    return CUSTOM_TIER, TierSource.DEFAULT
