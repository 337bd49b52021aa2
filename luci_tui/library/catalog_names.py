"""What the library needs of the catalogue: names, aliases, tiers, and which file is which entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luci_tui.errors import ConfigError
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.records import Stamp


@dataclass(frozen=True)
class CatalogNames:
    """The entries, briefly."""

    tiers: Mapping[str, int] = field(default_factory=dict[str, int])
    """By name."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By name."""
    by_file: Mapping[str, str] = field(default_factory=dict[str, str])
    """From "owner/name/path/of/first.gguf", in lower case, to the name."""
    problem: str = ""
    """Why a person's own entries are left out, in one sentence; empty = they are not."""

    def name_of(self, repo: str, file: str) -> str:
        """Give the entry that a file of the hub is; empty = none."""
        return self.by_file.get(f"{repo}/{file}".lower(), "") if repo and file else ""


def catalog_names(shipped: Path, own: Path, cache: HeaderCache) -> CatalogNames:
    """Read the catalogue, or what is remembered of it. A broken own one is left out."""
    stamp = _stamp(shipped, own)
    known = cache.get(FactKind.CATALOG, shipped, stamp)
    if known is not None and known.keys() == {"tiers", "aliases", "by_file", "problem"}:
        return CatalogNames(
            known["tiers"],
            {name: tuple(aliases) for name, aliases in known["aliases"].items()},
            known["by_file"],
            known["problem"],
        )
    found = _read(shipped, own)
    facts: dict[str, Any] = {
        "tiers": found.tiers,
        "aliases": found.aliases,
        "by_file": found.by_file,
        "problem": found.problem,
    }
    cache.put(FactKind.CATALOG, shipped, stamp, facts)
    return found


def _read(shipped: Path, own: Path) -> CatalogNames:
    # Pydantic and the catalogue take longer to load than a list of models takes altogether.
    from luci_tui.catalog.catalog import load_catalog

    problem = ""
    try:
        catalog = load_catalog(shipped, own)
    except ConfigError as error:
        problem = error.message
        try:
            catalog = load_catalog(shipped)
        except ConfigError as broken:
            return CatalogNames(problem=broken.message)
    return CatalogNames(
        {entry.name: entry.tier for entry in catalog.entries},
        {entry.name: entry.aliases for entry in catalog.entries if entry.aliases},
        {f"{entry.repo}/{entry.files[0]}".lower(): entry.name for entry in catalog.entries},
        problem,
    )


def _stamp(shipped: Path, own: Path) -> Stamp:
    size_bytes = mtime_ns = inode = 0
    for path in (shipped, own):
        try:
            facts = path.stat()
        except OSError:
            continue
        size_bytes += facts.st_size
        mtime_ns += facts.st_mtime_ns
        inode += facts.st_ino
    return Stamp(size_bytes, mtime_ns % 2**62, inode % 2**62)
