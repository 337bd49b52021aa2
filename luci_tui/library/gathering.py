"""Put together what is found, what a person has set and what the catalogue knows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from luci_tui.library import own_settings
from luci_tui.library.catalog_names import CatalogNames, catalog_names
from luci_tui.library.finding import find_own, with_unique_names
from luci_tui.library.foreign import find_foreign
from luci_tui.library.header_cache import HeaderCache
from luci_tui.library.own_settings import OwnSettings
from luci_tui.library.places import Places
from luci_tui.library.records import FoundModel
from luci_tui.library.walk import Walk

BUILTIN = "builtin"
"""The name of the model that ships with luci, which is in no folder."""


@dataclass(frozen=True)
class Gathered:
    """All models with the names by which they can be asked for."""

    models: tuple[FoundModel, ...]
    """luci's own first. Names and aliases are unique."""
    settings: OwnSettings
    catalog: CatalogNames
    walk: Walk
    problems: tuple[str, ...]

    def is_enabled(self, model: FoundModel) -> bool:
        """Tell whether a model can be used by name."""
        chosen = self.settings.of(model.name).enabled
        return model.kind.is_enabled_by_itself if chosen is None else chosen


def gather(places: Places, cache: HeaderCache, *, with_foreign: bool = True) -> Gathered:
    """Look through all folders. Opens manifests and settings, but no model file: blocks.

    Args:
        places: Where to look.
        cache: What was read before.
        with_foreign: Also look through the stores of other programs.
    """
    walk = Walk()
    settings = own_settings.read(places.settings_file)
    found = find_own(places.models, places.custom, cache, walk)
    for store in places.stores if with_foreign else ():
        # Each store has its own bound, so that a large one hides no other.
        its_walk = Walk()
        found += find_foreign(store, its_walk)
        walk.cut = walk.cut or its_walk.cut
    catalog = CatalogNames()
    if any(one.catalog_name or one.repo for one in found):
        catalog = catalog_names(*places.catalogs, cache)
        found = [_in_catalog(one, catalog) for one in found]
    taken = {BUILTIN}
    named = with_unique_names(found, taken)
    problems = [*places.problems, *settings.problems]
    if catalog.problem:
        problems.append(catalog.problem)
    if walk.cut is not None:
        problems.append(f"{walk.cut} has too many files to look at all of them. Tidy it up.")
    models = tuple(_with_aliases(named, settings, catalog, taken))
    return Gathered(models, settings, catalog, walk, tuple(problems))


def _in_catalog(model: FoundModel, catalog: CatalogNames) -> FoundModel:
    name = model.catalog_name or catalog.name_of(model.repo, model.repo_file)
    return replace(model, catalog_name=name if name in catalog.tiers else "")


def _with_aliases(
    models: Iterable[FoundModel], settings: OwnSettings, catalog: CatalogNames, taken: set[str]
) -> list[FoundModel]:
    """Give away aliases: first those that a person has set, then those that files came with."""
    models = list(models)
    own: dict[str, tuple[str, ...]] = {}
    for model in models:
        own[model.name] = _free(settings.of(model.name).aliases, taken)
    result: list[FoundModel] = []
    for model in models:
        known = model.aliases
        if model.catalog_name:
            known += (model.catalog_name, *catalog.aliases.get(model.catalog_name, ()))
        result.append(replace(model, aliases=own[model.name] + _free(known, taken)))
    return result


def _free(names: Iterable[str], taken: set[str]) -> tuple[str, ...]:
    free = tuple(name for name in dict.fromkeys(names) if name not in taken)
    taken.update(free)
    return free
