"""What the words after `luci install` stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luci_tui import paths
from luci_tui.catalog.catalog import load_catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.errors import CatalogError, ConfigError

CORE = ("lfm2.5-230m", "dolphin3-3b", "dolphin3-8b")
"""One model of each of the tiers 0 to 2: of the chat models that the pinned llama.cpp runs, that
need no login and whose sha256 the catalogue knows, the smallest of its tier."""
_SETS = ("core", "all", "tier")


@dataclass(frozen=True)
class Wished:
    """One model that somebody wants to have."""

    text: str
    """As the source of downloads takes it."""
    size_bytes: int | None = None
    """As the catalogue says; None = it does not know this one."""


def wished(words: Sequence[str]) -> tuple[Wished, ...]:
    """Say which models are meant: names, addresses, "core", "all" or "tier N".

    Raises:
        ConfigError: the words cannot be understood.
        CatalogError: a tier without models, or a core model that the catalogue has lost.
    """
    if words[0] not in _SETS:
        return tuple(dict.fromkeys(_one(word) for word in words))
    if words[0] == "tier":
        return _of(_tier(words[1:]))
    if len(words) > 1:
        msg = f'"{words[0]}" stands for a set of models and goes alone: luci install {words[0]}.'
        raise ConfigError(msg)
    catalog = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())
    if words[0] == "core":
        return _of([catalog.resolve(name) for name in CORE])
    return _of([entry for entry in catalog.list_models() if entry.is_runnable])


def _tier(words: Sequence[str]) -> list[CatalogEntry]:
    if len(words) != 1 or words[0] not in ("0", "1", "2", "3"):
        msg = "Say which tier: luci install tier 0, 1, 2 or 3. `luci catalog tiers` counts them."
        raise ConfigError(msg)
    catalog = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())
    found = [one for one in catalog.list_models(tier=int(words[0])) if one.is_runnable]
    if not found:
        msg = f"The catalogue has no model of tier {words[0]} that runs here."
        raise CatalogError(msg)
    return found


def _one(word: str) -> Wished:
    if "/" in word or word.lower().startswith("hf:"):
        return Wished(word)
    catalog = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())
    entry = catalog.resolve(word)
    return Wished(entry.name, entry.size_bytes)


def _of(entries: Sequence[CatalogEntry]) -> tuple[Wished, ...]:
    return tuple(Wished(entry.name, entry.size_bytes) for entry in entries)
